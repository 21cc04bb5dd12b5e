"""Tables of the pages that explain: their columns, their money, their last word.

What lives here: what these pages share. What does not: what they tell (explain_page.py, explain_ledger_page.py).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from assets.cli_options import visible

if TYPE_CHECKING:
    from rich.console import Console

_NUMBERS = frozenset(
    (
        "tokens",
        "contracted",
        "billed",
        "effective",
        "quantity",
        "× unit price",
        "= contracted",
        "weight",
        "records",
        "requests",
        "lines",
        "amount",
        "cost",
        "uncached",
        "cached",
        "output",
        "busy",
        "idle",
    )
)


def grid(*titles: str) -> Table:
    """An empty table; columns of numbers stand right and are never folded."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        is_number = title in _NUMBERS
        table.add_column(title, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    return table


def add(table: Table, *cells: str) -> None:
    """One row; nothing in it is markup."""
    table.add_row(*(Text(visible(cell)) for cell in cells))


def heading(console: "Console", title: str) -> None:
    """The title of what follows."""
    console.print()
    console.print(Text(title, style="bold"))


def usd(amount: Decimal | None) -> str:
    """Dollars with all digits that count, at least two; an unknown amount is a word, never a zero."""
    if amount is None:
        return "unknown"
    text = format(amount, "f")
    whole, _, digits = text.partition(".")
    return f"${whole}.{digits.rstrip('0').ljust(2, '0')}".replace("$-", "-$")


def last_word(console: "Console", complaints: Sequence[str]) -> None:
    """Whether the page adds up."""
    console.print()
    if complaints:
        console.print(Text("This page does not add up:", style="bold red"))
        for complaint in complaints:
            console.print(Text(visible(f"  {complaint}")))
        console.print("  next: `tokenmart run` if a build is half done, then `tokenmart check`")
    else:
        console.print("The page adds up, to the last digit.")
