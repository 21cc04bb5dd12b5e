"""As-of gives what was published at an instant, to the byte, whatever was published or made current again since.

What lives here: random sequences of publishes and rollbacks of random small marts, against a dictionary of bytes. What
does not: how a snapshot is committed (tests/unit/publish), kills (tests/faults), the marts of a real home
(tests/integration/test_close_and_restate.py).
3 homes of 14 steps; per home 400 instants are asked for: 1,200 answers compared.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest

from pipelines.errors import NotFoundError
from pipelines.lake import write_parquet
from pipelines.publish import commit
from pipelines.publish.snapshot import list_snapshots, publish, rollback, snapshot_at
from pipelines.settings import Settings
from tests.properties.models import many_cases

START = datetime(2026, 3, 1, tzinfo=UTC)
MART = "mart__feature_cost_daily"
Bytes = dict[str, bytes]


def write_marts(draw: Random, folder: Path, months: list[str]) -> dict[str, list[Path]]:
    """Some months anew, the others as they stand."""
    paths = []
    for month in months:
        path = folder / MART / f"{month}.parquet"
        if not path.exists() or draw.random() < 0.4:
            tokens = [draw.randint(0, 3) for _ in range(draw.randint(0, 2))]
            write_parquet(pl.DataFrame({"total_tokens": tokens}, schema={"total_tokens": pl.Int64}), path)
        paths.append(path)
    return {MART: paths}


def canonical(settings: Settings, snapshot_id: str) -> Bytes:
    root = settings.marts / "snapshots" / snapshot_id
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


@many_cases(3)
def test_every_instant_reads_the_bytes_that_were_current_then(
    draw: Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("as_of")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, "_smoke_read", lambda _layout, _line: None)
        live = history(draw, home)
    settings = Settings(home=home, fixed_now=START + timedelta(days=400))
    for _ in range(400):
        instant = START + timedelta(minutes=draw.randint(-60, 14 * 300))
        before = [when for when in live if when <= instant]
        if not before:
            with pytest.raises(NotFoundError):
                snapshot_at(settings, instant)
            continue
        expected_id, expected = live[max(before)]
        found = snapshot_at(settings, instant)
        assert found.snapshot_id == expected_id
        assert {file.relative: (found.path / file.relative).read_bytes() for file in found.manifest.files} == expected


def history(draw: Random, home: Path) -> dict[datetime, tuple[str, Bytes]]:
    """Publishes and rollbacks at rising instants; instant → what was live from then on, bytes read at once."""
    live: dict[datetime, tuple[str, Bytes]] = {}
    months, now = ["2026-01"], START
    for step in range(14):
        now += timedelta(minutes=draw.randint(1, 300))
        settings = Settings(home=home, fixed_now=now, threads=1)
        if step and draw.random() < 0.25:
            chosen = draw.choice(list_snapshots(settings)).snapshot_id
            rollback(settings, chosen)
        else:
            if draw.random() < 0.3:
                months.append(f"2026-{len(months) + 1:02d}")
            tables = write_marts(draw, home / "lake", months)
            chosen = publish(settings, tables, {"clock": now.isoformat()}).snapshot_id
        live[now] = (chosen, canonical(settings, chosen))
    return live
