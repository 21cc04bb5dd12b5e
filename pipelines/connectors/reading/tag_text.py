"""Tags of a request as canonical JSON object text: string values, sorted keys, small scalars only.

What lives here: the one way in which log connectors write `tags`. What does not: which fields of a source are tags, and
the rules that read them (features.csv).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

import polars as pl

MAX_VALUE_LENGTH = 128
"""Longer values are dropped: a tag is an identifier, never a text."""


def tag_text(tags: Mapping[str, object]) -> str | None:
    """Canonical text of one set of tags; None when nothing is left after dropping NULLs, nested and long values."""
    kept: dict[str, str] = {}
    for name, value in tags.items():
        text = _scalar_text(value)
        if 0 < len(text) <= MAX_VALUE_LENGTH and 0 < len(name) <= MAX_VALUE_LENGTH:
            kept[name] = text
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if kept else None


def _scalar_text(value: object) -> str:
    """Text of a scalar as JSON would write it; empty for NULL, objects and lists."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else ""


def read_tags(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Canonical tags of JSON texts, and a mask of those that are neither NULL, empty nor a JSON object.

    A list of `{"key", "value"}` pairs (a Parquet map) is an object too. Each distinct text is parsed once.
    """
    distinct = texts.drop_nulls().unique()
    readings = [_reading(text) for text in distinct]
    known = pl.DataFrame(
        {"text": distinct, "tags": [tags for tags, _ in readings], "is_unreadable": [bad for _, bad in readings]},
        schema={"text": pl.String, "tags": pl.String, "is_unreadable": pl.Boolean},
    )
    joined = pl.DataFrame({"text": texts}).join(known, on="text", how="left", maintain_order="left")
    return joined["tags"], joined["is_unreadable"].fill_null(False)


def _reading(text: str) -> tuple[str | None, bool]:
    if not text.strip():
        return None, False
    try:
        value = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None, True
    if value is None:
        return None, False
    if isinstance(value, list):
        pairs = _pairs(value)
        return (None, True) if pairs is None else (tag_text(pairs), False)
    if not isinstance(value, dict):
        return None, True
    return tag_text(value), False


def _pairs(items: Iterable[object]) -> dict[str, object] | None:
    found: dict[str, object] = {}
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("key"), str):
            return None
        found[item["key"]] = item.get("value")
    return found


def tag_list_text(texts: pl.Series) -> pl.Series:
    """Canonical tags of JSON lists of strings: `team:search` and `env=prod` become keys, a bare word `tag_<place>`.

    Of two tags with one key the first stays. Text that is no list of strings gives NULL.
    """
    distinct = texts.drop_nulls().unique()
    known = pl.DataFrame(
        {"text": distinct, "tags": [_listed(text) for text in distinct]}, schema={"text": pl.String, "tags": pl.String}
    )
    return pl.DataFrame({"text": texts}).join(known, on="text", how="left", maintain_order="left")["tags"]


_KEYED = re.compile(r"\s*([^:=]{1,64}?)\s*[:=]\s*(.+?)\s*\Z", re.DOTALL)


def _listed(text: str) -> str | None:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(items, list):
        return None
    found: dict[str, object] = {}
    for place, item in enumerate(items, start=1):
        if isinstance(item, str):
            keyed = _KEYED.match(item)
            key, value = keyed.groups() if keyed else (f"tag_{place}", item.strip())
            found.setdefault(key, value)
    return tag_text(found)
