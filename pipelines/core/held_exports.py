"""Exports that are held because they shrink settled buckets, and those that somebody released.

What lives here: remembering both in the lake's index, telling the file ledger. What does not: when an export is held
(transforms/buckets.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.errors import NotFoundError
from pipelines.lake import Lake

HELD = "held_shrink"
_REASON = (
    "some of its days tell less than 80% of what a complete export told before, after the provider's look-back window:"
    " those days are held; `tokenmart release` applies them, a newer whole export replaces them"
)
_TABLES = """
CREATE TABLE IF NOT EXISTS held_days (landed_file TEXT, usage_date TEXT, PRIMARY KEY (landed_file, usage_date));
CREATE TABLE IF NOT EXISTS released_exports (landed_file TEXT PRIMARY KEY);
"""


def released_files(lake: Lake) -> list[str]:
    """Identities of the exports that somebody released."""
    with lake.index() as index:
        index.executescript(_TABLES)
        return [row[0] for row in index.execute("SELECT landed_file FROM released_exports ORDER BY landed_file")]


def set_held_days(lake: Lake, days: Iterable[str], held: Iterable[tuple[str, str]]) -> None:
    """Replace what is held on these days by `held` (landed_file, day), and mark the files in the ledger."""
    with lake.index() as index:
        index.executescript(_TABLES)
        touched = {row[0] for row in index.execute("SELECT DISTINCT landed_file FROM held_days")}
        index.executemany("DELETE FROM held_days WHERE usage_date = ?", [(day,) for day in days])
        rows = sorted(set(held))
        index.executemany("INSERT OR REPLACE INTO held_days VALUES (?, ?)", rows)
        still = {row[0] for row in index.execute("SELECT DISTINCT landed_file FROM held_days")}
        index.executemany(
            "UPDATE files SET reason_code = NULL, reason = NULL WHERE landed_file = ? AND reason_code = ?",
            [(file, HELD) for file in sorted(touched - still)],
        )
        index.executemany(
            "UPDATE files SET reason_code = ?, reason = ? WHERE landed_file = ? AND status = 'ingested'",
            [(HELD, _REASON, file) for file in sorted(still)],
        )


def release(lake: Lake, landed_file: str) -> list[str]:
    """Let a held export speak from now on; the days that must be written again, in order.

    Raises NotFoundError for a file of which nothing is held.
    """
    with lake.index() as index:
        index.executescript(_TABLES)
        found = index.execute(
            "SELECT usage_date FROM held_days WHERE landed_file = ? ORDER BY usage_date", (landed_file,)
        ).fetchall()
        if not found:
            raise NotFoundError(
                f"nothing of {landed_file!r} is held",
                where="core__landed_files, reason_code held_shrink",
                expected="the landed_file of a held export",
                next_move="`tokenmart check`, or SELECT from mart__data_status, shows where exports are held",
            )
        index.execute("INSERT OR REPLACE INTO released_exports VALUES (?)", (landed_file,))
    return [row[0] for row in found]
