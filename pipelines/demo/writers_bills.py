"""The demo's cost exports of OpenAI (dollars) and Anthropic (strings of cents).

What lives here: landing/openai_costs/*.json, landing/anthropic_costs/*.json, with a week that OpenAI bills wrongly
first and restates later. What does not: cloud bills (writers_focus.py), prices (charges.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from pipelines.demo.charges import Charge
from pipelines.demo.export_windows import Window, anthropic_cost_windows, openai_cost_windows
from pipelines.demo.landed_files import LandingWriter
from pipelines.demo.list_prices import PER_THOUSAND
from pipelines.demo.scenario import Scenario
from pipelines.demo.writers_provider import anthropic_bucket, anthropic_page, openai_page, openai_seconds

_OLD_WORDS = {
    "input_uncached": "input",
    "cache_read": "cached input",
    "cache_write_30m": "cache write 30m",
    "output": "output",
}
_NEW_WORDS = {
    "input_uncached": "input_tokens",
    "cache_read": "input_cached_tokens",
    "cache_write_30m": "input_cache_write_30m_tokens",
    "output": "output_tokens",
}
"""OpenAI renamed its line items; the demo changes with the last month of the quarter."""

_ANTHROPIC_TOKEN_TYPES = {
    "input_uncached": "uncached_input_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write_5m": "cache_creation.ephemeral_5m_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
    "output": "output_tokens",
}
_MICRO_CENT = Decimal(1).scaleb(-6)


@dataclass(frozen=True)
class BilledLine:
    """One line as billed: `usd` is the rounded amount that stands in the export."""

    usage_date: date
    account: str
    text: str
    usd: Decimal
    quantity: int | None
    charge: Charge | None = None


def openai_lines(
    charges: Iterable[Charge], scenario: Scenario, days: Iterable[date], *, night: int
) -> Iterator[BilledLine]:
    """Lines of OpenAI's costs for some days as a fetch on `night` saw them.

    On the first night the week to be restated is billed wrongly and its credit is absent.
    """
    wanted = set(days)
    quarter, bill = scenario.quarter, scenario.bill
    renamed = quarter.last_day.replace(day=1)
    for charge in charges:
        if charge.provider == "openai" and charge.is_billed and charge.usage_date in wanted:
            words = (_NEW_WORDS if charge.usage_date >= renamed else _OLD_WORDS)[charge.component]
            surface = "batch | " if charge.service_tier == "batch" else ""
            usd = charge.billed_usd
            if _is_misbilled(charge, scenario, night):
                usd = usd * quarter.misbilled_permille * PER_THOUSAND
            yield BilledLine(
                charge.usage_date, charge.account, f"{surface}{charge.model}, {words}", usd, charge.quantity, charge
            )
    searches = bill.openai_searches_per_day
    for day in sorted(wanted):
        usd = searches * Decimal(bill.openai_search_usd_per_thousand) * PER_THOUSAND
        yield BilledLine(day, bill.openai_search_account, "web search tool calls", usd, searches)
        if day == quarter.credit_day and night > 1:
            credited = "credit for the incorrect price of 20 to 26 September"
            yield BilledLine(day, _first_account(scenario), credited, Decimal(quarter.credit_usd), None)


def anthropic_lines(charges: Iterable[Charge], days: Iterable[date]) -> Iterator[BilledLine]:
    """Lines of Anthropic's cost report for some days: rounded to a millionth of a cent, priority tier left out."""
    wanted = set(days)
    for charge in charges:
        if charge.provider == "anthropic" and charge.is_billed and charge.usage_date in wanted:
            cents = (charge.billed_usd * 100).quantize(_MICRO_CENT, rounding=ROUND_HALF_EVEN)
            text = (
                "Web Search Usage" if charge.component == "web_search" else f"{charge.model} Usage - {charge.component}"
            )
            yield BilledLine(charge.usage_date, charge.account, text, cents / 100, charge.quantity, charge)


def write_openai_costs(charges: list[Charge], scenario: Scenario, writer: LandingWriter, *, night: int) -> None:
    """Land OpenAI's cost pages of one night."""
    for window in openai_cost_windows(scenario):
        if window.night == night:
            lines = openai_lines(charges, scenario, window.days, night=night)
            by_day = _by_day(window, ((line.usage_date, _openai_result(line)) for line in lines))
            buckets = [
                {"object": "bucket", **openai_seconds(day), "results": results} for day, results in by_day.items()
            ]
            writer.write_json(f"openai_costs/costs_{window.name}.json", openai_page(buckets))


def write_anthropic_costs(charges: list[Charge], scenario: Scenario, writer: LandingWriter, *, night: int) -> None:
    """Land Anthropic's cost reports of one night, grouped by workspace and description."""
    for window in anthropic_cost_windows(scenario):
        if window.night == night:
            lines = anthropic_lines(charges, window.days)
            by_day = _by_day(window, ((line.usage_date, _anthropic_result(line)) for line in lines))
            buckets = [anthropic_bucket(day, results) for day, results in by_day.items()]
            writer.write_json(f"anthropic_costs/cost_report_{window.name}.json", anthropic_page(buckets))


def _is_misbilled(charge: Charge, scenario: Scenario, night: int) -> bool:
    quarter = scenario.quarter
    return (
        night == 1
        and charge.model == quarter.misbilled_model
        and charge.component == "output"
        and quarter.restated_from <= charge.usage_date <= quarter.restated_to
    )


def _first_account(scenario: Scenario) -> str:
    """The account that the misbilled model is called from."""
    return next(route.account for route in scenario.routes if route.model == scenario.quarter.misbilled_model)


def _by_day(window: Window, results: Iterable[tuple[date, dict[str, Any]]]) -> dict[date, list[dict[str, Any]]]:
    days: dict[date, list[dict[str, Any]]] = {day: [] for day in window.days}
    for day, result in results:
        days[day].append(result)
    return days


def _openai_result(line: BilledLine) -> dict[str, Any]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": line.usd, "currency": "usd"},
        "line_item": line.text,
        "project_id": line.account,
        "api_key_id": None,
        "quantity": line.quantity,
        "quantity_unit": "tokens" if line.charge is not None else None,
    }


def _anthropic_result(line: BilledLine) -> dict[str, Any]:
    charge = line.charge
    is_search = charge is None or charge.component == "web_search"
    return {
        "amount": f"{line.usd * 100:f}",
        "currency": "USD",
        "cost_type": "web_search" if is_search else "tokens",
        "description": line.text,
        "model": None if charge is None or is_search else charge.model,
        "service_tier": None if charge is None or is_search else charge.service_tier,
        "context_window": None if is_search else "0-200k",
        "token_type": None if charge is None or is_search else _ANTHROPIC_TOKEN_TYPES[charge.component],
        "inference_geo": None if is_search else "global",
        "workspace_id": None if line.account == "default" else line.account,
    }
