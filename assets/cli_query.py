"""Commands that read what was published: query, snapshots.

What lives here: their options and how an answer is shown. What does not: running and locking SQL, what a snapshot is
(pipelines/publish).
"""

import sys
from typing import Annotated

import typer

from assets.cli_console import answers, say_json
from assets.cli_options import instant

_JSON = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for machines.")]

snapshots_app = typer.Typer(no_args_is_help=True, help="The published snapshots: list them, go back to one.")


def register(app: typer.Typer) -> None:
    """Hang the commands of this room on the app."""
    app.command()(query)
    app.add_typer(snapshots_app, name="snapshots")


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT in DuckDB's dialect; `-` reads it from stdin.")],
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="T", help="Ask what was published at this instant, e.g. 2026-11-01T02:00:00Z."),
    ] = None,
    output: Annotated[str, typer.Option("--format", help="table, csv, json (one array) or parquet.")] = "table",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many rows.")] = None,
) -> None:
    """Ask the published marts a question in SQL. Read-only and locked down: no files, no network, no settings.

    SQL is one SELECT in DuckDB's dialect; `-` reads it from standard input. `tokenmart query "SHOW TABLES"` lists the
    marts, `"DESCRIBE mart__feature_cost_daily"` its columns. Money comes out with all its digits, NULL as null; nothing
    but the answer goes to stdout.
    """
    from pipelines.errors import UsageError
    from pipelines.publish.query import FORMATS, run_query, write_result
    from pipelines.settings import Settings

    if output not in FORMATS:
        raise UsageError(
            f"{output!r} is no format", where="--format", expected=", ".join(FORMATS), next_move="choose one of them"
        )
    text = sys.stdin.read() if sql == "-" else sql
    result = run_query(Settings.load(), text, instant(as_of, "--as-of"), limit)
    write_result(result, output, sys.stdout)


@snapshots_app.command("list")
def list_all(as_json: _JSON = False) -> None:
    """Every snapshot that went live, oldest first, and which one readers see."""
    from rich.table import Table

    from pipelines.publish.snapshot import list_snapshots, published_lines
    from pipelines.settings import Settings

    settings = Settings.load()
    snapshots = list_snapshots(settings)
    last_live = {line.snapshot_id: line for line in published_lines(settings)}
    records = [
        {
            "snapshot_id": snapshot.snapshot_id,
            "published_at": snapshot.published_at,
            "is_current": snapshot.is_current,
            "last_made_live_by": last_live[snapshot.snapshot_id].reason if snapshot.snapshot_id in last_live else None,
            "parent": snapshot.manifest.parent,
            "has_database": snapshot.has_database,
            "rows": sum(facts.rows for facts in snapshot.manifest.tables.values()),
            "closes": list(snapshot.manifest.closes),
        }
        for snapshot in snapshots
    ]
    if as_json:
        say_json({"snapshots": records})
        return
    grid = Table("", "snapshot", "published at (UTC)", "rows", "live by", box=None, pad_edge=False)
    for record in records:
        mark = "CURRENT" if record["is_current"] else ""
        when = str(record["published_at"])[:19]
        grid.add_row(
            mark, str(record["snapshot_id"]), when, f"{record['rows']:,}", str(record["last_made_live_by"] or "")
        )
    answers().print(grid if records else "Nothing has been published yet: `tokenmart run`, or `tokenmart demo`.")


@snapshots_app.command("rollback")
def roll_back(
    snapshot_id: Annotated[str, typer.Argument(metavar="ID", help="The id, or the number it begins with.")],
    as_json: _JSON = False,
) -> None:
    """Make an older snapshot live again, at once and for all readers. The journal records it; nothing is deleted.

    The next run publishes again from the lake: put the cause right first.
    """
    from pipelines.publish.snapshot import current, rollback
    from pipelines.settings import Settings

    settings = Settings.load()
    before = current(settings).snapshot_id
    live = rollback(settings, snapshot_id)
    if as_json:
        say_json({"snapshot_id": live.snapshot_id, "was": before, "moved": live.is_new})
    elif live.is_new:
        answers().print(f"{live.snapshot_id} is live; it was {before}. The next run publishes again from the lake.")
    else:
        answers().print(f"{live.snapshot_id} is live already.")
