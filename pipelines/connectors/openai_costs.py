"""OpenAI organization costs API: `GET /v1/organization/costs` pages as files.

What lives here: cost results → core__billing, and the reading of `line_item`. What does not: tokens
(openai_usage.py), pages, accounts and coverage (provider_buckets.py).

`amount.value` is in dollars and may be negative (credits, adjustments); billed and effective cost are the same.
Digits beyond 10⁻¹² dollars are rounded half to even. `line_item` is free text whose style has changed; the layouts
read are

    <model>, <words>                    gpt-5.5-2026-04-23, cached input · gpt-6-astra, input_tokens
    <model> <modality>, <words>         gpt-audio-mini-2025-12-15 audio, input
    <surface or tier> | <one of these>  evals | gpt-4o-mini-2024-07-18, input · priority | gpt-5.6-sol, output

with the words of meter_words.py. Any other text (`assistants api | file search`, `web search tool calls`) has no
model and is no token charge. An export that was not grouped by `line_item` has none at all: such a line covers
everything, mostly tokens, and counts as a token charge without detail. `quantity` is filled only when grouped by
`line_item`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipelines.connectors.base import BILLING_SCHEMA, Batch, LandedFile, MergeRule, Role, canonical_billing
from pipelines.connectors.reading.meter_words import meter_meaning
from pipelines.connectors.reading.provider_buckets import (
    RESULT_LISTS,
    Result,
    UnreadableResultError,
    currency_of,
    exact_amount,
    read_page,
    text_of,
    to_batch,
)
from pipelines.connectors.reading.strict_documents import count_listed

RESULT_KIND = "cost"

_HEAD = re.compile(r"(?P<model>[A-Za-z0-9][\w.:/\-]*)(?:\s+(?P<modality>text|audio|image|video))?\Z")
_TOOLS = (("web search", "web_search_requests"), ("file search", "file_search_requests"))
_TOKEN_UNITS = {"tokens": Decimal(1), "1000_tokens": Decimal(1000)}
_MEASURES = frozenset({"amount", "quantity", "quantity_unit"})


class OpenAICosts:
    """Connector `openai_costs`: one billing row per result; `account` is the project."""

    source = "openai_costs"
    role: Role = "bill"
    merge = MergeRule()

    def count_records(self, file: LandedFile) -> int:
        """Results in the file: items of every `results` list."""
        return count_listed(file, RESULT_LISTS)

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """One batch: rows of all results, a covered bucket per project and day, empty days included."""
        page = read_page(
            file,
            times=("start_time", "end_time"),
            account_field="project_id",
            kind_of=lambda _: RESULT_KIND,
            measures=_MEASURES,
        )
        rows, batch = to_batch(page, _rows, provider="openai", unknown_kind=RESULT_KIND)
        batch.billing = canonical_billing(pl.DataFrame(rows, schema=BILLING_SCHEMA))
        yield batch


@dataclass(frozen=True)
class LineItem:
    """What a `line_item` says; NULL where it says nothing."""

    model: str | None
    component: str | None
    service_tier: str | None
    is_token_charge: bool


def read_line_item(text: str | None) -> LineItem:
    """Model, component (token leaf, or meter of a tool) and tier of a line; see the module for the layouts."""
    if text is None:
        return LineItem(None, None, None, is_token_charge=True)
    *surfaces, line = (part.strip() for part in text.split("|"))
    head, _, words = line.partition(",")
    match = _HEAD.match(head.strip())
    meaning = meter_meaning(f"{match['modality'] or ''} {words}") if match and words else None
    if match is None or meaning is None or meaning.component is None:
        tool = next((meter for name, meter in _TOOLS if name in line.lower()), None)
        return LineItem(None, tool, None, is_token_charge=False)
    component, model = meaning.component, match["model"]
    if component == "input_uncached" and model.startswith("text-embedding"):
        component = "embedding_input"
    tier = meaning.service_tier or meter_meaning(" ".join(surfaces)).service_tier
    return LineItem(model, component, "priority" if tier == "fast" else tier, is_token_charge=True)


def _rows(result: Result, start: datetime, end: datetime) -> Iterable[Mapping[str, object]]:
    fields = result.fields
    amount = fields.get("amount")
    if not isinstance(amount, dict):
        raise UnreadableResultError("bad_amount", "amount")
    cost = exact_amount(amount.get("value"), "amount.value")
    text = text_of(fields, "line_item")
    line = read_line_item(text)
    quantity, unit = _quantity(fields)
    return [
        {
            "charge_period_start": start,
            "charge_period_end": end,
            "billing_month": f"{start:%Y-%m}",
            "provider": "openai",
            "account": result.account,
            "charge_category": "Credit" if cost < 0 else "Usage",
            "charge_description": text,
            "is_token_charge": line.is_token_charge,
            "model": line.model,
            "service_tier": line.service_tier,
            "component": line.component,
            "consumed_quantity": quantity,
            "consumed_unit": unit,
            "billing_currency": currency_of(amount.get("currency"), "amount.currency"),
            "billed_cost_in_currency": cost,
            "effective_cost_in_currency": cost,
        }
    ]


def _quantity(fields: Mapping[str, Any]) -> tuple[Decimal | None, str | None]:
    """Quantity and unit; tokens always as single tokens."""
    if fields.get("quantity") is None:
        return None, None
    unit = text_of(fields, "quantity_unit")
    try:
        quantity = exact_amount(fields["quantity"], "quantity", places=9)
    except UnreadableResultError as error:
        raise UnreadableResultError("bad_quantity", "quantity", error.rule) from error
    if unit in _TOKEN_UNITS:
        return quantity * _TOKEN_UNITS[unit], "Tokens"
    return quantity, unit


CONNECTOR = OpenAICosts()
