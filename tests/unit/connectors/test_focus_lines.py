"""FOCUS lines: costs, instants, units, providers and meters as exporters write them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.connectors.focus_sample import first, line, read


def test_a_line_keeps_all_four_costs_apart(tmp_path: Path) -> None:
    reading = read(tmp_path, line())
    row = first(reading)
    assert (row["billed_cost_in_currency"], row["effective_cost_in_currency"]) == (Decimal("1.5"), Decimal("1.25"))
    assert (row["list_cost_in_currency"], row["contracted_cost_in_currency"]) == (Decimal(2), Decimal("1.5"))
    assert (row["billing_month"], row["account"], row["provider"]) == ("2026-11", "proj_a", "openai")
    assert row["charge_period_start"] == datetime(2026, 11, 3, tzinfo=UTC)
    assert reading.broken == []


def test_null_words_and_empty_text_are_both_null(tmp_path: Path) -> None:
    nulls = line(ListCost="NULL", ContractedCost="", RegionId="null", ChargeClass="NULL", Tags="NULL", SkuId=" ")
    row = first(read(tmp_path, nulls))
    names = ("list_cost_in_currency", "contracted_cost_in_currency", "region", "charge_class", "tags", "sku_id")
    assert [row[name] for name in names] == [None] * 6


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-03T00:00:00Z",
        "2026-11-03 00:00:00",
        "2026-11-03",
        "11/3/26",
        "11/03/2026",
        "11/3/26 0:00",
        "2026-11-03T02:00:00+02:00",
    ],
)
def test_instants_of_every_exporter_are_utc(tmp_path: Path, written: str) -> None:
    assert first(read(tmp_path, line(ChargePeriodStart=written)))["charge_period_start"] == datetime(
        2026, 11, 3, tzinfo=UTC
    )


@pytest.mark.parametrize("category", ["usage", "USAGE", "Usage"])
def test_categories_in_any_case(tmp_path: Path, category: str) -> None:
    assert first(read(tmp_path, line(ChargeCategory=category)))["charge_category"] == "Usage"


def test_negative_usage_without_correction_is_kept(tmp_path: Path) -> None:
    row = first(read(tmp_path, line(BilledCost="-0.75", EffectiveCost="-0.75")))
    assert (row["charge_category"], row["charge_class"], row["billed_cost_in_currency"]) == (
        "Usage",
        None,
        Decimal("-0.75"),
    )


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("0.1234567890125", "0.123456789012"),  # half of the last place: to the even 2
        ("0.1234567890135", "0.123456789014"),  # … and up to the even 4
        ("0.12345678901250000001", "0.123456789013"),
        ("-0.1234567890135", "-0.123456789014"),
        ("5.256E-06", "0.000005256"),
        ("+.5", "0.5"),
    ],
)
def test_costs_are_exact_to_twelve_places_half_to_even(tmp_path: Path, written: str, kept: str) -> None:
    assert first(read(tmp_path, line(BilledCost=written)))["billed_cost_in_currency"] == Decimal(kept)


@pytest.mark.parametrize(
    ("unit", "quantity", "tokens"),
    [
        ("Tokens", "1000", "1000"),
        ("tokens", "1000", "1000"),
        ("1000 Tokens", "12.5", "12500"),
        ("1,000 Tokens", "12.5", "12500"),
        ("1K tokens", "12.5", "12500"),
        ("10K Tokens", "2", "20000"),
        ("1M tokens", "0.000001", "1"),
        ("1000000 Tokens", "3", "3000000"),
        ("Million Tokens", "1.234567", "1234567"),
    ],
)
def test_token_units_of_any_size_become_single_tokens(tmp_path: Path, unit: str, quantity: str, tokens: str) -> None:
    row = first(read(tmp_path, line(ConsumedUnit=unit, ConsumedQuantity=quantity)))
    assert (row["consumed_quantity"], row["consumed_unit"], row["is_token_charge"]) == (Decimal(tokens), "Tokens", True)


def test_the_virtual_currency_token_is_no_token(tmp_path: Path) -> None:
    # The specification's SaaS example: priced in "Token", consumed in executions.
    widget = line(
        BilledCost="0.00",
        EffectiveCost="490.00",
        ChargeDescription="Token Consumption - Q Widget SKU",
        ConsumedQuantity="245",
        ConsumedUnit="Execution",
        PricingCurrency="Token",
        PricingUnit="Token",
        ProviderName="SaaSCo",
        InvoiceIssuerName="SaaSCo",
    )
    reading = read(tmp_path, widget, {**widget, "ConsumedUnit": "Tokens"})
    assert reading.billing["is_token_charge"].to_list() == [False, False]
    assert reading.billing["consumed_quantity"].to_list() == [Decimal(245), Decimal(245)]


def test_prepaid_credit_keeps_billed_and_effective_cost_on_their_own_rows(tmp_path: Path) -> None:
    purchase = line(
        ChargeCategory="Purchase", BilledCost="200000", EffectiveCost="0", ConsumedUnit="", ConsumedQuantity=""
    )
    usage = line(BilledCost="0", EffectiveCost="490")
    billing = read(tmp_path, purchase, usage).billing
    assert billing["billed_cost_in_currency"].to_list() == [Decimal(200000), Decimal(0)]
    assert billing["effective_cost_in_currency"].to_list() == [Decimal(0), Decimal(490)]
    assert billing["is_token_charge"].to_list() == [False, True]


@pytest.mark.parametrize(
    ("provider", "issuer", "service", "extra", "expected"),
    [
        ("AWS", "Amazon Web Services, Inc.", "Amazon Bedrock", {}, "aws_bedrock"),
        ("AWS", "AWS", "Amazon Simple Queue Service", {}, "aws"),
        ("AWS", "AWS", "", {"SkuMeter": "USE1-MP:USE1_CacheReadInputTokenCount-Units"}, "aws_bedrock"),
        ("Anthropic", "Amazon Web Services, Inc.", "Claude Sonnet 4.5 (Amazon Bedrock Edition)", {}, "aws_bedrock"),
        ("Microsoft", "Microsoft", "Azure OpenAI", {}, "azure_openai"),
        ("Microsoft", "Microsoft", "Cognitive Services", {}, "azure_openai"),
        ("Microsoft", "Microsoft", "Storage Accounts", {}, "azure"),
        ("Google Cloud", "Google", "Vertex AI", {}, "google"),
        ("Google Cloud", "Google", "Gemini API", {}, "google"),
        ("Google Cloud", "Google", "Compute Engine", {}, "gcp"),
        ("Anthropic, PBC", "Anthropic", "Claude API", {}, "anthropic"),
        ("OpenAI, L.L.C.", "OpenAI", "API", {}, "openai"),
        ("Mistral AI", "Mistral AI", "La Plateforme", {}, "mistral"),
        ("Snowflake Inc.", "Snowflake", "Cortex", {}, "snowflake"),
    ],
)
def test_who_bills(
    tmp_path: Path, provider: str, issuer: str, service: str, extra: dict[str, str], expected: str
) -> None:
    billed = line(ProviderName=provider, InvoiceIssuerName=issuer, ServiceName=service, **extra)
    assert first(read(tmp_path, billed))["provider"] == expected


def test_version_1_4_names_the_provider_elsewhere(tmp_path: Path) -> None:
    newer = line(
        ServiceProviderName="Anthropic", HostProviderName="AWS", InvoiceIssuerName="Anthropic", InvoiceId="inv-1"
    )
    row = first(read(tmp_path, newer, drop=("ProviderName",)))
    assert (row["provider"], row["invoice_id"]) == ("anthropic", "inv-1")


@pytest.mark.parametrize(
    ("provider", "meter", "component", "tier"),
    [
        ("AWS", "USE1-Claude4.6Sonnet-input-tokens", "input_uncached", None),
        ("AWS", "USE1-Claude4.6Sonnet-cache-read-input-token-count", "cache_read", None),
        ("AWS", "USE1-Claude4.6Sonnet-cache-write-input-token-count", "cache_write_unknown", None),
        ("AWS", "USE1-MP:USE1_CacheWrite1hInputTokenCount_Global-Units", "cache_write_1h", None),
        ("AWS", "USE1-gpt-oss-120b-output-tokens-priority", "output", "priority"),
        ("AWS", "USE1-MP:USE1_MillionBatchInputTokens-Units", "input_uncached", "batch"),
        ("Microsoft", "gpt 4o 1120 Inp glbl Tokens", "input_uncached", None),
        ("Microsoft", "gpt 4o 1120 cached Inp glbl Tokens", "cache_read", None),
        ("Microsoft", "5.4 opt Dz 1M Tokens", "output", None),
        ("Google Cloud", "Gemini 3 Flash Text Input Caching - Predictions", "cache_read", None),
        ("Google Cloud", "Gemini 3 Flash Thinking Text Output - Predictions Batch", "output", "batch"),
    ],
)
def test_cloud_meters_tell_the_leaf_and_never_a_model(
    tmp_path: Path, provider: str, meter: str, component: str, tier: str | None
) -> None:
    services = {"AWS": "Amazon Bedrock", "Microsoft": "Azure OpenAI", "Google Cloud": "Vertex AI"}
    row = first(
        read(
            tmp_path,
            line(
                ProviderName=provider,
                InvoiceIssuerName=provider,
                ServiceName=services[provider],
                SkuMeter=meter,
                ConsumedUnit="Units",
            ),
        )
    )
    assert (row["component"], row["service_tier"], row["model"], row["is_token_charge"]) == (
        component,
        tier,
        None,
        True,
    )
    assert (row["consumed_quantity"], row["consumed_unit"]) == (Decimal(1000), "Units")


@pytest.mark.parametrize(
    "meter",
    [
        "USE1-MP:USE1_Reserved_1Month_InputTPM_Geo-Units",
        "Gemini Text Input Caching Storage",
        "gpt 4o PTU hours",
        "NatGateway-Bytes",
    ],
)
def test_capacity_and_storage_are_no_token_charge(tmp_path: Path, meter: str) -> None:
    aws = line(
        ProviderName="AWS", ServiceName="Amazon Bedrock", SkuMeter=meter, ConsumedUnit="Units", ChargeDescription=""
    )
    row = first(read(tmp_path, aws))
    assert (row["is_token_charge"], row["component"]) == (False, None)


def test_sku_price_details_outrank_the_meters_name(tmp_path: Path) -> None:
    details = '{"x_ModelName": "claude-sonnet-4-5", "TokenType": "Cached Input", "ServiceTier": "Batch", "x_Size": 3}'
    row = first(read(tmp_path, line(SkuPriceDetails=details, SkuMeter="output tokens")))
    assert (row["model"], row["component"], row["service_tier"]) == ("claude-sonnet-4-5", "cache_read", "batch")


def test_a_vendors_own_meter_may_name_the_model(tmp_path: Path) -> None:
    row = first(read(tmp_path, line(SkuMeter="gpt-4o-2024-08-06, cached input")))
    assert (row["model"], row["component"]) == ("gpt-4o-2024-08-06", "cache_read")


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ('{"team": "search", "env": "prod"}', '{"env":"prod","team":"search"}'),
        ('"team": "search"', '{"team":"search"}'),  # Azure leaves the braces out
        ('{"note": "' + "x" * 129 + '", "team": "search", "nested": {"a": 1}}', '{"team":"search"}'),
        ("not json", None),
    ],
)
def test_tags_are_canonical_json_of_short_texts(tmp_path: Path, written: str, canonical: str | None) -> None:
    assert first(read(tmp_path, line(Tags=written)))["tags"] == canonical


@pytest.mark.parametrize(
    ("values", "account", "expected"),
    [
        (["proj_a", ""], "default", ["proj_a", "default"]),
        (["", ""], "default", ["*", "*"]),
        (["", ""], "team-x", ["team-x", "team-x"]),
    ],
)
def test_lines_without_sub_account(tmp_path: Path, values: list[str], account: str, expected: list[str]) -> None:
    reading = read(tmp_path, *(line(SubAccountId=value) for value in values), account=account)
    assert reading.billing["account"].to_list() == expected
