"""One asset per table between core and the marts, made from the models themselves: a new SQL file is a new asset.

What lives here: how a table of pipelines/build/graph.py becomes an asset. What does not: what a table computes (sql/,
pipelines/build/derived_tables.py), which of its partitions are stale (pipelines/build/graph.py).
These assets are not partitioned: a table knows its own months and builds those whose inputs changed.
"""

import dagster as dg

from assets.failures import RETRY_TRANSIENT, plain_failures
from assets.listener import listener
from assets.resources import Home
from assets.table_metadata import built_metadata, table_spec
from pipelines.build.graph import CLOSED_COSTS, CLOSED_MONTHS, build_order, cut_of, inputs_of, refresh_table

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


def _asset_of(table: str) -> dg.AssetsDefinition:
    spec = table_spec(table, deps=_deps(table))

    @dg.multi_asset(name=table, specs=[spec], retry_policy=RETRY_TRANSIENT)
    def refresh(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[None]:
        settings = home.settings()
        listener().progress(f"building {table}", 0, 1)
        with plain_failures(settings):
            report = refresh_table(settings, table, listener().progress)
        listener().built[table] = report
        return dg.MaterializeResult(asset_key=spec.key, metadata=built_metadata(settings, table, report))

    return refresh


DERIVED = [_asset_of(table) for table in build_order()]
