"""Reading JSON lines: one explicit schema, one pass in DuckDB, bounded chunks, every bad line named.

What lives here: the reader that all JSON-lines connectors share. What does not: what the fields mean.
The schema is an allow-list: fields that it does not name are never materialised.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

CHUNK_ROWS = 1_000_000

NUMBER = "DOUBLE"
"""For counts: read as DOUBLE so that 12.5 is seen as wrong instead of being rounded. Exact to 2^53."""
TEXT = "VARCHAR"
FLAG = "BOOLEAN"
JSON = "JSON"
"""A subtree kept as JSON text, for small maps such as tags."""

Shape = Mapping[str, Any]
"""Field → TEXT | NUMBER | FLAG | JSON | a nested Shape | [element]."""


def read_json_lines(path: Path, shape: Shape, *, chunk_rows: int = CHUNK_ROWS) -> Iterator[pl.DataFrame]:
    """Chunks of a JSON-lines file with the columns of `shape`, plus:

    `record_number` (1-based count of non-blank lines), `is_malformed` (the line is no JSON object) and `type_error` (name
    of the first top-level column that holds a value of the wrong type, else NULL; that value reads as NULL).

    A clean file is parsed once. A file with a bad line or value is parsed a second time with lenient types, so that each
    bad record can be named.
    """
    try:
        yield from _chunks(path, shape, chunk_rows, strict=True)
    except _DirtyFileError as dirty:
        yield from _chunks(path, shape, chunk_rows, strict=False, skip=dirty.rows_given)


class _DirtyFileError(Exception):
    """The strict pass met a line or value that does not fit; `rows_given` rows before it were already yielded."""

    def __init__(self, rows_given: int) -> None:
        self.rows_given = rows_given
        super().__init__()


# DuckDB infers types from a sample even where all columns are given: with long lines that costs more than the reading.
_STRICT = """
SELECT *
FROM read_json(
    $path, format='newline_delimited', columns=$columns, sample_size=1, maximum_object_size=67108864
)
"""
_LENIENT = """
SELECT
    json IS NULL OR json_type(json) <> 'OBJECT' AS is_malformed,
    json_transform(json, $typed) AS typed,
    json_transform(json, $texts) AS texts,
    json_transform(json, $tops) AS tops
FROM read_ndjson_objects($path, ignore_errors=true, maximum_object_size=67108864)
"""


def _chunks(path: Path, shape: Shape, chunk_rows: int, *, strict: bool, skip: int = 0) -> Iterator[pl.DataFrame]:
    given = 0
    with duckdb.connect() as session:
        session.execute("SET TimeZone='UTC'")
        try:
            relation = session.sql(_STRICT if strict else _LENIENT, params=_parameters(path, shape, strict))
            for batch in relation.to_arrow_reader(chunk_rows):
                frame = pl.DataFrame(pl.from_arrow(batch))
                first = given + 1
                given += len(frame)
                if given <= skip:
                    continue
                numbered = frame.with_columns(pl.int_range(first, first + len(frame), dtype=pl.Int64).alias("record_number"))
                numbered = numbered.slice(max(0, skip - first + 1))
                if strict:
                    clean = {"is_malformed": pl.lit(False), "type_error": pl.lit(None, dtype=pl.String)}
                    yield numbered.with_columns(**clean)
                else:
                    yield _lenient_chunk(numbered, shape)
        # What DuckDB finds after the first batch reaches us through Arrow, as an OSError.
        # A message that quotes a cut UTF-8 character cannot become a DuckDB error and is a UnicodeDecodeError.
        except (duckdb.Error, OSError, UnicodeDecodeError) as error:
            if strict:
                raise _DirtyFileError(given) from error
            raise


def _parameters(path: Path, shape: Shape, strict: bool) -> dict[str, object]:
    if strict:
        return {"path": str(path), "columns": {name: _sql_type(kind) for name, kind in shape.items()}}
    return {
        "path": str(path),
        "typed": json.dumps(shape),
        "texts": json.dumps(_as_text(shape)),
        "tops": json.dumps(dict.fromkeys(shape, JSON)),
    }


def _sql_type(kind: Any) -> str:
    """DuckDB's name of a shape: the shapes are constants of the connectors, never data."""
    if isinstance(kind, str):
        return kind
    if isinstance(kind, list):
        return _sql_type(kind[0]) + "[]"
    return "STRUCT(" + ", ".join(f'"{name}" {_sql_type(inner)}' for name, inner in kind.items()) + ")"


def _as_text(kind: Any) -> Any:
    if isinstance(kind, str):
        return kind if kind == JSON else TEXT
    if isinstance(kind, list):
        return [_as_text(kind[0])]
    return {name: _as_text(inner) for name, inner in kind.items()}


def _lenient_chunk(frame: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    faults = []
    for name, kind in shape.items():
        top = pl.col("tops").struct.field(name)
        typed, text = pl.col("typed").struct.field(name), pl.col("texts").struct.field(name)
        fault = _misfit(typed, text, kind)
        if not isinstance(kind, str):
            opening = "[" if isinstance(kind, list) else "{"
            fault = fault | (top.is_not_null() & (top != "null") & ~top.str.starts_with(opening))
        faults.append(pl.when(fault.fill_null(False)).then(pl.lit(name)))
    columns = [pl.col("typed").struct.field(name).alias(name) for name in shape]
    return frame.select("record_number", *columns, pl.col("is_malformed"), pl.coalesce(faults).alias("type_error"))


def _misfit(typed: pl.Expr, text: pl.Expr, kind: Any) -> pl.Expr:
    """True where a value is written in the file and could not be read as its type."""
    if isinstance(kind, str):
        return typed.is_null() & text.is_not_null()
    if isinstance(kind, list):
        inner = kind[0]
        if isinstance(inner, str):
            return typed.list.drop_nulls().list.len() != text.list.drop_nulls().list.len()
        return pl.any_horizontal(
            typed.list.eval(pl.element().struct.field(name).is_null()).list.sum()
            != text.list.eval(pl.element().struct.field(name).is_null()).list.sum()
            for name in inner
            if isinstance(inner[name], str)
        )
    return pl.any_horizontal(
        _misfit(typed.struct.field(name), text.struct.field(name), inner).fill_null(False) for name, inner in kind.items()
    )
