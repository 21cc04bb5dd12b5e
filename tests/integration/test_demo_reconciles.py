"""The demo quarter ties out: nothing is unexplained, every gap that the scenario seeds has its name, and so has every
fault that is injected into it.

What lives here: the quarter's reconciliation after both nights, and after faults. What does not: the quarter's usage
(tests/unit/demo), every fault by itself in a month worked by hand (tests/faults/test_fault_naming.py).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.demo.expectations import demo_expectations
from pipelines.demo.generator import write_demo
from pipelines.demo.scenario import DEMO_NIGHTS
from pipelines.lake import Lake
from pipelines.settings import Settings
from tests.integration.nights import built, home_settings, land

pytestmark = pytest.mark.slow

SCALE = 0.02
MONTHS = ("2026-07", "2026-08", "2026-09")
CLOCK = datetime.fromisoformat(DEMO_NIGHTS[-1][1])
CAUSES = (
    "price_gap",
    "unlogged",
    "overlogged",
    "unpriced",
    "non_token_charges",
    "credits",
    "tax",
    "commitment",
    "excluded_from_cost_api",
    "not_billed",
    "timing",
    "fx",
    "rounding",
    "unexplained",
)


Line = dict[str, Any]
Key = tuple[date, str, str]
WRITTEN = datetime(2026, 10, 12, tzinfo=UTC).timestamp()
"""After the exports of the demo's last night, inside the window in which a provider restates September."""
DOLLARS, CENTS, RESTATED = date(2026, 9, 10), date(2026, 9, 12), date(2026, 9, 14)
TWICE, BLOCKED, UNKNOWN = date(2026, 9, 16), date(2026, 9, 18), date(2026, 9, 20)


@pytest.fixture(scope="module")
def coherent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("demo")
    for night, _ in DEMO_NIGHTS:
        write_demo(home, night=night, scale=SCALE)
    built(home_settings(home, CLOCK))
    return home


@pytest.fixture(scope="module")
def quarter(coherent: Path) -> list[dict[str, Any]]:
    lake = Lake(coherent / "lake")
    frames = [lake.read("mart__reconciliation_monthly", key) for key in lake.partitions("mart__reconciliation_monthly")]
    return [row for frame in frames if frame is not None for row in frame.to_dicts()]


def billed(quarter: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in quarter if row["billed_cost_usd"] is not None]


def test_nothing_is_unexplained(quarter: list[dict[str, Any]]) -> None:
    assert len({row["provider"] for row in billed(quarter)}) >= 4
    assert {(row["provider"], row["account"], row["month"]): row["unexplained_usd"] for row in billed(quarter)} == {
        (row["provider"], row["account"], row["month"]): Decimal(0) for row in billed(quarter)
    }


def test_every_dollar_between_metered_and_billed_has_a_cause(quarter: list[dict[str, Any]]) -> None:
    for row in billed(quarter):
        causes = sum((row[f"{cause}_usd"] for cause in CAUSES), Decimal(0))
        assert causes == row["billed_cost_usd"] - row["metered_cost_usd"], row


def test_invoices_tie_out_to_the_cent(quarter: list[dict[str, Any]]) -> None:
    invoiced = [row for row in billed(quarter) if row["invoice_total_usd"] is not None]
    assert invoiced
    for row in invoiced:
        assert row["billed_cost_usd"] - row["fx_usd"] == row["invoice_total_usd"], row


def test_the_credit_and_the_unknown_model_of_the_scenario_are_named(quarter: list[dict[str, Any]]) -> None:
    """scenario.toml: a credit of -4.20 on 22 September for OpenAI, and a model that no price list knows."""
    openai = [row for row in billed(quarter) if row["provider"] == "openai" and row["month"] == "2026-09"]
    assert sum(row["credits_usd"] for row in openai) == Decimal("-4.20")
    assert sum(row["unpriced_usd"] for row in openai) > 0


