"""Asking the sentences: on the lake, on CURRENT, and what no query can ask."""

from __future__ import annotations

import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest

from pipelines.contracts.dictionary import contract_of
from pipelines.inspection import check_run
from pipelines.inspection.check_run import (
    checks_on_lake,
    false_sentences_about_marts,
    lake_promises,
    run_all_checks,
)
from pipelines.lake import Lake, write_parquet
from pipelines.publish.staging import Staged
from pipelines.settings import Settings
from pipelines.sqlmodel import load_checks
from tests.unit.inspection.small_home import call, settings_of, take_in

ABOUT_MARTS = {name for name, check in load_checks().items() if all(t.startswith("mart__") for t in check.inputs)}


@pytest.fixture
def copied_home(built_home: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(built_home.home, tmp_path / "home", symlinks=True)
    return settings_of(tmp_path / "home")


def test_every_sentence_is_asked_of_the_lake_and_those_about_marts_of_current_too(built_home: Settings) -> None:
    outcomes = run_all_checks(built_home)
    asked = {(outcome.asked_of, outcome.name) for outcome in outcomes}
    assert {name for place, name in asked if place == "CURRENT"} == ABOUT_MARTS
    assert set(load_checks()) < {name for place, name in asked if place == "lake"}


def test_a_home_in_order_has_no_false_sentence_that_must_be_true(built_home: Settings) -> None:
    outcomes = run_all_checks(built_home)
    assert [outcome.name for outcome in outcomes if outcome.stops_publishing] == []


def test_what_the_small_home_warns_of_is_shown_with_a_sample(built_home: Settings) -> None:
    """nothing.jsonl is rejected. 0.0014 of 0.0214 dollars and 550 of 11,650 tokens are unattributed: below 20%."""
    warned = {o.name: o for o in run_all_checks(built_home) if not o.is_true and o.asked_of == "lake"}
    assert set(warned) == {"no_landed_file_is_rejected"}
    assert warned["no_landed_file_is_rejected"].sample == (
        {"source": "response_log", "account": "default", "rejected_files": 1},
    )


def test_before_the_first_publish_only_the_lake_is_asked(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    outcomes = run_all_checks(settings)
    assert {outcome.asked_of for outcome in outcomes} == {"lake"}
    assert all(outcome.is_true for outcome in outcomes)


def test_what_was_found_true_is_not_asked_again_until_its_tables_change(
    copied_home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of __unlogged__ leaves the daily mart: its month is asked again, and again, until it is put right."""
    lake, table, checks = Lake(copied_home.lake), "mart__feature_cost_daily", load_checks()
    checks_on_lake(copied_home, checks)
    with monkeypatch.context() as patch:
        patch.setattr(check_run, "shared_session", lambda _settings: pytest.fail("nothing changed"))
        true = {name: check for name, check in checks.items() if name != "no_landed_file_is_rejected"}
        assert all(outcome.is_true for outcome in checks_on_lake(copied_home, true))
    whole = lake.read(table, "2026-11")
    assert whole is not None
    lake.write(table, "2026-11", whole.filter(pl.col("feature") != "__unlogged__"), contract_of(table))
    for _ in range(2):
        false = {outcome.name for outcome in checks_on_lake(copied_home, checks) if outcome.stops_publishing}
        assert "months_are_the_sum_of_their_days" in false
    lake.write(table, "2026-11", whole, contract_of(table))
    assert not [outcome for outcome in checks_on_lake(copied_home, checks) if outcome.stops_publishing]


def test_a_mart_that_lost_a_row_is_caught(copied_home: Settings) -> None:
    """The row of __unlogged__ (0.0052) is taken out of both daily tables: bytes, bill and months no longer agree."""
    for table in ("int__feature_cost_daily", "mart__feature_cost_daily"):
        path = Lake(copied_home.lake).path(table, "2026-11")
        write_parquet(pl.read_parquet(path).filter(pl.col("feature") != "__unlogged__"), path)
    false = {o.name: o for o in run_all_checks(copied_home) if o.stops_publishing}
    assert set(false) >= {
        "every_partition_is_the_file_that_the_index_knows",
        "every_counted_bill_line_is_allocated",
        "months_are_the_sum_of_their_days",
    }
    (row,) = false["every_counted_bill_line_is_allocated"].sample
    assert (row["bill_lines_usd"], row["allocated_usd"]) == (Decimal("0.02"), Decimal("0.0148"))


def test_a_partition_without_its_file_is_caught(copied_home: Settings) -> None:
    lake = Lake(copied_home.lake)
    lake.path("core__quarantine", next(iter(lake.partitions("core__quarantine")))).unlink()
    files, _ = lake_promises(lake)
    assert (files.failed_rows, files.sample[0]["found"]) == (1, "no file")


def test_a_call_that_counts_on_two_days_is_caught(tmp_path: Path) -> None:
    """r1 is written into the days of 1 and 5 November, too far apart for the merge of neighbouring days to see."""
    settings = settings_of(tmp_path / "home")
    folder = settings.landing / "response_log"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text(call("r1", "2026-11-01T12:00:00Z", 1, 1) + call("r2", "2026-11-02T12:00:00Z", 1, 1))
    take_in(settings)
    assert lake_promises(Lake(settings.lake))[1].is_true
    (folder / "b.jsonl").write_text(call("r1", "2026-11-05T12:00:00Z", 1, 1))
    take_in(settings)
    _, once = lake_promises(Lake(settings.lake))
    assert once.sample == ({"provider": "openai", "first_day": "2026-11-01", "last_day": "2026-11-05"},)


def test_the_publisher_hears_false_sentences_of_severity_fail_only(built_home: Settings) -> None:
    """Marts with a negative count and an unpriced model: the first stops a publish, the second is a warning."""
    with duckdb.connect() as connection:
        for table in sorted(
            {name for check in load_checks().values() for name in check.inputs if name.startswith("mart__")}
        ):
            files = [str(path) for path in sorted((built_home.lake / table).glob("*.parquet"))]
            connection.execute(f"CREATE TABLE {table} AS SELECT * FROM read_parquet({files})")
        staged = Staged(connection, {}, {})
        assert false_sentences_about_marts(staged) == []
        connection.execute("UPDATE mart__feature_cost_daily SET requests = -1 WHERE feature = 'chat'")
        connection.execute("INSERT INTO mart__unpriced_usage (provider, model) VALUES ('openai', 'gpt-9')")
        (sentence,) = false_sentences_about_marts(staged)
    assert sentence == f"not true: {load_checks()['no_token_count_is_negative'].title} (1 rows)"


def test_a_sentence_that_cannot_be_asked_counts_as_false(copied_home: Settings) -> None:
    """A damaged file: the sentences about it are false, the others are asked all the same, and no path leaks."""
    Lake(copied_home.lake).path("mart__data_status", "all").write_bytes(b"damaged")
    outcomes = {o.name: o for o in run_all_checks(copied_home) if o.asked_of == "lake"}
    assert outcomes["no_landed_file_is_rejected"].failed_rows == 1
    assert "cannot be asked" in outcomes["no_landed_file_is_rejected"].sample[0]
    assert outcomes["no_token_count_is_negative"].is_true
    assert str(copied_home.home) not in str(outcomes)


def test_a_sentence_about_months_reads_the_months_rows_of_a_table_that_is_not_cut(copied_home: Settings) -> None:
    """The daily mart gets other bytes for the same rows of a month: that month, beside all of the monthly mart, would
    look as if days were missing. Then a month changes in the monthly mart alone, and is asked alone."""
    checks = {"months_are_the_sum_of_their_days": load_checks()["months_are_the_sum_of_their_days"]}
    lake = Lake(copied_home.lake)
    daily, monthly = "mart__feature_cost_daily", "mart__feature_cost_monthly"
    (month,) = lake.partitions(daily)
    days, months = lake.read(daily, month), lake.read(monthly, "all")
    assert days is not None
    assert months is not None
    january = months.with_columns(pl.lit("2026-01").alias("month"))
    lake.write(daily, "2026-01", days.with_columns(pl.lit(date(2026, 1, 5)).alias("usage_date")), contract_of(daily))
    lake.write(monthly, "all", pl.concat([january, months]), contract_of(monthly))
    assert checks_on_lake(copied_home, checks)[0].is_true
    lake.write(daily, month, days.reverse(), contract_of(daily))
    assert checks_on_lake(copied_home, checks)[0].is_true
    more = january.with_columns(pl.col("total_tokens") + 1)
    lake.write(monthly, "all", pl.concat([more, months]), contract_of(monthly))
    (wrong,) = checks_on_lake(copied_home, checks)
    assert {row["month"] for row in wrong.sample} == {"2026-01"}
    assert wrong.failed_rows == 1
