"""The day that docs/methodology.md works by hand, through the whole pipeline: the numbers of the page.

What lives here: that one day. What does not: rules in general (tests/properties), faults (tests/faults).
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.lake import Lake
from pipelines.settings import PROJECT_ROOT
from tests.integration.nights import home_settings, land, night, published, refer
from tests.integration.small_month import openai_call, openai_costs, openai_usage, prices

DAY = date(2026, 9, 3)
PAGE = PROJECT_ROOT / "docs" / "methodology.md"


@pytest.fixture(scope="module")
def marts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    home = tmp_path_factory.mktemp("one_dollar")
    prices(home)
    refer(
        home,
        "contract_prices",
        "contract_id,provider,account,model_pattern,service_tier,component,discount_percent,price_usd,per_units,valid_from,valid_to\n"
        "k1,openai,p1,house-*,*,*,10,,,2026-01-01,\n",
    )
    land(
        home,
        "response_log/day.jsonl",
        [openai_call(DAY, 1, "chat", (3_000_000, 0)), openai_call(DAY, 2, "search", (1_000_000, 0))],
    )
    land(home, "openai_usage/day.json", openai_usage({DAY: (5_000_000, 0)}))
    land(home, "openai_costs/day.json", openai_costs({DAY: (("house-mini, input", "4.41"), ("credit", "-0.42"))}))
    settings = home_settings(home)
    night(settings)
    with published(settings) as connection:
        found = {
            name: connection.sql(f"select * from {name}").pl().to_dicts()
            for name in ("mart__feature_cost_daily", "mart__reconciliation_daily")
        }
    keys = Lake(settings.lake).read("int__allocated_tokens", "2026-09")
    assert keys is not None
    return {**found, "keys": keys.to_dicts()}


def amount_on_page(text: str) -> bool:
    return re.search(rf"(?<![\d.]){re.escape(text)}(?![\d.]*\d)", PAGE.read_text(encoding="utf-8")) is not None


def test_features_unlogged_remainder_and_credit_are_as_worked_by_hand(marts: dict[str, list[dict[str, Any]]]) -> None:
    rows = {
        row["feature"]: row
        for row in marts["mart__feature_cost_daily"]
        if row["total_tokens"] or row["feature"] == "__unlogged__"
    }
    expected = {"chat": "2.394", "search": "0.798", "__unlogged__": "0.798"}
    assert {feature: row["effective_cost_usd"] for feature, row in rows.items()} == {
        feature: Decimal(usd) for feature, usd in expected.items()
    }
    assert rows["chat"]["contracted_cost_usd"] == Decimal("2.70")
    assert rows["search"]["contracted_cost_usd"] == Decimal("0.90")
    assert rows["chat"]["cost_per_mtok_usd"] == rows["search"]["cost_per_mtok_usd"] == Decimal("0.798")
    assert rows["__unlogged__"]["cost_per_mtok_usd"] is None
    assert sum(row["effective_cost_usd"] for row in marts["mart__feature_cost_daily"]) == Decimal("3.99")
    for usd in (*expected.values(), "2.70", "0.90", "3.99"):
        assert amount_on_page(usd), usd


def test_the_line_is_shared_at_the_key_that_all_three_witnesses_share(marts: dict[str, list[dict[str, Any]]]) -> None:
    shares = {row["feature"]: row["billed_cost_usd"] for row in marts["keys"]}
    assert shares == {"chat": Decimal("2.646"), "search": Decimal("0.882"), "__unlogged__": Decimal("0.882")}
    assert {(row["key_id"], row["match_level"]) for row in marts["keys"]} == {
        ("2026-09-03|openai|p1|house-mini|*|input_uncached", 2)
    }
    for text in ("2.646", "0.882"):
        assert amount_on_page(text), text


def test_every_dollar_between_metered_and_billed_has_the_name_on_the_page(
    marts: dict[str, list[dict[str, Any]]],
) -> None:
    (row,) = marts["mart__reconciliation_daily"]
    causes = {name: value for name, value in row.items() if name.endswith("_usd") and value}
    assert causes == {
        "metered_cost_usd": Decimal("3.60"),
        "provider_cost_usd": Decimal("4.50"),
        "billed_cost_usd": Decimal("3.99"),
        "credits_usd": Decimal("-0.42"),
        "price_gap_usd": Decimal("-0.09"),
        "unlogged_usd": Decimal("0.90"),
    }
    assert row["coverage"] == Decimal("0.8")
    assert row["billed_cost_usd"] - row["metered_cost_usd"] == Decimal("0.39")
    for text in ("3.60", "4.50", "0.39", "0.8"):
        assert amount_on_page(text), text


def test_the_page_is_there() -> None:
    assert Path(PAGE).is_file()
