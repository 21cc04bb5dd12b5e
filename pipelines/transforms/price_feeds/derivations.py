"""Prices that a provider states as a rule on another price, written out as rows.

What lives here: Claude on Bedrock and Vertex, US-only inference, batch at half. What does not: feeds (beside this
module), single facts (curated.py). Every row keeps the layer and the dates of the row it comes from, and names the rule
in `source`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal

from pipelines.transforms.price_feeds.rows import FeedPrice

SURCHARGE = Decimal("1.1")
"""Regional endpoints of Bedrock and Vertex from Sonnet 4.5 on, US-only inference from Opus 4.6 on: list + 10%."""

_BEFORE_REGIONAL = re.compile(r"claude-(3|instant|v\d|opus-4-[01]\b|opus-4-2025|sonnet-4-0|sonnet-4-2025|opus-4-1)")
_BEFORE_US_ONLY = re.compile(r"claude-(haiku-4-5|opus-4-5|sonnet-4-5)")


def has_regional_surcharge(model: str) -> bool:
    """Whether Bedrock and Vertex bill regional endpoints of this Claude model at list + 10% (Sonnet 4.5 and later)."""
    return not _BEFORE_REGIONAL.match(model)


def has_us_surcharge(model: str) -> bool:
    """Whether Anthropic bills US-only inference of this model at list + 10% (Opus 4.6 and later)."""
    return has_regional_surcharge(model) and not _BEFORE_US_ONLY.match(model)


def us_inference(rows: Iterable[FeedPrice]) -> Iterator[FeedPrice]:
    """Anthropic's own token prices for region `us`."""
    for row in rows:
        if row.provider == "anthropic" and row.region == "*" and row.unit == "tokens" and has_us_surcharge(row.model):
            yield replace(
                row,
                region="us",
                price_usd=row.price_usd * SURCHARGE,
                source=f"platform.claude.com pricing: inference_geo us is 1.1x; {row.source}",
            )


def claude_on_bedrock(rows: Iterable[FeedPrice], ids: Mapping[str, str]) -> Iterator[FeedPrice]:
    """Claude on Bedrock: `ids` maps Anthropic model → Bedrock id without geo prefix and version suffix.

    From Sonnet 4.5 on region `global` is at list and every other endpoint at list + 10%; older models are at list.
    """
    for row in rows:
        target = ids.get(row.model)
        if target is None or row.provider != "anthropic" or row.region != "*" or row.unit != "tokens":
            continue
        if row.service_tier not in ("standard", "batch"):
            continue
        source = f"aws.amazon.com/bedrock/pricing: Claude follows Anthropic's list; {row.source}"
        base = replace(row, provider="aws_bedrock", model=target, source=source)
        if has_regional_surcharge(row.model):
            yield replace(base, price_usd=row.price_usd * SURCHARGE)
            yield replace(base, region="global")
        else:
            yield base


def claude_on_vertex(rows: Iterable[FeedPrice]) -> Iterator[FeedPrice]:
    """Claude billed by Google: `global` and `unspecified` at list; from Sonnet 4.5 on other regions at list + 10%."""
    for row in rows:
        if row.provider != "anthropic" or row.region != "*" or row.unit != "tokens":
            continue
        if row.service_tier not in ("standard", "batch"):
            continue
        source = f"cloud.google.com/vertex-ai pricing: Claude follows Anthropic's list; {row.source}"
        base = replace(row, provider="google", source=source)
        if has_regional_surcharge(row.model):
            yield replace(base, price_usd=row.price_usd * SURCHARGE)
            yield replace(base, region="global")
            yield replace(base, region="unspecified")
        else:
            yield base


def batch_of(rows: Iterable[FeedPrice]) -> Iterator[FeedPrice]:
    """Batch at half of each standard row, caches too; for corrections, which are stated for standard only."""
    for row in rows:
        if row.service_tier == "standard" and row.unit == "tokens":
            yield replace(
                row,
                service_tier="batch",
                price_usd=row.price_usd / 2,
                source=f"{row.provider} pricing: batch is 50%, caches too; {row.source}",
            )


def bedrock_ids(models: Iterable[str], keys: Iterable[str]) -> dict[str, str]:
    """Anthropic model → Bedrock id, for ids that appear among `keys` (`us.anthropic.claude-…-v1:0` and the like)."""
    known = set(models)
    found: dict[str, str] = {}
    for key in keys:
        matched = re.search(r"(?:^|[./])anthropic\.(claude-[a-z0-9@.-]+?)(?:-v\d+(?::\d+)?)?$", key)
        if matched and matched[1] in known:
            found[matched[1]] = f"anthropic.{matched[1]}"
    return found
