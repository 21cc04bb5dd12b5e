"""Langfuse observations: UI exports, API answers, blob-storage exports, ingestion events.

What lives here: the connector of landing/langfuse/ (`{trace, observations[]}`, a trace with `observations`, `{data[]}`,
`{batch[]}` of ingestion events, arrays, JSON lines of any of these; camelCase and snake_case). What does not: how a map
of usage details becomes leaves (langfuse_usage.py).

Only GENERATION and EMBEDDING observations are calls: AGENT, SPAN and the others repeat what their children used and
carry no usage of their own. Langfuse's costs are inferred and ignored. Observations change until late: the latest
`updatedAt` stays. LiteLLM's callback writes ids such as `time-14-13-16-469836_chatcmpl-…`: the provider's own response
id in them is the request id, so that the same call in LiteLLM's own log is recognised.

Observations name no provider. In this order: what the instrumentation says in metadata (`ls_provider`,
`gen_ai.provider.name`, `gen_ai.system`, `llm.provider`, `llm.system`, `provider`) where that is a known provider, the
route or the maker in the model's name (model_makers.py), else the record is rejected as `missing_provider`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from pipelines.connectors.base import Batch, LandedFile, MergeRule, Role, canonical_usage
from pipelines.connectors.langfuse_usage import DETAILS_SHAPE, LEGACY_SHAPE, leaves, read_details
from pipelines.connectors.reading.instants import parse_instants
from pipelines.connectors.reading.json_documents import as_json_lines, count_json_records
from pipelines.connectors.reading.json_lines import NUMBER, TEXT, Shape, read_json_lines
from pipelines.connectors.reading.json_text import read_json_texts
from pipelines.connectors.reading.model_makers import known_provider, provider_of_model, without_route
from pipelines.connectors.reading.record_faults import JSON_FAULTS, Fault, split_faults
from pipelines.connectors.reading.tag_text import read_tags, tag_list_text
from pipelines.connectors.reading.whole_counts import settle_counts

_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("id",),
    "type": ("type",),
    "startTime": ("startTime", "start_time"),
    "updatedAt": ("updatedAt", "updated_at", "event_ts"),
    "model": ("model", "providedModelName", "provided_model_name"),
    "level": ("level",),
    "environment": ("environment",),
    "promptName": ("promptName", "prompt_name"),
    "userId": ("userId", "user_id"),
    "sessionId": ("sessionId", "session_id"),
    "usageDetails": ("usageDetails", "usage_details"),
    "usage": ("usage",),
    "metadata": ("metadata",),
}
"""One field under the names of the UI, the API and the blob export."""

SHAPE: Shape = {
    **{name: TEXT for names in _NAMES.values() for name in names},
    **dict.fromkeys(("inputUsage", "outputUsage", "totalUsage"), NUMBER),
    "trace": {"userId": TEXT, "sessionId": TEXT, "name": TEXT, "tags": TEXT},
}

_PROVIDER_FIELDS = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
_ATTRIBUTES_SHAPE: Shape = dict.fromkeys(_PROVIDER_FIELDS, TEXT)
_METADATA_SHAPE: Shape = {
    **dict.fromkeys(("ls_provider", "ls_model_name", "provider", "feature", "feature_tag", "attributes"), TEXT),
    **_ATTRIBUTES_SHAPE,
}
_CALLS = ("GENERATION", "EMBEDDING")
_CHUNK_ROWS = 100_000


class Langfuse:
    """Langfuse's observations."""

    source = "langfuse"
    role: Role = "log"
    merge = MergeRule(window="neighbours", on_conflict="largest_rank")

    def count_records(self, file: LandedFile) -> int:
        """Observations of all documents, or non-blank lines."""
        return count_json_records(file, unwrap)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """Batches of observations. Raises FileRejectedError for a document that is no export of Langfuse."""
        with as_json_lines(file, unwrap, SHAPE) as lines:
            for chunk in read_json_lines(lines, SHAPE, chunk_rows=_CHUNK_ROWS):
                yield _batch(chunk)


def unwrap(document: Any) -> list[Any] | None:
    """Observations of a document, each with the user, session, name and tags of its trace below `trace`."""
    if isinstance(document, list):
        parts = [unwrap(item) or [item] for item in document]
        return [record for part in parts for record in part]
    if not isinstance(document, dict):
        return None
    if isinstance(document.get("observations"), list):
        trace = document.get("trace", document)
        return [_with_trace(item, trace) for item in document["observations"]]
    if isinstance(document.get("data"), list):
        return list(document["data"])
    if isinstance(document.get("batch"), list):
        return [_event(item) for item in document["batch"]]
    return [document] if "type" in document and {"startTime", "start_time"} & document.keys() else None


def _with_trace(observation: Any, trace: Any) -> Any:
    if not isinstance(observation, dict) or not isinstance(trace, dict):
        return observation
    inherited = {name: trace[name] for name in ("userId", "sessionId", "name", "tags") if name in trace}
    return {**observation, "trace": inherited}


def _event(event: Any) -> Any:
    """An ingestion event as an observation: `generation-create` around a body becomes a GENERATION."""
    if not isinstance(event, dict) or not isinstance(event.get("body"), dict):
        return event
    kind = str(event.get("type", "")).split("-")[0].upper()
    body: dict[str, Any] = event["body"]
    return {"type": kind, "updatedAt": event.get("timestamp"), **body}


