"""Journals: tables that tell of publishes themselves travel with a snapshot and stand outside its digest."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.publish.manifest import read_manifest
from pipelines.publish.snapshot import current, publish
from pipelines.settings import Settings
from tests.unit.publish.conftest import Marts

JOURNAL = "mart__restatements"
ROWS = {"2026-01": [("2026-01-05", "chat", 10, "1.5")]}


def journal(settings: Settings, lines: list[str]) -> dict[str, list[object]]:
    path = settings.lake / JOURNAL / "all.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"cause": pa.array(lines, pa.string())}), path)
    return {JOURNAL: [path]}


@pytest.mark.usefixtures("without_smoke")
def test_a_journal_alone_makes_no_new_snapshot(settings: Settings, marts: Marts) -> None:
    first = publish(settings, {**marts(ROWS), **journal(settings, [])}, {}, journals=[JOURNAL])
    again = publish(settings, {**marts(ROWS), **journal(settings, ["late_usage"])}, {}, journals=[JOURNAL])
    assert first.is_new
    assert not again.is_new


@pytest.mark.usefixtures("without_smoke")
def test_a_journal_is_part_of_the_snapshot_and_not_of_its_digest(settings: Settings, marts: Marts) -> None:
    plain = publish(settings, marts(ROWS), {})
    told = publish(
        settings,
        {**marts({"2026-01": [("2026-01-05", "chat", 10, "2.5")]}), **journal(settings, ["late_usage"])},
        {},
        journals=[JOURNAL],
    )
    back = publish(settings, {**marts(ROWS), **journal(settings, ["late_usage", "fx"])}, {}, journals=[JOURNAL])
    assert told.manifest.tables[JOURNAL].rows == 1
    assert back.manifest.digest == plain.manifest.digest
    assert read_manifest(current(settings).path).journals == (JOURNAL,)
