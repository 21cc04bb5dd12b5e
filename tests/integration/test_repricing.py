"""Pricing history again: without a log file, with a difference, and as the book stood at an instant.

What lives here: reprice and --known-at on the small month. What does not: choosing a price (tests/unit/transforms).
Without bills contracted cost counts: $24.00 of OpenAI and $18.60 of Anthropic over six days, as small_month.py says.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipelines.errors import UsageError
from pipelines.history.publication import publish_marts
from pipelines.history.repricing import costs_as_known_at, difference_to_now, export, reprice
from tests.integration.nights import home_settings, land, night, published
from tests.integration.small_month import DAYS, MONTH, PRICES, day_of_calls, price_row, prices


@pytest.fixture(scope="module")
def logged_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("logged")
    prices(home)
    for day in DAYS:
        land(home, f"response_log/{day}.jsonl", day_of_calls(day))
    night(home_settings(home))
    shutil.rmtree(home / "landing")
    return home


@pytest.fixture
def home(logged_home: Path, tmp_path: Path) -> Path:
    target = tmp_path / "home"
    shutil.copytree(logged_home, target, symlinks=True)
    return target


CORRECTED = (
    price_row("h-in", "openai", "house-mini", "input_uncached", "1.00", gone="2026-11-10"),
    price_row("h-in-2", "openai", "house-mini", "input_uncached", "0.50", known="2026-11-10"),
    *PRICES[1:],
)
"""Since 10 November it is known that the input price had always been $0.50: 18,000,000 tokens, so $9.00 less."""


def test_a_corrected_price_reaches_history_without_any_log(home: Path) -> None:
    """chat had 12,000,000 of the 18,000,000 input tokens ($6.00 less), search 6,000,000 ($3.00 less)."""
    assert not (home / "landing").exists()
    prices(home, CORRECTED)
    settings = home_settings(home)
    changes = reprice(settings).select(
        "month", "feature", "effective_cost_usd_before", "effective_cost_usd_after", "delta_usd"
    )
    assert changes.rows() == [
        (MONTH, "chat", Decimal("36.60"), Decimal("30.60"), Decimal("-6.00")),
        (MONTH, "search", Decimal("6.00"), Decimal("3.00"), Decimal("-3.00")),
    ]
    assert publish_marts(settings).is_new
    with published(settings) as marts:
        told = marts.sql("select feature, cause, delta_usd from mart__restatements order by feature").fetchall()
    assert told == [("chat", "price_corrected", Decimal("-6.00")), ("search", "price_corrected", Decimal("-3.00"))]
    assert reprice(settings).is_empty()


def test_the_book_of_an_earlier_day_still_prices_as_it_did(home: Path) -> None:
    prices(home, CORRECTED)
    settings = home_settings(home)
    reprice(settings)
    then = costs_as_known_at(settings, datetime(2026, 11, 1, tzinfo=UTC))
    now = costs_as_known_at(settings, datetime(2026, 11, 20, tzinfo=UTC))
    assert then["list_cost_usd"].sum() == Decimal("42.60")
    assert now["list_cost_usd"].sum() == Decimal("33.60")
    changes = difference_to_now(settings, then)
    assert changes.select("feature", "then_effective_cost_usd", "now_effective_cost_usd", "delta_usd").rows() == [
        ("chat", Decimal("36.60"), Decimal("30.60"), Decimal("-6.00")),
        ("search", Decimal("6.00"), Decimal("3.00"), Decimal("-3.00")),
    ]
    assert not list((settings.lake).glob(".beside-*"))


def test_only_the_days_asked_for_are_priced(home: Path) -> None:
    costs = costs_as_known_at(home_settings(home), datetime(2026, 11, 1, tzinfo=UTC), DAYS[1], DAYS[2])
    assert sorted(costs["usage_date"].unique()) == [DAYS[1], DAYS[2]]
    assert costs["effective_cost_usd"].sum() == Decimal("14.20")


def test_the_result_can_be_written_and_read_again(home: Path, tmp_path: Path) -> None:
    costs = costs_as_known_at(home_settings(home), datetime(2026, 11, 1, tzinfo=UTC))
    export(costs, tmp_path / "out" / "october.parquet")
    assert pl.read_parquet(tmp_path / "out" / "october.parquet").equals(costs)
    with pytest.raises(UsageError, match="no format"):
        export(costs, tmp_path / "october.xlsx")


def test_an_instant_needs_a_zone(home: Path) -> None:
    with pytest.raises(UsageError, match="no zone"):
        costs_as_known_at(home_settings(home), datetime(2026, 11, 1))  # noqa: DTZ001
