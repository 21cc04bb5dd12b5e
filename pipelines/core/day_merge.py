"""UTC days of requests decided anew from everything that is known of them, and the partitions that come out.

What lives here: deciding days. What does not: what is known of a day (known_rows.py), which days are merged and when
(days.py), which row wins (transforms/deduplication.py), files on disk (lake.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import overload

import polars as pl

from pipelines.connectors.base import MergeRule
from pipelines.contracts.fields import conform, empty, polars_schema, without_rows
from pipelines.contracts.usage import CoreDuplicates, CoreMeters, CoreQuarantine
from pipelines.core.known_rows import PROVENANCE, KnownRows, as_rows
from pipelines.pieces import Piece, narrow
from pipelines.quantities import METERS
from pipelines.transforms.canonical_rows import ROWS_SCHEMA
from pipelines.transforms.deduplication import FATE_SCHEMA, decide, doubtful_hashes, id_hashes

IDS = "core__usage_ids"
LARGE_DAY_ROWS = 4_000_000
_FATES = ("accepted", "duplicate", "superseded", "conflict")


@dataclass(frozen=True)
class DecidedDay:
    """A day as it will be written: `pieces` are the accepted rows in the order of file and record, `lost` the
    others."""

    day: str
    pieces: Sequence[Piece]
    lost: pl.DataFrame
    meters: pl.DataFrame
    ids: pl.Series

    def rows_with(self, hashes: pl.Series) -> pl.DataFrame:
        """All rows, accepted or lost, whose id hash is one of `hashes`."""
        return _rows_with(hashes, self.pieces, self.lost.select(list(ROWS_SCHEMA)))

    def counts(self) -> list[tuple[str, int, int, int, int]]:
        """(landed_file, accepted, duplicate, superseded, quarantined): records by what became of them."""
        told = [self.lost.select("landed_file", "part", "fate")]
        whole: dict[str, int] = {}
        for place, (constants, rows) in enumerate(_outlines(self.pieces)):
            same = constants.to_dicts()[0] if constants.width else {}
            if rows and same.get("part") == 0 and "landed_file" in same:
                whole[same["landed_file"]] = whole.get(same["landed_file"], 0) + rows
            elif rows:
                accepted = self.pieces[place].frame(["landed_file", "part"])
                told.append(accepted.with_columns(pl.lit("accepted").alias("fate")))
        first_parts = pl.concat(told).filter(pl.col("part") == 0)
        counts = first_parts.group_by("landed_file").agg((pl.col("fate") == fate).sum().alias(fate) for fate in _FATES)
        numbers = {file: list(rest) for file, *rest in counts.iter_rows()}
        for file, rows in whole.items():
            numbers.setdefault(file, [0, 0, 0, 0])[0] += rows
        return [(file, *numbers[file]) for file in sorted(numbers)]


def decide_days(
    days: Sequence[tuple[str, KnownRows]],
    rules: Mapping[str, MergeRule],
    precedence: Mapping[str, int],
    ids_before: pl.Series | None,
    rows_before: Callable[[pl.Series], pl.DataFrame],
) -> list[DecidedDay]:
    """Decide every row of one day, or of several small ones that follow one another.

    ids_before: id hashes of all rows of the day before the first; rows_before gives the rows behind some of them. Rows
    whose id stands once are accepted without being looked at again. What became of the rows of a day does not matter to
    the day after: so days are decided side by side.
    """
    sought: list[_SoughtDay] = []
    earlier: list[pl.DataFrame] = []
    for day, known in days:
        before = sought[-1] if sought else None
        found = _sought(day, known, before.ids if before else ids_before)
        if len(found.shared):
            earlier.append(before.rows_with(found.shared) if before else rows_before(found.shared))
        sought.append(found)
    pools = [found.candidates for found in sought if found.candidates is not None]
    if not pools:
        return [_accepted(found) for found in sought]
    pool = pl.concat(pools).with_columns(pl.col("started_at").alias("_started_at"))
    del pools
    for found in sought:
        found.forget_candidates()
    # Most rows that are decided stay as they are: of a large day there is no room for all of them side by side.
    shares = [
        share.filter(_IS_LOST | _IS_CHANGED)
        for share in decide(pool, rules, precedence, pl.concat(earlier) if earlier else None)
    ]
    del pool
    decided = pl.concat(shares).sort(*PROVENANCE)
    del shares
    if len(sought) == 1:  # of a large day there is no room for a copy
        return [_settled(sought[0], decided)]
    mine = decided.partition_by("usage_date", as_dict=True)
    return [_settled(found, mine.get((date.fromisoformat(found.day),), decided.clear())) for found in sought]


_IS_LOST = pl.col("fate") != "accepted"
_IS_CHANGED = (pl.col("_piece") < 0) | (pl.col("started_at") != pl.col("_started_at"))


@dataclass
class _SoughtDay:
    """A day before it is decided: `candidates` are its rows that need a decision, None where there are none. Each names
    its piece, and its position there; rows of `loose` (those that `is_doubtful` marks) have neither."""

    day: str
    pieces: Sequence[Piece]
    loose: pl.DataFrame
    meters: pl.DataFrame
    ids: pl.Series
    shared: pl.Series
    is_doubtful: pl.Series
    candidates: pl.DataFrame | None

    def rows_with(self, hashes: pl.Series) -> pl.DataFrame:
        """All rows whose id hash is one of `hashes`."""
        return _rows_with(hashes, self.pieces, self.loose)

    def forget_candidates(self) -> None:
        """Let go of them once they are put together; that there were some is remembered."""
        if self.candidates is not None:
            self.candidates = self.candidates.clear()


def _sought(day: str, known: KnownRows, ids_before: pl.Series | None) -> _SoughtDay:
    pieces = sorted((piece for piece in known.pieces if len(piece)), key=_place)
    loose = known.loose.unique(PROVENANCE, maintain_order=True) if len(known.loose) else known.loose
    loose_hashes = id_hashes(loose)
    hashes = pl.concat([*(_hashes_of(piece) for piece in pieces), loose_hashes], rechunk=True)
    ids = hashes.sort()
    doubtful, shared = doubtful_hashes(ids, ids_before)
    wanted = doubtful.implode()
    is_doubtful = loose_hashes.is_in(wanted)
    found = _SoughtDay(day, pieces, loose, known.meters, ids, shared, is_doubtful, None)
    if not len(doubtful):
        return found
    masks = [mine.is_in(wanted) for mine in _as_long_as(pieces, hashes)]
    del hashes
    candidates = [
        _with_meters(_rows_at(piece, mask), known.meters).with_columns(
            pl.lit(number, dtype=pl.Int32).alias("_piece"), mask.arg_true().cast(pl.Int64).alias("_at")
        )
        for number, (piece, mask) in enumerate(zip(pieces, masks, strict=True))
        if mask.any()
    ]
    if is_doubtful.any():
        candidates.append(
            loose.filter(is_doubtful).with_columns(
                pl.lit(-1, dtype=pl.Int32).alias("_piece"), pl.lit(-1, dtype=pl.Int64).alias("_at")
            )
        )
    found.candidates = pl.concat(candidates)
    return found


def _accepted(found: _SoughtDay) -> DecidedDay:
    """A day of which no row needs a decision."""
    told = DecidedDay(found.day, found.pieces, _no_lost(), found.meters, found.ids)
    return _finished(told, found.pieces, found.loose)


def _settled(found: _SoughtDay, decided: pl.DataFrame) -> DecidedDay:
    """decided: those of its candidates that are lost or changed."""
    if found.candidates is None:
        return _accepted(found)
    pieces = found.pieces
    lost, changed = decided.filter(_IS_LOST), decided.filter(~_IS_LOST)
    leaving = decided.filter(pl.col("_piece") >= 0)
    leaves = [leaving.filter(pl.col("_piece") == number)["_at"] for number in range(len(pieces))]
    staying: Sequence[Piece] = _Staying(pieces, leaves)
    if sum(map(len, pieces)) <= LARGE_DAY_ROWS:
        staying = list(staying)
    back = pl.concat([found.loose.filter(~found.is_doubtful), changed.select(list(ROWS_SCHEMA))])
    told = DecidedDay(
        found.day,
        staying,
        lost.with_columns(pl.col("_started_at").alias("started_at")).select(*ROWS_SCHEMA, *FATE_SCHEMA),
        found.meters.join(leaving, on=PROVENANCE, how="anti") if len(found.meters) else found.meters,
        found.ids,
    )
    return _finished(told, pieces, back)


def _finished(told: DecidedDay, before: Sequence[Piece], back: pl.DataFrame) -> DecidedDay:
    """With the rows that come back in their places, and the meters of all rows that were not in the lake's own meters.

    before: the pieces of `told` with the rows that leave them.
    """
    fresh = [told.pieces[place] for place, piece in enumerate(before) if _brings_meters(piece)]
    if not len(back) and not fresh and not len(told.meters):
        return told
    meters = [told.meters, *(_long_meters(as_rows(piece)) for piece in fresh), _long_meters(back)]
    pieces = told.pieces
    if len(back):
        rows = pl.concat([*(as_rows(piece) for piece in pieces if len(piece)), back])
        pieces = [narrow(rows.sort(*PROVENANCE))]
    return DecidedDay(told.day, pieces, told.lost, pl.concat(meters).sort(*PROVENANCE, "meter"), told.ids)


def _brings_meters(piece: Piece) -> bool:
    return any(
        name in piece.varying.columns or (name in piece.constants.columns and piece.constants[name].null_count() == 0)
        for name in METERS
    )


def _place(piece: Piece) -> tuple[str, int]:
    return piece.part(0, 1).frame(["landed_file", "record_number"]).row(0)


def _hashes_of(piece: Piece) -> pl.Series:
    hashes = id_hashes(piece.varying)
    piece.let_go()
    return hashes


def _as_long_as(pieces: Sequence[Piece], values: pl.Series) -> Iterator[pl.Series]:
    """The values of each piece's rows, where all of them stand one after the other."""
    at = 0
    for piece in pieces:
        yield values.slice(at, len(piece))
        at += len(piece)


