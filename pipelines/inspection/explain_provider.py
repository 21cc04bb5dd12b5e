"""How a provider's day came about: metered, counted and billed cost, every cause between them, and who paid the bill.

What lives here: `explain_provider_day` and the proof that its page adds up. What does not: one feature's day
(explain.py), the machines of self-hosting (explain_ledger.py), printing (the command line).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl

from pipelines.errors import NotFoundError
from pipelines.inspection.explain import rows_of
from pipelines.inspection.explain_ledger import LedgerDay, ledger_days
from pipelines.inspection.explain_shares import BillLine, Day, told_lines
from pipelines.intake.landing import Ledger
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.transforms.rollup import SELF_HOSTED

CAUSES = (
    "price_gap", "unlogged", "overlogged", "unpriced", "non_token_charges", "credits", "tax", "commitment",
    "excluded_from_cost_api", "not_billed", "timing", "fx", "unexplained",
)  # fmt: skip


@dataclass(frozen=True)
class AccountDay:
    """One account of the day: three witnesses, and the causes that lead from metered to billed (zeros left out)."""

    account: str
    logged_tokens: int
    provider_tokens: int | None
    metered_cost_usd: Decimal
    provider_cost_usd: Decimal | None
    billed_cost_usd: Decimal | None
    causes: Mapping[str, Decimal]
    status: str
    reason: str | None


@dataclass(frozen=True)
class CauseLine:
    """What one cause rests on: a billed key, a line of a bill (file and record), or logged usage."""

    account: str
    cause: str
    evidence: str
    amount_usd: Decimal


@dataclass(frozen=True)
class FeaturePart:
    """What one feature has of the day: metered at contracted price, its share of the bill, its effective cost."""

    feature: str
    account: str
    total_tokens: int
    contracted_cost_usd: Decimal | None
    billed_cost_usd: Decimal | None
    effective_cost_usd: Decimal | None


@dataclass(frozen=True)
class Control:
    """A bill that does not count, because another source does for its account and day; in the bill's own currency."""

    source: str
    account: str
    billing_currency: str
    lines: int
    billed_cost_in_currency: Decimal


@dataclass(frozen=True)
class ProviderDay:
    """Everything behind one provider on one UTC day. `complaints` is empty when the page adds up to the last digit."""

    provider: str
    usage_date: date
    effective_cost_usd: Decimal | None
    accounts: tuple[AccountDay, ...]
    causes: tuple[CauseLine, ...]
    features: tuple[FeaturePart, ...]
    lines: tuple[BillLine, ...]
    controls: tuple[Control, ...]
    ledgers: tuple[LedgerDay, ...]
    complaints: tuple[str, ...] = ()


def explain_provider_day(settings: Settings, provider: str, day: date) -> ProviderDay:
    """Trace what a provider cost on a UTC day, from what was logged to what was billed, cause by cause.

    Reads the lake, as it is computed now, closed months too. Raises NotFoundError, with the providers of the day, when
    nothing is known of it.
    """
    lake = Lake(settings.lake)
    read = rows_of(lake, day)
    mine = pl.col("provider") == provider
    costs = read("int__feature_cost_daily").filter(mine)
    daily = read("mart__reconciliation_daily").filter(mine).sort("account")
    if costs.is_empty() and daily.is_empty():
        known = sorted(set(read("int__feature_cost_daily")["provider"]))
        raise NotFoundError(
            f"nothing is known of {provider!r} on {day}",
            where="int__feature_cost_daily",
            expected="a provider of that day" + (f": {', '.join(known)}" if known else ""),
            next_move='`tokenmart query "SELECT DISTINCT provider FROM mart__feature_cost_daily"` lists all names',
        )
    paths = {
        file: f"{source}/{path}"
        for file, source, path in Ledger(lake).frame().select("landed_file", "source", "relative_path").iter_rows()
    }
    counted = read("int__bill_lines").filter(mine)
    accounts = tuple(_account(row) for row in daily.iter_rows(named=True))
    causes = tuple(
        CauseLine(row["account"], row["cause"], _named(row["evidence"], paths), row["amount_usd"])
        for row in read("int__reconciliation_causes").filter(mine).sort("account", "cause", "evidence").to_dicts()
    )
    features = _features(costs)
    machines = costs["account"].unique().sort().to_list() if provider == SELF_HOSTED else []
    ledgers = ledger_days(read, machines)
    page = ProviderDay(
        provider=provider,
        usage_date=day,
        effective_cost_usd=_sum_known(costs["effective_cost_usd"]),
        accounts=accounts,
        causes=causes,
        features=features,
        lines=told_lines(counted, paths),
        controls=_controls(read, counted, mine),
        ledgers=ledgers,
    )
    return ProviderDay(**{**vars(page), "complaints": (*_complaints(page), *_machines(page))})


