"""File operations that survive a power cut: copy, write, append and rename, each followed by its fsync.

What lives here: bytes and directories. What does not: what the bytes mean, when they are committed (commit.py).
An OSError from any of these means that nothing is known about the bytes; callers discard them, never fsync again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

READ_ONLY = 0o444
_BLOCK = 1024 * 1024


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def copy(source: Path, target: Path) -> str:
    """Copy and fsync; the hex SHA-256 of what was written, so that a source replaced half-way cannot go unseen."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while block := reader.read(_BLOCK):
            digest.update(block)
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a new file and fsync it."""
    with path.open("x", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write and fsync it; a tail that a dead writer left unfinished is cut off first."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        content = _read_all(descriptor)
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            os.ftruncate(descriptor, whole)
        os.lseek(descriptor, whole, os.SEEK_SET)
        data = line.encode() + b"\n"
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, "the line was written in part", str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_all(descriptor: int) -> bytes:
    blocks = []
    while block := os.read(descriptor, _BLOCK):
        blocks.append(block)
    return b"".join(blocks)


def fsync(path: Path) -> None:
    """Make a file's bytes, or a directory's entries, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> bool:
    """Give `source` a second name (True); where the file system cannot, copy and fsync (False)."""
    try:
        os.link(source, target)
    except OSError:
        copy(source, target)
        return False
    return True


def rename(source: Path, target: Path) -> None:
    """Rename within one file system and fsync the directory that holds the new name."""
    os.replace(source, target)
    fsync(target.parent)


def remove_tree(path: Path) -> None:
    """Remove a directory that nobody may read yet; one that is gone already is fine."""
    if path.exists():
        shutil.rmtree(path)
