"""Strict reading of money files: JSON documents and pages parsed exactly, CSV cut into records that are what they
seem.

What lives here: JSON without floats, NaN or duplicate keys; CSV records in bounded chunks with every ragged line
named; counting records another way. What does not: buckets and accounts (provider_buckets.py), what any field means.
A file that was cut short must never look like a smaller bill.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

import polars as pl

from pipelines.connectors.base import LandedFile
from pipelines.errors import FileRejectedError

MAX_DOCUMENT_BYTES = 512 * 1024 * 1024
"""A JSON document is read whole; exports of provider APIs are far smaller."""

MAX_RECORD_BYTES = 16 * 1024 * 1024
"""A longer CSV record is an unbalanced quote."""

CHUNK_ROWS = 100_000

_BLOCK = 1 << 22
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w.\-]{0,63}\Z")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_BLANK = re.compile(r"\s*")


def read_json_documents(file: LandedFile) -> list[Any]:
    """The JSON values of a file: one document, the items of one array, or JSON lines (blank lines between are
    skipped).

    Numbers with a fraction or exponent are Decimal, others int. Raises FileRejectedError: `too_large`,
    `bad_encoding`, `empty_file`, `malformed_json` (cut files and NaN included) or `duplicate_key`.
    """
    text = _document_text(file)
    decoder = json.JSONDecoder(
        parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_object_without_duplicates
    )
    documents: list[Any] = []
    position = _skip_blanks(text, 0)
    if position == len(text):
        raise FileRejectedError(
            "the file is empty",
            code="empty_file",
            where=file.relative_path,
            expected=f"pages of {file.source} as JSON",
            next_move="fetch the export again",
        )
    while position < len(text):
        try:
            value, end = decoder.raw_decode(text, position)
        except _DuplicateKeyError as error:
            raise FileRejectedError(
                f"{error.described} stands twice in one object",
                code="duplicate_key",
                where=f"{file.relative_path}, JSON value {len(documents) + 1}",
                expected="every key once, so that no value silently replaces another",
                next_move="fetch the export again; do not merge pages by hand",
            ) from None
        except (ValueError, RecursionError) as error:
            _refuse_json(file, text, error, documents=len(documents))
        documents.append(value)
        position = _skip_blanks(text, end)
    refuse_half_characters(file, text, documents)
    if len(documents) == 1 and isinstance(documents[0], list):
        return documents[0]
    return documents


def refuse_half_characters(file: LandedFile, text: str, value: Any) -> None:
    """Raises FileRejectedError `bad_encoding` where a text of the JSON value holds half of a surrogate pair: JSON can
    write it, no text can hold it."""
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError as error:
            refuse_encoding(file, f"a text with half of a character ({error.object[error.start]!r})")


def count_listed(file: LandedFile, lists: Sequence[str]) -> int:
    """How many items all lists named in `lists` hold, wherever they stand: a count that does not know the page's
    shape."""
    text = _document_text(file)
    found = 0

    def tally(pairs: dict[str, Any]) -> None:
        nonlocal found
        found += sum(len(pairs[name]) for name in lists if isinstance(pairs.get(name), list))

    decoder = json.JSONDecoder(object_hook=tally)
    position = _skip_blanks(text, 0)
    while position < len(text):
        try:
            _, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            _refuse_json(file, text, error, documents=0)
        position = _skip_blanks(text, end)
    return found


class _DuplicateKeyError(Exception):
    def __init__(self, key: str) -> None:
        self.described = f"the key {key!r}" if _PLAIN_KEY.match(key) else "a key"
        super().__init__()


def _document_text(file: LandedFile) -> str:
    size = file.path.stat().st_size
    if size > MAX_DOCUMENT_BYTES:
        raise FileRejectedError(
            f"the JSON file is too large to be read whole ({size} bytes)",
            code="too_large",
            where=file.relative_path,
            expected=f"at most {MAX_DOCUMENT_BYTES} bytes",
            next_move="fetch in shorter ranges, one file each",
        )
    try:
        return file.path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse_encoding(file, f"byte {error.start}")


def refuse_encoding(file: LandedFile, place: str) -> NoReturn:
    """Raises FileRejectedError `bad_encoding`, naming the place."""
    raise FileRejectedError(
        "the file is not UTF-8 text",
        code="bad_encoding",
        where=f"{file.relative_path}, {place}",
        expected="UTF-8, with or without byte order mark",
        next_move="save the export as UTF-8",
    ) from None


def _skip_blanks(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKeyError(key)
        found[key] = value
    return found


def _refuse_json(file: LandedFile, text: str, error: Exception, *, documents: int) -> NoReturn:
    """Say where JSON stops being JSON, without quoting what stands there."""
    place = f"JSON value {documents + 1}"
    what = "the file is not JSON"
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno}, column {error.colno}"
        rest = text[error.pos : error.pos + 6].rstrip()
        is_cut_word = any(word.startswith(rest) for word in ("true", "false", "null"))
        if len(rest) <= 1 or is_cut_word or error.msg.startswith("Unterminated string"):
            what = "the JSON ends in the middle: the file was cut short"
    elif isinstance(error, RecursionError):
        what = "the JSON is nested too deeply"
    elif "no JSON number" in str(error):
        what = "the file holds NaN or Infinity, which are no JSON numbers"
    raise FileRejectedError(
        what,
        code="malformed_json",
        where=f"{file.relative_path}, {place}",
        expected=f"one page of {file.source}, an array of pages, or one page a line",
        next_move="fetch the export again; a file that is still being written is taken on the next run",
    ) from None


@dataclass(frozen=True)
class CsvChunk:
    """Up to CHUNK_ROWS records. `frame` holds `record_number` and text columns named by the header; `ragged` the
    numbers of records with more or fewer fields than the header (or an unclosed quote), `undecodable` of those not
    in UTF-8."""

    frame: pl.DataFrame
    ragged: list[int]
    undecodable: list[int]


def read_csv_header(file: LandedFile) -> list[str]:
    """The trimmed column names. Raises FileRejectedError `empty_file`, `bad_encoding` or `duplicate_column`."""
    line = next(_csv_records(file), None)
    if line is None:
        raise FileRejectedError(
            "the file is empty",
            code="empty_file",
            where=file.relative_path,
            expected="a header line and rows",
            next_move="export again",
        )
    try:
        text = line.text.decode("utf-8-sig")
    except UnicodeDecodeError:
        refuse_encoding(file, "the header line")
    names = [name.strip() for name in next(csv.reader([text]))]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise FileRejectedError(
            f"columns stand twice in the header: {', '.join(twice)}",
            code="duplicate_column",
            where=file.relative_path,
            expected="every column once",
            next_move="remove the repeated columns",
        )
    return names


def read_csv_chunks(file: LandedFile, *, chunk_rows: int = CHUNK_ROWS) -> Iterator[CsvChunk]:
    """Records after the header, in bounded chunks, every field as text (NULL where empty).

    Records are numbered from 1; lines of white space alone are none. A quoted field may hold line ends.
    """
    header = read_csv_header(file)
    names = [name or f"unnamed_{place}" for place, name in enumerate(header)]
    records = _csv_records(file)
    next(records)
    lines: list[bytes] = []
    numbers: list[int] = []
    ragged: list[int] = []
    for number, record in enumerate(records, start=1):
        if record.fields == len(header) and record.is_closed:
            lines.append(record.text)
            numbers.append(number)
        else:
            ragged.append(number)
        if len(lines) + len(ragged) >= chunk_rows:
            yield _csv_chunk(names, lines, numbers, ragged)
            lines, numbers, ragged = [], [], []
    if lines or ragged:
        yield _csv_chunk(names, lines, numbers, ragged)


def count_csv_records(file: LandedFile) -> int:
    """Records after the header, counted over binary blocks by the parity of quotes."""
    count = 0
    in_quotes = False
    has_content = False
    with file.path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            for place, piece in enumerate(block.split(b'"')):
                if place:
                    in_quotes = not in_quotes
                    has_content = True
                if in_quotes:
                    continue
                first, *later = piece.split(b"\n")
                has_content = has_content or bool(first.strip())
                for line in later:
                    count += has_content
                    has_content = bool(line.strip())
    return max(0, count + has_content - 1)


@dataclass(frozen=True)
class _Record:
    text: bytes
    fields: int
    is_closed: bool


def _csv_records(file: LandedFile) -> Iterator[_Record]:
    pending = b""
    with file.path.open("rb") as stream:
        for line in stream:
            pending = pending + line if pending else line
            if pending.count(b'"') % 2:
                if len(pending) > MAX_RECORD_BYTES:
                    raise FileRejectedError(
                        "a quoted field never ends",
                        code="malformed_csv",
                        where=file.relative_path,
                        expected='CSV by RFC 4180: quotes inside a field are doubled ("")',
                        next_move="export again with standard quoting",
                    )
                continue
            if pending.strip():
                yield _Record(pending.rstrip(b"\r\n"), _field_count(pending), is_closed=True)
            pending = b""
    if pending:
        yield _Record(pending, 0, is_closed=False)


def _field_count(line: bytes) -> int:
    if b'"' not in line:
        return line.count(b",") + 1
    return sum(part.count(b",") for part in line.split(b'"')[::2]) + 1


def _csv_chunk(names: list[str], lines: list[bytes], numbers: list[int], ragged: list[int]) -> CsvChunk:
    undecodable: list[int] = []
    if not _is_utf8(b"\n".join(lines)):
        kept = [(line, number) for line, number in zip(lines, numbers, strict=True) if _is_utf8(line)]
        undecodable = sorted(set(numbers) - {number for _, number in kept})
        lines, numbers = [line for line, _ in kept], [number for _, number in kept]
    frame, odd = _csv_frame(dict.fromkeys(names, pl.String()), lines, numbers)
    return CsvChunk(frame, sorted([*ragged, *odd]), undecodable)


def _csv_frame(
    schema: dict[str, pl.DataType], lines: list[bytes], numbers: list[int]
) -> tuple[pl.DataFrame, list[int]]:
    """The records with their numbers, and the numbers of those that are not what they seemed (text after a closing
    quote), which are looked for by halves."""
    frame, odd = pl.DataFrame(schema=schema), []
    if numbers:
        try:
            frame = pl.read_csv(b"\n".join(lines), has_header=False, infer_schema=False, schema=schema)
        except pl.exceptions.PolarsError:
            if len(numbers) > 1:
                half = len(numbers) // 2
                first, first_odd = _csv_frame(schema, lines[:half], numbers[:half])
                rest, rest_odd = _csv_frame(schema, lines[half:], numbers[half:])
                return pl.concat([first, rest]), [*first_odd, *rest_odd]
            numbers, odd = [], numbers
    return frame.with_columns(pl.Series("record_number", numbers, dtype=pl.Int64)), odd


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
