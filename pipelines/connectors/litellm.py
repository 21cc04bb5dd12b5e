"""LiteLLM proxy logs: rows of the table LiteLLM_SpendLogs, or StandardLoggingPayload objects of its callbacks.

What lives here: the connector of landing/litellm/ (JSON lines, a JSON array, one object, or {"data": […]}). What does
not: LiteLLM's daily roll-ups (overlapping sums of the same traffic) and its prices.

How LiteLLM counts (schema of 1.109.1): `prompt_tokens` includes cache reads and cache writes for every provider, and
the split stands only in `metadata.usage_object` or `metadata.additional_usage_values`; `completion_tokens` includes
reasoning. `metadata` and `request_tags` are JSON kept as text. Naive times are UTC. `spend` is an estimate from
LiteLLM's own price map and is ignored. An answer out of the proxy's cache (`cache_hit`, or `_cache_hit` in the id)
never reached a provider: it carries no usage. So does a failure that has neither provider nor tokens. `_batch_cost` in
the id is the cost row of a batch. `request_id` may come again with later numbers: the row that ended last stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from pipelines.connectors.base import Batch, LandedFile, MergeRule, Role, canonical_usage, service_tier
from pipelines.connectors.native.fields import InclusiveInput
from pipelines.connectors.reading.instants import instants_from_numbers, parse_instants
from pipelines.connectors.reading.json_documents import as_json_lines, count_json_records
from pipelines.connectors.reading.json_lines import NUMBER, TEXT, Shape, read_json_lines
from pipelines.connectors.reading.json_text import read_json_texts
from pipelines.connectors.reading.providers import provider_name
from pipelines.connectors.reading.record_faults import JSON_FAULTS, Fault, split_faults
from pipelines.connectors.reading.tag_text import tag_list_text
from pipelines.connectors.reading.whole_counts import settle_counts
from pipelines.quantities import TOKEN_COLUMNS

_TEXTS = (
    "request_id",
    "id",
    "call_type",
    "api_key",
    "startTime",
    "endTime",
    "updated_at",
    "model",
    "custom_llm_provider",
    "user",
    "end_user",
    "team_id",
    "session_id",
    "cache_hit",
    "status",
    "service_tier",
)
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
SHAPE: Shape = {**dict.fromkeys(_TEXTS, TEXT), **dict.fromkeys(_COUNTS, NUMBER), "metadata": TEXT, "request_tags": TEXT}

_INPUT_DETAILS: Shape = {
    "cached_tokens": NUMBER,
    "cache_creation_tokens": NUMBER,
    "cache_write_tokens": NUMBER,
    "audio_tokens": NUMBER,
    "image_tokens": NUMBER,
    "video_tokens": NUMBER,
    "web_search_requests": NUMBER,
    "cache_creation_token_details": {"ephemeral_5m_input_tokens": NUMBER, "ephemeral_1h_input_tokens": NUMBER},
}
_OUTPUT_DETAILS: Shape = {"reasoning_tokens": NUMBER, "audio_tokens": NUMBER, "image_tokens": NUMBER}
_DETAILS: Shape = {
    "prompt_tokens_details": _INPUT_DETAILS,
    "completion_tokens_details": _OUTPUT_DETAILS,
    "cache_creation_input_tokens": NUMBER,
    "cache_read_input_tokens": NUMBER,
    "server_tool_use": {"web_search_requests": NUMBER},
    "service_tier": TEXT,
}
METADATA_SHAPE: Shape = {
    "usage_object": _DETAILS,
    "additional_usage_values": _DETAILS,
    "spend_logs_metadata": {"feature": TEXT, "feature_tag": TEXT},
    "model_map_information": {"model_map_value": {"litellm_provider": TEXT}},
    "user_api_key": TEXT,
    "user_api_key_hash": TEXT,
    "user_api_key_team_id": TEXT,
    "user_api_key_user_id": TEXT,
    "user_api_key_end_user_id": TEXT,
    "batch_successful_requests": NUMBER,
}

_CHUNK_ROWS = 100_000
"""Metadata is a few kilobytes a row: this keeps a chunk's text below about half a gigabyte."""


