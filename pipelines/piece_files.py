"""Pieces on disk: Arrow files while they wait to be merged, Parquet partitions once a day is decided.

What lives here: writing and opening both. What does not: which rows a piece holds, which partitions there are.
A partition's bytes depend on its rows and their order alone, not on the pieces that they came in.
"""

from __future__ import annotations

import base64
import io
import json
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pandera.polars as pandera
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from pipelines import lake
from pipelines.contracts.fields import polars_schema
from pipelines.pieces import NEVER_CONSTANT, Piece, narrowest, numbered

_CONSTANTS, _WIDE = "constants", "wide"
_NEVER_WORDS = frozenset({"request_id"})
_DELTAS = (pl.Int64(), pl.Datetime("us", "UTC"))
"""Types whose columns are stored as differences: smaller and faster than a dictionary of numbers."""
_FEW_ROWS = 20_000
"""Of so few rows the texts are looked up sooner than the numbers that stand for them are put in order."""
_IDS = "DELTA_BYTE_ARRAY"
"""Ids begin alike: what is the same as in the one before is not written again, nor packed."""


def write_piece(piece: Piece, path: Path) -> None:
    """Write a piece as one Arrow file. Nothing is synced: a piece is only trusted until the machine starts again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = narrowest(piece)
    arrays = [
        pa.DictionaryArray.from_arrays(_arrow(held.varying[name]), _arrow(held.words[name]))
        if name in held.words
        else _arrow(held.varying[name]).cast(pa.string())
        if name in _NEVER_WORDS
        else _arrow(held.varying[name])
        for name in held.varying.columns
    ]
    table = pa.Table.from_arrays(arrays, names=held.varying.columns)
    table = table.replace_schema_metadata({_CONSTANTS: _packed(held.constants), _WIDE: " ".join(held.wide)})
    with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)


def open_piece(path: Path) -> Piece:
    """A piece, mapped from its file: columns are read when they are used."""
    with path.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
    with pa.ipc.open_file(pa.py_buffer(mapped)) as reader:
        table = reader.read_all()
    told = table.schema.metadata
    # A piece that an earlier version staged says nothing of narrow columns, and has none.
    wide = dict.fromkeys(told.get(_WIDE.encode(), b"").decode().split(), pl.Int64())
    return replace(_piece(table, _unpacked(told[_CONSTANTS.encode()])), mapped=mapped, wide=wide)


def _piece(table: pa.Table, constants: pl.DataFrame) -> Piece:
    columns, words = [], {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            numbers, words[name] = numbered(column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))
            columns.append(numbers.alias(name))
        else:
            columns.append(pl.Series(name, column))
    return Piece(pl.DataFrame(columns), constants, words)


def _arrow(values: pl.Series) -> pa.Array:
    return values.to_arrow(compat_level=pl.CompatLevel.oldest())


def _packed(constants: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    constants.write_ipc_stream(sink, compat_level=pl.CompatLevel.oldest())
    return base64.b64encode(sink.getvalue())


def _unpacked(packed: bytes) -> pl.DataFrame:
    return pl.read_ipc_stream(base64.b64decode(packed))


def write_partition(pieces: Sequence[Piece], contract: type[pandera.DataFrameModel], path: Path) -> int:
    """Write the rows of `pieces`, in their order, as one Parquet file with the contract's columns. Returns the rows.

    The pieces are gone through twice, one after the other, so memory does not grow with the day. No column statistics:
    a partition is read whole, and what is the same in all rows stands in the footer. Pages are cut by their bytes
    alone: each one costs, most of all where they hold nothing.
    """
    schema, plain, required = _columns_of(contract)
    whole = _Whole(pieces, schema)
    fields = [
        pa.field(name, whole.arrow_type(name, plain.field(name).type), nullable=name not in required) for name in schema
    ]
    rows = 0
    with pq.ParquetWriter(
        path,
        pa.schema(fields),
        compression="zstd",
        compression_level=1,
        use_dictionary=sorted(whole.dictionaries),
        column_encoding=dict.fromkeys(sorted(whole.deltas), "DELTA_BINARY_PACKED") | dict.fromkeys(_NEVER_WORDS, _IDS),
        write_statistics=False,
        store_schema=False,
        max_rows_per_page=lake.ROW_GROUP_ROWS,
    ) as writer:
        for group in _row_groups(pieces):
            arrays = [whole.array(name, group) for name in schema]
            writer.write_table(pa.Table.from_arrays(arrays, schema=writer.schema), row_group_size=2**31)
            rows += sum(map(len, group))
        writer.add_key_value_metadata({_CONSTANTS: json.dumps(whole.constants(), sort_keys=True)})
    return rows


@cache
def _columns_of(contract: type[pandera.DataFrameModel]) -> tuple[dict[str, pl.DataType], pa.Schema, frozenset[str]]:
    """A contract's columns for Polars and for Arrow, and those that are never NULL."""
    schema = polars_schema(contract)
    plain = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return (
        schema,
        plain,
        frozenset(name for name, column in contract.to_schema().columns.items() if not column.nullable),
    )