def _batch(chunk: pl.DataFrame) -> Batch:
    frame = chunk.with_columns(
        pl.coalesce(pl.col(name).str.strip_chars().replace("", None) for name in names).alias(ours)
        for ours, names in _NAMES.items()
    )
    is_call = pl.col("type").str.to_uppercase().is_in(_CALLS)
    readable = ~pl.col("is_malformed") & pl.col("type_error").is_null() & pl.col("type").is_not_null()
    calls = frame.filter(~(readable & ~is_call))
    named = _named(calls)
    good, rejected = split_faults(named, (*JSON_FAULTS, *_FAULTS))
    counted = good.with_columns(leaves(pl.col("type").str.to_uppercase() == "EMBEDDING"))
    whole, uneven = settle_counts(counted, [name for name in counted.columns if name.endswith("_tokens")])
    return Batch(usage=canonical_usage(whole), rejected=[*rejected, *uneven], not_usage=len(frame) - len(calls))


_FAULTS: tuple[Fault, ...] = (
    Fault(pl.col("type").is_null(), "missing_type", "type"),
    Fault(pl.col("startTime").is_null(), "missing_timestamp", "startTime"),
    Fault(pl.col("started_at").is_null(), "bad_timestamp", "startTime"),
    Fault(pl.col("is_bad_usage"), "type_error", "usageDetails"),
    Fault(pl.col("unit").fill_null("TOKENS").str.to_uppercase() != "TOKENS", "unknown_unit", "usage"),
    Fault((pl.col("status") == "success") & ~pl.col("has_usage"), "missing_usage", "usageDetails"),
    Fault(pl.col("model").is_null(), "missing_model", "model"),
    Fault(pl.col("provider").is_null(), "missing_provider", "model"),
    Fault(pl.col("total_contradicts"), "total_mismatch", "usageDetails"),
)


def _named(calls: pl.DataFrame) -> pl.DataFrame:
    """Calls with their usage read and everything else under our names."""
    details, is_bad_details = read_json_texts(calls["usageDetails"], DETAILS_SHAPE)
    legacy, is_bad_legacy = read_json_texts(calls["usage"], LEGACY_SHAPE)
    usage = read_details(details, legacy, calls.select("inputUsage", "outputUsage", "totalUsage"))
    metadata, _ = read_json_texts(calls["metadata"], _METADATA_SHAPE)
    attributes, _ = read_json_texts(metadata["attributes"], _ATTRIBUTES_SHAPE)
    said = pl.concat(
        [metadata.drop("attributes"), attributes.rename({name: f"attributes.{name}" for name in attributes.columns})],
        how="horizontal",
    )
    frame = pl.concat([calls, usage, said.rename({name: f"said.{name}" for name in said.columns})], how="horizontal")
    tags = _tags(calls)
    model = pl.coalesce("model", "said.ls_model_name")
    return frame.with_columns(
        (is_bad_details | is_bad_legacy).alias("is_bad_usage"),
        parse_instants(calls["startTime"]).alias("started_at"),
        parse_instants(calls["updatedAt"]).dt.epoch("us").alias("merge_rank"),
        pl.when(pl.col("level").str.to_uppercase() == "ERROR")
        .then(pl.lit("failure"))
        .otherwise(pl.lit("success"))
        .alias("status"),
        pl.coalesce(_said_provider(said.columns), provider_of_model(model)).alias("provider"),
        without_route(model).alias("model"),
        pl.coalesce(pl.col("id").str.extract(r"^time-[\d-]+_(.+)$", 1), "id").alias("request_id"),
        pl.coalesce(pl.col("userId"), pl.col("trace").struct.field("userId")).alias("user_id"),
        pl.coalesce(pl.col("sessionId"), pl.col("trace").struct.field("sessionId")).alias("session_id"),
        tags.alias("tags"),
        pl.coalesce("said.feature", "said.feature_tag", tags.str.json_path_match("$.feature"))
        .replace("", None)
        .alias("feature_tag"),
    )


def _said_provider(columns: list[str]) -> pl.Expr:
    """The first metadata field that names a provider we know; frameworks also write their own names there."""
    order = ("ls_provider", *(f"attributes.{name}" for name in _PROVIDER_FIELDS), *_PROVIDER_FIELDS, "provider")
    return pl.coalesce(known_provider(pl.col(f"said.{name}")) for name in order if name in columns)


def _one_word(names: pl.Series) -> pl.Series:
    """Names of workflows; a name of several words may be a person or a text, and is left out."""
    return names.set(~names.str.contains(r"^[A-Za-z0-9_.:/-]{1,64}$").fill_null(False), None)


def _tags(calls: pl.DataFrame) -> pl.Series:
    """Trace tags, with the trace's name (where it is one word), the prompt's name and the environment beside them."""
    listed = tag_list_text(calls["trace"].struct.field("tags"))
    parts = pl.DataFrame(
        {
            "trace_name": _one_word(calls["trace"].struct.field("name")),
            "prompt_name": calls["promptName"],
            "environment": calls["environment"].replace("default", None),
        }
    )
    own = parts.select(pl.struct(parts.columns).struct.json_encode()).to_series()
    inner = listed.str.strip_prefix("{").str.strip_suffix("}")
    frame = pl.DataFrame({"own": own, "inner": inner})
    joined = frame.select(
        pl.when(pl.col("inner").is_null())
        .then(pl.col("own"))
        .otherwise(pl.col("own").str.strip_suffix("}") + "," + pl.col("inner") + "}")
    ).to_series()
    return read_tags(joined)[0]


CONNECTOR = Langfuse()
