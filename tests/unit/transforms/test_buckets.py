"""Which export speaks for a bucket: newest and complete first, one grouping per bucket, no silent shrinking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl

from pipelines.transforms.buckets import Speakers, choose_speakers, export_name

DAY = datetime(2026, 9, 3, tzinfo=UTC)
SCHEMA = {
    "source": pl.String,
    "folder": pl.String,
    "provider": pl.String,
    "account": pl.String,
    "result_kind": pl.String,
    "bucket_start": pl.Datetime("us", "UTC"),
    "bucket_end": pl.Datetime("us", "UTC"),
    "landed_file": pl.String,
    "export": pl.String,
    "modified_ns": pl.Int64,
    "is_complete": pl.Boolean,
    "told": pl.Decimal(38, 12),
    "is_released": pl.Boolean,
}


def bucket(
    name: str,
    told: str = "4",
    *,
    after: int = 1,
    account: str = "p1",
    complete: bool = True,
    released: bool = False,
    start: datetime = DAY,
    hours: int = 24,
) -> tuple[object, ...]:
    """One bucket of the costs export `name`, written `after` days after it began."""
    written = int((DAY + timedelta(days=after)).timestamp()) * 10**9
    span = (start, start + timedelta(hours=hours))
    return (
        "openai_costs",
        "default",
        "openai",
        account,
        "cost",
        *span,
        name,
        name,
        written,
        complete,
        Decimal(told),
        released,
    )


def chosen(*rows: tuple[object, ...]) -> Speakers:
    return choose_speakers(pl.DataFrame(list(rows), schema=SCHEMA, orient="row"))


def files(frame: pl.DataFrame) -> list[str]:
    return sorted(frame["landed_file"])


def test_the_newest_export_speaks() -> None:
    assert files(chosen(bucket("old"), bucket("new", "5", after=2)).speaking) == ["new"]


def test_a_cut_short_fetch_never_replaces_a_complete_one() -> None:
    assert files(chosen(bucket("old"), bucket("new", after=2, complete=False)).speaking) == ["old"]


def test_an_older_day_gives_way_to_a_newer_hour_inside_it() -> None:
    assert files(chosen(bucket("day"), bucket("hour", after=2, hours=1)).speaking) == ["hour"]


def test_an_ungrouped_export_and_one_by_account_are_never_added() -> None:
    """The newer side speaks for the bucket, whichever it is."""
    older_whole = chosen(
        bucket("whole", account="*"), bucket("parts", "2", after=2), bucket("parts", "2", after=2, account="p2")
    )
    assert files(older_whole.speaking) == ["parts", "parts"]
    newer_whole = chosen(bucket("parts"), bucket("whole", after=2, account="*"))
    assert files(newer_whole.speaking) == ["whole"]


def test_an_ungrouped_export_keeps_the_days_that_no_grouped_one_covers() -> None:
    next_day = DAY + timedelta(days=1)
    found = chosen(bucket("whole", account="*"), bucket("whole", account="*", start=next_day), bucket("parts", after=2))
    assert [(row["landed_file"], row["bucket_start"]) for row in found.speaking.sort("bucket_start").to_dicts()] == [
        ("parts", DAY),
        ("whole", next_day),
    ]


def test_inside_the_look_back_window_a_bucket_may_shrink() -> None:
    """35 days after its end, at the latest, OpenAI still corrects downwards: 4 becomes 1."""
    found = chosen(bucket("old"), bucket("new", "1", after=36))
    assert (files(found.speaking), files(found.held)) == (["new"], [])


def test_after_the_window_an_export_that_loses_more_than_a_fifth_is_held() -> None:
    found = chosen(bucket("old"), bucket("new", "3.19", after=37))
    assert (files(found.speaking), files(found.held)) == (["old"], ["new"])


def test_after_the_window_a_loss_of_a_fifth_is_still_a_restatement() -> None:
    """3.20 of 4.00 are the 80% that must be left."""
    assert files(chosen(bucket("old"), bucket("new", "3.20", after=37)).speaking) == ["new"]


def test_a_released_export_speaks() -> None:
    found = chosen(bucket("old"), bucket("new", "1", after=90, released=True))
    assert (files(found.speaking), files(found.held)) == (["new"], [])


def test_a_newer_whole_export_replaces_the_held_one() -> None:
    found = chosen(bucket("old"), bucket("cut", "1", after=90), bucket("whole", "3.9", after=91))
    assert (files(found.speaking), files(found.held)) == (["whole"], ["cut"])


def test_accounts_that_a_later_grouped_export_lost_keep_the_ungrouped_bucket() -> None:
    """One project of 1.00 instead of the organisation's 4.00, long after the window: held, not applied."""
    found = chosen(bucket("whole", account="*"), bucket("one_project", "1", after=90))
    assert (files(found.speaking), files(found.held)) == (["whole"], ["one_project"])


def test_parts_of_one_export_share_its_name() -> None:
    assert export_name("a/costs-00001.csv.gz") == export_name("a/costs-00002.csv.gz") == "a/costs.csv.gz"
