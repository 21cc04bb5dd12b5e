"""A lake of which something is gone or damaged: what was derived is built again, the rest is named with its next move.

What lives here: files of the lake that somebody else removed or changed. What does not: kills (tests/faults), raw files
that are gone (tests/unit/core).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest

from assets.listener import Listener
from assets.pipeline_run import RunFailedError, run_job
from pipelines.build.graph import refresh_table
from pipelines.build.workbench import workbench
from pipelines.contracts.billing import CoreBilling
from pipelines.contracts.fields import empty
from pipelines.errors import ContractError, PublishError
from pipelines.history.publication import publish_marts
from pipelines.inspection.doctor import examine
from pipelines.lake import Lake
from pipelines.publish.facts import is_up_to_date
from tests.integration.small_home import SmallHome, call, settings, use


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallHome:
    made = use(tmp_path / "home", monkeypatch)
    made.rules()
    made.land("response_log/a.jsonl", [call("2025-03-03T09:30:00Z", 1000, 300, request_id="r1")])
    run_job(settings(), "nightly", listener=Listener())
    return made


def derived(home: SmallHome) -> dict[str, bytes]:
    """Every file between the core days and the marts."""
    tables = [
        folder.name for folder in (home.path / "lake").iterdir() if folder.name[:5] in ("int__", "ref__", "mart_")
    ]
    return home.lake_bytes(*tables)


def lake_says(home: SmallHome) -> tuple[str, str]:
    """What the doctor finds of the lake, and what to do."""
    [finding] = [one for one in examine(settings()) if one.subject == "lake"]
    return finding.verdict, finding.next_move


@pytest.mark.parametrize(
    "gone",
    [
        ["int__usage_rollup"],
        ["int__meter_rollup", "int__usage_cost"],
        ["ref__price_book", "ref__features"],
        ["mart__feature_cost_daily"],
        ["*"],
    ],
    ids="+".join,
)
def test_what_was_derived_and_is_gone_is_built_again(home: SmallHome, gone: list[str]) -> None:
    before, snapshot = derived(home), home.current
    assert is_up_to_date(settings())
    for pattern in gone:
        for name in {Path(file).parts[0] for file in before if Path(file).match(f"{pattern}/*")}:
            shutil.rmtree(home.path / "lake" / name)
    assert not is_up_to_date(settings())
    assert lake_says(home)[0] == "fail"
    run_job(settings(), "nightly", listener=Listener())
    assert derived(home) == before
    assert home.current == snapshot
    assert is_up_to_date(settings())
    assert lake_says(home)[0] == "ok"


def test_a_table_is_not_built_from_what_is_gone(home: SmallHome) -> None:
    """One table alone was asked for, so nobody builds its input again; to read it as nothing would cost money."""
    before = derived(home)
    shutil.rmtree(home.path / "lake" / "int__usage_cost")
    shutil.rmtree(home.path / "lake" / "int__feature_cost_daily")
    with pytest.raises(ContractError) as caught:
        refresh_table(settings(), "int__feature_cost_daily")
    assert caught.value.where == "lake/int__usage_cost/2025-03.parquet"
    assert caught.value.next_move == "`tokenmart run` builds it again"
    run_job(settings(), "nightly", listener=Listener())
    assert derived(home) == before


def test_a_damaged_file_fails_at_once_and_is_built_again_when_it_is_removed(home: SmallHome) -> None:
    before = derived(home)
    [month] = (home.path / "lake" / "mart__feature_cost_daily").glob("*.parquet")
    month.write_bytes(month.read_bytes()[:-4])
    with pytest.raises(RunFailedError) as caught:
        run_job(settings(), "nightly", listener=Listener())
    assert caught.value.where == "step derived_tables"
    assert "dagster" not in caught.value.what
    assert "`tokenmart doctor`" in caught.value.next_move
    with dg.DagsterInstance.from_config(str(home.path / "dagster")) as instance:
        events = [entry.dagster_event for entry in instance.all_logs(instance.get_runs()[0].run_id)]
    assert not [event for event in events if event and event.is_step_up_for_retry]
    verdict, advice = lake_says(home)
    assert verdict == "fail"
    assert "remove them" in advice
    month.unlink()
    run_job(settings(), "nightly", listener=Listener())
    assert derived(home) == before


def test_a_day_of_a_bill_that_is_gone_is_named_and_not_taken_for_nothing(home: SmallHome) -> None:
    lake = Lake(settings().lake)
    lake.write("core__billing", "2025-03-03", empty(CoreBilling), CoreBilling)
    lake.path("core__billing", "2025-03-03").unlink()
    with lake.writing(), workbench(settings(), ["core__billing"]) as bench, pytest.raises(ContractError) as caught:
        bench.sight(["core__billing"], "2025-03")
    assert caught.value.where == "lake/core__billing/2025-03-03.parquet"
    assert "backfill --from 2025-03-03" in caught.value.next_move


def test_a_mart_file_that_somebody_changed_is_never_published(home: SmallHome) -> None:
    before = home.mart("mart__feature_cost_daily")
    [month] = (home.path / "lake" / "mart__feature_cost_daily").glob("*.parquet")
    month.write_bytes(month.read_bytes() + b"x")
    assert publish_marts(settings()).is_new is False
    assert home.mart("mart__feature_cost_daily") == before
    shutil.rmtree(home.path / "marts")
    with pytest.raises(PublishError, match="not what was written there"):
        publish_marts(settings())
    assert home.current is None
