"""A backfill over a range = the nightly increments over it = a rebuild from nothing, byte for byte.

What lives here: one home filled over three nights, computed again in three ways. What does not: exact dollars
(test_cli_run.py). Invariants 15 and 16.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from assets.cli import app
from tests.integration.small_home import SmallHome, call, use

TABLES = ("core__usage", "core__meters", "core__duplicates", "int__usage_rollup", "mart__feature_cost_daily")
NIGHTS = ("2025-03-04T03:00:00Z", "2025-03-05T03:00:00Z", "2025-03-06T03:00:00Z")


@dataclass
class Story:
    """Snapshots and lake bytes after each way of computing the same days."""

    snapshots: dict[str, str | None] = field(default_factory=dict)
    lake: dict[str, dict[str, bytes]] = field(default_factory=dict)
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    materialised: dict[str, list[str]] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)

    def do(self, way: str, home: SmallHome, *arguments: str) -> None:
        result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
        self.said[way] = json.loads(result.stdout, parse_float=Decimal)
        self.snapshots[way] = home.current
        self.lake[way] = home.lake_bytes(*TABLES)
        with dg.DagsterInstance.from_config(str(home.path / "dagster")) as instance:
            run_id = self.said[way]["run_id"]
            self.runs[way] = instance.get_runs_count()
            self.materialised[way] = sorted(
                str(event.dagster_event.step_materialization_data.materialization.partition)
                for event in instance.all_logs(run_id)
                if event.dagster_event is not None
                and event.dagster_event.is_step_materialization
                and event.dagster_event.asset_key == dg.AssetKey("core__usage")
            )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = Story()
    first = [call(f"2025-03-02T{hour:02}:00:00Z", 1000, 100, request_id=f"a{hour}") for hour in range(20)]
    second = [call(f"2025-03-03T{hour:02}:00:00Z", 1000, 100, request_id=f"b{hour}") for hour in range(20)]
    late = [call("2025-03-02T23:59:00Z", 700, 70, request_id="late"), first[3], second[4]]
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("homes")
        home = use(folder / "nightly", patch)
        home.rules()
        for night, (name, lines) in zip(NIGHTS, {"2": first, "3": second, "late": late}.items(), strict=True):
            use(home.path, patch, night)
            home.land(f"response_log/{name}.jsonl", lines)
            told.do("nightly", home, "run")
        (home.path / "lake" / "core__usage" / "2025-03-02.parquet").unlink()
        told.do("dry", home, "backfill", "--from", "2025-03-02", "--to", "2025-03-03", "--dry-run")
        told.do("backfill", home, "backfill", "--from", "2025-03-02", "--to", "2025-03-03")
        rebuilt = use(folder / "rebuilt", patch, NIGHTS[-1])
        for part in ("landing", "reference"):
            shutil.copytree(home.path / part, rebuilt.path / part)
        told.do("rebuild", rebuilt, "run")
        yield told


def test_a_backfill_gives_the_bytes_of_the_nightly_increments(story: Story) -> None:
    assert story.lake["nightly"]["core__usage/2025-03-02.parquet"]
    assert story.lake["backfill"] == story.lake["nightly"]


def test_a_rebuild_from_nothing_gives_them_too(story: Story) -> None:
    assert story.lake["rebuild"] == story.lake["nightly"]


def test_equal_marts_are_not_published_again(story: Story) -> None:
    assert story.snapshots["nightly"] is not None
    assert story.snapshots["nightly"].startswith("000003-")
    assert story.snapshots["backfill"] == story.snapshots["nightly"]
    assert story.said["backfill"]["outcome"] == "nothing_new"
    digests = {story.snapshots[way].partition("-")[2] for way in ("nightly", "backfill", "rebuild")}
    assert len(digests) == 1, "the digest in the id is of the canonical Parquet"


def test_a_backfill_is_one_run_over_the_range(story: Story) -> None:
    assert story.materialised["backfill"] == ["2025-03-02", "2025-03-03"]
    # Three runs more than after the dry run: the range, the marts, and the publish that follows the difference.
    assert story.runs["backfill"] == story.runs["dry"] + 3


def test_a_dry_run_shows_the_difference_and_publishes_nothing(story: Story) -> None:
    assert story.said["dry"]["outcome"] == "not_published"
    assert story.snapshots["dry"] == story.snapshots["nightly"]
    assert story.said["dry"]["changes"] == []
    assert story.runs["dry"] == 3 + 2
    assert "core__usage/2025-03-02.parquet" in story.lake["dry"], "the lost day was computed from landing again"


def test_a_backfill_wants_its_range() -> None:
    from pipelines.errors import UsageError

    with pytest.raises(UsageError, match="which days"):
        CliRunner().invoke(app, ["backfill"], catch_exceptions=False)
    with pytest.raises(UsageError, match="half a range"):
        CliRunner().invoke(app, ["backfill", "--from", "2025-03-02"], catch_exceptions=False)