def _account(row: Mapping[str, object]) -> AccountDay:
    names = [name for name in AccountDay.__dataclass_fields__ if name != "causes"]
    told = {cause: row[f"{cause}_usd"] for cause in CAUSES}
    causes = {cause: amount for cause, amount in told.items() if isinstance(amount, Decimal) and amount}
    return AccountDay(**{name: row[name] for name in names}, causes=causes)  # type: ignore[arg-type]


def _named(evidence: str, paths: Mapping[str, str]) -> str:
    """A line's file by its path; keys and usage name themselves."""
    file, _, record = evidence.partition(":")
    return f"line {record} of {paths[file]}" if file in paths else evidence


def _features(costs: pl.DataFrame) -> tuple[FeaturePart, ...]:
    money = ["contracted_cost_usd", "billed_cost_usd", "effective_cost_usd"]
    known = [pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name) for name in money]
    summed = costs.group_by("feature", "account").agg(pl.col("total_tokens").sum(), *known).sort("feature", "account")
    return tuple(FeaturePart(**row) for row in summed.iter_rows(named=True))


def _controls(read: Day, counted: pl.DataFrame, mine: pl.Expr) -> tuple[Control, ...]:
    """Lines of sources that int__bill_lines left out for another; rent of machines of ours is no control."""
    counting = counted.select("source", "account").unique()
    beside = read("core__billing").filter(mine).join(counting, on=["source", "account"], how="anti")
    summed = beside.group_by("source", "account", "billing_currency").agg(
        pl.len().cast(pl.Int64).alias("lines"), pl.col("billed_cost_in_currency").sum()
    )
    return tuple(Control(**row) for row in summed.sort("source", "account", "billing_currency").iter_rows(named=True))


def _complaints(page: ProviderDay) -> list[str]:
    complaints = []
    by_cause: dict[tuple[str, str], Decimal] = {}
    for line in page.causes:
        key = (line.account, line.cause.partition(":")[0])
        by_cause[key] = by_cause.get(key, Decimal(0)) + line.amount_usd
    for account in page.accounts:
        if account.billed_cost_usd is None:
            continue
        bridged = account.metered_cost_usd + sum(account.causes.values(), Decimal(0))
        if bridged != account.billed_cost_usd:
            complaints.append(
                f"account {account.account}: metered and causes sum to {bridged:f}, billed is"
                f" {account.billed_cost_usd:f}"
            )
        for cause, amount in account.causes.items():
            told = by_cause.get((account.account, cause), Decimal(0))
            if told != amount:
                complaints.append(f"account {account.account}: what {cause} rests on sums to {told:f}, not {amount:f}")
    billed = sum((account.billed_cost_usd or Decimal(0) for account in page.accounts), Decimal(0))
    sides = {
        "bill lines": [line.billed_cost_usd for line in page.lines],
        "features' shares": [part.billed_cost_usd for part in page.features],
    }
    for what, amounts in sides.items():
        total = sum((amount or Decimal(0) for amount in amounts), Decimal(0))
        if total != billed:
            complaints.append(f"{what} sum to {total:f}, billed is {billed:f}")
    return complaints


def _machines(page: ProviderDay) -> list[str]:
    complaints = [text for ledger in page.ledgers for text in ledger.complaints]
    if page.provider != SELF_HOSTED:
        return complaints
    cost = sum((ledger.all_in_cost_usd for ledger in page.ledgers), Decimal(0))
    if (page.effective_cost_usd or Decimal(0)) != cost:
        complaints.append(f"deployments cost {cost:f}, their features {page.effective_cost_usd}")
    return complaints


def _sum_known(amounts: pl.Series) -> Decimal | None:
    return Decimal(str(amounts.sum())) if amounts.count() else None
