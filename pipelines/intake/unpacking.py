"""Unpacking: a landed file as plain bytes for a connector, freed of compression and byte order mark, within bounds.

What lives here: decompression into the spool, and what makes a file unusable before anybody looks inside. What does
not: which files there are (landing.py), what they say (connectors/).
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import zstandard
from isal import igzip
from isal.igzip_lib import IsalError

from pipelines.connectors.base import LandedFile
from pipelines.errors import FileRejectedError
from pipelines.intake.landing import FoundFile

BLOCK_BYTES = 4 * 1024 * 1024
MOST_EXPANSION = 250
"""Text logs compress up to about fifty-fold; beyond this ratio (and a gibibyte) a file is a decompression bomb."""
ALWAYS_ALLOWED_BYTES = 1024**3


@contextmanager
def opened(file: FoundFile, spool: Path) -> Iterator[LandedFile]:
    """The file as plain bytes for a connector: decompressed and freed of its BOM into `spool` where needed.

    Raises FileRejectedError (`truncated_compression`, `decompression_bomb`, `not_utf8`, `empty_file`).
    """
    name = file.relative_path
    plain = file.path
    spooled: Path | None = None
    if file.size_bytes == 0:
        raise FileRejectedError(
            "the file is empty",
            code="empty_file",
            where=f"landing/{file.source}/{name}",
            expected="at least one record",
            next_move="write the export again; the path may be reused",
        )
    with file.path.open("rb") as handle:
        head = handle.read(4)
    compression = _compression(name, head)
    if compression or head[:3] == b"\xef\xbb\xbf":
        spool.mkdir(parents=True, exist_ok=True)
        spooled = plain = spool / f"{file.landed_file}.plain"
    elif head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise FileRejectedError(
            "the file is UTF-16",
            code="not_utf8",
            where=f"landing/{file.source}/{name}",
            expected="UTF-8 text",
            next_move="export it again as UTF-8",
        )
    try:
        if spooled:
            _spool(file, compression, spooled)
        yield LandedFile(
            source=file.source,
            path=plain,
            relative_path=re.sub(r"\.(gz|zst)$", "", name),
            landed_file=file.landed_file,
            account=file.account,
            modified_ns=file.modified_ns,
            mapping=file.mapping,
        )
    finally:
        if spooled:
            spooled.unlink(missing_ok=True)


_BROKEN = (EOFError, zlib.error, IsalError, gzip.BadGzipFile, zstandard.ZstdError)


def _compression(name: str, head: bytes) -> str:
    if head[:2] == b"\x1f\x8b":
        return "gz"
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return "zst"
    if name.endswith((".gz", ".zst")):
        return name.rsplit(".", 1)[1]
    return ""


def _spool(file: FoundFile, compression: str, target: Path) -> None:
    where = f"landing/{file.source}/{file.relative_path}"
    bound = max(ALWAYS_ALLOWED_BYTES, file.size_bytes * MOST_EXPANSION)
    try:
        with file.path.open("rb") as raw, target.open("wb") as out:
            stream = _decompressor(raw, compression)
            first = stream.read(BLOCK_BYTES)
            written = out.write(first.removeprefix(b"\xef\xbb\xbf"))
            while block := stream.read(BLOCK_BYTES):
                written += out.write(block)
                if written > bound:
                    raise FileRejectedError(
                        f"the file grows beyond {bound:,} bytes when decompressed",
                        code="decompression_bomb",
                        where=where,
                        expected=f"at most {MOST_EXPANSION} times its compressed size",
                        next_move="split the export, or land it uncompressed if it is genuine",
                    )
    except _BROKEN as error:  # type: ignore[misc] # the stub of isal does not say that its error is one
        raise FileRejectedError(
            f"the {compression} stream is broken: {error}",
            code="truncated_compression",
            where=where,
            expected="a complete compressed file",
            next_move="copy the file again; nothing of it was taken in",
        ) from error
    if compression == "zst" and not _zst_ends(file.path):
        raise FileRejectedError(
            "the zst stream ends early",
            code="truncated_compression",
            where=where,
            expected="a complete compressed file",
            next_move="copy the file again; nothing of it was taken in",
        )


def _decompressor(raw: IO[bytes], compression: str) -> IO[bytes]:
    if compression == "gz":
        return io.BufferedReader(igzip.IGzipFile(fileobj=raw), BLOCK_BYTES)
    if compression == "zst":
        return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    return raw


def _zst_ends(path: Path) -> bool:
    """zstandard's reader gives short data for a cut file without an error; its decompressor object knows."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    with path.open("rb") as raw:
        while block := raw.read(BLOCK_BYTES):
            while block:
                if decompressor.eof:
                    decompressor = zstandard.ZstdDecompressor().decompressobj()
                decompressor.decompress(block)
                block = decompressor.unused_data
    return decompressor.eof
