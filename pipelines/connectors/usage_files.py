"""Chunks of a usage table from CSV, Parquet or JSON, with its columns under our names.

What lives here: telling the formats apart, streaming each in bounded chunks with only the needed columns, naming bad
lines, counting records another way. What does not: values and their meaning (usage_columns.py).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as arrow_parquet

from pipelines.connectors.base import LandedFile, rejects
from pipelines.connectors.column_mapping import COUNT_COLUMNS, TEXT_COLUMNS, ColumnMapping, check_columns, parse_path
from pipelines.connectors.column_mapping import Path as Steps
from pipelines.connectors.reading.json_documents import as_json_lines, count_json_records
from pipelines.connectors.reading.json_lines import TEXT, read_json_lines
from pipelines.connectors.reading.parquet_frames import DAMAGED, read_frames, read_together
from pipelines.connectors.usage_columns import NULL_WORDS
from pipelines.errors import FileRejectedError

_CSV_BLOCK = 16 * 1024 * 1024
"""At 16 bytes a line or more, one block stays below a million rows."""
_PARQUET_ROWS = 500_000
_REPEATED = frozenset(TEXT_COLUMNS) - {"request_id", "status"}
"""Columns whose texts are few. A status is compared with words and is read in full."""
_JSON_ROWS = 400_000
_COUNT_BLOCK = 1 << 22
_LONGEST_FIELD = 1 << 30


@dataclass(frozen=True)
class Chunk:
    """Some records: `frame` with `record_number` and our columns in native dtypes, and lines that are no record."""

    frame: pl.DataFrame
    rejected: list[pl.DataFrame]
    is_json: bool = False
    words: Mapping[str, pl.Series] = field(default_factory=dict)
    """Texts of the columns in which `frame` holds their numbers."""


def table_format(path: Path) -> Literal["csv", "parquet", "json", "empty"]:
    """What the bytes are, whatever the file's name."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    if head[:4] == b"PAR1":
        return "parquet"
    opening = head.lstrip()[:1]
    if not opening:
        return "empty" if len(head) < 4096 else "csv"
    return "json" if opening in (b"{", b"[") else "csv"


def read_chunks(file: LandedFile, mapping: ColumnMapping) -> Iterator[Chunk]:
    """Bounded chunks of any supported file. Raises FileRejectedError when its columns or bytes are unusable."""
    readers: dict[str, Callable[[LandedFile, ColumnMapping], Iterator[Chunk]]] = {
        "csv": _csv_chunks,
        "parquet": _parquet_chunks,
        "json": _json_chunks,
    }
    kind = table_format(file.path)
    if kind != "empty":
        yield from readers[kind](file, mapping)


def count_table_records(file: LandedFile, mapping: ColumnMapping) -> int:
    """Records of the file, without the readers above: Parquet footer, JSON lines, lines of a CSV below its header."""
    kind = table_format(file.path)
    if kind == "empty":
        return 0
    if kind == "parquet":
        return int(arrow_parquet.read_metadata(file.path).num_rows)
    if kind == "json":
        return count_json_records(file, _unwrap)
    return max(0, _count_csv_lines(file.path, mapping.delimiter) - 1)


# Parquet


def _parquet_chunks(file: LandedFile, mapping: ColumnMapping) -> Iterator[Chunk]:
    try:
        names = arrow_parquet.ParquetFile(file.path).schema_arrow.names
    except DAMAGED as error:
        raise _unreadable(
            file, "the Parquet file is damaged", "malformed_parquet", "a complete Parquet file"
        ) from error
    sources, needed, repeated = _parquet_columns(file, mapping, names)
    given = 0
    try:
        for native, words in read_frames(file.path, needed, repeated, _PARQUET_ROWS):
            yield _parquet_chunk(native, words, sources, given)
            given += len(native)
    except DAMAGED as error:
        raise _unreadable(
            file, "the Parquet file is damaged", "malformed_parquet", "a complete Parquet file"
        ) from error


