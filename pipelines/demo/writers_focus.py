"""The demo's cloud bill in FOCUS 1.2: AWS (Bedrock, support, tax) in dollars and Google (Gemini, a credit) in euros.

What lives here: landing/focus/<month>.csv, and the demo's exchange rates. What does not: token prices (charges.py).
Bills of closed months carry an invoice id; the last month has none, its taxes come with the complete file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from pipelines.demo.charges import Charge
from pipelines.demo.export_windows import DAY, Window, focus_windows
from pipelines.demo.landed_files import LandingWriter
from pipelines.demo.random_streams import Stream
from pipelines.demo.scenario import DEMO_SEED, Scenario

FOCUS_COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd",
    "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice", "EffectiveCost",
    "InvoiceId", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit",
    "ProviderName", "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType",
    "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId",
    "SubAccountId", "SubAccountName", "Tags",
)  # fmt: skip

_MICRO = Decimal(1).scaleb(-6)
_CENT = Decimal(1).scaleb(-2)
_THOUSAND = Decimal(1000)

_AWS_METERS = {
    "input_uncached": "input-tokens",
    "cache_read": "cache-read-input-token-count",
    "output": "output-tokens",
}
_AWS_NAMES = {
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0": "Claude4.5Sonnet",
    "global.anthropic.claude-haiku-4-5-20251001-v1:0": "Claude4.5Haiku",
    "amazon.nova-lite-v1:0": "NovaLite",
}
_GOOGLE_SKUS = {
    "input_uncached": "Gemini 2.5 Pro Text Input - Predictions",
    "cache_read": "Gemini 2.5 Pro Text Input Caching - Predictions",
    "output": "Gemini 2.5 Pro Text Output - Predictions",
}

FocusRow = dict[str, object]


def usd_per_euro(day: date, scenario: Scenario) -> Decimal:
    """The demo's invented exchange rate of a day, four digits, between 1.07 and 1.10."""
    number = (day - scenario.quarter.first_day).days
    return Decimal(10_700 + Stream(DEMO_SEED, "exchange_rate").below_at(number, 301)) / 10_000


def write_focus_bill(charges: list[Charge], scenario: Scenario, writer: LandingWriter, *, night: int) -> None:
    """Land the monthly bill files of one night."""
    for window in focus_windows(scenario):
        if window.night == night:
            rows = focus_rows(charges, scenario, window)
            writer.write_csv(f"focus/{window.first:%Y-%m}.csv", FOCUS_COLUMNS, rows)


def focus_rows(charges: Iterable[Charge], scenario: Scenario, window: Window) -> list[FocusRow]:
    """All rows of one month's file: usage in order of day and model, then support, credit and tax."""
    wanted = [charge for charge in charges if window.first <= charge.usage_date <= window.last and charge.is_billed]
    rows = [_aws_usage(charge, scenario) for charge in wanted if charge.provider == "aws_bedrock"]
    usage_usd = sum((Decimal(str(row["BilledCost"])) for row in rows), Decimal(0))
    rows += [_google_usage(charge, scenario) for charge in wanted if charge.provider == "google"]
    rows.append(_aws_support(scenario, window))
    rows += _google_credit(scenario, window)
    if (window.last + DAY).day == 1:
        rows.append(_aws_tax(scenario, window, usage_usd))
    if window.last < scenario.quarter.last_day.replace(day=1):
        rows = [{**row, "InvoiceId": invoice_id(billing_provider(row), window.first)} for row in rows]
    return rows


def billing_provider(row: FocusRow) -> str:
    """Who a row's money goes to in this project's words: Bedrock, the rest of AWS (support, tax) and Google apart."""
    if row["ProviderName"] != "AWS":
        return "google"
    return "aws_bedrock" if row["ServiceName"] == "Amazon Bedrock" else "aws"


def invoice_id(issuer: str, month: date) -> str:
    """The demo's number of an invoice, such as `INV-AWS-2026-07`; Bedrock has one of its own, as marketplaces do."""
    return f"INV-{issuer.upper()}-{month:%Y-%m}"


def _aws_usage(charge: Charge, scenario: Scenario) -> FocusRow:
    name = _AWS_NAMES[charge.model]
    scope = "-cross-region-global" if charge.model.startswith("global.") else ""
    meter = f"USE1-{name}-{_AWS_METERS[charge.component]}{scope}"
    profile = "foundation-model" if charge.model.startswith("amazon.") else "inference-profile"
    account = "" if profile == "foundation-model" else scenario.bill.aws_account
    return {
        **_aws_common(scenario),
        **_period(charge.usage_date, charge.usage_date + DAY),
        **_usage(charge, _plain(charge.billed_usd), Decimal(charge.quantity) / _THOUSAND, "1K tokens"),
        "ChargeDescription": f"{meter}: {name} on Amazon Bedrock in US East (N. Virginia)",
        "ResourceId": f"arn:aws:bedrock:us-east-1:{account}:{profile}/{charge.model}",
        "ResourceName": charge.model,
        "ResourceType": "Bedrock model",
        "ServiceName": "Amazon Bedrock",
        "SkuId": f"SKU-{name}",
        "SkuMeter": meter,
        "SkuPriceDetails": json.dumps({"ModelId": charge.model}),
        "SkuPriceId": f"SKU-{name}.{charge.component}",
    }


