"""Feeds as price rows: what their words mean, and which of their errors are cleaned."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.transforms.price_feeds import build, curated, derivations, model_prices, openrouter, recorded_timeline
from pipelines.transforms.price_feeds.rows import FeedPrice, day_in_name, plain
from tests.unit.transforms.price_rows import at, price

RATES = {"source": "s", "valid_from": "2025-06-05T20:31:32Z", "valid_from_basis": "models.dev commit"}


def snapshot(
    provider: str, model: str, mode: str, *intervals: tuple[str | None, dict[str, Any] | None]
) -> dict[str, Any]:
    stated = [{"start": start, "rates": rates and {**RATES, **rates}} for start, rates in intervals]
    return {"prices": {provider: {model: {mode: stated}}}, "schedules": {"holidays": {}, "schedule": []}}


def facts(rows: list[FeedPrice]) -> list[tuple[Any, ...]]:
    return [(row.component, row.prompt_tokens_gt, row.prompt_tokens_le, plain(row.price_usd)) for row in rows]


def test_a_first_interval_without_start_is_a_backcast_dated_by_its_first_record() -> None:
    found = model_prices.prices(snapshot("openai", "o3", "standard", (None, {"input": Decimal(2)})))
    assert [(row.valid_from, row.valid_from_basis, row.recorded_at) for row in found] == [
        (at("2020-01-01"), "backcast", at("2025-06-05T20:31:32"))
    ]


def test_a_snapshot_named_by_its_day_starts_on_it() -> None:
    found = model_prices.prices(snapshot("openai", "gpt-4o-2024-08-06", "standard", (None, {"input": Decimal(2)})))
    assert found[0].valid_from == at("2024-08-06")


def test_equal_neighbours_join_and_a_documented_change_keeps_its_date() -> None:
    found = model_prices.prices(
        snapshot(
            "openai",
            "m",
            "standard",
            ("2025-06-05T20:31:32Z", {"input": Decimal(5)}),
            ("2025-06-06T00:00:00Z", {"input": Decimal(5)}),
            ("2025-08-21T00:00:00Z", {"input": Decimal(4), "valid_from": "2025-08-21T00:00:00Z"}),
        )
    )
    assert [(row.price_usd, row.valid_from, row.valid_to, row.valid_from_basis) for row in found] == [
        (5, at("2025-06-05T20:31:32"), at("2025-08-21"), "recorded"),
        (4, at("2025-08-21"), None, "recorded"),
    ]


def test_cache_writes_live_30_minutes_and_12_hours_at_openai_and_5_minutes_and_1_hour_elsewhere() -> None:
    rates = {"input": Decimal(4), "cache_write": Decimal(5), "cache_write_1h_multiple": Decimal("2.5")}
    found = facts(model_prices.prices(snapshot("openai", "m", "standard", (None, rates))))
    assert ("cache_write_30m", 0, None, "5") in found
    assert ("cache_write_12h", 0, None, "10") in found
    found = facts(model_prices.prices(snapshot("anthropic", "m", "standard", (None, rates))))
    assert ("cache_write_5m", 0, None, "5") in found
    assert ("cache_write_1h", 0, None, "10") in found


def test_the_long_write_multiple_alone_is_no_cache_write_price() -> None:
    rates = {"input": Decimal("2.5"), "cache_write_1h_multiple": Decimal("2.5")}
    assert facts(model_prices.prices(snapshot("openai", "gpt-4o", "standard", (None, rates)))) == [
        ("input_uncached", 0, None, "2.5")
    ]


def test_context_tiers_become_bands_that_touch() -> None:
    tiers = [{"above": Decimal(200_000), "input": Decimal(6)}]
    found = model_prices.prices(snapshot("anthropic", "m", "standard", (None, {"input": Decimal(3), "tiers": tiers})))
    assert facts(found) == [("input_uncached", 0, 200_000, "3"), ("input_uncached", 200_000, None, "6")]


@pytest.mark.parametrize(("provider", "tier"), [("openai", "priority"), ("anthropic", "fast")])
def test_fast_is_priority_at_openai(provider: str, tier: str) -> None:
    found = model_prices.prices(snapshot(provider, "m", "fast", (None, {"input": Decimal(3)})))
    assert [row.service_tier for row in found] == [tier]


def test_a_peak_schedule_doubles_the_rows_it_covers_and_only_then() -> None:
    document = snapshot("deepseek", "m", "standard", ("2026-01-01T00:00:00Z", {"input": Decimal("0.22")}))
    document["schedules"] = {
        "holidays": {"cn": {"utc_offset_hours": Decimal(8), "dates": ["2026-10-01"]}},
        "schedule": [
            {
                "provider": "deepseek",
                "holidays": "cn",
                "weekdays_only": True,
                "peak_hours_utc": [["01:00", "04:00"]],
                "peak_multiplier": Decimal("2.0"),
                "valid_from": "2026-08-16T16:00:00Z",
                "source": "page",
            }
        ],
    }
    plain_row, peak = model_prices.prices(document)
    assert (plain_row.schedule, plain_row.price_usd) == (None, Decimal("0.22"))
    assert (peak.schedule, peak.price_usd, peak.valid_from) == (
        "deepseek_peak_2026_08_16",
        Decimal("0.44"),
        at("2026-08-16T16:00"),
    )
    (window,) = model_prices.windows(document)
    assert (window.start_time, window.end_time, window.weekdays, window.exclude_dates) == (
        "01:00",
        "04:00",
        "12345",
        "2026-10-01",
    )


def record(usd: str, start: str, end: str = "", flag: str = "change", **fields: str) -> dict[str, str]:
    return {
        "model_key": "groq/m",
        "litellm_provider": "groq",
        "field": "input_cost_per_token",
        "usd_per_unit": usd,
        "recorded_from": start,
        "recorded_to": end,
        "litellm_commit": "abc",
        "flag": flag,
        **fields,
    }


def timeline(*records: dict[str, str], host: str = "groq", ours: str = "groq") -> list[FeedPrice]:
    return recorded_timeline.prices(records, {host: ours}, source="t", long_writes=frozenset({"openai"}))


def spans(rows: list[FeedPrice]) -> list[tuple[str, str, str | None]]:
    return [
        (plain(row.price_usd), f"{row.valid_from:%F}", f"{row.valid_to:%F}" if row.valid_to else None) for row in rows
    ]


def test_edits_of_a_recorded_table_become_intervals() -> None:
    rows = timeline(record("0.000001", "2024-01-01", "2024-06-01", "initial"), record("0.000002", "2024-06-01"))
    assert spans(rows) == [("1", "2020-01-01", "2024-06-01"), ("2", "2024-06-01", None)]
    assert [(row.valid_from_basis, row.recorded_at) for row in rows] == [
        ("backcast", at("2024-01-01")),
        ("recorded", at("2024-06-01")),
    ]


@pytest.mark.parametrize("flag", ["unit", "likely"])
def test_a_correction_holds_from_the_start_of_what_it_corrects(flag: str) -> None:
    rows = timeline(
        record("0.000005", "2024-01-01", "2024-06-01", "initial"), record("0.000002", "2024-06-01", flag=flag)
    )
    assert spans(rows) == [("2", "2020-01-01", None)]


def test_a_step_above_ten_is_a_unit_error_corrected_later() -> None:
    # litellm#23503: ×1,000 for two months
    rows = timeline(record("0.001", "2024-01-01", "2024-03-01", "initial"), record("0.000001", "2024-03-01"))
    assert spans(rows) == [("1", "2020-01-01", None)]


def test_a_reverted_edit_and_an_edit_of_one_day_are_dropped() -> None:
    rows = timeline(
        record("0.000003", "2024-01-01", "2024-06-01", "initial"),
        record("0.000004", "2024-06-01", "2024-06-05", "reverted"),
        record("0.000003", "2024-06-05", flag="reverted"),
    )
    assert spans(rows) == [("3", "2020-01-01", None)]


def test_a_zero_is_a_gap_and_a_price_without_float_noise() -> None:
    rows = timeline(record("0", "2024-01-01", "2024-02-01"), record("0.00000016000000000000003", "2024-02-01"))
    assert spans(rows) == [("0.16", "2020-01-01", None)]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("output_cost_per_token_above_200k_tokens", ("output", "standard", 200_000)),
        ("cache_creation_input_token_cost_above_1hr", ("cache_write_1h", "standard", 0)),
        ("cache_creation_input_token_cost_above_1hr_above_200k_tokens", ("cache_write_1h", "standard", 200_000)),
        ("input_cost_per_token_above_272k_tokens_priority", ("input_uncached", "priority", 272_000)),
        ("cache_read_input_token_cost_flex", ("cache_read", "flex", 0)),
        ("input_cost_per_audio_token_batches", ("input_audio", "batch", 0)),
    ],
)
def test_a_field_of_the_table_says_component_tier_and_band(field: str, expected: tuple[str, str, int]) -> None:
    base = {**record("0.000003", "2024-01-01"), "field": field}
    plain_field = {**base, "field": field.replace("_above_200k_tokens", "").replace("_above_272k_tokens", "")}
    rows = timeline(plain_field, base)
    assert expected in {(row.component, row.service_tier, row.prompt_tokens_gt) for row in rows}


@pytest.mark.parametrize(
    ("host", "ours", "model_key", "expected"),
    [
        (
            "bedrock",
            "aws_bedrock",
            "bedrock/us-gov-west-1/amazon.nova-pro-v1:0",
            ("amazon.nova-pro-v1:0", "us-gov-west-1"),
        ),
        ("bedrock", "aws_bedrock", "eu.meta.llama3-2-1b-instruct-v1:0", ("eu.meta.llama3-2-1b-instruct-v1:0", "*")),
        ("azure", "azure_openai", "azure/eu/gpt-4o", ("gpt-4o", "eu")),
        ("azure", "azure_openai", "azure/gpt-4o", ("gpt-4o", "*")),
        ("gemini", "google", "gemini/gemini-2.5-pro", ("gemini-2.5-pro", "*")),
    ],
)
def test_a_key_of_the_table_says_model_and_region(
    host: str, ours: str, model_key: str, expected: tuple[str, str]
) -> None:
    (row,) = timeline(
        record("0.000003", "2024-01-01", model_key=model_key, litellm_provider=host), host=host, ours=ours
    )
    assert (row.model, row.region) == expected


@pytest.mark.parametrize("model_key", ["bedrock/us-east-1/1-month-commitment/anthropic.claude-v1", "1024-x-1024/m"])
def test_provisioned_capacity_and_picture_sizes_are_left_out(model_key: str) -> None:
    assert timeline(record("0.01", "2024-01-01", model_key=model_key, litellm_provider="bedrock"), host="bedrock") == []


def test_a_monthly_snapshot_prices_from_the_one_before_and_keeps_models_that_left() -> None:
    document = {
        "source": "archive",
        "snapshots": [
            {"date": "2026-01-01", "prices": {"a/old": [1.0, 2.0]}},
            {"date": "2026-02-01", "prices": {"a/new": [0.1, 0.4], "a/gift": [0, 0], "a/gift:free": [0, 0]}},
            {"date": "2026-03-01", "prices": {"a/new": [0.2, 0.4]}},
        ],
    }
    rows = openrouter.prices(document)
    inputs = {row.model: [] for row in rows}
    for row in rows:
        if row.component == "input_uncached":
            inputs[row.model].append(
                (plain(row.price_usd), f"{row.valid_from:%F}", row.valid_to, f"{row.recorded_at:%F}")
            )
    assert inputs == {
        "a/old": [("1", "2026-01-01", None, "2026-01-01")],
        "a/new": [
            ("0.1", "2026-01-01", at("2026-03-01"), "2026-02-01"),
            ("0.2", "2026-03-01", None, "2026-03-01"),
        ],
        "a/gift:free": [("0", "2026-01-01", None, "2026-02-01")],
    }


@pytest.mark.parametrize(
    ("model", "regional", "us_only"),
    [
        ("claude-3-7-sonnet-20250219", False, False),
        ("claude-sonnet-4-20250514", False, False),
        ("claude-opus-4-1-20250805", False, False),
        ("claude-sonnet-4-5-20250929", True, False),
        ("claude-haiku-4-5", True, False),
        ("claude-opus-4-5", True, False),
        ("claude-opus-4-6", True, True),
        ("claude-sonnet-5", True, True),
        ("claude-haiku-5-5", True, True),
    ],
)
def test_surcharges_begin_with_their_generation(model: str, regional: bool, us_only: bool) -> None:
    assert derivations.has_regional_surcharge(model) is regional
    assert derivations.has_us_surcharge(model) is us_only


def test_claude_on_bedrock_is_list_globally_and_dearer_elsewhere() -> None:
    row = price("3", provider="anthropic", model="claude-sonnet-4-5")
    ids = derivations.bedrock_ids(["claude-sonnet-4-5"], ["us.anthropic.claude-sonnet-4-5-v1:0", "anthropic.claude-x"])
    assert ids == {"claude-sonnet-4-5": "anthropic.claude-sonnet-4-5"}
    found = {(new.region, plain(new.price_usd)) for new in derivations.claude_on_bedrock([row], ids)}
    assert found == {("*", "3.3"), ("global", "3")}


def test_a_correction_citing_the_line_above_names_that_source() -> None:
    base = {
        "provider": "deepseek",
        "model": "deepseek-chat",
        "service_tier": "standard",
        "region": "*",
        "prompt_tokens_gt": "0",
        "valid_from": "2025-09-29T00:00:00Z",
        "valid_to": "",
        "recorded_at": "",
        "superseded_at": "",
        "kind": "price_change",
    }
    records = [
        {**base, "component": "input_uncached", "price_usd_per_mtok": "0.28", "source": "page"},
        {**base, "component": "output", "price_usd_per_mtok": "0.42", "source": "same (hour unknown)"},
    ]
    rows = curated.corrections(records)
    assert [(row.source, row.layer, row.valid_to) for row in rows] == [
        ("page", "curated", curated.DEEPSEEK_V4_ALIAS)
    ] * 2


def test_the_day_in_a_name() -> None:
    assert day_in_name("claude-3-7-sonnet-20250219") == at("2025-02-19")
    assert day_in_name("gpt-4o-2024-08-06") == at("2024-08-06")
    assert day_in_name("gemini-2.5-flash-preview-05-20") is None
    assert day_in_name("m-20251399") is None


@pytest.mark.real_data
def test_the_installed_package_says_what_its_published_table_says(shared_data: Path) -> None:
    """All 3,607 rows of the seed table: the same price where the row starts and one second before it ends."""
    path = next((shared_data / "prices").glob("canonical_seed*.csv.gz"))
    with gzip.open(path, "rt", newline="") as handle:
        seed = list(csv.DictReader(handle))
    assert len(seed) == 3607
    found: dict[tuple[Any, ...], list[FeedPrice]] = {}
    for row in model_prices.prices(model_prices.installed_snapshot()):
        if row.schedule is None:
            key = (row.provider, row.model, row.service_tier, row.component, row.prompt_tokens_gt, row.prompt_tokens_le)
            found.setdefault(key, []).append(row)
    different = []
    for line in seed:
        provider = model_prices.provider_name(line["provider"])
        is_openai = provider == "openai"
        component = line["component"].replace("5m", "30m") if is_openai else line["component"]
        tier = line["service_tier"].replace("priority_or_fast", "fast" if provider == "anthropic" else "priority")
        upto = int(line["prompt_tokens_le"]) if line["prompt_tokens_le"] else None
        rows = found.get((provider, line["model"], tier, component, int(line["prompt_tokens_gt"]), upto), [])
        ends = datetime.fromisoformat(line["valid_to"]) if line["valid_to"] else at("2026-11-01")
        starts = datetime.fromisoformat(line["valid_from"]) if line["valid_from"] else ends - timedelta(seconds=1)
        held = [
            [
                row.price_usd
                for row in rows
                if row.valid_from <= moment and (row.valid_to is None or moment < row.valid_to)
            ]
            for moment in (starts, ends - timedelta(seconds=1))
        ]
        usd = round(Decimal(line["price"]), 9)
        if held != [[usd], [usd]] and not (is_openai and usd == 0):
            different.append((line, held))
    assert different == []


@pytest.mark.real_data
def test_the_shipped_book_is_what_its_facts_build(shared_data: Path, tmp_path: Path) -> None:
    from pipelines.settings import SHIPPED_REFERENCE

    assert build.main([str(shared_data / "prices"), str(tmp_path)]) == 0
    built = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.csv")}
    assert built == {name: (SHIPPED_REFERENCE / name).read_bytes() for name in built}