def test_the_priority_tier_is_priced_by_its_contract_alone_and_left_out_of_the_bill_by_rule(coherent: Path) -> None:
    """scenario.toml: $1 and $5 per million tokens by contract, on no public list, in no cost report. It costs what the
    generator's ledger counts; no list cost, nothing unpriced."""
    told = demo_expectations(night=2, scale=SCALE)["usage_daily"]
    expected = {row["usage_date"]: row for row in told if row["contract_alone_usd"] is not None}
    marts = (Lake(coherent / "lake").read("mart__feature_cost_daily", key) for key in MONTHS)
    rows = [row for frame in marts if frame is not None for row in frame.to_dicts()]
    priority = {row["usage_date"]: row for row in rows if row["service_tier"] == "priority" and row["total_tokens"]}
    assert len(expected) > 5
    assert {day: row["contract_alone_usd"] for day, row in expected.items()} == {
        day: row["contracted_cost_usd"] for day, row in priority.items()
    }
    assert {(row["list_cost_usd"], row["unpriced_tokens"]) for row in priority.values()} == {(None, 0)}
    assert all(row["effective_cost_usd"] == row["contracted_cost_usd"] for row in priority.values())
    for day, row in daily(home_settings(coherent)).items():
        left_out = expected[day[0]]["contract_alone_usd"] if day[2] == "wrkspc_app" and day[0] in expected else 0
        assert row["excluded_from_cost_api_usd"] in (None, -left_out), day


def bucket_of(home: Path, source: str, day: date) -> dict[str, Any]:
    """The newest bucket of the day that the demo's exports tell, amounts as decimals."""
    found = {}
    for path in sorted((home / "landing" / source).glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        for bucket in json.loads(path.read_text(), parse_float=str)["data"]:
            start = bucket.get("starting_at") or datetime.fromtimestamp(bucket["start_time"], UTC).isoformat()
            found[start[:10]] = bucket
    return found[str(day)]


def restate(home: Path, source: str, day: date, lines: Iterable[Line]) -> None:
    """A newer export of one day that tells these lines."""
    bucket = {**bucket_of(home, source, day), "results": list(lines)}
    path = land(home, f"{source}/restated-{day}.json", json.dumps({"data": [bucket], "has_more": False}))
    os.utime(path, (WRITTEN, WRITTEN))


def assist(home: Path, day: date) -> list[Line]:
    """OpenAI's lines of one project."""
    lines: list[Line] = bucket_of(home, "openai_costs", day)["results"]
    return [line for line in lines if line["project_id"] == "proj_assist"]


def is_tokens(line: Line) -> bool:
    return bool(line.get("quantity_unit") == "tokens")


def times(lines: Iterable[Line], factor: Decimal) -> list[Line]:
    return [
        {**line, "amount": {**line["amount"], "value": str(Decimal(str(line["amount"]["value"])) * factor)}}
        if is_tokens(line)
        else line
        for line in lines
    ]


def daily(settings: Settings) -> dict[Key, dict[str, Any]]:
    lake = Lake(settings.lake)
    frames = [lake.read("mart__reconciliation_daily", key) for key in lake.partitions("mart__reconciliation_daily")]
    rows = [row for frame in frames if frame is not None for row in frame.to_dicts()]
    return {(row["usage_date"], row["provider"], row["account"]): row for row in rows}


def call(day: date, name: str, tokens: int, **more: str) -> Line:
    told = {"started_at": f"{day}T12:00:00Z", "provider": "openai", "account": "proj_assist", "model": "gpt-4o-mini"}
    return {**told, "request_id": f"{name}-{day}", "input_uncached_tokens": tokens, "feature_tag": "x", **more}


@pytest.fixture(scope="module")
def story(
    coherent: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Key], tuple[dict[str, Any], dict[str, Any]]]:
    """Six faults on days that do not know each other, so that one build shows each of them alone: the day before and
    after. Everything else is as it was."""
    home = tmp_path_factory.mktemp("faults") / "home"
    shutil.copytree(coherent, home)
    settings = home_settings(home, CLOCK)
    before = daily(settings)
    restate(home, "openai_costs", DOLLARS, times(assist(home, DOLLARS), Decimal(100)))
    restate(home, "openai_costs", CENTS, times(assist(home, CENTS), Decimal("0.01")))
    lower = [
        line if line["workspace_id"] else {**line, "amount": str(Decimal(line["amount"]) * Decimal("0.9"))}
        for line in bucket_of(home, "anthropic_costs", RESTATED)["results"]
    ]
    restate(home, "anthropic_costs", RESTATED, lower)
    new = {**assist(home, UNKNOWN)[0], "line_item": "gpt-next, input", "amount": {"value": "5.00", "currency": "usd"}}
    restate(home, "openai_costs", UNKNOWN, [*assist(home, UNKNOWN), new])
    lines = [
        call(TWICE, "again", 1_000_000),
        call(BLOCKED, "refused", 500_000, status="blocked"),
        call(UNKNOWN, "next", 1_000, model="gpt-next"),
    ]
    land(home, "usage_table/faults.jsonl", lines)
    for path in sorted((home / "landing" / "openai_costs").glob("costs_*.json"))[:1]:
        shutil.copy2(path, path.with_name("copy.json"))
    built(settings)
    after = daily(settings)
    touched = {(day, "openai", "proj_assist") for day in (DOLLARS, CENTS, TWICE, BLOCKED, UNKNOWN)}
    touched.add((RESTATED, "anthropic", "default"))
    assert {key: row for key, row in after.items() if key not in touched} == {
        key: row for key, row in before.items() if key not in touched
    }
    return lambda key: (before[key], after[key])


