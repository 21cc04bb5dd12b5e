"""Running SQL models over frames in memory, and how often a batch of random cases is drawn.

What lives here: `run_models`, `many_cases`, pico-dollars of decimals. What does not: any oracle, any expected value.
A test draws a seed; from it come hundreds of independent cases, which one pass of the models computes. The oracle then
looks at each case alone, in plain integers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty
from pipelines.settings import Settings
from pipelines.sqlmodel import load_models
from pipelines.warehouse import create_view, session
from tests.sql.cases import input_frame

Test = TypeVar("Test", bound=Callable[..., None])
PICO = 10**12
_EXACTLY = Context(prec=60)
"""Python's own context keeps 28 digits, a money column 38."""


def many_cases(batches: int) -> Callable[[Test], Test]:
    """Run a test with a seeded random source `draw`, `batches` times, each time the same."""

    def decorate(test: Test) -> Test:
        seeds = st.integers(0, 2**32 - 1).map(random.Random)
        repeated = settings(
            max_examples=batches,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        return repeated(given(draw=seeds)(test))

    return decorate


def run_models(
    names: Iterable[str], tables: Mapping[str, list[dict[str, Any]] | pl.DataFrame], folder: Path
) -> dict[str, pl.DataFrame]:
    """The rows of each model, in the order given; a later one reads what an earlier one made.

    Rows are filled in as in worked cases (tests/sql/cases.py); a table that is not given is empty.
    """
    known = {
        table: rows if isinstance(rows, pl.DataFrame) else input_frame(table, rows) for table, rows in tables.items()
    }
    models = load_models()
    made: dict[str, pl.DataFrame] = {}
    with session(Settings(home=folder, threads=1)) as connection:
        wanted = list(names)
        for table in sorted({table for name in wanted for table in models[name].inputs} - set(wanted)):
            create_view(connection, table, [], known.get(table, empty(contract_of(table))))
        for name in wanted:
            made[name] = models[name].in_order(connection.sql(models[name].sql).pl())
            create_view(connection, name, [], made[name])
    return made


def usd(pico: int | None) -> Decimal | None:
    """Whole pico-dollars as dollars."""
    return None if pico is None else _EXACTLY.scaleb(Decimal(pico), -12)


def pico(amount: Decimal | None) -> int | None:
    """Dollars as whole pico-dollars; unknown stays unknown."""
    return None if amount is None else int(_EXACTLY.scaleb(amount, 12))


def half_away(numerator: int, denominator: int) -> int:
    """A quotient rounded to the nearest integer, halves away from zero."""
    sign = -1 if numerator < 0 else 1
    return sign * ((2 * abs(numerator) + denominator) // (2 * denominator))
