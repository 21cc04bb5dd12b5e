"""The demo's calls: every request of the quarter, drawn from the seed, in canonical disjoint token leaves.

What lives here: the calls frame and its columns. What does not: how any provider writes a call down (the writers).
This frame is the ledger of the demo: logs, usage exports and bills are all written from it, and expectations count it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

import polars as pl

from pipelines.demo.list_prices import DemoPrices
from pipelines.demo.random_streams import Stream
from pipelines.demo.scenario import DEMO_NIGHTS, Route, Scenario
from pipelines.quantities import CACHE_WRITE_LEAVES

TOKENS: tuple[str, ...] = (
    "input_uncached_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cache_write_30m_tokens",
    "output_tokens",
)
"""Token leaves that demo traffic uses; `reasoning_tokens` beside them is a subset of output."""

COUNTS: tuple[str, ...] = (*TOKENS, "reasoning_tokens", "web_search_requests")

_CACHE_BLOCK = 128
_LONG_PROMPT = 200_001
_LONG_PROMPT_SPAN = 350_000
_OFFICE_WEIGHTS = (1, 0, 0, 1, 0, 1, 2, 4, 5, 6, 6, 4, 3, 5, 5, 4, 3, 2, 1, 1, 1, 1, 1, 1)
_OFFICE_HOURS = tuple(hour for hour, weight in enumerate(_OFFICE_WEIGHTS) for _ in range(weight))
_HOURS = {"office": _OFFICE_HOURS, "clock": tuple(range(24)), "day": tuple(range(5, 22))}
"""Hours (UTC) that calls are drawn from; `day` knows no call from 22:00 to 05:00."""
_ID_PREFIXES = {"anthropic": "msg_", "aws_bedrock": "brk-", "google": "gem-"}


def build_calls(scenario: Scenario, *, seed: int, scale: float) -> pl.DataFrame:
    """All calls of the quarter, ordered by time; the same seed and scale always give the same frame.

    Columns: route, source, feature (the correct one), feature_tag (as logged), api_key_id, provider, account, model,
    service_tier, request_id (NULL where the log has none), call (number within the route), started_at, usage_date,
    user, status, COUNTS, price_slot, is_long, is_peak (see list_prices.py), night (first night whose files hold it),
    is_late, is_cross_logged (LiteLLM calls that the gateway logged too).
    """
    millionths = round(scale * 1_000_000)
    prices = DemoPrices(scenario)
    frames = [_route_calls(route, scenario, prices, seed=seed, millionths=millionths) for route in scenario.routes]
    return pl.concat(frames).sort("started_at", "route", "call")


def data_through(night: int) -> date:
    """Last UTC day that is complete on a night: the day before its clock."""
    clock = datetime.fromisoformat(dict(DEMO_NIGHTS)[night])
    return date.fromordinal(clock.date().toordinal() - 1)


def _route_calls(route: Route, scenario: Scenario, prices: DemoPrices, *, seed: int, millionths: int) -> pl.DataFrame:
    quarter = scenario.quarter
    per_day = [route.calls_on(day, quarter, seed=seed, scale_millionths=millionths) for day in quarter.days]
    days = pl.DataFrame(
        {"usage_date": quarter.days, "calls": per_day}, schema={"usage_date": pl.Date, "calls": pl.UInt32}
    )
    calls = days.select(pl.col("usage_date").repeat_by("calls").explode(empty_as_null=False)).with_row_index("call")
    calls = calls.with_columns(pl.col("call").cast(pl.Int64))
    counter = pl.col("call")

    def stream(name: str) -> Stream:
        return Stream(seed, f"{route.key}.{name}")

    hour = stream("hour").pick(counter, _HOURS[route.hours])
    within_hour = stream("millisecond").below(counter, 3_600_000)
    started_at = pl.col("usage_date").cast(pl.Datetime("us", "UTC")) + pl.duration(hours=hour, milliseconds=within_hour)
    failed = stream("failed").chance(counter, route.failed_permille)
    timed = calls.with_columns(
        started_at.alias("started_at"),
        pl.when(failed).then(pl.lit("failure")).otherwise(pl.lit("success")).alias("status"),
    )
    counted = _with_counts(timed, route, stream)
    through = data_through(1)
    late = (pl.col("usage_date") == quarter.late_day) & (hour >= 12) & (pl.lit(route.source) == "gateway")
    crossed = stream("crossed").chance(counter, quarter.cross_logged_permille) & (pl.col("status") == "success")
    return counted.select(
        pl.lit(route.key).alias("route"),
        pl.lit(route.source).alias("source"),
        pl.lit(route.feature).alias("feature"),
        pl.lit(route.logged_feature, dtype=pl.String).alias("feature_tag"),
        pl.lit(route.api_key_id, dtype=pl.String).alias("api_key_id"),
        pl.lit(route.provider).alias("provider"),
        pl.lit(route.account).alias("account"),
        pl.lit(route.model).alias("model"),
        pl.lit(route.service_tier).alias("service_tier"),
        _request_id(route, stream("request_id")).alias("request_id"),
        "call",
        "started_at",
        "usage_date",
        stream("user").skewed(counter, 1, quarter.users + 1).alias("user"),
        "status",
        *COUNTS,
        prices.slot(pl.col("started_at")).alias("price_slot"),
        prices.is_long(route.provider, route.model, pl.col("prompt_tokens")).alias("is_long"),
        prices.is_peak(route.provider, route.model, pl.col("started_at")).alias("is_peak"),
        pl.when(late | (pl.col("usage_date") > through)).then(2).otherwise(1).alias("night"),
        late.alias("is_late"),
        (crossed & (pl.lit(route.source) == "litellm")).alias("is_cross_logged"),
    )


def _with_counts(calls: pl.DataFrame, route: Route, stream: Callable[[str], Stream]) -> pl.DataFrame:
    """Token leaves of each call: a prompt, of which a part is read from cache and a part of the rest written to it."""
    counter = pl.col("call")
    prompt = stream("prompt").skewed(counter, *route.prompt)
    long_prompt = _LONG_PROMPT + stream("long_prompt").below(counter, _LONG_PROMPT_SPAN)
    prompt = pl.when(stream("is_long").chance(counter, route.long_permille)).then(long_prompt).otherwise(prompt)
    succeeded = pl.col("status") == "success"
    read_chance, read_share = route.cached
    write_chance, write_share, write_ttl = route.written
    read = pl.when(stream("cached").chance(counter, read_chance)).then(
        pl.col("prompt_tokens") * read_share // 1000 // _CACHE_BLOCK * _CACHE_BLOCK
    )
    fresh = pl.col("prompt_tokens") - pl.col("cache_read_tokens")
    written = pl.when(stream("written").chance(counter, write_chance)).then(fresh * write_share // 1000)
    searches = pl.when(stream("searched").chance(counter, route.searches_permille) & succeeded).then(
        1 + stream("searches").below(counter, 3)
    )
    return (
        calls.with_columns(
            pl.when(succeeded).then(prompt).otherwise(0).alias("prompt_tokens"),
            pl.when(succeeded)
            .then(stream("output").skewed(counter, *route.output))
            .otherwise(0)
            .alias("output_tokens"),
            searches.otherwise(0).alias("web_search_requests"),
        )
        .with_columns(read.otherwise(0).alias("cache_read_tokens"))
        .with_columns(
            pl.lit(0, dtype=pl.Int64).alias(f"{leaf}_tokens")
            for leaf in CACHE_WRITE_LEAVES
            if leaf != f"cache_write_{write_ttl}"
        )
        .with_columns(written.otherwise(0).alias(f"cache_write_{write_ttl}_tokens"))
        .with_columns(
            (fresh - pl.col(f"cache_write_{write_ttl}_tokens")).alias("input_uncached_tokens"),
            (pl.col("output_tokens") * route.reasoning_permille // 1000).alias("reasoning_tokens"),
        )
    )


def _request_id(route: Route, stream: Stream) -> pl.Expr:
    if not route.has_request_id:
        return pl.lit(None, dtype=pl.String)
    openai_prefix = "resp_" if route.written[0] else "chatcmpl-"
    prefix = _ID_PREFIXES.get(route.provider, openai_prefix)
    return prefix + stream.bits(pl.col("call")).cast(pl.String).str.zfill(20)
