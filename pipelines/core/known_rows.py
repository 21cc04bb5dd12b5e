"""What is known of a UTC day of requests before it is decided: rows that stand in the lake, are staged, or moved here.

What lives here: putting them together, and taking out what no longer counts. What does not: deciding them
(day_merge.py), staged files (intake/reading.py).
Rows that lost are kept whole beside the day (core__usage_lost): when a better telling comes, or the winner's file goes,
the day is decided again from the same set of rows. So merging new rows gives what a rebuild from the raw files would
give.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import polars as pl

from pipelines.contracts.fields import empty, polars_schema, without_rows
from pipelines.contracts.usage import CoreMeters, CoreUsage
from pipelines.core.rows_in_transit import in_transit
from pipelines.lake import Lake
from pipelines.piece_files import open_partition
from pipelines.pieces import Piece, narrow
from pipelines.quantities import METERS
from pipelines.transforms.canonical_rows import ROWS_SCHEMA
from pipelines.transforms.deduplication import KEY

LOST = "core__usage_lost"
PROVENANCE = ["landed_file", "record_number", "part"]


@dataclass
class KnownRows:
    """What is known of a day: `pieces` of one file each, or one piece with the rows of all files in order, `loose` rows
    (lost before, or moved here), `meters` of the pieces."""

    pieces: list[Piece] = field(default_factory=list)
    loose: pl.DataFrame = field(default_factory=lambda: without_rows(tuple(ROWS_SCHEMA.items())).clone())
    meters: pl.DataFrame = field(default_factory=lambda: empty(CoreMeters))

    def __len__(self) -> int:
        return sum(map(len, self.pieces)) + len(self.loose)

    def sources(self) -> set[str]:
        """The sources that tell of the day."""
        return {source for piece in self.pieces for source in piece.values("source")} | set(self.loose["source"])

    def without(self, source: str, keys: pl.DataFrame) -> KnownRows:
        """The same without the calls `keys` (KEY) of a source: they moved to another day."""

        def left(rows: pl.DataFrame) -> pl.DataFrame:
            moved = rows.filter(pl.col("source") == source).join(keys, on=KEY, how="semi")
            return rows.join(moved, on=PROVENANCE, how="anti", maintain_order="left")

        pieces = [narrow(left(piece.frame(list(polars_schema(CoreUsage))))) for piece in self.pieces]
        return KnownRows(pieces, left(self.loose), left(self.meters))

    def told_by(self, rows: pl.DataFrame) -> KnownRows:
        """The same with `rows` (ROWS_SCHEMA) as they are told here, wherever else they stand."""

        def others(frame: pl.DataFrame) -> pl.DataFrame:
            return frame.join(rows, on=PROVENANCE, how="anti", maintain_order="left")

        pieces = [narrow(others(piece.frame(list(polars_schema(CoreUsage))))) for piece in self.pieces]
        return KnownRows(pieces, pl.concat([others(self.loose), rows]), others(self.meters))


def as_rows(piece: Piece, columns: Collection[str] = tuple(ROWS_SCHEMA)) -> pl.DataFrame:
    """A piece's rows with columns of ROWS_SCHEMA; meters that it does not have are NULL."""
    absent = [name for name in METERS if name in columns and name not in piece.columns]
    present = [name for name in columns if name not in absent]
    nulls = [pl.lit(None, dtype=ROWS_SCHEMA[name]).alias(name) for name in absent]
    return piece.frame(present).with_columns(nulls).select(list(columns))


def in_one(pieces: Sequence[Piece]) -> Piece:
    """The rows of several pieces in the order of file and record."""
    first = pieces[0].constants
    alike = [
        name
        for name in first.columns
        if name not in PROVENANCE
        and all(name in one.constants.columns and one.constants[name].equals(first[name]) for one in pieces)
    ]
    varying = [name for name in ROWS_SCHEMA if name not in alike]
    rows = pl.concat([as_rows(piece, varying) for piece in pieces])
    return narrow(Piece(rows.sort(*PROVENANCE), first.select(alike)))


def held_rows(lake: Lake, day: str, stays: pl.Expr) -> KnownRows:
    """What the lake holds of a day, as far as `stays` (over `landed_file`, `source`, `provider`, `request_id`) is
    true."""
    path = lake.path("core__usage", day)
    if not path.exists():
        return KnownRows()
    pieces = [
        run for held in open_partition(path, list(polars_schema(CoreUsage))) for run in _runs(_staying(held, stays))
    ]
    lost, meters = lake.read(LOST, day), lake.read("core__meters", day)
    known = KnownRows(pieces)
    if lost is not None:
        known.loose = lost.filter(stays).select(list(ROWS_SCHEMA))
    if meters is not None and len(meters):
        known.meters = meters.filter(stays)
    torn = in_transit(lake, day)
    return known if torn is None else known.told_by(torn.filter(stays))


def _staying(piece: Piece, stays: pl.Expr) -> Piece:
    asked = ["landed_file", "source", "provider", "request_id"]
    same = piece.of(asked).constants
    if set(stays.meta.root_names()) <= set(same.columns):
        return piece if same.select(stays).item() else piece.part(0, 0)
    return piece.only(piece.frame(asked).select(stays).to_series())


def _runs(piece: Piece) -> list[Piece]:
    """Cut where the file changes; rows stand file by file."""
    if not len(piece):
        return []
    if "landed_file" in piece.constants.columns:
        return [piece]
    cuts, at = [], 0
    for length in piece.varying["landed_file"].rle().struct.field("len"):
        cuts.append(narrow(piece.part(at, length)))
        at += length
    return cuts
