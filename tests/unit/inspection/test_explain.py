"""What `explain` tells of the small home, against the arithmetic in small_home.py."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipelines.errors import NotFoundError
from pipelines.inspection.explain import explain
from pipelines.lake import Lake
from pipelines.settings import Settings
from tests.unit.inspection.small_home import build_all, land, settings_of, take_in

DAY = date(2026, 11, 1)


def test_the_cost_is_the_sum_of_its_parts(built_home: Settings) -> None:
    page = explain(built_home, "chat", DAY)
    assert page.effective_cost_usd == Decimal("0.0028")
    assert [(row.provider, row.model, row.total_tokens, row.cost_status) for row in page.rows] == [
        ("openai", "house-model", 1100, "provisional")
    ]
    assert [(part.what, part.amount_usd) for part in page.rows[0].parts] == [
        ("shares of billed token keys", Decimal("0.0028"))
    ]
    assert page.complaints == ()


def test_tokens_times_price_is_the_contracted_cost_with_the_price_named(built_home: Settings) -> None:
    lines = {line.component: line for line in explain(built_home, "search", DAY).usage}
    assert sorted(lines) == ["cache_read", "input_uncached"]
    cached = lines["cache_read"]
    assert (cached.tokens, cached.contracted_unit_price_usd, cached.contracted_cost_usd) == (
        8000, Decimal("0.000001"), Decimal("0.008"),
    )  # fmt: skip
    assert (cached.price_id, cached.price_source, cached.valid_from_basis) == (
        "house-cached",
        "price sheet",
        "documented",
    )
    assert cached.valid_from is not None
    assert cached.valid_from.date() == date(2026, 1, 1)


def test_everybody_who_shares_in_the_key_is_told_with_weight_and_share(built_home: Settings) -> None:
    (key,) = explain(built_home, "chat", DAY).keys
    assert (key.billed_cost_usd, key.match_level, key.line_count) == (Decimal("0.02"), 5, 1)
    told = {(claim.feature, claim.component): (claim.weight, claim.effective_cost_usd) for claim in key.claims}
    assert told == {
        ("chat", "input_uncached"): (Decimal("0.002"), Decimal("0.002")),
        ("chat", "output"): (Decimal("0.0008"), Decimal("0.0008")),
        ("search", "cache_read"): (Decimal("0.008"), Decimal("0.008")),
        ("search", "input_uncached"): (Decimal("0.004"), Decimal("0.004")),
        ("__unlogged__", "*"): (Decimal("0.0052"), Decimal("0.0052")),
    }
    assert [claim.feature for claim in key.claims if claim.is_asked_for] == ["chat", "chat"]
    (line,) = key.lines
    assert (line.path, line.record_number, line.billed_cost_usd) == ("openai_costs/costs.json", 1, Decimal("0.02"))


def test_the_files_and_the_rule_behind_the_usage_are_named(built_home: Settings) -> None:
    page = explain(built_home, "chat", DAY)
    assert [(file.path, file.records, file.first_record, file.tokens) for file in page.files] == [
        ("response_log/calls.jsonl", 1, 1, 1100)
    ]
    assert [(rule.rule, rule.requests, rule.tokens) for rule in page.rules] == [
        ("no rule matched; the log's own tag names the feature", 1, 1100)
    ]


def test_what_nobody_logged_is_explained_by_its_keys_alone(built_home: Settings) -> None:
    page = explain(built_home, "__unlogged__", DAY)
    assert page.effective_cost_usd == Decimal("0.0052")
    assert (page.usage, page.files, page.complaints) == ((), (), ())


def test_without_a_bill_the_contracted_cost_is_the_only_part(built_home: Settings) -> None:
    page = explain(built_home, "__unattributed__", date(2026, 11, 2))
    assert page.effective_cost_usd == Decimal("0.0014")
    assert [(part.what, part.amount_usd) for part in page.rows[0].parts] == [
        ("contracted cost of logged usage (no complete bill)", Decimal("0.0014"))
    ]
    assert page.keys == ()
    assert [rule.rule for rule in page.rules] == ["no rule matched, and the log has no tag"]


@pytest.mark.parametrize(
    ("feature", "day", "provider", "expected"),
    [
        ("serch", DAY, None, "such as search"),
        ("search", date(2026, 11, 5), None, "such as 2026-11-01"),
        ("search", DAY, "anthropic", "a provider of that feature and day: openai"),
        ("chat", date(2020, 1, 1), None, "such as 2026-11-01"),
    ],
    ids=["a name misspelt", "a day without it", "a provider without it", "a month that was never built"],
)
def test_what_is_not_there_is_answered_with_what_is_near(
    built_home: Settings, feature: str, day: date, provider: str | None, expected: str
) -> None:
    with pytest.raises(NotFoundError) as caught:
        explain(built_home, feature, day, provider)
    assert expected in caught.value.expected


def test_a_page_that_does_not_add_up_says_so(tmp_path: Path) -> None:
    """A share is changed behind the pipeline's back: the parts no longer sum to the mart, nor the key to its bill."""
    settings = settings_of(tmp_path / "home")
    land(settings)
    take_in(settings)
    build_all(settings)
    path = Lake(settings.lake).path("int__allocated_tokens", "2026-11")
    more = pl.col("effective_cost_usd") + pl.lit(Decimal("0.000000000001"), dtype=pl.Decimal(38, 12))
    changed = pl.read_parquet(path).with_columns(
        pl.when(pl.col("component") == "output").then(more).otherwise("effective_cost_usd").alias("effective_cost_usd")
    )
    changed.cast({"effective_cost_usd": pl.Decimal(38, 12)}).write_parquet(path)
    complaints = explain(settings, "chat", DAY).complaints
    assert any("parts sum to 0.002800000001, its cost is 0.002800000000" in text for text in complaints)
    assert any("shares of effective_cost_usd sum to 0.020000000001" in text for text in complaints)


def test_a_closed_month_is_explained_as_computed_now_and_the_frozen_cost_is_told(tmp_path: Path) -> None:
    """The mart's row of chat was frozen at 0.002; computed now it is 0.0028. The page adds up and names both."""
    settings = settings_of(tmp_path / "home")
    land(settings)
    take_in(settings)
    build_all(settings)
    path = Lake(settings.lake).path("mart__feature_cost_daily", "2026-11")
    frozen = pl.when(pl.col("feature") == "chat").then(pl.lit(Decimal("0.002"))).otherwise("effective_cost_usd")
    mart = pl.read_parquet(path)
    mart.with_columns(frozen.cast(pl.Decimal(38, 12)).alias("effective_cost_usd")).write_parquet(path)
    page = explain(settings, "chat", DAY)
    assert (page.effective_cost_usd, page.complaints) == (Decimal("0.0028"), ())
    assert [note.split(":")[0] for note in page.notes] == ["the mart shows $0.002000000000"]
