"""JSON that is kept as text inside another record: read by an explicit shape, like json_lines.py reads files.

What lives here: `read_json_texts`. What does not: what the fields mean. Fields that the shape does not name are never
materialised.
"""

from __future__ import annotations

import json

import duckdb
import polars as pl

from pipelines.connectors.json_lines import Shape

_TRANSFORM = """
WITH parsed AS (SELECT place, trim(text) AS text, try_cast(text AS JSON) AS document FROM texts)
SELECT
    json_transform(document, $shape) AS value,
    coalesce(text <> '' AND coalesce(json_type(document) NOT IN ('OBJECT', 'NULL'), true), false) AS is_bad
FROM parsed
ORDER BY place
"""


def read_json_texts(texts: pl.Series, shape: Shape) -> tuple[pl.DataFrame, pl.Series]:
    """One column per field of `shape`, one row per text, and a mask of texts that are neither empty nor a JSON object.

    A value of the wrong type reads as NULL, as does everything in an empty or bad text.
    """
    frame = pl.DataFrame({"place": pl.int_range(len(texts), eager=True), "text": texts.cast(pl.String)})
    with duckdb.connect() as session:
        session.register("texts", frame.with_columns(pl.col("text").replace("", None)).to_arrow())
        read = session.sql(_TRANSFORM, params={"shape": json.dumps(shape)}).pl()
    fields = [pl.col("value").struct.field(name) for name in shape]
    return read.select(fields), read["is_bad"]
