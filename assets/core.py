"""The core days: canonical rows of requests, provider usage and bills, replaced day by day.

What lives here: the assets of the core floor. What does not: merging (pipelines/core/merge.py), reading files
(ingest.py).
A nightly run merges whatever days the new files touch, also outside its range; the days of its range are computed from
the raw files again only in a backfill.
"""

from collections.abc import Iterator

import dagster as dg

from assets.checks import answers, check_specs
from assets.failures import RETRY_TRANSIENT, plain_failures
from assets.listener import listener
from assets.partitions import BACKFILL_TAG, DAYS, ONE_RUN, REBUILD_TAG, tracked
from assets.resources import Home
from assets.table_metadata import Shown, table_spec
from pipelines.core.merge import CoreReport, merge_core
from pipelines.lake import Lake

TRACKED = ("core__usage", "core__provider_usage", "core__billing", "core__infrastructure")
COMPANIONS = ("core__meters", "core__duplicates", "core__quarantine", "core__fetched_buckets")
_SPECS = [
    *(table_spec(table, deps=["core__landed_files"], partitions_def=DAYS) for table in TRACKED),
    *(table_spec(table, deps=["core__landed_files"]) for table in COMPANIONS),
]


@dg.multi_asset(
    name="core_days",
    specs=_SPECS,
    check_specs=check_specs((*TRACKED, *COMPANIONS)),
    can_subset=True,
    backfill_policy=ONE_RUN,
    retry_policy=RETRY_TRANSIENT,
)
def core_days(context: dg.AssetExecutionContext, home: Home) -> Iterator[dg.MaterializeResult[None]]:
    """Merge staged rows into their days; in a backfill also compute the days of the range from raw files."""
    settings = home.settings()
    days = days_of_run(context)
    tags = context.run.tags
    afresh = days if BACKFILL_TAG in tags or tags.get(REBUILD_TAG) == "true" else []
    with plain_failures(settings):
        report = merge_core(settings, rebuild=afresh, progress=listener().progress)
        answered = answers(context, settings)
    listener().core = report
    for name in report.missing_raw:
        context.log.warning("landed file %s is gone from landing/: its rows were kept as they are", name)
    lake = Lake(settings.lake)
    for table in TRACKED:
        log_days_outside(context, lake, table, written_days(report, table), days)
    for spec in _SPECS:
        if spec.key in context.selected_asset_keys:
            yield dg.MaterializeResult(
                asset_key=spec.key,
                metadata=_metadata(lake, spec.key.to_user_string(), report),
                check_results=answered.get(spec.key, []),
            )


def days_of_run(context: dg.AssetExecutionContext) -> list[str]:
    """The partitions that the run was started for, as ISO dates; none when it was started without."""
    return list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else []


def written_days(report: CoreReport, table: str) -> list[str]:
    """The days that were written of one core table."""
    if table in {"core__usage", "core__meters", "core__duplicates"}:
        return report.usage_days
    return report.infrastructure_days if table == "core__infrastructure" else report.bucket_days


def log_days_outside(
    context: dg.AssetExecutionContext, lake: Lake, table: str, written: list[str], range_days: list[str]
) -> None:
    """Tell Dagster of days that were written though the run was not started for them (late files).

    Days that hold no row and days before the first partition are left out.
    """
    partitions = lake.partitions(table)
    inside = set(range_days)
    for day in tracked(written):
        if day not in inside and day in partitions and partitions[day].rows:
            context.log_event(
                dg.AssetMaterialization(table, partition=day, metadata={"dagster/row_count": partitions[day].rows})
            )


def _metadata(lake: Lake, table: str, report: CoreReport) -> Shown:
    if table == "core__quarantine":
        held = lake.partitions(table)
        return {"dagster/row_count": sum(partition.rows for partition in held.values())}
    written = written_days(report, table)
    partitions = lake.partitions(table)
    found: Shown = {"days written": len(written)}
    if table in COMPANIONS:
        found["dagster/row_count"] = sum(partition.rows for partition in partitions.values())
    else:
        found["rows in them"] = sum(partitions[day].rows for day in written if day in partitions)
    if written:
        found |= {"first day": written[0], "last day": written[-1]}
    return found
