"""A model that no public list knows and a contract prices: it is priced, and only its list cost is unknown.

What lives here: its days without a bill, with a bill, and with the provider's counts. What does not: which contract
wins (tests/unit/transforms/test_price_segments.py).

OpenAI p1, `house-secret`: the contract says $2.00 per million input tokens, $20.00 per million output tokens. Each day
`chat` logs 1,000,000 input and 50,000 output tokens ($2.00 + $1.00 = $3.00), `search` 500,000 input tokens ($1.00).
`lab` logs 700 of the same model in account p9, which has no contract.
"""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from assets.explain_page import print_page
from pipelines.history.repricing import difference_to_now
from pipelines.inspection.explain import explain
from pipelines.lake import Lake
from pipelines.settings import Settings
from tests.integration.nights import home_settings, land, night, published, refer
from tests.integration.small_month import openai_call, openai_costs, openai_usage, prices

UNBILLED, BILLED, COUNTED = (date(2026, 9, number) for number in (1, 2, 3))
CONTRACT = (
    "contract_id,provider,account,model_pattern,service_tier,component,discount_percent,price_usd,per_units,valid_from,"
    "valid_to\n"
    "secret,openai,p1,house-secret*,*,input_uncached,,2,1000000,2026-01-01,\n"
    "secret,openai,p1,house-secret*,*,output,,20,1000000,2026-01-01,\n"
)


def calls(day: date) -> list[dict[str, object]]:
    made = [
        openai_call(day, 1, "chat", (1_000_000, 50_000)),
        openai_call(day, 2, "search", (500_000, 0)),
        openai_call(day, 3, "lab", (700, 0), account="p9"),
    ]
    return [{**call, "model": "house-secret"} for call in made]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Billed on the second day: $2.40 and $0.80. On the third $6.00 and $1.00, and the provider counted 3,000,000."""
    home: Path = tmp_path_factory.mktemp("agreed")
    prices(home)
    refer(home, "contract_prices", CONTRACT)
    for day in (UNBILLED, BILLED, COUNTED):
        land(home, f"response_log/{day}.jsonl", calls(day))
    bill = {
        BILLED: (("house-secret, input", "2.40"), ("house-secret, output", "0.80")),
        COUNTED: (("house-secret, input", "6.00"), ("house-secret, output", "1.00")),
    }
    land(home, "openai_costs/costs.json", openai_costs(bill))
    land(home, "openai_usage/usage.json", openai_usage({COUNTED: (3_000_000, 50_000)}, model="house-secret"))
    found = home_settings(home)
    night(found)
    return found


def costs(settings: Settings, day: date, what: str) -> dict[str, Decimal | None]:
    with published(settings) as marts:
        rows = marts.sql("select usage_date, feature, list_cost_usd, contracted_cost_usd, effective_cost_usd,"
                         " unpriced_tokens from mart__feature_cost_daily").pl()  # fmt: skip
    return {row["feature"]: row[what] for row in rows.to_dicts() if row["usage_date"] == day}


def test_it_is_priced_by_the_contract_and_its_list_cost_is_unknown(settings: Settings) -> None:
    for day in (UNBILLED, BILLED, COUNTED):
        contracted = costs(settings, day, "contracted_cost_usd")
        assert {name: contracted[name] for name in ("chat", "search", "lab")} == {"chat": 3, "search": 1, "lab": None}
        assert set(costs(settings, day, "list_cost_usd").values()) == {None}
        unpriced = costs(settings, day, "unpriced_tokens")
        assert {name: unpriced[name] for name in ("chat", "search", "lab")} == {"chat": 0, "search": 0, "lab": 700}
    with published(settings) as marts:
        listed = marts.sql("select model, component, tokens from mart__unpriced_usage").fetchall()
        months = marts.sql(
            "select feature, list_cost_usd, contracted_cost_usd from mart__feature_cost_monthly"
        ).fetchall()
    assert listed == [("house-secret", "input_uncached", 2100)]
    assert ("chat", None, Decimal(9)) in months


def test_without_a_bill_it_costs_what_the_contract_says(settings: Settings) -> None:
    assert costs(settings, UNBILLED, "effective_cost_usd") == {"chat": 3, "search": 1, "lab": None}


def test_a_bill_is_shared_by_what_the_contract_says(settings: Settings) -> None:
    """Input: chat 2.00 of 3.00, so 1.60 of 2.40, search 0.80. Output is all chat's: 0.80."""
    found = costs(settings, BILLED, "effective_cost_usd")
    assert (found["chat"], found["search"]) == (Decimal("2.40"), Decimal("0.80"))
    with published(settings) as marts:
        row = marts.sql(
            "select metered_cost_usd, price_gap_usd, unpriced_usd from mart__reconciliation_daily"
            f" where account = 'p1' and usage_date = date '{BILLED}'"
        ).fetchall()
    assert row == [(Decimal(4), Decimal("-0.80"), Decimal(0))]


def test_the_provider_s_counts_are_priced_by_the_contract_too(settings: Settings) -> None:
    """3,000,000 at 2.00 are 6.00, of which 3.00 was logged: the rest of the line is nobody's."""
    found = costs(settings, COUNTED, "effective_cost_usd")
    assert {name: found[name] for name in ("chat", "search", "__unlogged__")} == {
        "chat": 3,
        "search": 1,
        "__unlogged__": 3,
    }


def test_the_page_that_explains_names_the_contract(settings: Settings) -> None:
    page = explain(settings, "chat", UNBILLED)
    assert page.complaints == ()
    assert {(line.component, line.contracted_unit_price_usd, line.list_unit_price_usd, line.contract_id)
            for line in page.usage} == {
        ("input_uncached", Decimal("0.000002"), None, "secret"),
        ("output", Decimal("0.00002"), None, "secret"),
    }  # fmt: skip
    console = Console(width=200, record=True, file=io.StringIO())
    print_page(console, page)
    assert "no public price · contract secret, list unknown" in console.export_text()


def test_what_was_known_then_has_no_list_cost_either(settings: Settings) -> None:
    then = Lake(settings.lake).read("int__feature_cost_daily", "2026-09")
    assert then is not None
    compared = {row["feature"]: row for row in difference_to_now(settings, then).to_dicts()}
    chat = compared["chat"]
    assert (chat["then_list_cost_usd"], chat["now_list_cost_usd"], chat["delta_usd"]) == (None, None, 0)
