"""The focus connector: versions 1.0 to 1.4, CSV and Parquet, dirty and clean."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.connectors.base import LandedFile
from pipelines.connectors.focus import CONNECTOR
from pipelines.errors import FileRejectedError
from tests.unit.connectors.money_reading import MoneyReading, land_bytes, read_money

LINE = {
    "BilledCost": "1.50",
    "EffectiveCost": "1.25",
    "ListCost": "2.00",
    "ContractedCost": "1.50",
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-11-01T00:00:00Z",
    "BillingPeriodEnd": "2026-12-01T00:00:00Z",
    "ChargePeriodStart": "2026-11-03T00:00:00Z",
    "ChargePeriodEnd": "2026-11-04T00:00:00Z",
    "ChargeCategory": "Usage",
    "ChargeClass": "",
    "ChargeDescription": "tokens of a day",
    "ConsumedQuantity": "1000",
    "ConsumedUnit": "Tokens",
    "ProviderName": "OpenAI",
    "InvoiceIssuerName": "OpenAI",
    "ServiceName": "OpenAI API",
    "SubAccountId": "proj_a",
    "RegionId": "",
    "Tags": "",
}


def line(**changes: str) -> dict[str, str]:
    return {**LINE, **changes}


def csv_text(*lines: dict[str, str], drop: tuple[str, ...] = ()) -> str:
    names = list(dict.fromkeys(name for one in lines for name in one if name not in drop))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def read(tmp_path: Path, *lines: dict[str, str], drop: tuple[str, ...] = (), **keywords: Any) -> MoneyReading:
    return read_money(CONNECTOR, land_bytes(tmp_path, "focus", csv_text(*lines, drop=drop), **keywords))


def first(reading: MoneyReading) -> dict[str, Any]:
    return reading.billing.row(0, named=True)


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


def test_byte_order_mark_crlf_blank_lines_trailing_blanks_and_quotes_change_nothing(tmp_path: Path) -> None:
    clean = csv_text(line(), line(BilledCost="0.25"))
    header, one, two = clean.splitlines()
    dirty = "﻿" + header + "\r\n" + one.replace("1.50,", '"1.50 ",', 1) + "\r\n\r\n" + two + "\r\n  \r\n"
    expected = read_money(CONNECTOR, land_bytes(tmp_path, "focus", clean, name="clean"))
    reading = read_money(CONNECTOR, land_bytes(tmp_path, "focus", dirty, name="dirty"))
    assert reading.billing["record_number"].to_list() == [1, 2]
    assert reading.billing.equals(expected.billing)


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


def test_days_between_first_and_last_charge_are_covered_and_empty(tmp_path: Path) -> None:
    later = line(ChargePeriodStart="2026-11-05T13:00:00Z", ChargePeriodEnd="2026-11-05T14:00:00Z")
    other = line(SubAccountId="proj_b")
    reading = read(tmp_path, line(), later, other)
    assert [(account, start[:10]) for account, start, _ in reading.days] == [
        ("proj_a", "2026-11-03"),
        ("proj_a", "2026-11-04"),
        ("proj_a", "2026-11-05"),
        ("proj_b", "2026-11-03"),
    ]
    assert all(complete for _, _, complete in reading.days)


def test_a_correction_of_an_old_day_does_not_claim_the_days_since(tmp_path: Path) -> None:
    correction = line(
        ChargeClass="Correction", ChargePeriodStart="2026-08-03T00:00:00Z", ChargePeriodEnd="2026-08-04T00:00:00Z"
    )
    reading = read(tmp_path, line(), correction)
    assert reading.days == [("proj_a", "2026-11-03T00:00:00Z", True)]
    assert reading.billing["charge_class"].to_list() == [None, "Correction"]
    assert reading.billing["billing_month"].to_list() == ["2026-11", "2026-11"]


@pytest.mark.parametrize(
    ("changes", "code", "column"),
    [
        ({"BilledCost": "abc"}, "bad_amount", "BilledCost"),
        ({"BilledCost": "1,234.56"}, "bad_amount", "BilledCost"),
        ({"BilledCost": "NaN"}, "bad_amount", "BilledCost"),
        ({"BilledCost": ""}, "bad_amount", "BilledCost"),
        ({"EffectiveCost": "NULL"}, "bad_amount", "EffectiveCost"),
        ({"ListCost": "$2"}, "bad_amount", "ListCost"),
        ({"ConsumedQuantity": "many"}, "bad_quantity", "ConsumedQuantity"),
        ({"BillingCurrency": "dollars"}, "bad_currency", "BillingCurrency"),
        ({"BillingCurrency": ""}, "bad_currency", "BillingCurrency"),
        ({"ChargePeriodEnd": "13/13/26"}, "bad_timestamp", "ChargePeriodEnd"),
        ({"ChargePeriodEnd": "2026-11-02"}, "bad_timestamp", "ChargePeriodEnd"),
        ({"ChargeCategory": "Gift"}, "bad_charge_category", "ChargeCategory"),
        ({"ChargeClass": "Fix"}, "bad_charge_class", "ChargeClass"),
    ],
)
def test_a_bad_line_is_rejected_and_its_day_is_not_complete(
    tmp_path: Path, changes: dict[str, str], code: str, column: str
) -> None:
    next_day = line(ChargePeriodStart="2026-11-04", ChargePeriodEnd="2026-11-05")
    reading = read(tmp_path, line(), line(**changes), next_day)
    assert reading.reasons == [(2, code, column)]
    assert reading.billing["record_number"].to_list() == [1, 3]
    assert [complete for _, _, complete in reading.days] == [False, True]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ChargePeriodStart": "yesterday"}, "bad_timestamp"),
        ({"ProviderName": "", "InvoiceIssuerName": ""}, "missing_provider"),
    ],
)
def test_a_line_without_day_or_provider_leaves_no_day_complete(
    tmp_path: Path, changes: dict[str, str], code: str
) -> None:
    reading = read(tmp_path, line(), line(**changes))
    assert [reason for _, reason, _ in reading.reasons] == [code]
    assert reading.days == [("proj_a", "2026-11-03T00:00:00Z", False)]


def test_a_line_with_too_many_or_too_few_fields_is_rejected_not_shifted(tmp_path: Path) -> None:
    header, good = csv_text(line()).splitlines()
    unquoted_comma = good.replace("1.50", "1,234.50", 1)
    cut = good[: len(good) // 2]
    file = land_bytes(tmp_path, "focus", "\n".join([header, unquoted_comma, good, cut]))
    reading = read_money(CONNECTOR, file)
    assert [(number, code) for number, code, _ in reading.reasons] == [(1, "ragged_row"), (3, "ragged_row")]
    assert reading.billing["record_number"].to_list() == [2]
    assert [complete for _, _, complete in reading.days] == [False]


def test_missing_mandatory_columns_are_all_named(tmp_path: Path) -> None:
    file = land_bytes(tmp_path, "focus", csv_text(line(), drop=("BilledCost", "ProviderName", "BillingCurrency")))
    with pytest.raises(
        FileRejectedError, match="BilledCost, BillingCurrency, ProviderName or ServiceProviderName"
    ) as caught:
        list(CONNECTOR.read(file))
    assert caught.value.code == "missing_columns"


def test_column_names_match_without_regard_to_case(tmp_path: Path) -> None:
    text = csv_text(line(SkuPriceId="p-1")).replace("BilledCost", "billedcost").replace("SkuPriceId", "SkuPriceid")
    assert len(read_money(CONNECTOR, land_bytes(tmp_path, "focus", text)).billing) == 1


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


def test_a_split_row_replaces_its_origin(tmp_path: Path) -> None:
    shared = {"ResourceId": "gpu-pool", "SkuId": "sku-1"}
    origin = line(**shared, BilledCost="3.00", EffectiveCost="2.00")
    splits = [
        line(**shared, BilledCost=billed, EffectiveCost=effective, AllocatedMethodId="m-1", AllocatedResourceId=to)
        for billed, effective, to in (("1.00", "0.50", "a"), ("2.00", "1.50", "b"))
    ]
    remainder = line(**shared, BilledCost="0.10", EffectiveCost="0.10")
    reading = read(tmp_path, *splits, origin, remainder)
    assert reading.reasons == [(3, "replaced_by_split", "AllocatedMethodId")]
    assert sum(reading.billing["billed_cost_in_currency"]) == Decimal("3.10")
    assert reading.days == [("proj_a", "2026-11-03T00:00:00Z", True)]


def test_names_of_accounts_resources_and_people_stay_in_the_raw_file(tmp_path: Path) -> None:
    secret = "canary-55aa"
    names = ("BillingAccountName", "SubAccountName", "ResourceName", "x_Owner", "CommitmentDiscountName")
    planted = line(**dict.fromkeys(names, f"{secret}@example.org"), Tags='{"owner": {"name": "' + secret + '"}}')
    assert secret not in read(tmp_path, planted).text()


def test_parquet_doubles_are_their_shortest_digits_and_maps_are_tags(tmp_path: Path) -> None:
    typed: dict[str, list[Any]] = {name: [value, value] for name, value in LINE.items()}
    typed |= {
        "BilledCost": [0.1, 1e-7],
        "EffectiveCost": [0.30000000000000004, 2.5],
        "ListCost": [None, 3.0],
        "ConsumedQuantity": [Decimal("12.5"), Decimal("0.25")],
        "ConsumedUnit": ["1K tokens", "1K tokens"],
        "ChargePeriodStart": [datetime(2026, 11, 3), datetime(2026, 11, 3, 5)],  # noqa: DTZ001 — naive is UTC
        "ChargePeriodEnd": [datetime(2026, 11, 4), datetime(2026, 11, 4)],  # noqa: DTZ001
        "BillingPeriodStart": [datetime(2026, 11, 1, tzinfo=UTC)] * 2,
        "BillingPeriodEnd": [datetime(2026, 12, 1, tzinfo=UTC)] * 2,
        "Tags": [[{"key": "team", "value": "search"}], None],
    }
    path = tmp_path / "focus.parquet"
    pl.DataFrame(typed).write_parquet(path)
    reading = read_money(CONNECTOR, LandedFile("focus", path, "focus/focus.parquet", "0123456789abcdef"))
    assert reading.billing["billed_cost_in_currency"].to_list() == [Decimal("0.1"), Decimal("0.0000001")]
    # 0.1 + 0.2 in binary is 0.30000000000000004, which twelve places round to 0.3.
    assert reading.billing["effective_cost_in_currency"].to_list() == [Decimal("0.3"), Decimal("2.5")]
    assert reading.billing["consumed_quantity"].to_list() == [Decimal(12500), Decimal(250)]
    assert reading.billing["tags"].to_list() == ['{"team":"search"}', None]
    assert reading.billing["charge_period_start"].dt.hour().to_list() == [0, 5]
    assert (reading.reasons, reading.broken) == ([], [])


def test_many_chunks_give_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line(BilledCost=str(n), SubAccountId=f"proj_{n % 3}") for n in range(25)]
    whole = read(tmp_path, *lines)
    monkeypatch.setattr("pipelines.connectors.strict_documents.read_csv_chunks.__kwdefaults__", {"chunk_rows": 4})
    cut = read(tmp_path, *lines)
    batches = list(CONNECTOR.read(land_bytes(tmp_path, "focus", csv_text(*lines))))
    assert len(batches) == 8  # six chunks of four lines, one of one, and the covered days
    assert cut.billing.equals(whole.billing)
    assert cut.days == whole.days


@pytest.mark.real_data
def test_the_published_sample_of_three_clouds(shared_data: Path) -> None:
    path = shared_data / "formats" / "focus" / "focus_1.0_sample.csv"
    reading = read_money(CONNECTOR, LandedFile("focus", path, path.name, "0123456789abcdef"))
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))  # another parser and exact decimals: the expected sums
    assert len(reading.billing) == len(rows) == 1000
    assert (reading.reasons, reading.broken) == ([], [])
    for theirs, ours in (("BilledCost", "billed_cost_in_currency"), ("EffectiveCost", "effective_cost_in_currency")):
        assert sum(reading.billing[ours]) == sum(Decimal(row[theirs]) for row in rows)
    assert Counter(reading.billing["provider"]) == {"aws": 942, "azure": 51, "oracle": 7}
    assert reading.billing["contracted_cost_in_currency"].null_count() == 7  # Oracle writes NULL
    negative = reading.billing.filter(pl.col("billed_cost_in_currency") < 0, charge_category="Usage")
    assert negative["charge_class"].null_count() == len(negative) == 12
    assert reading.billing["is_token_charge"].sum() == 0


@pytest.mark.real_data
def test_fragments_of_the_specification_are_refused_by_name(shared_data: Path) -> None:
    paths = sorted((shared_data / "formats" / "focus" / "spec_examples").rglob("*.csv"))
    assert len(paths) == 11
    for path in paths:
        file = LandedFile("focus", path, path.name, "0123456789abcdef")
        with pytest.raises(FileRejectedError, match="BillingCurrency, ServiceName, ProviderName"):
            list(CONNECTOR.read(file))
