"""The days that Dagster keeps track of, and how a run names a range of them.

What lives here: the daily partitions, the tags of a range run, the backfill policy. What does not: which days a run
writes (pipelines decides that from the files).

Five tables are tracked by day: core__usage, core__provider_usage, core__billing, core__infrastructure and
int__usage_rollup. Their companions (meters, duplicates, …) are written with them and tell their days in metadata: every
tracked asset and day costs a run two events of some 10 ms each, and on a year of days that would be more than the work
itself. For the same reason a run of the whole pipeline is started for one day: Dagster plans every asset of a run,
partitioned or not, once per day of its range.
"""

from collections.abc import Iterable
from datetime import date, timedelta

import dagster as dg

from pipelines.errors import UsageError
from pipelines.settings import Settings

FIRST_TRACKED_DAY = date(2020, 1, 1)
"""The year in which the first language model could be bought by the token; older days are built, not tracked."""
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
REBUILD_TAG = "tokenmart/rebuild"
"""Set to `true` on a run whose days are to be computed from the raw files again."""
BACKFILL_TAG = "dagster/backfill"
"""Dagster sets it on runs of a backfill that was started in its interface."""


def _days_ahead(settings: Settings) -> int:
    """Partitions end with today; a recorded clock that runs ahead of this machine's takes them along."""
    real = Settings(settings.home).today()
    return max(1, (settings.today() - real).days + 1)


DAYS = dg.DailyPartitionsDefinition(start_date=str(FIRST_TRACKED_DAY), end_offset=_days_ahead(Settings.load()))
ONE_RUN = dg.BackfillPolicy.single_run()


def last_tracked_day() -> date:
    """The newest partition: today in UTC."""
    return date.fromisoformat(DAYS.get_last_partition_key() or str(FIRST_TRACKED_DAY))


def tracked(days: Iterable[str]) -> list[str]:
    """Those of `days` (ISO dates) that are partitions. Asking Dagster for the newest costs 10 ms: it is asked once."""
    newest = str(last_tracked_day())
    return [day for day in days if str(FIRST_TRACKED_DAY) <= day <= newest]


def range_tags(first: date, last: date) -> dict[str, str]:
    """Tags that make a run cover first to last, both included. Raises UsageError for a range that is none."""
    newest = last_tracked_day()
    if not FIRST_TRACKED_DAY <= first <= last <= newest:
        raise UsageError(
            f"{first} to {last} is not a range of days that can be run",
            expected=f"UTC days from {FIRST_TRACKED_DAY} to {newest}, the first not after the last",
            next_move="correct --from and --to",
        )
    return {RANGE_START_TAG: str(first), RANGE_END_TAG: str(last)}


def day_before(today: date) -> tuple[date, date]:
    """The range of one day that a run answers for unless told otherwise: the last UTC day that is over."""
    day = max(FIRST_TRACKED_DAY, min(today, last_tracked_day()) - timedelta(days=1))
    return day, day
