"""The data dictionary, written from the contracts: one page that cannot drift from what is checked.

What lives here: finding every table's contract, and telling it as Markdown. What does not: the contracts (beside this
file), where the page is kept (docs/generate.py).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import pandera.polars as pa
import polars as pl

import pipelines.contracts as room
from pipelines.contracts.fields import polars_schema
from pipelines.errors import ContractError

FLOORS: Mapping[str, str] = {
    "core": "Canonical rows: what connectors read, validated",
    "ref": "Reference tables: what people and price feeds maintain",
    "int": "Intermediate tables: steps on the way to a mart",
    "mart": "Marts: what BI reads",
}
_ESCAPED_BAR = r"\|"
_WORDS = re.compile(r"[A-Z][a-z0-9]*")


def contracts() -> dict[str, type[pa.DataFrameModel]]:
    """Table name → contract, floor by floor, then by name; `CoreLandedFiles` is the contract of core__landed_files.

    A class whose first word is no floor is a group of columns that several tables share, and is left out.
    """
    found: dict[str, type[pa.DataFrameModel]] = {}
    for module in pkgutil.iter_modules(room.__path__):
        for _, contract in inspect.getmembers(
            importlib.import_module(f"{room.__name__}.{module.name}"), inspect.isclass
        ):
            name = table_name(contract.__name__)
            if issubclass(contract, pa.DataFrameModel) and name is not None:
                found[name] = contract
    order = list(FLOORS)
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0].split("__")[0]), item[0])))


@cache
def contract_of(table: str) -> type[pa.DataFrameModel]:
    """The contract of one table. Raises ContractError for a table that has none: then it must not be written."""
    known = contracts()
    if table not in known:
        raise ContractError(
            f"{table} has no contract",
            expected="a class in pipelines/contracts",
            next_move="declare the table's columns",
        )
    return known[table]


def table_name(class_name: str) -> str | None:
    """`MartFeatureCostDaily` → `mart__feature_cost_daily`; None where the first word is no floor."""
    words = [word.lower() for word in _WORDS.findall(class_name)]
    if len(words) < 2 or words[0] not in FLOORS:
        return None
    return f"{words[0]}__{'_'.join(words[1:])}"


def data_dictionary(tables: Mapping[str, type[pa.DataFrameModel]] | None = None) -> str:
    """The page as Markdown: per floor, per table its docstring (grain, what not to sum) and its columns."""
    chosen = contracts() if tables is None else tables
    lines = [
        "# Data dictionary",
        "",
        "Written by `make docs` from the contracts in `pipelines/contracts/`; a test compares them. Do not edit.",
        "Money is an exact decimal, times are UTC, unknown is NULL and never 0.",
    ]
    for floor, title in FLOORS.items():
        names = [name for name in chosen if name.startswith(f"{floor}__")]
        if names:
            lines += ["", f"## {title}", ""]
            lines += [f"- [`{name}`](#{name}): {_first_sentence(chosen[name])}" for name in names]
        for name in names:
            lines += ["", f"### `{name}`", "", inspect.cleandoc(chosen[name].__doc__ or ""), ""]
            lines += _columns(chosen[name])
    return "\n".join(lines) + "\n"


def _first_sentence(contract: type[pa.DataFrameModel]) -> str:
    text = " ".join(inspect.cleandoc(contract.__doc__ or "").split())
    return re.split(r"(?<=[.:]) ", text, maxsplit=1)[0].rstrip(".:")


def _columns(contract: type[pa.DataFrameModel]) -> Iterable[str]:
    yield "| column | type | NULL | rules |"
    yield "| --- | --- | --- | --- |"
    types = polars_schema(contract)
    for name, column in contract.to_schema().columns.items():
        rules = "; ".join([*map(_rule, column.checks), *([column.description] if column.description else [])])
        null = "yes" if column.nullable else ""
        yield f"| `{name}` | {_type(types[name])} | {null} | {rules.replace('|', _ESCAPED_BAR)} |"


def _type(dtype: pl.DataType) -> str:
    """A dtype in the words of SQL."""
    if isinstance(dtype, pl.Decimal):
        return f"decimal({dtype.precision}, {dtype.scale})"
    if isinstance(dtype, pl.Datetime):
        return "timestamp, UTC" if dtype.time_zone else "timestamp"
    words = {
        "Int64": "bigint",
        "Int32": "integer",
        "Int16": "smallint",
        "Int8": "tinyint",
        "UInt64": "unsigned bigint",
        "String": "text",
        "Boolean": "boolean",
        "Date": "date",
        "Float64": "double",
    }
    return words.get(str(dtype), str(dtype).lower())


def _rule(check: Any) -> str:
    """One Pandera check in words; a check of another kind gives its own name."""
    given = check.statistics or {}
    signs = {
        "greater_than_or_equal_to": ("≥", "min_value"),
        "greater_than": (">", "min_value"),
        "less_than_or_equal_to": ("≤", "max_value"),
        "less_than": ("<", "max_value"),
        "equal_to": ("=", "value"),
        "not_equal_to": ("≠", "value"),
    }
    if check.name in signs:
        sign, bound = signs[check.name]
        return f"{sign} {given[bound]}"
    if check.name == "isin":
        return "one of " + ", ".join(f"`{value}`" for value in given["allowed_values"])
    if check.name == "str_matches":
        return f"matches `{getattr(given['pattern'], 'pattern', given['pattern'])}`"
    if check.name == "str_length":
        least, most = given.get("min_value"), given.get("max_value")
        if most is None:
            return f"at least {least} characters"
        return f"{least or 0} to {most} characters"
    if check.name == "in_range":
        return f"{given['min_value']} to {given['max_value']}"
    return str(check.error or check.name)
