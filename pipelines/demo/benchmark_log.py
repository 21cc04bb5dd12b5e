"""Synthetic request logs of any size for benchmarks and property tests, made chunk by chunk.

What lives here: the benchmark's rows and their three forms. What does not: the demo quarter (generator.py), measuring.
A row is a pure function of the seed and its number, so memory stays flat at any size, and expected counts are closed
forms: of every hundred rows the last is a verbatim duplicate of an earlier valid row; of every thousand the first is
invalid.
"""

from __future__ import annotations

import gzip
import io
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.demo.json_text import json_object, quoted
from pipelines.demo.native_usage import anthropic_messages, deepseek, gemini, openai_chat
from pipelines.demo.random_streams import Stream
from pipelines.errors import UsageError
from pipelines.settings import PROJECT_ROOT

Form = Literal["parquet", "csv", "ndjson"]

BENCHMARK_FILE = PROJECT_ROOT / "data" / "demo" / "benchmark.toml"
BENCHMARK_START = date(2026, 6, 1)
SUFFIXES: dict[str, str] = {"parquet": ".parquet", "csv": ".csv", "ndjson": ".jsonl"}
CHUNK_ROWS = 500_000

_DAY_MS = 86_400_000
_DUPLICATE_EVERY = 100
_INVALID_EVERY = 1000
_FARTHEST_CENTURY = 1000
_USAGE_SHAPES = {"anthropic": anthropic_messages, "google": gemini, "deepseek": deepseek}


