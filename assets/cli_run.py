"""Commands that compute: run, backfill, reprice.

What lives here: their options and their order of steps. What does not: the steps (assets), the words of a summary
(run_summary.py).
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from assets.cli_console import answers, day_range, progress_bar, remarks, say_json
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from datetime import date, datetime

    import polars as pl

    from assets.listener import Listener
    from pipelines.settings import Settings

_JSON = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for machines.")]
_VERBOSE = Annotated[bool, typer.Option("--verbose", help="Show Dagster's own log on stderr.")]
_FROM = Annotated[str | None, typer.Option("--from", metavar="DAY", help="First UTC day, YYYY-MM-DD.")]
_TO = Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last UTC day, included.")]
_YES = Annotated[bool, typer.Option("--yes", help="Publish without asking.")]
_DRY = Annotated[bool, typer.Option("--dry-run", help="Show the difference and stop before publishing.")]
_MOST_ROWS = 40


def register(app: typer.Typer) -> None:
    """Hang the commands of this room on the app."""
    app.command()(run)
    app.command()(backfill)
    app.command()(reprice)


def run(
    date: Annotated[
        str | None, typer.Option("--date", metavar="DAY", help="The UTC day that this run answers for.")
    ] = None,
    first: _FROM = None,
    last: _TO = None,
    as_json: _JSON = False,
    verbose: _VERBOSE = False,
) -> None:
    """Take in what is new in landing/, rebuild the days it touches, check, and publish.

    New files are taken in whatever their days. --date, or --from and --to, name the days that Dagster shows as done by
    this run. With nothing new, nothing is computed and no snapshot is written.
    """
    from pipelines.publish.facts import is_up_to_date
    from pipelines.settings import Settings

    days = day_range(first, last, date)
    settings = Settings.load()
    if not _anything_there(settings) or (days is None and is_up_to_date(settings)):
        from assets.run_summary import nothing_new, tell

        record = nothing_new(settings)
    else:
        from assets.listener import Listener
        from assets.pipeline_run import run_job
        from assets.run_summary import summary, tell

        with progress_bar(shown=not verbose) as progress:
            listener = Listener(progress=progress)
            run_id = run_job(settings, "nightly", days, listener=listener, verbose=verbose)
        record = summary(settings, listener, run_id)
    if as_json:
        say_json(record)
    else:
        tell(record)


def _anything_there(settings: "Settings") -> bool:
    """False for a home in which nothing ever landed."""
    if (settings.lake / "index.sqlite").exists():
        return True
    return settings.landing.is_dir() and any(path.is_file() for path in settings.landing.rglob("*"))


def backfill(
    first: _FROM = None,
    last: _TO = None,
    dry_run: _DRY = False,
    yes: _YES = False,
    as_json: _JSON = False,
    verbose: _VERBOSE = False,
) -> None:
    """Compute a range of days again from the raw files, as one run; show the difference; publish.

    A day is a pure function of files, tables and code, so computing it again is always safe: after --dry-run the lake
    holds the new days, and the next `run` publishes them.
    """
    from assets.listener import Listener
    from assets.partitions import range_tags
    from assets.pipeline_run import PUBLISHED, run_job
    from pipelines.settings import Settings

    days = day_range(first, last)
    if days is None:
        raise UsageError("which days?", expected="--from DAY --to DAY, both included", next_move="name the range")
    range_tags(*days)
    settings = Settings.load()
    with progress_bar(shown=not verbose) as progress:
        listener = Listener(progress=progress)
        run_id = run_job(settings, "days_again", days, listener=listener, verbose=verbose)
        run_job(settings, "reprice", listener=listener, without=PUBLISHED, verbose=verbose)
    _show_and_publish(settings, listener, run_id, dry_run=dry_run, yes=yes, as_json=as_json, verbose=verbose)


def reprice(
    first: _FROM = None,
    last: _TO = None,
    known_at: Annotated[
        str | None, typer.Option("--known-at", metavar="INSTANT", help="Price with the book as it was recorded then.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="With --known-at: write the rows, .parquet or .csv.")
    ] = None,
    dry_run: _DRY = False,
    yes: _YES = False,
    as_json: _JSON = False,
    verbose: _VERBOSE = False,
) -> None:
    """Apply price book, contracts and rules to all history again; show the difference; publish.

    landing/ is not looked at and no log is read: prices are applied to the daily sums. With --from and --to the command
    stops before publishing if a month outside them would change as well. With --known-at the result is shown beside
    today's numbers and can be written to a file; what is published stays as it is.
    """
    from assets.listener import Listener
    from assets.pipeline_run import PUBLISHED, run_job
    from pipelines.settings import Settings

    days = day_range(first, last)
    settings = Settings.load()
    if known_at is not None:
        _show_as_known(settings, known_at, days, out, as_json=as_json)
        return
    if out is not None:
        raise UsageError(
            "--out goes with --known-at", where="--out", next_move="`tokenmart query` exports what is published"
        )
    with progress_bar(shown=not verbose) as progress:
        listener = Listener(progress=progress)
        run_id = run_job(settings, "reprice", listener=listener, without=PUBLISHED, verbose=verbose)
    if days is not None:
        _refuse_others(settings, str(days[0])[:7], str(days[1])[:7])
    _show_and_publish(settings, listener, run_id, dry_run=dry_run, yes=yes, as_json=as_json, verbose=verbose)


def _show_as_known(
    settings: "Settings", known_at: str, days: "tuple[date, date] | None", out: "Path | None", *, as_json: bool
) -> None:
    from assets.cli_options import instant
    from pipelines.history.repricing import costs_as_known_at, difference_to_now, export

    moment = cast("datetime", instant(known_at, "--known-at"))
    first, last = days or (None, None)
    costs = costs_as_known_at(settings, moment, first, last)
    if out is not None:
        export(costs, out)
    changes = difference_to_now(settings, costs)
    if as_json:
        say_json({"outcome": "not_published", "known_at": moment, "months": changes.to_dicts()})
        return
    _show_table(
        changes,
        {
            "month": "month",
            "feature": "feature",
            "list $ then": "then_list_cost_usd",
            "list $ now": "now_list_cost_usd",
            "$ then": "then_effective_cost_usd",
            "$ now": "now_effective_cost_usd",
            "$ difference": "delta_usd",
        },
    )
    remarks().print("nothing was published: this is what the price book of that moment says of today's usage and bills")


def _refuse_others(settings: "Settings", first_month: str, last_month: str) -> None:
    from pipelines.publish.difference import changed_months

    months = changed_months(settings)["month"].unique().sort().to_list()
    others = [month for month in months if not first_month <= month <= last_month]
    if others:
        raise UsageError(
            f"other months would change as well: {', '.join(others)}",
            where="--from, --to",
            expected=f"changes from {first_month} to {last_month} only",
            next_move="nothing was published; `tokenmart reprice --dry-run` shows every month",
        )


def _show_and_publish(
    settings: "Settings", listener: "Listener", run_id: str, *, dry_run: bool, yes: bool, as_json: bool, verbose: bool
) -> None:
    from assets.pipeline_run import PUBLISHED, run_job
    from assets.run_summary import summary, tell
    from pipelines.publish.difference import changed_months

    changes = changed_months(settings)
    if not as_json:
        _show(changes)
    if not (dry_run or yes or as_json) and sys.stdin.isatty():
        dry_run = not typer.confirm("Publish?", err=True)
    if not dry_run:
        with progress_bar(shown=not verbose) as progress:
            listener.progress = progress
            run_job(settings, "nightly", listener=listener, only=PUBLISHED, verbose=verbose)
    record = summary(settings, listener, run_id)
    record["changes"] = changes.to_dicts()
    if dry_run:
        record["outcome"] = "not_published"
    if as_json:
        say_json(record)
    elif dry_run:
        remarks().print(
            "not published: readers keep their snapshot; `tokenmart run` or this command again publishes it"
        )
    else:
        tell(record)


def _show(changes: "pl.DataFrame") -> None:
    """Effective cost always; tokens, list cost and status where any of them changes."""
    if changes.is_empty():
        answers().print("no month of any feature changes")
        return
    columns = {"month": "month", "feature": "feature"}
    for title, name in (("tokens", "total_tokens"), ("list $", "list_cost_usd"), ("status", "cost_status")):
        before, after = f"{name}_before", f"{name}_after"
        if not changes[before].equals(changes[after], null_equal=True):
            columns |= {f"{title} before": before, f"{title} after": after}
    dollars = ("effective_cost_usd_before", "effective_cost_usd_after", "delta_usd")
    _show_table(changes, columns | dict(zip(("$ before", "$ after", "$ difference"), dollars, strict=True)))


def _show_table(rows: "pl.DataFrame", columns: Mapping[str, str]) -> None:
    """The first rows; `columns` maps what stands above a column to its name."""
    from rich.table import Table

    table = Table(box=None)
    for title, name in columns.items():
        table.add_column(title, justify="left" if name in {"month", "feature"} else "right")
    for row in rows.head(_MOST_ROWS).iter_rows(named=True):
        table.add_row(*(_cell(row[name]) for name in columns.values()))
    answers().print(table)
    if len(rows) > _MOST_ROWS:
        answers().print(f"and {len(rows) - _MOST_ROWS} rows more; `--json` lists them all")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:,.6f}"
