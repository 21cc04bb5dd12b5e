"""The first reader of a new snapshot: a process of its own that opens CURRENT as a BI tool would.

What lives here: one reading pass, exit code 0 or 1. What does not: any judgement of the numbers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from pipelines.publish.layout import DATABASE, Layout
from pipelines.publish.manifest import read_manifest
from pipelines.warehouse import identifier


def complaints(marts: Path, expected_id: str) -> list[str]:
    """What is wrong with the snapshot behind `marts/CURRENT`; empty when every mart holds its rows and its id."""
    found = Layout(marts).current_id()
    if found != expected_id:
        return [f"CURRENT is {found}, not {expected_id}"]
    wrong = []
    manifest = read_manifest(marts / "CURRENT")
    with duckdb.connect(str((marts / "CURRENT" / DATABASE).resolve()), read_only=True) as connection:
        for table, facts in manifest.tables.items():
            query = f"SELECT count(*), count(*) FILTER (WHERE _snapshot_id = $id) FROM {identifier(table)}"
            rows, marked = connection.execute(query, {"id": expected_id}).fetchall()[0]
            if not rows == marked == facts.rows:
                wrong.append(f"{table}: {rows} rows, {marked} of this snapshot, {facts.rows} in the manifest")
    return wrong


def main(arguments: list[str]) -> int:
    """`python -m pipelines.publish.smoke MARTS SNAPSHOT_ID`; complaints go to stderr."""
    wrong = complaints(Path(arguments[0]), arguments[1])
    if wrong:
        sys.stderr.write("\n".join(wrong) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