def _google_usage(charge: Charge, scenario: Scenario) -> FocusRow:
    cost = (charge.billed_usd / usd_per_euro(charge.usage_date, scenario)).quantize(_MICRO, rounding=ROUND_HALF_EVEN)
    sku = _GOOGLE_SKUS[charge.component] + (" (Long)" if charge.is_long else "")
    return {
        **_google_common(scenario),
        **_period(charge.usage_date, charge.usage_date + DAY),
        **_usage(charge, _plain(cost), Decimal(charge.quantity), "count"),
        "ChargeDescription": sku,
        "ResourceName": charge.model,
        "ServiceName": "Vertex AI",
        "SkuId": f"GEM25P-{charge.component}{'-long' if charge.is_long else ''}",
        "SkuMeter": sku,
    }


def _usage(charge: Charge, cost: str, pricing_quantity: Decimal, pricing_unit: str) -> FocusRow:
    return {
        **_costs(cost),
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": charge.quantity,
        "ConsumedUnit": "Tokens",
        "PricingCategory": "Standard",
        "PricingQuantity": _plain(pricing_quantity),
        "PricingUnit": pricing_unit,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
    }


def _aws_support(scenario: Scenario, window: Window) -> FocusRow:
    return {
        **_aws_common(scenario),
        **_period(window.first, _month_end(window.first)),
        **_costs(scenario.bill.aws_support_usd),
        "ChargeCategory": "Purchase",
        "ChargeDescription": "AWS Support (Business), monthly fee",
        "ChargeFrequency": "Recurring",
        "ServiceCategory": "Other",
        "ServiceName": "AWS Support (Business)",
    }


def _aws_tax(scenario: Scenario, window: Window, usage_usd: Decimal) -> FocusRow:
    taxed = usage_usd + Decimal(scenario.bill.aws_support_usd)
    tax = (taxed * scenario.bill.aws_tax_permille / _THOUSAND).quantize(_CENT, rounding=ROUND_HALF_EVEN)
    return {
        **_aws_common(scenario),
        **_period(window.first, _month_end(window.first)),
        **_costs(_plain(tax)),
        "ChargeCategory": "Tax",
        "ChargeDescription": "Value Added Tax",
        "ServiceCategory": "Other",
        "ServiceName": "Tax",
    }


def _google_credit(scenario: Scenario, window: Window) -> Iterator[FocusRow]:
    day = scenario.bill.google_credit_day
    if window.first <= day <= window.last:
        yield {
            **_google_common(scenario),
            **_period(day, day + DAY),
            **_costs(scenario.bill.google_credit),
            "ChargeCategory": "Credit",
            "ChargeDescription": "Promotional credit for Vertex AI",
            "ChargeFrequency": "One-Time",
            "ServiceCategory": "AI and Machine Learning",
            "ServiceName": "Vertex AI",
        }


def _aws_common(scenario: Scenario) -> FocusRow:
    return {
        "BillingAccountId": scenario.bill.aws_billing_account,
        "BillingAccountName": "Aurora (synthetic)",
        "BillingAccountType": "Management",
        "BillingCurrency": "USD",
        "InvoiceIssuerName": "Amazon Web Services, Inc.",
        "ProviderName": "AWS",
        "PublisherName": "AWS",
        "RegionId": "us-east-1",
        "RegionName": "US East (N. Virginia)",
        "SubAccountId": scenario.bill.aws_account,
        "SubAccountName": "aurora-production",
    }


def _google_common(scenario: Scenario) -> FocusRow:
    return {
        "BillingAccountId": scenario.bill.google_billing_account,
        "BillingAccountName": "Aurora (synthetic)",
        "BillingAccountType": "Billing Account",
        "BillingCurrency": scenario.bill.google_currency,
        "InvoiceIssuerName": "Google Cloud EMEA Limited",
        "ProviderName": "Google Cloud",
        "PublisherName": "Google Cloud",
        "RegionId": "europe-west4",
        "RegionName": "Netherlands",
        "SubAccountId": scenario.bill.google_project,
        "SubAccountName": scenario.bill.google_project,
    }


def _period(start: date, end: date) -> FocusRow:
    """Charge period and the billing month around it; ends are exclusive."""
    month = start.replace(day=1)
    return {
        "ChargePeriodStart": f"{start}T00:00:00Z",
        "ChargePeriodEnd": f"{end}T00:00:00Z",
        "BillingPeriodStart": f"{month}T00:00:00Z",
        "BillingPeriodEnd": f"{_month_end(month)}T00:00:00Z",
    }


def _month_end(day: date) -> date:
    """First day of the next month: periods end exclusively."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _costs(cost: str) -> FocusRow:
    return {"BilledCost": cost, "EffectiveCost": cost, "ListCost": cost, "ContractedCost": cost}


def _plain(number: Decimal) -> str:
    return f"{number:f}"
