"""The demo owner's reference tables: features, contracts, shared costs, invoices, exchange rates, machines.

What lives here: <home>/reference/*.csv. What does not: shipped tables (data/reference), the rows of the scenario
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from pipelines.demo.charges import Charge
from pipelines.demo.export_windows import DAY, Window
from pipelines.demo.landed_files import LandingWriter
from pipelines.demo.scenario import DEMO_NIGHTS, Scenario
from pipelines.demo.writers_bills import anthropic_lines, openai_lines
from pipelines.demo.writers_focus import billing_provider, focus_rows, invoice_id, usd_per_euro

FEATURE_COLUMNS = ("priority", "field", "pattern", "feature", "team", "cost_center", "valid_from", "valid_to")
CONTRACT_COLUMNS = (
    "contract_id", "provider", "account", "model_pattern", "service_tier", "component", "discount_percent", "price_usd",
    "per_units", "valid_from", "valid_to",
)  # fmt: skip
SHARED_COST_COLUMNS = ("priority", "provider", "account", "match", "method", "weights", "valid_from", "valid_to")
INVOICE_COLUMNS = ("provider", "account", "period", "invoice_id", "total", "currency", "issued_on")
FX_COLUMNS = ("rate_date", "currency", "usd_per_unit", "source")
MACHINE_COLUMNS = {
    "deployments": (
        "deployment", "provider", "model", "site", "bill_match", "gpu_type", "gpu_count", "purchase_type",
        "capacity_units_per_gpu_hour", "w_input", "w_cached", "w_output", "idle_policy", "valid_from", "valid_to",
    ),
    "gpu_rates": (
        "gpu_type", "purchase_type", "usd_per_gpu_hour", "purchase_price_usd", "salvage_usd", "useful_life_years",
        "cost_of_capital", "idle_w", "max_w", "host_w_per_gpu", "valid_from", "valid_to", "source",
    ),
    "overheads": ("deployment", "component", "method", "value", "unit", "valid_from", "valid_to"),
    "energy": ("site", "usd_per_kwh", "pue", "colo_usd_per_kw_month", "colo_includes_power", "valid_from", "valid_to"),
    "model_equivalents": ("model", "equivalent_provider", "equivalent_model", "quality_ratio", "note"),
}  # fmt: skip

_CLOUDS = ("aws", "aws_bedrock", "google")
_CENT = Decimal(1).scaleb(-2)


def write_reference_tables(charges: list[Charge], scenario: Scenario, writer: LandingWriter, *, night: int) -> None:
    """Write the reference tables as they stand on a night: invoices of closed months, exchange rates up to that day."""
    writer.write_csv("features.csv", FEATURE_COLUMNS, scenario.feature_rules)
    writer.write_csv("contract_prices.csv", CONTRACT_COLUMNS, scenario.contracts)
    writer.write_csv("shared_costs.csv", SHARED_COST_COLUMNS, scenario.shared_costs)
    for table, columns in MACHINE_COLUMNS.items():
        writer.write_csv(f"{table}.csv", columns, scenario.machines[table])
    writer.write_csv("invoices.csv", INVOICE_COLUMNS, invoices(charges, scenario, night=night))
    writer.write_csv("fx_rates.csv", FX_COLUMNS, _fx_rates(scenario, night))


def invoices(charges: list[Charge], scenario: Scenario, *, night: int) -> list[dict[str, object]]:
    """One invoice per provider, account and closed month: the sum of its lines, rounded to cents once.

    OpenAI and Anthropic issue on the first of the next month, the clouds on the third.
    """
    clock = datetime.fromisoformat(dict(DEMO_NIGHTS)[night]).date()
    totals: dict[tuple[str, str, str, date], Decimal] = {}
    for provider, account, currency, month, amount in _billed(charges, scenario, night):
        key = (provider, account, currency, month)
        totals[key] = totals.get(key, Decimal(0)) + amount
    rows: list[dict[str, object]] = []
    for (provider, account, currency, month), total in sorted(totals.items(), key=lambda item: item[0]):
        issuer = provider if provider in _CLOUDS else f"{provider}-{account}"
        issued_on = _next_month(month).replace(day=3 if provider in _CLOUDS else 1)
        if issued_on <= clock:
            rows.append(
                {
                    "provider": provider,
                    "account": account,
                    "period": f"{month:%Y-%m}",
                    "invoice_id": invoice_id(issuer, month),
                    "total": total.quantize(_CENT, rounding=ROUND_HALF_EVEN),
                    "currency": currency,
                    "issued_on": issued_on,
                }
            )
    return rows


def _billed(charges: list[Charge], scenario: Scenario, night: int) -> Iterator[tuple[str, str, str, date, Decimal]]:
    """Provider, account, currency, month and amount of every line of the quarter."""
    quarter = scenario.quarter
    for line in openai_lines(charges, scenario, quarter.days, night=night):
        yield "openai", line.account, "USD", line.usage_date.replace(day=1), line.usd
    for line in anthropic_lines(charges, quarter.days):
        yield "anthropic", line.account, "USD", line.usage_date.replace(day=1), line.usd
    for month in sorted({day.replace(day=1) for day in quarter.days}):
        for row in focus_rows(charges, scenario, Window(night, month, _next_month(month) - DAY)):
            account, currency = str(row["SubAccountId"]), str(row["BillingCurrency"])
            yield billing_provider(row), account, currency, month, Decimal(str(row["BilledCost"]))


def _next_month(month: date) -> date:
    return (month.replace(day=28) + 4 * DAY).replace(day=1)


def _fx_rates(scenario: Scenario, night: int) -> Iterable[dict[str, object]]:
    clock = datetime.fromisoformat(dict(DEMO_NIGHTS)[night]).date()
    for day in scenario.quarter.days:
        if day <= clock:
            yield {
                "rate_date": day,
                "currency": scenario.bill.google_currency,
                "usd_per_unit": usd_per_euro(day, scenario),
                "source": "synthetic demo rate",
            }
