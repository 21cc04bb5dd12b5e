"""Closing a month: what speaks against it, and freezing its rows.

What lives here: the reasons that keep a month open, the frozen rows, the list of closed months. What does not: what is
published of a closed month and its corrections (sql/marts/mart__feature_cost_daily.sql), publishing (publication.py).

A closed month's rows are written once, to the append-only journal of closes in <home>/closed/
(core/closed_journal.py), from which every run restores the lake's core__closed_costs and core__closed_months. What
changes later in a closed month is computed as always (int__feature_cost_daily, the reconciliation), and what it differs
by from the frozen rows stands as Correction rows in the first open month after it.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import polars as pl

from pipelines.build.workbench import ALL
from pipelines.contracts.closing import MONTH_PATTERN, CoreClosedCosts
from pipelines.contracts.fields import conform
from pipelines.core.closed_journal import CLOSED_MONTHS, restore_closes, write_close
from pipelines.core.held_exports import HELD
from pipelines.errors import CloseRefusedError, NotFoundError, UsageError
from pipelines.lake import Lake, enforce
from pipelines.settings import CODE_VERSION, Settings

COST_MART = "mart__feature_cost_daily"
NO_MONEY_IN_IT = ("superseded_in_file", "replaced_by_split")
"""Why a bill line may be in quarantine although its money counts elsewhere in the same file."""


@dataclass(frozen=True)
class ClosedMonth:
    """One closed month: its frozen rows' count, sha256 and sums."""

    month: str
    closed_costs_sha256: str
    frozen_rows: int
    total_tokens: int
    effective_cost_usd: Decimal


def closed_months(lake: Lake) -> list[str]:
    """The closed months (YYYY-MM), in order."""
    return sorted(lake.partitions(CLOSED_MONTHS))


def close_month(settings: Settings, month: str) -> ClosedMonth:
    """Freeze a month as the lake's marts show it now; the caller has brought them up to date and publishes afterwards.

    Raises UsageError for a text that is no month or a month closed already, NotFoundError for one without rows,
    CloseRefusedError with every reason that speaks against it; then nothing is written.
    """
    lake = Lake(settings.lake)
    with lake.writing():
        restore_closes(settings)
        reasons = _reasons(settings, lake, month)
        if reasons:
            raise CloseRefusedError(
                f"{month} cannot be closed yet",
                reasons=reasons,
                where=month,
                next_move="put these right, `tokenmart run`, and close again",
            )
        rows = lake.read(COST_MART, month)
        if rows is None:
            raise _nothing_known(month)
        settled = pl.when(pl.col("cost_status") == "provisional").then(pl.lit("final")).otherwise("cost_status")
        frozen = conform(rows.with_columns(settled.alias("cost_status")), CoreClosedCosts)
        enforce(CoreClosedCosts, frozen, f"closed/{month}.parquet")
        sha256 = write_close(settings, month, frozen, settings.now(), CODE_VERSION)
        restore_closes(settings)
    effective = frozen["effective_cost_usd"].sum()
    return ClosedMonth(month, sha256, len(frozen), int(frozen["total_tokens"].sum()), Decimal(effective or 0))


def reasons_against(settings: Settings, month: str) -> tuple[str, ...]:
    """Every reason why `month` cannot be closed now, one sentence each; none when it can. Writes nothing.

    Raises UsageError and NotFoundError as `close_month` does.
    """
    return _reasons(settings, Lake(settings.lake), month)


def _reasons(settings: Settings, lake: Lake, month: str) -> tuple[str, ...]:
    require_month(month)
    if month in lake.partitions(CLOSED_MONTHS):
        raise UsageError(
            f"{month} is closed already",
            where=month,
            expected="an open month",
            next_move="what changed since stands as Correction rows in the next open month; see mart__closed_months",
        )
    rows = lake.read(COST_MART, month)
    if rows is None or rows.is_empty():
        raise _nothing_known(month)
    return (
        *_not_over(settings, month),
        *_unexplained(lake, month),
        *_lines_without_rate(lake, month),
        *_days_without_bill(lake, month),
        *_money_in_quarantine(lake, month),
        *_held_exports(lake, month),
        *_unpriced(lake, month),
    )


def require_month(text: str) -> None:
    """Raise UsageError unless `text` is a month, YYYY-MM."""
    if not re.match(MONTH_PATTERN, text):
        raise UsageError(f"{text!r} is no month", where="close", expected="YYYY-MM", next_move="such as 2026-10")


def _nothing_known(month: str) -> NotFoundError:
    return NotFoundError(
        f"nothing is known of {month}",
        where="lake/mart__feature_cost_daily",
        expected="a month with costs",
        next_move="`tokenmart run` builds what has landed",
    )


def last_day(month: str) -> date:
    """The last UTC day of a month (YYYY-MM)."""
    year, number = map(int, month.split("-"))
    return date(year, number, calendar.monthrange(year, number)[1])


def _not_over(settings: Settings, month: str) -> list[str]:
    if settings.today() > last_day(month):
        return []
    return [f"the month is not over: it is {settings.today()} (UTC), its last day is {last_day(month)}"]


def _unexplained(lake: Lake, month: str) -> list[str]:
    gate = lake.read("int__month_gate", month)
    if gate is None:
        return []
    failing = gate.filter(~pl.col("passes")).sort("provider", "account")
    return [
        f"{row['provider']}, account {row['account']}: {_usd(row['unexplained_usd'])} unexplained"
        f" of {_usd(row['billed_cost_usd'])} billed, above 0.5%: {row['reason']}"
        for row in failing.iter_rows(named=True)
    ]


