"""Every token is in one class and is priced once, at the price of its moment; without a price it has no cost.

What lives here: random calls in the words of three providers and a random price book, from the log to the marts,
against an oracle that looks at each call alone; a discount, and prices that a contract states, listed or not. What does
not: aliases, schedules, regions, layers (test_price_intervals.py, tests/unit/transforms), bills
(test_reconciliation_causes.py).
A home of 2,400 calls with up to 5 token classes each, about 7,000 priced quantities, and again after
prices that begin later joined the book.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from pipelines.build.graph import build_order, inputs_of, refresh_reference, refresh_table
from pipelines.build.rollup_days import roll_up_days
from pipelines.lake import Lake
from pipelines.settings import Settings
from tests.integration.nights import home_settings, land, refer
from tests.properties.models import many_cases, pico
from tests.unit.lake_state import take_in

START = datetime(2026, 9, 1, tzinfo=UTC)
DAYS = 4
LATER = START + timedelta(days=3)
"""Prices that join the book afterwards begin here: days before must not move."""
PROVIDERS = {"openai": ("input_uncached", "cache_read", "output"),
             "anthropic": ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output"),
             "google": ("input_uncached", "cache_read", "output")}  # fmt: skip
BAND = 200_000
BOOK = (
    "price_id,provider,model,region,service_tier,component,prompt_tokens_gt,prompt_tokens_le,tier_scope,schedule,"
    "price_usd,per_units,unit,valid_from,valid_to,valid_from_basis,recorded_at,superseded_at,change_kind,layer,source"
)
CONTRACTS = (
    "contract_id,provider,account,model_pattern,service_tier,component,discount_percent,price_usd,per_units,"
    "valid_from,valid_to"
)
GOALS = ("mart__feature_cost_daily", "mart__unpriced_usage")


@dataclass(frozen=True)
class Price:
    """Ten-thousandths of a dollar per million tokens, in force from `start` until `end`, for prompts of one size."""

    provider: str
    model: str
    component: str
    above: int
    up_to: int | None
    amount: int
    start: datetime
    end: datetime | None

    def line(self, name: str) -> str:
        edges = f"{self.start.isoformat()},{self.end.isoformat() if self.end else ''}"
        return (
            f"{name},{self.provider},{self.model},*,standard,{self.component},{self.above},{self.up_to or ''},request,,"
            f"{self.amount / 10_000:.4f},1000000,tokens,{edges},documented,2026-01-01,,,curated,test"
        )


@dataclass(frozen=True)
class Call:
    provider: str
    account: str
    model: str
    feature: str
    at: datetime
    tokens: dict[str, int]
    reasoning: int

    def line(self, number: int) -> str:
        told = {"timestamp": self.at.isoformat(), "provider": self.provider, "model": self.model}
        told |= {"account": self.account, "feature": self.feature, "request_id": f"r{number}"}
        return json.dumps({**told, "usage": self.usage()})

    def usage(self) -> dict[str, Any]:
        """In the provider's words: OpenAI and Google count cached tokens inside the prompt, Anthropic beside it;
        Google counts thoughts beside the candidates, OpenAI inside the completion."""
        tokens = self.tokens
        prompt = sum(tokens.values()) - tokens["output"]
        if self.provider == "openai":
            return {
                "prompt_tokens": prompt,
                "prompt_tokens_details": {"cached_tokens": tokens["cache_read"]},
                "completion_tokens": tokens["output"],
                "completion_tokens_details": {"reasoning_tokens": self.reasoning},
                "total_tokens": prompt + tokens["output"],
            }
        if self.provider == "google":
            return {
                "promptTokenCount": prompt,
                "cachedContentTokenCount": tokens["cache_read"],
                "candidatesTokenCount": tokens["output"] - self.reasoning,
                "thoughtsTokenCount": self.reasoning,
                "totalTokenCount": prompt + tokens["output"],
            }
        writes = {"5m": tokens["cache_write_5m"], "1h": tokens["cache_write_1h"]}
        return {
            "input_tokens": tokens["input_uncached"],
            "cache_read_input_tokens": tokens["cache_read"],
            "cache_creation_input_tokens": sum(writes.values()),
            "cache_creation": {f"ephemeral_{life}_input_tokens": count for life, count in writes.items()},
            "output_tokens": tokens["output"],
        }


def drawn_book(draw: Random) -> list[Price]:
    """Models `whole` are priced at all times, models `holes` lack components, bands or times; some prices are 0."""
    prices = []
    for provider, components in PROVIDERS.items():
        for model in ("whole-1", "whole-2", "holes-1", "holes-2"):
            for component in components:
                bands = draw.choice(([(0, None)], [(0, BAND), (BAND, None)]))
                for above, up_to in bands:
                    edges = sorted(draw.sample(range(1, DAYS * 24), draw.randint(0, 3)))
                    starts = [START - timedelta(days=99), *(START + timedelta(hours=hour) for hour in edges)]
                    for start, end in zip(starts, [*starts[1:], None], strict=True):
                        if model.startswith("whole") or draw.random() < 0.7:
                            amount = draw.choice((0, draw.randint(1, 400_000)))
                            prices.append(Price(provider, model, component, above, up_to, amount, start, end))
    return prices


def drawn_call(draw: Random, number: int) -> Call:
    provider = draw.choice(tuple(PROVIDERS))
    model = draw.choice(("whole-1", "whole-2", "holes-1", "holes-2", "unheard"))
    tokens = {name: draw.choice((0, 0, draw.randint(1, 60_000), BAND)) for name in PROVIDERS[provider]}
    at = START + timedelta(seconds=draw.randrange(DAYS * 86400))
    feature = f"f{number % 7}" if model.startswith("whole") else f"only-{number}"
    reasoning = draw.randint(0, tokens["output"]) if provider != "anthropic" else 0
    return Call(provider, draw.choice(("a1", "a2")), model, feature, at, tokens, reasoning)


def price_of(call: Call, component: str, book: list[Price]) -> int | None:
    """The one price in force at the call's moment, in the band of its whole prompt."""
    prompt = sum(call.tokens.values()) - call.tokens["output"]
    found = [
        price.amount
        for price in book
        if (price.provider, price.model, price.component) == (call.provider, call.model, component)
        and price.start <= call.at
        and (price.end is None or call.at < price.end)
        and price.above < max(prompt, 1)
        and (price.up_to is None or prompt <= price.up_to)
    ]
    assert len(found) <= 1
    return found[0] if found else None


