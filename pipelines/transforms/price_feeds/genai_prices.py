"""The `genai-prices` package as a feed of today's standard prices.

What lives here: its provider list → FeedPrice rows of what it holds true at one instant. What does not: its history (it
has none before a model's last change), tiers other than standard, time-of-day prices (it applies later windows to all
past dates). Use it to see what changed, not to price the past. The package is MIT and optional.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib import import_module
from importlib.metadata import version
from typing import Any

from pipelines.errors import NotFoundError
from pipelines.transforms.price_feeds.rows import FeedPrice

PROVIDERS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "google": "google",
    "deepseek": "deepseek",
    "mistral": "mistral",
    "groq": "groq",
    "cohere": "cohere",
    "x-ai": "xai",
}
_COMPONENTS: Mapping[str, str] = {
    "input_mtok": "input_uncached",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "cache_audio_read_mtok": "cache_read_audio",
}


def prices(at: datetime) -> list[FeedPrice]:
    """Standard prices of the installed package at `at`, for the labs in PROVIDERS. Raises NotFoundError without it."""
    try:
        providers: list[Any] = import_module("genai_prices.data").providers
    except ModuleNotFoundError:
        raise NotFoundError(
            "the feed package genai-prices is not installed",
            where="prices refresh",
            expected="genai-prices beside tokenmart",
            next_move="install the dev extra, or give a price file instead",
        ) from None
    source = f"genai-prices {version('genai-prices')}"
    return [
        row
        for provider in providers
        if provider.id in PROVIDERS
        for model in provider.models
        for row in _model(PROVIDERS[provider.id], model, at, source)
    ]


def _model(provider: str, model: Any, at: datetime, source: str) -> Iterator[FeedPrice]:
    stated = model.prices if isinstance(model.prices, list) else []
    limits = [entry.constraint for entry in stated if entry.constraint is not None]
    if any(not hasattr(limit, "start_date") for limit in limits):
        return
    begun = [limit.start_date for limit in limits if limit.active(at)]
    start = datetime.combine(max(begun), time(), tzinfo=UTC) if begun else at
    priced = model.get_prices(at)
    for field, component in _COMPONENTS.items():
        price = getattr(priced, field, None)
        if price is None:
            continue
        is_long_write = component == "cache_write_5m" and provider == "openai"
        for above, upto, value in _bands(price):
            yield FeedPrice(
                provider=provider,
                model=model.id,
                component="cache_write_30m" if is_long_write else component,
                price_usd=value,
                prompt_tokens_gt=above,
                prompt_tokens_le=upto,
                valid_from=start,
                valid_from_basis="documented" if begun else "first_observed",
                recorded_at=at,
                source=source,
            )


def _bands(price: Any) -> Iterator[tuple[int, int | None, Decimal]]:
    """(more than, at most, dollars per million tokens) of a plain or tiered price."""
    if isinstance(price, Decimal):
        yield 0, None, price
        return
    edges = [0, *(tier.start for tier in price.tiers)]
    values = [price.base, *(tier.price for tier in price.tiers)]
    for position, (above, value) in enumerate(zip(edges, values, strict=True)):
        yield above, edges[position + 1] if position + 1 < len(edges) else None, value