def open_partition(path: Path, columns: Sequence[str]) -> Iterator[Piece]:
    """The rows of a partition with `columns`, one piece for each row group; what is the same in all rows is not
    read."""
    with _opened(path) as file:
        constants = _one_row(_told(file), columns, file.schema_arrow)
        varying = _varying(columns, constants)
        for number in range(file.num_row_groups):
            yield _piece(file.read_row_group(number, columns=varying, use_threads=False), constants)


def open_together(paths: Sequence[Path], columns: Sequence[str]) -> Piece:
    """The rows of several small partitions of one table with `columns`, one after the other; what is the same in all
    rows of all of them is not read."""
    with ExitStack() as stack:
        files = [stack.enter_context(_opened(path)) for path in paths]
        told = _told(files[0])
        for file in files[1:]:
            other = _told(file)
            told = {name: value for name, value in told.items() if name in other and other[name] == value}
        constants = _one_row(told, columns, files[0].schema_arrow)
        varying = _varying(columns, constants)
        table = pa.concat_tables([file.read(columns=varying, use_threads=False) for file in files])
        return _piece(table.unify_dictionaries().combine_chunks(), constants)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A partition whose texts are read as numbers and words."""
    with pq.ParquetFile(path) as file:
        texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
        footer = file.metadata
    readable = [name for name in texts if name not in _NEVER_WORDS]
    with pq.ParquetFile(path, read_dictionary=readable, metadata=footer) as file:
        yield file


def _told(file: pq.ParquetFile) -> dict[str, str | None]:
    """What the footer says is the same in all rows."""
    told: dict[str, str | None] = json.loads((file.metadata.metadata or {}).get(_CONSTANTS.encode(), b"{}"))
    return told


def _one_row(told: Mapping[str, str | None], columns: Sequence[str], schema: pa.Schema) -> pl.DataFrame:
    types = pl.DataFrame(pl.from_arrow(schema.empty_table())).schema
    return pl.DataFrame([_from_text(told[name], types[name]).alias(name) for name in columns if name in told])


def _varying(columns: Sequence[str], constants: pl.DataFrame) -> list[str]:
    # Without a column of its own a row group would lose its number of rows.
    return [name for name in columns if name not in constants.columns] or ["record_number"]


def _from_text(text: str | None, dtype: pl.DataType) -> pl.Series:
    """A value as it was told in the footer."""
    if text is None or dtype in (pl.String, pl.Categorical):
        return pl.Series([text], dtype=pl.String if dtype == pl.Categorical else dtype)
    read: Callable[[str], Any] = int
    if isinstance(dtype, pl.Decimal):
        read = Decimal
    elif isinstance(dtype, pl.Datetime):
        read = datetime.fromisoformat
    elif dtype == pl.Date:
        read = date.fromisoformat
    return pl.Series([read(text)], dtype=dtype)


def _row_groups(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Pieces cut and put together at fixed positions of the day, whatever their lengths."""
    group: list[Piece] = []
    room = lake.ROW_GROUP_ROWS
    for piece in pieces:
        at = 0
        while at < len(piece):
            taken = min(room, len(piece) - at)
            group.append(piece.part(at, taken))
            at, room = at + taken, room - taken
            if not room:
                yield group
                for written in group:
                    written.let_go()
                group, room = [], lake.ROW_GROUP_ROWS
    if group:
        yield group


