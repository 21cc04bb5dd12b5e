"""Published pricing cases against the shipped book: exact dollars, and nothing where nobody knows the price."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.settings import Settings
from pipelines.transforms.model_resolution import resolve_models
from pipelines.transforms.price_book import load_price_book
from pipelines.transforms.price_segments import price_segments
from pipelines.transforms.reference_tables import load_reference

pytestmark = pytest.mark.real_data

NOT_PRICED_FROM_THE_BOOK = {
    "T52": "the provider reported the cost, which wins over the book",
    "T54": "a regression note on totals: closed periods must not move",
    "T55": "a sum of decimals, no price involved",
}
LEAVES = {
    "cache_read": "cache_read",
    "cache_write": "cache_write_unknown",
    "cache_write_5m": "cache_write_5m",
    "cache_write_1h": "cache_write_1h",
    "input_uncached": "input_uncached",
    "output": "output",
    "candidates": "output",
    "thoughts": "output",
    "web_search": "web_search_requests",
}


def leaves_of(usage: dict[str, Any]) -> dict[str, int]:
    """Disjoint counts: `input_total` holds its cache reads and writes, thoughts add to output."""
    counts: dict[str, int] = {}
    for key, value in usage.items():
        if key in LEAVES and value:
            counts[LEAVES[key]] = counts.get(LEAVES[key], 0) + value
    if "input_total" in usage:
        counts["input_uncached"] = usage["input_total"] - usage.get("cache_read", 0) - usage.get("cache_write", 0)
    return {leaf: count for leaf, count in counts.items() if count}


def key_of(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "provider": case["provider"].replace("-", "_"),
        "account": "default",
        "model": case["model"],
        "service_tier": case["service_tier"],
        "region": case["region"] or "unspecified",
        "segment_start": datetime.fromisoformat(case["at"]).astimezone(UTC),
    }


def costs(
    cases: list[dict[str, Any]], settings: Settings, known_at: datetime | None = None
) -> dict[str, Decimal | None]:
    """Case id → Σ count × list price of the case's moment; None when one of its leaves has no price."""
    book, tables = load_price_book(settings, known_at), load_reference(settings)
    keys = pl.DataFrame([key_of(case) for case in cases])
    prices = price_segments(
        book,
        tables["ref__price_schedules"],
        resolve_models(keys, book, tables["ref__model_aliases"]),
        keys,
        tables["ref__contract_prices"],
        tables["ref__component_equivalents"],
    )
    found: dict[str, Decimal | None] = {}
    for case in cases:
        counts = leaves_of(case["usage"])
        prompt = sum(count for leaf, count in counts.items() if leaf.startswith(("input", "cache")))
        of_case = prices.filter(*(pl.col(name) == value for name, value in key_of(case).items()))
        in_band = of_case.filter(
            (pl.col("prompt_tokens_gt") < max(prompt, 1))
            & (pl.col("prompt_tokens_le").is_null() | (pl.col("prompt_tokens_le") >= prompt))
        )
        unit = dict(in_band.select("component", "list_unit_price_usd").iter_rows())
        assert len(unit) == in_band.height, "bands of one component must not overlap"
        is_priced = set(counts) <= set(unit)
        total = sum((count * unit[leaf] for leaf, count in counts.items()), Decimal(0)) if is_priced else None
        found[case["id"]] = total
    return found


def published(shared_cases: Path) -> list[dict[str, Any]]:
    cases = json.loads((shared_cases / "pricing_cases.json").read_text())
    return [case for case in cases if case["id"] not in NOT_PRICED_FROM_THE_BOOK]


def test_every_published_case_costs_what_its_source_says(shared_cases: Path, tmp_path: Path) -> None:
    cases = published(shared_cases)
    assert len(cases) >= 30
    stated = {case["id"]: case["expected_usd"] and Decimal(case["expected_usd"]) for case in cases}
    assert costs(cases, Settings(home=tmp_path)) == stated


def test_a_cancelled_rise_is_the_answer_only_for_who_asks_what_was_known_then(
    shared_cases: Path, tmp_path: Path
) -> None:
    case = next(case for case in published(shared_cases) if case["id"] == "T29")
    # 100,000 × $3/M + 100,000 × $15/M: the note of the case itself
    then = costs([case], Settings(home=tmp_path), known_at=datetime(2026, 7, 15, tzinfo=UTC))
    assert then == {"T29": Decimal("1.8")}
