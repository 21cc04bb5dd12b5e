"""The tables between core and the marts, an asset each, made from the models themselves: a new SQL file is a new asset.

What lives here: how the tables of pipelines/build/graph.py become assets. What does not: what a table computes (sql/,
pipelines/build/derived_tables.py), which of its partitions are stale (pipelines/build/graph.py).
These assets are not partitioned: a table knows its own months and builds those whose inputs changed. One step builds
them all, because a step costs Dagster more than a table costs.
"""

from collections.abc import Iterator

import dagster as dg

from assets.checks import answers, check_specs
from assets.failures import RETRY_TRANSIENT, plain_failures
from assets.listener import listener
from assets.resources import Home
from assets.table_metadata import built_metadata, table_spec
from pipelines.build.graph import build_order, cut_of, inputs_of, refresh_tables
from pipelines.core.closed_journal import CLOSED_COSTS, CLOSED_MONTHS
from pipelines.lake import Lake

_LAST_TOLD_BY = {"core__landed_files": "core__usage"}
"""The ledger gets its counts when days are merged: who reads it waits for that step too."""
_MONTHS_COME_FROM = ("core__usage", "ref__deployments")
"""Which months there are is known once days are merged and reference tables are read (pipelines.build.graph.months)."""

CLOSED = [table_spec(table, deps=()) for table in (CLOSED_MONTHS, CLOSED_COSTS)]
"""What `tokenmart close` wrote; no run builds them."""


def _deps(table: str) -> set[str]:
    inputs = set(inputs_of(table))
    is_root = not any(name.startswith(("int__", "mart__")) for name in inputs)
    after = {_LAST_TOLD_BY[name] for name in inputs if name in _LAST_TOLD_BY}
    return inputs | after | (set(_MONTHS_COME_FROM) if is_root and cut_of(table) == "month" else set())


_SPECS = [table_spec(table, deps=_deps(table)) for table in build_order()]


@dg.multi_asset(
    name="derived_tables",
    specs=_SPECS,
    check_specs=check_specs(build_order()),
    can_subset=True,
    retry_policy=RETRY_TRANSIENT,
)
def derived_tables(context: dg.AssetExecutionContext, home: Home) -> Iterator[dg.MaterializeResult[None]]:
    """Build the partitions whose inputs changed, table after table, then ask what must be true of them."""
    settings = home.settings()
    chosen = [spec.key.to_user_string() for spec in _SPECS if spec.key in context.selected_asset_keys]
    with plain_failures(settings):
        reports = refresh_tables(settings, chosen, listener().progress)
        answered = answers(context, settings)
        lake = Lake(settings.lake)
        held = lake.tables(reports)
        metadata = {table: built_metadata(lake, held[table].values(), report) for table, report in reports.items()}
    listener().built.update(reports)
    for table, shown in metadata.items():
        key = dg.AssetKey(table)
        yield dg.MaterializeResult(asset_key=key, metadata=shown, check_results=answered.get(key, []))
