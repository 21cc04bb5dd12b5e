"""Every file under sql/ keeps its promises: header, inputs, name, and the subset that other engines run too.

What lives here: what holds for all of them. What does not: what a model computes (tests/sql/<model>/<case>.yaml).
"""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import ErrorLevel, exp
from sqlglot.optimizer.scope import traverse_scope

from tests.conventions.tracked_files import ROOT, tracked_files

SQL = ROOT / "sql"
MODELS = sorted([*SQL.glob("intermediate/**/*.sql"), *SQL.glob("marts/**/*.sql")])
CHECKS = sorted(SQL.glob("checks/**/*.sql"))
FLOORS = ("core__", "ref__", "int__", "mart__")
HEADER = re.compile(r"\A/\* --- toml\n(?P<toml>.*?)\n--- \*/\n", re.DOTALL)
MODEL_KEYS = {"title", "grain", "key", "inputs", "rules", "owner"}
CHECK_KEYS = {"title", "severity", "inputs"}

each_file = pytest.mark.parametrize("path", [*MODELS, *CHECKS], ids=lambda path: path.stem)
each_model = pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)


def header_of(path: Path) -> dict[str, Any]:
    found = HEADER.match(path.read_text(encoding="utf-8"))
    if found is None:
        pytest.fail(f"{path.name}: open the file with /* --- toml (title, grain, …) --- */", pytrace=False)
    return tomllib.loads(found["toml"])


def query_of(path: Path) -> exp.Expr:
    statements = [tree for tree in sqlglot.parse(path.read_text(encoding="utf-8"), read="duckdb") if tree is not None]
    assert len(statements) == 1, f"{path.name}: one file is one query, found {len(statements)} statements"
    return statements[0]


def tables_read(query: exp.Expr) -> set[str]:
    """Names of the tables that a query reads. Scope by scope, so that a common table expression may shadow a table."""
    return {
        source.name
        for scope in traverse_scope(query)
        for source in scope.sources.values()
        if isinstance(source, exp.Table)
        # A pivoted CTE keeps the form of a table.
        and not (source.args.get("pivots") and source.name in scope.cte_sources)
    }


def unportable(query: exp.Expr) -> Iterator[str]:
    """Constructs that translate without complaint and then fail, or mean something else, on Spark."""
    if any(join.args.get("method") == "ASOF" for join in query.find_all(exp.Join)):
        yield "ASOF join: write an interval join on half-open validity"
    if any(star.args.get("replace") or star.args.get("rename") for star in query.find_all(exp.Star)):
        yield "* REPLACE / * RENAME: name the columns"
    for kind in (exp.PercentileCont, exp.Quantile):
        if query.find(kind):
            yield "continuous quantile: results differ between engines; use quantile_disc over integers"
    if any(group.args.get("all") for group in query.find_all(exp.Group)):
        yield "GROUP BY ALL: name the columns"
    if any(call.name.lower() == "len" for call in query.find_all(exp.Anonymous)):
        yield "len(): use length() for text and array_size() for lists"


@each_file
def test_the_header_says_what_the_file_is(path: Path) -> None:
    header = header_of(path)
    wanted = MODEL_KEYS if path in MODELS else CHECK_KEYS
    missing = sorted(wanted - header.keys())
    assert not missing, f"{path.name}: add {missing} to the header"
    empty = sorted(name for name in wanted - {"inputs", "rules"} if not header[name])
    assert not empty, f"{path.name}: {empty} in the header is empty"
    if path in MODELS:
        assert str(header["grain"]).lower().startswith("one row per"), f"{path.name}: grain = 'one row per …'"


@each_file
def test_the_header_names_exactly_what_the_query_reads(path: Path) -> None:
    said, read = set(header_of(path)["inputs"]), tables_read(query_of(path))
    missing, idle = sorted(read - said), sorted(said - read)
    assert not missing, f"{path.name}: add to the inputs in the header: {missing}"
    assert not idle, f"{path.name}: the header names inputs that the query does not read: {idle}"


