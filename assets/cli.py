"""The `tokenmart` command: its door. The commands live in the rooms beside it, one `register(app)` each.

What lives here: global options, which rooms there are, how an error leaves the process. What does not: any command.
Dagster, Polars and DuckDB are imported inside the commands that need them, so that `--help` answers at once.
"""

import gc
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from assets import cli_close, cli_inspect, cli_prices, cli_query, cli_run, cli_start, cli_whatif
from pipelines.errors import TokenMartError
from pipelines.settings import CODE_VERSION

app = typer.Typer(
    name="tokenmart",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=(
        "What does each product feature cost per million tokens?\n\n"
        "Drop logs, usage exports and bills into `<home>/landing/<source>/`, then `tokenmart run`. "
        '`tokenmart demo` shows it on a made-up quarter. Ask with `tokenmart query "SELECT …"`.'
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tokenmart {CODE_VERSION}")
        raise typer.Exit


@app.callback()
def choose_home(
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            help="Folder of landing/, reference/, lake/, closed/ and marts/ (default: TOKENMART_HOME, else data/home).",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Every command, and every process that it starts, finds the home in the environment."""
    if home is not None:
        os.environ["TOKENMART_HOME"] = str(home.expanduser().resolve())
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


for room in (cli_run, cli_start, cli_query, cli_inspect, cli_prices, cli_close, cli_whatif):
    room.register(app)


def main() -> None:
    """Run one command. An error of ours is told in four lines on stderr, and its kind is the exit code."""
    try:
        app()
    except TokenMartError as error:
        sys.stderr.write(f"tokenmart: {error}\n")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        sys.stderr.write("tokenmart: interrupted; start again, nothing is half done\n")
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def console() -> None:
    """The console script: a process for one command.

    Cyclic garbage is left alone while modules load (pipeline_run.py turns the collector on again for the work itself),
    and at the end nothing is taken apart that the kernel frees at once.
    """
    gc.disable()
    try:
        main()
    except SystemExit as left:
        if not isinstance(left.code, int | None):
            raise
        with suppress(BrokenPipeError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(left.code or 0)


if __name__ == "__main__":
    console()
