"""A month is closed, and what comes afterwards is a correction with a cause: closed + adjustments = recomputed.

What lives here: closing, late and restated bills, credits after the close, as-of, the journal of restatements. What
does not: faults inside an open month (tests/faults/test_fault_naming.py).
The month is that of small_month.py: $24.00 of OpenAI and $18.60 of Anthropic over six days, $42.60 in all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.errors import CloseRefusedError, UsageError
from pipelines.history.closing import close_month, closed_months, reasons_against
from pipelines.inspection.check_run import checks_on_lake
from pipelines.lake import Lake, file_sha256
from pipelines.publish.snapshot import snapshot_at
from pipelines.settings import Settings
from pipelines.sqlmodel import load_checks
from tests.integration.nights import built, home_settings, land, night, published, refer
from tests.integration.small_month import (
    DAYS,
    MONTH,
    OPENAI_LINES,
    PRICES,
    day_of_calls,
    openai_call,
    openai_costs,
    prices,
    whole_month,
)

FIRST_NIGHT = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def published_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("published")
    whole_month(home)
    night(home_settings(home))
    return home


@pytest.fixture
def home(published_home: Path, tmp_path: Path) -> Path:
    target = tmp_path / "home"
    shutil.copytree(published_home, target, symlinks=True)
    return target


def on_day(home: Path, day: int) -> Settings:
    """The settings of a later night: 22 November is the first."""
    return home_settings(home, datetime(2026, 11, day, 12, tzinfo=UTC))


def rows(settings: Settings, sql: str) -> list[dict[str, Any]]:
    with published(settings) as marts:
        return marts.sql(sql).pl().to_dicts()


def restated(settings: Settings) -> list[tuple[str, str, Decimal, Decimal, Decimal]]:
    found = rows(
        settings,
        "select feature, cause, before_usd, after_usd, delta_usd from mart__restatements"
        " order by restated_at, cause, feature",
    )
    return [tuple(row.values()) for row in found]  # type: ignore[misc]


def close_and_publish(settings: Settings) -> None:
    close_month(settings, MONTH)
    night(settings)


def with_line(day: date, *extra: tuple[str | None, str], changed: Mapping[str, str] | None = None) -> str:
    """The bill of the month with lines added on one day, or amounts of lines changed."""
    lines = tuple((item, (changed or {}).get(item, usd)) for item, usd in OPENAI_LINES)
    return openai_costs({**dict.fromkeys(DAYS, OPENAI_LINES), day: (*lines, *extra)})


def all_checks_hold(settings: Settings) -> None:
    checks = {name: check for name, check in load_checks().items() if check.severity == "fail"}
    wrong = [(outcome.title, outcome.sample) for outcome in checks_on_lake(settings, checks) if not outcome.is_true]
    assert not wrong


def test_a_month_that_ties_out_is_frozen_and_final(home: Path) -> None:
    settings = on_day(home, 23)
    closed = close_month(settings, MONTH)
    assert (closed.month, closed.effective_cost_usd, closed.frozen_rows) == (MONTH, Decimal("42.60"), 18)
    snapshot = night(settings)
    assert snapshot.is_new
    assert snapshot.manifest.closes == (MONTH,)
    assert rows(settings, "select distinct cost_status from mart__feature_cost_daily") == [{"cost_status": "final"}]
    line = rows(settings, "select * from mart__closed_months")[0]
    assert (line["month"], line["posting_month"]) == (MONTH, "2026-10")
    assert line["closed_effective_cost_usd"] == line["recomputed_effective_cost_usd"] == Decimal("42.60")
    assert closed_months(Lake(settings.lake)) == [MONTH]


def test_a_closed_month_cannot_be_closed_or_changed_again(home: Path) -> None:
    settings = on_day(home, 23)
    close_and_publish(settings)
    frozen = file_sha256(settings.lake / "core__closed_costs" / f"{MONTH}.parquet")
    with pytest.raises(UsageError, match="closed already"):
        close_month(settings, MONTH)
    land(home, "openai_costs/credit.json", with_line(DAYS[2], (None, "-1.50")))
    night(on_day(home, 24))
    assert file_sha256(settings.lake / "core__closed_costs" / f"{MONTH}.parquet") == frozen
    assert rows(
        settings,
        f"select sum(effective_cost_usd) as usd from mart__feature_cost_daily where usage_date <= date '{DAYS[-1]}'",
    ) == [{"usd": Decimal("42.60")}]


def test_a_credit_after_the_close_is_a_correction_in_the_open_month(home: Path) -> None:
    """The credit of $1.50 follows the charges of its day: chat 3/4 = $1.125, search 1/4 = $0.375."""
    settings = on_day(home, 23)
    close_and_publish(settings)
    land(home, "openai_costs/credit.json", with_line(DAYS[2], (None, "-1.50")))
    later = on_day(home, 24)
    night(later)
    found = rows(
        later,
        "select usage_date, feature, billed_cost_usd, effective_cost_usd, total_tokens, corrected_month"
        " from mart__feature_cost_daily where charge_class = 'Correction' order by feature",
    )
    assert [tuple(row.values()) for row in found] == [
        (date(2026, 10, 1), "chat", Decimal("-1.125"), Decimal("-1.125"), 0, MONTH),
        (date(2026, 10, 1), "search", Decimal("-0.375"), Decimal("-0.375"), 0, MONTH),
    ]
    assert rows(
        later,
        "select month, sum(effective_cost_usd) as usd from mart__feature_cost_monthly group by month order by month",
    ) == [
        {"month": MONTH, "usd": Decimal("42.60")},
        {"month": "2026-10", "usd": Decimal("-1.50")},
    ]
    all_checks_hold(later)


def test_corrections_frozen_by_a_later_close_are_not_posted_twice(home: Path) -> None:
    """Credit $1.50 posted to October; October closes with it; a further $0.50 goes to November, alone."""
    close_and_publish(on_day(home, 23))
    land(home, "openai_costs/credit.json", with_line(DAYS[2], (None, "-1.50")))
    night(on_day(home, 24))
    close_month(on_day(home, 24), "2026-10")
    night(on_day(home, 24))
    land(home, "openai_costs/credit2.json", with_line(DAYS[2], (None, "-1.50"), (None, "-0.50")))
    settings = on_day(home, 25)
    night(settings)
    found = rows(
        settings,
        "select usage_date, sum(effective_cost_usd) as usd from mart__feature_cost_daily"
        " where charge_class = 'Correction' group by usage_date order by usage_date",
    )
    assert [tuple(row.values()) for row in found] == [
        (date(2026, 10, 1), Decimal("-1.50")),
        (date(2026, 11, 1), Decimal("-0.50")),
    ]
    line = rows(settings, f"select * from mart__closed_months where month = '{MONTH}'")[0]
    assert line["posting_month"] == "2026-11"
    assert line["correction_effective_cost_usd"] == Decimal("-2.00")
    assert line["recomputed_effective_cost_usd"] == Decimal("40.60")
    all_checks_hold(settings)


def without_two_days_of_bills(home: Path) -> None:
    land(home, "openai_costs/costs.json", openai_costs(dict.fromkeys(DAYS[:4], OPENAI_LINES)))


def with_an_amount_a_hundredfold(home: Path) -> None:
    land(home, "openai_costs/costs.json", with_line(DAYS[2], changed={"house-mini, input": "300.00"}))


def with_a_model_of_no_price(home: Path) -> None:
    call = openai_call(DAYS[2], 5, "chat", (1000, 0))
    land(home, "response_log/new.jsonl", [{**call, "model": "house-next"}])


def with_an_amount_that_is_none(home: Path) -> None:
    land(home, "openai_costs/costs.json", with_line(DAYS[2]).replace('"value": 3.0', '"value": "x"', 1))


def with_a_line_in_krones(home: Path) -> None:
    path = home / "landing" / "openai_costs" / "costs.json"
    path.write_text(path.read_text().replace('"currency": "usd"', '"currency": "nok"', 1))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without_two_days_of_bills, "no complete bill for 2026-09-05, 2026-09-06"),
        (with_an_amount_a_hundredfold, r"\$297.00 unexplained"),
        (with_a_model_of_no_price, "house-next has no price"),
        (with_a_line_in_krones, "1 bill lines in NOK have no exchange rate"),
        (with_an_amount_that_is_none, r"lines of openai_costs/costs.json are in quarantine \(bad_amount\)"),
    ],
    ids=[
        "a day has no bill",
        "too much is unexplained",
        "usage has no price",
        "a currency has no rate",
        "a bill line is in quarantine",
    ],
)
def test_a_month_that_does_not_tie_out_is_refused_with_the_reason(
    home: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    spoil(home)
    settings = on_day(home, 23)
    night(settings)
    with pytest.raises(CloseRefusedError, match=reason):
        close_month(settings, MONTH)
    assert closed_months(Lake(settings.lake)) == []


def test_a_month_that_is_not_over_is_refused(home: Path) -> None:
    early = home_settings(home, datetime(2026, 9, 30, 23, tzinfo=UTC))
    night(early)
    assert [reason for reason in reasons_against(early, MONTH) if "not over" in reason]


def test_days_that_become_final_by_time_alone_pass_the_checks_of_their_month(tmp_path: Path) -> None:
    """On 1 October 2 September may still be restated, on 10 October no more; 30 September may for long. So daily rows
    of one month of two change their status, and the monthly table does not change at all."""
    whole_month(tmp_path, [DAYS[1], date(2026, 9, 30), date(2026, 10, 1)])
    checks = {name: check for name, check in load_checks().items() if check.severity == "fail"}
    for now in (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 10, tzinfo=UTC)):
        settings = home_settings(tmp_path, now)
        built(settings)
        assert [outcome.title for outcome in checks_on_lake(settings, checks) if not outcome.is_true] == []
    mart = Lake(settings.lake).read("mart__feature_cost_daily", MONTH)
    assert mart is not None
    assert set(mart["cost_status"]) == {"final", "provisional"}


def test_several_causes_of_one_change_are_told_apart_in_dollars(home: Path) -> None:
    """Anthropic has no bill yet, so contracted cost counts: 1,000,000 further tokens are late by a night ($2.00 at the
    old price), and the input price was $2.20, not $2.00: 6,000,000 + 1,000,000 tokens × $0.20 = $1.40."""
    for path in ("anthropic_costs/costs.json", "anthropic_usage/usage.json"):
        (home / "landing" / path).unlink()
    fresh = home.parent / "fresh"
    shutil.copytree(home / "landing", fresh / "landing")
    shutil.copytree(home / "reference", fresh / "reference")
    first = home_settings(fresh)
    night(first)
    prices(fresh, [row.replace(",2.00,", ",2.20,") for row in PRICES])
    call = day_of_calls(DAYS[1])[2]
    land(
        fresh,
        "response_log/late.jsonl",
        [{**call, "request_id": "late", "usage": {"input_tokens": 1_000_000, "output_tokens": 0}}],
    )
    second = on_day(fresh, 23)
    night(second)
    assert restated(second) == [
        ("chat", "late_usage", Decimal("18.60"), Decimal("20.60"), Decimal("2.00")),
        ("chat", "price_corrected", Decimal("20.60"), Decimal("22.00"), Decimal("1.40")),
    ]
    evidence = {row["cause"]: row["evidence"] for row in rows(second, "select cause, evidence from mart__restatements")}
    assert evidence == {"late_usage": "response_log/late.jsonl", "price_corrected": "price_book: c-in"}


def test_new_days_are_growth_and_a_night_without_news_publishes_nothing(home: Path) -> None:
    day = date(2026, 9, 7)
    land(home, f"response_log/{day}.jsonl", day_of_calls(day))
    settings = on_day(home, 23)
    assert night(settings).is_new
    assert restated(settings) == []
    assert not night(on_day(home, 23)).is_new


def test_the_journal_accumulates_and_stands_outside_the_digest(home: Path) -> None:
    land(home, "openai_costs/credit.json", with_line(DAYS[2], (None, "-1.50")))
    night(on_day(home, 23))
    land(home, "openai_costs/credit2.json", with_line(DAYS[2], (None, "-2.00")))
    settings = on_day(home, 24)
    with_journal = night(settings)
    assert [cause for _, cause, *_ in restated(settings)] == ["bill_restated"] * 4
    anew = home.parent / "anew"
    for folder in ("landing", "reference"):
        shutil.copytree(home / folder, anew / folder)
    from_nothing = night(replace(settings, home=anew))
    assert from_nothing.manifest.digest == with_journal.manifest.digest
    assert rows(replace(settings, home=anew), "select count(*) as n from mart__restatements") == [{"n": 0}]


def test_as_of_gives_the_bytes_that_were_published(home: Path) -> None:
    first = snapshot_at(home_settings(home), FIRST_NIGHT)
    before = {file.relative: (first.path / file.relative).read_bytes() for file in first.manifest.files}
    land(home, "openai_costs/credit.json", with_line(DAYS[2], (None, "-1.50")))
    settings = on_day(home, 24)
    night(settings)
    again = snapshot_at(settings, datetime(2026, 11, 23, tzinfo=UTC))
    assert again.snapshot_id == first.snapshot_id
    assert {file.relative: (again.path / file.relative).read_bytes() for file in again.manifest.files} == before
    assert snapshot_at(settings, datetime(2026, 11, 24, 12, tzinfo=UTC)).snapshot_id != first.snapshot_id


def test_a_late_bill_a_restated_bill_and_a_credit_end_with_the_invoice_to_the_cent(tmp_path: Path) -> None:
    """Days 1-4 are billed first (16.00), days 5-6 late (24.00), day 2 restated by +0.37, a credit of 1.50 after the
    close: 24.00 + 0.37 − 1.50 = 22.87, the invoice's total."""
    whole_month(tmp_path)
    land(tmp_path, "openai_costs/costs.json", openai_costs(dict.fromkeys(DAYS[:4], OPENAI_LINES)))
    night(home_settings(tmp_path))
    land(tmp_path, "openai_costs/late.json", openai_costs(dict.fromkeys(DAYS[4:], OPENAI_LINES)))
    night(on_day(tmp_path, 23))
    land(
        tmp_path,
        "openai_costs/restated.json",
        openai_costs({DAYS[1]: (("house-mini, input", "3.37"), OPENAI_LINES[1])}),
    )
    night(on_day(tmp_path, 24))
    close_and_publish(on_day(tmp_path, 25))
    credit = openai_costs({DAYS[3]: (*OPENAI_LINES, (None, "-1.50"))})
    land(tmp_path, "openai_costs/credit.json", credit)
    refer(
        tmp_path,
        "invoices",
        f"provider,account,period,invoice_id,total,currency,issued_on\nopenai,*,{MONTH},F-1,22.87,USD,2026-11-25\n",
    )
    settings = on_day(tmp_path, 26)
    night(settings)
    total = rows(
        settings,
        "select sum(billed_cost_usd) as usd from mart__feature_cost_daily where provider = 'openai'"
        f" and coalesce(corrected_month, strftime(usage_date, '%Y-%m')) = '{MONTH}'",
    )
    assert total == [{"usd": Decimal("22.87")}]
    tied = rows(
        settings,
        "select sum(billed_cost_usd) as billed, max(invoice_total_usd) as invoice, sum(rounding_usd) as rounding,"
        " sum(unexplained_usd) as unexplained from mart__reconciliation_monthly where provider = 'openai'",
    )
    assert tied == [
        {"billed": Decimal("22.87"), "invoice": Decimal("22.87"), "rounding": Decimal(0), "unexplained": Decimal(0)}
    ]
    causes = [cause for _, cause, *_ in restated(settings)]
    assert causes.count("bill_restated") == len(causes) == 4
    all_checks_hold(settings)


