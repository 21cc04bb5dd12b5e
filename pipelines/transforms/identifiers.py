"""Keeping people and secrets out of the lake: keyed hashes of user ids, scrubbing of every other identifier.

What lives here: what may not be stored, and what stands in its place. What does not: which columns a source has.
A hash is `h_` + 24 hex digits of HMAC-SHA256 with the home's key: stable inside one home, worthless outside.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from functools import lru_cache

import polars as pl

LONGEST_IDENTIFIER = 128
_PROBE_ROWS = 1_000

_EMAIL = r"[^\s@\"]+@[^\s@\"]+\.[^\s@\"]+"
_SECRETS = (
    r"\b(?:sk|rk|pk)-[A-Za-z0-9_\-]{12,}",
    r"\bAKIA[0-9A-Z]{12,}",
    r"\bAIza[0-9A-Za-z_\-]{20,}",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\bxox[abprs]-[A-Za-z0-9\-]{10,}",
    r"\beyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]+",
    r"(?i)\bbearer\s+\S+",
)
SENSITIVE = "|".join([_EMAIL, *_SECRETS])
"""An e-mail address or a credential, wherever it stands in an identifier."""


@lru_cache(maxsize=500_000)
def keyed_hash(value: str, key: bytes) -> str:
    """The stand-in for one value."""
    return "h_" + hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:24]


def hash_column(frame: pl.DataFrame, column: str, key: bytes) -> pl.DataFrame:
    """`frame` with every value of `column` replaced by its keyed hash; values that are hashes already stay.

    Each distinct value is hashed once.
    """
    values = frame[column].drop_nulls().unique()
    fresh = values.filter(~values.str.contains(r"^h_[0-9a-f]{24}$"))
    return _replace(frame, column, {value: keyed_hash(value, key) for value in fresh})


def scrub_column(frame: pl.DataFrame, column: str, key: bytes) -> pl.DataFrame:
    """`frame` with e-mail addresses, credentials and over-long text in `column` replaced by keyed hashes."""
    if frame[column].dtype != pl.String:
        return frame
    return _replace(frame, column, {value: keyed_hash(value, key) for value in _suspects(frame[column])})


def scrub_tags(frame: pl.DataFrame, key: bytes) -> pl.DataFrame:
    """`frame` with the values (and keys) inside the JSON object text `tags` scrubbed like identifiers."""
    return _replace(frame, "tags", {text: _scrubbed_tags(text, key) for text in _suspects(frame["tags"])})


def _suspects(values: pl.Series) -> pl.Series:
    """The distinct values that may not be stored. Repeated ones are looked at once, and lengths in bytes come first."""
    if values.null_count() == len(values):
        return values.clear()
    if values.head(_PROBE_ROWS).n_unique() < _PROBE_ROWS // 2:
        values = values.unique()
    is_suspect = values.str.contains(SENSITIVE)
    if (values.str.len_bytes().max() or 0) > LONGEST_IDENTIFIER:  # type: ignore[operator]
        is_suspect = is_suspect | (values.str.len_chars() > LONGEST_IDENTIFIER)
    return values.filter(is_suspect).drop_nulls().unique() if is_suspect.any() else values.clear()


def _scrubbed_tags(text: str, key: bytes) -> str | None:
    try:
        tags = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(tags, dict):
        return None
    pattern = pl.Series([*map(str, tags), *map(str, tags.values())], dtype=pl.String)
    flagged = dict(
        zip(pattern, pattern.str.contains(SENSITIVE) | (pattern.str.len_chars() > LONGEST_IDENTIFIER), strict=True)
    )

    def safe(value: str) -> str:
        return keyed_hash(value, key) if flagged[value] else value

    return json.dumps(
        {safe(str(k)): safe(str(v)) for k, v in sorted(tags.items())}, separators=(",", ":"), sort_keys=True
    )


def _replace(frame: pl.DataFrame, column: str, new: dict[str, str] | dict[str, str | None]) -> pl.DataFrame:
    if not new:
        return frame
    return frame.with_columns(pl.col(column).replace(list(new), list(new.values())))
