"""Dagster's own storage below the home: where runs, events and ticks are kept.

What lives here: making <home>/dagster, opening the instance. What does not: anything about tables.
"""

import os
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from assets.run_history import HomeStorage
from pipelines.settings import Settings

_CONFIGURATION = """\
# Written by tokenmart when this folder was made; yours to change.
telemetry:
  enabled: false
# One publish at a time, across all runs.
concurrency:
  pools:
    granularity: op
    default_limit: 1
# The steps print nothing; what they tell is in their events.
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


def prepare_dagster_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME with its dagster.yaml unless they stand already; the folder."""
    folder = settings.dagster_home.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "dagster.yaml"
    if not configuration.exists():
        aside = folder / f".dagster.yaml.{os.getpid()}"
        aside.write_text(_CONFIGURATION, encoding="utf-8")
        aside.replace(configuration)
    return folder


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance of this home, the one that `tokenmart dev` shows. Use it as a context manager.

    Its files are written in fewer transactions than Dagster would, unless dagster.yaml names a storage of its own.
    """
    reference = InstanceRef.from_dir(str(prepare_dagster_home(settings)))
    storage = reference.storage_data
    if storage is not None and storage.class_name == DagsterSqliteStorage.__name__:
        ours = ConfigurableClassData(HomeStorage.__module__, HomeStorage.__name__, storage.config_yaml)
        reference = reference._replace(storage_data=ours)
    return dg.DagsterInstance.from_ref(reference)
