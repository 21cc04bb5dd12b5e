"""Options that several commands read alike, and text from files made fit for a terminal.

What lives here: instants, decimal numbers, each with an error that teaches; `visible`. What does not: any command, days
and ranges (cli_console.py).
"""

from datetime import UTC, datetime
from decimal import Decimal

from pipelines.errors import UsageError
from pipelines.quantities import parse_decimal


def instant(text: str | None, option: str) -> datetime | None:
    """A UTC instant: `2026-11-01T02:00:00Z`, any offset, or a day, which means its first moment in UTC.

    Raises UsageError for anything else, and for a time without a zone.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is not None and moment.tzinfo is None and len(text.strip()) == len("2026-11-01"):
        moment = moment.replace(tzinfo=UTC)
    if moment is None or moment.tzinfo is None:
        raise UsageError(
            f"{text!r} is not an instant",
            where=option,
            expected="2026-11-01T02:00:00Z, or a day such as 2026-11-01 (its first moment, UTC)",
            next_move=f"correct {option}" if moment is None else "add Z for UTC, or an offset",
        )
    return moment.astimezone(UTC)


def decimal_number(text: str, option: str) -> Decimal:
    """An exact decimal. Raises UsageError for text that is no number."""
    try:
        return parse_decimal(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a number",
            where=option,
            expected="a plain decimal such as 2.50",
            next_move=f"correct {option}",
        ) from None


def visible(text: str) -> str:
    """Control characters as escapes: a tag from a log, or a line of a bill, must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
