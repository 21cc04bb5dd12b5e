"""What holds for every contract. What lives here: grain, units, exact types. What does not: what one table means."""

from __future__ import annotations

import inspect
from collections import defaultdict

import pandera.polars as pa
import polars as pl
import pytest

from pipelines.contracts.dictionary import contracts
from pipelines.contracts.fields import polars_schema

CONTRACTS = contracts()

each_contract = pytest.mark.parametrize("name", CONTRACTS)
Contract = type[pa.DataFrameModel]

# A score or a share of a statistic may be a double; money, tokens and prices never are.
MEASURES = ("_usd", "_tokens", "_kwh", "_cost", "price", "_tokens_per_hour")


@each_contract
def test_the_docstring_opens_with_the_grain(name: str) -> None:
    text = inspect.cleandoc(CONTRACTS[name].__doc__ or "")
    assert text.startswith("One row per "), f"{name}: open the docstring of its contract with 'One row per …'"


@each_contract
def test_a_contract_takes_no_other_columns(name: str) -> None:
    assert CONTRACTS[name].to_schema().strict is True, f"{name}: class Config: strict = True"


@each_contract
def test_nothing_is_coerced_or_dropped_on_the_way(name: str) -> None:
    schema = CONTRACTS[name].to_schema()
    assert not schema.coerce, f"{name}: coerce hides what the data was"
    assert not schema.drop_invalid_rows, f"{name}: a bad row is quarantined, not dropped"
    assert not [column for column, rule in schema.columns.items() if rule.coerce]


@each_contract
def test_measures_are_exact(name: str) -> None:
    inexact = [
        f"{column} {dtype}"
        for column, dtype in polars_schema(CONTRACTS[name]).items()
        if dtype.is_float() and any(part in column for part in MEASURES)
    ]
    assert not inexact, f"{name}: use Decimal or Int64 for {inexact}"


@each_contract
def test_times_are_utc_instants(name: str) -> None:
    naive = [
        column
        for column, dtype in polars_schema(CONTRACTS[name]).items()
        if isinstance(dtype, pl.Datetime) and dtype != pl.Datetime("us", "UTC")
    ]
    assert not naive, f"{name}: use fields.Instant for {naive}"


@each_contract
def test_a_list_of_allowed_values_is_a_list_of_values(name: str) -> None:
    """Pandera unpacks a tuple of one: isin=("Correction",) then allows the letters C, o, r, … and refuses the word."""
    spelled_out = [
        column
        for column, rule in CONTRACTS[name].to_schema().columns.items()
        for check in rule.checks
        if check.name in {"isin", "notin"} and any(isinstance(values, str) for values in check.statistics.values())
    ]
    assert not spelled_out, f"{name}: write isin=[…] with a list, not a tuple of one, for {spelled_out}"


def test_the_same_name_has_the_same_type_everywhere() -> None:
    seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for table, contract in CONTRACTS.items():
        for column, dtype in polars_schema(contract).items():
            seen[column][str(dtype)].append(table)
    offenders = [
        f"{column}: " + ", ".join(f"{dtype} in {tables}" for dtype, tables in types.items())
        for column, types in seen.items()
        if len(types) > 1
    ]
    assert not offenders, "Give one type, or give the other quantity another name:\n  " + "\n  ".join(offenders)
