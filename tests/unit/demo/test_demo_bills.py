"""The demo's bills against the demo's usage exports, with prices worked out here: bills = usage × price × contract."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pipelines.demo.expectations import demo_expectations

SCALE, SEED = 0.05, 7
MILLION = Decimal(10**6)


def day_of(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).date().isoformat()


def openai_usage(home: Any) -> dict[tuple[str, str, str, bool], dict[str, int]]:
    """Day, project, model, batch → counts; the later file of a day wins."""
    usage = {}
    for _, bucket, result in home.results("openai_usage"):
        if result["object"].endswith("completions.result"):
            key = (day_of(bucket["start_time"]), result["project_id"], result["model"], result["batch"])
            usage[key] = result
    return usage


def openai_costs(home: Any, *, only: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, bucket, result in home.results("openai_costs"):
        if only in name:
            yield day_of(bucket["start_time"]), result


def final_openai_costs(home: Any) -> dict[tuple[str, str, str], Decimal]:
    """Day, project, line → dollars; the restated week replaces its first version, day by day."""
    restated = list(openai_costs(home, only="2026-09-20"))
    days = {day for day, _ in restated}
    kept = [(day, line) for day, line in openai_costs(home) if day not in days]
    return {(day, line["project_id"], line["line_item"]): line["amount"]["value"] for day, line in [*kept, *restated]}


@pytest.mark.parametrize(
    ("model", "batch", "prefix", "price_in", "price_cached", "price_out"),
    [
        ("gpt-4o-mini", False, "gpt-4o-mini, ", "0.15", "0.075", "0.6"),
        ("gpt-4o-mini", True, "batch | gpt-4o-mini, ", "0.075", "0.0375", "0.3"),
    ],
)
def test_openai_lines_are_usage_at_list_less_12_percent(
    both_nights, model, batch, prefix, price_in, price_cached, price_out
):
    costs = final_openai_costs(both_nights)
    checked = 0
    for (day, project, used, is_batch), counts in openai_usage(both_nights).items():
        if (project, used, is_batch) != ("proj_assist", model, batch):
            continue
        words = ("input_tokens", "input_cached_tokens", "output_tokens") if day >= "2026-09-01" else (
            "input", "cached input", "output")  # fmt: skip
        uncached = counts["input_tokens"] - counts["input_cached_tokens"]
        tokens = (uncached, counts["input_cached_tokens"], counts["output_tokens"])
        for word, quantity, price in zip(words, tokens, (price_in, price_cached, price_out), strict=True):
            expected = quantity * Decimal(price) / MILLION * Decimal("0.88")
            assert costs.get((day, project, prefix + word), Decimal(0)) == expected
            checked += 1
    assert checked > 150


@pytest.mark.parametrize(("day", "price"), [("2026-08-20", "30"), ("2026-08-21", "20"), ("2026-09-24", "20")])
def test_price_cut_of_21_august_reaches_the_bill(both_nights, day, price):
    usage = openai_usage(both_nights)[day, "proj_assist", "gpt-5.6-sol", False]
    word = "output_tokens" if day >= "2026-09-01" else "output"
    expected = usage["output_tokens"] * Decimal(price) / MILLION * Decimal("0.88")
    assert final_openai_costs(both_nights)[day, "proj_assist", f"gpt-5.6-sol, {word}"] == expected


def test_first_night_bills_the_week_at_the_old_price_and_without_credit(first_night, both_nights):
    line = ("2026-09-24", "proj_assist", "gpt-5.6-sol, output_tokens")
    first = {
        (day, row["project_id"], row["line_item"]): row["amount"]["value"] for day, row in openai_costs(first_night)
    }
    final = final_openai_costs(both_nights)
    assert first[line] == final[line] * Decimal("1.5")  # 30 is one and a half times 20
    assert [amount for amount in first.values() if amount < 0] == []
    assert [(key[:2], amount) for key, amount in final.items() if amount < 0] == [
        (("2026-09-22", "proj_assist"), Decimal("-4.20"))
    ]


def test_first_nights_bill_ends_two_days_before_its_clock(first_night, both_nights):
    assert max(day for day, _ in openai_costs(first_night)) == "2026-09-28"
    assert {day for day, _ in openai_costs(both_nights)} >= {"2026-09-29", "2026-09-30"}


def test_unknown_model_is_billed(both_nights):
    lines = {key: usd for key, usd in final_openai_costs(both_nights).items() if "gpt-7-preview-internal" in key[2]}
    assert lines
    assert all(day >= "2026-09-08" and usd > 0 for (day, _, _), usd in lines.items())


def test_anthropic_lines_are_strings_of_cents(both_nights):
    usage = {
        (bucket["starting_at"][:10], result["workspace_id"], result["model"], result["service_tier"]): result
        for _, bucket, result in both_nights.results("anthropic_usage")
    }
    checked = 0
    for _, bucket, result in both_nights.results("anthropic_costs"):
        assert isinstance(result["amount"], str)
        if (result["model"], result["token_type"]) == ("claude-sonnet-5", "cache_creation.ephemeral_1h_input_tokens"):
            counts = usage[bucket["starting_at"][:10], result["workspace_id"], "claude-sonnet-5", "standard"]
            # $4 per million tokens is 400 cents per million.
            cents = counts["cache_creation"]["ephemeral_1h_input_tokens"] * 400 / MILLION
            assert abs(Decimal(result["amount"]) - cents) <= Decimal("0.0000005")
            checked += 1
    assert checked > 50


def test_web_searches_cost_a_cent_each(both_nights):
    searches: dict[str, int] = defaultdict(int)
    for _, bucket, result in both_nights.results("anthropic_usage"):
        searches[bucket["starting_at"][:10]] += result["server_tool_use"]["web_search_requests"]
    billed = {
        bucket["starting_at"][:10]: Decimal(result["amount"])
        for _, bucket, result in both_nights.results("anthropic_costs")
        if result["cost_type"] == "web_search"
    }
    assert billed == {day: Decimal(count) for day, count in searches.items() if count}


def test_priority_tier_is_in_usage_and_never_in_cost(both_nights):
    assert "priority" in {result["service_tier"] for _, _, result in both_nights.results("anthropic_usage")}
    assert "priority" not in {result["service_tier"] for _, _, result in both_nights.results("anthropic_costs")}


def focus(home: Any) -> list[dict[str, str]]:
    return [row for month in ("07", "08", "09") for row in home.csv_rows(f"landing/focus/2026-{month}.csv")]


def test_bedrock_regional_profile_costs_a_tenth_more(both_nights):
    rows = [row for row in focus(both_nights) if row["SkuMeter"] == "USE1-Claude4.5Sonnet-output-tokens"]
    assert len(rows) > 50
    for row in rows:
        assert Decimal(row["BilledCost"]) == Decimal(row["ConsumedQuantity"]) * Decimal("16.5") / MILLION
        assert Decimal(row["PricingQuantity"]) * 1000 == Decimal(row["ConsumedQuantity"])


def test_google_bill_is_in_euros_at_the_days_rate(both_nights):
    rates = {row["rate_date"]: Decimal(row["usd_per_unit"]) for row in both_nights.csv_rows("reference/fx_rates.csv")}
    rows = [row for row in focus(both_nights) if row["SkuMeter"] == "Gemini 2.5 Pro Text Output - Predictions (Long)"]
    assert rows
    for row in rows:
        usd = Decimal(row["ConsumedQuantity"]) * 15 / MILLION
        assert row["BillingCurrency"] == "EUR"
        assert abs(Decimal(row["BilledCost"]) * rates[row["ChargePeriodStart"][:10]] - usd) < Decimal("0.000001")


def test_aws_tax_is_19_percent_of_the_months_charges(both_nights):
    for month in ("07", "08", "09"):
        rows = [r for r in both_nights.csv_rows(f"landing/focus/2026-{month}.csv") if r["ProviderName"] == "AWS"]
        taxes = [Decimal(row["BilledCost"]) for row in rows if row["ChargeCategory"] == "Tax"]
        charges = sum(Decimal(row["BilledCost"]) for row in rows if row["ChargeCategory"] != "Tax")
        assert taxes == [(charges * Decimal("0.19")).quantize(Decimal("0.01"))]


def test_last_month_of_the_cloud_bill_is_short_first_and_never_has_an_invoice(first_night, both_nights):
    def last_month(home: Any) -> list[dict[str, str]]:
        return home.csv_rows("landing/focus/2026-09.csv")

    assert max(row["ChargePeriodStart"] for row in last_month(first_night)) == "2026-09-28T00:00:00Z"
    assert max(row["ChargePeriodStart"] for row in last_month(both_nights)) == "2026-09-30T00:00:00Z"
    assert not any(row["ChargeCategory"] == "Tax" for row in last_month(first_night))
    assert {row["InvoiceId"] for row in last_month(both_nights)} == {""}
    assert all(row["InvoiceId"] for row in both_nights.csv_rows("landing/focus/2026-08.csv"))


def test_invoices_are_the_sum_of_their_lines_in_cents(both_nights):
    invoices = {
        (row["provider"], row["account"], row["period"]): row for row in both_nights.csv_rows("reference/invoices.csv")
    }
    lines: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for (day, project, _), usd in final_openai_costs(both_nights).items():
        lines["openai", project, day[:7]] += usd
    for row in focus(both_nights):
        provider = {"AWS": "aws", "Google Cloud": "google"}[row["ProviderName"]]
        provider = "aws_bedrock" if row["ServiceName"] == "Amazon Bedrock" else provider
        lines[provider, row["SubAccountId"], row["BillingPeriodStart"][:7]] += Decimal(row["BilledCost"])
    for _, bucket, result in both_nights.results("anthropic_costs"):
        key = ("anthropic", result["workspace_id"] or "default", bucket["starting_at"][:7])
        lines[key] += Decimal(result["amount"]) / 100
    assert len(invoices) == 18  # three months of 4 API accounts, two of aws, aws_bedrock and google
    for key, row in invoices.items():
        assert Decimal(row["total"]) == lines[key].quantize(Decimal("0.01")), key


def test_invoices_of_september_are_not_known_on_the_first_night(first_night):
    assert {row["period"] for row in first_night.csv_rows("reference/invoices.csv")} == {"2026-07", "2026-08"}


def test_expected_bill_is_what_the_exports_hold(both_nights):
    expected = demo_expectations(night=2, seed=SEED, scale=SCALE)["billed"]
    totals: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for (day, project, _), usd in final_openai_costs(both_nights).items():
        totals[day, "openai", project] += usd
    for _, bucket, result in both_nights.results("anthropic_costs"):
        totals[bucket["starting_at"][:10], "anthropic", result["workspace_id"] or "default"] += (
            Decimal(result["amount"]) / 100
        )
    assert {(str(r["usage_date"]), r["provider"], r["account"]): r["billed_usd"] for r in expected} == totals


def test_reference_tables_have_the_documented_columns(both_nights):
    rules = both_nights.csv_rows("reference/features.csv")
    assert list(rules[0]) == [
        "priority",
        "field",
        "pattern",
        "feature",
        "team",
        "cost_center",
        "valid_from",
        "valid_to",
    ]
    assert {row["field"] for row in rules} >= {"feature_tag", "tag:product", "api_key_id", "source"}
    contracts = both_nights.csv_rows("reference/contract_prices.csv")
    assert [row["account"] for row in contracts if row["discount_percent"]] == ["proj_assist"]