def read_parquet_together(files: Sequence[LandedFile], mapping: ColumnMapping) -> tuple[Chunk, list[int]] | None:
    """The records of several small Parquet files as one chunk, and how many each has. None unless all of them are
    Parquet files of the same columns with at least a record. Raises FileRejectedError for unusable columns."""
    if any(table_format(file.path) != "parquet" for file in files):
        return None
    try:
        footers = [arrow_parquet.read_metadata(file.path) for file in files]
        records = [footer.num_rows for footer in footers]
        if not all(records) or len({footer.schema.to_arrow_schema() for footer in footers}) > 1:
            return None
        sources, needed, repeated = _parquet_columns(files[0], mapping, footers[0].schema.to_arrow_schema().names)
        native, words = read_together([file.path for file in files], needed, repeated)
        return _parquet_chunk(native, words, sources, 0), records
    except DAMAGED:
        return None


def _parquet_columns(
    file: LandedFile, mapping: ColumnMapping, names: list[str]
) -> tuple[dict[str, Steps], list[str], set[str]]:
    """Where each of our columns stands in a file of these names, what is to be read of it, and which of that may come
    as numbers and words."""
    sources: dict[str, Steps] = {}
    for ours, theirs in mapping.wanted().items():
        steps: Steps = (theirs,) if theirs in names else _steps(file, theirs)
        if steps[0] in names:
            sources[ours] = steps
        elif ours in mapping.columns or ours.startswith("tags."):
            raise _absent(file, ours, theirs, names)
    check_columns(file, mapping, sources, names)
    needed = sorted({str(steps[0]) for steps in sources.values()})
    repeated = {str(sources[ours][0]) for ours in _REPEATED if len(sources.get(ours, ())) == 1}
    whole = [str(steps[0]) for ours, steps in sources.items() if ours not in _REPEATED]
    return sources, needed, repeated.difference(whole)


def _parquet_chunk(
    native: pl.DataFrame, words: Mapping[str, pl.Series], sources: dict[str, Steps], given: int
) -> Chunk:
    """Rows under our names; given: how many records came before them."""
    chosen = [_value(native, steps).alias(ours) for ours, steps in sources.items()]
    number = pl.int_range(given + 1, given + 1 + len(native), dtype=pl.Int64).alias("record_number")
    said = {ours: words[str(steps[0])] for ours, steps in sources.items() if str(steps[0]) in words}
    return Chunk(native.select(number, *chosen), [], words=said)


# JSON


def _unwrap(document: Any) -> list[Any] | None:
    return document if isinstance(document, list) else [document]


def _json_chunks(file: LandedFile, mapping: ColumnMapping) -> Iterator[Chunk]:
    sources = {ours: _steps(file, theirs) for ours, theirs in mapping.wanted().items()}
    shape: dict[str, Any] = {}
    for ours, steps in sources.items():
        if not _grow(shape, steps):
            raise _unreadable(
                file,
                f"[columns] {ours} and another column contradict each other",
                "bad_mapping",
                "paths to single values",
            )
    with as_json_lines(file, _unwrap, shape) as lines:
        first = True
        for native in read_json_lines(lines, shape, chunk_rows=_JSON_ROWS):
            frame = native.select(
                "record_number",
                "is_malformed",
                "type_error",
                *[_value(native, steps).alias(ours) for ours, steps in sources.items()],
            )
            frame = frame.drop([ours for ours in sources if frame[ours].null_count() == len(frame)])
            if first:
                _check_first_json(file, mapping, frame, sources)
                first = False
            yield Chunk(frame, [], is_json=True)


def _check_first_json(file: LandedFile, mapping: ColumnMapping, frame: pl.DataFrame, sources: dict[str, Steps]) -> None:
    """Refuse a file of objects that have nothing to do with a usage table; single bad records are rejected later."""
    if frame["is_malformed"].all():
        return
    present = [ours for ours in sources if ours in frame.columns]
    if "started_at" not in present or not set(present) & set(COUNT_COLUMNS):
        check_columns(file, mapping, [n for n in present if n not in ("provider", "model")], [])
    if "input_tokens" in present:
        check_columns(file, mapping, {*present, "provider", "model"}, [])