def _lines_without_rate(lake: Lake, month: str) -> list[str]:
    lines = lake.read("int__bill_lines", month)
    if lines is None:
        return []
    key = ["provider", "account", "billing_currency"]
    unrated = lines.filter(pl.col("billed_cost_usd").is_null()).group_by(key).len().sort(key)
    return [
        f"{provider}, account {account}: {count} bill lines in {currency} have no exchange rate: add it to fx_rates.csv"
        for provider, account, currency, count in unrated.iter_rows()
    ]


def _days_without_bill(lake: Lake, month: str) -> list[str]:
    """Days of providers that have ever sent a complete bill: with logged usage, or inside the span that is billed."""
    coverage = _months_of(lake, "int__bill_coverage")
    used = lake.read("int__usage_cost", month)
    billed_providers = set(coverage["provider"].unique()) if coverage is not None else set()
    if coverage is None or used is None:
        return []
    covered = coverage.filter(pl.col("usage_date").dt.strftime("%Y-%m") == month)
    missing: dict[tuple[str, str], set[date]] = {}
    wanted = used.filter(pl.col("provider").is_in(sorted(billed_providers)) & (pl.col("component") != "requests"))
    for provider, account, day in wanted.select("provider", "account", "usage_date").unique().iter_rows():
        mine = covered.filter((pl.col("provider") == provider) & (pl.col("usage_date") == day))
        known = set(mine["account"])
        if not (account in known or "*" in known or (known and account in {"*", "default"})):
            missing.setdefault((provider, account), set()).add(day)
    for provider in sorted(billed_providers):
        days = set(covered.filter(pl.col("provider") == provider)["usage_date"])
        for offset in range((max(days) - min(days)).days if days else 0):
            day = min(days) + timedelta(days=offset)
            if day not in days:
                missing.setdefault((provider, "*"), set()).add(day)
    return [
        f"{provider}, account {account}: no complete bill for {_days(days)}: fetch or land them"
        for (provider, account), days in sorted(missing.items())
    ]


def _money_in_quarantine(lake: Lake, month: str) -> list[str]:
    sources = lake.read("ref__sources", ALL)
    ledger = lake.read("core__landed_files", ALL)
    if sources is None or ledger is None:
        return []
    bills = set(sources.filter(pl.col("role") == "bill")["source"])
    live = ledger.filter((pl.col("status") == "ingested") & pl.col("source").is_in(sorted(bills)))
    held = _quarantined(lake, set(live["landed_file"]))
    if held is None:
        return []
    in_month = pl.col("usage_date").dt.strftime("%Y-%m") == month
    mine = (
        held.filter(~pl.col("reason_code").is_in(NO_MONEY_IN_IT))
        .join(live.select("landed_file", "relative_path", "first_day", "last_day"), on="landed_file")
        .filter(in_month | (pl.col("usage_date").is_null() & _may_touch(month)))
    )
    key = ["source", "relative_path", "reason_code"]
    counted = mine.group_by(key).len().sort(key)
    return [
        f"{count} bill lines of {source}/{path} are in quarantine ({code}): `tokenmart quarantine show`"
        for source, path, code, count in counted.iter_rows()
    ]


def _may_touch(month: str) -> pl.Expr:
    """A line without a day may belong to any month that its file touches, and to any at all if that is unknown."""
    first = pl.col("first_day").dt.strftime("%Y-%m")
    last = pl.col("last_day").dt.strftime("%Y-%m")
    return pl.col("first_day").is_null() | ((first <= month) & (last >= month))


def _quarantined(lake: Lake, landed_files: set[str]) -> pl.DataFrame | None:
    keys = [key for key in lake.partitions("core__quarantine") if key.removeprefix("file-") in landed_files]
    frames = [frame for key in keys if (frame := lake.read("core__quarantine", key)) is not None]
    return pl.concat(frames) if frames else None


def _held_exports(lake: Lake, month: str) -> list[str]:
    ledger = lake.read("core__landed_files", ALL)
    if ledger is None:
        return []
    held = ledger.filter((pl.col("reason_code") == HELD) & _may_touch(month)).sort("source", "relative_path")
    return [
        f"{source}/{path} would shrink days that are settled and is held: `tokenmart release {landed_file}` applies it,"
        " a newer whole export replaces it"
        for source, path, landed_file in held.select("source", "relative_path", "landed_file").iter_rows()
    ]


def _unpriced(lake: Lake, month: str) -> list[str]:
    gaps = lake.read("int__unpriced_month", month)
    if gaps is None or gaps.is_empty():
        return []
    by_model = gaps.group_by("provider", "model").agg(pl.col("tokens").sum()).sort("provider", "model")
    return [
        f"{provider} {model} has no price ({tokens:,} tokens without one): `tokenmart prices add`"
        for provider, model, tokens in by_model.iter_rows()
    ]


def _months_of(lake: Lake, table: str) -> pl.DataFrame | None:
    frames = [frame for key in lake.partitions(table) if (frame := lake.read(table, key)) is not None]
    return pl.concat(frames) if frames else None


def _days(days: set[date]) -> str:
    ordered = sorted(days)
    shown = ", ".join(str(day) for day in ordered[:5])
    return shown if len(ordered) <= 5 else f"{shown} and {len(ordered) - 5} more days"


def _usd(amount: Decimal | None) -> str:
    return "an unknown amount" if amount is None else f"${amount:,.2f}"
