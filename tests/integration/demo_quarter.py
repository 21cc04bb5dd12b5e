"""The demo quarter, built once: its home, its reconciliation by day, and what its exports and logs tell.

What lives here: reading and rewriting the quarter's landed files. What does not: expected values (the tests).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipelines.demo.generator import write_demo
from pipelines.demo.scenario import DEMO_NIGHTS
from pipelines.lake import Lake
from tests.integration.nights import built, home_settings, land

SCALE = 0.02
CLOCK = datetime.fromisoformat(DEMO_NIGHTS[-1][1])
WRITTEN = datetime(2026, 10, 12, tzinfo=UTC).timestamp()
"""After the exports of the demo's last night, inside the window in which a provider restates September."""
CAUSES = (
    "price_gap",
    "unlogged",
    "overlogged",
    "unpriced",
    "non_token_charges",
    "credits",
    "tax",
    "commitment",
    "excluded_from_cost_api",
    "not_billed",
    "timing",
    "fx",
    "rounding",
    "unexplained",
)

Line = dict[str, Any]
Key = tuple[date, str, str]
"""UTC day, provider, account."""


def build_quarter(home: Path) -> None:
    for night, _ in DEMO_NIGHTS:
        write_demo(home, night=night, scale=SCALE)
    rebuild(home)


def rebuild(home: Path) -> None:
    built(home_settings(home, CLOCK))


def rows_of(home: Path, table: str) -> list[Line]:
    lake = Lake(home / "lake")
    frames = [lake.read(table, key) for key in lake.partitions(table)]
    return [row for frame in frames if frame is not None for row in frame.to_dicts()]


def daily(home: Path) -> dict[Key, Line]:
    rows = rows_of(home, "mart__reconciliation_daily")
    return {(row["usage_date"], row["provider"], row["account"]): row for row in rows}


def features(home: Path) -> dict[Key, list[Line]]:
    """Rows of the cost mart by day, provider and account."""
    found: dict[Key, list[Line]] = {}
    for row in rows_of(home, "mart__feature_cost_daily"):
        found.setdefault((row["usage_date"], row["provider"], row["account"]), []).append(row)
    return found


def bucket_of(home: Path, source: str, day: date) -> Line:
    """The newest bucket of the day that the demo's exports tell, amounts as text."""
    found = {}
    for path in sorted((home / "landing" / source).glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        for bucket in json.loads(path.read_text(), parse_float=str)["data"]:
            start = bucket.get("starting_at") or datetime.fromtimestamp(bucket["start_time"], UTC).isoformat()
            found[start[:10]] = bucket
    return found[str(day)]


def export(home: Path, source: str, name: str, buckets: Iterable[Line]) -> None:
    """A newer export that tells these buckets."""
    path = land(home, f"{source}/{name}.json", json.dumps({"data": list(buckets), "has_more": False}))
    os.utime(path, (WRITTEN, WRITTEN))


def restate(home: Path, source: str, day: date, lines: Iterable[Line]) -> None:
    """A newer export of one day that tells these lines."""
    export(home, source, f"restated-{day}", [{**bucket_of(home, source, day), "results": list(lines)}])


def openai_lines(home: Path, day: date, account: str = "proj_assist") -> list[Line]:
    lines: list[Line] = bucket_of(home, "openai_costs", day)["results"]
    return [line for line in lines if line["project_id"] == account]


def openai_tokens_usd(home: Path, day: date) -> Decimal:
    """What the export bills for the tokens of proj_assist."""
    return sum(
        (Decimal(str(line["amount"]["value"])) for line in openai_lines(home, day) if is_tokens(line)), Decimal(0)
    )


def anthropic_default_usd(home: Path, day: date) -> Decimal:
    """What the cost report bills the default workspace: cents, in dollars."""
    lines = bucket_of(home, "anthropic_costs", day)["results"]
    return sum((Decimal(line["amount"]) / 100 for line in lines if not line["workspace_id"]), Decimal(0))


def is_tokens(line: Line) -> bool:
    return bool(line.get("quantity_unit") == "tokens")


def times(lines: Iterable[Line], factor: str) -> list[Line]:
    return [
        {**line, "amount": {**line["amount"], "value": str(Decimal(str(line["amount"]["value"])) * Decimal(factor))}}
        if is_tokens(line)
        else line
        for line in lines
    ]


def coding_usage(home: Path, day: date) -> list[Line]:
    """Usage of each response of a day in Claude Code's logs; the last of a response's lines is whole."""
    found: dict[str, Line] = {}
    for path in sorted((home / "landing" / "claude_code").rglob("*.jsonl")):
        for text in path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if str(line.get("timestamp", "")).startswith(str(day)) and line.get("type") == "assistant":
                usage, known = line["message"]["usage"], found.get(line["message"]["id"])
                if known is None or usage["output_tokens"] >= known["output_tokens"]:
                    found[line["message"]["id"]] = {**usage, "model": line["message"]["model"]}
    return list(found.values())


def rewrite_coding(home: Path, day: date, change: Callable[[Line], Line | None]) -> None:
    """Claude Code's logs with each response line of the day changed, or left out."""
    for path in sorted((home / "landing" / "claude_code").rglob("*.jsonl")):
        kept, is_changed = [], False
        for text in path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if str(line.get("timestamp", "")).startswith(str(day)) and line.get("type") == "assistant":
                changed, is_changed = change(line), True
                kept += [] if changed is None else [json.dumps(changed)]
            else:
                kept.append(text)
        if is_changed:
            path.write_text("".join(f"{text}\n" for text in kept), encoding="utf-8")
            os.utime(path, (WRITTEN, WRITTEN))
