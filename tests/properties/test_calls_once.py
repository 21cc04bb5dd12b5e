"""Every record has one fate, and one call counts once: whatever files tell of it, in whatever order they land.

What lives here: random logs of four sources through intake and merge, against dictionaries that decide each record.
What does not: agent logs, batches and buckets, whose rules are worked by hand (tests/unit/connectors, core),
formats (tests/unit/connectors).
2 homes of 24 files, landed over two nights: 48 files, about 6,700 records of 500 calls each.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import polars as pl
import pytest

from pipelines.lake import Lake
from pipelines.settings import Settings
from tests.properties.models import many_cases
from tests.unit.lake_state import home_settings, land, take_in, usage

START = datetime(2026, 6, 1, tzinfo=UTC)
DAYS = 5
SOURCES = ("response_log", "usage_table", "litellm", "otel_genai")
"""From the one that carries a call before all others, as sources.csv ranks them."""
IDS = 500
NIGHTS = 2


@dataclass(frozen=True)
class Record:
    """One record of a log; `request_id` None: the log knows none. `is_broken`: nothing can be read from it."""

    path: str
    number: int
    request_id: str | None
    at: datetime
    tokens: int
    is_broken: bool = False

    @property
    def source(self) -> str:
        return self.path.partition("/")[0]

    @property
    def rank(self) -> float:
        """Of several tellings by one source: LiteLLM's last state stands, of spans the largest; others the first."""
        return {"litellm": self.at.timestamp(), "otel_genai": self.tokens}.get(self.source, 0)

    @property
    def day(self) -> date:
        return self.at.date()


def drawn_file(draw: Random, path: str, moments: set[int]) -> list[Record]:
    """Ids come from a small pool, so calls meet inside a file, in other sources and on other days."""
    source = path.partition("/")[0]
    records = []
    for number in range(1, draw.randint(120, 160)):
        kind = draw.random()
        if kind < 0.06 and source in ("response_log", "usage_table"):
            records.append(Record(path, number, None, START, 0, is_broken=True))
        elif kind < 0.12 and source == "usage_table":
            again = draw.randint(0, 9)
            records.append(Record(path, number, None, START + timedelta(hours=10 * again), 1000 + again))
        else:
            moment = draw.randrange(DAYS * 86400)
            while moment in moments:
                moment = draw.randrange(DAYS * 86400)
            moments.add(moment)
            at = START + timedelta(seconds=moment)
            records.append(Record(path, number, f"r{draw.randrange(IDS)}", at, draw.choice((7, 7, 7, 8))))
    return records


def line(record: Record) -> str:
    """The record in its source's own words."""
    at = record.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    if record.is_broken:
        return broken_line(record)
    if record.source == "response_log":
        counts = {"prompt_tokens": record.tokens, "completion_tokens": 1, "total_tokens": record.tokens + 1}
        told: dict[str, Any] = {"timestamp": at, "provider": "openai", "model": "m", "usage": counts}
        return json.dumps({**told, "request_id": record.request_id})
    if record.source == "usage_table":
        told = {"started_at": at, "provider": "openai", "model": "m", "input_uncached_tokens": record.tokens}
        return json.dumps({**told, "output_tokens": 1, "request_id": record.request_id})
    if record.source == "litellm":
        counts = {"prompt_tokens": record.tokens, "completion_tokens": 1, "total_tokens": record.tokens + 1}
        told = {"request_id": record.request_id, "call_type": "acompletion", "startTime": at, "endTime": at}
        return json.dumps({**told, **counts, "model": "m", "custom_llm_provider": "openai", "status": "success"})
    return json.dumps(span(record))


def broken_line(record: Record) -> str:
    """Half of them are no JSON, half count less than nothing."""
    if record.number % 2:
        return '{"timestamp": "2026-06-01T'
    if record.source == "usage_table":
        told = {"started_at": "2026-06-01T00:00:00Z", "provider": "openai", "model": "m", "input_uncached_tokens": -1}
        return json.dumps({**told, "request_id": "r1"})
    counts = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    cached = {"prompt_tokens_details": {"cached_tokens": 5}}
    told = {"timestamp": "2026-06-01T00:00:00Z", "provider": "openai", "model": "m", "request_id": "r1"}
    return json.dumps({**told, "usage": {**counts, **cached}})


