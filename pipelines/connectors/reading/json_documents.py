"""JSON exports that are one document (an array, or an object around an array) or lines: one way to read them all.

What lives here: telling the two apart, bounding a document's size, handing documents to the JSON-lines reader, counting
records. What does not: fields and their meaning.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pipelines.connectors.base import LandedFile
from pipelines.errors import FileRejectedError

MAX_DOCUMENT_BYTES = 512 * 1024 * 1024
"""A document must be read whole; larger exports belong into JSON lines."""

Unwrap = Callable[[Any], list[Any] | None]
"""The records inside a parsed document, in order; None when the document is not what the source promises."""

_BLOCK = 1 << 22
_PROBED_LINES = 5


def json_kind(path: Path) -> Literal["empty", "lines", "array", "object"]:
    """What a JSON file is. `lines`: one of its first lines is an object by itself; `object`: an object over many lines.

    A file that begins with neither `{` nor `[` is `lines`: each of its lines is then a malformed record.
    """
    lines: list[bytes] = []
    with path.open("rb") as stream:
        for line in stream:
            if line.strip():
                lines.append(line.rstrip())
            if len(lines) == _PROBED_LINES:
                break
    if not lines:
        return "empty"
    opening = lines[0].lstrip()[:1]
    if opening == b"[":
        return "array"
    if opening != b"{" or any(line.startswith(b"{") and line.endswith(b"}") for line in lines):
        return "lines"
    return "object"


def load_document(file: LandedFile) -> Any:
    """The whole document. Raises FileRejectedError `too_large` or `malformed_json`."""
    size = file.path.stat().st_size
    if size > MAX_DOCUMENT_BYTES:
        raise FileRejectedError(
            f"the JSON document is too large to be read whole ({size} bytes)",
            code="too_large",
            where=file.relative_path,
            expected=f"at most {MAX_DOCUMENT_BYTES} bytes, or JSON lines of any size",
            next_move="export as JSON lines (one record a line) or in smaller pieces",
        )
    try:
        return json.loads(file.path.read_bytes())
    except (ValueError, RecursionError) as error:
        place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "text"
        raise FileRejectedError(
            "the file is neither a JSON document nor JSON lines",
            code="malformed_json",
            where=f"{file.relative_path}, {place}",
            expected=f"JSON of the {file.source} export in UTF-8",
            next_move="export the file again; it may have been cut short",
        ) from error


def document_records(file: LandedFile, unwrap: Unwrap) -> list[Any]:
    """The records of a document. Raises FileRejectedError `unknown_document` when `unwrap` does not know its shape."""
    records = unwrap(load_document(file))
    if records is None:
        raise FileRejectedError(
            f"the JSON document is not an export of {file.source}",
            code="unknown_document",
            where=file.relative_path,
            expected="the shapes named in the connector's docstring",
            next_move="check that the file lies in the landing folder of its source",
        )
    return records


@contextmanager
def as_json_lines(file: LandedFile, unwrap: Unwrap, fields: Collection[str]) -> Iterator[Path]:
    """A path to the records as JSON lines: the file itself, or for documents a temporary copy with only `fields`.

    A file whose lines are documents around several records counts as documents. Record numbers of the lines are those
    of the records in document order. The copy is deleted on leaving.
    """
    kind = json_kind(file.path)
    if kind == "empty" or (kind == "lines" and not _is_wrapped(file.path, unwrap)):
        yield file.path
        return
    records = _line_records(file.path, unwrap) if kind == "lines" else iter(document_records(file, unwrap))
    with tempfile.TemporaryDirectory(prefix="tokenmart-") as folder:
        copy = Path(folder) / "records.jsonl"
        with copy.open("w", encoding="utf-8") as stream:
            for record in records:
                kept = {k: v for k, v in record.items() if k in fields} if isinstance(record, dict) else "not an object"
                stream.write(json.dumps(kept) + "\n")
        yield copy


def count_json_records(file: LandedFile, unwrap: Unwrap) -> int:
    """Records in the file, without the reader: non-blank lines, or the lengths of the documents' lists."""
    kind = json_kind(file.path)
    if kind == "lines" and _is_wrapped(file.path, unwrap):
        return sum(1 for _ in _line_records(file.path, unwrap))
    if kind in ("lines", "empty"):
        return count_lines(file.path)
    return len(document_records(file, unwrap))


def _is_wrapped(path: Path, unwrap: Unwrap) -> bool:
    """True where the first readable line is an object around records, not a record itself."""
    with path.open("rb") as stream:
        for line in stream:
            if line.strip():
                try:
                    document = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                records = unwrap(document)
                return records is not None and not (len(records) == 1 and records[0] is document)
    return False


def _line_records(path: Path, unwrap: Unwrap) -> Iterator[Any]:
    """Records of all lines, in order; a line that is no such document is one unreadable record (None)."""
    with path.open("rb") as stream:
        for line in stream:
            if line.strip():
                try:
                    records = unwrap(json.loads(line))
                except (ValueError, RecursionError):
                    records = None
                yield from [None] if records is None else records


def count_lines(path: Path) -> int:
    """Lines that hold more than white space, counted in binary blocks."""
    count = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            block += stream.readline()
            if _all_filled(block):
                count += block.count(b"\n") + (not block.endswith(b"\n"))
            else:
                count += sum(1 for line in block.split(b"\n") if line and not line.isspace())
    return count


_BLANK_LINE = re.compile(rb"\n[ \t\r\f\v]*\n")


def _all_filled(lines: bytes) -> bool:
    """True when every line holds something; one fast search instead of looking at each."""
    end = len(lines) - lines.endswith(b"\n")
    first, last = lines[: lines.find(b"\n") + 1] or lines, lines[lines.rfind(b"\n", 0, end) + 1 :]
    return bool(first.strip()) and bool(last.strip()) and _BLANK_LINE.search(lines) is None