class LiteLlm:
    """LiteLLM's spend logs."""

    source = "litellm"
    role: Role = "log"
    merge = MergeRule(window="neighbours", on_conflict="largest_rank")

    def count_records(self, file: LandedFile) -> int:
        """Non-blank lines, or objects of the document."""
        return count_json_records(file, unwrap)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """Batches of spend-log rows. Raises FileRejectedError for a document that is none."""
        with as_json_lines(file, unwrap, SHAPE) as lines:
            for chunk in read_json_lines(lines, SHAPE, chunk_rows=_CHUNK_ROWS):
                yield _batch(chunk)


def unwrap(document: Any) -> list[Any] | None:
    """Records of a document: a list, the list below `data`, or one row by itself."""
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        return list(document["data"])
    if isinstance(document, dict):
        return [document] if {"startTime", "call_type"} <= document.keys() else None
    return document if isinstance(document, list) else None


def _batch(chunk: pl.DataFrame) -> Batch:
    details, is_bad = read_json_texts(chunk["metadata"], METADATA_SHAPE)
    frame = pl.concat([chunk.drop("metadata"), details], how="horizontal").with_columns(is_bad.alias("is_bad_metadata"))
    frame = frame.with_columns(pl.col(name).str.strip_chars().replace("", None) for name in _TEXTS)
    frame = frame.with_columns(
        pl.coalesce("request_id", "id").alias("request_id"),
        _instants(frame["startTime"]).alias("started_at"),
        _instants(frame["endTime"]).alias("ended_at"),
        _instants(frame["updated_at"]).alias("touched_at"),
        pl.col("status").str.to_lowercase().fill_null("success").alias("status"),
        provider_name(
            pl.coalesce(
                pl.col("custom_llm_provider"),
                pl.col("model_map_information").struct.field("model_map_value").struct.field("litellm_provider"),
            )
        ).alias("provider"),
        (pl.col("prompt_tokens").fill_null(0) + pl.col("completion_tokens").fill_null(0)).alias("tokens"),
    )
    kept = frame.filter(~_is_no_usage())
    good, rejected = split_faults(kept, (*JSON_FAULTS, *_FAULTS))
    counted = _named(good).with_columns(_leaves())
    leaves = [name for name in TOKEN_COLUMNS if name in counted.columns]
    whole, uneven = settle_counts(counted, (*leaves, "requests"))
    return Batch(usage=canonical_usage(whole), rejected=[*rejected, *uneven], not_usage=len(frame) - len(kept))


def _instants(texts: pl.Series) -> pl.Series:
    """ISO texts, or (StandardLoggingPayload) seconds since the epoch."""
    instants = parse_instants(texts)
    return instants.zip_with(instants.is_not_null(), instants_from_numbers(texts, "seconds"))


def _is_no_usage() -> pl.Expr:
    hit = (pl.col("cache_hit").str.to_lowercase() == "true") | pl.col("request_id").str.contains("_cache_hit")
    unrouted = (pl.col("status") == "failure") & (pl.col("tokens") == 0)
    unrouted = unrouted & (pl.col("provider").is_null() | pl.col("model").is_null()) & pl.col("startTime").is_not_null()
    readable = ~pl.col("is_malformed") & pl.col("type_error").is_null()
    return readable & (hit.fill_null(False) | unrouted.fill_null(False))


_FAULTS: tuple[Fault, ...] = (
    Fault(pl.col("is_bad_metadata"), "malformed_json", "metadata"),
    Fault(pl.col("startTime").is_null(), "missing_timestamp", "startTime"),
    Fault(pl.col("started_at").is_null(), "bad_timestamp", "startTime"),
    Fault(pl.col("provider").is_null(), "missing_provider", "custom_llm_provider"),
    Fault(pl.col("model").is_null(), "missing_model", "model"),
    Fault(
        (pl.col("status") == "success") & pl.col("prompt_tokens").is_null() & pl.col("completion_tokens").is_null(),
        "missing_usage",
    ),
)


def _detail(*path: str) -> pl.Expr:
    """A field of the usage split: from `usage_object`, else from `additional_usage_values`."""
    fields = []
    for root in ("usage_object", "additional_usage_values"):
        field = pl.col(root)
        for step in path:
            field = field.struct.field(step)
        fields.append(field)
    return pl.coalesce(fields)


