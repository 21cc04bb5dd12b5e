"""Reading JSON lines: one explicit schema, one pass in DuckDB, bounded chunks, every bad line named.

What lives here: the reader that all JSON-lines connectors share. What does not: what the fields mean, which names a
file holds (json_names.py). The schema is an allow-list: fields that it does not name are never materialised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from pipelines.connectors.reading.json_names import ESCAPED_ASCII, lines_of
from pipelines.errors import FileRejectedError
from pipelines.prefetch import ahead

CHUNK_ROWS = 500_000

NUMBER = "DOUBLE"
"""For counts: read as DOUBLE so that 12.5 is seen as wrong instead of being rounded. Exact to 2^53."""
TEXT = "VARCHAR"
FLAG = "BOOLEAN"
JSON = "JSON"
"""A subtree kept as JSON text, for small maps such as tags."""

Shape = Mapping[str, Any]
"""Field → TEXT | NUMBER | FLAG | JSON | a nested Shape | [element]."""

_LONGEST_LINES = (16 * 2**20, 64 * 2**20, 512 * 2**20)
"""Buffers are of this size: small ones are faster, so larger ones are only tried when a line needs them."""


def read_json_lines(path: Path, shape: Shape, *, chunk_rows: int = CHUNK_ROWS) -> Iterator[pl.DataFrame]:
    """Chunks of a JSON-lines file with the columns of `shape`, plus:

    `record_number` (1-based count of non-blank lines), `is_malformed` (the line is no JSON object) and `type_error`
    (name of the first top-level column that holds a value of the wrong type, else NULL; that value reads as NULL).

    A clean file is parsed once. From the first bad line or value on, bad values read as NULL, and every line whose text
    could hold one is looked at on its own, so that each bad record is named and none is changed in silence.
    Raises FileRejectedError (`line_too_long`).
    """
    given = 0
    for longest in _LONGEST_LINES:
        for is_strict in (True, False):
            try:
                for chunk in _chunks(path, shape, chunk_rows, longest, is_strict=is_strict, skip=given):
                    given += len(chunk)
                    yield chunk
                return
            except _DirtyFileError as error:
                if error.is_line_too_long:
                    break
    raise FileRejectedError(
        f"a line is longer than {_LONGEST_LINES[-1] // 2**20} MiB",
        code="line_too_long",
        where=path.name,
        expected="one JSON object per line",
        next_move="write one record per line; an array belongs in a file of its own",
    )


def read_clean_files(paths: Sequence[Path], shape: Shape) -> pl.DataFrame | None:
    """The rows of several small files, one file after the other, as read_json_lines gives them; `record_number` counts
    through all of them, and `file_number` says which of `paths` a row is of. None when a line of any of them does not
    fit: then each is to be read by itself."""
    columns = {name: _sql_type(kind) for name, kind in shape.items()}
    names = [str(path) for path in paths]
    parameters = {"paths": names, "columns": columns, "longest": _LONGEST_LINES[0]}
    with _database().cursor() as session:
        session.execute("SET TimeZone='UTC'")
        try:
            rows = pl.DataFrame(session.sql(_TYPED_TOGETHER, params=parameters).to_arrow_table())
        except (duckdb.Error, OSError):
            return None
    numbers = {path: number for number, path in enumerate(names)}
    return rows.drop("_path").with_columns(
        rows["_path"].replace_strict(numbers, return_dtype=pl.Int64).alias("file_number"),
        pl.int_range(1, len(rows) + 1, dtype=pl.Int64, eager=True).alias("record_number"),
        pl.lit(False).alias("is_malformed"),
        pl.lit(None, dtype=pl.String).alias("type_error"),
    )


def lines_of_each(rows: pl.DataFrame, files: int) -> list[int]:
    """How many of the rows of read_clean_files each file has."""
    counts = dict(rows.group_by("file_number").len().iter_rows())
    return [counts.get(number, 0) for number in range(files)]


class _DirtyFileError(Exception):
    """The strict pass met a line or value that does not fit, or a line that is longer than the buffer."""

    def __init__(self, message: str) -> None:
        self.is_line_too_long = "maximum_object_size" in message
        super().__init__(message)


_TYPED = """
SELECT * FROM read_json(
    $path, format='newline_delimited', columns=$columns, maximum_object_size=$longest, ignore_errors=$lenient
)
"""

_TYPED_TOGETHER = """
SELECT * FROM read_json(
    $paths, format='newline_delimited', columns=$columns, maximum_object_size=$longest, filename='_path'
)
"""


def _chunks(
    path: Path, shape: Shape, chunk_rows: int, longest: int, *, is_strict: bool, skip: int
) -> Iterator[pl.DataFrame]:
    first = 1
    suspicion = None if is_strict else _Suspicion(path, shape)
    columns = {name: _sql_type(kind) for name, kind in shape.items()}
    with _database().cursor() as session:
        session.execute("SET TimeZone='UTC'")
        try:
            parameters = {"path": str(path), "columns": columns, "longest": longest, "lenient": not is_strict}
            batches = session.sql(_TYPED, params=parameters).to_arrow_reader(chunk_rows)
            for frame in ahead(_sized(batches, chunk_rows)):
                numbers = pl.int_range(first, first + len(frame), dtype=pl.Int64, eager=True).alias("record_number")
                clean = {"is_malformed": pl.lit(False), "type_error": pl.lit(None, dtype=pl.String)}
                numbered = frame.with_columns(numbers, **clean)
                if suspicion is not None:
                    numbered = suspicion.settled(numbered)
                seen = max(0, skip - first + 1)
                first += len(frame)
                if seen < len(numbered):
                    yield numbered.slice(seen)
        # What DuckDB finds after the first batch reaches us through Arrow, as an OSError.
        except (duckdb.Error, OSError) as error:
            dirty = _DirtyFileError(str(error))
            if is_strict or dirty.is_line_too_long:
                raise dirty from error
            raise


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """One empty database for all files: to make one costs as much as to read a small file."""
    return duckdb.connect()


def _sized(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pl.DataFrame]:
    """DuckDB hands out small batches: they are put together, because every later step costs by the batch, too."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(len(held) for held in waiting) >= rows // 2:
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches(waiting)))
            waiting = []
    if waiting:
        yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches(waiting)))