def _rows_with(hashes: pl.Series, pieces: Sequence[Piece], loose: pl.DataFrame) -> pl.DataFrame:
    wanted = hashes.implode()
    mine = [_rows_at(piece, id_hashes(piece.varying).is_in(wanted)) for piece in pieces]
    return pl.concat([loose.filter(id_hashes(loose).is_in(wanted)), *mine])


def _rows_at(piece: Piece, mask: pl.Series) -> pl.DataFrame:
    rows = as_rows(piece.only(mask))
    # The few ids that are taken would keep all ids of the piece in memory.
    own = pl.Series("request_id", rows["request_id"].to_arrow(compat_level=pl.CompatLevel.oldest()))
    piece.let_go()
    return rows.with_columns(own)


class _Staying(Sequence[Piece]):
    """Pieces without the rows that leave them, cut anew whenever one is looked at: copies of a large day would not fit
    into memory."""

    def __init__(self, pieces: Sequence[Piece], leaves: Sequence[pl.Series]) -> None:
        """leaves: for each piece the positions of the rows that leave it."""
        self._pieces = pieces
        self._leaves = leaves

    def __len__(self) -> int:
        return len(self._pieces)

    def outlines(self) -> Iterator[tuple[pl.DataFrame, int]]:
        """The constants of each piece, and how many rows stay in it."""
        for piece, leaves in zip(self._pieces, self._leaves, strict=True):
            yield piece.constants, len(piece) - len(leaves)

    @overload
    def __getitem__(self, place: int) -> Piece: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Piece]: ...

    def __getitem__(self, place: int | slice) -> Piece | Sequence[Piece]:
        if isinstance(place, slice):
            return _Staying(self._pieces[place], self._leaves[place])
        piece, leaves = self._pieces[place], self._leaves[place]
        if not len(leaves):
            return piece
        stays = pl.repeat(True, len(piece), dtype=pl.Boolean, eager=True)
        staying = piece.only(stays.scatter(leaves, False))
        piece.let_go()
        return staying


