"""JSON that is kept as text inside another record: read by an explicit shape, like json_lines.py reads files.

What lives here: `read_json_texts`. What does not: what the fields mean. Fields that the shape does not name are never
materialised.
"""

from __future__ import annotations

import json

import duckdb
import polars as pl

from pipelines.connectors.reading.json_lines import Shape

_CLEAN = "SELECT json_transform(text, $shape) AS value FROM texts ORDER BY place"
_SAFE = """
SELECT json_transform(try_cast(text AS JSON), $shape) AS value
FROM texts
ORDER BY place
"""
_IS_BAD = """
SELECT coalesce(json_type(try_cast(text AS JSON)) NOT IN ('OBJECT', 'NULL'), true) AS is_bad
FROM texts
ORDER BY place
"""


def read_json_texts(texts: pl.Series, shape: Shape) -> tuple[pl.DataFrame, pl.Series]:
    """One column per field of `shape`, one row per text, and a mask of texts that are neither empty nor a JSON object.

    A value of the wrong type reads as NULL, as does everything in an empty or bad text. Texts are parsed once while all
    are JSON, and a second time with a check of each when one is not.
    """
    text = texts.cast(pl.String).str.strip_chars()
    frame = pl.DataFrame({"place": pl.int_range(len(texts), eager=True), "text": text.set(text == "", None)})
    params = {"shape": json.dumps(shape)}
    with duckdb.connect() as session:
        session.register("texts", frame.to_arrow())
        try:
            value = session.sql(_CLEAN, params=params).pl()["value"]
        except (duckdb.Error, UnicodeDecodeError):
            value = session.sql(_SAFE, params=params).pl()["value"]
        is_odd = value.is_null() | ~frame["text"].str.starts_with("{")
        doubtful = frame.filter(is_odd & frame["text"].is_not_null())
        is_bad = pl.Series("is_bad", [False]).new_from_index(0, len(texts))
        if len(doubtful):
            session.register("texts", doubtful.to_arrow())
            is_bad = is_bad.scatter(doubtful["place"], session.sql(_IS_BAD).pl()["is_bad"])
    return pl.DataFrame({name: value.struct.field(name) for name in shape}), is_bad
