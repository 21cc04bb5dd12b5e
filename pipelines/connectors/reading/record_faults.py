"""Sorting the records of one chunk into rows and rejects.

What lives here: Fault and `split_faults`, shared by the log connectors. What does not: which faults a source can have,
and range rules (those are the contract's).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from pipelines.connectors.base import REJECT_SCHEMA

_FAULT = "_fault"


@dataclass(frozen=True)
class Fault:
    """One way in which a record can be unreadable. `condition` is true for such rows; NULL counts as false.

    `column` names the column to blame: a fixed name, an expression that gives it per row, or None.
    """

    condition: pl.Expr
    reason_code: str
    column: str | pl.Expr | None = None


JSON_FAULTS: tuple[Fault, ...] = (
    Fault(pl.col("is_malformed"), "malformed_json"),
    Fault(pl.col("type_error").is_not_null(), "type_error", pl.col("type_error")),
)
"""What the JSON-lines reader itself found; always the first faults of a JSON source."""


def split_faults(frame: pl.DataFrame, faults: Sequence[Fault]) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Rows of `frame` without a fault, and the rejects of the others (REJECT_SCHEMA; no frame when there are none).

    A row is rejected once, for the first of `faults` that holds. `frame` needs `record_number`.
    """
    marks = [pl.when(fault.condition).then(pl.lit(place, dtype=pl.Int32)) for place, fault in enumerate(faults)]
    if frame.is_empty() or not marks:
        return frame, []
    marked = frame.with_columns(pl.coalesce(marks).alias(_FAULT))
    if marked[_FAULT].null_count() == len(marked):
        return frame, []
    bad = marked.filter(pl.col(_FAULT).is_not_null())
    names = [
        pl.when(pl.col(_FAULT) == place).then(pl.lit(fault.column) if isinstance(fault.column, str) else fault.column)
        for place, fault in enumerate(faults)
        if fault.column is not None
    ]
    codes = {place: fault.reason_code for place, fault in enumerate(faults)}
    rejected = bad.select(
        pl.col("record_number"),
        (pl.col("part") if "part" in bad.columns else pl.lit(0)).alias("part"),
        pl.col(_FAULT).replace_strict(codes, return_dtype=pl.String).alias("reason_code"),
        (pl.coalesce(names) if names else pl.lit(None, dtype=pl.String)).alias("column"),
        pl.lit(None, dtype=pl.String).alias("rule"),
    ).cast(pl.Schema(REJECT_SCHEMA))
    return marked.filter(pl.col(_FAULT).is_null()).drop(_FAULT), [rejected]
