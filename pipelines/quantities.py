"""Money, tokens and rounding: the arithmetic that everything else relies on.

What lives here: names of the token leaves, exact decimal parsing, pico-dollars, largest remainder.
What does not: prices (transforms/price_book.py), allocation rules (sql/), any engine.
Rules: docs/methodology.md; nothing here knows a float.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

USD_SCALE = 12
UNIT_PRICE_SCALE = 18
"""Digits kept of a price for one unit (a token, a search), so that price ÷ per_units stays exact."""

INPUT_LEAVES: tuple[str, ...] = (
    "input_uncached",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "cache_write_30m",
    "cache_write_12h",
    "cache_write_unknown",
    "input_tool_use",
    "embedding_input",
    "input_audio",
    "input_image",
    "input_video",
    "cache_read_audio",
)
OUTPUT_LEAVES: tuple[str, ...] = ("output", "output_audio", "output_image")
LEAVES: tuple[str, ...] = INPUT_LEAVES + OUTPUT_LEAVES
"""Disjoint token classes: every token stands in exactly one leaf and is priced once."""

CACHE_READ_LEAVES: tuple[str, ...] = ("cache_read", "cache_read_audio")
CACHE_WRITE_LEAVES: tuple[str, ...] = (
    "cache_write_5m",
    "cache_write_1h",
    "cache_write_30m",
    "cache_write_12h",
    "cache_write_unknown",
)

LEAF_COLUMNS: tuple[str, ...] = tuple(f"{leaf}_tokens" for leaf in LEAVES)
INPUT_LEAF_COLUMNS: tuple[str, ...] = tuple(f"{leaf}_tokens" for leaf in INPUT_LEAVES)
OUTPUT_LEAF_COLUMNS: tuple[str, ...] = tuple(f"{leaf}_tokens" for leaf in OUTPUT_LEAVES)
TOKEN_COLUMNS: tuple[str, ...] = (*LEAF_COLUMNS, "reasoning_tokens")
"""All leaves, and `reasoning_tokens`, which is a subset of output and never priced on its own."""

METERS: tuple[str, ...] = (
    "web_search_requests",
    "web_fetch_requests",
    "file_search_requests",
    "code_execution_seconds",
    "images",
    "audio_seconds",
    "characters",
)
"""Non-token meters that one request can report; a price row names the meter as its component."""

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?\Z")


def parse_decimal(text: str) -> Decimal:
    """An exact Decimal from text such as `123.45`, `-0.1`, `1e-7`, ` 0.00 `.

    Raises ValueError for anything else: empty text, NaN, infinities, thousands separators, digits of other scripts.
    """
    stripped = text.strip()
    if not stripped.isascii() or not _DECIMAL.match(stripped):
        raise ValueError(f"not a decimal number: {text!r}")
    return Decimal(stripped)


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Share `total` out in proportion to `weights`, in integers, so that the shares sum to `total` exactly.

    Each share is the floor of its exact part; what is left goes, one unit each, to the largest remainders, and among
    equals to the earlier position (callers sort by name first). A negative total shares its absolute value.
    Raises ValueError when weights are negative or all zero. Source: docs/methodology.md.
    """
    if any(weight < 0 for weight in weights):
        raise ValueError("weights must not be negative")
    whole = sum(weights)
    if whole == 0:
        raise ValueError("at least one weight must be positive")
    sign, amount = (-1, -total) if total < 0 else (1, total)
    shares = [amount * weight // whole for weight in weights]
    remainders = [amount * weight % whole for weight in weights]
    left = amount - sum(shares)
    for position in sorted(range(len(weights)), key=lambda i: (-remainders[i], i))[:left]:
        shares[position] += 1
    return [sign * share for share in shares]
