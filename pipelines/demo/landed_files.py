"""Writing demo files so that the same content is always the same bytes.

What lives here: plain, gzip and zstd writing without clocks in the bytes, modification times. What does not: content.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class LandingWriter:
    """Writes below one folder; every file is dated half an hour before `clock`, so that it counts as settled."""

    root: Path
    clock: datetime

    def write_bytes(self, relative_path: str, content: bytes) -> Path:
        """Write one file, compressed if its name ends in .gz or .zst, and return its path."""
        path = self.root / relative_path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".gz":
            content = gzip.compress(content, compresslevel=6, mtime=0)
        elif path.suffix == ".zst":
            content = pa.compress(content, codec="zstd", asbytes=True)
        path.write_bytes(content)
        modified = (self.clock - timedelta(minutes=30)).timestamp()
        os.utime(path, (modified, modified))
        return path

    def write_lines(self, relative_path: str, lines: Iterable[str]) -> Path:
        """Write text lines, each ended by a line feed."""
        return self.write_bytes(relative_path, "".join(line + "\n" for line in lines).encode())

    def write_json(self, relative_path: str, document: Any) -> Path:
        """Write one JSON document, members in their given order; a Decimal becomes a number, digit for digit."""
        marked = json.dumps(document, indent=1, default=_marked)
        return self.write_bytes(relative_path, (_MARKED.sub(r"\1", marked) + "\n").encode())

    def write_csv(self, relative_path: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> Path:
        """Write a CSV file with a header; an absent or None value is an empty field."""
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=columns, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        return self.write_bytes(relative_path, text.getvalue().encode())


_MARKED = re.compile(r'"decimal:(-?[0-9]+(?:\.[0-9]+)?)"')


def _marked(value: Any) -> str:
    """Stands in for a Decimal, which the json module cannot write without going through a float."""
    if isinstance(value, Decimal):
        return f"decimal:{value:f}"
    raise TypeError(f"no JSON form for {type(value).__name__}")