AGREED = {("unheard", "input_uncached"): 30_000, ("unheard", "cache_read"): 5_000, ("unheard", "output"): 90_000,
          ("holes-1", "output"): 70_000}  # fmt: skip
"""What a contract states for OpenAI's account a2, per model and component: with or without a price in the book."""


def agreed(call: Call, component: str) -> int | None:
    is_bound = call.provider == "openai" and call.account == "a2"
    return AGREED.get((call.model, component)) if is_bound else None


def discount(call: Call) -> int:
    """Percent off: account a1 pays 93% for OpenAI's whole-1."""
    return 7 if (call.provider, call.model) == ("openai", "whole-1") and call.account == "a1" else 0


Sums = dict[str, int | None]


def expected(calls: list[Call], book: list[Price]) -> tuple[dict[tuple[Any, ...], Sums], dict[tuple[str, ...], int]]:
    """Sums per day and feature key, in tokens and pico-dollars, and tokens of components without a price."""
    rows: dict[tuple[Any, ...], Sums] = {}
    gaps: dict[tuple[str, ...], int] = defaultdict(int)
    for call in calls:
        key = (call.at.date(), call.feature, call.provider, call.account, call.model)
        names = ("requests", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens",
                 "reasoning_tokens", "total_tokens", "unpriced_tokens")  # fmt: skip
        row = rows.setdefault(key, {**dict.fromkeys(names, 0), "list_cost_usd": None, "contracted_cost_usd": None})
        tokens = call.tokens
        row["requests"] += 1  # type: ignore[operator]
        counts = {
            "input_tokens": sum(tokens.values()) - tokens["output"],
            "cached_input_tokens": tokens["cache_read"],
            "cache_write_tokens": tokens.get("cache_write_5m", 0) + tokens.get("cache_write_1h", 0),
            "output_tokens": tokens["output"],
            "reasoning_tokens": call.reasoning,
            "total_tokens": sum(tokens.values()),
        }
        used = {component: count for component, count in tokens.items() if count}
        prices = {component: price_of(call, component, book) for component in used}
        stated = {component: agreed(call, component) for component in used}
        lacking = [component for component, price in prices.items() if price is None and stated[component] is None]
        for component in lacking:
            gaps[call.provider, call.model, component] += used[component]
        if lacking:
            counts["unpriced_tokens"] = sum(used.values())
        else:
            if None not in prices.values():
                cost = sum(count * (prices[component] or 0) for component, count in used.items())
                row["list_cost_usd"] = (row["list_cost_usd"] or 0) + 100 * cost
            contracted = 0
            for component, count in used.items():
                price, of_list = stated[component], (100 - discount(call)) * (prices[component] or 0)
                contracted += count * (of_list if price is None else 100 * price)
            row["contracted_cost_usd"] = (row["contracted_cost_usd"] or 0) + contracted
        for name, count in counts.items():
            row[name] += count  # type: ignore[operator]
    return rows, dict(gaps)


