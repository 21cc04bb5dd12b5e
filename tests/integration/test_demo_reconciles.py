"""The demo quarter ties out: nothing is unexplained, and every gap that the scenario seeds has its name.

What lives here: the quarter's reconciliation after both nights. What does not: the quarter's usage (tests/unit/demo).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.demo.generator import write_demo
from pipelines.demo.scenario import DEMO_NIGHTS
from pipelines.lake import Lake
from tests.integration.nights import built, home_settings

pytestmark = pytest.mark.slow

SCALE = 0.02
CAUSES = (
    "price_gap",
    "unlogged",
    "overlogged",
    "unpriced",
    "non_token_charges",
    "credits",
    "tax",
    "commitment",
    "excluded_from_cost_api",
    "not_billed",
    "timing",
    "fx",
    "rounding",
    "unexplained",
)


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    home = tmp_path_factory.mktemp("demo")
    for night, _ in DEMO_NIGHTS:
        write_demo(home, night=night, scale=SCALE)
    built(home_settings(home, datetime.fromisoformat(DEMO_NIGHTS[-1][1])))
    lake = Lake(Path(home) / "lake")
    frames = [lake.read("mart__reconciliation_monthly", key) for key in lake.partitions("mart__reconciliation_monthly")]
    return [row for frame in frames if frame is not None for row in frame.to_dicts()]


def billed(quarter: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in quarter if row["billed_cost_usd"] is not None]


def test_nothing_is_unexplained(quarter: list[dict[str, Any]]) -> None:
    assert len({row["provider"] for row in billed(quarter)}) >= 4
    assert {(row["provider"], row["account"], row["month"]): row["unexplained_usd"] for row in billed(quarter)} == {
        (row["provider"], row["account"], row["month"]): Decimal(0) for row in billed(quarter)
    }


def test_every_dollar_between_metered_and_billed_has_a_cause(quarter: list[dict[str, Any]]) -> None:
    for row in billed(quarter):
        causes = sum((row[f"{cause}_usd"] for cause in CAUSES), Decimal(0))
        assert causes == row["billed_cost_usd"] - row["metered_cost_usd"], row


def test_invoices_tie_out_to_the_cent(quarter: list[dict[str, Any]]) -> None:
    invoiced = [row for row in billed(quarter) if row["invoice_total_usd"] is not None]
    assert invoiced
    for row in invoiced:
        assert row["billed_cost_usd"] - row["fx_usd"] == row["invoice_total_usd"], row


def test_the_credit_and_the_unknown_model_of_the_scenario_are_named(quarter: list[dict[str, Any]]) -> None:
    """scenario.toml: a credit of -4.20 on 22 September for OpenAI, and a model that no price list knows."""
    openai = [row for row in billed(quarter) if row["provider"] == "openai" and row["month"] == "2026-09"]
    assert sum(row["credits_usd"] for row in openai) == Decimal("-4.20")
    assert sum(row["unpriced_usd"] for row in openai) > 0
