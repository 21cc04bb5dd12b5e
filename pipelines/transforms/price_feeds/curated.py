"""Corrections that people checked: they outrank every feed.

What lives here: the CSV of corrections → FeedPrice rows of layer `curated`, and the facts that no feed holds. What does
not: rules on other prices (derivations.py). `same` in `source` means the source of the line above.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from pipelines.quantities import parse_decimal
from pipelines.transforms.price_feeds.rows import FeedPrice

DEEPSEEK_V4_ALIAS = datetime(2026, 4, 25, 17, 28, 45, tzinfo=UTC)
"""From here the feed records deepseek-chat at V4 Flash prices: the open end of the V3.2 corrections."""

DEEPSEEK_OFF_PEAK = (datetime(2025, 2, 26, 16, 30, tzinfo=UTC), datetime(2025, 9, 5, 16, tzinfo=UTC))
DEEPSEEK_OFF_PEAK_SCHEDULE = "deepseek_off_peak_2025_02_26"
_DEEPSEEK_PAGE = "api-docs.deepseek.com/quick_start/pricing, discount price table"
_PROMPT_CACHING_DAY = datetime(2024, 10, 1, tzinfo=UTC)


def corrections(records: Iterable[Mapping[str, str]]) -> list[FeedPrice]:
    """Rows of a corrections CSV (provider, model, …, price_usd_per_mtok, kind, confidence, source), in its order."""
    rows: list[FeedPrice] = []
    source = ""
    for record in records:
        cited = record["source"]
        source = source if cited.startswith("same") else cited
        valid_from = _moment(record["valid_from"])
        recorded = _moment(record["recorded_at"])
        if valid_from is None:
            raise ValueError(f"correction without valid_from: {record}")
        row = FeedPrice(
            provider=record["provider"],
            model=record["model"],
            region=record["region"],
            service_tier=record["service_tier"],
            component=record["component"],
            prompt_tokens_gt=int(record["prompt_tokens_gt"]),
            price_usd=parse_decimal(record["price_usd_per_mtok"]),
            valid_from=valid_from,
            valid_to=_moment(record["valid_to"]),
            valid_from_basis="documented",
            recorded_at=recorded or valid_from,
            superseded_at=_moment(record["superseded_at"]),
            change_kind=record["kind"],
            layer="curated",
            source=source,
        )
        if row.provider == "deepseek" and row.valid_to is None:
            row = replace(row, valid_to=DEEPSEEK_V4_ALIAS)
        rows.append(row)
    return rows


def with_names(rows: Iterable[FeedPrice], names: Mapping[str, tuple[str, ...]]) -> Iterator[FeedPrice]:
    """The rows, and again under every other name of their model: an alias with rows of its own needs them too."""
    for row in rows:
        yield row
        for name in names.get(row.model, ()):
            yield replace(row, model=name)


def single_facts() -> list[FeedPrice]:
    """Prices that no feed holds: fees per call, off-peak prices as printed, early prompt caching."""
    return [*_fees(), *_deepseek_off_peak(), *_early_caching(), _long_gemini_cache()]


def _fees() -> Iterator[FeedPrice]:
    claude = datetime(2025, 5, 7, tzinfo=UTC)
    openai = datetime(2025, 3, 11, tzinfo=UTC)
    for provider, component, price, per_units, day, source in (
        ("anthropic", "web_search_requests", "10", 1000, claude, "platform.claude.com pricing: web search"),
        ("anthropic", "web_fetch_requests", "0", 1000, claude, "platform.claude.com pricing: web fetch is free"),
        ("openai", "web_search_requests", "10", 1000, openai, "developers.openai.com/api/docs/pricing: web search"),
        ("openai", "file_search_requests", "2.5", 1000, openai, "developers.openai.com/api/docs/pricing: file search"),
    ):
        for tier in ("standard", "batch", *(("fast",) if provider == "anthropic" else ("flex", "priority"))):
            yield FeedPrice(
                provider=provider,
                model="*",
                component=component,
                service_tier=tier,
                price_usd=Decimal(price),
                per_units=per_units,
                unit="requests",
                valid_from=day,
                valid_from_basis="documented",
                layer="curated",
                source=source,
            )


def _deepseek_off_peak() -> Iterator[FeedPrice]:
    # The page prints R1 at 0.035/0.135/0.55, the V3 prices; an exact 75% off would be 0.035/0.1375/0.5475.
    begins, ends = DEEPSEEK_OFF_PEAK
    for model in ("deepseek-chat", "deepseek-reasoner"):
        for component, price in (("input_uncached", "0.135"), ("cache_read", "0.035"), ("output", "0.55")):
            yield FeedPrice(
                provider="deepseek",
                model=model,
                component=component,
                price_usd=Decimal(price),
                valid_from=begins,
                valid_to=ends,
                valid_from_basis="documented",
                schedule=DEEPSEEK_OFF_PEAK_SCHEDULE,
                layer="curated",
                source=_DEEPSEEK_PAGE,
            )
    yield FeedPrice(
        provider="deepseek",
        model="deepseek-reasoner",
        component="cache_read",
        price_usd=Decimal("0.14"),
        valid_from=datetime(2025, 1, 20, tzinfo=UTC),
        valid_to=datetime(2025, 6, 10, 22, 55, 28, tzinfo=UTC),
        valid_from_basis="documented",
        layer="curated",
        source="api-docs.deepseek.com/quick_start/pricing",
    )


def _early_caching() -> Iterator[FeedPrice]:
    for model, price, until in (
        ("gpt-4o", "1.25", datetime(2025, 6, 5, 20, 31, 32, tzinfo=UTC)),
        ("gpt-4o-2024-08-06", "1.25", datetime(2025, 6, 5, 20, 31, 32, tzinfo=UTC)),
        ("gpt-4o-mini", "0.075", datetime(2025, 6, 5, 20, 31, 32, tzinfo=UTC)),
    ):
        yield FeedPrice(
            provider="openai",
            model=model,
            component="cache_read",
            price_usd=Decimal(price),
            valid_from=_PROMPT_CACHING_DAY,
            valid_to=until,
            valid_from_basis="documented",
            layer="curated",
            source="openai.com/index/api-prompt-caching: cached input at half price",
        )


def _long_gemini_cache() -> FeedPrice:
    return FeedPrice(
        provider="google",
        model="gemini-2.5-pro",
        component="cache_read",
        prompt_tokens_gt=200_000,
        price_usd=Decimal("0.625"),
        valid_from=datetime(2025, 6, 17, tzinfo=UTC),
        valid_to=datetime(2026, 4, 20, 3, 17, 45, tzinfo=UTC),
        valid_from_basis="documented",
        layer="curated",
        source="ai.google.dev/gemini-api/docs/pricing: context caching above 200k",
    )


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