def _outlines(pieces: Sequence[Piece]) -> Iterator[tuple[pl.DataFrame, int]]:
    """The constants of each piece, and how many rows it has, without cutting it."""
    if isinstance(pieces, _Staying):
        yield from pieces.outlines()
    else:
        yield from ((piece.constants, len(piece)) for piece in pieces)


def _no_lost() -> pl.DataFrame:
    return without_rows((*ROWS_SCHEMA.items(), *FATE_SCHEMA.items())).clone()


def _with_meters(rows: pl.DataFrame, meters: pl.DataFrame) -> pl.DataFrame:
    """Rows of the lake get their meters back; rows that bring their own keep them."""
    if not len(meters):
        return rows
    wide = rows
    for meter in METERS:
        mine = meters.filter(pl.col("meter") == meter).select(*PROVENANCE, pl.col("quantity").alias("_held"))
        if len(mine):
            wide = wide.join(mine, on=PROVENANCE, how="left", maintain_order="left")
            wide = wide.with_columns(pl.coalesce(meter, "_held").alias(meter)).drop("_held")
    return wide


def _long_meters(rows: pl.DataFrame) -> pl.DataFrame:
    frames = [
        conform(
            rows.filter(pl.col(meter) > 0).with_columns(pl.lit(meter).alias("meter"), pl.col(meter).alias("quantity")),
            CoreMeters,
        )
        for meter in METERS
        if rows[meter].null_count() < len(rows)
    ]
    return pl.concat(frames) if frames else empty(CoreMeters)


def duplicates_of(lost: pl.DataFrame) -> pl.DataFrame:
    """core__duplicates: lost rows that count elsewhere, in their order."""
    return lost.select(list(polars_schema(CoreDuplicates))).filter(pl.col("fate") != "conflict")


def conflicts_of(lost: pl.DataFrame) -> pl.DataFrame:
    """core__quarantine entries of rows that share an id with other content where the source allows no restatement."""
    conflicts = lost.filter(pl.col("fate") == "conflict")
    if not len(conflicts):
        return empty(CoreQuarantine)
    rows = conflicts.with_columns(
        pl.lit("key_conflict").alias("reason_code"),
        pl.lit("request_id").alias("column"),
        pl.lit("same id, other content").alias("rule"),
    )
    return conform(rows, CoreQuarantine)
