"""response_log: JSON lines of one call each, with the provider's own usage object, or its whole response body.

A line is `{"timestamp", "provider", "model"?, "usage": {native} | "response": {body}, "request_id"?, "feature"?,
"feature_tag"?, "user_id"?, "session_id"?, "api_key_id"?, "account"?, "service_tier"?, "region"?, "status"?,
"user_group"?, "tags"?: {}}`. What lives here: the line around the usage object. What does not: the object itself
(native/usage.py).

`timestamp` is ISO 8601 text or an epoch number: seconds from 10⁸, milliseconds from 10¹¹, microseconds from 10¹⁴,
nanoseconds from 10¹⁷ on. What the body says wins over what the log says, for it is what was served and is billed: its
id (the id by which calls are matched across sources), model, usage, tier; a tier in the body wins over one in the usage
object, that over the log's own. A call that failed, was blocked or cancelled may have no usage: it is a row of zero
tokens.
Calls to hosted tools that only appear as items of the body's output (OpenAI web and file search) are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from pipelines.connectors.base import Batch, LandedFile, MergeRule, Role, Together, canonical_usage, service_tier
from pipelines.connectors.native.usage import (
    FAMILIES,
    FAULTS,
    SDK_SIGN,
    SDK_USAGE_SHAPE,
    USAGE_SHAPE,
    all_names,
    fields_among,
    read_usage,
)
from pipelines.connectors.reading.instants import instants_from_numbers, parse_instants
from pipelines.connectors.reading.json_documents import count_lines
from pipelines.connectors.reading.json_lines import (
    JSON,
    TEXT,
    Shape,
    lines_of_each,
    read_clean_files,
    read_json_lines,
)
from pipelines.connectors.reading.json_names import names_in
from pipelines.connectors.reading.providers import provider_name
from pipelines.connectors.reading.record_faults import JSON_FAULTS, Fault, split_faults
from pipelines.connectors.reading.tag_text import read_tags

_IDENTIFIERS = ("provider", "model", "request_id", "feature", "user_id", "account")
_OPTIONAL: Shape = {
    **dict.fromkeys(
        ("feature_tag", "session_id", "api_key_id", "service_tier", "region", "status", "user_group"), TEXT
    ),
    "tags": JSON,
}
"""Fields that few logs have: they are looked for where the file mentions them."""
_BODY_IDENTIFIERS = (
    "id",
    "responseId",
    "response_id",
    "model",
    "modelVersion",
    "model_version",
    "service_tier",
    "provider",
)
_GOOGLE = FAMILIES["google"][1]
_COHERE = FAMILIES["cohere"][1]
_ALWAYS = ("prompt_tokens",)
"""A struct needs a field, also where a file mentions none."""
_BODY_USAGE = (("usageMetadata", "google"), ("usage_metadata", "google"), ("meta", "cohere"))

_STATUSES = {
    "ok": "success",
    "succeeded": "success",
    "completed": "success",
    "error": "failure",
    "failed": "failure",
    "canceled": "cancelled",
}
_EPOCH_UNITS = (
    (1e8, 1e11, "seconds"),
    (1e11, 1e14, "milliseconds"),
    (1e14, 1e17, "microseconds"),
    (1e17, 1e20, "nanoseconds"),
)


class ResponseLog:
    """The connector of landing/response_log/."""

    source = "response_log"
    role: Role = "log"
    merge = MergeRule()
    together = ("",)

    def count_records(self, file: LandedFile) -> int:
        """Non-blank lines, counted in binary blocks."""
        return count_lines(file.path)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """Batches of bounded size. A line that cannot be read is rejected with its reason, the rest goes on."""
        for chunk in read_json_lines(file.path, _shape(_mentioned(file.path))):
            yield _batch(chunk)

    def read_together(self, files: Sequence[LandedFile]) -> Together | None:
        """With the fields that any of them mentions, where none takes a name for something else."""
        paths = [file.path for file in files]
        mentioned = [_mentioned(path) for path in paths]
        if len({SDK_SIGN in names for names in mentioned}) > 1:
            return None
        lines = read_clean_files(paths, _shape(frozenset().union(*mentioned)))
        if lines is None or lines.is_empty():
            return None
        batch = _batch(lines)
        if not isinstance(batch.usage, pl.DataFrame) or batch.usage["request_id"].null_count():
            return None
        return Together(batch, lines_of_each(lines, len(paths)))


CONNECTOR = ResponseLog()


def _mentioned(path: Path) -> frozenset[str]:
    """The names worth looking for that stand in the file."""
    known = {**USAGE_SHAPE, **SDK_USAGE_SHAPE}
    return names_in(path, [*all_names(known), *_OPTIONAL, SDK_SIGN, "response"])


def _shape(mentioned: frozenset[str]) -> Shape:
    """The fields of these names, of bodies none where none is mentioned."""
    fields = SDK_USAGE_SHAPE if SDK_SIGN in mentioned else USAGE_SHAPE
    usage = fields_among(fields, {*mentioned, *_ALWAYS})
    optional = {name: kind for name, kind in _OPTIONAL.items() if name in mentioned}
    line: Shape = {"timestamp": TEXT, **dict.fromkeys(_IDENTIFIERS, TEXT), **optional, "usage": usage}
    if "response" not in mentioned:
        return line
    body = {
        **dict.fromkeys(_BODY_IDENTIFIERS, TEXT),
        "serviceTier": JSON,
        "usage": usage,
        "usageMetadata": _GOOGLE,
        "usage_metadata": _GOOGLE,
        "meta": _COHERE,
    }
    return {**line, "response": body}


def _batch(chunk: pl.DataFrame) -> Batch:
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name in _OPTIONAL if name not in chunk.columns]
    lines, faults = _served(chunk.with_columns(absent)), _faults(chunk)
    lines, rejected = split_faults(lines, faults)
    rows = pl.concat(list(_rows(lines)), how="diagonal")
    if rows["fault"].null_count() < len(rows):
        worst = pl.col("fault").max().over("record_number")
        whole = rows.with_columns(fault=worst).unique("record_number", keep="first", maintain_order=True)
        _, more = split_faults(whole, [Fault(pl.col("fault") == code, code, "usage") for code in FAULTS])
        rejected = [*rejected, *more]
        rows = rows.filter(worst.is_null())
    if not rows["record_number"].is_sorted():
        rows = rows.sort("record_number", "part")
    rows = rows.with_columns(
        service_tier=service_tier(pl.coalesce("body_tier", "usage_tier", "service_tier")),
        region=pl.coalesce("usage_region", "region"),
    )
    return Batch(usage=canonical_usage(rows), rejected=rejected)


def _served(chunk: pl.DataFrame) -> pl.DataFrame:
    """The lines under canonical names: `model`, `request_id`, `body_tier`, `upstream` as served, the rest as logged."""
    has_body = "response" in chunk.columns

    def given(name: str) -> pl.Expr:
        return pl.when(pl.col(name) != "").then(pl.col(name))

    def body(*names: str) -> pl.Expr:
        if not has_body:
            return pl.lit(None, dtype=pl.String)
        fields = [pl.col("response").struct.field(name) for name in names]
        return pl.coalesce(pl.when(field != "").then(field) for field in fields)

    tags, are_tags_unreadable = read_tags(chunk["tags"])
    tier_object = body("serviceTier").str.extract(r'^"([A-Za-z_]+)"$|', 1)
    tier_type = body("serviceTier").str.extract(r'"type"\s*:\s*"([A-Za-z_]+)"', 1)
    status = given("status").str.to_lowercase().replace(_STATUSES)
    return chunk.with_columns(
        _instants(chunk["timestamp"]).alias("started_at"),
        provider_name(pl.col("provider")).alias("provider"),
        pl.coalesce(body("model", "modelVersion", "model_version"), given("model")).alias("model"),
        pl.coalesce(body("id", "responseId", "response_id"), given("request_id")).alias("request_id"),
        body("provider").alias("upstream"),
        pl.coalesce(body("service_tier"), tier_object, tier_type).alias("body_tier"),
        pl.coalesce(given("feature"), given("feature_tag")).alias("feature_tag"),
        *(given(name) for name in ("user_id", "session_id", "api_key_id", "account", "service_tier", "user_group")),
        given("region").str.to_lowercase().alias("region"),
        status.fill_null("success").alias("status"),
        tags.alias("tags"),
        are_tags_unreadable.alias("are_tags_unreadable"),
    )


def _instants(texts: pl.Series) -> pl.Series:
    """Timestamps as UTC instants, text or epoch number; NULL where it is neither."""
    found = parse_instants(texts)
    if found.null_count() == texts.null_count():
        return found
    numbers = texts.cast(pl.Float64, strict=False)
    for least, below, unit in _EPOCH_UNITS:
        is_unit = (numbers >= least) & (numbers < below)
        if is_unit.any():
            found = pl.select(pl.coalesce(found, instants_from_numbers(texts.set(~is_unit, None), unit))).to_series()
    return found


def _faults(chunk: pl.DataFrame) -> list[Fault]:
    nested = [
        Fault(pl.col(name).str.starts_with("{") | pl.col(name).str.starts_with("["), "type_error", name)
        for name in (
            "request_id",
            "feature_tag",
            "user_id",
            "session_id",
            "api_key_id",
            "account",
            "user_group",
            "model",
        )
    ]
    sources = [pl.col("usage").is_null()]
    if "response" in chunk.columns:
        names = ("usage", *(name for name, _ in _BODY_USAGE))
        sources += [pl.col("response").struct.field(name).is_null() for name in names]
    return [
        *JSON_FAULTS,
        Fault(pl.col("timestamp").is_null(), "missing_timestamp", "timestamp"),
        Fault(pl.col("started_at").is_null(), "bad_timestamp", "timestamp"),
        Fault(pl.col("provider").is_null(), "missing_provider", "provider"),
        *nested,
        Fault(pl.col("model").is_null(), "missing_model", "model"),
        Fault(pl.col("are_tags_unreadable"), "type_error", "tags"),
        Fault(pl.all_horizontal(sources) & (pl.col("status") == "success"), "missing_usage", "usage"),
    ]


def _rows(lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Rows of each place where a usage object can stand; a body's own wins over the log's `usage`."""
    rest = lines
    if "response" in lines.columns:
        places = {f"body_{name}": (name, family) for name, family in (("usage", None), *_BODY_USAGE)}
        body = pl.col("response").struct
        rest = lines.with_columns(body.field(name).alias(place) for place, (name, _) in places.items()).drop("response")
        for place, (_, family) in places.items():
            here, rest = _with(rest, place, drop=["usage", *places])
            yield read_usage(here, place, family=family)
        rest = rest.drop(places)
    here, without = _with(rest, "usage", drop=[])
    yield read_usage(here, "usage")
    yield without.drop("usage").with_columns(part=pl.lit(0, dtype=pl.Int32), requests=pl.lit(1, dtype=pl.Int64))


def _with(lines: pl.DataFrame, column: str, *, drop: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lines that give `column` (without the other columns of `drop`), and the lines that do not.

    A chunk in which all or none give it is not filtered: copying wide structs is dear.
    """
    lean = lines.drop(name for name in drop if name != column)
    nulls = lines[column].null_count()
    if nulls == 0:
        return lean, lines.clear()
    if nulls == len(lines):
        return lean.clear(), lines
    return lean.filter(pl.col(column).is_not_null()), lines.filter(pl.col(column).is_null())
