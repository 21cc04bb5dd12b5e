"""Closed plus adjustments is recomputed: whatever changes in closed months, in whichever order months are closed.

What lives here: random histories of changes and closes through the models of closing, against dictionaries of
integers. What does not: what speaks against a close, files (tests/integration/test_close_and_restate.py,
test_closes_survive.py).
4 histories of 6 nights over 4 months of 40 keys: 24 nights, 3,800 key-months compared, half of them closed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from pipelines.build.graph import posting_month
from tests.properties.models import PICO, many_cases, pico, run_models, usd

MONTHS = ("2025-11", "2025-12", "2026-01", "2026-02")
LATER = ("2026-03", "2026-04")
KEYS = [(f"f{number // 2}", f"a{number % 2}") for number in range(40)]
COUNTS = ("requests", "input_tokens", "output_tokens", "total_tokens", "unpriced_tokens")
COSTS = ("list_cost_usd", "contracted_cost_usd", "billed_cost_usd", "effective_cost_usd", "non_token_cost_usd")
MODELS = ("int__closed_difference", "int__corrections", "mart__feature_cost_daily", "mart__closed_months")
Cells = dict[str, int | None]
Costs = dict[tuple[str, int, str, str], Cells]
"""Month, day, feature, account → what is computed now, in whole tokens and pico-dollars."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("closed_months")


def drawn_cells(draw: Random) -> Cells:
    counts: Cells = {name: draw.randint(0, 9) for name in COUNTS}
    return {**counts, **{name: draw.choice((None, 0, draw.randint(-PICO, 9 * PICO))) for name in COSTS}}


def drawn_costs(draw: Random) -> Costs:
    return {
        (month, day, *key): drawn_cells(draw)
        for month in MONTHS
        for key in KEYS
        for day in draw.sample((1, 2, 15), draw.randint(0, 2))
    }


def change(draw: Random, costs: Costs) -> None:
    """Some cells are known better, some rows vanish, some are new."""
    for key in draw.sample(sorted(costs), len(costs) // 5):
        if draw.random() < 0.2:
            del costs[key]
        else:
            costs[key] = {**costs[key], **dict(draw.sample(sorted(drawn_cells(draw).items()), 3))}
    for _ in range(5):
        costs.setdefault((draw.choice(MONTHS), draw.choice((1, 28)), *draw.choice(KEYS)), drawn_cells(draw))


def as_row(key: tuple[str, int, str, str], cells: Cells) -> dict[str, Any]:
    month, day, feature, account = key
    return {
        "usage_date": date.fromisoformat(f"{month}-{day:02d}"),
        "feature": feature,
        "team": None if feature == "f0" else "team",
        "account": account,
        **{name: cells[name] for name in COUNTS},
        **{name: usd(cells[name]) for name in COSTS},
    }


class History:
    """Nights of one home: what is computed, what was frozen, what the marts say."""

    def __init__(self, costs: Costs, folder: Path) -> None:
        self.costs = costs
        self.folder = folder
        self.frozen: dict[str, pl.DataFrame] = {}
        self.made: dict[str, pl.DataFrame] = {}

    def night(self) -> None:
        closed_at = datetime(2026, 5, 1, tzinfo=UTC)
        tables: dict[str, Any] = {
            "int__feature_cost_daily": [as_row(key, cells) for key, cells in sorted(self.costs.items())],
            "core__closed_months": [
                {"month": month, "closed_at": closed_at, "closed_costs_sha256": "0" * 64, "code_version": "1"}
                for month in sorted(self.frozen)
            ],
            "int__bill_clock": [{"month": month, "today": date(2026, 5, 1)} for month in (*MONTHS, *LATER)],
        }
        if self.frozen:
            tables["core__closed_costs"] = pl.concat(self.frozen.values())
        self.made = run_models(MODELS, tables, self.folder)

    def close(self, month: str) -> None:
        mart = self.made["mart__feature_cost_daily"]
        self.frozen[month] = mart.filter(pl.col("usage_date").dt.strftime("%Y-%m") == month)

    def check(self) -> None:
        mart = self.made["mart__feature_cost_daily"].with_columns(
            pl.col("usage_date").dt.strftime("%Y-%m").alias("month")
        )
        for month, rows in self.frozen.items():
            assert mart.filter(pl.col("month") == month).drop("month").equals(rows)
        shown: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        for row in mart.to_dicts():
            is_correction = row["charge_class"] is not None
            shown[row["corrected_month"] or row["month"], row["feature"], row["account"]].update(summed(row))
            if is_correction and row["month"] not in self.frozen:
                assert row["corrected_month"] in self.frozen
                assert row["month"] == posting_month(row["corrected_month"], set(self.frozen))
                assert row["usage_date"].day == 1
                assert any(row[name] for name in (*COUNTS, *COSTS)), "a correction of nothing"
        wanted: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        for (month, _, feature, account), cells in self.costs.items():
            wanted[month, feature, account].update({name: amount or 0 for name, amount in cells.items()})
        for key in {*shown, *wanted}:
            assert not differing(shown[key], wanted[key]), (key, sorted(self.frozen))
        for line in self.made["mart__closed_months"].to_dicts():
            told = Counter[str]()
            for (month, _, _), sums in wanted.items():
                told.update(sums if month == line["month"] else {})
            assert pico(line["recomputed_effective_cost_usd"]) == told["effective_cost_usd"]
            assert pico(line["recomputed_billed_cost_usd"]) == told["billed_cost_usd"]
            assert line["recomputed_total_tokens"] == told["total_tokens"]
            for what in ("billed_cost_usd", "effective_cost_usd", "total_tokens"):
                assert line[f"closed_{what}"] + line[f"correction_{what}"] == line[f"recomputed_{what}"]


def summed(row: dict[str, Any]) -> dict[str, int]:
    return {
        name: (pico(row[name]) or 0) if isinstance(row[name], Decimal) else int(row[name] or 0)
        for name in (*COUNTS, *COSTS)
    }


def differing(one: Counter[str], other: Counter[str]) -> dict[str, tuple[int, int]]:
    return {name: (one[name], other[name]) for name in (*COUNTS, *COSTS) if one[name] != other[name]}


@many_cases(4)
def test_frozen_rows_and_corrections_are_the_months_recomputed(draw: Random, folder: Path) -> None:
    history = History(drawn_costs(draw), folder)
    history.night()
    closing = draw.sample(MONTHS, draw.randint(2, 4))
    for _ in range(6):
        if closing and draw.random() < 0.6:
            history.close(closing.pop())
        if draw.random() < 0.8:
            change(draw, history.costs)
        history.night()
        history.check()
