"""The roll-ups: token classes and meters summed at the grain that prices and owners need.

What lives here: int__usage_rollup and int__meter_rollup as assets. What does not: the summing
(pipelines/build/rollup_days.py).
"""

from collections.abc import Iterator

import dagster as dg

from assets.checks import answers, check_specs
from assets.core import days_of_run, log_days_outside
from assets.failures import RETRY_TRANSIENT, plain_failures
from assets.listener import listener
from assets.partitions import DAYS, ONE_RUN
from assets.resources import Home
from assets.table_metadata import table_spec
from pipelines.build.rollup_days import roll_up_days
from pipelines.lake import Lake

_BOOK_AND_RULES = (
    "ref__price_book",
    "ref__price_schedules",
    "ref__model_aliases",
    "ref__contract_prices",
    "ref__features",
)
_USAGE = table_spec("int__usage_rollup", deps=["core__usage", *_BOOK_AND_RULES], partitions_def=DAYS)
_METERS = table_spec("int__meter_rollup", deps=["core__usage", "core__meters", *_BOOK_AND_RULES])


@dg.multi_asset(
    name="rollup_days",
    specs=[_USAGE, _METERS],
    check_specs=check_specs(("int__usage_rollup", "int__meter_rollup")),
    can_subset=True,
    backfill_policy=ONE_RUN,
    retry_policy=RETRY_TRANSIENT,
)
def rollup_days(context: dg.AssetExecutionContext, home: Home) -> Iterator[dg.MaterializeResult[None]]:
    """Roll up the days whose core rows, or whose need for a finer cut, changed; the others are kept."""
    settings = home.settings()
    with plain_failures(settings):
        report = roll_up_days(settings, progress=listener().progress)
        answered = answers(context, settings)
    listener().rollup = report
    lake = Lake(settings.lake)
    log_days_outside(context, lake, "int__usage_rollup", report.days, days_of_run(context))
    for spec in (_USAGE, _METERS):
        if spec.key in context.selected_asset_keys:
            partitions = lake.partitions(spec.key.to_user_string())
            rows = sum(partition.rows for partition in partitions.values())
            yield dg.MaterializeResult(
                asset_key=spec.key,
                metadata={
                    "rows of all days": rows,
                    "days written": len(report.days),
                    "days unchanged": report.unchanged,
                },
                check_results=answered.get(spec.key, []),
            )
