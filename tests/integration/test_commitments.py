"""Commitments through a whole night: billed and effective cost each keep their own total.

What lives here: a FOCUS bill that amortises by itself, and a purchase that commitments.csv amortises. What does not:
the shares of a day (tests/unit/transforms/test_commitments.py).
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from pipelines.settings import Settings
from tests.integration.nights import home_settings, land, night, published, refer
from tests.integration.small_month import openai_call, prices

DAYS = tuple(date(2026, 9, 1) + timedelta(days=n) for n in range(3))
HEADER = (
    "BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargeCategory,ChargePeriodStart,"
    "ChargePeriodEnd,ServiceName,ProviderName,SubAccountId,SkuId,SkuPriceDetails,ConsumedQuantity,ConsumedUnit,"
    "CommitmentDiscountStatus,ChargeDescription"
)


def line(day: date, category: str, billed: str, effective: str, *, component: str = "", status: str = "") -> str:
    details = f'"{{""Model"": ""house-mini"", ""TokenType"": ""{component}""}}"' if component else ""
    unit = "1000,Tokens" if component else ","
    return (
        f"{billed},{effective},USD,2026-09-01T00:00:00Z,2026-10-01T00:00:00Z,{category},{day}T00:00:00Z,"
        f"{day + timedelta(days=1)}T00:00:00Z,Tokens,OpenAI,p1,sku,{details},{unit},{status},a line"
    )


def costs(settings: Settings) -> dict[str, tuple[Decimal | None, Decimal | None]]:
    with published(settings) as marts:
        found = marts.sql(
            "select feature, sum(billed_cost_usd), sum(effective_cost_usd)"
            " from mart__feature_cost_daily group by feature"
        ).fetchall()
    return {feature: (billed, effective) for feature, billed, effective in found}


def test_a_bill_that_amortises_conserves_both_totals_and_names_what_was_not_used(tmp_path: Path) -> None:
    """A purchase of $9.00 (billed 9, effective 0); per day use billed 0, effective 2, and unused billed 0, effective 1.
    Billed: 9 = 9 of the purchase. Effective: 3 × (2 + 1) = 9. chat logged all of the use."""
    prices(tmp_path)
    land(tmp_path, "response_log/calls.jsonl", [openai_call(day, 1, "chat", (2_000_000, 0)) for day in DAYS])
    lines = [line(DAYS[0], "Purchase", "9", "0")]
    for day in DAYS:
        lines.append(line(day, "Usage", "0", "2", component="Input", status="Used"))
        lines.append(line(day, "Usage", "0", "1", status="Unused"))
    land(tmp_path, "focus/bill.csv", "\n".join([HEADER, *lines]) + "\n")
    settings = home_settings(tmp_path)
    night(settings)
    assert costs(settings) == {
        "__shared__": (Decimal(9), Decimal(0)),
        "__unused_commitment__": (Decimal(0), Decimal(3)),
        "chat": (Decimal(0), Decimal(6)),
    }
    with published(settings) as marts:
        month = marts.sql(
            "select metered_cost_usd, billed_cost_usd, commitment_usd, unexplained_usd, status"
            " from mart__reconciliation_monthly"
        ).fetchall()
    # metered 3 × 2.00; commitment: 9.00 purchased − 6.00 of use that is billed 0 = 3.00 = billed − metered.
    assert month == [(Decimal(6), Decimal(9), Decimal(3), Decimal(0), "final")]


def test_a_purchase_of_commitments_csv_is_amortised_instead_of_counting_on_its_day(tmp_path: Path) -> None:
    """$30 a month is $1 a day. Capacity 60,000,000 a month is 2,000,000 a day: chat used half on each of three days."""
    prices(tmp_path)
    land(tmp_path, "response_log/calls.jsonl", [openai_call(day, 1, "chat", (1_000_000, 0)) for day in DAYS])
    bill = [line(DAYS[0], "Purchase", "30", "30"), *(line(day, "Usage", "0", "0", status="Used") for day in DAYS[1:])]
    land(tmp_path, "focus/bill.csv", "\n".join([HEADER, *bill]) + "\n")
    refer(
        tmp_path,
        "commitments",
        "commitment_id,provider,account,model_pattern,kind,cost_usd,period,capacity_tokens,valid_from,valid_to\n"
        "ptu,openai,p1,house-*,ptu,30,month,60000000,2026-09-01,2026-09-04\n",
    )
    settings = home_settings(tmp_path)
    night(settings)
    assert costs(settings) == {
        "__shared__": (Decimal(30), Decimal(0)),
        "__unused_commitment__": (Decimal(0), Decimal("1.50")),
        "chat": (Decimal(0), Decimal("1.50")),
    }


def test_a_prepaid_amount_is_drawn_down_by_use_over_two_months(tmp_path: Path) -> None:
    """$5.00 of credits from 30 September to 2 October, bought for $5.00: chat uses 2.00 on 30 September and 1.00 on
    1 October, which the bill charges 0; the last 2.00 expire on 1 October. Nothing of it lies on days without use."""
    prices(tmp_path)
    days = (date(2026, 9, 30), date(2026, 10, 1))
    calls = [openai_call(day, 1, "chat", (tokens, 0)) for day, tokens in zip(days, (2_000_000, 1_000_000), strict=True)]
    land(tmp_path, "response_log/calls.jsonl", calls)
    bill = [line(days[0], "Purchase", "5", "5"), line(days[0], "Usage", "0", "0", component="Input")]
    land(tmp_path, "focus/september.csv", "\n".join([HEADER, *bill]) + "\n")
    october = line(days[1], "Usage", "0", "0", component="Input").replace(
        "10-01T00:00:00Z,Usage", "11-01T00:00:00Z,Usage"
    )
    october = october.replace("USD,2026-09-01", "USD,2026-10-01")
    land(tmp_path, "focus/october.csv", "\n".join([HEADER, october]) + "\n")
    refer(
        tmp_path,
        "commitments",
        "commitment_id,provider,account,model_pattern,kind,cost_usd,period,capacity_tokens,valid_from,valid_to\n"
        "credits,openai,p1,house-*,prepaid,5,once,,2026-09-30,2026-10-02\n",
    )
    settings = home_settings(tmp_path)
    night(settings)
    with published(settings) as marts:
        found = marts.sql(
            "select strftime(usage_date, '%m-%d'), feature, effective_cost_usd from mart__feature_cost_daily"
            " where effective_cost_usd <> 0 order by 1, 2"
        ).fetchall()
    assert found == [
        ("09-30", "chat", Decimal(2)),
        ("10-01", "__unused_commitment__", Decimal(2)),
        ("10-01", "chat", Decimal(1)),
    ]