def _grow(shape: dict[str, Any], steps: Steps) -> bool:
    """Add a path to a JSON shape, all values as text; False when it contradicts a path that is there."""
    name, rest = steps[0], steps[1:]
    if not isinstance(name, str):
        return False
    depth = 0
    while rest and isinstance(rest[0], int):
        depth, rest = depth + 1, rest[1:]
    inner = shape.get(name)
    for _ in range(depth if inner is not None else 0):
        if not isinstance(inner, list):
            return False
        inner = inner[0]
    if inner is None:
        inner = {} if rest else TEXT
        kind: Any = inner
        for _ in range(depth):
            kind = [kind]
        shape[name] = kind
    if not rest:
        return inner == TEXT
    return isinstance(inner, dict) and _grow(inner, rest)


# CSV


def _csv_chunks(file: LandedFile, mapping: ColumnMapping) -> Iterator[Chunk]:
    header, sample, delimiter = _csv_header(file, mapping)
    sources = {}
    for ours, theirs in mapping.wanted().items():
        if theirs in header:
            sources[ours] = theirs
        elif ours in mapping.columns or ours.startswith("tags."):
            raise _absent(file, ours, theirs, header)
    check_columns(file, mapping, sources, header)
    for theirs in sources.values():
        if header.count(theirs) > 1:
            raise _unreadable(file, f"the header has {theirs!r} twice", "malformed_csv", "each column once")
    if not sample:
        return
    typed = {ours: pa.int64() for ours in (*COUNT_COLUMNS, "requests") if ours in sources}
    if mapping.unit is None and mapping.time_format is None and mapping.timezone is None:
        typed["started_at"] = _timestamp_type(sample, header.index(sources["started_at"]))
    progress = _CsvProgress()
    try:
        yield from _csv_pass(file, sources, typed, delimiter, progress)
    except pa.ArrowInvalid:
        try:
            yield from _csv_pass(file, sources, {}, delimiter, progress)
        except pa.ArrowInvalid as error:
            raise _unreadable(
                file, "the CSV cannot be read to its end", "malformed_csv", "UTF-8 text in CSV"
            ) from error


@dataclass
class _CsvProgress:
    """What earlier passes over the same file have already yielded: good rows, and bad lines up to a record number."""

    rows: int = 0
    bad_until: int = 0


def _csv_pass(
    file: LandedFile, sources: dict[str, str], typed: dict[str, pa.DataType], delimiter: str, progress: _CsvProgress
) -> Iterator[Chunk]:
    """One pass; a value that does not fit `typed` raises ArrowInvalid, and the next pass goes on where it stopped."""
    bad: list[int] = []

    def note(row: arrow_csv.InvalidRow) -> str:
        bad.append(row.number - 1)
        return "skip"

    types = {theirs: pa.string() for theirs in sources.values()}
    types.update({sources[ours]: dtype for ours, dtype in typed.items()})
    reader = arrow_csv.open_csv(
        file.path,
        read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=sorted(set(types)),
            column_types=types,
            null_values=list(NULL_WORDS),
            strings_can_be_null=True,
        ),
    )
    seen, next_number, skip = 0, 1, progress.rows
    for batch in reader:
        native = pl.DataFrame(pl.from_arrow(batch))
        pending = [number for number in bad if number >= next_number]
        room = pl.int_range(next_number, next_number + len(native) + len(pending), dtype=pl.Int64, eager=True)
        numbers = room.filter(~room.is_in(pending)).head(len(native))
        next_number = int(numbers.item(-1)) + 1 if len(numbers) else next_number
        frame = native.select(numbers.alias("record_number"), *[pl.col(t).alias(o) for o, t in sources.items()])
        rows = frame.slice(max(0, skip - seen))
        seen += len(frame)
        progress.rows = max(progress.rows, seen)
        yield Chunk(rows, _bad_lines(bad, progress))
    yield Chunk(pl.DataFrame(schema={"record_number": pl.Int64}), _bad_lines(bad, progress))


