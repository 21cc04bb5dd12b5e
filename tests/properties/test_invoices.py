"""Per invoice the lines are the total; what they differ by is a visible amount, and keeps the month from being closed.

What lives here: random provider-months through mart__reconciliation_monthly and int__month_gate, against plain
integers. What does not: causes inside a day (test_reconciliation_causes.py), the refusal itself
(tests/integration/test_close_and_restate.py).
10 batches of 200 provider-months: 2,000 provider-months with up to 6 account-days each.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.properties.models import PICO, half_away, many_cases, pico, run_models, usd

MONTH, FIRST = "2026-03", date(2026, 3, 1)
CAUSES = (
    "price_gap", "unlogged", "overlogged", "unpriced", "non_token_charges", "credits", "tax", "commitment",
    "excluded_from_cost_api", "not_billed", "timing", "fx", "unexplained",
)  # fmt: skip
ALL_CAUSES = (*CAUSES, "rounding")
CENT = PICO // 100
EURO, ISSUED = 1_087_654_321, date(2026, 4, 2)
Day = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("invoices")


def drawn_days(draw: Random, provider: str) -> list[Day]:
    """Days of one or two accounts (or of any); billed is metered and causes, or there is no bill at all."""
    accounts = draw.choice((["*"], ["a"], ["a", "b"]))
    days = []
    for account in accounts:
        has_bill = draw.random() < 0.9
        for number in range(draw.randint(1, 3)):
            metered = draw.randint(0, 9 * PICO)
            causes = dict.fromkeys(CAUSES, 0)
            for cause in draw.sample(CAUSES, draw.randint(0, 4)):
                causes[cause] = draw.choice((1, -1)) * draw.choice((1, CENT, draw.randint(0, PICO)))
            days.append(
                {
                    "provider": provider,
                    "account": account,
                    "usage_date": FIRST + timedelta(days=number),
                    "metered": metered,
                    "causes": causes if has_bill else None,
                    "billed": metered + sum(causes.values()) if has_bill else None,
                    "status": draw.choice(("final", "final", "provisional", "estimated")),
                }
            )
    return days


def drawn_total(draw: Random, lines: int, day_rows: int) -> int:
    """The lines' sum, or beside it by something around half a cent per day, or by much more."""
    half = day_rows * CENT // 2
    return lines + draw.choice((0, 1, -1, half, -half, half + 1, -half - 1, draw.randint(-9 * PICO, 9 * PICO)))


def as_row(day: Day) -> dict[str, Any]:
    told = {f"{cause}_usd": usd(amount) for cause, amount in (day["causes"] or {}).items()}
    return {
        **{name: day[name] for name in ("provider", "account", "usage_date", "status")},
        "metered_cost_usd": usd(day["metered"]),
        "billed_cost_usd": usd(day["billed"]),
        **told,
    }


def expected_months(days: list[Day], invoice: tuple[str, int] | None) -> dict[str, dict[str, int | None]]:
    """Per account: causes, billed, invoiced; the invoice's difference stands on the account that it names."""
    by_account: dict[str, list[Day]] = defaultdict(list)
    for day in days:
        by_account[day["account"]].append(day)
    if invoice:
        by_account[invoice[0]] += []
    told: dict[str, dict[str, int | None]] = {}
    for account, mine in by_account.items():
        billed = [day["billed"] for day in mine if day["billed"] is not None]
        sums = {cause: sum((day["causes"] or {}).get(cause, 0) for day in mine) for cause in CAUSES}
        sums["rounding"] = 0
        metered = sum(day["metered"] for day in mine)
        total: int | None = sum(billed) if billed else None
        if invoice and account == invoice[0]:
            scope = days if account == "*" else mine
            lines = sum((day["billed"] or 0) - (day["causes"] or {}).get("fx", 0) for day in scope)
            gap = invoice[1] - lines
            small = 2 * abs(gap) <= len(scope) * CENT
            sums["rounding" if small else "unexplained"] += gap
            if total is None:
                sums["timing"] = -metered
            total = (total or 0) + gap
        told[account] = {
            **({cause: amount if total is not None else None for cause, amount in sums.items()}),
            "metered": metered,
            "billed": total,
            "invoiced": invoice[1] if invoice and account == invoice[0] else None,
        }
    return told


@many_cases(10)
def test_a_month_bills_its_invoice_and_names_what_its_lines_lack(draw: Random, folder: Path) -> None:
    cases: dict[str, tuple[list[Day], tuple[str, int] | None]] = {}
    rows, invoices = [], []
    for number in range(200):
        provider = f"p{number}"
        days = drawn_days(draw, provider)
        invoice = None
        if draw.random() < 0.8:
            account = draw.choice(("*", *{day["account"] for day in days}, "unheard"))
            scope = [day for day in days if account in ("*", day["account"])]
            lines = sum((day["billed"] or 0) - (day["causes"] or {}).get("fx", 0) for day in scope)
            total, currency = drawn_total(draw, lines, len(scope)), draw.choice(("USD", "EUR"))
            if currency == "EUR":
                total = half_away(total * 10**9, EURO)
            invoices.append(
                {"provider": provider, "account": account, "period": MONTH, "invoice_id": "i", "total": usd(total),
                 "currency": currency, "issued_on": ISSUED}
            )  # fmt: skip
            invoice = (account, total if currency == "USD" else half_away(total * EURO, 10**9))
        cases[provider] = (days, invoice)
        rows += [as_row(day) for day in days]
    rates = [
        {"rate_date": ISSUED - timedelta(days=1), "currency": "EUR", "usd_per_unit": usd(EURO * 1000)},
        {"rate_date": ISSUED + timedelta(days=1), "currency": "EUR", "usd_per_unit": usd(2 * EURO * 1000)},
    ]
    tables = {"mart__reconciliation_daily": rows, "ref__invoices": invoices, "ref__fx_rates": rates}
    made = run_models(["mart__reconciliation_monthly", "int__month_gate"], tables, folder)
    months = {(row["provider"], row["account"]): row for row in made["mart__reconciliation_monthly"].to_dicts()}
    gates = {(row["provider"], row["account"]): row for row in made["int__month_gate"].to_dicts()}
    for provider, (days, invoice) in cases.items():
        expected = expected_months(days, invoice)
        assert {account for known, account in months if known == provider} == set(expected)
        for account, told in expected.items():
            compare(months[provider, account], gates[provider, account], told)
            if invoice and invoice[0] == "*":
                everybody = [row for key, row in months.items() if key[0] == provider]
                billed = sum(pico(row["billed_cost_usd"]) or 0 for row in everybody)
                assert billed - sum(pico(row["fx_usd"]) or 0 for row in everybody) == invoice[1]


def compare(month: dict[str, Any], gate: dict[str, Any], told: dict[str, int | None]) -> None:
    causes = {cause: pico(month[f"{cause}_usd"]) for cause in ALL_CAUSES}
    assert causes == {cause: told[cause] for cause in ALL_CAUSES}
    billed, unexplained = told["billed"], told["unexplained"]
    assert pico(month["metered_cost_usd"]) == told["metered"]
    assert pico(month["billed_cost_usd"]) == billed
    assert pico(month["invoice_total_usd"]) == told["invoiced"]
    if billed is None or unexplained is None:
        assert gate["passes"]
        return
    assert sum(amount or 0 for amount in causes.values()) == billed - (told["metered"] or 0)
    too_much = 200 * abs(unexplained) > max(abs(billed), abs(told["invoiced"] or 0))
    assert gate["passes"] is not too_much
    if too_much:
        assert month["status"] != "final"
        assert "cannot be closed" in month["reason"]
