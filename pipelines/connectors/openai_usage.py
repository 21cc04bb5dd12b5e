"""OpenAI organization usage API: `GET /v1/organization/usage/{completions, embeddings, images, …}` pages as files.

What lives here: result objects of every endpoint → core__provider_usage. What does not: dollars (openai_costs.py),
pages, accounts and coverage (provider_buckets.py).

OpenAI counts inclusively: `input_tokens` holds cached tokens, cache writes and every modality. Its identity is input
= uncached + cached + cache write; a result that breaks it is quarantined as `token_sum_mismatch`. Fields absent from
older responses are derived from the identity, for NULL is not 0. `input_audio_tokens` and `input_image_tokens` were
documented as including cached tokens until 2026-07-15 and count uncached ones since; which one a response means is
told by its sums (text + audio + image equals the uncached or the whole input), and by the presence of the newer
fields. Cached image tokens have no leaf of their own and stand in `cache_read`. `user_id` is a member of the
organization, never an end user, and is not read. Without grouping by tier a result counts as `standard`: ask for
`batch` and `service_tier`.
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
    text_of,
    to_batch,
)
from pipelines.connectors.reading.strict_documents import count_listed

METER_OF_KIND: Mapping[str, tuple[str, str]] = {
    "images": ("images", "images"),
    "audio_speeches": ("characters", "characters"),
    "audio_transcriptions": ("seconds", "audio_seconds"),
    "vector_stores": ("usage_bytes", "vector_store_bytes"),
    "code_interpreter_sessions": ("num_sessions", "code_interpreter_sessions"),
    "file_searches": ("num_requests", "file_search_requests"),
    "web_searches": ("num_requests", "web_search_requests"),
}
"""Endpoint → its own field and our name of the meter."""

_TOKEN_FIELDS = (
    "input_tokens",
    "output_tokens",
    *(f"input_{part}_tokens" for part in ("uncached", "cached", "cache_write", "cache_write_30m", "cache_write_12h")),
    *(f"{side}_{kind}_tokens" for side in ("input", "input_cached", "output") for kind in ("text", "audio", "image")),
)
_MEASURES = frozenset({*_TOKEN_FIELDS, "num_model_requests", *(name for name, _ in METER_OF_KIND.values())})
_KINDS = ("completions", "embeddings", "moderations", *METER_OF_KIND)
_PATH_WORDS = {"file_search_calls": "file_searches", "web_search_calls": "web_searches"}


class OpenAIUsage:
    """Connector `openai_usage`. `result_kind` is the endpoint's result object (`completions`, `images`,
    `web_searches`)."""

    source = "openai_usage"
    role: Role = "provider_usage"
    merge = MergeRule()

    def count_records(self, file: LandedFile) -> int:
        """Results in the file: items of every `results` list."""
        return count_listed(file, RESULT_LISTS)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """One batch: a row per result, a covered bucket per account and bucket, empty ones included."""
        page = read_page(
            file,
            times=("start_time", "end_time"),
            account_field="project_id",
            kind_of=_kind,
            measures=_MEASURES,
        )
        rows, batch = to_batch(page, _rows, provider="openai", unknown_kind=_kind_of_path(file.relative_path))
        frame = pl.DataFrame(rows, schema=PROVIDER_USAGE_SCHEMA)
        tier = service_tier(pl.col("service_tier"))
        batch.provider_usage = canonical_provider_usage(frame.with_columns(tier.alias("service_tier")))
        yield batch


def _kind(fields: Mapping[str, Any]) -> str | None:
    name = fields.get("object")
    if isinstance(name, str) and name.startswith("organization.usage.") and name.endswith(".result"):
        return name.removeprefix("organization.usage.").removesuffix(".result")
    return None


def _kind_of_path(path: str) -> str:
    """The endpoint that a path names: all that tells a file of nothing but empty buckets apart; else `unknown`."""
    words = {**{kind: kind for kind in _KINDS}, **_PATH_WORDS}
    found = {kind for word, kind in words.items() if word in path.lower()}
    return found.pop() if len(found) == 1 else "unknown"


def _rows(result: Result, start: datetime, end: datetime) -> Iterable[Mapping[str, object]]:
    fields = result.fields
    kind = _kind(fields)
    if kind not in _KINDS:
        raise UnreadableResultError("unknown_result_object", "object")
    row: dict[str, object] = {
        "bucket_start": start,
        "bucket_end": end,
        "result_kind": kind,
        "provider": "openai",
        "account": result.account,
        "model": text_of(fields, "model"),
        "service_tier": _tier(fields),
        "api_key_id": text_of(fields, "api_key_id"),
        "requests": count_of(fields, "num_model_requests"),
    }
    if kind in METER_OF_KIND:
        name, meter = METER_OF_KIND[kind]
        return [{**row, "meter": meter, "quantity": Decimal(_needed(fields, name))}]
    if kind == "embeddings":
        return [{**row, "embedding_input_tokens": _needed(fields, "input_tokens")}]
    if kind == "moderations":
        return [{**row, "input_uncached_tokens": _needed(fields, "input_tokens")}]
    return [{**row, **completion_leaves(fields)}]


def _tier(fields: Mapping[str, Any]) -> str | None:
    is_batch = fields.get("batch")
    if is_batch is not None and not isinstance(is_batch, bool):
        raise UnreadableResultError("type_error", "batch")
    tier = text_of(fields, "service_tier")
    if is_batch:
        return "batch"
    return "priority" if tier and tier.lower() == "fast" else tier  # `fast` is OpenAI's older word for priority


def _needed(fields: Mapping[str, Any], name: str) -> int:
    value = count_of(fields, name)
    if value is None:
        raise UnreadableResultError("missing_usage", name)
    return value


def completion_leaves(fields: Mapping[str, Any]) -> dict[str, int]:
    """Token leaves of a completions result; they sum to `input_tokens` + `output_tokens`.

    Raises UnreadableResultError: `missing_usage` without these two, `token_sum_mismatch` when the parts given do not
    sum to the whole. A part larger than its whole leaves a negative leaf, for the contract to name.
    """
    counts = {name: count_of(fields, name) for name in _TOKEN_FIELDS}
    whole, output = _needed(fields, "input_tokens"), _needed(fields, "output_tokens")
    uncached, cached, written = _input_split(counts, whole)
    audio, image = counts["input_audio_tokens"] or 0, counts["input_image_tokens"] or 0
    cached_audio = counts["input_cached_audio_tokens"] or 0
    if _counts_cached_in_modalities(counts, whole, uncached):
        audio -= cached_audio
        image -= counts["input_cached_image_tokens"] or 0
    by_ttl = {f"cache_write_{ttl}_tokens": counts[f"input_cache_write_{ttl}_tokens"] or 0 for ttl in ("30m", "12h")}
    spoken, drawn = counts["output_audio_tokens"] or 0, counts["output_image_tokens"] or 0
    return {
        "input_uncached_tokens": uncached - audio - image,
        "input_audio_tokens": audio,
        "input_image_tokens": image,
        "cache_read_tokens": cached - cached_audio,
        "cache_read_audio_tokens": cached_audio,
        **by_ttl,
        "cache_write_unknown_tokens": written - sum(by_ttl.values()),
        "output_tokens": output - spoken - drawn,
        "output_audio_tokens": spoken,
        "output_image_tokens": drawn,
    }


def _input_split(counts: Mapping[str, int | None], whole: int) -> tuple[int, int, int]:
    """Uncached, cached, cache write: given where given, else derived from the identity."""
    uncached, cached, written = (counts[f"input_{part}_tokens"] for part in ("uncached", "cached", "cache_write"))
    if cached is None:
        cached = _sum_given(counts, [f"input_cached_{kind}_tokens" for kind in ("text", "audio", "image")])
    if written is None:
        written = _sum_given(counts, ["input_cache_write_30m_tokens", "input_cache_write_12h_tokens"])
    if uncached is None:
        cached, written = cached or 0, written or 0
        return whole - cached - written, cached, written
    if written is None:
        written = 0 if cached is None else whole - uncached - cached
    if cached is None:
        cached = whole - uncached - written
    if uncached + cached + written != whole:
        raise UnreadableResultError(
            "token_sum_mismatch", "input_tokens", rule="input_tokens = uncached + cached + cache_write"
        )
    return uncached, cached, written


def _counts_cached_in_modalities(counts: Mapping[str, int | None], whole: int, uncached: int) -> bool:
    """Whether text, audio and image counts of this response include cached tokens (documented so until
    2026-07-15)."""
    parts = [counts[f"input_{kind}_tokens"] for kind in ("text", "audio", "image")]
    total = sum(part or 0 for part in parts)
    if total == uncached:
        return False
    if total == whole:
        return True
    return counts["input_uncached_tokens"] is None and counts["input_cache_write_tokens"] is None


def _sum_given(counts: Mapping[str, int | None], names: Iterable[str]) -> int | None:
    given = [value for name in names if (value := counts[name]) is not None]
    return sum(given) if given else None


CONNECTOR = OpenAIUsage()