def _bad_lines(bad: list[int], progress: _CsvProgress) -> list[pl.DataFrame]:
    new = [number for number in bad if number > progress.bad_until]
    if not new:
        return []
    progress.bad_until = new[-1]
    return [rejects(pl.DataFrame({"record_number": new}), "malformed_csv")]


def _csv_header(file: LandedFile, mapping: ColumnMapping) -> tuple[list[str], list[str], str]:
    """Header, first row and delimiter."""
    try:
        with file.path.open(encoding="utf-8", newline="") as stream:
            delimiter = mapping.delimiter or _guessed_delimiter(stream)
            rows = (row for row in csv.reader(stream, delimiter=delimiter) if row)
            return next(rows, []), next(rows, []), delimiter
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(file, "the file is no CSV, Parquet or JSON", "malformed_csv", "UTF-8 text in CSV") from error


def _timestamp_type(first_row: list[str], place: int) -> pa.DataType:
    """The Arrow type that reads a column like the first value at once; what does not fit is read in the second pass."""
    text = first_row[place].strip() if place < len(first_row) else ""
    is_zoned = text[-1:] in ("Z", "z") or text[-6:-5] in ("+", "-") or text[-5:-4] == "+"
    return pa.timestamp("ns", "UTC") if is_zoned else pa.timestamp("ns")


def _count_csv_lines(path: Path, delimiter: str | None) -> int:
    """Lines with content, header included; with quotes in the file, rows as the standard library reads them."""
    count, rest = 0, b""
    with path.open("rb") as stream:
        while block := stream.read(_COUNT_BLOCK):
            if b'"' in block:
                return _count_quoted_rows(path, delimiter)
            lines = (rest + block).splitlines(keepends=True)
            rest = lines.pop() if lines else b""
            count += sum(1 for line in lines if line.strip(b"\r\n"))
    return count + (1 if rest.strip(b"\r\n") else 0)


def _count_quoted_rows(path: Path, delimiter: str | None) -> int:
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as stream:
            separator = delimiter or _guessed_delimiter(stream)
            return sum(1 for row in csv.reader(stream, delimiter=separator) if row)
    finally:
        csv.field_size_limit(limit)


def _guessed_delimiter(stream: TextIO) -> str:
    """The candidate that the first line has most of; the stream is back at its start afterwards."""
    line = next((line for line in stream if line.strip()), "")
    stream.seek(0)
    return max(",;\t|", key=line.count)


# Paths and errors


def _steps(file: LandedFile, theirs: str) -> Steps:
    try:
        return parse_path(theirs)
    except ValueError as error:
        raise _unreadable(file, f"{theirs!r} is no path", "bad_mapping", "such as a.b[0]") from error


def _value(native: pl.DataFrame, steps: Steps) -> pl.Expr:
    """The value at a path, NULL where the path leads nowhere. Raises nothing: absent fields of a struct are NULL."""
    expression = pl.col(str(steps[0]))
    dtype: Any = native.schema[str(steps[0])]
    for step in steps[1:]:
        if isinstance(step, int) and isinstance(dtype, pl.List):
            expression, dtype = expression.list.get(step, null_on_oob=True), dtype.inner
        elif isinstance(step, str) and isinstance(dtype, pl.Struct) and step in {f.name for f in dtype.fields}:
            expression, dtype = expression.struct.field(step), dtype.to_schema()[step]
        else:
            return pl.lit(None, dtype=pl.String)
    return expression


def _absent(file: LandedFile, ours: str, theirs: str, header: list[str]) -> FileRejectedError:
    return FileRejectedError(
        f"mapping.toml reads {ours} from {theirs!r}, which the file does not have",
        code="mapped_column_missing",
        where=f"{file.relative_path}; its columns: {', '.join(header[:30])}",
        expected="a column of the file, spelled exactly like in its header",
        next_move=f"correct the name of {ours} in mapping.toml",
    )


def _unreadable(file: LandedFile, what: str, code: str, expected: str) -> FileRejectedError:
    next_move = "export the file again, or correct it and land it anew"
    return FileRejectedError(what, code=code, where=file.relative_path, expected=expected, next_move=next_move)
