"""The anthropic_costs connector: amounts are decimal strings in cents."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors.anthropic_costs import CONNECTOR
from tests.unit.connectors.money_reading import MoneyReading, land_json, read_money


def cost(**changes: Any) -> dict[str, Any]:
    result = {
        "amount": "123.78912",
        "currency": "USD",
        "cost_type": "tokens",
        "description": "Claude Sonnet 4 Usage - Input Tokens",
        "model": "claude-sonnet-4-20250514",
        "service_tier": "standard",
        "context_window": "0-200k",
        "token_type": "uncached_input_tokens",
        "inference_geo": "global",
        "workspace_id": "wrkspc_a",
    }
    return {**result, **changes}


def read(tmp_path: Path, *results: Any, **keywords: Any) -> MoneyReading:
    day = {"starting_at": "2026-11-01T00:00:00Z", "ending_at": "2026-11-02T00:00:00Z", "results": list(results)}
    empty = {"starting_at": "2026-11-02T00:00:00Z", "ending_at": "2026-11-03T00:00:00Z", "results": []}
    document = {"data": [day, empty], "has_more": False, "next_page": None}
    return read_money(CONNECTOR, land_json(tmp_path, "anthropic_costs", document, **keywords))


@pytest.mark.parametrize(
    ("cents", "dollars"),
    [
        ("123.45", "1.2345"),  # the API reference: "123.45" is $1.23
        ("123.78912", "1.2378912"),
        ("41280.000000", "412.80"),
        ("-50", "-0.5"),
        ("0.0000000001", "0.000000000001"),
        ("0.00000000005", "0"),  # half of 10⁻¹² dollars goes to the even side
        (186, "1.86"),
    ],
)
def test_amounts_are_cents_and_become_dollars_exactly(tmp_path: Path, cents: Any, dollars: str) -> None:
    reading = read(tmp_path, cost(amount=cents))
    assert reading.billing["billed_cost_in_currency"].to_list() == [Decimal(dollars)]
    assert reading.billing["effective_cost_in_currency"].to_list() == [Decimal(dollars)]
    assert reading.broken == []


@pytest.mark.parametrize(
    ("cost_type", "token_type", "component", "is_token_charge"),
    [
        ("tokens", "uncached_input_tokens", "input_uncached", True),
        ("tokens", "output_tokens", "output", True),
        ("tokens", "cache_read_input_tokens", "cache_read", True),
        ("tokens", "cache_creation.ephemeral_5m_input_tokens", "cache_write_5m", True),
        ("tokens", "cache_creation.ephemeral_1h_input_tokens", "cache_write_1h", True),
        ("web_search", None, "web_search_requests", False),
        ("code_execution", None, "code_execution_seconds", False),
        ("session_usage", None, None, False),
        (None, None, None, True),  # not grouped by description: covers everything
    ],
)
def test_what_a_line_bills(
    tmp_path: Path, cost_type: str | None, token_type: str | None, component: str | None, is_token_charge: bool
) -> None:
    row = read(tmp_path, cost(cost_type=cost_type, token_type=token_type)).billing.row(0, named=True)
    assert (row["component"], row["is_token_charge"]) == (component, is_token_charge)


def test_model_tier_region_and_context_come_along(tmp_path: Path) -> None:
    billing = read(
        tmp_path,
        cost(service_tier="batch", inference_geo="us", context_window="200k-1M"),
        cost(service_tier=None, inference_geo=None, context_window=None, model=None),
    ).billing
    assert billing.select("model", "service_tier", "region", "tags").rows() == [
        ("claude-sonnet-4-20250514", "batch", "us", '{"context_window":"200k-1M"}'),
        (None, None, None, None),
    ]


def test_a_negative_amount_is_a_credit(tmp_path: Path) -> None:
    assert read(tmp_path, cost(amount="-1.5")).billing["charge_category"].to_list() == ["Credit"]


def test_workspaces_are_accounts_and_empty_days_are_covered(tmp_path: Path) -> None:
    reading = read(tmp_path, cost(), cost(workspace_id=None))
    assert reading.billing["account"].to_list() == ["wrkspc_a", "default"]
    assert [(account, start[:10]) for account, start, _ in reading.days] == [
        ("default", "2026-11-01"),
        ("default", "2026-11-02"),
        ("wrkspc_a", "2026-11-01"),
        ("wrkspc_a", "2026-11-02"),
    ]


@pytest.mark.parametrize(("account", "expected"), [("default", "*"), ("org-b", "org-b")])
def test_an_ungrouped_report_is_any_workspace_or_the_folder(tmp_path: Path, account: str, expected: str) -> None:
    assert read(tmp_path, cost(workspace_id=None), account=account).billing["account"].to_list() == [expected]


@pytest.mark.parametrize(
    ("changes", "code", "column"),
    [
        ({"amount": None}, "bad_amount", "amount"),
        ({"amount": "$1.00"}, "bad_amount", "amount"),
        ({"amount": "NaN"}, "bad_amount", "amount"),
        ({"amount": "1,000.00"}, "bad_amount", "amount"),
        ({"currency": None}, "bad_currency", "currency"),
        ({"currency": "US$"}, "bad_currency", "currency"),
        ({"model": ["a"]}, "type_error", "model"),
    ],
)
def test_an_unreadable_line_is_rejected_and_only_its_own_day_is_incomplete(
    tmp_path: Path, changes: dict[str, Any], code: str, column: str
) -> None:
    reading = read(tmp_path, cost(**changes), cost())
    assert reading.reasons == [(1, code, column)]
    assert len(reading.billing) == 1
    assert [complete for _, _, complete in reading.days] == [False, True]


def test_unknown_fields_stay_in_the_raw_file(tmp_path: Path) -> None:
    secret = "canary-e4e1"
    planted = cost(actor={"email": f"{secret}@example.org"}, api_key_name=secret, prompt=secret)
    assert secret not in read(tmp_path, planted).text()
