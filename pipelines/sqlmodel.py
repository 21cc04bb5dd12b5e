"""A SQL file and its header: one table, or one check, per file below `sql/`.

What lives here: parsing and validating headers, which tables a query reads, the order in which models are built.
What does not: running SQL (warehouse.py), what the columns must be (contracts/marts.py).

    /* --- toml
    title = "Cost of each feature by day"
    grain = "One row per usage_date and feature"
    key = ["usage_date", "feature"]
    inputs = ["int__priced_usage"]
    rules = ["a ratio is one stored sum over another"]
    owner = "finops"
    partition = "month"
    --- */
    with priced as (select * from int__priced_usage) select …

A query says nothing of order: rows are stored in the order of `key`, the columns that are unique together.
`partition` is optional and `month` unless it says `all`. `rows_from` is optional: where none of these inputs has a row,
the table has none, and its query is not run.
A check has `title` (the sentence that must be true), `severity` ("fail" or "warn") and `inputs`; its query returns the
rows for which the sentence is false. `partition = "month"` says that a month breaks it by itself or not at all: then a
night asks of the months that changed. Without it a check is asked of all of them.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.errors import ContractError
from pipelines.settings import SQL_ROOT

if TYPE_CHECKING:
    import polars as pl  # only named here: what lists models answers sooner without loading it

MODEL_FOLDERS = ("intermediate", "marts")
CHECK_FOLDER = "checks"
PARTITIONS = ("month", "all")
SEVERITIES = ("fail", "warn")

_HEADER = re.compile(r"\s*/\*\s*---\s*toml[ \t]*\r?\n(?P<toml>.*?)---\s*\*/", re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*(__[a-z0-9]+(_[a-z0-9]+)*)?\Z")
_PREFIX = {"intermediate": "int__", "marts": "mart__"}

_MODEL_WORDS = {"title": str, "grain": str, "key": list, "inputs": list, "rules": list, "owner": str}
_CHECK_WORDS = {"title": str, "severity": str, "inputs": list}


@dataclass(frozen=True)
class SqlModel:
    """One table: `sql` is the query without its header, `key` the columns that are unique together (it may
    be empty), `inputs` the tables it reads, `partition` how its Parquet is cut (`month` or `all`)."""

    name: str
    path: Path
    sql: str
    title: str
    grain: str
    key: tuple[str, ...]
    inputs: tuple[str, ...]
    rules: tuple[str, ...]
    owner: str
    partition: str = "month"
    rows_from: tuple[str, ...] = ()
    """Inputs without any row in which the table has none; empty where nothing is promised."""

    def in_order(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that the query gave as they are stored: by key, NULL last. Several times faster than `order by`."""
        return rows.sort(self.key, nulls_last=True)


@dataclass(frozen=True)
class SqlCheck:
    """One sentence that must be true; `sql` returns the rows for which it is false. `fail` stops a publish.

    With `partition` `month` no row of the answer depends on two months: the months may be asked one at a time.
    """

    name: str
    path: Path
    sql: str
    title: str
    severity: str
    inputs: tuple[str, ...]
    partition: str = "all"


@cache
def shipped_models() -> Mapping[str, SqlModel]:
    """The models below `sql/`, read once; that their queries read what their headers say is for the tests to tell."""
    return _models(SQL_ROOT, is_shipped=True)


@cache
def shipped_checks() -> Mapping[str, SqlCheck]:
    """The checks below `sql/`, as shipped_models."""
    return {path.stem: parse_check(path, is_shipped=True) for path in _files(SQL_ROOT / CHECK_FOLDER)}


def load_models(root: Path = SQL_ROOT) -> dict[str, SqlModel]:
    """All models below `root/intermediate` and `root/marts` by name, in name order.

    Raises ContractError for a header that is absent, incomplete or not what the query reads, for a query that is not
    one SELECT, and for a name that is taken twice or carries the wrong prefix.
    """
    return _models(root, is_shipped=False)


def _models(root: Path, *, is_shipped: bool) -> dict[str, SqlModel]:
    models: dict[str, SqlModel] = {}
    for folder in MODEL_FOLDERS:
        for path in _files(root / folder):
            model = parse_model(path, is_shipped=is_shipped)
            if not model.name.startswith(_PREFIX[folder]):
                raise _fault(path, "the name has the wrong prefix", f"{_PREFIX[folder]}… in sql/{folder}")
            models[model.name] = model
    return dict(sorted(models.items()))


