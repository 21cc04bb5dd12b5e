"""Requests with global keys: every telling of a call, on whatever day, belongs to the day on which the call was first
seen.

What lives here: the index of those days (core__request_days, one partition per source). What does not: sending rows
there (days.py), merging a day (day_merge.py). Agent logs tell one call again in every session that was resumed or
branched from it.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pipelines.core.known_rows import LOST
from pipelines.lake import Lake
from pipelines.transforms.canonical_rows import ROWS_SCHEMA
from pipelines.transforms.deduplication import KEY

INDEX = "core__request_days"
_DAY = "usage_date"


class RequestHomes:
    """The days of one source's calls, before and after what the rows at hand tell."""

    def __init__(self, lake: Lake, source: str, afresh: set[str]) -> None:
        """afresh: days that are rebuilt from raw files; what was known of their calls is told again by those files."""
        self._lake = lake
        self._source = source
        known = lake.read(INDEX, source)
        empty = pl.DataFrame(schema={name: ROWS_SCHEMA[name] for name in (*KEY, _DAY)})
        self._known = empty if known is None else known.filter(~pl.col(_DAY).cast(pl.String).is_in(sorted(afresh)))
        self._index = self._known

    def find(self, told: pl.DataFrame, left_behind: pl.DataFrame) -> pl.Series:
        """The day that each row of `told` belongs to.

        told: KEY and `usage_date` of rows at hand. left_behind: the same of rows on days afresh whose raw files are
        gone; they stay where they are.
        """
        first = pl.concat([self._known, left_behind, told.select(self._known.columns)])
        self._index = first.group_by(KEY).agg(pl.col(_DAY).min())
        return told.select(KEY).join(self._index, on=KEY, how="left", maintain_order="left")[_DAY]

    def moves(self) -> Mapping[str, pl.DataFrame]:
        """Day → KEY and new `usage_date` of calls that were known there and turned out to be older."""
        both = self._known.join(self._index, on=KEY, suffix="_new").filter(pl.col(f"{_DAY}_new") < pl.col(_DAY))
        return {
            str(day): keys.select(*KEY, pl.col(f"{_DAY}_new").alias(_DAY))
            for (day,), keys in both.partition_by(_DAY, as_dict=True).items()
        }

    def rows_to_move(self, day: str, keys: pl.DataFrame) -> pl.DataFrame:
        """The rows of the source that leave `day`, accepted or lost, with the day that they go to."""
        found = []
        for table in ("core__usage", LOST):
            held = self._lake.read(table, day)
            if held is not None:
                mine = held.filter(pl.col("source") == self._source).drop(_DAY).join(keys, on=KEY)
                absent = [pl.lit(None, dtype=ROWS_SCHEMA[n]).alias(n) for n in ROWS_SCHEMA if n not in mine.columns]
                found.append(mine.with_columns(absent).select(list(ROWS_SCHEMA)))
        return pl.concat(found) if found else pl.DataFrame(schema=ROWS_SCHEMA)

    def save(self) -> None:
        """Write the index, after all days were written: until then a killed merge starts from the old one."""
        if self._index is not self._known:
            self._lake.write(INDEX, self._source, self._index.sort(*KEY), None)
