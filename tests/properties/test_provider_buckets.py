"""A bucket of a provider is told by one export: the newest complete one, never a sum, never one that shrinks it late.

What lives here: random exports of one scope each through transforms/buckets.choose_speakers, against plain
dictionaries. What does not: buckets of other width and exports that differ in grouping, which are worked by hand
(tests/unit/transforms/test_buckets.py), rows in the lake (tests/integration/test_close_and_restate.py).
8 batches of 150 scopes: 1,200 scopes, about 10,000 told buckets.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import polars as pl

from pipelines.transforms.buckets import choose_speakers
from tests.properties.models import many_cases

DAY = datetime(2026, 9, 1, tzinfo=UTC)
WINDOW = 35
"""Days after a bucket's end in which OpenAI may still restate it."""
SCHEMA = {
    "source": pl.String, "folder": pl.String, "provider": pl.String, "account": pl.String, "result_kind": pl.String,
    "bucket_start": pl.Datetime("us", "UTC"), "bucket_end": pl.Datetime("us", "UTC"), "landed_file": pl.String,
    "export": pl.String, "modified_ns": pl.Int64, "is_complete": pl.Boolean, "told": pl.Decimal(38, 12),
    "is_released": pl.Boolean,
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What one export tells of one day's bucket, in cents."""

    export: str
    written: int
    day: int
    is_complete: bool
    cents: int
    is_released: bool


def drawn_scope(draw: Random) -> list[Told]:
    told = []
    for number in range(draw.randint(1, 5)):
        written = draw.choice((1, 2, 2, 37, 38, 60, 90))
        is_released = draw.random() < 0.1
        for day in draw.sample(range(5), draw.randint(1, 4)):
            cents = draw.choice((0, 79, 80, 81, 100, 100, 120, 64))
            told.append(Told(f"e{number}", written, day, draw.random() < 0.75, cents, is_released))
    return told


def speaker(told: list[Told], day: int) -> tuple[str | None, set[str]]:
    """Who speaks for a day, and who is held. Exports are asked from the oldest on."""
    mine = sorted((one for one in told if one.day == day), key=lambda one: (one.written, one.export))
    standing: Told | None = None
    held: set[str] = set()
    for one in (one for one in mine if one.is_complete):
        is_late = one.written > day + 1 + WINDOW
        shrinks = standing is not None and standing.cents > 0 and one.cents * 100 < standing.cents * 80
        if shrinks and is_late and not one.is_released:
            held.add(one.export)
        else:
            standing = one
    if standing is None and any(not one.is_complete for one in mine):
        standing = [one for one in mine if not one.is_complete][-1]
    return (standing.export if standing else None), held


@many_cases(8)
def test_each_bucket_is_told_once_by_its_newest_complete_export(draw: Random) -> None:
    scopes = {f"p{number}": drawn_scope(draw) for number in range(150)}
    rows = [
        ("openai_costs", "default", "openai", account, "cost", DAY + timedelta(days=one.day),
         DAY + timedelta(days=one.day + 1), one.export, one.export,
         int((DAY + timedelta(days=one.written)).timestamp()) * 10**9, one.is_complete,
         Decimal(one.cents) / 100, one.is_released)
        for account, told in scopes.items()
        for one in told
    ]  # fmt: skip
    draw.shuffle(rows)
    chosen = choose_speakers(pl.DataFrame(rows, schema=SCHEMA, orient="row"))
    speaking: dict[tuple[str, int], list[str]] = {}
    for account, start, export in chosen.speaking.select("account", "bucket_start", "export").iter_rows():
        speaking.setdefault((account, (start - DAY).days), []).append(export)
    held = {
        (account, (start - DAY).days, export)
        for account, start, export in chosen.held.select("account", "bucket_start", "export").iter_rows()
    }
    for account, told in scopes.items():
        for day in {one.day for one in told}:
            expected, kept_back = speaker(told, day)
            assert speaking.get((account, day), []) == ([] if expected is None else [expected]), (told, day)
            assert {export for known, when, export in held if (known, when) == (account, day)} == kept_back, (told, day)
