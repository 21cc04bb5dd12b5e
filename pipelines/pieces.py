"""Pieces: rows on their way from a landed file into a core day, each repeated value kept once.

What lives here: a piece, and making one from a frame. What does not: pieces on disk (piece_files.py), which rows a
piece holds (intake/reading.py), which of them stay (core/days.py).
Most columns of a log hold one value all along (zero tokens of rare classes, one account): a piece keeps it once. Most
texts are few (models, features, people): a piece keeps each once, and rows hold its number. So what is done to texts is
done once per text, and rows are grouped, copied and written as small integers.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl
import pyarrow as pa

CODE = pl.UInt32
_FOLD = "_fold"
_PROBE_ROWS = 64
_WORD_PROBE_ROWS = 2_000
_ROWS_PER_WORD = 4
"""Texts are worth a number each when every one of them stands in at least so many rows."""
NEVER_CONSTANT = frozenset({"request_id", "record_number"})
"""Columns that every piece has, row by row, however few the rows are."""


@dataclass(frozen=True)
class Piece:
    """Some rows: `varying` holds the columns that differ, `constants` one row with the values of the others.

    A column of `varying` that is named in `words` holds numbers (CODE, or a narrower type): number n stands for the
    n-th of its words, NULL for NULL. A column that is named in `wide` has that integer type, and is held in a narrower.
    """

    varying: pl.DataFrame
    constants: pl.DataFrame
    words: Mapping[str, pl.Series] = field(default_factory=dict)
    wide: Mapping[str, pl.DataType] = field(default_factory=dict)
    mapped: mmap.mmap | None = field(default=None, repr=False, compare=False)
    """The file whose bytes the columns are, where they are mapped."""

    def __len__(self) -> int:
        return len(self.varying)

    @property
    def columns(self) -> list[str]:
        return [*self.varying.columns, *self.constants.columns]

    def column(self, name: str) -> pl.Series:
        """One column in full."""
        if name in self.constants.columns:
            return self.constants[name].new_from_index(0, len(self))
        values = self.varying[name]
        if name in self.words:
            return self.words[name].gather(values).alias(name)
        return values.cast(self.wide[name]) if name in self.wide else values

    def frame(self, columns: Sequence[str]) -> pl.DataFrame:
        """The rows with `columns` in this order."""
        same = set(self.constants.columns)
        values = [
            pl.lit(self.constants[name].item(), dtype=self.constants[name].dtype).alias(name)
            if name in same
            else pl.lit(self.words[name]).gather(pl.col(name)).alias(name)
            if name in self.words
            else pl.col(name).cast(self.wide[name])
            if name in self.wide
            else pl.col(name)
            for name in columns
        ]
        if same.issuperset(columns):
            return self.varying.select(pl.first(), *values).select(columns)
        return self.varying.select(values)

    def values(self, column: str) -> set[str]:
        """The distinct values of a text column."""
        if column in self.constants.columns:
            return set(self.constants[column])
        distinct = self.varying[column].unique()
        return set(self.words[column].gather(distinct) if column in self.words else distinct)

    def is_one_of(self, column: str, texts: pl.Series) -> pl.Series:
        """Of each row whether a text column holds one of `texts`."""
        if column in self.constants.columns:
            return pl.repeat(self.constants[column].item() in texts, len(self), dtype=pl.Boolean, eager=True)
        values, wanted = self.varying[column], texts
        if column in self.words:
            wanted = self.words[column].is_in(texts.implode()).arg_true().cast(values.dtype)
        if not len(wanted):
            return pl.repeat(False, len(self), dtype=pl.Boolean, eager=True)
        return values.is_in(wanted.implode()).fill_null(False)

    def only(self, chosen: pl.Series) -> Piece:
        """The piece with the rows where `chosen` is true, or at these positions."""
        rows = self.varying.filter(chosen) if chosen.dtype == pl.Boolean else self.varying[chosen]
        return replace(self, varying=rows)

    def part(self, first: int, rows: int) -> Piece:
        """`rows` rows from position `first` on, not copied."""
        return replace(self, varying=self.varying.slice(first, rows))

    def let_go(self) -> None:
        """Have the system take back the memory of a mapped file until a column is used again."""
        if self.mapped is not None:
            self.mapped.madvise(mmap.MADV_DONTNEED)

    def of(self, columns: Sequence[str]) -> Piece:
        """The piece with those of `columns` that it has, and one that differs, best one that nobody takes for a value:
        without any there were no rows."""
        wanted = set(columns)
        if wanted.isdisjoint(self.varying.columns):
            wanted.add(next((n for n in self.varying.columns if n in NEVER_CONSTANT), self.varying.columns[0]))
        words = {name: texts for name, texts in self.words.items() if name in wanted}
        return replace(self, varying=_only(self.varying, wanted), constants=_only(self.constants, wanted), words=words)

    def beside(self, other: Piece) -> Piece:
        """The piece with the columns of another one of the same rows."""
        return replace(
            self,
            varying=self.varying.with_columns(other.varying.get_columns()),
            constants=pl.DataFrame([*self.constants, *other.constants]),
            words={**self.words, **other.words},
            wide={**self.wide, **other.wide},
        )

    def without(self, name: str) -> Piece:
        """The piece without one of its columns."""
        return self.of([column for column in self.columns if column != name])

    def with_constants(self, *values: pl.Series) -> Piece:
        """The piece with further columns of one value, each given as a series of one."""
        names = {value.name for value in values}
        return replace(self, constants=pl.DataFrame([*(c for c in self.constants if c.name not in names), *values]))

    def changed(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Piece:
        """The piece after a change of single values: it is asked for frames of some columns, and keeps their rows.

        Texts that rows share are changed once.
        """
        plain = change(self.varying.drop(list(self.words)))
        words = {name: change(texts.to_frame(name))[name] for name, texts in self.words.items()}
        return replace(
            self, varying=self.varying.with_columns(plain.get_columns()), constants=change(self.constants), words=words
        )

    def with_one_word(self, name: str) -> Piece:
        """The piece with a column of words as a constant, where all rows hold the same word."""
        numbers = self.varying[name]
        if not len(numbers) or numbers.null_count() or numbers.min() != numbers.max():
            return self
        return self.without(name).with_constants(self.words[name].gather(numbers.head(1)).alias(name))

    def with_numbers(self, name: str, numbers: pl.Series, words: pl.Series) -> Piece:
        """The piece with a further column: of each row the number (CODE) of one of `words`."""
        varying = self.varying.with_columns(numbers.alias(name))
        return replace(self, varying=varying, words={**self.words, name: words})

    def grouped(self, key: Sequence[str], sums: Sequence[pl.Expr]) -> pl.DataFrame:
        """One row per distinct `key` with `sums` over its rows.

        Numbers of words are folded into one integer per row, which is what the rows are grouped by: many times cheaper
        than grouping by texts.
        """
        folded = [name for name in key if name in self.words]
        plain = [name for name in key if name in self.varying.columns and name not in self.words]
        sizes = {name: len(self.words[name]) + 1 for name in folded}
        if math.prod(sizes.values()) >= 2**63:
            folded, plain = [], [*folded, *plain]
        fold = pl.lit(0, dtype=pl.Int64)
        for name in folded:
            fold = fold * sizes[name] + pl.col(name).fill_null(sizes[name] - 1).cast(pl.Int64)
        wide = [pl.col(name).cast(dtype) for name, dtype in self.wide.items() if name in self.varying.columns]
        rows = self.varying.with_columns(wide)
        keys = [fold.alias(_FOLD), *map(pl.col, plain)]
        # The streaming engine adds up in one go; the other one first lists the rows of each group.
        sought = rows.lazy().group_by(keys).agg(sums)
        groups = sought.collect(engine="streaming") if sums else _distinct(rows.select(keys))
        rest, columns = groups[_FOLD], {}
        for name in reversed(folded):
            number = (rest % sizes[name]).cast(CODE)
            columns[name] = self.words[name].gather(number.set(number == sizes[name] - 1, None)).alias(name)
            rest = rest // sizes[name]
        for name in plain:
            columns[name] = self.words[name].gather(groups[name]).alias(name) if name in self.words else groups[name]
        same = [
            pl.lit(self.constants[name].item(), dtype=self.constants[name].dtype).alias(name)
            for name in key
            if name in self.constants.columns
        ]
        done = groups.drop(_FOLD, *plain).with_columns(*columns.values(), *same)
        return done.select(*key, pl.exclude(key))

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
        piece = replace(self, varying=rows.drop("usage_date"))
        return piece.with_constants(pl.Series("usage_date", [day], dtype=pl.Date))


def _distinct(rows: pl.DataFrame) -> pl.DataFrame:
    """The distinct rows; of a single column several times faster than as rows."""
    return rows.to_series().unique().to_frame() if rows.width == 1 else rows.unique()


def _only(rows: pl.DataFrame, wanted: set[str]) -> pl.DataFrame:
    return rows.select(name for name in rows.columns if name in wanted)


def narrow(rows: pl.DataFrame | Piece) -> Piece:
    """`rows` as a piece: columns of one value (or of NULL alone) become constants, repeated texts become numbers."""
    piece = rows if isinstance(rows, Piece) else Piece(rows, pl.DataFrame())
    varying, words = piece.varying, dict(piece.words)
    if not len(varying):
        return piece
    candidates = [
        name
        for name in varying.columns
        if name not in NEVER_CONSTANT and varying[name].head(_PROBE_ROWS).n_unique() <= 1
    ]
    held = varying.select(pl.col(name).eq_missing(pl.col(name).first()).all() for name in candidates)
    constant = [name for name in candidates if held[name].item()]
    constants = pl.DataFrame([*piece.constants, *(piece.part(0, 1).column(name) for name in constant)])
    varying = varying.drop(constant)
    words = {name: texts for name, texts in words.items() if name not in constant}
    for name, dtype in varying.schema.items():
        if dtype == pl.String and name not in NEVER_CONSTANT and _repeats(varying[name]):
            numbers, words[name] = encoded(varying[name])
            varying = varying.with_columns(numbers)
    return replace(piece, varying=varying, constants=constants, words=words)


def _repeats(texts: pl.Series) -> bool:
    probe = texts.head(_WORD_PROBE_ROWS)
    if len(probe) < _WORD_PROBE_ROWS or probe.n_unique() == _WORD_PROBE_ROWS:
        return False
    distinct = texts.to_frame().select(pl.first().approx_n_unique()).item()
    return bool(distinct * _ROWS_PER_WORD <= len(texts))


def encoded(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """A text column as numbers (CODE, named alike) and the words that they stand for, in the order of appearance."""
    numbers, words = numbered(texts.to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode())
    return numbers.alias(texts.name), words


def numbered(texts: pa.DictionaryArray) -> tuple[pl.Series, pl.Series]:
    """An Arrow dictionary as numbers and words, for the most part without a copy."""
    words = pl.Series(texts.dictionary.cast(pa.large_string()), dtype=pl.String)
    numbers = texts.indices if pa.types.is_unsigned_integer(texts.type.index_type) else texts.indices.cast(pa.uint32())
    return pl.Series(numbers), words


def narrowest(piece: Piece) -> Piece:
    """The same rows with every number and every whole number in the smallest type that has room for all of them."""
    columns, wide = [], dict(piece.wide)
    for column in piece.varying:
        held = column
        if column.name in piece.words:
            held = column.cast(_room_for(len(piece.words[column.name])))
        elif column.dtype == pl.Int64:
            held = column.shrink_dtype()
            wide[column.name] = pl.Int64()
        columns.append(held)
    return replace(piece, varying=pl.DataFrame(columns), wide=wide)


def _room_for(words: int) -> type[pl.DataType]:
    return pl.UInt8 if words <= 2**8 else pl.UInt16 if words <= 2**16 else CODE


def recoded(
    numbers: pl.Series, words: pl.Series, change: Callable[[pl.Series], pl.Series]
) -> tuple[pl.Series, pl.Series]:
    """Numbers and words after a change of the words, each of which stands once; a word that becomes NULL is NULL."""
    changed = change(words)
    if changed.equals(words, null_equal=True):
        return numbers, words
    distinct = changed.drop_nulls().unique(maintain_order=True)
    places = pl.int_range(len(distinct), dtype=CODE, eager=True)
    new = changed.replace_strict(distinct, places, default=None, return_dtype=CODE)
    return new.gather(numbers).alias(numbers.name), distinct
