"""Langfuse's maps of usage details → disjoint leaves.

What lives here: the key names that integrations use, and the decision whether details are parts of `input` and `output`
or stand beside them. What does not: observations (langfuse.py).

Langfuse's documentation wants disjoint keys, but many integrations send the provider's inclusive counts with the
details beside them. The `total` decides: where input + output = total, the details are parts; where they only sum to
the total together, they stand beside. Details of one side only may be parts (reasoning inside output, cache beside
input): the four combinations are tried in that order. Without a total, keys named `prompt_details.…` and
`completion_details.…` are parts (OpenInference's habit) and the others stand beside. A total above all of these, with
no details, is thinking that the endpoint leaves out of its output: it is billed as output. Any other total contradicts
its parts, and the record is rejected rather than guessed.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pipelines.connectors.reading.json_lines import NUMBER, TEXT, Shape

_TOTALS: Mapping[str, tuple[str, ...]] = {
    "input": ("input", "input_tokens", "prompt_tokens", "promptTokens"),
    "output": ("output", "output_tokens", "completion_tokens", "completionTokens"),
    "total": ("total", "total_tokens", "totalTokens"),
}
_PARTS: Mapping[str, tuple[str, ...]] = {
    "cache_read": (
        "input_cache_read",
        "cache_read_input_tokens",
        "input_cached_tokens",
        "cached_tokens",
        "input_cache_read_tokens",
        "prompt_details.cache_read",
        "prompt_details.cached_tokens",
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
    ),
    "cache_write": (
        "input_cache_creation",
        "cache_creation_input_tokens",
        "input_cache_write",
        "prompt_details.cache_write",
        "prompt_details.cache_creation",
        "prompt_tokens_details.cache_creation_tokens",
    ),
    "cache_write_5m": ("input_cache_creation_5m", "cache_creation.ephemeral_5m_input_tokens"),
    "cache_write_1h": ("input_cache_creation_1h", "cache_creation.ephemeral_1h_input_tokens"),
    "input_audio": ("input_audio", "input_audio_tokens", "prompt_details.audio", "prompt_tokens_details.audio_tokens"),
    "reasoning": (
        "output_reasoning",
        "output_reasoning_tokens",
        "reasoning_tokens",
        "reasoning",
        "completion_details.reasoning",
        "completion_tokens_details.reasoning_tokens",
        "output_tokens_details.reasoning_tokens",
    ),
    "output_audio": (
        "output_audio",
        "output_audio_tokens",
        "completion_details.audio",
        "completion_tokens_details.audio_tokens",
    ),
}
_INPUT_PARTS = ("cache_read", "cache_write", "input_audio")
_OUTPUT_PARTS = ("reasoning", "output_audio")

DETAILS_SHAPE: Shape = {name: NUMBER for names in (*_TOTALS.values(), *_PARTS.values()) for name in names}
LEGACY_SHAPE: Shape = {**{name: NUMBER for names in _TOTALS.values() for name in names}, "unit": TEXT}


def read_details(details: pl.DataFrame, legacy: pl.DataFrame, older: pl.DataFrame) -> pl.DataFrame:
    """Counts of one observation a row, from its usage details, else its `usage` object, else the UI's own columns.

    Columns: `u.input`, `u.output`, `u.total` and the parts (Float64), `unit`, `has_usage`, `input_is_inclusive`,
    `output_is_inclusive`, `total_contradicts`. Zeros of the UI's columns alone are no usage: it writes 0 for "unknown".
    """
    frame = pl.concat(
        [
            details.rename({name: f"d.{name}" for name in details.columns}),
            legacy.rename({name: f"l.{name}" for name in legacy.columns}),
            older,
        ],
        how="horizontal",
    )
    old = {name: pl.when(pl.col(f"{name}Usage") > 0).then(pl.col(f"{name}Usage")) for name in _TOTALS}
    totals = [
        pl.coalesce(*(pl.col(f"d.{n}") for n in names), *(pl.col(f"l.{n}") for n in names), old[ours]).alias(
            f"u.{ours}"
        )
        for ours, names in _TOTALS.items()
    ]
    parts = [
        pl.max_horizontal(pl.col(f"d.{name}") for name in names).fill_null(0.0).alias(f"u.{ours}")
        for ours, names in _PARTS.items()
    ]
    read = frame.select(*totals, *parts, pl.col("l.unit").alias("unit"), _named_inclusive().alias("named_inclusive"))
    writes = pl.max_horizontal("u.cache_write", pl.col("u.cache_write_5m") + pl.col("u.cache_write_1h"))
    has_usage = pl.any_horizontal(pl.col(f"u.{name}").is_not_null() for name in _TOTALS)
    read = read.with_columns(writes.alias("u.cache_write"), has_usage.alias("has_usage"))
    return _decide(read)


def _named_inclusive() -> pl.Expr:
    names = [name for names in _PARTS.values() for name in names if "details." in name]
    return pl.any_horizontal(pl.col(f"d.{name}").is_not_null() for name in names)


def _decide(read: pl.DataFrame) -> pl.DataFrame:
    """Whether details are parts of input and of output, and whether the total fits neither way."""
    beside_input = pl.sum_horizontal(f"u.{name}" for name in _INPUT_PARTS)
    beside_output = pl.sum_horizontal(f"u.{name}" for name in _OUTPUT_PARTS)
    base = pl.col("u.input").fill_null(0.0) + pl.col("u.output").fill_null(0.0)
    total = pl.col("u.total")
    no_total = total.is_null()
    only_total = pl.col("u.input").is_null() & pl.col("u.output").is_null()
    hidden = (beside_input + beside_output == 0) & (total > base)
    choice = (
        pl.when(no_total)
        .then(pl.when("named_inclusive").then(0).otherwise(3))
        .when((total == base) | hidden)
        .then(0)
        .when(total == base + beside_input + beside_output)
        .then(3)
        .when(total == base + beside_input)
        .then(1)
        .when(total == base + beside_output)
        .then(2)
    )
    # a total alone is all input: an embedding, or a call whose output nobody counted
    alone = pl.when(only_total).then(total)
    return read.with_columns(
        choice.is_in([0, 2]).alias("input_is_inclusive"),
        choice.is_in([0, 1]).alias("output_is_inclusive"),
        (choice.is_null() & pl.col("has_usage") & ~only_total).alias("total_contradicts"),
        pl.coalesce("u.input", alone).fill_null(0.0).alias("u.input"),
        pl.when(hidden & ~only_total)
        .then(total - pl.col("u.input").fill_null(0.0))
        .otherwise(pl.col("u.output").fill_null(0.0))
        .alias("u.output"),
        pl.when(hidden & ~only_total).then(total - base).otherwise(pl.col("u.reasoning")).alias("u.reasoning"),
    )


def leaves(is_embedding: pl.Expr) -> list[pl.Expr]:
    """The disjoint leaves over the columns of `read_details`; a negative one shows parts above the whole."""
    inner = pl.sum_horizontal(f"u.{name}" for name in _INPUT_PARTS)
    fresh = pl.col("u.input") - pl.when("input_is_inclusive").then(inner).otherwise(0.0)
    spoken = pl.when("output_is_inclusive").then(-pl.col("u.output_audio")).otherwise(pl.col("u.reasoning"))
    known = pl.col("u.cache_write_5m") + pl.col("u.cache_write_1h")
    return [
        pl.when(is_embedding).then(0.0).otherwise(fresh).alias("input_uncached_tokens"),
        pl.when(is_embedding).then(fresh).otherwise(0.0).alias("embedding_input_tokens"),
        pl.col("u.cache_read").alias("cache_read_tokens"),
        pl.col("u.cache_write_5m").alias("cache_write_5m_tokens"),
        pl.col("u.cache_write_1h").alias("cache_write_1h_tokens"),
        (pl.col("u.cache_write") - known).alias("cache_write_unknown_tokens"),
        pl.col("u.input_audio").alias("input_audio_tokens"),
        (pl.col("u.output") + spoken).alias("output_tokens"),
        pl.col("u.output_audio").alias("output_audio_tokens"),
        pl.col("u.reasoning").alias("reasoning_tokens"),
    ]
