"""Pieces: rows on their way from a landed file into a core day, as narrow Arrow files that are read without a copy.

What lives here: writing and opening one piece, and streaming several into one Parquet partition. What does not: which
rows a piece holds (intake/staging.py), which of them stay (core/days.py).
Most columns of a log hold one value all along (zero tokens of rare classes, one account): a piece keeps such a value
once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.ipc

from pipelines.lake import ROW_GROUP_ROWS

_CONSTANTS = b"constants"
_PROBE_ROWS = 64
_NEVER_CONSTANT = frozenset({"request_id", "record_number"})
EAGER_ROWS = 4_000_000
_PARQUET: dict[str, Any] = {
    "compression": "zstd", "compression_level": 1, "row_group_size": ROW_GROUP_ROWS, "statistics": False,
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """Some rows: `varying` holds the columns that differ, `constants` one row with the values of the others."""

    varying: pl.DataFrame
    constants: pl.DataFrame

    def __len__(self) -> int:
        return len(self.varying)

    @property
    def columns(self) -> list[str]:
        return [*self.varying.columns, *self.constants.columns]

    def lazy(self, columns: Sequence[str]) -> pl.LazyFrame:
        """The rows with `columns` in this order."""
        constants = {name: self.constants[name] for name in columns if name in self.constants.columns}
        values = [pl.lit(series.item(), dtype=series.dtype).alias(name) for name, series in constants.items()]
        return self.varying.lazy().with_columns(values).select(columns)

    def frame(self, columns: Sequence[str]) -> pl.DataFrame:
        """The rows with `columns` in this order, in memory."""
        return self.lazy(columns).collect()

    def grouped(self, key: Sequence[str], sums: Sequence[pl.Expr]) -> pl.DataFrame:
        """One row per distinct `key` with `sums` over its rows. Only key columns that differ are grouped by."""
        varying = [name for name in key if name in self.varying.columns]
        same = [name for name in key if name not in varying]
        values = [name for name in self.columns if name not in same]
        rows = self.lazy(values)
        found = rows.group_by(varying).agg(sums) if varying else rows.select(sums)
        groups = found.collect(engine="streaming")
        if not len(self):
            groups = groups.clear()
        return groups.with_columns(
            pl.lit(self.constants[name].item(), self.constants[name].dtype).alias(name) for name in same
        )

    def values(self, column: str) -> set[str]:
        """The distinct values of a text column."""
        return set((self.constants if column in self.constants.columns else self.varying)[column].unique())

    def only(self, chosen: pl.Series) -> Piece:
        """The piece with the rows where `chosen` is true, or at these positions."""
        rows = self.varying.filter(chosen) if chosen.dtype == pl.Boolean else self.varying[chosen]
        return Piece(rows, self.constants)

    def by_day(self) -> Iterator[tuple[str, Piece]]:
        """The rows of each `usage_date`. Rows in the order of days are cut, not copied."""
        if "usage_date" in self.constants.columns:
            yield str(self.constants["usage_date"].item()), self
            return
        days = self.varying["usage_date"]
        if not days.is_sorted():
            for (day,), rows in self.varying.partition_by("usage_date", as_dict=True).items():
                yield str(day), self._of_day(day, rows)
            return
        at = 0
        for run in days.rle():
            yield str(run["value"]), self._of_day(run["value"], self.varying.slice(at, run["len"]))
            at += run["len"]

    def _of_day(self, day: object, rows: pl.DataFrame) -> Piece:
        constant = pl.lit(day, dtype=pl.Date).alias("usage_date")
        constants = self.constants.with_columns(constant) if self.constants.width else pl.select(constant)
        return Piece(rows.drop("usage_date"), constants)


def narrow(rows: pl.DataFrame) -> Piece:
    """`rows` as a piece: columns of one value (or of NULL alone) become constants."""
    candidates = [
        name for name in rows.columns if name not in _NEVER_CONSTANT and rows[name].head(_PROBE_ROWS).n_unique() <= 1
    ]
    if not len(rows) or not candidates:
        return Piece(rows, pl.DataFrame())
    same = rows.select(pl.col(name).eq_missing(pl.col(name).first()).all() for name in candidates).row(0)
    constant = [name for name, is_same in zip(candidates, same, strict=True) if is_same]
    return Piece(rows.drop(constant), rows.select(constant).head(1))


def write_piece(piece: Piece, path: Path) -> None:
    """Write a piece as one Arrow file. Nothing is synced: a piece is only trusted until the machine starts again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = piece.varying.to_arrow(compat_level=pl.CompatLevel.newest())
    sink = pa.BufferOutputStream()
    constants = piece.constants.to_arrow(compat_level=pl.CompatLevel.newest())
    with pa.ipc.new_stream(sink, constants.schema) as writer:
        writer.write_table(constants)
    schema = table.schema.with_metadata({_CONSTANTS: sink.getvalue().to_pybytes()})
    with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, schema) as writer:
        writer.write_table(table.replace_schema_metadata(schema.metadata))


def open_piece(path: Path) -> Piece:
    """A piece, mapped from its file: columns are read when they are used."""
    with pa.memory_map(str(path)) as stream:
        table = pa.ipc.open_file(stream).read_all()
    with pa.ipc.open_stream(table.schema.metadata[_CONSTANTS]) as reader:
        constants = pl.DataFrame(pl.from_arrow(reader.read_all()))
    return Piece(pl.DataFrame(pl.from_arrow(table.replace_schema_metadata(None))), constants)


def write_partition(pieces: Sequence[Piece], schema: Mapping[str, pl.DataType], path: Path) -> int:
    """Write the rows of `pieces`, in their order, as one Parquet file with the columns of `schema`. Returns the rows.

    A large day is streamed, so memory does not grow with it. No column statistics: a partition is read whole.
    """
    filled = [piece for piece in pieces if len(piece)]
    rows = sum(len(piece) for piece in filled)
    columns = list(schema)
    if rows <= EAGER_ROWS:
        frame = pl.concat([pl.DataFrame(schema=schema), *(piece.frame(columns) for piece in filled)], rechunk=False)
        frame.write_parquet(path, **_PARQUET)
    else:
        pl.concat([piece.lazy(columns) for piece in filled]).sink_parquet(path, **_PARQUET)
    return rows
