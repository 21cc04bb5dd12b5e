"""The openai_costs connector: dollars, credits, and line items as free text."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors.base import LandedFile
from pipelines.connectors.openai_costs import CONNECTOR, LineItem, read_line_item
from tests.unit.connectors.money_reading import MoneyReading, land_bytes, read_money

NOV_1 = 1793491200  # 2026-11-01T00:00:00Z
DAY = 86400


def cost(
    value: str, *, currency: str = '"usd"', line_item: str = "null", project: str = '"proj_a"', rest: str = ""
) -> str:
    """One result as JSON text, so that the amount stands there digit for digit."""
    amount = f'{{"value": {value}, "currency": {currency}}}'
    return (
        f'{{"object": "organization.costs.result", "amount": {amount}, "line_item": {line_item}, '
        f'"project_id": {project}{rest}}}'
    )


def read(tmp_path: Path, *results: str, more: str = "", **keywords: Any) -> MoneyReading:
    day = f'{{"object": "bucket", "start_time": {NOV_1}, "end_time": {NOV_1 + DAY}, "results": [{", ".join(results)}]}}'
    text = f'{{"object": "page", "data": [{day}{more}], "has_more": false, "next_page": null}}'
    return read_money(CONNECTOR, land_bytes(tmp_path, "openai_costs", text, **keywords))


@pytest.mark.parametrize(
    ("written", "dollars"),
    [
        ("0.06", "0.06"),
        ("0.8958740000000000", "0.895874"),
        ("0.1", "0.1"),  # as a float it would be 0.1000000000000000055…
        ("1E-7", "0.0000001"),
        ("0.0000000000005", "0"),  # half of the last place goes to the even 0 …
        ("0.0000000000015", "0.000000000002"),  # … and here to the even 2
        ("12345678901234567890.123456789012", "12345678901234567890.123456789012"),
        ('"1850.00"', "1850"),
        ("3", "3"),
    ],
)
def test_amounts_are_dollars_digit_for_digit(tmp_path: Path, written: str, dollars: str) -> None:
    reading = read(tmp_path, cost(written))
    assert reading.billing["billed_cost_in_currency"].to_list() == [Decimal(dollars)]
    assert reading.billing["effective_cost_in_currency"].to_list() == [Decimal(dollars)]
    assert reading.broken == []


def test_a_negative_amount_is_a_credit_with_its_sign(tmp_path: Path) -> None:
    reading = read(tmp_path, cost("-5.25"), cost("0"))
    assert reading.billing["charge_category"].to_list() == ["Credit", "Usage"]
    assert reading.billing["billed_cost_in_currency"].to_list() == [Decimal("-5.25"), Decimal(0)]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("ft-gpt-4o-2024-08-06, input", LineItem("ft-gpt-4o-2024-08-06", "input_uncached", None, True)),
        ("evals | gpt-4o-mini-2024-07-18, input", LineItem("gpt-4o-mini-2024-07-18", "input_uncached", None, True)),
        ("gpt-6-astra, input_tokens", LineItem("gpt-6-astra", "input_uncached", None, True)),
        ("gpt-5.5-2026-04-23, cached input", LineItem("gpt-5.5-2026-04-23", "cache_read", None, True)),
        ("gpt-5.5-2026-04-23, output", LineItem("gpt-5.5-2026-04-23", "output", None, True)),
        ("gpt-6-astra, output_tokens", LineItem("gpt-6-astra", "output", None, True)),
        ("gpt-5.6-sol, cache write 30m", LineItem("gpt-5.6-sol", "cache_write_30m", None, True)),
        ("gpt-5.6-sol, cache_write_tokens", LineItem("gpt-5.6-sol", "cache_write_unknown", None, True)),
        ("gpt-audio-mini-2025-12-15 audio, input", LineItem("gpt-audio-mini-2025-12-15", "input_audio", None, True)),
        ("gpt-image-2.5-flare image, output", LineItem("gpt-image-2.5-flare", "output_image", None, True)),
        ("gpt-image-2.5-flare text, cached input", LineItem("gpt-image-2.5-flare", "cache_read", None, True)),
        ("text-embedding-3-small, input", LineItem("text-embedding-3-small", "embedding_input", None, True)),
        ("priority | gpt-5.6-sol, output, long context", LineItem("gpt-5.6-sol", "output", "priority", True)),
        ("gpt-4o-mini-2024-07-18, batch input", LineItem("gpt-4o-mini-2024-07-18", "input_uncached", "batch", True)),
        ("assistants api | file search", LineItem(None, "file_search_requests", None, False)),
        ("web search tool calls", LineItem(None, "web_search_requests", None, False)),
        ("code interpreter | sessions", LineItem(None, None, None, False)),
        ("Vector storage", LineItem(None, None, None, False)),
        ("gpt-4o-mini-2024-07-18, training", LineItem(None, None, None, False)),
        ("whisper-1, audio", LineItem(None, None, None, False)),
        ("GPT input", LineItem(None, None, None, False)),
        ("gpt-4o", LineItem(None, None, None, False)),
        (None, LineItem(None, None, None, True)),
    ],
)
def test_line_items_of_both_styles(text: str | None, meaning: LineItem) -> None:
    assert read_line_item(text) == meaning


def test_quantities_are_single_tokens_whatever_their_unit(tmp_path: Path) -> None:
    line = '"gpt-6-astra, input_tokens"'
    reading = read(
        tmp_path,
        cost("1", line_item=line, rest=', "quantity": 1234.5, "quantity_unit": "1000_tokens"'),
        cost("1", line_item='"gpt-6-astra, output_tokens"', rest=', "quantity": 77, "quantity_unit": "tokens"'),
        cost("1", line_item='"Vector storage"', rest=', "quantity": 0.25, "quantity_unit": "gibibyte_hours"'),
        cost("1", line_item='"web search tool calls"', rest=', "quantity": null, "quantity_unit": null'),
    )
    assert reading.billing.select("consumed_quantity", "consumed_unit").rows() == [
        (Decimal(1234500), "Tokens"),
        (Decimal(77), "Tokens"),
        (Decimal("0.25"), "gibibyte_hours"),
        (None, None),
    ]


def test_project_is_the_account_and_null_beside_others_the_default_project(tmp_path: Path) -> None:
    reading = read(tmp_path, cost("1"), cost("2", project="null"))
    assert reading.billing["account"].to_list() == ["proj_a", "default"]
    assert reading.billing["billing_month"].to_list() == ["2026-11", "2026-11"]


def test_an_empty_day_is_fetched_and_free(tmp_path: Path) -> None:
    empty = f', {{"object": "bucket", "start_time": {NOV_1 + DAY}, "end_time": {NOV_1 + 2 * DAY}, "results": []}}'
    reading = read(tmp_path, cost("1"), more=empty)
    assert [(start[:10], complete) for _, start, complete in reading.days] == [
        ("2026-11-01", True),
        ("2026-11-02", True),
    ]
    assert reading.buckets["result_kind"].to_list() == ["cost", "cost"]


@pytest.mark.parametrize(
    ("result", "code", "column"),
    [
        (cost("null"), "bad_amount", "amount.value"),
        (cost('"1,850.00"'), "bad_amount", "amount.value"),
        (cost("true"), "bad_amount", "amount.value"),
        (cost("1e400"), "bad_amount", "amount.value"),
        (cost("1e26"), "bad_amount", "amount.value"),
        (cost("1", currency="null"), "bad_currency", "amount.currency"),
        (cost("1", currency='"dollars"'), "bad_currency", "amount.currency"),
        (cost("1", rest=', "quantity": "x"'), "bad_quantity", "quantity"),
        ('{"amount": 5, "project_id": "proj_a"}', "bad_amount", "amount"),
        ('"a text"', "type_error", "results"),
    ],
)
def test_one_unreadable_line_is_rejected_and_leaves_its_day_incomplete(
    tmp_path: Path, result: str, code: str, column: str
) -> None:
    reading = read(tmp_path, result, cost("2"))
    assert reading.reasons == [(1, code, column)]
    assert reading.billing["billed_cost_in_currency"].to_list() == [Decimal(2)]
    assert reading.days == [("proj_a", "2026-11-01T00:00:00Z", False)]


def test_members_and_key_names_stay_in_the_raw_file(tmp_path: Path) -> None:
    secret = "canary-b0b5"
    planted = cost(
        "1", rest=f', "user_id": "{secret}", "user_email": "{secret}@example.org", "api_key_name": "{secret}"'
    )
    assert secret not in read(tmp_path, planted).text()


@pytest.mark.real_data
def test_the_example_of_the_api_reference(shared_data: Path) -> None:
    path = shared_data / "formats" / "openai_admin" / "get_organization_costs.json"
    reading = read_money(CONNECTOR, LandedFile("openai_costs", path, path.name, "0123456789abcdef"))
    row = reading.billing.row(0, named=True)
    assert (row["billed_cost_in_currency"], row["billing_currency"], row["account"]) == (Decimal("0.06"), "USD", "*")
    assert (row["is_token_charge"], row["model"], reading.broken) == (True, None, [])
    assert reading.days == [("*", "2024-11-01T00:00:00Z", True)]
