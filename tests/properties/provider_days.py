"""Random provider-days: logs, provider usage and bills of one day, as cases of the oracle and as inputs of the models.

What lives here: drawing days, writing them as frames, running the models of the match over many of them at once. What
does not: the oracle (reconciliation_oracle.py), what must be true (the tests).
Many days run in one pass of the models, since no model looks across days.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from pipelines.build.derived_tables import PYTHON_TABLES
from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty
from pipelines.settings import Settings
from pipelines.sqlmodel import load_models
from pipelines.warehouse import create_view, session
from tests.properties.reconciliation_oracle import ANY, Day, Line, Logged, Provided
from tests.sql.cases import input_frame

START = date(2026, 1, 1)
CHAIN = (
    "int__match_detail",
    "int__billed_keys",
    "int__logged_keyed",
    "int__provider_keyed",
    "int__token_claims",
    "int__reconciliation_causes",
    "int__allocated_tokens",
    "int__shared_claims",
    "int__allocated_shared",
    "mart__reconciliation_daily",
    "int__feature_cost_daily",
)
amounts = st.one_of(
    st.sampled_from([0, 1, 10**12, 98 * 10**10, 102 * 10**10, 10**14, 10**10, 10**9]), st.integers(0, 5 * 10**13)
)
known_amounts = st.one_of(st.none(), amounts, amounts, amounts)
accounts = st.sampled_from(["a", "b"])
models = st.sampled_from(["gpt-4o", "o3"])
tiers = st.sampled_from(["standard", "batch", "priority"])
components = st.sampled_from(["input_uncached", "cache_read", "output"])


@st.composite
def logged_rows(draw: st.DrawFn) -> Logged:
    is_meter = draw(st.integers(0, 5)) == 0
    cost = draw(known_amounts)
    return Logged(
        feature=draw(st.sampled_from(["chat", "search"])),
        account=draw(st.sampled_from(["a", "b", "a", "b", "default"])),
        model=draw(models),
        tier=draw(tiers),
        component="web_search_requests" if is_meter else draw(components),
        status=draw(st.sampled_from(["success", "success", "success", "success", "failure", "blocked"])),
        tokens=0 if is_meter else draw(st.integers(1, 10**7)),
        cost=cost,
        is_meter=is_meter,
    )


@st.composite
def days(draw: st.DrawFn) -> Day:
    provider = draw(st.sampled_from(["openai", "anthropic"]))
    logged = draw(st.lists(logged_rows(), max_size=5))
    whole_usage, no_models = draw(st.integers(0, 3)) == 0, draw(st.integers(0, 5)) == 0
    provided = [
        Provided(
            ANY if whole_usage else draw(accounts),
            ANY if no_models else draw(models),
            draw(tiers),
            draw(components),
            draw(st.integers(1, 10**7)),
            draw(known_amounts),
        )
        for _ in range(draw(st.sampled_from([0, 0, 1, 3])))
    ]
    whole_bill = draw(st.integers(0, 3)) == 0
    lines = [draw(bill_lines(whole_bill)) for _ in range(draw(st.sampled_from([0, 1, 3])))]
    lines += [draw(close_to(side, whole_bill)) for side in (*logged, *provided) if draw(st.integers(0, 2)) > 0]
    covered = draw(st.sampled_from([[], ["*"], ["a"], ["a", "b"]]))
    return Day(provider, logged, provided, lines, covered)


@st.composite
def bill_lines(draw: st.DrawFn, whole: bool) -> Line:
    kind = draw(st.sampled_from(["token"] * 5 + ["credit", "tax", "commitment", "non_token", "adjustment"]))
    amount = draw(amounts)
    billed = -amount if kind == "credit" else amount
    is_prepaid = kind == "token" and draw(st.integers(0, 5)) == 0
    moved = draw(st.sampled_from([0, 0, 0, 1, -(10**9)]))
    detail = draw(st.integers(0, 3)) if kind == "token" else 3
    return Line(
        account=ANY if whole else draw(st.sampled_from(["a", "b", "a", "b", "default"])),
        kind=kind,
        model=None if detail == 3 else draw(models),
        tier=draw(tiers) if detail == 0 else None,
        component=draw(components) if detail in (0, 1) else None,
        billed=0 if is_prepaid else billed,
        effective=billed,
        at_invoice_rate=0 if is_prepaid else billed + moved,
    )


@st.composite
def close_to(draw: st.DrawFn, side: Logged | Provided, whole: bool) -> Line:
    """A bill line for one row of a side, at a telling multiple of its cost: limits of the bands, and a unit off."""
    factor = draw(st.sampled_from([9, 10, 110, 499, 500, 900, 980, 1000, 1020, 1021, 1250, 1251, 1400, 99_000, 10**6]))
    amount = (side.cost or 10**12) * factor // 1000 + draw(st.sampled_from([0, 0, 0, 1, -1]))
    detail = draw(st.integers(0, 2))
    return Line(
        account=ANY if whole or side.account == ANY else side.account,
        kind="token",
        model=None if side.model == ANY else side.model,
        tier=side.tier if detail == 0 else None,
        component=side.component if detail < 2 else None,
        billed=amount,
        effective=amount,
        at_invoice_rate=amount,
    )


def usd(pico: int | None) -> Decimal | None:
    return None if pico is None else Decimal(pico).scaleb(-12)


def pico(amount: Decimal | None) -> int:
    return 0 if amount is None else int(amount.scaleb(12))


def inputs_of(many: list[Day]) -> dict[str, pl.DataFrame]:
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("int__usage_cost", "int__provider_cost", "int__bill_lines", "int__bill_coverage")
    }
    for number, day in enumerate(many):
        common = {"usage_date": START + timedelta(days=number), "provider": day.provider}
        usage: dict[tuple[object, ...], dict[str, Any]] = {}
        for one in day.logged:
            key = (one.feature, one.account, one.model, one.tier, one.component, one.status, one.cost is None)
            row = usage.setdefault(
                key,
                {
                    **common,
                    "feature": one.feature,
                    "account": one.account,
                    "model": one.model,
                    "match_model": one.model,
                    "service_tier": one.tier,
                    "component": one.component,
                    "match_component": one.component,
                    "status": one.status,
                    "is_unpriced": one.cost is None,
                    "tokens": 0,
                    "meter_quantity": Decimal(1) if one.is_meter else None,
                    "contracted_cost_usd": None if one.cost is None else Decimal(0),
                },
            )
            row["tokens"] += one.tokens
            if one.cost is not None:
                row["contracted_cost_usd"] += usd(one.cost)
        rows["int__usage_cost"] += usage.values()
        counted: dict[tuple[object, ...], dict[str, Any]] = {}
        for other in day.provided:
            row = counted.setdefault(
                (other.account, other.model, other.tier, other.component),
                {
                    **common,
                    "account": other.account,
                    "match_model": other.model,
                    "service_tier": other.tier,
                    "component": other.component,
                    "tokens": 0,
                    "provider_cost_usd": Decimal(0),
                },
            )
            row["tokens"] += other.tokens
            known = row["provider_cost_usd"] is not None and other.cost is not None
            row["provider_cost_usd"] = row["provider_cost_usd"] + usd(other.cost) if known else None
        rows["int__provider_cost"] += counted.values()
        for place, line in enumerate(day.lines, start=1):
            rows["int__bill_lines"].append(
                {
                    **common,
                    "landed_file": f"{number:016x}",
                    "record_number": place,
                    "account": line.account,
                    "charge_kind": line.kind,
                    "match_model": line.model,
                    "service_tier": line.tier,
                    "component": line.component,
                    "billed_cost_usd": usd(line.billed),
                    "effective_cost_usd": usd(line.effective),
                    "billed_cost_at_invoice_rate_usd": usd(line.at_invoice_rate),
                }
            )
        rows["int__bill_coverage"] += [{**common, "account": account} for account in day.covered]
    rows["int__bill_clock"] = [{"today": START + timedelta(days=3000)}]
    return {table: input_frame(table, lines) for table, lines in rows.items()}


def run_chain(many: list[Day], folder: Path) -> dict[str, pl.DataFrame]:
    sql = load_models()
    tables = inputs_of(many)
    with session(Settings(home=folder, threads=1)) as connection:
        for name in sorted({name for table in CHAIN for name in inputs_named(table, sql)} - set(CHAIN)):
            create_view(connection, name, [], tables.get(name, empty(contract_of(name))))
        for table in CHAIN:
            if table in PYTHON_TABLES:
                needed = {name: tables[name] for name in PYTHON_TABLES[table].inputs}
                tables[table] = PYTHON_TABLES[table].build(Settings(home=folder), "2026-01", needed)
            else:
                tables[table] = sql[table].in_order(connection.sql(sql[table].sql).pl())
            create_view(connection, table, [], tables[table])
    return tables


def inputs_named(table: str, sql: dict[str, Any]) -> tuple[str, ...]:
    return PYTHON_TABLES[table].inputs if table in PYTHON_TABLES else sql[table].inputs
