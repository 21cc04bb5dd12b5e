"""The journal of what was live when: `published.jsonl`, one line per change of CURRENT.

What lives here: its lines, reading and appending, the line that a dead writer still owed.
What does not: changing CURRENT (commit.py). The journal lags the commit and never leads it; it is outside every digest.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from pipelines.errors import PublishError
from pipelines.publish import durable
from pipelines.publish.layout import Layout, sequence_of
from pipelines.publish.manifest import read_manifest

Reason = Literal["publish", "rollback"]


@dataclass(frozen=True)
class Line:
    """From `published_at` (UTC, by the recorded clock) `snapshot_id` was CURRENT; `previous` was before it.

    `recovered` marks a line appended by the next writer because the first died between commit and append.
    """

    published_at: datetime
    snapshot_id: str
    reason: Reason
    previous: str | None = None
    recovered: bool = False

    def as_json(self) -> str:
        """The line as it stands in the file, without its newline."""
        return json.dumps({**asdict(self), "published_at": instant_text(self.published_at)})


def instant_text(instant: datetime) -> str:
    """An instant in ISO 8601, UTC, with Z."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_journal(layout: Layout, now: datetime) -> list[Line]:
    """All lines, oldest first, and at the end the one still owed if CURRENT moved without a line (dated `now` for a
    rollback, by its manifest for a publish). A last line without a newline was never finished and does not count.

    Raises PublishError for a line that cannot be read.
    """
    lines = _stored(layout)
    owed = _owed(layout, lines, now)
    return lines if owed is None else [*lines, owed]


def settle(layout: Layout, now: datetime) -> None:
    """Append the line that a dead writer owed, if any. The caller holds the lock."""
    owed = _owed(layout, _stored(layout), now)
    if owed is not None:
        append(layout, owed)


def append(layout: Layout, line: Line) -> None:
    """Append one line durably. The caller holds the lock and has changed CURRENT already."""
    durable.append_line(layout.journal, line.as_json())


def highest_sequence(layout: Layout) -> int:
    """The highest sequence number ever used, 0 before the first."""
    names = [line.snapshot_id for line in _stored(layout)] + layout.snapshot_ids()
    return max((sequence_of(name) for name in names), default=0)


def orphan(layout: Layout) -> str | None:
    """The snapshot that a dead writer finished but never made CURRENT: newest, child of CURRENT, in no line.

    With snapshots but no journal nothing is called an orphan: a lost journal must not cost data.
    """
    ids = layout.snapshot_ids()
    current = layout.current_id()
    if not ids or ids[-1] == current:
        return None
    lines = _stored(layout)
    if current is not None and not lines:
        return None
    if ids[-1] in {line.snapshot_id for line in lines}:
        return None
    return ids[-1] if read_manifest(layout.snapshot(ids[-1])).parent == current else None


def _stored(layout: Layout) -> list[Line]:
    try:
        content = layout.journal.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    whole, _, _ = content.rpartition("\n")
    return [_parse(text, number) for number, text in enumerate(whole.splitlines(), start=1)]


def _parse(text: str, number: int) -> Line:
    try:
        raw = json.loads(text)
        return Line(**{**raw, "published_at": datetime.fromisoformat(raw["published_at"])})
    except (ValueError, TypeError, KeyError) as error:
        raise PublishError(
            "a line of the publishing journal cannot be read",
            where=f"marts/published.jsonl, line {number}",
            expected="one JSON object with published_at, snapshot_id, reason",
            next_move="restore the file from a backup, or remove that line",
        ) from error


def _owed(layout: Layout, lines: list[Line], now: datetime) -> Line | None:
    current = layout.current_id()
    last = lines[-1].snapshot_id if lines else None
    if current is None or current == last:
        return None
    if current in {line.snapshot_id for line in lines}:
        return Line(now, current, "rollback", last, recovered=True)
    return Line(read_manifest(layout.snapshot(current)).published_at, current, "publish", last, recovered=True)
