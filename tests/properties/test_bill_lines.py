"""Bill lines in dollars: one source counts per provider, account and day, currencies never mix, credits keep their
sign.

What lives here: random bills through int__bill_lines, held against rules in plain integers and dictionaries. What does
not: how lines are shared and compared (test_reconciliation_causes.py).
12 batches of 150 provider-days: 1,800 provider-days, about 9,000 lines in four currencies.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.properties.models import PICO, half_away, many_cases, pico, run_models, usd

DAY = date(2026, 3, 10)
SOURCES = ("openai_costs", "focus", "aws_cur")
ACCOUNTS = ("a", "b", "*")
CURRENCIES = ("USD", "EUR", "JPY", "CHF")
KINDS = {"Usage": "token", "Credit": "credit", "Tax": "tax", "Purchase": "commitment", "Adjustment": "adjustment"}
Rates = dict[tuple[str, date], int]
Roles = list[dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bill_lines")


def drawn_rates(draw: Random) -> Rates:
    """Rates on some days only, some after the bills; CHF has none at all. Whole 10⁻⁹ dollars."""
    return {
        (currency, DAY + timedelta(days=offset)): draw.randint(1, 2 * 10**9)
        for currency in ("EUR", "JPY")
        for offset in draw.sample(range(-4, 6), draw.randint(0, 4))
    }


def drawn_roles(draw: Random, providers: list[str]) -> Roles:
    """Every source is a bill of any provider; for some provider or account it has another rank, or is a control."""
    roles: Roles = [
        {"source": source, "provider": "*", "account": "*", "role": "bill", "precedence": rank}
        for source, rank in zip(SOURCES, (10, 20, 20), strict=True)
    ]
    for provider in draw.sample(providers, len(providers) // 3):
        roles.append(
            {
                "source": draw.choice(SOURCES),
                "provider": provider,
                "account": draw.choice(ACCOUNTS),
                "role": draw.choice(("bill", "control")),
                "precedence": draw.choice((5, 30)),
            }
        )
    return roles


def drawn_lines(draw: Random, number: int, provider: str) -> list[dict[str, Any]]:
    lines = []
    for source in draw.sample(SOURCES, draw.randint(1, 3)):
        for account in draw.sample(ACCOUNTS, draw.randint(1, 2)):
            for _ in range(draw.randint(1, 2)):
                category = draw.choice(tuple(KINDS))
                size = draw.choice((0, 1, 10**10, 5 * 10**12, 999_999_999_999_999))
                amount = draw.choice((1, -1)) * draw.randint(0, size)
                if category == "Credit":
                    amount = -abs(amount)
                lines.append(
                    {
                        "source": source,
                        "landed_file": f"{number:016x}",
                        "record_number": len(lines) + 1,
                        "usage_date": DAY + timedelta(days=number % 3),
                        "billing_month": draw.choice(("2026-03", None)),
                        "provider": provider,
                        "account": account,
                        "charge_category": category,
                        "is_token_charge": category == "Usage",
                        "billing_currency": draw.choice(CURRENCIES),
                        "billed_cost_in_currency": amount,
                        "effective_cost_in_currency": draw.choice((amount, 0)),
                    }
                )
    return lines


def role_of(roles: Roles, source: str, provider: str, account: str) -> tuple[str, int]:
    """The row that speaks most precisely: of this account before any, of this provider before any, best rank."""
    mine = [
        row
        for row in roles
        if row["source"] == source and row["provider"] in (provider, "*") and row["account"] in (account, "*")
    ]
    best = min(mine, key=lambda row: (row["account"] != account, row["provider"] != provider, row["precedence"]))
    return best["role"], best["precedence"]


def drawn_buckets(draw: Random) -> dict[tuple[str, str], bool]:
    """Source and account → whether the fetch of the day was complete; an empty bucket is one, too."""
    return {(source, account): draw.random() < 0.6 for source in SOURCES for account in ACCOUNTS if draw.random() < 0.4}


def counting(lines: list[dict[str, Any]], buckets: dict[tuple[str, str], bool], roles: Roles) -> list[dict[str, Any]]:
    """Lines of sources that no better source of the same account, or of any account, beats on that day: a complete one
    is better than one that is not, then rank decides."""
    provider, standing = lines[0]["provider"], {}
    for source, account in {*buckets, *((line["source"], line["account"]) for line in lines)}:
        role, rank = role_of(roles, source, provider, account)
        if role == "bill":
            standing[source, account] = (not buckets.get((source, account), False), rank, source)
    told = []
    for line in lines:
        mine = standing.get((line["source"], line["account"]))
        rivals = [
            rank
            for (source, account), rank in standing.items()
            if source != line["source"] and (account == line["account"] or "*" in (account, line["account"]))
        ]
        if mine is not None and all(mine < rank for rank in rivals):
            told.append(line)
    return told


def rate_on(rates: Rates, currency: str, day: date) -> tuple[int, str] | None:
    """The latest rate on or before the day, with its name."""
    if currency == "USD":
        return 10**9, "USD"
    days = [when for known, when in rates if known == currency and when <= day]
    return (rates[currency, max(days)], f"{currency}:{max(days)}") if days else None


def dollars(amount: int, rate: int) -> int:
    return half_away(amount * rate, 10**9)


@many_cases(12)
def test_one_source_counts_and_every_line_is_in_dollars_at_the_rate_it_names(draw: Random, folder: Path) -> None:
    providers = [f"p{number}" for number in range(150)]
    rates, roles = drawn_rates(draw), drawn_roles(draw, providers)
    cases = {provider: drawn_lines(draw, number, provider) for number, provider in enumerate(providers)}
    buckets = {provider: drawn_buckets(draw) for provider in providers}
    invoices = {
        provider: (draw.choice(("a", "*")), draw.choice(CURRENCIES), DAY + timedelta(days=draw.randint(-2, 4)))
        for provider in draw.sample(providers, 60)
    }
    money = ("billed_cost_in_currency", "effective_cost_in_currency")
    found = run_models(
        ["int__bill_sources", "int__bill_lines"],
        {
            "core__billing": [
                {**line, **{name: usd(line[name]) for name in money}} for lines in cases.values() for line in lines
            ],
            "core__fetched_buckets": [
                {"source": source, "provider": provider, "account": account, "is_complete": complete,
                 "bucket_start": cases[provider][0]["usage_date"],
                 "bucket_end": cases[provider][0]["usage_date"] + timedelta(days=1)}
                for provider, told in buckets.items()
                for (source, account), complete in told.items()
            ],
            "ref__sources": roles,
            "ref__fx_rates": [
                {"rate_date": day, "currency": currency, "usd_per_unit": usd(rate * 1000)}
                for (currency, day), rate in rates.items()
            ],
            "ref__invoices": [
                {"provider": provider, "account": account, "period": "2026-03", "invoice_id": "i", "total": usd(0),
                 "currency": currency, "issued_on": day}
                for provider, (account, currency, day) in invoices.items()
            ],
        },
        folder,
    )["int__bill_lines"].partition_by("provider", as_dict=True)  # fmt: skip
    for provider, lines in cases.items():
        rows = {row["record_number"]: row for row in found[(provider,)].to_dicts()} if (provider,) in found else {}
        expected = counting(lines, buckets[provider], roles)
        assert sorted(rows) == sorted(line["record_number"] for line in expected), lines
        for line in expected:
            compare(rows[line["record_number"]], line, rates, invoices.get(provider))


def compare(row: dict[str, Any], line: dict[str, Any], rates: Rates, invoice: tuple[str, str, date] | None) -> None:
    currency, billed = line["billing_currency"], line["billed_cost_in_currency"]
    known = rate_on(rates, currency, line["usage_date"])
    assert row["billing_currency"] == currency
    assert row["charge_kind"] == KINDS[line["charge_category"]]
    assert row["fx_rate_id"] == (known and known[1])
    assert pico(row["billed_cost_usd"]) == (known and dollars(billed, known[0]))
    assert pico(row["effective_cost_usd"]) == (known and dollars(line["effective_cost_in_currency"], known[0]))
    at_invoice = known
    if invoice and line["billing_month"] and invoice[:2] in ((line["account"], currency), ("*", currency)):
        at_invoice = rate_on(rates, currency, invoice[2]) or known
    assert pico(row["billed_cost_at_invoice_rate_usd"]) == (at_invoice and dollars(billed, at_invoice[0]))
    if known:
        assert (row["billed_cost_usd"] < 0) == (billed < 0 and abs(billed) * known[0] * 2 >= 10**9)


def test_a_pico_dollar_is_the_least_that_counts() -> None:
    """1.5 yen at $0.333333333: 0.4999999995 dollars in whole pico-dollars is 499,999,999,500."""
    assert dollars(3 * PICO // 2, 333_333_333) == 499_999_999_500