def _most(*fields: pl.Expr) -> pl.Expr:
    """One quantity under several names: the largest that is given, 0 where none is."""
    return pl.max_horizontal(*fields).fill_null(0.0)


def _named(good: pl.DataFrame) -> pl.DataFrame:
    """Everything but tokens under our names."""
    tags = tag_list_text(good["request_tags"])
    merged = pl.max_horizontal("ended_at", "touched_at").fill_null(pl.col("started_at"))
    prefix = pl.col("custom_llm_provider") + "/"
    return good.with_columns(
        tags.alias("tags"),
        merged.dt.epoch("us").alias("merge_rank"),
        pl.when(pl.col("model").str.starts_with(prefix))
        .then(pl.col("model").str.strip_prefix(prefix))
        .otherwise(pl.col("model"))
        .alias("model"),
        pl.coalesce("end_user", "user_api_key_end_user_id", "user", "user_api_key_user_id").alias("user_id"),
        pl.coalesce("team_id", "user_api_key_team_id").alias("user_group"),
        _key_id(pl.coalesce("api_key", "user_api_key_hash", "user_api_key")).alias("api_key_id"),
        pl.when(pl.col("request_id").str.contains("_batch_cost", literal=True))
        .then(pl.lit("batch"))
        .otherwise(service_tier(pl.coalesce(pl.col("service_tier"), _detail("service_tier"))))
        .alias("service_tier"),
        pl.col("batch_successful_requests").alias("requests"),
        pl.coalesce(
            pl.col("spend_logs_metadata").struct.field("feature"),
            pl.col("spend_logs_metadata").struct.field("feature_tag"),
            tags.str.json_path_match("$.feature"),
        )
        .replace("", None)
        .alias("feature_tag"),
    )


def _key_id(key: pl.Expr) -> pl.Expr:
    """The hash that LiteLLM stores; a key in clear text (`sk-…`) is a secret and becomes NULL."""
    return pl.when(~key.str.starts_with("sk-")).then(key.replace("", None))


def _leaves() -> list[pl.Expr]:
    written = _most(
        _detail("cache_creation_input_tokens"),
        _detail("prompt_tokens_details", "cache_creation_tokens"),
        _detail("prompt_tokens_details", "cache_write_tokens"),
    )
    ttl = ("prompt_tokens_details", "cache_creation_token_details")
    five, hour = (_most(_detail(*ttl, f"ephemeral_{name}_input_tokens")) for name in ("5m", "1h"))
    none = pl.lit(None, dtype=pl.Float64)
    prompt = InclusiveInput(
        total=pl.col("prompt_tokens").fill_null(0.0),
        cached=_most(_detail("cache_read_input_tokens"), _detail("prompt_tokens_details", "cached_tokens")),
        written=written,
        audio=_most(_detail("prompt_tokens_details", "audio_tokens")),
        image=_most(_detail("prompt_tokens_details", "image_tokens")),
        video=_most(_detail("prompt_tokens_details", "video_tokens")),
        cached_audio=none,
        cached_image=none,
        cached_video=none,
    )
    audio, image = (_most(_detail("completion_tokens_details", f"{kind}_tokens")) for kind in ("audio", "image"))
    searches = _most(
        _detail("server_tool_use", "web_search_requests"), _detail("prompt_tokens_details", "web_search_requests")
    )
    is_embedding = pl.col("call_type").str.contains("embedding", literal=True).fill_null(False)
    uncached, *others = prompt.leaves()
    return [
        pl.when(is_embedding).then(0.0).otherwise(uncached).alias("input_uncached_tokens"),
        pl.when(is_embedding).then(uncached).otherwise(0.0).alias("embedding_input_tokens"),
        *others,
        five.alias("cache_write_5m_tokens"),
        hour.alias("cache_write_1h_tokens"),
        (written - five - hour).alias("cache_write_unknown_tokens"),
        (pl.col("completion_tokens").fill_null(0.0) - audio - image).alias("output_tokens"),
        audio.alias("output_audio_tokens"),
        image.alias("output_image_tokens"),
        _most(_detail("completion_tokens_details", "reasoning_tokens")).alias("reasoning_tokens"),
        pl.when(searches > 0).then(searches).alias("web_search_requests"),
    ]


CONNECTOR = LiteLlm()
