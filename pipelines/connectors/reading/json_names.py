"""Which names a JSON-lines file holds, and its lines as text: what can be known of a file without parsing it.

What lives here: one fast pass over the bytes. What does not: reading records (json_lines.py).
A shape that leaves out fields which stand nowhere in the file is read in half the time and memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

_BLOCK = 4 * 2**20
_SAMPLE = 2**18
ESCAPED_ASCII = r"\\u00[2-7]"
"""A letter written as an escape: a name may then stand there without being seen."""
_ESCAPES = tuple(f"\\u00{digit}" for digit in range(2, 8))


def names_in(path: Path, names: Iterable[str]) -> frozenset[str]:
    """Those of `names` that stand in the file in double quotes, anywhere; all of them when an escape may hide one.

    A name that only stands in some text counts too: that costs a little time and changes nothing.
    """
    wanted = frozenset(names)
    missing = {f'"{name}"': name for name in wanted}
    longest = max((len(text) for text in missing), default=0)
    with path.open("rb") as stream:
        tail = stream.read(_SAMPLE)
        while tail and missing:
            if _mentions(tail, [*missing, *_ESCAPES]):
                if any(escape.encode() in tail for escape in _ESCAPES):
                    return wanted
                missing = {text: name for text, name in missing.items() if text.encode() not in tail}
            block = stream.read(_BLOCK)
            tail = tail[-longest:] + block if block else b""
    return wanted - frozenset(missing.values())


def _mentions(block: bytes, texts: list[str]) -> bool:
    """True when one of the texts stands in the block; one pass for all of them."""
    held = pl.Series([block], dtype=pl.Binary).cast(pl.String, strict=False)
    if held.null_count():
        return True
    return bool(held.str.contains_any(texts).any())


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
