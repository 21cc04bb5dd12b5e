"""Which names a JSON-lines file holds, and its lines as text: what can be known of a file without parsing it.

What lives here: one fast pass over the bytes. What does not: reading records (json_lines.py).
A shape that leaves out fields which stand nowhere in the file is read in half the time and memory.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

_BLOCK = 2**20
_SAMPLE = 2**18
_LARGE = 2**26
"""A larger file is looked through by two threads."""
ESCAPED_ASCII = r"\\u00[2-7]"
"""A letter written as an escape: a name may then stand there without being seen."""
_ESCAPE = r"\u0075"
"""As long as any of them."""


def names_in(path: Path, names: Iterable[str]) -> frozenset[str]:
    """Those of `names` that stand in the file in double quotes, anywhere; all of them when an escape may hide one.

    A name that only stands in some text counts too: that costs a little time and changes nothing.
    """
    wanted = frozenset(names)
    texts = {f'"{name}"': name for name in sorted(wanted)}
    size = path.stat().st_size
    first = _missing(path, 0, min(_SAMPLE, size), texts)
    if size <= _LARGE or first is None:
        rest = first if first is None else _missing(path, 0, size, first)
        return wanted if rest is None else wanted - frozenset(rest.values())
    halves = ((0, size // 2), (size // 2, size))
    with ThreadPoolExecutor(len(halves)) as pool:
        found = list(pool.map(lambda half: _missing(path, half[0], half[1], first), halves))
    if any(half is None for half in found):
        return wanted
    return wanted - frozenset(texts[text] for text in first if all(text in half for half in found if half is not None))


def _missing(path: Path, begin: int, end: int, texts: Mapping[str, str]) -> Mapping[str, str] | None:
    """Those of `texts` that do not begin in the bytes from `begin` to `end`; None where an escape may hide one."""
    missing = texts
    longest = max(len(text.encode()) for text in (*texts, _ESCAPE))
    pattern = _pattern(missing)
    with path.open("rb") as stream:
        stream.seek(begin)
        left = end - begin + longest
        tail = b""
        while missing and (block := stream.read(min(_BLOCK, left))):
            left -= len(block)
            tail = tail[-longest:] + block
            if b"\\" in tail and _mentions(tail, ESCAPED_ASCII):
                return None
            if _mentions(tail, pattern):
                missing = {text: name for text, name in missing.items() if text.encode() not in tail}
                pattern = _pattern(missing)
    return missing


def _pattern(texts: Iterable[str]) -> str:
    return "|".join(map(re.escape, texts))


def _mentions(block: bytes, pattern: str) -> bool:
    """True when the pattern stands in the block: one pass in linear time, over bytes that need not be UTF-8."""
    ends = pa.py_buffer(array("q", [0, len(block)]))
    held = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(block)])
    return bool(pc.match_substring_regex(held, pattern=pattern)[0].as_py())


def lines_of(path: Path) -> Iterator[pl.Series]:
    """The non-blank lines of a file, some thousands at a time; bytes that are no UTF-8 are replaced."""
    rest = b""
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            whole, newline, rest_of_block = (rest + block).rpartition(b"\n")
            rest = rest_of_block
            if newline:
                yield _split(whole)
    if rest.strip():
        yield _split(rest)


def _split(block: bytes) -> pl.Series:
    text = block.decode("utf-8", errors="replace")
    lines = pl.Series([text]).str.split("\n").explode()
    return lines.filter(lines.str.contains(r"\S"))
