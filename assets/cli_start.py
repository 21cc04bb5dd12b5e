"""Commands to begin with: demo and dev.

What lives here: making the sample quarter and showing its headline, starting Dagster's interface. What does not: what
the demo holds (pipelines/demo), how a run goes (pipeline_run.py).
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from assets.cli_console import answers, progress_bar, remarks, say_json
from pipelines.errors import SettingsError

if TYPE_CHECKING:
    from pipelines.intake.staging import Progress
    from pipelines.publish.headline import FeatureLine
    from pipelines.settings import Settings


def register(app: typer.Typer) -> None:
    """Hang the commands of this room on the app."""
    app.command()(demo)
    app.command()(dev)


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for machines.")] = False,
    scale: Annotated[
        float, typer.Option("--scale", help="Multiplies the number of requests; 1 is about 90,000.")
    ] = 1.0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Dagster's own log on stderr.")] = False,
) -> None:
    """Make a sample quarter in an empty home, run everything for two nights, and show the headline.

    Everything in it is made up from a seed; DEMO.md in the home says what to look for.
    """
    from pipelines.demo.scenario import DEMO_NIGHTS
    from pipelines.settings import Settings

    home = Settings.load().home
    if home.exists() and any(home.iterdir()):
        raise SettingsError(
            "the home is not empty: the demo would mix with what is there",
            where=f"the folder {home.name!r}",
            expected="a folder that is empty or does not exist",
            next_move="name another: `tokenmart --home DIR demo`",
        )
    with _clock(DEMO_NIGHTS[-1][1]):
        _load_definitions()
    snapshots = []
    with progress_bar(shown=not verbose) as progress:
        for night, instant in DEMO_NIGHTS:
            with _clock(instant):
                snapshots.append(_one_night(Settings.load(), night, scale, progress, verbose=verbose))
    from pipelines.publish.headline import headline

    settings = Settings.load()
    lines = headline(settings)
    if as_json:
        say_json({"snapshots": snapshots, "features": [vars(line) for line in lines]})
    else:
        _show_headline(lines)
        _show_the_way(snapshots)


def _load_definitions() -> None:
    """Import Dagster's definitions under the later clock, so that the days of both nights are partitions."""
    import_module("assets.definitions")


def _one_night(settings: "Settings", night: int, scale: float, progress: "Progress", *, verbose: bool) -> str | None:
    from assets.listener import Listener
    from assets.pipeline_run import run_job
    from pipelines.demo.generator import write_demo

    def told(what: str, done: int, of: int) -> None:
        progress(f"night {night}: {what}", done, of)

    told("making files", 0, 1)
    write_demo(settings.home, night=night, scale=scale)
    listener = Listener(progress=told)
    run_job(settings, "nightly", listener=listener, verbose=verbose)
    return listener.published.snapshot_id if listener.published else None


@contextmanager
def _clock(instant: str) -> Iterator[None]:
    """The recorded clock of one night, for this process only."""
    before = os.environ.get("TOKENMART_NOW")
    os.environ["TOKENMART_NOW"] = instant
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENMART_NOW"]
        else:
            os.environ["TOKENMART_NOW"] = before


def _show_headline(lines: "list[FeatureLine]") -> None:
    from rich.table import Table

    table = Table(
        title="July to September 2026, synthetic: cost per million tokens",
        title_justify="left",
        box=None,
    )
    table.add_column("feature", no_wrap=True)
    for name in ("Mtok", "unpriced Mtok", "billed $", "effective $", "$ per Mtok"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            line.feature,
            *(f"{Decimal(count).scaleb(-6):,.2f}" for count in (line.total_tokens, line.unpriced_tokens)),
            *("-" if cost is None else f"{cost:,.2f}" for cost in (line.billed_cost_usd, line.effective_cost_usd)),
            "-" if line.cost_per_mtok_usd is None else f"{line.cost_per_mtok_usd:,.4f}",
        )
    answers().print(table)


def _show_the_way(snapshots: list[str | None]) -> None:
    answers().print(
        f"\nsnapshots: {', '.join(str(name) for name in snapshots)}\n"
        "in the home: DEMO.md says what to look for; marts/CURRENT/marts.duckdb is what BI opens\n"
        'ask:     tokenmart query "SELECT * FROM mart__reconciliation_monthly"\n'
        "why:     tokenmart explain FEATURE --date 2026-09-12\n"
        "look:    tokenmart dev",
        markup=False,
        soft_wrap=True,
    )


def dev(
    port: Annotated[int, typer.Option("--port", help="Port of the interface on this machine.")] = 3000,
) -> None:
    """Start Dagster's interface and daemon on this home; Ctrl-C ends both.

    Schedules and sensors stand still until you switch them on, or start with TOKENMART_DEPLOYMENT=production.
    """
    from assets.dagster_home import prepare_dagster_home
    from pipelines.settings import PROJECT_ROOT, Settings

    settings = Settings.load()
    environment = {
        **os.environ,
        "TOKENMART_HOME": str(settings.home),
        "DAGSTER_HOME": str(prepare_dagster_home(settings)),
    }
    remarks().print(f"Dagster on http://127.0.0.1:{port}, Ctrl-C ends it")
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "--port", str(port)]
    raise typer.Exit(subprocess.run(command, cwd=PROJECT_ROOT, env=environment, check=False).returncode)  # noqa: S603 our own interpreter, no word of anybody else's
