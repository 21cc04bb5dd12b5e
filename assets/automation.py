"""When things run: the jobs, the nightly schedule, the sensor on landing/, and who tells of a failed run.

What lives here: jobs, look-back windows, schedule, sensors. What does not: what a run does (the assets).
Schedules and sensors start by themselves where TOKENMART_DEPLOYMENT=production; elsewhere somebody switches them on.
"""

import hashlib
import time
from datetime import UTC

import dagster as dg

from assets.core import TRACKED
from assets.partitions import REBUILD_TAG, day_before, range_tags
from assets.resources import Home
from pipelines.connectors import registry
from pipelines.intake.landing import FoundFile, Ledger, unseen
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.transforms.look_back import LOOK_BACK_DAYS

NIGHTLY_CRON = "0 3 * * *"
_SENSOR_SECONDS = 60

_IN_PROCESS = dg.in_process_executor
"""A step costs 0.3 s in the process of its run and 3 s in one of its own; the work itself uses all threads anyway."""

nightly = dg.define_asset_job(
    "nightly",
    selection=dg.AssetSelection.all(),
    executor_def=_IN_PROCESS,
    description="Take in what is new, rebuild the days it touches, check everything, publish.",
)
days_again = dg.define_asset_job(
    "days_again",
    selection=dg.AssetSelection.assets("core__landed_files", *TRACKED, "int__usage_rollup").without_checks(),
    executor_def=_IN_PROCESS,
    tags={REBUILD_TAG: "true"},
    description="Compute the days of a range from the raw files again, as one run; `reprice` or `nightly` carries on.",
)
reprice = dg.define_asset_job(
    "reprice",
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups("core"),
    executor_def=_IN_PROCESS,
    description="Apply prices, contracts and rules to all history again; landing/ is not looked at, no log is read.",
)
JOBS = [nightly, days_again, reprice]

_STARTED = Settings.load().is_deployed


@dg.schedule(
    name="every_night",
    cron_schedule=NIGHTLY_CRON,
    job=nightly,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING if _STARTED else dg.DefaultScheduleStatus.STOPPED,
    description=(
        "Every night at 03:00 UTC: all new files, whatever their days. Let exports reach back "
        + ", ".join(f"{days} days ({source})" for source, days in LOOK_BACK_DAYS.items())
        + "."
    ),
)
def every_night(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One run for the day that is over, named after its night so that a tick never starts two."""
    night = context.scheduled_execution_time.astimezone(UTC).date()
    return dg.RunRequest(run_key=str(night), tags=range_tags(*day_before(night)))


@dg.sensor(
    name="landing_has_news",
    job=nightly,
    minimum_interval_seconds=_SENSOR_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING if _STARTED else dg.DefaultSensorStatus.STOPPED,
    description="Starts a run when landing/ holds new files that have stopped growing. Reads no file.",
)
def landing_has_news(context: dg.SensorEvaluationContext, home: Home) -> dg.SensorResult:
    """One run per set of new files: the cursor is a digest of their names, sizes and times."""
    settings = home.settings()
    if not settings.landing.is_dir():
        return dg.SensorResult(skip_reason="there is no landing folder yet")
    files, _ = unseen(settings, Ledger(Lake(settings.lake)), registry.SOURCES)
    settled = [file for file in files if time.time_ns() - file.modified_ns >= settings.settle_seconds * 1e9]
    if not settled:
        return dg.SensorResult(skip_reason=f"nothing new; {len(files)} files are still being written")
    cursor = digest_of(settled)
    if cursor == context.cursor:
        return dg.SensorResult(skip_reason=f"a run was already started for these {len(settled)} files")
    request = dg.RunRequest(run_key=cursor, tags=range_tags(*day_before(settings.today())))
    return dg.SensorResult(run_requests=[request], cursor=cursor)


def digest_of(files: list[FoundFile]) -> str:
    """A digest that changes when a file is added, grows or is written again."""
    lines = sorted(f"{file.source}/{file.relative_path}\0{file.size_bytes}\0{file.modified_ns}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


@dg.run_failure_sensor(
    name="tell_of_failed_runs",
    default_status=dg.DefaultSensorStatus.RUNNING if _STARTED else dg.DefaultSensorStatus.STOPPED,
    description="Logs which steps of a run failed and why, in one message. Readers keep the last snapshot.",
)
def tell_of_failed_runs(context: dg.RunFailureSensorContext) -> None:
    """The place for a message to people: what failed, what it means for readers, what to do next."""
    steps = [f"{event.step_key}: {_said(event)}" for event in context.get_step_failure_events()]
    told = [
        f"run {context.dagster_run.run_id} of {context.dagster_run.job_name} failed; nothing was published",
        *(steps or [context.failure_event.message or "no step failed"]),
        "readers keep the last snapshot; put it right and start the run again; `tokenmart check` and `doctor` say more",
    ]
    context.log.error("\n".join(told))


def _said(event: dg.DagsterEvent) -> str:
    """The words of a step's failure, without its stack trace."""
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    return failure.error_display_string.strip().splitlines()[0]


SCHEDULES = [every_night]
SENSORS = [landing_has_news, tell_of_failed_runs]
