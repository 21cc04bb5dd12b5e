"""The demo's calls: same seed, same frame; volumes, leaves and prices that the scenario promises."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from pipelines.demo.expectations import demo_expectations
from pipelines.demo.list_prices import DemoPrices, component_costs
from pipelines.demo.scenario import PricePeriod, Scenario, load_scenario
from pipelines.demo.traffic import COUNTS, build_calls, data_through
from pipelines.errors import PriceBookError, ReferenceTableError


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario()


@pytest.fixture(scope="module")
def calls(scenario) -> pl.DataFrame:
    return build_calls(scenario, seed=7, scale=0.2)


def test_same_seed_gives_the_same_calls_and_another_seed_others(scenario, calls):
    assert build_calls(scenario, seed=7, scale=0.2).equals(calls)
    assert not build_calls(scenario, seed=8, scale=0.2).equals(calls)


def test_scale_multiplies_the_number_of_calls(scenario, calls):
    tenfold = build_calls(scenario, seed=7, scale=2.0)
    assert 9.7 < len(tenfold) / len(calls) < 10.3


def test_full_size_is_between_60_and_100_thousand_calls(scenario):
    assert 60_000 < len(build_calls(scenario, seed=20260701, scale=1.0)) < 100_000


def test_counts_are_never_negative_and_parts_stay_inside_their_whole(calls):
    assert calls.select(pl.min_horizontal(pl.col(COUNTS)).min()).item() == 0
    assert calls.filter(pl.col("reasoning_tokens") > pl.col("output_tokens")).is_empty()


def test_every_day_of_the_quarter_is_inside_and_nothing_else(calls):
    assert (calls["usage_date"].min(), calls["usage_date"].max()) == (date(2026, 7, 1), date(2026, 9, 30))
    assert calls.filter(pl.col("started_at").dt.date() != pl.col("usage_date")).is_empty()
    assert calls["usage_date"].n_unique() == 92


def test_request_ids_are_unique(calls):
    ids = calls["request_id"].drop_nulls()
    assert ids.n_unique() == len(ids)


def test_failed_calls_carry_no_tokens(calls):
    failed = calls.filter(pl.col("status") == "failure")
    assert len(failed) > 0
    assert failed.select(pl.sum_horizontal(pl.col(COUNTS)).sum()).item() == 0


def test_only_night_two_knows_the_last_day_and_the_late_half_day(calls):
    second = calls.filter(pl.col("night") == 2)
    assert set(second["usage_date"]) == {date(2026, 9, 12), date(2026, 9, 30)}
    assert set(second.filter("is_late")["source"]) == {"gateway"}
    assert data_through(1) == date(2026, 9, 29)


def test_long_gemini_prompts_start_above_200000_tokens(calls):
    gemini = calls.filter(pl.col("provider") == "google").with_columns(
        (pl.col("input_uncached_tokens") + pl.col("cache_read_tokens")).alias("prompt")
    )
    assert gemini.filter("is_long")["prompt"].min() > 200_000
    assert gemini.filter(~pl.col("is_long"))["prompt"].max() <= 200_000


@pytest.mark.parametrize(
    ("started_at", "is_peak"),
    [
        # DeepSeek's rule from 2026-08-16T16:00Z: 01:00-04:00 and 06:00-10:00 UTC, Monday to Friday, no holidays.
        (datetime(2026, 8, 14, 2, 0, tzinfo=UTC), False),  # a Friday before the rule
        (datetime(2026, 8, 19, 0, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 8, 19, 1, 0, tzinfo=UTC), True),  # a Wednesday
        (datetime(2026, 8, 19, 4, 0, tzinfo=UTC), False),
        (datetime(2026, 8, 19, 9, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 8, 22, 2, 0, tzinfo=UTC), False),  # a Saturday
        (datetime(2026, 9, 25, 2, 0, tzinfo=UTC), False),  # a holiday, a Friday
        (datetime(2026, 9, 28, 2, 0, tzinfo=UTC), True),
    ],
)
def test_peak_hours_of_deepseek(scenario, started_at, is_peak):
    frame = pl.DataFrame({"at": [started_at]}, schema={"at": pl.Datetime("us", "UTC")})
    peak = DemoPrices(scenario).is_peak("deepseek", "deepseek-v4-flash", pl.col("at"))
    assert frame.select(peak.alias("peak")).item() is is_peak


@pytest.mark.parametrize(
    ("key", "at", "is_long", "is_peak", "quantities", "usd"),
    [
        # 1000 × $5 + 200 × $30 per million before the cut of 2026-08-21, then $4 and $20.
        (("openai", "gpt-5.6-sol", "standard"), "2026-08-20T23:59:59", False, False, (1000, 200), "0.011"),
        (("openai", "gpt-5.6-sol", "standard"), "2026-08-21T00:00:00", False, False, (1000, 200), "0.008"),
        # The rise of claude-sonnet-5 announced for 2026-09-01 was cancelled: still $2 and $10.
        (("anthropic", "claude-sonnet-5", "standard"), "2026-09-05T00:00:00", False, False, (100_000, 100_000), "1.2"),
        # The whole prompt above 200k reprices the whole request: 250,000 × $2.5 + 1,000 × $15.
        (("google", "gemini-2.5-pro", "standard"), "2026-08-01T00:00:00", True, False, (250_000, 1000), "0.64"),
        # DeepSeek at peak costs twice $0.22 and $0.66 on a Wednesday; on a Saturday later $0.15 and $0.60.
        (("deepseek", "deepseek-v4-flash", "standard"), "2026-08-19T02:00:00", False, True, (10**6, 10**6), "1.76"),
        (("deepseek", "deepseek-v4-flash", "standard"), "2026-09-19T02:00:00", False, False, (10**6, 10**6), "0.75"),
    ],
)
def test_list_cost_worked_by_hand(scenario, key, at, is_long, is_peak, quantities, usd):
    prices = DemoPrices(scenario)
    instant = pl.lit(datetime.fromisoformat(at).replace(tzinfo=UTC), dtype=pl.Datetime("us", "UTC"))
    slot = pl.select(prices.slot(instant).alias("slot")).item()
    period = prices.period(*key, slot, is_long)
    costs = component_costs(period, {"input_uncached": quantities[0], "output": quantities[1]}, is_peak=is_peak)
    assert sum(costs.values()) == Decimal(usd)


def test_a_model_without_a_price_is_named(scenario):
    with pytest.raises(PriceBookError, match="0 demo prices for openai gpt-9"):
        DemoPrices(scenario).period("openai", "gpt-9", "standard", 0, False)


def test_a_wrong_key_in_the_scenario_is_named(tmp_path):
    path = tmp_path / "scenario.toml"
    path.write_text("[quarter]\nfirst_dya = 2026-07-01\n[invalid]\nlines = []\n[peak]\nhours = []\n[bill]\n")
    with pytest.raises(ReferenceTableError, match="first_dya"):
        load_scenario(path)


def test_expected_totals_count_every_logged_call_once(calls):
    expected = demo_expectations(night=2, seed=7, scale=0.2)
    logged = calls.filter(pl.col("source") != "unlogged")
    daily = expected["usage_daily"]
    assert sum(row["requests"] for row in daily) == len(logged)
    assert sum(row["output_tokens"] for row in daily) == logged["output_tokens"].sum()
    assert expected["unlogged_requests"] == len(calls) - len(logged)
    unknown = [row for row in daily if row["model"] == "gpt-7-preview-internal"]
    assert unknown
    assert all(row["token_list_cost_usd"] is None for row in unknown)


def _holds(listed: dict[str, str | None], period: PricePeriod) -> bool:
    """The list's row is in force from the scenario row's begin to its end, or over the whole quarter."""
    begin = "2026-07-01" if period.valid_from is None else f"{period.valid_from:%Y-%m-%dT%H:%M:%SZ}"
    end = "2026-10-01" if period.valid_to is None else f"{period.valid_to:%Y-%m-%dT%H:%M:%SZ}"
    return (listed["valid_from"] or "") <= begin and (listed["valid_to"] is None or listed["valid_to"] >= end)


@pytest.mark.real_data
def test_scenario_prices_repeat_the_public_lists(scenario, shared_data):
    feed = pl.read_csv(
        shared_data / "prices" / "canonical_seed_from_model-prices-0.0.5.csv.gz", infer_schema=False, null_values=[""]
    )
    key = ["provider", "model", "service_tier", "component", "prompt_tokens_gt"]
    listed = {names: part.to_dicts() for names, part in feed.partition_by(key, as_dict=True).items()}
    aliases = {"cache_write_30m": "cache_write_5m"}  # the feed knows one lifetime of cache writes for OpenAI
    missing, compared = [], 0
    for period in scenario.prices:
        if not period.list_known or period.provider == "aws_bedrock":
            continue
        for component, price in period.components.items():
            if component == "web_search" or (period.provider, component) == ("mistral", "cache_read"):
                continue  # the feed lists neither
            names = (period.provider, period.model, period.service_tier, aliases.get(component, component))
            rows = [row for row in listed.get((*names, str(period.above)), []) if _holds(row, period)]
            compared += 1
            if [Decimal(row["price"]) for row in rows] != [Decimal(price)]:
                missing.append((*names, period.above, price))
    assert missing == []
    assert compared > 40
