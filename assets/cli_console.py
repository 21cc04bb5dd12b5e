"""How the command line speaks: answers on stdout, everything else on stderr, progress where somebody watches.

What lives here: consoles, the progress bar, dates and JSON. What does not: any command.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from pipelines.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.intake.staging import Progress


def answers() -> "Console":
    """The console of answers: stdout."""
    from rich.console import Console

    return Console(highlight=False)


def remarks() -> "Console":
    """The console of everything that is no answer: stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say_json(value: Mapping[str, object]) -> None:
    """One JSON object on stdout. Decimals are numbers with all their digits, instants ISO 8601 in UTC."""
    sys.stdout.write(_json(value) + "\n")


def json_text(value: Mapping[str, object]) -> str:
    """The object that `say_json` says, as text."""
    return _json(value)


def _json(value: object) -> str:
    """Written by hand for decimals only: the json module would turn them into floating point."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_json, value)) + "]"
    if isinstance(value, datetime):
        return json.dumps(value.astimezone(UTC).isoformat().replace("+00:00", "Z"))
    if isinstance(value, date):
        return json.dumps(value.isoformat())
    return json.dumps(value)


def day(text: str | None, option: str) -> date | None:
    """A UTC day of an option. Raises UsageError for text that is none."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a day", where=option, expected="YYYY-MM-DD, a UTC day", next_move=f"correct {option}"
        ) from None


def day_range(first: str | None, last: str | None, single: str | None = None) -> tuple[date, date] | None:
    """The range that --date, or --from and --to, name; None without any. Raises UsageError for half a range."""
    only = day(single, "--date")
    start, end = day(first, "--from"), day(last, "--to")
    if only is not None and (start or end):
        raise UsageError(
            "--date and --from/--to exclude each other",
            expected="one day, or a range",
            next_move="leave one of them out",
        )
    if only is not None:
        return only, only
    if (start is None) != (end is None):
        raise UsageError("half a range was given", expected="--from and --to, both included", next_move="give both")
    if start is None or end is None:
        return None
    if start > end:
        raise UsageError(
            f"the range {start} to {end} runs backwards", expected="--from not after --to", next_move="swap them"
        )
    return start, end


@contextmanager
def progress_bar(*, shown: bool = True) -> Iterator["Progress"]:
    """A bar on stderr that says what is being done; nothing where stderr is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = remarks()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task("starting", total=None)

        def show(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of or None)

        yield show