def span(record: Record) -> dict[str, Any]:
    nanoseconds = str(int(record.at.timestamp()) * 10**9)
    attributes: list[dict[str, Any]] = [
        {"key": f"gen_ai.{name}", "value": {"stringValue": value}}
        for name, value in (
            ("operation.name", "chat"),
            ("provider.name", "openai"),
            ("response.model", "m"),
            ("response.id", record.request_id),
        )
    ]
    for name, count in (("input", record.tokens), ("output", 1)):
        attributes.append({"key": f"gen_ai.usage.{name}_tokens", "value": {"intValue": str(count)}})
    one = {"traceId": "a" * 32, "spanId": f"{record.number:016x}", "name": "chat m", "attributes": attributes}
    one |= {"startTimeUnixNano": nanoseconds, "endTimeUnixNano": nanoseconds}
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {}, "spans": [one]}]}]}


def fates(files: dict[str, list[Record]]) -> dict[Record, str]:
    """Each record alone: what its day, and the day before, tell of the same call."""
    told: dict[Record, str] = {}
    calls: dict[str, list[Record]] = defaultdict(list)
    for record in (record for records in files.values() for record in records):
        if record.is_broken:
            told[record] = "quarantined"
        elif record.request_id is not None:
            calls[record.request_id].append(record)
    for mine in calls.values():
        for record in mine:
            pool = [one for one in mine if one.day in (record.day, record.day - timedelta(days=1))]
            kept = min(pool, key=lambda one: (one.day == record.day, SOURCES.index(one.source), -one.rank, one.at))
            if kept is record:
                told[record] = "accepted"
            elif kept.tokens == record.tokens or kept.source != record.source:
                told[record] = "duplicate"
            else:
                told[record] = "superseded" if record.source in ("litellm", "otel_genai") else "quarantined"
    return told


def anonymous(files: dict[str, list[Record]]) -> Counter[int]:
    """Calls without an id, told by their content: the most that any one file tells counts."""
    most: Counter[int] = Counter()
    for records in files.values():
        mine = Counter(record.tokens for record in records if record.request_id is None and not record.is_broken)
        most |= mine
    return most


@many_cases(2)
def test_records_are_accounted_for_and_each_call_counts_once(
    draw: Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = home_settings(tmp_path_factory.mktemp("calls"), threads=1)
    moments: set[int] = set()
    paths = [f"{source}/{number}.jsonl" for source in SOURCES for number in range(6)]
    files = {path: drawn_file(draw, path, moments) for path in paths}
    draw.shuffle(paths)
    for night in range(NIGHTS):
        for path in paths[night::NIGHTS]:
            land(settings, path, "".join(line(record) + "\n" for record in files[path]))
        source = paths[night].partition("/")[0]
        land(settings, f"{source}/copy-{night}.jsonl", (settings.landing / paths[night]).read_bytes())
        take_in(settings)
    compare(settings, files)


def compare(settings: Settings, files: dict[str, list[Record]]) -> None:
    told, nameless = fates(files), anonymous(files)
    ledger = Lake(settings.lake).read("core__landed_files", "all")
    assert ledger is not None
    rows = {f"{row['source']}/{row['relative_path']}": row for row in ledger.to_dicts()}
    assert Counter(row["status"] for row in rows.values()) == {"ingested": len(files), "duplicate": NIGHTS}
    for path, records in files.items():
        row = rows[path]
        expected = Counter(told[record] for record in records if record in told)
        unnamed = sum(record not in told for record in records)
        assert row["records"] == len(records)
        assert row["records"] == sum(
            row[fate] for fate in ("accepted", "quarantined", "duplicate", "superseded", "not_usage")
        )
        assert (row["quarantined"], row["superseded"]) == (expected["quarantined"], expected["superseded"]), path
        assert row["not_usage"] == 0
        assert row["accepted"] + row["duplicate"] == expected["accepted"] + expected["duplicate"] + unnamed
        if not unnamed:
            assert row["accepted"] == expected["accepted"], path
    kept = usage(settings)
    is_named = ~pl.col("request_id").str.starts_with("content:")
    found = sorted(kept.filter(is_named).select("request_id", "started_at", "input_uncached_tokens", "source").rows())
    accepted = [record for record, fate in told.items() if fate == "accepted"]
    assert found == sorted((one.request_id, one.at, one.tokens, one.source) for one in accepted)
    assert Counter(kept.filter(~is_named)["input_uncached_tokens"].to_list()) == nameless
