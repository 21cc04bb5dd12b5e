"""Anthropic Admin API: `GET /v1/organizations/usage_report/messages` pages as files.

What lives here: message usage results → core__provider_usage. What does not: dollars (anthropic_costs.py), pages,
accounts and coverage (provider_buckets.py).

Anthropic counts additively: uncached input, cache reads, cache writes by lifetime and output stand side by side.
Priority tier tokens appear here and never in the cost report; Claude on Bedrock, Vertex and Foundry appears in
neither. Account and service-account ids are people and are not read. `context_band` is the API's `context_window`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipelines.connectors.base import (
    PROVIDER_USAGE_SCHEMA,
    Batch,
    LandedFile,
    MergeRule,
    Role,
    canonical_provider_usage,
    service_tier,
)
from pipelines.connectors.reading.provider_buckets import (
    RESULT_LISTS,
    Result,
    UnreadableResultError,
    count_of,
    read_page,
    region_of,
    text_of,
    to_batch,
)
from pipelines.connectors.reading.strict_documents import count_listed
from pipelines.contracts.fields import UNSPECIFIED_REGION

RESULT_KIND = "messages"

_COUNTS = {
    "uncached_input_tokens": "input_uncached_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "output_tokens": "output_tokens",
}
_WRITES = {
    "ephemeral_5m_input_tokens": "cache_write_5m_tokens",
    "ephemeral_1h_input_tokens": "cache_write_1h_tokens",
}
_SEARCHES = "web_search_requests"
_MEASURES = frozenset({*_COUNTS, "cache_creation", "server_tool_use"})


class AnthropicUsage:
    """Connector `anthropic_usage`: one token row per result, and a row of meter `web_search_requests` where there
    are any."""

    source = "anthropic_usage"
    role: Role = "provider_usage"
    merge = MergeRule()

    def count_records(self, file: LandedFile) -> int:
        """Results in the file: items of every `results` list."""
        return count_listed(file, RESULT_LISTS)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """One batch: rows of all results, a covered bucket per workspace and bucket, empty ones included."""
        page = read_page(
            file,
            times=("starting_at", "ending_at"),
            account_field="workspace_id",
            kind_of=lambda _: RESULT_KIND,
            measures=_MEASURES,
        )
        rows, batch = to_batch(page, _rows, provider="anthropic", unknown_kind=RESULT_KIND)
        frame = pl.DataFrame(rows, schema=PROVIDER_USAGE_SCHEMA)
        tier = service_tier(pl.col("service_tier"))
        batch.provider_usage = canonical_provider_usage(frame.with_columns(tier.alias("service_tier")))
        yield batch


def _rows(result: Result, start: datetime, end: datetime) -> Iterable[Mapping[str, object]]:
    fields = result.fields
    written = _object(fields, "cache_creation")
    row: dict[str, object] = {
        "bucket_start": start,
        "bucket_end": end,
        "result_kind": RESULT_KIND,
        "provider": "anthropic",
        "account": result.account,
        "model": text_of(fields, "model"),
        "service_tier": _tier(fields),
        "region": region_of(text_of(fields, "inference_geo")) or UNSPECIFIED_REGION,
        "api_key_id": text_of(fields, "api_key_id"),
        "context_band": text_of(fields, "context_window"),
    }
    tokens = {ours: count_of(fields, theirs) for theirs, ours in _COUNTS.items()}
    tokens |= {ours: count_of(written, theirs) for theirs, ours in _WRITES.items()}
    if all(count is None for count in tokens.values()):
        raise UnreadableResultError("missing_usage", "uncached_input_tokens")
    rows = [{**row, **tokens}]
    searches = count_of(_object(fields, "server_tool_use"), _SEARCHES)
    if searches:
        rows.append({**row, "meter": _SEARCHES, "quantity": Decimal(searches)})
    return rows


def _tier(fields: Mapping[str, Any]) -> str | None:
    """Fast mode is a price of its own; with another tier beside it, both words stand, so that it shows as
    unpriced."""
    tier = text_of(fields, "service_tier")
    speed = text_of(fields, "speed")
    if speed is None or speed.lower() != "fast":
        return tier
    return "fast" if tier is None or tier.lower() == "standard" else f"{tier}_fast"


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnreadableResultError("type_error", name)
    return value


CONNECTOR = AnthropicUsage()
