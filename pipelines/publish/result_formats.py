"""Writing the rows of a query: a table for people; CSV, JSON and Parquet for machines. No digit is ever lost.

What lives here: how each type looks in each format. What does not: running the query (query.py).
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.errors import QueryError, UsageError

FORMATS = ("table", "csv", "json", "parquet")

_NULL_IN_TABLE = "NULL"
_UNCUT = 100_000
"""Columns of a table that goes to a file or a pipe: nothing may be cut there."""

Writer = Callable[[Any], str]


def write_result(result: pa.Table | pa.RecordBatchReader, output_format: str, stream: IO[Any]) -> None:
    """Write all rows to `stream` (text, or binary; Parquet needs binary or a text stream with a `buffer`).

    json: one array of objects; decimals as numbers with all their digits, NULL as null, dates and instants in ISO 8601,
    NaN and infinities as null, bytes as hex. csv: a header, RFC 4180 quoting, NULL as an empty field, empty text as
    `""`. table: for people, NULL spelled out, control characters made visible. parquet: the exact column types.
    Raises UsageError for an unknown format or a stream that cannot take it, QueryError for a type Parquet lacks.
    """
    table = result.read_all() if isinstance(result, pa.RecordBatchReader) else result
    if output_format == "parquet":
        _write_parquet(table, stream)
        return
    writers = {"table": _write_table, "csv": _write_csv, "json": _write_json}
    if output_format not in writers:
        raise UsageError(
            f"{output_format!r} is no format",
            where="--format",
            expected=", ".join(FORMATS),
            next_move="choose one of them",
        )
    with _as_text(stream) as text:
        writers[output_format](table, text)


@contextmanager
def _as_text(stream: IO[Any]) -> Iterator[IO[str]]:
    if isinstance(stream, io.RawIOBase | io.BufferedIOBase):
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        try:
            yield text
        finally:
            text.flush()
            text.detach()
    else:
        yield stream


def _write_json(table: pa.Table, stream: IO[str]) -> None:
    keys = [json.dumps(name, ensure_ascii=False) for name in table.column_names]
    separator = "[\n"
    for row in _rows(table, _json_writer):
        stream.write(separator + "{" + ", ".join(f"{key}: {value}" for key, value in zip(keys, row, strict=True)) + "}")
        separator = ",\n"
    stream.write("[]\n" if table.num_rows == 0 else "\n]\n")


def _write_csv(table: pa.Table, stream: IO[str]) -> None:
    stream.write(",".join(_quoted(name) for name in table.column_names) + "\n")
    for row in _rows(table, _csv_writer):
        stream.write(",".join(row) + "\n")


def _write_table(table: pa.Table, stream: IO[str]) -> None:
    is_terminal = stream.isatty()
    grid = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for field in table.schema:
        is_number = (
            pa.types.is_decimal(field.type) or pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        )
        grid.add_column(Text(_visible(field.name)), justify="right" if is_number else "left", overflow="fold")
    for row in _rows(table, _table_writer):
        grid.add_row(*(Text(_visible(value)) for value in row))
    console = Console(file=stream, width=None if is_terminal else _UNCUT, highlight=False)
    console.print(grid)
    console.print(f"{table.num_rows} row{'' if table.num_rows == 1 else 's'}")


def _write_parquet(table: pa.Table, stream: IO[Any]) -> None:
    if hasattr(stream, "isatty") and stream.isatty():
        raise UsageError(
            "Parquet is binary and would garble the terminal",
            where="--format parquet",
            expected="standard output that goes to a file or a pipe",
            next_move="append `> answer.parquet`",
        )
    binary = getattr(stream, "buffer", stream)
    if isinstance(binary, io.TextIOBase):
        raise UsageError(
            "Parquet needs a binary stream",
            where="--format parquet",
            expected="a file opened in binary mode",
            next_move="choose csv or json for text",
        )
    body = io.BytesIO()
    try:
        pq.write_table(table, body, compression="zstd")
    except pa.ArrowException as error:
        raise QueryError(
            f"Parquet cannot hold a column of this answer: {error}",
            where="--format parquet",
            expected="numbers, decimals, text, dates, instants, lists or structs",
            next_move="CAST that column to VARCHAR",
        ) from error
    binary.write(body.getvalue())
    binary.flush()


def _rows(table: pa.Table, writer_for: Callable[[pa.DataType], Writer]) -> Iterator[tuple[str, ...]]:
    writers = [writer_for(field.type) for field in table.schema]
    for batch in table.to_batches():
        columns = [
            [write(value) for value in _values(column)] for write, column in zip(writers, batch.columns, strict=True)
        ]
        yield from zip(*columns, strict=True)


def _values(column: pa.Array) -> list[Any]:
    """Python values; instants and dates as ISO text, also where Python's calendar ends (nanoseconds, far years)."""
    if not pa.types.is_temporal(column.type):
        return list(column.to_pylist())
    try:
        return [None if value is None else _iso(value) for value in column.to_pylist()]
    except (ValueError, OverflowError):
        return [value if value is None else value.replace(" ", "T") for value in column.cast(pa.string()).to_pylist()]


def _iso(value: Any) -> str:
    return str(value.isoformat()).replace("+00:00", "Z")


def _json_writer(kind: pa.DataType) -> Writer:
    def write(value: Any) -> str:
        return "null" if value is None else inner(value)

    inner = _json_value(kind)
    return write


def _json_value(kind: pa.DataType) -> Writer:
    if pa.types.is_decimal(kind):
        return _exact
    if pa.types.is_boolean(kind):
        return lambda value: "true" if value else "false"
    if pa.types.is_integer(kind):
        return str
    if pa.types.is_floating(kind):
        return lambda value: repr(value) if math.isfinite(value) else "null"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        element = _json_writer(kind.value_type)
        return lambda value: "[" + ", ".join(element(each) for each in value) + "]"
    if pa.types.is_map(kind):
        item = _json_writer(kind.item_type)
        return lambda value: "{" + ", ".join(f"{_json_text(key)}: {item(each)}" for key, each in value) + "}"
    if pa.types.is_struct(kind):
        fields = {field.name: _json_writer(field.type) for field in kind}
        return lambda value: (
            "{" + ", ".join(f"{_json_text(name)}: {write(value[name])}" for name, write in fields.items()) + "}"
        )
    return _json_text


def _json_text(value: Any) -> str:
    return json.dumps(_text(value), ensure_ascii=False)


def _csv_writer(kind: pa.DataType) -> Writer:
    plain = _plain_writer(kind)
    return lambda value: "" if value is None else _quoted(plain(value))


def _table_writer(kind: pa.DataType) -> Writer:
    plain = _plain_writer(kind)
    return lambda value: _NULL_IN_TABLE if value is None else plain(value)


def _plain_writer(kind: pa.DataType) -> Writer:
    if pa.types.is_decimal(kind):
        return _exact
    if pa.types.is_boolean(kind) or pa.types.is_nested(kind):
        return _json_value(kind)
    if pa.types.is_floating(kind):
        return repr
    return _text


def _exact(value: Decimal) -> str:
    return format(value, "f")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return _iso(value) if hasattr(value, "isoformat") else str(value)


def _quoted(text: str) -> str:
    if text == "" or any(character in text for character in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _visible(text: str) -> str:
    """Control characters as escapes: a tag from a log must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