class _Whole:
    """What holds for a whole partition, so that every row group is encoded alike: which columns hold one value."""

    def __init__(self, pieces: Sequence[Piece], schema: dict[str, pl.DataType]) -> None:
        self._schema = schema
        self._same = _one_values(pieces, [name for name in schema if name not in NEVER_CONSTANT])
        texts = {name for name, dtype in schema.items() if dtype == pl.String and name not in _NEVER_WORDS}
        nothing = {name for name, value in self._same.items() if value.null_count()}
        self.deltas = {name for name in set(schema) - nothing if schema[name] in _DELTAS}
        self.dictionaries = texts
        self._rows = 0
        self._repeated: dict[tuple[pl.DataType, object], pa.Array] = {}

    def arrow_type(self, name: str, plain: pa.DataType) -> pa.DataType:
        if name in _NEVER_WORDS:
            return pa.string_view()
        if name not in self.dictionaries:
            return plain
        return pa.dictionary(pa.int8() if name in self._same else pa.uint32(), plain)

    def _repeat(self, value: pl.Series, rows: int) -> pa.Array:
        """The value as often: columns of one and the same value share it. Arrow packs few words as they are, but would
        look up every number of a dictionary."""
        if rows != self._rows:
            self._rows, self._repeated = rows, {}
        is_text = value.dtype == pl.String
        key = (value.dtype, None if is_text else value.item())
        if key not in self._repeated:
            repeated = pl.Series([0], dtype=pl.Int8) if is_text else value
            self._repeated[key] = _arrow(repeated.new_from_index(0, rows))
        same = self._repeated[key]
        return pa.DictionaryArray.from_arrays(same, _arrow(value)) if is_text else same

    def constants(self) -> dict[str, str | None]:
        """The columns that hold one value, with that value as text."""
        held = {name: value.item() for name, value in self._same.items()}
        return {name: None if value is None else str(value) for name, value in held.items()}

    def array(self, name: str, group: Sequence[Piece]) -> pa.Array:
        """One column of one row group."""
        rows = sum(map(len, group))
        value = self._same.get(name)
        if value is not None:
            if value.null_count():
                return pa.nulls(rows, self.arrow_type(name, _arrow(value).type))
            return self._repeat(value, rows)
        if name not in self.dictionaries:
            values = pl.concat([piece.column(name) for piece in group])
            return values.to_arrow(compat_level=pl.CompatLevel.newest())  # ids stay where they lie
        if len(group) == 1 and rows > _FEW_ROWS and name in group[0].words:
            numbers, words = _as_used(group[0].varying[name], group[0].words[name])
            return pa.DictionaryArray.from_arrays(_arrow(numbers), _arrow(words))
        texts = pl.concat([piece.column(name) for piece in group])
        array = _arrow(texts).dictionary_encode()
        return pa.DictionaryArray.from_arrays(array.indices.cast(pa.uint32()), array.dictionary)


def _as_used(numbers: pl.Series, words: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The same texts with words in the order of their first use, each once, and none that no row uses."""
    used = numbers.unique(maintain_order=True).drop_nulls()
    texts = words.gather(used)
    distinct = texts.unique(maintain_order=True)
    new = pl.int_range(len(used), dtype=pl.UInt32, eager=True)
    if len(distinct) < len(texts):
        new = texts.replace_strict(distinct, pl.int_range(len(distinct), dtype=pl.UInt32, eager=True))
    places = pl.repeat(0, len(words), dtype=pl.UInt32, eager=True).scatter(used, new)
    return places.gather(numbers), distinct


def _one_values(pieces: Iterable[Piece], names: Sequence[str]) -> dict[str, pl.Series]:
    """The columns in which all rows hold one value, with that value as a series of one; NULL counts as a value."""
    found: dict[str, pl.Series | None] = {}
    for piece in pieces:
        if not len(piece):
            continue
        for name in [name for name in names if found.get(name, name) is not None]:
            value = _one_value_of(piece, name)
            before = found.get(name)
            agrees = before is None or (value is not None and before.equals(value, null_equal=True))
            found[name] = value if agrees else None
        piece.let_go()
    return {name: value for name, value in found.items() if value is not None}


def _one_value_of(piece: Piece, name: str) -> pl.Series | None:
    if name in piece.constants.columns:
        return piece.constants[name]
    column = piece.varying[name]
    if column.head(64).n_unique() > 1:
        return None
    first = column.head(1)
    if not column.eq_missing(first.new_from_index(0, len(column))).all():
        return None
    return piece.part(0, 1).column(name)
