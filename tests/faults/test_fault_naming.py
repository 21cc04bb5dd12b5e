"""Each known fault of logs and bills, injected one at a time into a small month, is named with its exact dollars.

What lives here: the faults, the cause column that must move, by how much, and what the reason tells to do. What does
not: the coherent month itself (tests/integration/small_month.py), the arithmetic of causes at random
(tests/properties).
All amounts are worked by hand from the month's prices: OpenAI bills $4.00 a day ($3.00 input, $1.00 output), Anthropic
$3.10 ($2.00 input, $0.10 cache reads, $1.00 output); six days, so $24.00 and $18.60 a month.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipelines.lake import Lake
from tests.integration.demo_quarter import CAUSES
from tests.integration.nights import built, home_settings, land
from tests.integration.small_month import (
    DAYS,
    MONTH,
    OPENAI_LINES,
    OPENAI_TOKENS,
    anthropic_call,
    day_of_calls,
    openai_call,
    openai_costs,
    openai_usage,
    whole_month,
)

DAY, NEXT = DAYS[2], DAYS[3]


@dataclass(frozen=True)
class Fault:
    """What is done to the month, and what the provider's month must then say. Causes left out are 0."""

    inject: Callable[[Path], object]
    provider: str = "openai"
    causes: Mapping[str, str] = field(default_factory=dict)
    metered: str = "24.00"
    billed: str = "24.00"
    effective: str = "24.00"
    status: str = "final"
    reason: str | None = None


def costs(home: Path, changed: Mapping[object, object]) -> None:
    land(home, "openai_costs/costs.json", openai_costs({**dict.fromkeys(DAYS, OPENAI_LINES), **changed}))  # type: ignore[dict-item]


def times(factor: str) -> tuple[tuple[str, str], ...]:
    return tuple((item, str(Decimal(usd) * Decimal(factor))) for item, usd in OPENAI_LINES)


def shifted_logs(home: Path) -> None:
    """The `search` calls of one day carry local time and fall on the next UTC day."""
    first, second, third = day_of_calls(DAY)
    land(home, f"response_log/{DAY}.jsonl", [first, {**second, "timestamp": f"{NEXT}T02:00:00Z"}, third])


def blocked(home: Path) -> None:
    header = "request_id,started_at,provider,account,model,input_uncached_tokens,feature_tag,status"
    land(home, "usage_table/blocked.csv", f"{header}\nb-1,{DAY}T10:00:00Z,openai,p1,house-mini,500000,chat,blocked\n")


def batch_twice(home: Path) -> None:
    """The batch's own output file is there, and the gateway logged its rows under ids of its own."""
    land(home, "response_log/gateway.jsonl", [openai_call(DAY, 77, "search", (1_000_000, 0))])


def cache_twice(home: Path) -> None:
    """A log that adds cached tokens to the uncached ones: 1,000,000 + 500,000 instead of 1,000,000."""
    *others, _ = day_of_calls(DAY)
    land(home, f"response_log/{DAY}.jsonl", [*others, anthropic_call(DAY, 1, "chat", (1_500_000, 500_000, 50_000))])


def in_local_days(page: str) -> str:
    """The same page with every bucket seven hours later."""
    later = json.loads(page)
    for bucket in later["data"]:
        bucket["start_time"] += 7 * 3600
        bucket["end_time"] += 7 * 3600
    return json.dumps(later)


def unknown_model(home: Path) -> None:
    call = openai_call(DAY, 50, "chat", (1_000_000, 0))
    land(home, "response_log/new.jsonl", [{**call, "model": "house-next"}])
    costs(home, {DAY: (*OPENAI_LINES, ("house-next, input", "5.00"))})


def priority_tier(home: Path) -> None:
    call = anthropic_call(DAY, 60, "chat", (1_000_000, 0, 0))
    call["usage"] = {**call["usage"], "service_tier": "priority"}  # type: ignore[dict-item]
    land(home, "response_log/priority.jsonl", [call])