class _Suspicion:
    """Goes through the text of a dirty file beside its rows, and looks at each line that may hold a bad value by
    itself."""

    def __init__(self, path: Path, shape: Shape) -> None:
        self._lines = lines_of(path)
        self._left = pl.Series(dtype=pl.String)
        self._shape = shape
        self._pattern = "|".join(_misfit_patterns(shape))
        self._lists = list(_list_paths(shape))

    def settled(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`rows` with `is_malformed` and `type_error` of the bad ones."""
        lines = self._next(len(rows))
        checked = rows.with_columns(lines.alias("_line"))
        is_suspect = pl.all_horizontal(pl.col(name).is_null() for name in self._shape)
        is_suspect = is_suspect | pl.col("_line").str.contains(self._pattern)
        for path, inner in self._lists:
            value = pl.col(path[0])
            for name in path[1:]:
                value = value.struct.field(name)
            is_written = pl.col("_line").str.contains(rf'"{re.escape(path[-1])}"\s*:\s*[^n\s]')
            is_suspect = (
                is_suspect
                | (value.is_null() & is_written)
                | value.list.eval(_is_nothing(inner)).list.any().fill_null(False)
            )
        suspects = checked.filter(is_suspect)
        if not len(suspects):
            return rows
        verdicts = [_verdict(row.pop("_line"), row, self._shape) for row in suspects.iter_rows(named=True)]
        named = suspects.select("record_number").with_columns(
            pl.Series("is_malformed", [is_malformed for is_malformed, _ in verdicts], dtype=pl.Boolean),
            pl.Series("type_error", [column for _, column in verdicts], dtype=pl.String),
        )
        return rows.update(named, on="record_number")

    def _next(self, count: int) -> pl.Series:
        while len(self._left) < count:
            self._left = pl.concat([self._left, next(self._lines)])
        lines, self._left = self._left.head(count), self._left.slice(count)
        return lines


def _verdict(line: str, row: Mapping[str, Any], shape: Shape) -> tuple[bool, str | None]:
    """(is the line no JSON object, first column whose value is written but was not read)."""
    is_empty = all(row[name] is None for name in shape)
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return True, None
    if not isinstance(record, dict) or (is_empty and "\ufffd" in line):
        return True, None
    return False, next((name for name, kind in shape.items() if _is_lost(record.get(name), row[name], kind)), None)


def _is_lost(written: Any, read: Any, kind: Any) -> bool:
    if written is None or read is None:
        return written is not None
    if isinstance(kind, list):
        return (
            not isinstance(written, list)
            or len(written) != len(read)
            or any(_is_lost(*pair, kind[0]) for pair in zip(written, read, strict=True))
        )
    if isinstance(kind, Mapping):
        is_object = isinstance(written, dict)
        return not is_object or any(_is_lost(written.get(name), read[name], inner) for name, inner in kind.items())
    return False


_SCALARS = {NUMBER: r"[^-0-9n\s]", FLAG: r"[^tfn\s]"}


def _misfit_patterns(shape: Shape) -> Iterator[str]:
    """Patterns that match every line in which a value could be of another type than its field; some good lines too."""
    names: dict[str, set[str]] = {}
    _collect(shape, names)
    for opening, found in sorted(names.items()):
        words = "|".join(re.escape(name) for name in sorted(found))
        yield rf'"(?:{words})"\s*:\s*{opening}'
    yield ESCAPED_ASCII


def _collect(shape: Shape, names: dict[str, set[str]]) -> None:
    for name, kind in shape.items():
        inner = kind[0] if isinstance(kind, list) else kind
        if isinstance(kind, list):
            names.setdefault(r"[^\[n\s]", set()).add(name)
        elif isinstance(kind, Mapping):
            names.setdefault(r"[^{n\s]", set()).add(name)
        elif kind in _SCALARS:
            names.setdefault(_SCALARS[kind], set()).add(name)
        if isinstance(inner, Mapping):
            _collect(inner, names)


def _is_nothing(kind: Any) -> pl.Expr:
    """List elements that read as NULL, or as an object without values: what stands there may be of another type."""
    if isinstance(kind, Mapping):
        return pl.all_horizontal(pl.element().struct.field(name).is_null() for name in kind)
    return pl.element().is_null()


def _list_paths(shape: Shape, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, kind in shape.items():
        if isinstance(kind, list):
            yield (*above, name), kind[0]
        elif isinstance(kind, Mapping):
            yield from _list_paths(kind, (*above, name))


def polars_type(kind: Any) -> pl.DataType:
    """The dtype in which a field of a shape is read."""
    if isinstance(kind, str):
        return {NUMBER: pl.Float64(), FLAG: pl.Boolean()}.get(kind, pl.String())
    if isinstance(kind, list):
        return pl.List(polars_type(kind[0]))
    return pl.Struct({name: polars_type(inner) for name, inner in kind.items()})


def _sql_type(kind: Any) -> str:
    """DuckDB's name of a shape: the shapes are constants of the connectors, never data."""
    if isinstance(kind, str):
        return kind
    if isinstance(kind, list):
        return _sql_type(kind[0]) + "[]"
    return "STRUCT(" + ", ".join(f'"{name}" {_sql_type(inner)}' for name, inner in kind.items()) + ")"
