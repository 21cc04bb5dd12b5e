"""What a run of this process writes into Dagster's files, as Dagster itself reads them.

What lives here: when events become visible to others. What does not: what a run tells (test_cli_run.py).
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets.dagster_home import open_instance
from tests.integration.small_home import settings, use


def told(home: Path) -> list[str]:
    """The values of one asset's events, by an instance with Dagster's own storage."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        records = instance.fetch_materializations(dg.AssetKey("core__usage"), limit=10, ascending=True).records
    return [str(record.asset_materialization.metadata["number"].value) for record in records]


def test_events_of_one_step_are_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = use(tmp_path / "home", monkeypatch)
    with open_instance(settings()) as instance:
        for number in (1, 2):
            instance.report_runless_asset_event(dg.AssetMaterialization("core__usage", metadata={"number": number}))
        mine = instance.fetch_materializations(dg.AssetKey("core__usage"), limit=10).records
        assert len(mine) == 2, "the run itself sees what waits"
        assert told(home.path) == []
    assert told(home.path) == ["1", "2"]


def test_a_storage_that_dagster_yaml_names_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = use(tmp_path / "home", monkeypatch)
    with open_instance(settings()) as instance:
        assert type(instance.event_log_storage).__name__ == "StepwiseEventLog"
    configuration = home.path / "dagster" / "dagster.yaml"
    own = home.path / "elsewhere"
    configuration.write_text(
        configuration.read_text()
        + "event_log_storage:\n  module: dagster._core.storage.event_log\n"
        + f"  class: ConsolidatedSqliteEventLogStorage\n  config: {{base_dir: {own}}}\n"
    )
    with open_instance(settings()) as instance:
        assert type(instance.event_log_storage).__name__ == "ConsolidatedSqliteEventLogStorage"
