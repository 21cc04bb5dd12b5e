"""Commands for the end of a month: close, and release of an export that was held back.

What lives here: their options and their order of steps. What does not: what keeps a month open
(pipelines/history/closing.py), what is held and why (pipelines/transforms/buckets.py).
"""

from typing import Annotated

import typer

from assets.cli_console import answers, progress_bar, say_json
from pipelines.errors import CloseRefusedError

_JSON = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for machines.")]
_VERBOSE = Annotated[bool, typer.Option("--verbose", help="Show Dagster's own log on stderr.")]


def register(app: typer.Typer) -> None:
    """Hang the commands of this room on the app."""
    app.command()(close)
    app.command()(release)


def close(
    month: Annotated[str, typer.Argument(metavar="YYYY-MM", help="The month to close.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what speaks against it.")] = False,
    as_json: _JSON = False,
    verbose: _VERBOSE = False,
) -> None:
    """Freeze a month and publish it, or say why it must stay open (exit code 12).

    Refused while the month is not over, more than 0.5% of an account's bill is unexplained, days have no complete bill,
    bill lines are in quarantine, an export is held, or usage has no price. What changes in a closed month later stands
    as rows of charge_class Correction on the first day of the next open month: frozen rows plus corrections are always
    the month as it would be computed now. There is no way to open a closed month again.
    """
    from assets.listener import Listener
    from assets.pipeline_run import run_job
    from pipelines.history.closing import close_month, reasons_against, require_month
    from pipelines.settings import Settings

    require_month(month)
    settings = Settings.load()
    with progress_bar(shown=not verbose) as progress:
        listener = Listener(progress=progress)
        run_job(settings, "reprice", listener=listener, verbose=verbose)
    if dry_run:
        _tell_reasons(month, reasons_against(settings, month), as_json=as_json)
        return
    try:
        closed = close_month(settings, month)
    except CloseRefusedError as error:
        if not as_json:
            raise
        _tell_reasons(month, error.reasons, as_json=True)
        raise typer.Exit(error.exit_code) from None
    with progress_bar(shown=not verbose) as progress:
        listener = Listener(progress=progress)
        run_job(settings, "reprice", listener=listener, verbose=verbose)
    record = {
        "outcome": "closed",
        "month": closed.month,
        "frozen_rows": closed.frozen_rows,
        "total_tokens": closed.total_tokens,
        "effective_cost_usd": closed.effective_cost_usd,
        "closed_costs_sha256": closed.closed_costs_sha256,
        "snapshot_id": listener.published.snapshot_id if listener.published else None,
    }
    if as_json:
        say_json(record)
    else:
        answers().print(
            f"{closed.month} is closed: ${closed.effective_cost_usd:,.2f} over {closed.frozen_rows} rows,"
            f" snapshot {record['snapshot_id']}"
        )


def _tell_reasons(month: str, reasons: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        say_json({"outcome": "refused" if reasons else "can_be_closed", "month": month, "reasons": list(reasons)})
    elif reasons:
        answers().print(f"{month} cannot be closed yet:", *(f"  {reason}" for reason in reasons), sep="\n")
    else:
        answers().print(f"nothing speaks against closing {month}")


def release(
    landed_file: Annotated[str, typer.Argument(help="The held file's id, as `close` and core__landed_files name it.")],
    as_json: _JSON = False,
    verbose: _VERBOSE = False,
) -> None:
    """Apply an export that was held because it shrinks days that the provider no longer restates; then publish.

    Use it when the smaller amounts are right. Landing whole bytes at the file's path, or a newer whole export, needs no
    release.
    """
    from assets.cli_console import remarks
    from assets.listener import Listener
    from assets.pipeline_run import run_job
    from pipelines.core.buckets import release_held
    from pipelines.settings import Settings

    settings = Settings.load()
    days = release_held(settings, landed_file)
    with progress_bar(shown=not verbose) as progress:
        listener = Listener(progress=progress)
        run_job(settings, "nightly", listener=listener, verbose=verbose)
    record = {
        "outcome": "released",
        "landed_file": landed_file,
        "days": days,
        "snapshot_id": listener.published.snapshot_id if listener.published else None,
    }
    if as_json:
        say_json(record)
    else:
        remarks().print(f"released: {len(days)} days are told by {landed_file} now, snapshot {record['snapshot_id']}")
