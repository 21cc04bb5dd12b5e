"""JSON lines written column by column: objects as text expressions, without a Python object per row.

What lives here: building one JSON object from expressions, quoting. What does not: which fields a format has.
Demo values are plain ASCII without quotes, backslashes or control characters, so that quoting needs no escaping.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pipelines.errors import ContractError


def quoted(value: pl.Expr | str) -> pl.Expr:
    """A JSON string; NULL stays NULL."""
    if isinstance(value, str):
        return pl.lit(f'"{value}"')
    return '"' + value + '"'


def json_object(members: Mapping[str, pl.Expr | int | str]) -> pl.Expr:
    """A JSON object as text, members in the given order; one that is NULL on a row is absent from its object.

    A plain int or str is a constant: the str stands as it is, so it may be `true`, `null` or a nested literal. Raises
    ContractError without members.
    """
    if not members:
        raise ContractError(
            "a JSON object needs members", where="demo writer", expected="one or more", next_move="name one"
        )
    pieces = []
    for name, value in members.items():
        if isinstance(value, pl.Expr):
            pieces.append((f',"{name}":' + value.cast(pl.String)).fill_null(""))
        else:
            pieces.append(pl.lit(f',"{name}":{value}'))
    return "{" + pl.concat_str(pieces).str.slice(1) + "}"


def escaped(text: pl.Expr) -> pl.Expr:
    """JSON text as the inside of a JSON string: for formats that keep JSON inside a string column."""
    return text.str.replace_all('"', '\\"', literal=True)


def positive(value: pl.Expr) -> pl.Expr:
    """The number, NULL where it is zero: for formats in which a zero is an absent field."""
    return pl.when(value > 0).then(value)
