"""A FOCUS line to build samples from, and reading them.

What lives here: `LINE`, `line`, `csv_text`, `read`, `first`. What does not: any expected value.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from pipelines.connectors.focus import CONNECTOR
from tests.unit.connectors.money_reading import MoneyReading, land_bytes, read_money

LINE = {
    "BilledCost": "1.50",
    "EffectiveCost": "1.25",
    "ListCost": "2.00",
    "ContractedCost": "1.50",
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-11-01T00:00:00Z",
    "BillingPeriodEnd": "2026-12-01T00:00:00Z",
    "ChargePeriodStart": "2026-11-03T00:00:00Z",
    "ChargePeriodEnd": "2026-11-04T00:00:00Z",
    "ChargeCategory": "Usage",
    "ChargeClass": "",
    "ChargeDescription": "tokens of a day",
    "ConsumedQuantity": "1000",
    "ConsumedUnit": "Tokens",
    "ProviderName": "OpenAI",
    "InvoiceIssuerName": "OpenAI",
    "ServiceName": "OpenAI API",
    "SubAccountId": "proj_a",
    "RegionId": "",
    "Tags": "",
}


def line(**changes: str) -> dict[str, str]:
    return {**LINE, **changes}


def csv_text(*lines: dict[str, str], drop: tuple[str, ...] = ()) -> str:
    names = list(dict.fromkeys(name for one in lines for name in one if name not in drop))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def read(tmp_path: Path, *lines: dict[str, str], drop: tuple[str, ...] = (), **keywords: Any) -> MoneyReading:
    return read_money(CONNECTOR, land_bytes(tmp_path, "focus", csv_text(*lines, drop=drop), **keywords))


def first(reading: MoneyReading) -> dict[str, Any]:
    return reading.billing.row(0, named=True)