def four_logs(home: Path) -> None:
    """Every OpenAI call of the day again, by its response id, as LiteLLM, its Langfuse callback and OTel tell it."""
    calls = [call for call in day_of_calls(DAY) if call["provider"] == "openai"]
    litellm, langfuse, otel = [], [], []
    for number, call in enumerate(calls):
        at, usage = str(call["timestamp"]), call["usage"]
        assert isinstance(usage, dict)
        told = {"request_id": call["request_id"], "call_type": "acompletion", "startTime": at, "endTime": at, **usage}
        litellm.append({**told, "model": "house-mini", "custom_llm_provider": "openai", "status": "success"})
        details = {
            "input": usage["prompt_tokens"],
            "output": usage["completion_tokens"],
            "total": usage["total_tokens"],
        }
        told = {"id": f"time-10-00-0{number}_{call['request_id']}", "type": "GENERATION", "startTime": at}
        langfuse.append({**told, "updatedAt": at, "model": "house-mini", "usageDetails": details})
        names = {"operation.name": "chat", "provider.name": "openai", "response.model": "house-mini"}
        attributes: list[dict[str, object]] = [
            {"key": f"gen_ai.{name}", "value": {"stringValue": value}}
            for name, value in {**names, "response.id": call["request_id"]}.items()
        ]
        attributes += [
            {"key": f"gen_ai.usage.{side}_tokens", "value": {"intValue": str(details[side])}}
            for side in ("input", "output")
        ]
        moment = str(int(datetime.fromisoformat(at).timestamp()) * 10**9)
        span = {"traceId": "a" * 32, "spanId": f"{number:016x}", "name": "chat", "attributes": attributes}
        span |= {"startTimeUnixNano": moment, "endTimeUnixNano": moment}
        otel.append({"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [span]}]}]})
    land(home, "litellm/spend.jsonl", litellm)
    land(home, "langfuse/observations.jsonl", langfuse)
    land(home, "otel_genai/spans.jsonl", otel)


FOCUS_HEADER = (
    "BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargeCategory,ChargePeriodStart,"
    "ChargePeriodEnd,ServiceName,ProviderName,SubAccountId,SkuPriceDetails,ConsumedQuantity,ConsumedUnit\n"
)


def focus_export(home: Path) -> None:
    """The month's OpenAI charges once more, as a FOCUS export tells them."""
    lines = [
        f"{usd},{usd},USD,2026-09-01,2026-10-01,Usage,{day},{day + timedelta(days=1)},API,OpenAI,p1,"
        f'"{{""Model"": ""house-mini"", ""TokenType"": ""{kind}""}}",1000,Tokens\n'
        for day in DAYS
        for kind, usd in (("Input", "3.00"), ("Output", "1.00"))
    ]
    land(home, "focus/openai.csv", FOCUS_HEADER + "".join(lines))


def cut_short(home: Path) -> None:
    """has_more without the next page: the last two days of the bill are missing."""
    page = openai_costs(dict.fromkeys(DAYS[:4], OPENAI_LINES)).replace('"has_more": false', '"has_more": true')
    land(home, "openai_costs/costs.json", page)


def cut_short_beside_focus(home: Path) -> None:
    cut_short(home)
    focus_export(home)


def krone_without_rate(home: Path) -> None:
    """The bill of one day, the third, is in a currency that fx_rates.csv does not know."""
    page = json.loads(openai_costs(dict.fromkeys(DAYS, OPENAI_LINES)))
    for line in page["data"][2]["results"]:
        line["amount"]["currency"] = "nok"
    land(home, "openai_costs/costs.json", json.dumps(page))


FAULTS: dict[str, Fault] = {
    # B = 100 × 4.00 on one day, P = 4.00: 400 − 4 = 396 too much, and the gate keeps the month open.
    "dollars read where cents stood": Fault(
        lambda home: costs(home, {DAY: times("100")}),
        causes={"unexplained": "396.00"},
        billed="420.00",
        effective="420.00",
        status="provisional",
        reason="check cents against dollars",
    ),
    # B = 0.04: 3.96 too little.
    "cents read where dollars stood": Fault(
        lambda home: costs(home, {DAY: times("0.01")}),
        causes={"unexplained": "-3.96"},
        billed="20.04",
        effective="20.04",
        status="provisional",
        reason="check cents against dollars",
    ),
    # L of the day is gone, P and B are there: 4.00 unlogged.
    "a day of logs is lost": Fault(
        lambda home: land(home, f"response_log/{DAY}.jsonl", day_of_calls(DAY)[2:]),
        causes={"unlogged": "4.00"},
        metered="20.00",
        reason="a day of logs is missing",
    ),
    # The costs of one day were never fetched: −4.00 has not arrived; effective stays at the contracted 4.00.
    "a day of the bill is lost": Fault(
        lambda home: land(home, "openai_costs/costs.json", openai_costs({d: OPENAI_LINES for d in DAYS if d != DAY})),
        causes={"timing": "-4.00"},
        billed="20.00",
        status="estimated",
        reason="fetch or land it",
    ),
    # Two days have not arrived in full, 2 × 4.00.
    "a fetch of the bill is cut short": Fault(
        cut_short, causes={"timing": "-8.00"}, billed="16.00", status="estimated", reason="fetch or land it"
    ),
    # FOCUS tells the two days that the fetch lost; on no day are both added.
    "a fetch is cut short where another bill is whole": Fault(cut_short_beside_focus),
    "another bill tells the same charges": Fault(focus_export),
    # What 4.00 krones are is unknown: the day is not billed in dollars, and contracted cost stands; never 0.
    "a bill is in a currency without a rate": Fault(
        krone_without_rate,
        causes={"timing": "-4.00"},
        billed="20.00",
        status="estimated",
        reason="fx_rates.csv",
    ),
    "four logs tell the same calls": Fault(four_logs),
    "the same export is landed twice": Fault(
        lambda home: land(home, "openai_costs/copy.json", openai_costs(dict.fromkeys(DAYS, OPENAI_LINES)))
    ),
    "exports overlap": Fault(
        lambda home: land(home, "openai_costs/later.json", openai_costs(dict.fromkeys(DAYS[1:4], OPENAI_LINES)))
    ),
    "an ungrouped export overlaps one by account": Fault(
        lambda home: land(
            home, "openai_usage/all.json", openai_usage(dict.fromkeys(DAYS[1:4], OPENAI_TOKENS), account=None)
        )
    ),
    "the same log is landed twice": Fault(lambda home: land(home, f"response_log/copy-{DAY}.jsonl", day_of_calls(DAY))),
    # 1,000,000 input tokens twice: L is 1.00 more than P.
    "a batch is counted twice": Fault(
        batch_twice, causes={"overlogged": "-1.00"}, metered="25.00", reason="a batch counted twice"
    ),
    # 500,000 tokens at $2.00 too many: 1.00.
    "cached tokens are counted twice": Fault(
        cache_twice,
        provider="anthropic",
        causes={"overlogged": "-1.00"},
        metered="19.60",
        billed="18.60",
        effective="18.60",
        reason="cached tokens",
    ),
    # The provider takes $1.20 per million input tokens, the book still says $1.00: 6 days × 3,000,000 × 0.20 = 3.60.
    "the price is stale": Fault(
        lambda home: costs(home, dict.fromkeys(DAYS, (("house-mini, input", "3.60"), ("house-mini, output", "1.00")))),
        causes={"price_gap": "3.60"},
        billed="27.60",
        effective="27.60",
        reason="stale price",
    ),
    # The provider corrects the month by −10%: within the band, so a price gap of 6 × −0.40.
    "the month is restated": Fault(
        lambda home: land(home, "openai_costs/restated.json", openai_costs(dict.fromkeys(DAYS, times("0.9")))),
        causes={"price_gap": "-2.40"},
        billed="21.60",
        effective="21.60",
        reason="discount",
    ),
    # 1.00 of one day stands on the next: missing there, too much here.
    "a log is in the wrong zone": Fault(
        shifted_logs, causes={"unlogged": "1.00", "overlogged": "-1.00"}, reason="time zone"
    ),
    # Buckets from 07:00 to 07:00 cover no UTC day: nothing counts as billed in full, contracted cost stands, estimated.
    "a bill is cut in local days": Fault(
        lambda home: land(
            home, "openai_costs/costs.json", in_local_days(openai_costs(dict.fromkeys(DAYS, OPENAI_LINES)))
        ),
        status="estimated",
        reason="whole UTC days",
    ),
    # Billed 5.00 without any price; metered does not know it.
    "a model is unknown": Fault(
        unknown_model,
        causes={"unpriced": "5.00"},
        billed="29.00",
        effective="29.00",
        reason="mart__unpriced_usage",
    ),
    # 1,000,000 tokens at $3.00 that the cost report leaves out by rule; they keep their contracted cost.
    "priority tier is missing from the cost API": Fault(
        priority_tier,
        provider="anthropic",
        causes={"excluded_from_cost_api": "-3.00"},
        metered="21.60",
        billed="18.60",
        effective="21.60",
        reason="leaves out by rule",
    ),
    # 500,000 tokens of a request that was refused: $0.50 that nobody bills.
    "blocked requests are logged": Fault(
        blocked, causes={"not_billed": "-0.50"}, metered="24.50", reason="failed or blocked requests"
    ),
}


@pytest.fixture(scope="module")
def coherent_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("coherent")
    whole_month(home)
    built(home_settings(home))
    return home


def month_of(home: Path, provider: str) -> dict[str, object]:
    """The provider's month over all accounts: sums, and the first status and reason that is not the best."""
    frame = Lake(home / "lake").read("mart__reconciliation_monthly", MONTH)
    assert frame is not None
    rows = frame.filter(pl.col("provider") == provider)
    sums = rows.select(pl.col(pl.Decimal).sum()).to_dicts()[0]
    statuses = rows["status"].to_list()
    status = next((word for word in ("estimated", "provisional") if word in statuses), "final")
    return {**sums, "status": status, "reason": next((text for text in rows["reason"] if text), None)}


def effective_cost(home: Path, provider: str) -> Decimal:
    frame = Lake(home / "lake").read("mart__feature_cost_daily", MONTH)
    assert frame is not None
    return Decimal(frame.filter(pl.col("provider") == provider)["effective_cost_usd"].sum())


def statuses(home: Path, provider: str) -> set[str]:
    frame = Lake(home / "lake").read("mart__feature_cost_daily", MONTH)
    assert frame is not None
    return set(frame.filter(pl.col("provider") == provider)["cost_status"])


def test_the_coherent_month_has_no_gap(coherent_home: Path) -> None:
    for provider, billed in (("openai", "24.00"), ("anthropic", "18.60")):
        row = month_of(coherent_home, provider)
        assert {cause: row[f"{cause}_usd"] for cause in CAUSES} == dict.fromkeys(CAUSES, Decimal(0))
        assert row["metered_cost_usd"] == row["billed_cost_usd"] == Decimal(billed)
        assert effective_cost(coherent_home, provider) == Decimal(billed)
        assert (row["status"], row["reason"]) == ("final", None)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_dollars(name: str, coherent_home: Path, tmp_path: Path) -> None:
    fault = FAULTS[name]
    home = tmp_path / "home"
    shutil.copytree(coherent_home, home)
    fault.inject(home)
    built(home_settings(home))
    row = month_of(home, fault.provider)
    expected = {cause: Decimal(fault.causes.get(cause, "0")) for cause in CAUSES}
    assert {cause: row[f"{cause}_usd"] for cause in CAUSES} == expected
    assert row["metered_cost_usd"] == Decimal(fault.metered)
    assert row["billed_cost_usd"] == Decimal(fault.billed)
    assert Decimal(fault.billed) - Decimal(fault.metered) == sum(expected.values())
    assert effective_cost(home, fault.provider) == Decimal(fault.effective)
    assert row["status"] == fault.status
    if fault.reason is not None:
        assert fault.reason in str(row["reason"])
    if Decimal(fault.effective) != Decimal({"openai": "24.00", "anthropic": "18.60"}[fault.provider]):
        told = row["reason"] is not None or any(amount for amount in expected.values())
        assert told, "the headline moved and nothing says why"
    if fault.status == "provisional":
        assert "final" not in statuses(home, fault.provider)
    untouched = "anthropic" if fault.provider == "openai" else "openai"
    assert {month_of(home, untouched)[f"{cause}_usd"] for cause in CAUSES} == {Decimal(0)}
