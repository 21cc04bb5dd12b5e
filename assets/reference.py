"""The reference tables as assets: price book, rules, rates, as the CSV files say them now.

What lives here: one step that brings them all into the lake. What does not: the tables' rules
(pipelines/transforms/reference_tables.py, price_book.py).
"""

from collections.abc import Iterator

import dagster as dg

from assets.checks import answers, check_specs
from assets.failures import RETRY_TRANSIENT, plain_failures
from assets.listener import listener
from assets.resources import Home
from assets.table_metadata import table_spec
from pipelines.build.derived_tables import REFERENCE_NAMES
from pipelines.build.graph import refresh_reference
from pipelines.build.workbench import ALL
from pipelines.lake import Lake

_SPECS = [table_spec(name, deps=()) for name in REFERENCE_NAMES]


@dg.multi_asset(
    name="reference_tables",
    specs=_SPECS,
    check_specs=check_specs(REFERENCE_NAMES),
    can_subset=True,
    retry_policy=RETRY_TRANSIENT,
)
def reference_tables(context: dg.AssetExecutionContext, home: Home) -> Iterator[dg.MaterializeResult[None]]:
    """Read data/reference and <home>/reference, check every row, and replace the tables when a file changed."""
    settings = home.settings()
    listener().progress("reading reference tables", 0, 1)
    with plain_failures(settings):
        report = refresh_reference(settings)
        answered = answers(context, settings)
    held = Lake(settings.lake).tables(REFERENCE_NAMES)
    for spec in _SPECS:
        if spec.key in context.selected_asset_keys:
            partition = held[spec.key.to_user_string()].get(ALL)
            yield dg.MaterializeResult(
                asset_key=spec.key,
                metadata={"dagster/row_count": partition.rows if partition else 0, "read again": bool(report.built)},
                check_results=answered.get(spec.key, []),
            )
