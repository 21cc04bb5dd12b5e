"""Which file speaks for a provider bucket: the newest export that covers it, never two of them added.

What lives here: choosing among overlapping exports of provider usage and bills. What does not: parsing them.

- An export is one file, or the numbered parts of one (`…-00001.csv`, `…_part2.csv`). Within one scope (source, folder,
  provider, account, kind of result) the newest export that touches a bucket replaces all older ones there, also when it
  holds nothing for it. Newest is by modification time of the file, then by path.
- A complete bucket is replaced by a complete fetch only.
- An export that was not grouped by account (`*`) and one that was tell the same money: per bucket the newer speaks.
- Shrink hold: where the provider's look-back window was over when an export was written, and it tells less than
  LEAST_SHARE of what the complete bucket told before, it is held: the older one goes on speaking. A filtered export, or
  a fetch that lost pages, looks just like that. Credits do not count: they are lines of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from pipelines.transforms.look_back import look_back_days

SCOPE = ("source", "folder", "provider", "account", "result_kind")
LEAST_SHARE = Decimal("0.8")
ANY_ACCOUNT = "*"

_PART = re.compile(r"(?:[-_.]part[-_]?\d+|-\d{5})(?=(?:\.[a-z0-9]+)*$)", re.IGNORECASE)
_WITHOUT_ACCOUNT = [name for name in SCOPE if name != "account"]
_SPAN = ["bucket_start", "bucket_end"]
_Row = Mapping[str, Any]


@dataclass(frozen=True)
class Speakers:
    """`speaking`: rows of the input whose file speaks for them; `held`: rows that would have, but shrink too much."""

    speaking: pl.DataFrame
    held: pl.DataFrame


def export_name(relative_path: str) -> str:
    """The path without a part number: parts of one export share it."""
    return _PART.sub("", relative_path)


def choose_speakers(buckets: pl.DataFrame) -> Speakers:
    """Who speaks for every bucket.

    buckets: SCOPE, `bucket_start`, `bucket_end`, `landed_file`, `export`, `modified_ns` (of the export's newest file),
    `is_complete`, `told` (what the file tells for it: positive amounts of a bill, tokens of usage, ≥ 0), `is_released`.
    Buckets of other width overlap too: an older day bucket gives way to a newer hour bucket inside it.
    """
    if not len(buckets):
        return Speakers(buckets, buckets)
    kept, held = [buckets.clear()], [buckets.clear()]
    for _, scope in buckets.sort(*SCOPE).group_by(SCOPE, maintain_order=True):
        shrinking = _shrinking(scope)
        held.append(shrinking)
        kept.append(_newest_first(scope.join(shrinking, on=["export", *_SPAN], how="anti")))
    speaking = pl.concat(kept)
    groups = [_one_grouping(group) for _, group in speaking.group_by(_WITHOUT_ACCOUNT, maintain_order=True)]
    return Speakers(
        pl.concat([buckets.clear(), *(group.speaking for group in groups)]),
        pl.concat([*held, *(group.held for group in groups)]),
    )


def _newest_first(scope: pl.DataFrame) -> pl.DataFrame:
    """Complete buckets before cut-short ones (only a complete fetch replaces a complete one), then newest first."""
    exports = scope.group_by("is_complete", "export").agg(pl.col("modified_ns").max())
    if len(exports) <= 1:
        return scope
    exports = exports.sort(["is_complete", "modified_ns", "export"], descending=True)
    taken = scope.clear()
    for is_complete, export in exports.select("is_complete", "export").iter_rows():
        mine = scope.filter((pl.col("export") == export) & (pl.col("is_complete") == is_complete))
        if len(taken):
            mine = mine.join(_overlapped(mine, taken), on=_SPAN, how="anti")
        taken = pl.concat([taken, mine])
    return taken


def _overlapped(mine: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    spans = taken.select(pl.col("bucket_start").alias("taken_start"), pl.col("bucket_end").alias("taken_end")).unique()
    own = mine.select(_SPAN).unique()
    return (
        own.join_where(
            spans, pl.col("bucket_start") < pl.col("taken_end"), pl.col("taken_start") < pl.col("bucket_end")
        )
        .select(_SPAN)
        .unique()
    )


def _shrinking(scope: pl.DataFrame) -> pl.DataFrame:
    """Rows of one scope that would shrink a settled bucket: complete exports of the same span, oldest first."""
    complete = scope.filter("is_complete")
    several = complete.filter(pl.col("export").n_unique().over(_SPAN) > 1)
    if several.is_empty():
        return scope.clear()
    told = (
        several.group_by("source", *_SPAN, "modified_ns", "export")
        .agg(pl.col("told").sum(), pl.col("is_released").any())
        .sort(*_SPAN, "modified_ns", "export")
    )
    held: list[tuple[str, datetime, datetime]] = []
    standing: _Row | None = None
    for row in told.iter_rows(named=True):
        if (
            standing is None
            or standing["bucket_start"] != row["bucket_start"]
            or standing["bucket_end"] != row["bucket_end"]
        ):
            standing = row
        elif _shrinks(standing["told"], row["told"], [row]):
            held.append((row["export"], row["bucket_start"], row["bucket_end"]))
        else:
            standing = row
    key = {
        "export": pl.String(),
        "bucket_start": scope.schema["bucket_start"],
        "bucket_end": scope.schema["bucket_end"],
    }
    return scope.join(pl.DataFrame(held, schema=key, orient="row"), on=list(key), how="semi")


def _shrinks(before: Decimal, after: Decimal, newer: Sequence[_Row]) -> bool:
    """Whether `newer` rows (one side of one bucket) tell too little, too late, without a release."""
    if before <= 0 or after >= before * LEAST_SHARE or any(row["is_released"] for row in newer):
        return False
    first = newer[0]
    settled = max(row["bucket_end"] for row in newer) + timedelta(days=look_back_days(first["source"]))
    return bool(max(row["modified_ns"] for row in newer) > settled.timestamp() * 10**9)


def _one_grouping(group: pl.DataFrame) -> Speakers:
    """Of one source, folder, provider and kind: never an ungrouped bucket beside a grouped one that overlaps it."""
    is_whole = group["account"] == ANY_ACCOUNT
    if not is_whole.any() or is_whole.all():
        return Speakers(group, group.clear())
    numbered = group.with_row_index("_row")
    rows = list(numbered.iter_rows(named=True))
    silent: set[int] = set()
    held: set[int] = set()
    for whole in (row for row in rows if row["account"] == ANY_ACCOUNT):
        parts: list[_Row] = [row for row in rows if row["account"] != ANY_ACCOUNT and _overlap(row, whole)]
        if not parts:
            continue
        sides: list[list[_Row]] = [[whole], [*parts]]
        older, newer = sorted(sides, key=lambda side: max(map(_age, side)))
        is_held = all(row["is_complete"] for row in older) and _shrinks(_told(older), _told(newer), newer)
        silent |= {row["_row"] for row in (newer if is_held else older)}
        held |= {row["_row"] for row in newer} if is_held else set()
    left = pl.col("_row")
    return Speakers(
        numbered.filter(~left.is_in(sorted(silent))).drop("_row"),
        numbered.filter(left.is_in(sorted(held))).drop("_row"),
    )


def _overlap(one: _Row, other: _Row) -> bool:
    return bool(one["bucket_start"] < other["bucket_end"] and other["bucket_start"] < one["bucket_end"])


def _age(row: _Row) -> tuple[bool, int, str]:
    return row["is_complete"], row["modified_ns"], row["export"]


def _told(side: Sequence[_Row]) -> Decimal:
    return sum((row["told"] for row in side), Decimal(0))
