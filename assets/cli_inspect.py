"""Commands that look: explain, check, quarantine, doctor.

What lives here: their options, and how findings are shown. What does not: looking (pipelines/inspection/explain.py,
explain_provider.py, check_run.py, quarantine.py, doctor.py). Only `quarantine replay` writes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assets.cli_console import answers, day, progress_bar, remarks, say_json
from assets.cli_options import visible
from pipelines.errors import CheckFailedError, NotFoundError, SettingsError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from pipelines.inspection.quarantine import ReplayReport

_JSON = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for machines.")]
_SOURCE = Annotated[str | None, typer.Option("--source", help="Only this source, a folder name below landing/.")]
_MOST_ROWS = 200

quarantine_app = typer.Typer(
    no_args_is_help=True, help="What did not come in, and why; try it again. Raw records are never shown."
)


def register(app: typer.Typer) -> None:
    """Hang the commands of this room on the app."""
    app.command()(explain)
    app.command()(check)
    app.add_typer(quarantine_app, name="quarantine")
    app.command()(doctor)


def explain(
    feature: Annotated[
        str | None,
        typer.Argument(
            metavar="[FEATURE]", help="A feature's name, `__unlogged__` and its like too.", show_default=False
        ),
    ] = None,
    *,
    date: Annotated[str, typer.Option("--date", metavar="DAY", help="The UTC day, YYYY-MM-DD.")],
    provider: Annotated[
        str | None, typer.Option("--provider", help="Only this provider; without a FEATURE, the provider's whole day.")
    ] = None,
    as_json: _JSON = False,
) -> None:
    """How did a feature's cost of a day come about? Logs, prices with their ids, rules, bill lines, shares, machines.

    Without a feature, `--provider` tells a provider's day: what was metered, counted and billed, every cause between
    them with what it rests on, who pays, and other bills that do not count. Everything adds up on the page, to the last
    digit, and the page says so if it does not.
    """
    from pipelines.inspection.explain import explain as trace
    from pipelines.inspection.explain_provider import explain_provider_day
    from pipelines.settings import Settings

    chosen = day(date, "--date")
    assert chosen is not None  # noqa: S101 -- --date is required
    if feature is None and provider is None:
        raise UsageError(
            "nothing says whose cost is to be explained",
            where="explain",
            expected="a FEATURE, or --provider for a provider's whole day",
            next_move="such as `tokenmart explain --provider openai --date 2026-09-12`",
        )
    if feature is None:
        told = explain_provider_day(Settings.load(), str(provider), chosen)
        if as_json:
            say_json(asdict(told))
            return
        from assets.explain_ledger_page import print_provider_page

        print_provider_page(answers(), told)
        return
    page = trace(Settings.load(), feature, chosen, provider)
    if as_json:
        say_json(asdict(page))
        return
    from assets.explain_page import print_page

    print_page(answers(), page)


def check(as_json: _JSON = False) -> None:
    """Ask every sentence that must be true, of the lake and of what is published, now. Writes nothing.

    Leaves with an exit code above 0 when a sentence of severity `fail` is false.
    """
    from pipelines.inspection.check_run import run_all_checks
    from pipelines.settings import Settings

    outcomes = run_all_checks(Settings.load())
    if as_json:
        say_json({"checks": [asdict(outcome) | {"is_true": outcome.is_true} for outcome in outcomes]})
    else:
        words = {True: "ok", False: "false"}
        rows = [
            (
                words[outcome.is_true] if outcome.severity == "fail" or outcome.is_true else "warn",
                outcome.asked_of,
                outcome.title if outcome.is_true else f"{outcome.title} ({outcome.failed_rows:,} rows)",
            )
            for outcome in outcomes
        ]
        _print(rows, ("", "asked of", "sentence"))
        told: set[str] = set()
        for outcome in outcomes:
            if not outcome.is_true and outcome.name not in told:
                told.add(outcome.name)
                remarks().print(f"{outcome.name}, {outcome.asked_of}:", markup=False)
                for row in outcome.sample:
                    remarks().print(
                        "  " + visible(", ".join(f"{name}={value}" for name, value in row.items())), markup=False
                    )
    broken = [outcome for outcome in outcomes if outcome.stops_publishing]
    if broken:
        raise CheckFailedError(
            f"{len(broken)} sentences that must be true are false: " + "; ".join(outcome.name for outcome in broken),
            where=", ".join(sorted({outcome.asked_of for outcome in broken})),
            expected="no row that makes them false",
            next_move="the rows above name what to look at; sql/checks holds the sentences",
        )


@quarantine_app.command("list")
def list_quarantined(source: _SOURCE = None, as_json: _JSON = False) -> None:
    """Quarantined records and rejected files, counted by source, file and reason."""
    from pipelines.inspection.quarantine import list_quarantine
    from pipelines.settings import Settings

    listed = list_quarantine(Settings.load(), source)
    if as_json:
        say_json({"quarantine": listed.to_dicts()})
        return
    if listed.is_empty():
        answers().print("Nothing is quarantined.")
        return
    rows = []
    for row in listed.iter_rows(named=True):
        count = row["scope"] if row["records"] is None else f"{row['records']:,}"
        between = "" if row["first_record"] is None else f"{row['first_record']:,} – {row['last_record']:,}"
        file = f"{row['source']}/{row['relative_path']}"
        rows.append((file, row["landed_file"], row["reason_code"] or "", count, between))
    _print(rows, ("file", "identity", "reason", "records", "between"))


@quarantine_app.command("show")
def show_quarantined(
    wanted: Annotated[str, typer.Argument(metavar="FILE", help="A file's identity, or its path below landing/.")],
    record: Annotated[int | None, typer.Option("--record", min=1, help="Only this record number.")] = None,
    as_json: _JSON = False,
) -> None:
    """What of one file is quarantined: record numbers, reason, column, rule.

    The records themselves are not shown, because they may hold prompts: open the file in landing/ at that number.
    """
    from pipelines.inspection.quarantine import show_quarantine
    from pipelines.settings import Settings

    file = show_quarantine(Settings.load(), wanted)
    entries = file.entries if record is None else file.entries.filter(file.entries["record_number"] == record)
    if record is not None and entries.is_empty():
        raise NotFoundError(
            f"record {record} of that file is not quarantined",
            where=f"{file.source}/{file.relative_path}",
            expected=f"one of its {file.entries['record_number'].n_unique():,} quarantined records",
            next_move="leave --record out to see them all",
        )
    if as_json:
        say_json(
            {**{name: value for name, value in vars(file).items() if name != "entries"}, "entries": entries.to_dicts()}
        )
        return
    answers().print(f"{file.source}/{file.relative_path} ({file.landed_file}), {file.status}", markup=False)
    if file.reason is not None:
        answers().print(file.reason, markup=False)
    columns = ("record", "part", "reason", "column", "rule", "day")
    _print(_texts(entries.head(_MOST_ROWS)), columns)
    if entries.height > _MOST_ROWS:
        remarks().print(f"… and {entries.height - _MOST_ROWS:,} more; --json has all of them.")


@quarantine_app.command("replay")
def replay_quarantined(source: _SOURCE = None, as_json: _JSON = False) -> None:
    """Read the raw files that hold quarantined records again, rejected files too, and say what came in this time.

    Worth it after an update, or after the file that a conflict was with is gone. `tokenmart run` rebuilds the marts.
    """
    from pipelines.inspection.quarantine import replay
    from pipelines.settings import Settings

    with progress_bar() as progress:
        report = replay(Settings.load(), source, progress)
    if as_json:
        files = [asdict(file) | {"released": file.released} for file in report.files]
        lost = {"missing_raw": report.missing_raw, "changed_raw": report.changed_raw}
        say_json({"files": files, "days": report.days, **lost})
        return
    _tell_replay(report)


def _tell_replay(report: "ReplayReport") -> None:
    if report.files:
        rows = [
            (
                f"{file.source}/{file.relative_path}",
                f"{file.before:,}",
                f"{file.after:,}",
                _fate(file.released, file.rejected),
            )
            for file in report.files
        ]
        _print(rows, ("file", "before", "now", "outcome"))
    else:
        answers().print("No landed file holds quarantined records.")
    for name in report.missing_raw:
        remarks().print(f"{name} is no longer in landing/: put it back to read it again", markup=False)
    for name in report.changed_raw:
        remarks().print(f"{name} has changed: `tokenmart run` takes the new version in", markup=False)
    if report.days:
        answers().print(f"{len(report.days)} days were merged again. `tokenmart run` rebuilds the marts.")


def _fate(released: int, rejected: str | None) -> str:
    if rejected is not None:
        return f"rejected: {rejected.splitlines()[0]}"
    return f"{released:,} released" if released >= 0 else f"{-released:,} more quarantined"


def doctor(as_json: _JSON = False) -> None:
    """Is this machine fit to run, and is this home in order? Each line names the next move."""
    from pipelines.inspection.doctor import examine
    from pipelines.settings import Settings

    findings = examine(Settings.load())
    if as_json:
        say_json({"findings": [asdict(finding) for finding in findings]})
    else:
        rows = [(finding.verdict, finding.subject, finding.seen, finding.next_move) for finding in findings]
        _print(rows, ("", "subject", "seen", "next"))
    failed = [finding for finding in findings if finding.verdict == "fail"]
    if failed:
        raise SettingsError(
            "not in order: " + ", ".join(dict.fromkeys(finding.subject for finding in failed)),
            expected="no line that says fail",
            next_move=failed[0].next_move,
        )


def _texts(frame: "pl.DataFrame") -> list[tuple[str, ...]]:
    return [tuple("" if value is None else str(value) for value in row) for row in frame.iter_rows()]


def _print(rows: Iterable[Sequence[str]], titles: Sequence[str]) -> None:
    """A table for people; text from files goes through Text, so that no markup and no escape in it has an effect."""
    from rich.table import Table
    from rich.text import Text

    colours: Mapping[str, str] = {"ok": "green", "warn": "yellow", "false": "red", "fail": "red"}
    grid = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        grid.add_column(title, overflow="fold")
    for row in rows:
        cells: list[Any] = [
            Text(visible(cell), style=colours.get(cell, "") if place == 0 else "") for place, cell in enumerate(row)
        ]
        grid.add_row(*cells)
    answers().print(grid)
