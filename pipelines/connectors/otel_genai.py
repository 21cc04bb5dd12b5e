"""OpenTelemetry traces of GenAI calls in OTLP/JSON: ExportTraceServiceRequest as a document or as JSON lines.

What lives here: the connector of landing/otel_genai/: the envelope, span status, identity. What does not: attribute
names and token arithmetic (otel_attributes.py). Metrics and logs are not read.

A record is a span, numbered through the file; a line that is no trace export is one record. Only leaf operations are
calls, other spans carry no usage. Where two instrumentations wrap the same call (a leaf operation right inside one of
the same kind), the inner span counts. Integers are strings in OTLP/JSON, times are strings of Unix nanoseconds,
attributes are lists of key and value. The request id is the provider's response id where it is recorded, else trace and
span id. Sampled traces are shares of traffic, not totals: rank the source below a full log in sources.csv.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.connectors.base import Batch, LandedFile, MergeRule, Role, canonical_usage, service_tier
from pipelines.connectors.otel_attributes import COUNTS, WORDS, is_leaf_operation, span_leaves
from pipelines.connectors.reading.instants import instants_from_numbers
from pipelines.connectors.reading.json_documents import as_json_lines
from pipelines.connectors.reading.json_lines import FLAG, NUMBER, TEXT, Shape, read_json_lines
from pipelines.connectors.reading.model_makers import known_provider, provider_of_model, without_route
from pipelines.connectors.reading.providers import provider_name
from pipelines.connectors.reading.record_faults import JSON_FAULTS, Fault, split_faults
from pipelines.connectors.reading.tag_text import read_tags
from pipelines.connectors.reading.whole_counts import settle_counts
from pipelines.errors import FileRejectedError

_ATTRIBUTE: Shape = {
    "key": TEXT,
    "value": {"stringValue": TEXT, "intValue": TEXT, "doubleValue": NUMBER, "boolValue": FLAG},
}
_SPAN: Shape = {
    "traceId": TEXT,
    "spanId": TEXT,
    "parentSpanId": TEXT,
    "startTimeUnixNano": TEXT,
    "attributes": [_ATTRIBUTE],
    "status": {"code": TEXT},
}
_RESOURCE_SPANS: Shape = {
    "schemaUrl": TEXT,
    "resource": {"attributes": [_ATTRIBUTE]},
    "scopeSpans": [{"spans": [_SPAN]}],
}
SHAPE: Shape = {"resourceSpans": [_RESOURCE_SPANS]}

_RESOURCE = {
    "service": ("service.name",),
    "environment": ("deployment.environment.name", "deployment.environment"),
}
_PIECE_BYTES = 32 * 1024 * 1024
"""A line can hold thousands of spans: a file is read in pieces of whole lines of about this size."""


class OtelGenAi:
    """GenAI spans of any OpenTelemetry exporter that writes files."""

    source = "otel_genai"
    role: Role = "log"
    merge = MergeRule(window="neighbours", on_conflict="largest_rank")

    def count_records(self, file: LandedFile) -> int:
        """Spans of all lines, counted over parsed objects; a line without spans by its shape is one record."""
        with as_json_lines(file, unwrap, SHAPE) as lines, lines.open("rb") as stream:
            return sum(_spans_of(line) for line in stream if line.strip())

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """Batches of spans. Raises FileRejectedError for a file without any trace export."""
        given = 0
        with as_json_lines(file, unwrap, SHAPE) as lines:
            for piece in _pieces(lines):
                for chunk in read_json_lines(piece, SHAPE):
                    if given == 0:
                        _refuse_foreign(file, chunk)
                    spans = _spans(chunk).with_row_index("record_number", given + 1)
                    given += len(spans)
                    yield _batch(spans)


def unwrap(document: Any) -> list[Any] | None:
    """Export requests of a document: one, or a list of them."""
    if isinstance(document, list):
        return document
    return [document] if isinstance(document, dict) and "resourceSpans" in document else None


def _spans_of(line: bytes) -> int:
    """Records of one line: the spans below its lists, or 1 for a line that is no trace export."""
    try:
        resources = json.loads(line)["resourceSpans"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return 1
    if not isinstance(resources, list):
        return 1
    scopes = [scope for resource in resources for scope in _list_below(resource, "scopeSpans")]
    return sum(len(_list_below(scope, "spans")) for scope in scopes)


def _list_below(item: Any, name: str) -> list[Any]:
    below = item.get(name) if isinstance(item, dict) else None
    return [entry for entry in below if entry is not None] if isinstance(below, list) else []


def _pieces(lines: Path) -> Iterator[Path]:
    """Temporary files of whole lines, each about `_PIECE_BYTES`; a small file is its own only piece."""
    if lines.stat().st_size <= 2 * _PIECE_BYTES:
        yield lines
        return
    with tempfile.TemporaryDirectory(prefix="tokenmart-") as folder, lines.open("rb") as stream:
        piece = Path(folder) / "piece.jsonl"
        while block := stream.readlines(_PIECE_BYTES):
            piece.write_bytes(b"".join(block))
            yield piece


def _refuse_foreign(file: LandedFile, chunk: pl.DataFrame) -> None:
    if chunk["resourceSpans"].is_null().all() and not chunk["is_malformed"].all():
        raise FileRejectedError(
            "the file holds no trace export of OpenTelemetry",
            code="unknown_document",
            where=file.relative_path,
            expected="OTLP/JSON with resourceSpans (one ExportTraceServiceRequest, or one a line)",
            next_move="configure the collector's file exporter for traces in format json",
        )


def _spans(chunk: pl.DataFrame) -> pl.DataFrame:
    """One row per span in file order, and one per line that is no trace export (`is_foreign`) or cannot be read."""
    readable = ~pl.col("is_malformed") & pl.col("type_error").is_null()
    lines = chunk.select(
        "is_malformed",
        "type_error",
        (readable & pl.col("resourceSpans").is_null()).alias("is_foreign"),
        (~readable).alias("is_bad"),
        "resourceSpans",
    )
    resources = lines.explode("resourceSpans", empty_as_null=True).with_row_index("resource_row")
    named = resources.with_columns(
        pl.col("resourceSpans").struct.field("resource").struct.field("attributes").alias("resource_attributes"),
        pl.col("resourceSpans").struct.field("scopeSpans").alias("scopes"),
    ).drop("resourceSpans")
    words = _attribute_table(named.select("resource_row", attributes="resource_attributes"), "resource_row", _RESOURCE)
    scopes = named.drop("resource_attributes").explode("scopes", empty_as_null=True)
    spans = scopes.with_columns(pl.col("scopes").struct.field("spans").alias("span")).drop("scopes")
    spans = spans.explode("span", empty_as_null=True)
    spans = spans.filter(pl.col("span").is_not_null() | pl.col("is_foreign") | pl.col("is_bad"))
    spans = spans.with_columns(pl.col("span").struct.field(name).alias(name) for name in _SPAN).drop("span")
    return spans.join(words, on="resource_row", how="left", maintain_order="left").drop("resource_row")


def _attribute_table(frame: pl.DataFrame, key: str, wanted: dict[str, tuple[str, ...]]) -> pl.DataFrame:
    """One row per `key` that has any wanted attribute: our names, each the text of the best attribute that is given."""
    names = {name for group in wanted.values() for name in group}
    pairs = frame.explode("attributes", empty_as_null=True).unnest("attributes")
    pairs = pairs.filter(pl.col("key").is_in(names)).unnest("value")
    text = pl.coalesce(
        pl.col("stringValue"),
        pl.col("intValue"),
        pl.col("doubleValue").cast(pl.String),
        pl.col("boolValue").cast(pl.String),
    )
    pairs = pairs.select(key, "key", text.str.strip_chars().replace("", None).alias("text"))
    best = [
        pl.coalesce(pl.col("text").filter(pl.col("key") == name).first() for name in group).alias(ours)
        for ours, group in wanted.items()
    ]
    return pairs.group_by(key).agg(best)


def _batch(spans: pl.DataFrame) -> Batch:
    table = _attribute_table(spans.select("record_number", "attributes"), "record_number", {**WORDS, **COUNTS})
    frame = spans.drop("attributes").join(table, on="record_number", how="left", maintain_order="left")
    counts = [pl.col(name).cast(pl.Float64, strict=False).alias(name) for name in COUNTS]
    unread = [
        pl.when(pl.col(name).is_not_null() & pl.col(name).cast(pl.Float64, strict=False).is_null()).then(
            pl.lit(name[2:])
        )
        for name in COUNTS
    ]
    frame = frame.with_columns(*counts, pl.coalesce(unread).alias("bad_count"))
    frame = frame.with_columns((is_leaf_operation() & ~pl.col("is_foreign")).fill_null(False).alias("is_leaf"))
    calls = frame.filter(pl.col("is_bad") | (pl.col("is_leaf") & ~_is_wrapper(frame)))
    good, rejected = split_faults(_named(calls), (*JSON_FAULTS, *_FAULTS))
    leaves = good.with_columns(span_leaves())
    whole, uneven = settle_counts(leaves, [name for name in leaves.columns if name.endswith("_tokens")])
    sized = whole.with_columns(
        (pl.col("n.input").fill_null(0) + pl.col("n.output").fill_null(0)).cast(pl.Int64).alias("merge_rank")
    )
    return Batch(usage=canonical_usage(sized), rejected=[*rejected, *uneven], not_usage=len(frame) - len(calls))


def _is_wrapper(frame: pl.DataFrame) -> pl.Expr:
    """True for a leaf operation that is the parent of a leaf operation of the same kind in the same trace."""
    inner = frame.filter("is_leaf").select("traceId", spanId="parentSpanId", inner_kind="operation").unique()
    marked = frame.select("record_number", "traceId", "spanId", "operation").join(
        inner.drop_nulls(["traceId", "spanId"]), on=["traceId", "spanId"], how="inner"
    )
    same = marked.filter(pl.col("operation").eq_missing(pl.col("inner_kind")))["record_number"]
    return pl.col("record_number").is_in(same.implode())


_FAULTS: tuple[Fault, ...] = (
    Fault(pl.col("startTimeUnixNano").is_null(), "missing_timestamp", "startTimeUnixNano"),
    Fault(pl.col("started_at").is_null(), "bad_timestamp", "startTimeUnixNano"),
    Fault(pl.col("bad_count").is_not_null(), "bad_token_count", pl.col("bad_count")),
    Fault(
        (pl.col("status") == "success") & pl.col("n.input").is_null() & pl.col("n.output").is_null(), "missing_usage"
    ),
    Fault(pl.col("model").is_null(), "missing_model", "model"),
    Fault(pl.col("provider").is_null(), "missing_provider", "provider"),
)


def _named(calls: pl.DataFrame) -> pl.DataFrame:
    """Calls with everything but their leaves under our names."""
    said = pl.col("said_provider")
    vercel = pl.col("vercel_provider").str.split(".").list.first()
    provider = pl.coalesce(
        known_provider(said), known_provider(vercel), provider_of_model(pl.col("model")), provider_name(said)
    )
    code = pl.col("status").struct.field("code")
    failed = code.is_in(["2", "STATUS_CODE_ERROR"]).fill_null(False) | pl.col("error_type").is_not_null()
    tags = pl.struct(service="service", environment="environment", agent="agent").struct.json_encode()
    return calls.with_columns(
        instants_from_numbers(calls["startTimeUnixNano"], "nanoseconds").alias("started_at"),
        pl.when(failed).then(pl.lit("failure")).otherwise(pl.lit("success")).alias("status"),
        provider.alias("provider"),
        without_route(pl.col("model")).alias("model"),
        service_tier(pl.col("tier")).alias("service_tier"),
        pl.coalesce(
            "response_id", pl.col("traceId").str.to_lowercase() + ":" + pl.col("spanId").str.to_lowercase()
        ).alias("request_id"),
        read_tags(calls.select(tags).to_series())[0].alias("tags"),
    )


CONNECTOR = OtelGenAi()