@each_file
def test_a_query_reads_only_tables_of_a_known_floor(path: Path) -> None:
    strange = sorted(name for name in tables_read(query_of(path)) if not name.startswith(FLOORS))
    assert not strange, f"{path.name} reads {strange}: tables are named core__, ref__, int__ or mart__"
    if path in MODELS:
        floor = "mart__" if "marts" in path.parts else "int__"
        assert path.stem.startswith(floor), f"{path.name}: a file in {path.parent.name}/ is named {floor}…"


@each_file
def test_the_query_translates_to_spark(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="sqlglot"):
        sqlglot.transpile(
            path.read_text(encoding="utf-8"), read="duckdb", write="spark", unsupported_level=ErrorLevel.RAISE
        )
    assert not caplog.records, f"{path.name}: {[record.getMessage() for record in caplog.records]}"
    found = sorted(set(unportable(query_of(path))))
    assert not found, f"{path.name}: {found}"


@each_model
def test_the_key_is_made_of_columns_that_the_query_returns(path: Path) -> None:
    returned = {column.lower() for column in query_of(path).named_selects}
    missing = [name for name in header_of(path)["key"] if name.lower() not in returned]
    assert not missing or "*" in returned, (
        f"{path.name}: the key names {missing}, which the final select does not return"
    )


@pytest.mark.parametrize(
    "path", [path for path in MODELS if path.stem.startswith("mart__")], ids=lambda path: path.stem
)
def test_one_name_travels(path: Path) -> None:
    """What BI reads has one name as file, contract and test folder. Steps on the way are tested through their marts."""
    from pipelines.contracts.dictionary import contracts

    wanting = []
    if path.stem not in contracts():
        wanting.append("contract class in pipelines/contracts/ (mart__x_daily is MartXDaily)")
    if not list((ROOT / "tests" / "sql" / path.stem).glob("*.yaml")):
        wanting.append(f"worked case tests/sql/{path.stem}/<situation>.yaml")
    assert not wanting, f"{path.stem} has no " + " and no ".join(wanting)


def test_the_product_finds_the_same_files() -> None:
    from pipelines.sqlmodel import load_checks, load_models

    assert {model.path for model in load_models().values()} == set(MODELS)
    assert {check.path for check in load_checks().values()} == set(CHECKS)


def test_no_two_files_make_the_same_table() -> None:
    names = [path.stem for path in [*MODELS, *CHECKS]]
    assert len(names) == len(set(names)), f"twice: {sorted({name for name in names if names.count(name) > 1})}"


def test_no_sql_stands_outside_its_folder() -> None:
    stray = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if path.suffix == ".sql" and SQL not in path.parents and ROOT / "benchmarks" not in path.parents
    ]
    assert not stray, f"move below sql/: {stray}"


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("select a.x from core__a as a asof join core__b as b on a.t >= b.t", "ASOF"),
        ("select * replace (1 as x) from core__a", "REPLACE"),
        ("select quantile_cont(x, 0.5) as y from core__a", "quantile"),
        ("select x, count(*) as n from core__a group by all", "GROUP BY ALL"),
    ],
)
def test_unportable_constructs_are_seen(query: str, complaint: str) -> None:
    assert any(complaint in text for text in unportable(sqlglot.parse_one(query, read="duckdb")))


def test_a_cte_that_shadows_a_table_does_not_hide_it() -> None:
    query = "with core__a as (select * from core__a), b as (select * from core__a) select * from b, int__c"
    assert tables_read(sqlglot.parse_one(query, read="duckdb")) == {"core__a", "int__c"}


def test_a_pivoted_cte_is_no_table() -> None:
    query = "with usage as (select * from core__a) select leaf, n from usage unpivot (n for leaf in (x, y))"
    assert tables_read(sqlglot.parse_one(query, read="duckdb")) == {"core__a"}
