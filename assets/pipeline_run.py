"""Running the pipeline in this process, through the same assets as the daemon does.

What lives here: choosing job, days and steps; turning a failed run back into the error behind it. What does not: the
command line's words (cli_run.py), what the assets do.
"""

import gc
from collections.abc import Sequence
from datetime import date

import dagster as dg

from assets.dagster_home import open_instance
from assets.definitions import defs
from assets.listener import Listener, listen
from assets.partitions import day_before, range_tags
from pipelines.errors import CheckFailedError, TokenMartError
from pipelines.settings import Settings

PUBLISHED = ("mart__restatements", "published_snapshot")
"""The assets of the last step."""


class RunFailedError(TokenMartError):
    """A step failed for a reason that is not one of ours; Dagster keeps its stack trace."""


def run_job(
    settings: Settings,
    job_name: str,
    days: tuple[date, date] | None = None,
    *,
    listener: Listener,
    only: Sequence[str] | None = None,
    without: Sequence[str] = (),
    verbose: bool = False,
) -> str:
    """Run a job for a range of days (default: the day before today) and return its run id.

    `only` and `without` choose among the job's assets.
    Raises the error of the step that failed, CheckFailedError when a check stopped the run.
    """
    first, last = days or day_before(settings.today())
    tags = {**range_tags(first, last), "tokenmart/started_by": "command line"}
    job = defs.resolve_job_def(job_name)
    selection = None
    if only is not None or without:
        keys = [dg.AssetKey(name) for name in only] if only is not None else list(job.asset_layer.executable_asset_keys)
        selection = [key for key in keys if key.to_user_string() not in without]
    log_level = "INFO" if verbose else "CRITICAL"
    listen(listener)
    _collect_garbage_again()
    try:
        with open_instance(settings) as instance:
            result = job.execute_in_process(
                run_config={"loggers": {"console": {"config": {"log_level": log_level}}}},
                instance=instance,
                tags=tags,
                asset_selection=selection,
                raise_on_error=False,
            )
    finally:
        listen(None)
    if not result.success:
        raise _error_of(result, listener)
    return result.run_id


def _collect_garbage_again() -> None:
    """Undo what the console script did, without ever looking again at what was loaded until now."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _error_of(result: dg.ExecuteInProcessResult, listener: Listener) -> TokenMartError:
    """The error of ours behind a failed run."""
    stopped_by = [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
    ]
    if stopped_by:
        return CheckFailedError(
            "; ".join(evaluation.description or evaluation.check_name for evaluation in stopped_by),
            where=", ".join(f"sql/checks/{evaluation.check_name}.sql" for evaluation in stopped_by),
            expected="every failing check to return no row",
            next_move="nothing was published, readers keep the last snapshot; `tokenmart check` shows the rows",
        )
    if isinstance(listener.error, TokenMartError):
        return listener.error
    failed = [event for event in result.all_events if event.is_step_failure]
    told = failed[0].step_failure_data.error_display_string.strip().splitlines() if failed else []
    said = told[0].removeprefix(f"{dg.Failure.__module__}.Failure: ") if told else "the run failed"
    return RunFailedError(
        said,
        where=f"step {failed[0].step_key}" if failed else "",
        next_move=f"`tokenmart doctor` tells whether a file is damaged, `tokenmart dev` shows run {result.run_id};"
        " start again once it is put right",
    )