def load_checks(root: Path = SQL_ROOT) -> dict[str, SqlCheck]:
    """All checks below `root/checks` by name, in name order. Raises ContractError as `load_models` does."""
    return {path.stem: parse_check(path) for path in _files(root / CHECK_FOLDER)}


def parse_model(path: Path, *, is_shipped: bool = False) -> SqlModel:
    """One model. Raises ContractError naming the file and what is off; a shipped one's query is not looked into."""
    header, sql = _parse(path, _MODEL_WORDS, {"partition": str, "rows_from": list}, is_shipped=is_shipped)
    partition = header.get("partition", "month")
    if partition not in PARTITIONS:
        raise _fault(path, f"partition = {partition!r} is unknown", " or ".join(PARTITIONS))
    if not header["key"]:
        raise _fault(path, "the key is empty", "the columns that are unique together, in the order of the rows")
    if not is_shipped and _orders_its_rows(sql):
        raise _fault(path, "the query orders its rows", "no order by at its end: rows are stored by key")
    rows_from = tuple(header.get("rows_from", ()))
    if not set(rows_from) <= set(header["inputs"]):
        raise _fault(path, f"rows_from = {list(rows_from)} are not all inputs", f"some of {header['inputs']}")
    return SqlModel(
        name=path.stem,
        path=path,
        sql=sql,
        title=header["title"],
        grain=header["grain"],
        key=tuple(header["key"]),
        inputs=tuple(header["inputs"]),
        rules=tuple(header["rules"]),
        owner=header["owner"],
        partition=partition,
        rows_from=rows_from,
    )


def parse_check(path: Path, *, is_shipped: bool = False) -> SqlCheck:
    """One check. Raises ContractError as parse_model does."""
    header, sql = _parse(path, _CHECK_WORDS, {"partition": str}, is_shipped=is_shipped)
    if header["severity"] not in SEVERITIES:
        raise _fault(path, f"severity = {header['severity']!r} is unknown", " or ".join(SEVERITIES))
    partition = header.get("partition", "all")
    if partition not in PARTITIONS:
        raise _fault(path, f"partition = {partition!r} is unknown", " or ".join(PARTITIONS))
    return SqlCheck(path.stem, path, sql, header["title"], header["severity"], tuple(header["inputs"]), partition)


def tables_read(sql: str) -> set[str]:
    """The tables that one SELECT reads, as written (schema-qualified where the query says so), without its CTEs.

    Taken from DuckDB's syntax tree rather than from `get_table_names`, which binds the query: that fails on named
    parameters and USING, and it takes a CTE's name for a table outside its scope. Table functions are not tables.
    Raises ContractError unless `sql` is exactly one SELECT.
    """
    tree = _syntax_tree(sql)
    return set(_base_tables(tree["statements"][0]["node"], frozenset()))