@dataclass(frozen=True)
class BenchmarkLog:
    """One log: `rows` requests spread evenly over `days` UTC days from `start`."""

    rows: int
    days: int
    seed: int
    start: date = BENCHMARK_START

    def __post_init__(self) -> None:
        if self.rows < 1 or self.days < 1:
            raise UsageError(
                f"no benchmark log of {self.rows} rows over {self.days} days",
                expected="at least one row and one day",
                next_move="choose other values",
            )

    @property
    def duplicates(self) -> int:
        """Rows that repeat an earlier row, verbatim."""
        return self.rows // _DUPLICATE_EVERY

    @property
    def invalid(self) -> int:
        """Rows with a negative count of uncached input, which no contract accepts."""
        return -(-self.rows // _INVALID_EVERY)

    @property
    def accepted(self) -> int:
        """Rows that count: neither duplicate nor invalid."""
        return self.rows - self.duplicates - self.invalid

    def first_row_of(self, day_number: int) -> int:
        """Number of the first row whose own time lies on a day (0 is `start`)."""
        return -(-day_number * self.rows // self.days)

    def frame(self, first: int, stop: int) -> pl.DataFrame:
        """Rows first to stop - 1 in the columns of core__usage: time, key, three leaves, tag, user."""
        inputs = _inputs()
        names = [(provider, model) for provider, models in inputs["models"].items() for model in models]
        providers, models = (list(column) for column in zip(*names, strict=True))
        original = pl.col("original")
        model = self._stream("model").skewed(original, 0, len(names))
        prompt = self._stream("prompt").skewed(original, *inputs["prompt"])
        read = pl.when(self._stream("cached").chance(original, inputs["cached_permille"])).then(
            pl.col("prompt") * self._stream("share").below(original, 950) // 1000
        )
        is_invalid = original % _INVALID_EVERY == 0
        elapsed = pl.duration(
            milliseconds=original * (self.days * _DAY_MS) // self.rows,
            microseconds=self._stream("microsecond").below(original, 1000),
        )
        opens = datetime.combine(self.start, time(), tzinfo=UTC)
        feature = self._stream("feature").skewed(original, 0, inputs["features"])
        user = self._stream("user").skewed(original, 1, inputs["users"] + 1)
        return (
            pl.select(pl.int_range(first, stop, dtype=pl.Int64).alias("row"))
            .with_columns(self._original().alias("original"))
            .with_columns(model.alias("model_number"), prompt.alias("prompt"))
            .with_columns(
                pl.when(is_invalid).then(pl.col("prompt")).otherwise(read.otherwise(0)).alias("cache_read_tokens")
            )
            .select(
                ("req_" + self._stream("id").bits(original).cast(pl.String).str.zfill(20)).alias("request_id"),
                (pl.lit(opens, dtype=pl.Datetime("us", "UTC")) + elapsed).alias("started_at"),
                pl.lit(pl.Series(providers)).gather(pl.col("model_number")).alias("provider"),
                pl.lit("benchmark").alias("account"),
                pl.lit(pl.Series(models)).gather(pl.col("model_number")).alias("model"),
                pl.lit("standard").alias("service_tier"),
                pl.when(is_invalid)
                .then(-1)
                .otherwise(pl.col("prompt") - pl.col("cache_read_tokens"))
                .alias("input_uncached_tokens"),
                "cache_read_tokens",
                self._stream("output").skewed(original, *inputs["output"]).alias("output_tokens"),
                ("feature_" + feature.cast(pl.String).str.zfill(2)).alias("feature_tag"),
                ("user-" + user.cast(pl.String).str.zfill(4)).alias("user_id"),
            )
        )

    def _original(self) -> pl.Expr:
        """Number of the row whose content stands here: an earlier valid one for duplicates, else itself."""
        row = pl.col("row")
        century = row // _DUPLICATE_EVERY
        farthest = max(1, min(_FARTHEST_CENTURY, self.rows // self.days // _DUPLICATE_EVERY))
        back = self._stream("back").below(row, pl.min_horizontal(century + 1, pl.lit(farthest)))
        place = 1 + self._stream("place").below(row, _DUPLICATE_EVERY - 2)
        is_duplicate = row % _DUPLICATE_EVERY == _DUPLICATE_EVERY - 1
        return pl.when(is_duplicate).then((century - back) * _DUPLICATE_EVERY + place).otherwise(row)

    def _stream(self, name: str) -> Stream:
        return Stream(self.seed, f"benchmark.{name}")


def write_benchmark_log(
    path: Path, *, rows: int, days: int, form: Form, seed: int, start: date = BENCHMARK_START
) -> None:
    """Write a log of `rows` requests over `days` days from `start`; memory does not grow with `rows`.

    `parquet` and `csv` have the columns of a usage_table, `ndjson` the lines of a response_log with native usage
    objects. A path with a suffix is one file (csv and ndjson compressed where it ends in .gz); a path without one is a
    folder with a file per UTC day. Raises UsageError for a form that is none, or fewer than one row or day.
    """
    if form not in SUFFIXES:
        raise UsageError(
            f"no benchmark form {form!r}", expected=", ".join(SUFFIXES), next_move="choose one of these forms"
        )
    log = BenchmarkLog(rows=rows, days=days, seed=seed, start=start)
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(log, path, form, 0, rows)
        return
    path.mkdir(parents=True, exist_ok=True)
    for number in range(days):
        name = f"{start + timedelta(days=number)}{SUFFIXES[form]}"
        _write(log, path / name, form, log.first_row_of(number), log.first_row_of(number + 1))


@cache
def _inputs() -> dict[str, Any]:
    return tomllib.loads(BENCHMARK_FILE.read_text(encoding="utf-8"))


def _write(log: BenchmarkLog, path: Path, form: Form, first: int, stop: int) -> None:
    chunks = (log.frame(at, min(at + CHUNK_ROWS, stop)) for at in range(first, stop, CHUNK_ROWS))
    if form == "parquet":
        schema = _arrow(log.frame(0, 0)).schema
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for chunk in chunks:
                writer.write_table(_arrow(chunk))
        return
    with _opened(path) as stream:
        if form == "csv":
            stream.write(_csv(log.frame(0, 0), header=True))
        for chunk in chunks:
            stream.write(_csv(chunk, header=False) if form == "csv" else _lines(chunk))


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    with path.open("wb") as stream:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=1, mtime=0) as packed:
                yield packed
        else:
            yield stream


def _moment() -> pl.Expr:
    return pl.col("started_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")


def _csv(chunk: pl.DataFrame, *, header: bool) -> bytes:
    text = io.BytesIO()
    chunk.with_columns(_moment().alias("started_at")).write_csv(text, include_header=header)
    return text.getvalue()


def _lines(chunk: pl.DataFrame) -> bytes:
    """Response-log lines in row order: written provider by provider, so that each usage shape is made once."""
    zeros = ("cache_write_5m_tokens", "cache_write_1h_tokens", "cache_write_30m_tokens", "reasoning_tokens")
    counted = chunk.with_row_index("at").with_columns(
        *(pl.lit(0, dtype=pl.Int64).alias(name) for name in (*zeros, "web_search_requests")),
    )
    parts = []
    for (provider,), part in counted.group_by("provider"):
        usage = _USAGE_SHAPES.get(str(provider), openai_chat)()
        parts.append(part.select("at", _line(usage).alias("line")))
    text = io.BytesIO()
    pl.concat(parts).sort("at").select("line").write_csv(text, include_header=False, quote_style="never")
    return text.getvalue()


def _line(usage: pl.Expr) -> pl.Expr:
    return json_object(
        {
            "timestamp": quoted(_moment()),
            "provider": quoted(pl.col("provider")),
            "model": quoted(pl.col("model")),
            "account": quoted(pl.col("account")),
            "request_id": quoted(pl.col("request_id")),
            "feature": quoted(pl.col("feature_tag")),
            "user_id": quoted(pl.col("user_id")),
            "usage": usage,
        }
    )