def marts(settings: Settings) -> dict[str, pl.DataFrame]:
    wanted = set(GOALS)
    for table in reversed(build_order()):
        wanted |= set(inputs_of(table)) if table in wanted else set()
    refresh_reference(settings)
    roll_up_days(settings)
    for table in build_order():
        if table in wanted:
            refresh_table(settings, table)
    lake = Lake(settings.lake)
    return {
        goal: pl.concat([lake.read(goal, key) for key in lake.partitions(goal)])  # type: ignore[misc]
        for goal in GOALS
    }


def compare(made: dict[str, pl.DataFrame], calls: list[Call], book: list[Price]) -> None:
    rows, gaps = expected(calls, book)
    found = {
        tuple(row[name] for name in ("usage_date", "feature", "provider", "account", "model")): row
        for row in made["mart__feature_cost_daily"].to_dicts()
    }
    assert found.keys() == rows.keys()
    for key, sums in rows.items():
        row = found[key]
        for name, amount in sums.items():
            assert (pico(row[name]) if name.endswith("_usd") else row[name]) == amount, (key, name)
        assert row["effective_cost_usd"] == row["contracted_cost_usd"]
        check_ratio(row["cost_per_mtok_usd"], sums["contracted_cost_usd"], sums["total_tokens"])
        check_ratio(row["cost_per_mtok_output_usd"], sums["contracted_cost_usd"], sums["output_tokens"])
    unpriced = {
        (row["provider"], row["model"], row["component"]): row["tokens"]
        for row in made["mart__unpriced_usage"].to_dicts()
    }
    assert unpriced == gaps


def check_ratio(stored: Any, cost: int | None, tokens: int | None) -> None:
    """One stored sum over another: to the last stored digit, or the sixteenth."""
    if cost is None or not tokens:
        assert stored is None
        return
    exact = Fraction(cost, 10**12) * 10**6 / tokens
    assert abs(Fraction(stored) - exact) <= Fraction(1, 10**12) + abs(exact) / 10**15


@many_cases(1)
def test_tokens_are_priced_once_at_the_price_of_their_moment(
    draw: Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home: Path = tmp_path_factory.mktemp("priced")
    settings = home_settings(home)
    book = drawn_book(draw)
    calls = [drawn_call(draw, number) for number in range(2400)]
    refer(home, "model_prices/test", "\n".join([BOOK, *(price.line(f"p{n}") for n, price in enumerate(book))]) + "\n")
    stated = [
        f"k2,openai,a2,{model},*,{component},,{usd / 10_000:.4f},1000000,2026-01-01,"
        for (model, component), usd in AGREED.items()
    ]
    refer(home, "contract_prices", "\n".join([CONTRACTS, "k1,openai,a1,whole-1,*,*,7,,,2026-01-01,", *stated]) + "\n")
    for start in range(0, len(calls), 400):
        lines = [calls[number].line(number) for number in range(start, start + 400)]
        land(home, f"response_log/{start}.jsonl", "\n".join(lines) + "\n")
    take_in(settings)
    before = marts(settings)
    compare(before, calls, book)
    later = [
        Price(provider, "unheard", component, 0, None, draw.randint(0, 99), LATER, None)
        for provider, components in PROVIDERS.items()
        for component in components
    ]
    refer(home, "model_prices/later", "\n".join([BOOK, *(price.line(f"l{n}") for n, price in enumerate(later))]) + "\n")
    after = marts(settings)
    compare(after, calls, [*book, *later])
    earlier = pl.col("usage_date") < date(LATER.year, LATER.month, LATER.day)
    name = "mart__feature_cost_daily"
    assert after[name].filter(earlier).equals(before[name].filter(earlier))
    assert not after[name].equals(before[name])
