"""Writes the pages of docs/ that are made from code: `make docs`.

What lives here: which page comes from what. What does not: the words (docstrings of contracts, help texts of commands).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pipelines.contracts.dictionary import data_dictionary

DOCS = Path(__file__).resolve().parent


def command_reference() -> str:
    """Every command with its help text, arguments and options, as Markdown."""
    return "\n".join(_reference_lines()) + "\n"


def _reference_lines() -> Iterator[str]:
    from typer.main import get_command

    from assets.cli import app

    # The tree of commands is Click's, whichever Click it is that Typer brings: read by attribute, not by class.
    yield "# Commands"
    yield ""
    yield "Written by `make docs` from the help texts; a test compares them. Do not edit."
    pending = [("tokenmart", get_command(app))]
    while pending:
        name, command = pending.pop(0)
        children = getattr(command, "commands", {})
        yield from ["", f"## `{name}`", "", " ".join((command.help or "").split("\f")[0].split())]
        rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        rows = [row for row in rows if row]
        if rows:
            yield from ["", "| option or argument | meaning |", "| --- | --- |", *rows]
        pending[:0] = [(f"{name} {child}", children[child]) for child in sorted(children) if not children[child].hidden]


def _row(parameter: object) -> str:
    names = [*getattr(parameter, "opts", []), *getattr(parameter, "secondary_opts", [])]
    if "--help" in names or "--install-completion" in names or "--show-completion" in names:
        return ""
    is_argument = getattr(parameter, "param_type_name", "") == "argument"
    label = names[0].upper() if is_argument else ", ".join(names)
    meaning = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
    required = " (required)" if getattr(parameter, "required", False) else ""
    return f"| `{label}`{required} | {meaning} |"


PAGES = {"data-dictionary.md": data_dictionary, "cli.md": command_reference}


def main() -> int:
    """Write every page whose text has changed, and name it."""
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