def test_an_export_that_shrinks_a_settled_bucket_is_held_until_released(home: Path) -> None:
    """A filtered export of 3 September, written years later, tells $1.00 instead of $4.00: the $4.00 go on counting."""
    path = land(home, "openai_costs/filtered.json", openai_costs({DAYS[2]: OPENAI_LINES[1:]}))
    written = datetime(2040, 1, 1, tzinfo=UTC).timestamp()
    os.utime(path, (written, written))
    settings = on_day(home, 23)
    night(settings)
    assert billed_by_openai(settings) == Decimal("24.00")
    status = rows(settings, "select held_files from mart__data_status where source = 'openai_costs'")
    assert status == [{"held_files": 1}]
    assert "is held" in " ".join(reasons_against(settings, MONTH))
    ledger = Lake(settings.lake).read("core__landed_files", "all")
    assert ledger is not None
    held = ledger.filter(pl.col("reason_code") == "held_shrink")["landed_file"].item()
    from pipelines.core.buckets import release_held

    assert release_held(settings, held) == [str(DAYS[2])]
    night(on_day(home, 24))
    assert billed_by_openai(settings) == Decimal("21.00")
    assert rows(settings, "select held_files from mart__data_status where source = 'openai_costs'") == [
        {"held_files": 0}
    ]


def billed_by_openai(settings: Settings) -> Decimal:
    found = rows(settings, "select sum(billed_cost_usd) as usd from mart__feature_cost_daily where provider = 'openai'")
    return Decimal(found[0]["usd"])
