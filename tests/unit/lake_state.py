"""Scratch homes without Dagster: landing lines, taking them in, and what the core floor then says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.contracts.fields import empty
from pipelines.contracts.usage import CoreQuarantine
from pipelines.core.merge import CoreReport, merge_core
from pipelines.intake.staging import IntakeReport, ingest
from pipelines.lake import Lake
from pipelines.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
_TICK = iter(range(1_800_000_000, 2_000_000_000))


def home_settings(home: Path, **given: Any) -> Settings:
    """A scratch home with a fixed clock; files count as settled at once. All homes share one hash key."""
    home.mkdir(parents=True, exist_ok=True)
    (home / ".hash_key").write_text("test")
    return Settings(home=home, fixed_now=NOON, settle_seconds=0, **given)


def land(settings: Settings, path: str, content: bytes | str | Iterable[Mapping[str, Any]]) -> Path:
    """Write one landed file; every write has a later modification time than the one before."""
    target = settings.landing / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, (bytes, str)):
        content = "".join(json.dumps(record) + "\n" for record in content)
    target.write_bytes(content if isinstance(content, bytes) else content.encode())
    moment = next(_TICK)
    os.utime(target, (moment, moment))
    return target


def call(request_id: str, at: str = "2026-06-01T10:00:00Z", **given: Any) -> dict[str, Any]:
    """One line of a usage_table."""
    return {
        "request_id": request_id,
        "started_at": at,
        "provider": "openai",
        "model": "gpt-4o",
        "input_uncached_tokens": 10,
        "output_tokens": 5,
        "feature_tag": "chat",
        **given,
    }


def take_in(settings: Settings, rebuild: Iterable[str] = ()) -> tuple[IntakeReport, CoreReport]:
    """Ingest and merge, as a run does."""
    return ingest(settings), merge_core(settings, rebuild)


def core_state(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Everything that the core floor says of requests, in stored order; empty days are left out."""
    lake = Lake(settings.lake)
    state: dict[str, list[dict[str, Any]]] = {}
    for table in ("core__usage", "core__meters", "core__duplicates", "core__quarantine"):
        rows = [row for key in lake.partitions(table) for row in read(lake, table, key).to_dicts()]
        state[table] = rows
    told = lake.read("core__landed_files", "all")
    live = told.filter(pl.col("status") == "ingested") if told is not None else pl.DataFrame()
    state["core__landed_files"] = (
        live.drop("modified_at", "landed_at", "relative_path", strict=False).sort(pl.all()).to_dicts()
    )
    return state


def read(lake: Lake, table: str, key: str) -> pl.DataFrame:
    """One partition that must exist."""
    frame = lake.read(table, key)
    return empty(CoreQuarantine) if frame is None else frame


def usage(settings: Settings) -> pl.DataFrame:
    """All accepted request rows."""
    lake = Lake(settings.lake)
    return pl.concat([read(lake, "core__usage", day) for day in lake.partitions("core__usage")])
