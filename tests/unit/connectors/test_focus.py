"""The focus connector: CSV and Parquet files, dirty and clean, and the days that they cover."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from pipelines.connectors.base import LandedFile
from pipelines.connectors.focus import CONNECTOR
from pipelines.errors import FileRejectedError
from tests.unit.connectors.focus_sample import LINE, csv_text, line, read
from tests.unit.connectors.money_reading import land_bytes, read_money


def test_byte_order_mark_crlf_blank_lines_trailing_blanks_and_quotes_change_nothing(tmp_path: Path) -> None:
    clean = csv_text(line(), line(BilledCost="0.25"))
    header, one, two = clean.splitlines()
    dirty = "﻿" + header + "\r\n" + one.replace("1.50,", '"1.50 ",', 1) + "\r\n\r\n" + two + "\r\n  \r\n"
    expected = read_money(CONNECTOR, land_bytes(tmp_path, "focus", clean, name="clean"))
    reading = read_money(CONNECTOR, land_bytes(tmp_path, "focus", dirty, name="dirty"))
    assert reading.billing["record_number"].to_list() == [1, 2]
    assert reading.billing.equals(expected.billing)


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


def test_a_late_line_of_an_earlier_period_adds_to_its_day_without_claiming_it(tmp_path: Path) -> None:
    late = line(ChargePeriodStart="2026-10-30T00:00:00Z", ChargePeriodEnd="2026-10-31T00:00:00Z")
    reading = read(tmp_path, line(), late)
    assert reading.buckets["result_kind"].to_list() == ["cost", "cost_outside_2026-11"]
    assert reading.days == [("proj_a", "2026-10-30T00:00:00Z", False), ("proj_a", "2026-11-03T00:00:00Z", True)]


def test_a_correction_inside_the_covered_days_needs_no_bucket_of_its_own(tmp_path: Path) -> None:
    reading = read(tmp_path, line(), line(ChargeClass="Correction"))
    assert reading.days == [("proj_a", "2026-11-03T00:00:00Z", True)]


def test_a_correction_of_an_old_day_does_not_claim_the_days_since(tmp_path: Path) -> None:
    correction = line(
        ChargeClass="Correction", ChargePeriodStart="2026-08-03T00:00:00Z", ChargePeriodEnd="2026-08-04T00:00:00Z"
    )
    reading = read(tmp_path, line(), correction)
    starts = reading.buckets.select("result_kind", pl.col("bucket_start").dt.date().cast(pl.String), "is_complete")
    assert starts.rows() == [("cost", "2026-11-03", True), ("cost_outside_2026-11", "2026-08-03", False)]
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
    monkeypatch.setattr(
        "pipelines.connectors.reading.strict_documents.read_csv_chunks.__kwdefaults__", {"chunk_rows": 4}
    )
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


def test_parquet_instants_of_another_zone_are_brought_to_utc(tmp_path: Path) -> None:
    # 2026-11-03 09:00 in Tokyo is midnight UTC.
    tokyo = datetime(2026, 11, 3, 9, tzinfo=ZoneInfo("Asia/Tokyo"))
    typed: dict[str, list[Any]] = {name: [value] for name, value in LINE.items()} | {"ChargePeriodStart": [tokyo]}
    path = tmp_path / "focus.parquet"
    pl.DataFrame(typed).write_parquet(path)
    reading = read_money(CONNECTOR, LandedFile("focus", path, "focus/focus.parquet", "0123456789abcdef"))
    assert reading.billing["charge_period_start"].to_list() == [datetime(2026, 11, 3, tzinfo=UTC)]