def moved(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Decimal]:
    deltas = {cause: after[f"{cause}_usd"] - before[f"{cause}_usd"] for cause in CAUSES}
    return {cause: delta for cause, delta in deltas.items() if delta}


@pytest.mark.parametrize(("day", "factor"), [(DOLLARS, "99"), (CENTS, "-0.99")], ids=["x100", "/100"])
def test_a_unit_error_is_unexplained_with_its_whole_size(story: Any, day: date, factor: str) -> None:
    """Billed moves by 99 or -0.99 times what it was; what was a price gap of cents before is part of it."""
    before, after = story((day, "openai", "proj_assist"))
    size = after["billed_cost_usd"] - before["billed_cost_usd"]
    tokens = before["billed_cost_usd"] - before["non_token_charges_usd"] - before["credits_usd"]
    assert size == tokens * Decimal(factor)
    expected = {"unexplained": size + before["price_gap_usd"], "price_gap": -before["price_gap_usd"]}
    assert moved(before, after) == {cause: usd for cause, usd in expected.items() if usd}
    assert "check cents against dollars" in after["reason"]


def test_a_restated_day_is_a_price_gap_of_a_tenth(story: Any) -> None:
    before, after = story((RESTATED, "anthropic", "default"))
    assert moved(before, after) == {"price_gap": before["billed_cost_usd"] * Decimal("-0.1")}
    assert "discount may be missing" in after["reason"]


def test_a_batch_counted_twice_is_overlogged(story: Any) -> None:
    """1,000,000 tokens of gpt-4o-mini at $0.15 per million, less the contract's 12%."""
    before, after = story((TWICE, "openai", "proj_assist"))
    assert moved(before, after) == {"overlogged": Decimal("-0.132")}
    assert "a batch counted twice" in after["reason"]


def test_a_blocked_request_is_not_billed(story: Any) -> None:
    """500,000 tokens at $0.15 per million, less the contract's 12%."""
    before, after = story((BLOCKED, "openai", "proj_assist"))
    assert moved(before, after) == {"not_billed": Decimal("-0.066")}
    assert "failed or blocked requests" in after["reason"]


def test_an_unknown_model_is_unpriced_with_what_it_was_billed(story: Any) -> None:
    before, after = story((UNKNOWN, "openai", "proj_assist"))
    assert moved(before, after) == {"unpriced": Decimal(5)}
    assert "mart__unpriced_usage" in after["reason"]
