"""Rows of core__usage for tests, and a plain-Python account of which of them carry a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from pipelines.connectors.base import MergeRule
from pipelines.quantities import METERS, TOKEN_COLUMNS
from pipelines.transforms.canonical_rows import ROWS_SCHEMA

MIDNIGHT = datetime(2026, 6, 2, tzinfo=UTC)
RULES: Mapping[str, MergeRule] = {
    "usage_table": MergeRule(),
    "litellm": MergeRule(),
    "langfuse": MergeRule("neighbours", "largest_rank"),
    "claude_code": MergeRule("global", "largest_rank"),
}
PRECEDENCE: Mapping[str, int] = {"usage_table": 20, "litellm": 10, "langfuse": 30, "claude_code": 20}


def usage_row(request_id: str = "r1", **given: Any) -> dict[str, Any]:
    """One row of ROWS_SCHEMA; `seconds` is its time after MIDNIGHT, `file` a digit that stands for a file."""
    started = given.pop("started_at", MIDNIGHT + timedelta(seconds=given.pop("seconds", 0)))
    row: dict[str, Any] = {
        **dict.fromkeys(ROWS_SCHEMA),
        **dict.fromkeys(TOKEN_COLUMNS, 0),
        **dict.fromkeys(METERS),
        "source": "usage_table",
        "landed_file": str(given.pop("file", 0)) * 16,
        "record_number": 1,
        "part": 0,
        "provider": "openai",
        "account": "default",
        "model": "gpt-4o",
        "service_tier": "standard",
        "region": "unspecified",
        "status": "success",
        "requests": 1,
        "merge_rank": 0,
        "request_id": request_id,
        "started_at": started,
        "usage_date": started.date(),
    }
    return row | given


def usage_frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """A frame of ROWS_SCHEMA."""
    return pl.DataFrame(list(rows), schema=ROWS_SCHEMA)


def fates_of_day(
    rows: list[dict[str, Any]], day_before: Iterable[dict[str, Any]] = ()
) -> dict[tuple[str, int, int], tuple[str, str, int]]:
    """Oracle: (file, record, part) → (fate, kept file, kept record), told row by row with dictionaries."""
    seen: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in day_before:
        seen.setdefault((row["provider"], row["request_id"]), []).append(row)
    calls: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        calls.setdefault((row["provider"], row["request_id"]), []).append(row)
    fates = {}
    for key, tellings in calls.items():
        pool = seen.get(key) or tellings
        kept = min(pool, key=lambda row: _order(row, pool))
        record = (kept["landed_file"], kept["record_number"])
        parts = {r["part"]: r for r in pool if (r["landed_file"], r["record_number"]) == record}
        for row in tellings:
            place = (row["landed_file"], row["record_number"], row["part"])
            fates[place] = (_fate(row, record, kept, parts, is_late=key in seen), *record)
    return fates


def _order(row: dict[str, Any], pool: list[dict[str, Any]]) -> tuple[Any, ...]:
    rule = RULES[row["source"]]
    started = row["started_at"]
    if rule.window == "global":
        started = min(other["started_at"] for other in pool if other["source"] == row["source"])
    rank = -row["merge_rank"] if rule.on_conflict == "largest_rank" else 0
    return (PRECEDENCE[row["source"]], rank, started, row["landed_file"], row["record_number"], row["part"])


def _fate(
    row: dict[str, Any],
    record: tuple[str, int],
    kept: dict[str, Any],
    parts: dict[int, dict[str, Any]],
    *,
    is_late: bool,
) -> str:
    if not is_late and (row["landed_file"], row["record_number"]) == record:
        return "accepted"
    ours = ("source", "landed_file", "record_number", "part", "merge_rank", "usage_date", "started_at", *METERS)
    other = parts.get(row["part"])
    if other and all(row[name] == other[name] for name in row if name not in ours):
        return "duplicate"
    if row["source"] != kept["source"]:
        return "duplicate"
    allows = RULES[row["source"]].on_conflict == "largest_rank" or row["request_id"].startswith("content:")
    return "superseded" if allows else "conflict"


def day_of(row: Mapping[str, Any]) -> date:
    """The UTC day of a row."""
    day: date = row["usage_date"]
    return day