def topological_order(models: Mapping[str, SqlModel] | Iterable[SqlModel]) -> list[SqlModel]:
    """The models, each after those it reads; equals in name order. Inputs that are no models are given from outside.

    Raises ContractError when models read each other in a circle.
    """
    listed = models.values() if isinstance(models, Mapping) else models
    by_name = {model.name: model for model in sorted(listed, key=lambda model: model.name)}
    sorter = TopologicalSorter({name: [i for i in model.inputs if i in by_name] for name, model in by_name.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise ContractError(
            f"models read each other in a circle: {' → '.join(error.args[1])}",
            where="sql",
            expected="an order in which every table is built before it is read",
            next_move="move what they share into a model of its own",
        ) from error
    order: list[SqlModel] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order.extend(by_name[name] for name in ready)
        sorter.done(*ready)
    return order


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.sql"))


def _parse(
    path: Path, words: Mapping[str, type], optional: Mapping[str, type], *, is_shipped: bool
) -> tuple[dict[str, Any], str]:
    if not _NAME.match(path.stem):
        raise _fault(path, "the file's name is not lower snake case", "the name of the table or check, such as mart__x")
    text = path.read_text(encoding="utf-8")
    match = _HEADER.match(text)
    if not match:
        raise _fault(path, "the file does not begin with its header", "a first comment `/* --- toml … --- */`")
    try:
        header = tomllib.loads(match["toml"])
    except tomllib.TOMLDecodeError as error:
        raise _fault(path, f"the header is not TOML: {error}", "key = value lines") from error
    known = {**words, **optional}
    missing, foreign = sorted(words.keys() - header.keys()), sorted(header.keys() - known.keys())
    if missing or foreign:
        what = f"the header lacks {missing}" if missing else f"the header has unknown words {foreign}"
        raise _fault(path, what, ", ".join(words) + ("; optional: " + ", ".join(optional) if optional else ""))
    for word, value in header.items():
        _right_kind(path, word, value, known[word])
    sql = text[match.end() :].strip().removesuffix(";").rstrip()
    if not is_shipped:
        _inputs_are_read(path, header["inputs"], sql)
    return header, sql


def _right_kind(path: Path, word: str, value: object, kind: type) -> None:
    is_right = isinstance(value, kind) and bool(value or kind is list)
    if kind is list and isinstance(value, list):
        is_right = all(isinstance(item, str) and item for item in value) and len(set(value)) == len(value)
    if not is_right:
        raise _fault(path, f"{word} = {value!r} does not fit", "text" if kind is str else "a list of distinct texts")


def _inputs_are_read(path: Path, inputs: list[str], sql: str) -> None:
    try:
        read = tables_read(sql)
    except ContractError as error:
        raise _fault(path, error.what, error.expected) from error
    if set(inputs) != read:
        unread, unnamed = sorted(set(inputs) - read), sorted(read - set(inputs))
        raise _fault(
            path, f"inputs and query differ: named only {unread}, read only {unnamed}", f"inputs = {sorted(read)}"
        )


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """One empty database for all files: opening one costs 25 ms, reading a file's syntax 1 ms."""
    return duckdb.connect(":memory:", config={"threads": 1})


def _syntax_tree(sql: str) -> dict[str, Any]:
    with _parser().cursor() as connection:
        rows = connection.execute("SELECT json_serialize_sql(CAST($sql AS VARCHAR))", {"sql": sql}).fetchall()
    tree: dict[str, Any] = json.loads(rows[0][0])
    if tree.get("error"):
        what = (
            f"the query cannot be read: {tree.get('error_message', '')} at {tree.get('position', 'an unknown place')}"
        )
        raise ContractError(what, expected="one SELECT (WITH … SELECT)", next_move="correct the SQL")
    if len(tree["statements"]) != 1:
        raise ContractError(
            f"{len(tree['statements'])} statements stand where one should",
            expected="one SELECT (WITH … SELECT)",
            next_move="one file, one table",
        )
    return tree


def _orders_its_rows(sql: str) -> bool:
    modifiers = _syntax_tree(sql)["statements"][0]["node"]["modifiers"]
    return any(modifier["type"] == "ORDER_MODIFIER" for modifier in modifiers)


def _base_tables(node: object, ctes: frozenset[str]) -> Iterator[str]:
    """Walk the tree; `ctes` are the names that stand for a WITH query at this place, in lower case."""
    if isinstance(node, list):
        for item in node:
            yield from _base_tables(item, ctes)
        return
    if not isinstance(node, dict):
        return
    visible = ctes
    for entry in (node.get("cte_map") or {}).get("map", ()):
        yield from _base_tables(entry["value"], visible)
        visible |= {entry["key"].lower()}
    if node.get("type") == "RECURSIVE_CTE_NODE":
        visible |= {node["cte_name"].lower()}
    if node.get("type") == "BASE_TABLE":
        qualified = ".".join(part for part in (node["catalog_name"], node["schema_name"], node["table_name"]) if part)
        if qualified.lower() not in visible:
            yield qualified
    for key, child in node.items():
        if key != "cte_map":
            yield from _base_tables(child, visible)


def _fault(path: Path, what: str, expected: str) -> ContractError:
    where = f"sql/{path.parent.name}/{path.name}"
    return ContractError(
        what, where=where, expected=expected, next_move="correct the file; sql/README.md shows a whole one"
    )
