"""Counts that were read as DOUBLE, as integers: the check that JSON log connectors share.

What lives here: `settle_counts`. What does not: range rules (contracts), arithmetic of leaves (each source).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.connectors.reading.record_faults import Fault, split_faults

EXACT_LIMIT = 2**53
"""Above this a DOUBLE no longer holds every whole number: such a count is refused, not guessed."""


def settle_counts(frame: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """`frame` with `columns` as Int64, and rejects (`bad_token_count`) of rows where one is no exact whole number.

    NULL stays NULL; negative numbers pass, they are for the contract to name.
    """
    faults = [Fault(_is_not_whole(pl.col(name)), "bad_token_count", name) for name in columns]
    good, rejected = split_faults(frame, faults)
    return good.with_columns(pl.col(name).cast(pl.Int64) for name in columns), rejected


def _is_not_whole(value: pl.Expr) -> pl.Expr:
    return (value != value.floor()) | (value.abs() > EXACT_LIMIT) | ~value.is_finite()
