"""What an API would have cost: self-hosted tokens at the public price of the same or a named equivalent model.

What lives here: choosing the equivalent and pricing each day's tokens. What does not: prices themselves
(price_segments.py), break-even (deployment_options.py). A model is the same only under its exact id, or the id after
its last slash, in any case of letters; among providers that sell it, the cheapest for the month's own mix counts. A
price list without a cache discount bills cached input as input. Only the band of short prompts is used: which prompt
was how long is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import polars as pl

from pipelines.contracts.fields import DEFAULT_ACCOUNT, UNSPECIFIED_REGION, polars_schema
from pipelines.contracts.infrastructure import IntApiEquivalents
from pipelines.transforms.economics import PRECISION
from pipelines.transforms.model_resolution import resolve_models
from pipelines.transforms.price_segments import price_segments

Offer = tuple[str, str]
"""Provider and model."""
Tokens = tuple[int, int, int]
"""Uncached input, cached input, output."""

CLASSES = ("uncached_tokens", "cached_tokens", "output_tokens")
_PICO = Decimal("1e-12")


@dataclass(frozen=True)
class PriceTables:
    """The price book and what is needed to read it, as the lake keeps them."""

    book: pl.DataFrame
    schedules: pl.DataFrame
    aliases: pl.DataFrame
    equivalents: pl.DataFrame
    contracts: pl.DataFrame


def api_equivalents(usage: pl.DataFrame, named: pl.DataFrame, prices: PriceTables, today: date) -> pl.DataFrame:
    """int__api_equivalents of one month from int__self_hosted_usage and ref__model_equivalents; `today` prices anew."""
    daily = (
        usage.group_by("usage_date", "deployment", "model")
        .agg(pl.col(name).sum() for name in CLASSES)
        .filter(pl.sum_horizontal(CLASSES) > 0)
        .sort("usage_date", "deployment", "model")
    )
    stand_ins = {row["model"]: row for row in named.iter_rows(named=True)}
    offers = {model: _offers(model, stand_ins, prices.book) for model in daily["model"].unique().sort()}
    days = sorted({*daily["usage_date"], today})
    known = _unit_prices({offer for found in offers.values() for offer in found}, days, prices)
    chosen = {model: _cheapest(found, daily.filter(pl.col("model") == model), known) for model, found in offers.items()}
    rows: dict[tuple[date, str], dict[str, object]] = {}
    for row in daily.iter_rows(named=True):
        tokens = (row[CLASSES[0]], row[CLASSES[1]], row[CLASSES[2]])
        offer = chosen[row["model"]]
        stand_in = stand_ins.get(row["model"])
        key = (row["usage_date"], row["deployment"])
        found: dict[str, object] = {
            "usage_date": row["usage_date"],
            "deployment": row["deployment"],
            "equivalence": None if offer is None else "named" if stand_in else "same_model",
            "equivalent_provider": None if offer is None else offer[0],
            "equivalent_model": None if offer is None else offer[1],
            "quality_ratio": stand_in["quality_ratio"] if stand_in else None,
            "api_cost_usd": _cost(tokens, known.get((offer, row["usage_date"]))) if offer else None,
            "api_cost_at_todays_price_usd": _cost(tokens, known.get((offer, today))) if offer else None,
        }
        rows[key] = _added(rows[key], found) if key in rows else found
    return pl.DataFrame(list(rows.values()), schema=polars_schema(IntApiEquivalents), orient="row").sort(
        "usage_date", "deployment"
    )


def _added(one: dict[str, object], other: Mapping[str, object]) -> dict[str, object]:
    """Two models of one deployment and day: costs add up, and are unknown where one is."""
    for name in ("api_cost_usd", "api_cost_at_todays_price_usd"):
        mine, theirs = one[name], other[name]
        both = isinstance(mine, Decimal) and isinstance(theirs, Decimal)
        one[name] = mine + theirs if both and isinstance(mine, Decimal) and isinstance(theirs, Decimal) else None
    return one


def _offers(model: str, stand_ins: Mapping[str, Mapping[str, Any]], book: pl.DataFrame) -> list[Offer]:
    if model in stand_ins:
        return [(stand_ins[model]["equivalent_provider"], stand_ins[model]["equivalent_model"])]
    ids = sorted({model.lower(), model.rsplit("/", 1)[-1].lower()})
    sold = book.filter(pl.col("model").str.to_lowercase().is_in(ids) & (pl.col("service_tier") == "standard"))
    return list(sold.select("provider", "model").unique().sort("provider", "model").iter_rows())


def _unit_prices(
    offers: set[Offer], days: Sequence[date], prices: PriceTables
) -> dict[tuple[Offer, date], dict[str, Decimal]]:
    """(offer, day) → component → public dollars per token at the start of the day."""
    if not offers:
        return {}
    instants = [datetime.combine(day, time(), tzinfo=UTC) for day in days]
    keys = pl.DataFrame(
        [
            (provider, DEFAULT_ACCOUNT, model, "standard", UNSPECIFIED_REGION, instant)
            for provider, model in sorted(offers)
            for instant in instants
        ],
        schema={
            "provider": pl.String,
            "account": pl.String,
            "model": pl.String,
            "service_tier": pl.String,
            "region": pl.String,
            "segment_start": pl.Datetime("us", "UTC"),
        },
        orient="row",
    )
    resolution = resolve_models(keys.select("provider", "model", "region").unique(), prices.book, prices.aliases)
    public = prices.contracts.clear()
    segments = price_segments(prices.book, prices.schedules, resolution, keys, public, prices.equivalents)
    found: dict[tuple[Offer, date], dict[str, Decimal]] = {}
    for row in segments.filter(pl.col("prompt_tokens_gt") == 0).iter_rows(named=True):
        key = ((row["provider"], row["model"]), row["segment_start"].date())
        found.setdefault(key, {})[row["component"]] = row["list_unit_price_usd"]
    return found


def _cheapest(
    offers: Sequence[Offer], daily: pl.DataFrame, known: Mapping[tuple[Offer, date], Mapping[str, Decimal]]
) -> Offer | None:
    priced: list[tuple[Decimal, Offer]] = []
    for offer in offers:
        total = Decimal(0)
        costs = [
            _cost((row[CLASSES[0]], row[CLASSES[1]], row[CLASSES[2]]), known.get((offer, row["usage_date"])))
            for row in daily.iter_rows(named=True)
        ]
        if any(cost is None for cost in costs):
            continue
        total = sum((cost for cost in costs if cost is not None), Decimal(0))
        priced.append((total, offer))
    return min(priced)[1] if priced else (offers[0] if len(offers) == 1 else None)


def _cost(tokens: Tokens, prices: Mapping[str, Decimal] | None) -> Decimal | None:
    """Dollars of the tokens; None where a class that occurs has no price."""
    if prices is None:
        return None
    uncached, output = prices.get("input_uncached"), prices.get("output")
    per_class = (uncached, prices.get("cache_read", uncached), output)
    if any(count and price is None for count, price in zip(tokens, per_class, strict=True)):
        return None
    with localcontext(PRECISION):
        total = sum((count * (price or Decimal(0)) for count, price in zip(tokens, per_class, strict=True)), Decimal(0))
        return total.quantize(_PICO, rounding=ROUND_HALF_EVEN)
