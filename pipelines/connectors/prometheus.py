"""Prometheus range queries as files: token counters of vLLM and SGLang, power and energy of NVIDIA's DCGM exporter.

What lives here: `GET /api/v1/query_range` answers → samples. What does not: differences between samples, gaps and hours
(transforms/infrastructure_hours.py), what they cost (infrastructure_tables.py).

`landing/prometheus/<deployment>/…`: the first sub-folder names the deployment. A file holds one answer, an array of
them, or one a line. A record is one sample, `[unix seconds, "value"]`. Raw counters are wanted: `increase()` and
`rate()` extrapolate and lose their metric's name. `NaN`, infinities and DCGM's blank values (9223372036854775792 and
above, as integer or as the float it becomes) are no measurement and are refused one by one; series of metrics that are
not named here, histograms among them, carry no usage. SGLang's `cache_source="total"` repeats its sisters. Of labels
only a digest is kept: a GPU is its UUID, whatever pod or MIG slice reports it, and two servers of one Prometheus pair
are the same series.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl

from pipelines.connectors.base import INFRASTRUCTURE_SCHEMA, Batch, LandedFile, MergeRule, Role, rejects
from pipelines.connectors.reading.exact_decimals import exact_decimals
from pipelines.connectors.reading.strict_documents import count_listed, read_json_documents
from pipelines.contracts.fields import DEFAULT_ACCOUNT
from pipelines.errors import FileRejectedError

STALE_SECONDS = 300
"""Prometheus' own look-back: samples further apart than this, and than the query's step, have a gap between them."""

MEASURES: Mapping[str, str] = {
    "vllm:prompt_tokens_total": "input_tokens",
    "vllm:generation_tokens_total": "output_tokens",
    "vllm:prompt_tokens_cached_total": "cached_tokens",
    "vllm:prefix_cache_hits_total": "prefix_cache_hit_tokens",
    "vllm:gpu_prefix_cache_hits_total": "prefix_cache_hit_tokens",
    "vllm:num_requests_waiting": "waiting_request_seconds",
    "sglang:prompt_tokens_total": "input_tokens",
    "sglang:generation_tokens_total": "output_tokens",
    "sglang:cached_tokens_total": "cached_tokens",
    "sglang:num_queue_reqs": "waiting_request_seconds",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": "gpu_energy_joules",
    "DCGM_FI_DEV_POWER_USAGE": "gpu_power_joules",
}
_PER_GPU = frozenset({"gpu_energy_joules", "gpu_power_joules"})
_REPEATING_LABELS = frozenset({"__name__", "prometheus", "prometheus_replica", "__replica__", "replica"})
_FIRST_BLANK = Decimal("9.2233720368547757e18")
_BATCH_SAMPLES = 1_000_000
_FARTHEST_SECOND = 253_402_300_800
"""Of the year 9999: no moment lies beyond."""
_SAMPLE_SCHEMA: dict[str, pl.DataType] = {
    "record_number": pl.Int64(),
    "measure": pl.String(),
    "series": pl.String(),
    "seconds": pl.String(),
    "text": pl.String(),
    "is_partial": pl.Boolean(),
}


class Prometheus:
    """Connector `prometheus`: one row per sample of a metric in MEASURES."""

    source = "prometheus"
    role: Role = "infrastructure"
    merge = MergeRule()

    def count_records(self, file: LandedFile) -> int:
        """Samples in the file: items of every `values`, and one for every `value` of an instant query."""
        return count_listed(file, ("values",)) + count_listed(file, ("value",)) // 2

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """Batches of at most a million samples. Raises FileRejectedError `missing_deployment`, `query_failed` or
        `unknown_document`, and what strict_documents raises."""
        if file.account == DEFAULT_ACCOUNT:
            raise FileRejectedError(
                "the file belongs to no deployment",
                code="missing_deployment",
                where=file.relative_path,
                expected="landing/prometheus/<deployment>/…, a deployment of deployments.csv",
                next_move="move the file into a folder with the deployment's name",
            )
        series = [one for document in read_json_documents(file) for one in _series_of(document, file)]
        gap = max(STALE_SECONDS, _step(series))
        rows: list[tuple[int, str, str, str, str, bool]] = []
        number = skipped = 0
        for one in series:
            if one.measure is None:
                number += len(one.samples)
                skipped += len(one.samples)
                continue
            for sample in one.samples:
                number += 1
                rows.append((number, one.measure, one.digest, *_texts(sample), one.is_partial))
            if len(rows) >= _BATCH_SAMPLES:
                yield _batch(rows, file.account, gap, 0)
                rows = []
        yield _batch(rows, file.account, gap, skipped)


@dataclass(frozen=True)
class _Series:
    """One series of an answer. `measure` None: it carries no usage; `""`: it has no name and cannot be understood."""

    measure: str | None
    digest: str
    samples: list[Any]
    is_partial: bool


def _series_of(document: Any, file: LandedFile) -> Iterator[_Series]:
    data = document.get("data") if isinstance(document, dict) else None
    if isinstance(document, dict) and document.get("status") == "error":
        raise FileRejectedError(
            "the query failed and gave no data",
            code="query_failed",
            where=file.relative_path,
            expected='answers with "status": "success"',
            next_move="run the query again",
        )
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(result, list) or not all(isinstance(one, dict) for one in result):
        raise FileRejectedError(
            "the JSON is no answer of a range query",
            code="unknown_document",
            where=file.relative_path,
            expected='{"status": "success", "data": {"result": [{"metric": {…}, "values": [[time, "value"], …]}]}}',
            next_move="export the answer of /api/v1/query_range as it comes",
        )
    for one in result:
        labels = one.get("metric") if isinstance(one.get("metric"), dict) else {}
        values = one.get("values")
        samples = values if isinstance(values, list) else []
        if isinstance(one.get("value"), list):
            samples = [*samples, one["value"]]
        measure = _measure(labels)
        yield _Series(measure, _digest(labels, measure), samples, bool(document.get("warnings")))


def _measure(labels: Mapping[str, Any]) -> str | None:
    name = labels.get("__name__")
    if not isinstance(name, str) or not name:
        return ""
    if name == "sglang:cached_tokens_total" and labels.get("cache_source") == "total":
        return None
    return MEASURES.get(name)


def _digest(labels: Mapping[str, Any], measure: str | None) -> str:
    """What tells one series of a measure from another, hashed. Not its name: deprecated names stand beside new ones."""
    kept: Mapping[str, Any] = {name: value for name, value in labels.items() if name not in _REPEATING_LABELS}
    if measure in _PER_GPU:
        host = labels.get("Hostname", labels.get("hostname"))
        kept = {"UUID": labels["UUID"]} if labels.get("UUID") else {"host": host, "gpu": labels.get("gpu")}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _step(series: list[_Series]) -> int:
    """The query's step in whole seconds: the smallest distance between two samples of a series, rounded up."""
    least: Decimal | None = None
    for one in series:
        if one.measure:
            at = [Decimal(s[0]) for s in one.samples if _is_pair(s) and -_FARTHEST_SECOND < s[0] < _FARTHEST_SECOND]
            for earlier, later in pairwise(at):
                if later > earlier and (least is None or later - earlier < least):
                    least = later - earlier
    return 0 if least is None else -int(-least // 1)


def _is_pair(sample: Any) -> bool:
    return (
        isinstance(sample, list)
        and len(sample) == 2
        and isinstance(sample[0], (int, Decimal))
        and not isinstance(sample[0], bool)
        and isinstance(sample[1], str)
    )


def _texts(sample: Any) -> tuple[str, str]:
    """Time and value as text; both empty where the sample is no pair."""
    return (str(sample[0]), sample[1].strip()) if _is_pair(sample) else ("", "")


def _batch(rows: list[tuple[int, str, str, str, str, bool]], deployment: str, gap: int, skipped: int) -> Batch:
    frame = pl.DataFrame(rows, schema=_SAMPLE_SCHEMA, orient="row").with_columns(
        pl.col("text").str.to_lowercase().str.strip_chars("+-").alias("word")
    )
    microseconds = exact_decimals(frame["seconds"], 6).cast(pl.Decimal(38, 6))
    frame = frame.with_columns(
        exact_decimals(frame["text"], 12).alias("measured_quantity"),
        microseconds.to_physical().cast(pl.Int64, strict=False).cast(pl.Datetime("us", "UTC")).alias("sampled_at"),
    )
    refused: list[pl.DataFrame] = []
    for reason, column, is_bad in (
        ("missing_metric_name", "__name__", pl.col("measure") == ""),
        ("malformed_sample", "values", (pl.col("seconds") == "") | pl.col("sampled_at").is_null()),
        ("not_a_number", "value", pl.col("word") == "nan"),
        ("infinite_value", "value", pl.col("word").is_in(["inf", "infinity"])),
        ("bad_value", "value", pl.col("measured_quantity").is_null()),
        ("blank_value", "value", pl.col("measured_quantity") >= pl.lit(_FIRST_BLANK, dtype=pl.Decimal(38, 12))),
    ):
        bad = frame.filter(is_bad)
        if len(bad):
            refused.append(rejects(bad, reason, column=column))
            frame = frame.filter(~is_bad)
    samples = frame.with_columns(
        pl.lit(deployment).alias("deployment"),
        pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("valid_until"),
        pl.lit(gap, dtype=pl.Int64).alias("longest_gap_seconds"),
    )
    return Batch(infrastructure=samples.select(list(INFRASTRUCTURE_SCHEMA)), rejected=refused, not_usage=skipped)


CONNECTOR = Prometheus()
