"""The demo quarter ties out: nothing is unexplained, and every gap that the scenario seeds has its name.

What lives here: the quarter's reconciliation after both nights. What does not: the quarter's usage (tests/unit/demo),
faults injected into it (test_demo_faults.py).
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.demo.expectations import demo_expectations
from pipelines.lake import Lake
from tests.integration.demo_quarter import CAUSES, SCALE, daily

pytestmark = pytest.mark.slow

MONTHS = ("2026-07", "2026-08", "2026-09")


@pytest.fixture(scope="module")
def quarter(coherent: Path) -> list[dict[str, Any]]:
    lake = Lake(coherent / "lake")
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


def test_the_priority_tier_is_priced_by_its_contract_alone_and_left_out_of_the_bill_by_rule(coherent: Path) -> None:
    """scenario.toml: $1 and $5 per million tokens by contract, on no public list, in no cost report. It costs what the
    generator's ledger counts; no list cost, nothing unpriced."""
    told = demo_expectations(night=2, scale=SCALE)["usage_daily"]
    expected = {row["usage_date"]: row for row in told if row["contract_alone_usd"] is not None}
    marts = (Lake(coherent / "lake").read("mart__feature_cost_daily", key) for key in MONTHS)
    rows = [row for frame in marts if frame is not None for row in frame.to_dicts()]
    priority = {row["usage_date"]: row for row in rows if row["service_tier"] == "priority" and row["total_tokens"]}
    assert len(expected) > 5
    assert {day: row["contract_alone_usd"] for day, row in expected.items()} == {
        day: row["contracted_cost_usd"] for day, row in priority.items()
    }
    assert {(row["list_cost_usd"], row["unpriced_tokens"]) for row in priority.values()} == {(None, 0)}
    assert all(row["effective_cost_usd"] == row["contracted_cost_usd"] for row in priority.values())
    for day, row in daily(coherent).items():
        left_out = expected[day[0]]["contract_alone_usd"] if day[2] == "wrkspc_app" and day[0] in expected else 0
        assert row["excluded_from_cost_api_usd"] in (None, -left_out), day
