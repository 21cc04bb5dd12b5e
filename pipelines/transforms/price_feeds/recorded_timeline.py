"""A recorded timeline of LiteLLM's price table (MIT) as a feed: CSV rows of what its table said, and from when to when.

What lives here: model_key, field, usd_per_unit, recorded_from, recorded_to, flag → FeedPrice rows. What does not: which
of them the book takes (build.py). Traps: the dates are edits, not price changes; a row flagged `unit` or `likely`
corrects the one before it, so it holds from that one's start; `reverted` edits are dropped; a zero is a gap.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from pipelines.quantities import parse_decimal
from pipelines.transforms.price_feeds.rows import FLOOR, MTOK, FeedPrice, day_in_name, without_drift
from pipelines.transforms.price_guards import LARGEST_STEP

_FIELDS: Mapping[str, tuple[str, str]] = {
    "input_cost_per_token": ("input_uncached", "tokens"),
    "output_cost_per_token": ("output", "tokens"),
    "cache_read_input_token_cost": ("cache_read", "tokens"),
    "input_cost_per_token_cache_hit": ("cache_read", "tokens"),
    "cache_creation_input_token_cost": ("cache_write_5m", "tokens"),
    "cache_creation_input_token_cost_above_1hr": ("cache_write_1h", "tokens"),
    "input_cost_per_audio_token": ("input_audio", "tokens"),
    "output_cost_per_audio_token": ("output_audio", "tokens"),
    "cache_read_input_audio_token_cost": ("cache_read_audio", "tokens"),
    "input_cost_per_image_token": ("input_image", "tokens"),
    "output_cost_per_image_token": ("output_image", "tokens"),
    "input_cost_per_video_token": ("input_video", "tokens"),
    "input_cost_per_second": ("audio_seconds", "seconds"),
    "input_cost_per_character": ("characters", "characters"),
    "output_cost_per_image": ("images", "images"),
}
_TIERS = {"_batches": "batch", "_priority": "priority", "_flex": "flex"}
_SHAPE = re.compile(r"(?P<base>.+?)(?:_above_(?P<kilo>\d+)k_tokens)?(?P<tier>_batches|_priority|_flex)?\Z")
_GEO = ("us", "eu", "apac", "global", "us-gov")


@dataclass
class _Span:
    price: Decimal
    start: datetime
    end: datetime | None
    flag: str
    commit: str


@dataclass(frozen=True)
class _Key:
    provider: str
    model: str
    region: str
    tier: str
    component: str
    unit: str
    above: int


def prices(
    records: Iterable[Mapping[str, str]], host_of: Mapping[str, str], *, source: str, long_writes: frozenset[str]
) -> list[FeedPrice]:
    """Rows of the timeline for the hosts in `host_of` (LiteLLM's provider word → ours), cleaned as the module says.

    `long_writes` are the providers whose default cache write lives 30 minutes. The first price of a key holds from the
    day in the model's name (else the floor) as a back-cast: what was known first is dated in `recorded_at`.
    """
    spans: dict[_Key, list[_Span]] = defaultdict(list)
    for record in records:
        host = host_of.get(record.get("litellm_provider", ""))
        key = _key(host, record["model_key"], record["field"], long_writes) if host else None
        if key is None:
            continue
        spans[key].append(
            _Span(
                price=parse_decimal(record["usd_per_unit"]),
                start=_day(record["recorded_from"]),
                end=_day(record["recorded_to"]) if record["recorded_to"] else None,
                flag=record.get("flag", "initial"),
                commit=record.get("litellm_commit") or record.get("tokencost_commit", ""),
            )
        )
    rows = [row for key, found in spans.items() for row in _rows(key, _clean(found), source)]
    return list(_banded(rows))


def _key(host: str, model_key: str, field: str, long_writes: frozenset[str]) -> _Key | None:
    shape = _SHAPE.match(field)
    if shape is None or shape["base"] not in _FIELDS:
        return None
    component, unit = _FIELDS[shape["base"]]
    if host in long_writes and component == "cache_write_5m":
        component = "cache_write_30m"
    place = _place(host, model_key)
    if place is None:
        return None
    model, region = place
    return _Key(
        provider=host,
        model=model,
        region=region,
        tier=_TIERS.get(shape["tier"] or "", "standard"),
        component=component,
        unit=unit,
        above=int(shape["kilo"] or 0) * 1000,
    )


def _place(host: str, model_key: str) -> tuple[str, str] | None:
    """(model, region) of a LiteLLM key; None for provisioned capacity and for pictures priced by size."""
    if "commitment" in model_key or re.search(r"\d+-x-\d+|max-x-max|/container", model_key):
        return None
    parts = model_key.split("/")
    if host == "aws_bedrock":
        parts = [part for part in parts if part not in ("bedrock", "bedrock_mantle", "invoke", "*")]
        return ("/".join(parts[1:]), parts[0]) if len(parts) > 1 else (parts[0], "*")
    if host == "azure_openai":
        rest = parts[1:]
        if len(rest) == 2 and rest[0] in _GEO:
            return rest[1], rest[0]
        return (rest[0], "*") if len(rest) == 1 else None
    known = {"groq", "cohere", "gemini", "mistral", "xai", "deepseek", "together_ai", "fireworks_ai", "deepinfra"}
    known |= {"cerebras", "voyage", "perplexity", "openai", "vertex_ai", "anthropic", "openrouter"}
    return ("/".join(parts[1:]) if parts[0] in known and len(parts) > 1 else model_key, "*")


def _clean(spans: list[_Span]) -> list[_Span]:
    """Corrections reach back to what they correct; reverted and zero-length edits go; equal neighbours join."""
    kept: list[_Span] = []
    for span in sorted(spans, key=lambda found: (found.start, found.end or found.start)):
        if span.price == 0 or span.end == span.start:
            continue
        if kept and (span.flag in ("unit", "likely") or _is_unit_step(kept[-1].price, span.price)):
            kept[-1] = _Span(span.price, kept[-1].start, span.end, kept[-1].flag, span.commit)
        elif kept and span.price == kept[-1].price:
            kept[-1].end = span.end
        elif len(kept) > 1 and span.flag == "reverted" and span.price == kept[-2].price:
            kept.pop()
            kept[-1].end = span.end
        else:
            kept.append(span)
    return kept


def _is_unit_step(before: Decimal, after: Decimal) -> bool:
    """More than a factor of ten apart: the later edit corrects a unit error of the earlier one (price_guards.py)."""
    return max(before, after) > LARGEST_STEP * min(before, after)


def _rows(key: _Key, spans: list[_Span], source: str) -> Iterator[FeedPrice]:
    for position, span in enumerate(spans):
        following = spans[position + 1].start if position + 1 < len(spans) else span.end
        is_first = position == 0 and not key.above  # a long-context surcharge may have come later than the model
        start = min(day_in_name(key.model) or FLOOR, span.start) if is_first else span.start
        per_units, price = (MTOK, span.price * MTOK) if key.unit == "tokens" else (1, span.price)
        yield FeedPrice(
            provider=key.provider,
            model=key.model,
            region=key.region,
            service_tier=key.tier,
            component=key.component,
            prompt_tokens_gt=key.above,
            price_usd=without_drift(price, 9 if key.unit == "tokens" else 15),
            per_units=per_units,
            unit=key.unit,
            valid_from=start,
            valid_to=following,
            valid_from_basis="backcast" if is_first and start < span.start else "recorded",
            recorded_at=span.start,
            source=f"{source}@{span.commit}" if span.commit else source,
        )


def _banded(rows: list[FeedPrice]) -> Iterator[FeedPrice]:
    """A long-context price needs the plain one beside it; rows of a band without any plain row are dropped."""
    plain = {
        (row.provider, row.model, row.region, row.service_tier, row.component)
        for row in rows
        if not row.prompt_tokens_gt
    }
    for row in rows:
        if not row.prompt_tokens_gt or (row.provider, row.model, row.region, row.service_tier, row.component) in plain:
            yield row


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
