"""Claude Code session files of any size, made by the demo's own writer.

What lives here: calls in the columns that the writer wants, batch by batch. What does not: the lines
(pipelines/demo/writers_claude_code.py).
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl

from pipelines.demo.benchmark_log import BenchmarkLog
from pipelines.demo.writers_claude_code import session_rows

_MESSAGES = 5_000
_ENTRIES_PER_MESSAGE = 2
"""The writer gives a message one to three rows that carry its usage."""
_NO_TOKENS = ("cache_write_5m_tokens", "cache_write_1h_tokens", "cache_write_30m_tokens", "reasoning_tokens")


def write_sessions(folder: Path, entries: int) -> None:
    """Write about `entries` rows with usage below `folder`, a folder per project and a file per session and week."""
    for batch in range(max(1, entries // (_MESSAGES * _ENTRIES_PER_MESSAGE))):
        rows = session_rows(_calls(batch), seed=batch)
        for (project, session), part in rows.group_by("project", "session", maintain_order=True):
            path = folder / f"{project}-{batch:03d}" / f"{session}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(part["line"]) + "\n", encoding="utf-8")


def _calls(batch: int) -> pl.DataFrame:
    """Calls of four weeks by one model family, a half of each prompt read from a cache and a part written to it."""
    log = BenchmarkLog(rows=_MESSAGES, days=28, seed=1_000 + batch, start=date(2026, 6, 1))
    prompt = pl.col("input_uncached_tokens").clip(0) + pl.col("cache_read_tokens")
    number = pl.int_range(pl.len(), dtype=pl.Int64)
    return log.frame(0, _MESSAGES).select(
        pl.lit("claude_code").alias("source"),
        pl.lit(f"batch{batch:03d}").alias("route"),
        number.alias("call"),
        ("msg_" + pl.lit(f"{batch:03d}") + number.cast(pl.String).str.zfill(21)).alias("request_id"),
        "started_at",
        pl.col("started_at").dt.date().alias("usage_date"),
        pl.when(number % 4 == 0)
        .then(pl.lit("claude-haiku-4-5-20251001"))
        .otherwise(pl.lit("claude-sonnet-4-5-20250929"))
        .alias("model"),
        (prompt // 8).alias("input_uncached_tokens"),
        (prompt // 2).alias("cache_read_tokens"),
        "output_tokens",
        *(pl.lit(0, dtype=pl.Int64).alias(name) for name in _NO_TOKENS[1:]),
        (prompt // 4).alias("cache_write_5m_tokens"),
        pl.lit(0, dtype=pl.Int64).alias("web_search_requests"),
        pl.lit("standard").alias("service_tier"),
        pl.lit("success").alias("status"),
    )
