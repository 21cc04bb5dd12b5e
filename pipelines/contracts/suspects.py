"""The rows of a frame that a contract might refuse, found in one pass of column aggregates.

What lives here: the same rules that Pandera checks, as Polars expressions over whole columns. What does not: the rules
themselves (the contracts), naming a breach (fields.breaches, which has Pandera look at the suspects).
Every row is looked at. A clean frame costs a minimum, a maximum or the distinct values of each column; only a column
that fails is gone through row by row. Tests compare this with Pandera on random frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandera.polars as pa
import polars as pl


@dataclass(frozen=True)
class _Rule:
    """One rule of one column: `holds` is one boolean for the column, `breaks` one per row; NULLs keep every rule."""

    column: str
    holds: pl.Expr
    breaks: pl.Expr


@dataclass(frozen=True)
class Suspects:
    """`rows`: positions of rows that break a rule, ascending; `columns`: those in which a rule is broken."""

    rows: pl.Series
    columns: tuple[str, ...] = ()


def suspects(contract: type[pa.DataFrameModel], frame: pl.DataFrame, *, partial: bool = False) -> Suspects | None:
    """What breaks a rule of `contract`; None when only Pandera can tell.

    That is the case for other columns or dtypes than the contract's, and for rules that are not known here. With
    `partial` the frame may have some of the columns only, and is asked about those.
    """
    rules = _rules(contract)
    expected = _schema(contract)
    if partial:
        expected = {name: dtype for name, dtype in expected.items() if name in frame.columns}
    if rules is None or dict(frame.schema) != expected:
        return None
    asked = [rule for rule in rules if rule.column in expected] if len(frame) else []
    held = frame.select(rule.holds.alias(str(number)) for number, rule in enumerate(asked)).row(0) if asked else ()
    broken = [rule for rule, holds in zip(asked, held, strict=True) if holds is False]
    if not broken:
        return Suspects(pl.Series(dtype=pl.UInt32))
    is_broken = pl.any_horizontal(rule.breaks for rule in broken).fill_null(False).alias("broken")
    columns = dict.fromkeys(rule.column for rule in broken)
    return Suspects(frame.select(is_broken)["broken"].arg_true(), tuple(columns))


@cache
def schema_of(contract: type[pa.DataFrameModel], columns: tuple[str, ...]) -> pa.DataFrameSchema:
    """Pandera's schema of some columns of a contract."""
    return contract.to_schema().select_columns(list(columns))


@cache
def _schema(contract: type[pa.DataFrameModel]) -> dict[str, Any]:
    return {name: column.dtype.type for name, column in contract.to_schema().columns.items()}


@cache
def _rules(contract: type[pa.DataFrameModel]) -> tuple[_Rule, ...] | None:
    schema = contract.to_schema()
    if schema.checks or schema.unique:
        return None
    rules = []
    for name, column in schema.columns.items():
        if column.unique or column.regex or not column.required:
            return None
        if not column.nullable:
            rules.append(_Rule(name, pl.col(name).null_count() == 0, pl.col(name).is_null()))
            if column.dtype.type.is_float():
                return None
        for check in column.checks:
            if check.name not in _BUILDERS or check.element_wise or not check.ignore_na:
                return None
            rules.append(_BUILDERS[check.name](name, check.statistics))
    return tuple(rules)


def _at_least(name: str, given: Mapping[str, Any]) -> _Rule:
    return _Rule(name, pl.col(name).min() >= given["min_value"], pl.col(name) < given["min_value"])


def _at_most(name: str, given: Mapping[str, Any]) -> _Rule:
    return _Rule(name, pl.col(name).max() <= given["max_value"], pl.col(name) > given["max_value"])


def _more_than(name: str, given: Mapping[str, Any]) -> _Rule:
    return _Rule(name, pl.col(name).min() > given["min_value"], pl.col(name) <= given["min_value"])


def _is_in(name: str, given: Mapping[str, Any]) -> _Rule:
    allowed = list(given["allowed_values"])
    values = pl.col(name)
    return _Rule(name, values.unique().drop_nulls().is_in(allowed).all(), ~values.is_in(allowed))


def _matches(name: str, given: Mapping[str, Any]) -> _Rule:
    pattern = getattr(given["pattern"], "pattern", given["pattern"])
    anchored = pattern if pattern.startswith("^") else f"^{pattern}"
    values = pl.col(name)
    return _Rule(name, values.unique().str.contains(anchored).all(), ~values.str.contains(anchored))


def _has_length(name: str, given: Mapping[str, Any]) -> _Rule:
    """Bytes first: a text has at least one character where it has a byte, and at most as many characters as bytes."""
    if given.get("exact_value") is not None:
        low = high = given["exact_value"]
    else:
        low, high = given.get("min_value") or 0, given.get("max_value")
    size, length = pl.col(name).str.len_bytes(), pl.col(name).str.len_chars()
    enough = size.min() > 0 if low == 1 else length.min() >= low
    breaks = length < low
    if high is None:
        return _Rule(name, enough, breaks)
    return _Rule(name, enough & ((size.max() <= high) | (length.max() <= high)), breaks | (length > high))


_BUILDERS: Mapping[str, Callable[[str, Mapping[str, Any]], _Rule]] = {
    "greater_than_or_equal_to": _at_least,
    "less_than_or_equal_to": _at_most,
    "greater_than": _more_than,
    "isin": _is_in,
    "str_matches": _matches,
    "str_length": _has_length,
}
