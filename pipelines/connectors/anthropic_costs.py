"""Anthropic Admin API: `GET /v1/organizations/cost_report` pages as files.

What lives here: cost results → core__billing. What does not: tokens (anthropic_usage.py), pages, accounts and
coverage (provider_buckets.py).

`amount` is a decimal string in **cents**: "123.45" is $1.23. It is divided by 100 exactly and kept to 10⁻¹² dollars
(half to even beyond). The report leaves out priority tier and includes code execution, which message usage leaves
out. Fields are NULL unless grouped by description: a line without `cost_type` covers everything and counts as a
token charge without detail. The context window has no column of its own here and stands in `tags`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import polars as pl

from pipelines.connectors.base import (
    BILLING_SCHEMA,
    Batch,
    LandedFile,
    MergeRule,
    Role,
    canonical_billing,
    service_tier,
)
from pipelines.connectors.reading.meter_words import meter_meaning
from pipelines.connectors.reading.provider_buckets import (
    RESULT_LISTS,
    Result,
    currency_of,
    exact_amount,
    read_page,
    region_of,
    text_of,
    to_batch,
)
from pipelines.connectors.reading.strict_documents import count_listed
from pipelines.connectors.reading.tag_text import tag_text

RESULT_KIND = "cost"
CENTS = -2
"""Power of ten from the report's unit to dollars."""

_METER_OF_COST_TYPE = {"web_search": "web_search_requests", "code_execution": "code_execution_seconds"}


class AnthropicCosts:
    """Connector `anthropic_costs`: one billing row per result; `account` is the workspace."""

    source = "anthropic_costs"
    role: Role = "bill"
    merge = MergeRule()

    def count_records(self, file: LandedFile) -> int:
        """Results in the file: items of every `results` list."""
        return count_listed(file, RESULT_LISTS)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """One batch: rows of all results, a covered bucket per workspace and day, empty days included."""
        page = read_page(
            file,
            times=("starting_at", "ending_at"),
            account_field="workspace_id",
            kind_of=lambda _: RESULT_KIND,
            measures=frozenset({"amount"}),
        )
        rows, batch = to_batch(page, _rows, provider="anthropic", unknown_kind=RESULT_KIND)
        tier = pl.when(pl.col("service_tier").is_not_null()).then(service_tier(pl.col("service_tier")))
        frame = pl.DataFrame(rows, schema=BILLING_SCHEMA).with_columns(tier.alias("service_tier"))
        batch.billing = canonical_billing(frame)
        yield batch


def _rows(result: Result, start: datetime, end: datetime) -> Iterable[Mapping[str, object]]:
    fields = result.fields
    cost = exact_amount(fields.get("amount"), "amount", shift=CENTS)
    cost_type, token_type = text_of(fields, "cost_type"), text_of(fields, "token_type")
    context = text_of(fields, "context_window")
    component = meter_meaning(token_type).component or _METER_OF_COST_TYPE.get(cost_type or "")
    return [
        {
            "charge_period_start": start,
            "charge_period_end": end,
            "billing_month": f"{start:%Y-%m}",
            "provider": "anthropic",
            "account": result.account,
            "charge_category": "Credit" if cost < 0 else "Usage",
            "charge_description": text_of(fields, "description"),
            "is_token_charge": cost_type in (None, "tokens"),
            "model": text_of(fields, "model"),
            "service_tier": text_of(fields, "service_tier"),
            "region": region_of(text_of(fields, "inference_geo")),
            "component": component,
            "billing_currency": currency_of(fields.get("currency"), "currency"),
            "billed_cost_in_currency": cost,
            "effective_cost_in_currency": cost,
            "tags": tag_text({"context_window": context}) if context else None,
        }
    ]


CONNECTOR = AnthropicCosts()
