"""What a correct pipeline must find in the demo, counted from the generator's own ledger and never from written files.

What lives here: independent totals for tests. What does not: any rule of the product; attribution stands in the
scenario.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from pipelines.demo.charges import Charge, usage_charges
from pipelines.demo.export_windows import (
    Window,
    anthropic_cost_windows,
    anthropic_usage_windows,
    openai_cost_windows,
    openai_usage_windows,
)
from pipelines.demo.list_prices import DemoPrices, component_costs
from pipelines.demo.scenario import DEMO_SEED, SELF_HOSTED, Scenario, load_scenario
from pipelines.demo.traffic import COUNTS, TOKENS, build_calls, data_through
from pipelines.demo.writers_bills import anthropic_lines, openai_lines
from pipelines.demo.writers_gateway import gateway_lines
from pipelines.demo.writers_provider import provider_usage
from pipelines.demo.writers_reference import invoices

_USAGE_WINDOWS = {"openai": openai_usage_windows, "anthropic": anthropic_usage_windows}


def demo_expectations(*, night: int, seed: int = DEMO_SEED, scale: float = 1.0) -> dict[str, Any]:
    """Expected totals after `night`, all earlier nights included; the arguments are those of `write_demo`.

    usage_daily: one dict per usage_date, feature, provider, account, model, service_tier of logged calls, each call
    once:
        requests, failed_requests, input_tokens (all input leaves), cached_input_tokens, cache_write_tokens,
        output_tokens, reasoning_tokens, web_search_requests, token_list_cost_usd and search_list_cost_usd (exact
        Decimals, None where no public list has a price, as for every self-hosted model), contract_alone_usd (exact,
        what a contract prices that no public list does; None for all other usage).
    provider_usage: one dict per usage_date, provider (openai, anthropic), account, model, service_tier: COUNTS,
    requests. billed: one dict per usage_date, provider (openai, anthropic), account: billed_usd as the exports have it.
    invoices: rows of invoices.csv. gateway: lines, original_lines, duplicate_lines, invalid_lines, invalid (kind →
    count). unlogged_requests: calls that no log holds. cross_logged_requests: calls that two logs hold.
    late_usage: requests that the late file of night 2 adds to its day.
    self_hosted: one dict per usage_date and deployment with counters: logged_tokens, and unlogged_tokens, which the
    engines counted beyond them.
    """
    scenario = load_scenario()
    calls = build_calls(scenario, seed=seed, scale=scale)
    charges = usage_charges(calls, scenario)
    landed = calls.filter(pl.col("night") <= night)
    logged = landed.filter(pl.col("source") != "unlogged")
    lines = gateway_lines(calls, scenario, seed=seed).filter(pl.col("night") <= night)
    copies = Counter(lines["copy"].to_list())
    through = data_through(night)
    return {
        "night": night,
        "usage_daily": _usage_daily(logged, scenario),
        "provider_usage": [
            {"provider": provider, **row}
            for provider, windows in _USAGE_WINDOWS.items()
            for row in provider_usage(calls, provider).filter(_exported(windows(scenario), night)).iter_rows(named=True)
        ],
        "billed": _billed(charges, scenario, night),
        "invoices": invoices(charges, scenario, night=night),
        "gateway": {
            "lines": len(lines),
            "original_lines": copies[0],
            "duplicate_lines": copies[1],
            "invalid_lines": copies[2],
            "invalid": dict(Counter(lines.filter(pl.col("copy") == 2)["kind"].to_list())),
        },
        "unlogged_requests": len(calls.filter((pl.col("source") == "unlogged") & (pl.col("usage_date") <= through))),
        "cross_logged_requests": len(logged.filter("is_cross_logged")),
        "late_usage": len(logged.filter("is_late")),
        "self_hosted": _self_hosted(calls, scenario, night),
    }


def _self_hosted(calls: pl.DataFrame, scenario: Scenario, night: int) -> list[dict[str, Any]]:
    counted = calls.filter(
        (pl.col("provider") == SELF_HOSTED)
        & pl.col("usage_date").is_between(scenario.telemetry.first_day, data_through(night))
    )
    tokens, is_unlogged = pl.sum_horizontal(TOKENS), pl.col("source") == "unlogged"
    return (
        counted.group_by("usage_date", pl.col("account").alias("deployment"))
        .agg(
            tokens.filter(~is_unlogged).sum().alias("logged_tokens"),
            tokens.filter(is_unlogged).sum().alias("unlogged_tokens"),
        )
        .sort("usage_date", "deployment")
        .to_dicts()
    )


def _usage_daily(logged: pl.DataFrame, scenario: Scenario) -> list[dict[str, Any]]:
    keys = ("usage_date", "feature", "provider", "account", "model", "service_tier")
    prices = DemoPrices(scenario)
    parts = (
        logged.group_by(*keys, "price_slot", "is_long", "is_peak")
        .agg(
            pl.col(COUNTS).sum(),
            pl.len().alias("requests"),
            (pl.col("status") == "failure").sum().alias("failed_requests"),
        )
        .sort(*keys, "price_slot", "is_long", "is_peak")
    )
    days: dict[tuple[object, ...], dict[str, Any]] = {}
    for part in parts.iter_rows(named=True):
        sums = {
            "requests": part["requests"],
            "failed_requests": part["failed_requests"],
            "input_tokens": sum(part[name] for name in TOKENS if name != "output_tokens"),
            "cached_input_tokens": part["cache_read_tokens"],
            "cache_write_tokens": sum(part[name] for name in TOKENS if name.startswith("cache_write")),
            "output_tokens": part["output_tokens"],
            "reasoning_tokens": part["reasoning_tokens"],
            "web_search_requests": part["web_search_requests"],
            **_list_costs(part, prices),
            "contract_alone_usd": _contract_alone(part, prices),
        }
        row = days.setdefault(tuple(part[name] for name in keys), {name: part[name] for name in keys})
        for name, value in sums.items():
            row[name] = value if name not in row else _sum(row[name], value)
    return list(days.values())


def _list_costs(part: dict[str, Any], prices: DemoPrices) -> dict[str, Decimal | None]:
    """Exact list cost of tokens and of searches; None for both where no public list has the model and tier."""
    if part["provider"] == SELF_HOSTED:
        return {"token_list_cost_usd": None, "search_list_cost_usd": None}
    period = prices.period(*(part[name] for name in ("provider", "model", "service_tier", "price_slot", "is_long")))
    if not period.list_known:
        return {"token_list_cost_usd": None, "search_list_cost_usd": None}
    quantities = {name.removesuffix("_tokens"): part[name] for name in TOKENS}
    tokens = component_costs(period, quantities, is_peak=part["is_peak"])
    searches = component_costs(period, {"web_search": part["web_search_requests"]}, is_peak=False)
    return {
        "token_list_cost_usd": sum(tokens.values(), Decimal(0)),
        "search_list_cost_usd": sum(searches.values(), Decimal(0)),
    }


def _contract_alone(part: dict[str, Any], prices: DemoPrices) -> Decimal | None:
    """Tokens at prices that contracts state, where no public list has the model and tier; None without them all."""
    if part["provider"] == SELF_HOSTED:
        return None
    if prices.period(
        *(part[name] for name in ("provider", "model", "service_tier", "price_slot", "is_long"))
    ).list_known:
        return None
    stated = {
        row["component"]: Decimal(row["price_usd"]) / row["per_units"]
        for row in prices.scenario.contracts
        if "price_usd" in row
        and (row["provider"], row["account"], row["service_tier"])
        == (part["provider"], part["account"], part["service_tier"])
        and fnmatchcase(part["model"], row["model_pattern"])
    }
    used = {name.removesuffix("_tokens"): part[name] for name in TOKENS if part[name]}
    if not used.keys() <= stated.keys():
        return None
    return sum((count * stated[component] for component, count in used.items()), Decimal(0))


def _sum(one: Any, other: Any) -> Any:
    return None if one is None or other is None else one + other


def _exported(windows: list[Window], night: int) -> pl.Expr:
    days = {day for window in windows if window.night <= night for day in window.days}
    return pl.col("usage_date").is_in(sorted(days))


def _billed(charges: list[Charge], scenario: Scenario, night: int) -> list[dict[str, Any]]:
    """Sums per day and account of the newest fetch of each day that has landed."""
    openai = {day for window in openai_cost_windows(scenario) if window.night <= night for day in window.days}
    anthropic = {day for window in anthropic_cost_windows(scenario) if window.night <= night for day in window.days}
    totals: dict[tuple[Any, ...], Decimal] = {}
    for provider, lines in (
        ("openai", openai_lines(charges, scenario, openai, night=night)),
        ("anthropic", anthropic_lines(charges, anthropic)),
    ):
        for line in lines:
            key = (line.usage_date, provider, line.account)
            totals[key] = totals.get(key, Decimal(0)) + line.usd
    names = ("usage_date", "provider", "account", "billed_usd")
    return [dict(zip(names, (*key, totals[key]), strict=True)) for key in sorted(totals)]
