"""Rolling one day up: the same sums as a plain dictionary gives, at the grain of prices and owners."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts.fields import empty, polars_schema
from pipelines.contracts.rollup import IntUsageRollup
from pipelines.contracts.usage import CoreUsage
from pipelines.errors import ContractError
from pipelines.lake import enforce
from pipelines.pieces import Piece, encoded, narrow
from pipelines.quantities import INPUT_LEAF_COLUMNS, TOKEN_COLUMNS
from pipelines.transforms import rollup
from pipelines.transforms.price_schedules import EDGE_SCHEMA
from pipelines.transforms.rollup import KEY, Grain, roll_up_meters, roll_up_usage
from tests.unit.transforms.usage_days import MIDNIGHT, usage_row

NOON = MIDNIGHT + timedelta(hours=12)
EDGES = pl.DataFrame([("openai", "gpt-4o", NOON)], schema=EDGE_SCHEMA, orient="row")
NO_EDGES = pl.DataFrame(schema=EDGE_SCHEMA)
GRAIN = Grain(EDGES, (100, 200), frozenset({"team"}))


def core(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=polars_schema(CoreUsage))


def rolled_up(day: pl.DataFrame, grain: Grain) -> pl.DataFrame:
    """The roll-up of a day whose rows come in two pieces, the second with its texts as numbers."""
    half = len(day) // 2
    pieces = [narrow(day.head(half)), with_words(narrow(day.slice(half)))]
    return roll_up_usage(lambda columns: [piece.of(columns) for piece in pieces], grain)


def with_words(piece: Piece) -> Piece:
    for name, dtype in piece.varying.schema.items():
        if dtype == pl.String and name not in ("request_id", *piece.words):
            numbers, words = encoded(piece.varying[name])
            piece = replace(piece, varying=piece.varying.with_columns(numbers), words={**piece.words, name: words})
    return piece


def row(**given: Any) -> dict[str, Any]:
    full = usage_row(**given)
    return {name: full[name] for name in polars_schema(CoreUsage)}


def oracle(rows: list[dict[str, Any]]) -> dict[tuple, dict[str, Any]]:
    """Key → sums. Tags keep `team` (a rule reads it) and keys of few values: in so small a day, all of them."""
    groups: dict[tuple, dict[str, Any]] = defaultdict(lambda: dict.fromkeys((*TOKEN_COLUMNS, "requests"), 0))
    for r in rows:
        start = MIDNIGHT
        if r["provider"] == "self_hosted":
            start = r["started_at"].replace(minute=0, second=0, microsecond=0)
        elif (r["provider"], r["model"]) == ("openai", "gpt-4o") and r["started_at"] >= NOON:
            start = NOON
        prompt = sum(r[name] for name in INPUT_LEAF_COLUMNS)
        band = max(limit for limit in (0, 100, 200) if prompt > limit or limit == 0)
        basis = "book" if r["reported_cost_usd"] is None else "reported"
        key = (
            *((start if name == "segment_start" else None if name == "session_id" else r[name]) for name in KEY),
            band,
            basis,
        )
        group = groups[key]
        for name in (*TOKEN_COLUMNS, "requests"):
            group[name] += r[name]
        if r["reported_cost_usd"] is not None:
            group["reported_cost_usd"] = group.get("reported_cost_usd", Decimal(0)) + r["reported_cost_usd"]
    return dict(groups)


def as_dict(rolled: pl.DataFrame) -> dict[tuple, dict[str, Any]]:
    keys = [*KEY, "context_band_gt", "price_basis"]
    found = {}
    for r in rolled.iter_rows(named=True):
        sums = {name: r[name] for name in (*TOKEN_COLUMNS, "requests")}
        if r["reported_cost_usd"] is not None:
            sums["reported_cost_usd"] = r["reported_cost_usd"]
        found[tuple(r[name] for name in keys)] = sums
    return found


ROW = st.fixed_dictionaries(
    {
        "seconds": st.sampled_from([0, 3_599, 43_199, 43_200, 86_399]),
        "provider": st.sampled_from(["openai", "self_hosted"]),
        "model": st.sampled_from(["gpt-4o", "o3"]),
        "feature_tag": st.sampled_from([None, "chat"]),
        "session_id": st.sampled_from([None, "s1", "s2"]),
        "tags": st.sampled_from([None, '{"team":"a"}', '{"other":"x","team":"b"}']),
        "input_uncached_tokens": st.sampled_from([0, 100, 101, 500]),
        "cache_read_tokens": st.sampled_from([0, 0, 150]),
        "output_tokens": st.integers(0, 3),
        "requests": st.integers(0, 2),
        "reported_cost_usd": st.sampled_from([None, Decimal("0.000000000001"), Decimal(2)]),
    }
)


@pytest.fixture(params=[1, 10**6], autouse=True)
def most_partial_rows(request, monkeypatch):
    """Sums of pieces are added up as they come, or at the end."""
    monkeypatch.setattr(rollup, "_MOST_PARTIAL_ROWS", request.param)


@settings(deadline=None, max_examples=60)
@given(st.lists(ROW, min_size=1, max_size=12))
def test_sums_are_those_of_a_plain_dictionary(drawn):
    rows = [row(**r) for r in drawn]
    rolled = rolled_up(core(*rows), GRAIN)
    enforce(IntUsageRollup, rolled, "test")
    assert as_dict(rolled) == oracle(rows)
    assert len(rolled) == len(as_dict(rolled))
    one = with_words(narrow(core(*rows)))
    assert roll_up_usage(lambda columns: [one.of(columns)], GRAIN).equals(rolled)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), ROW), min_size=1, max_size=12), st.integers(1, 2), st.booleans())
def test_days_together_give_what_each_gives_alone(drawn, few_values, has_words):
    rows = core(*(row(**r | {"seconds": r["seconds"] + 86_400 * day}) for day, r in drawn)).sort("usage_date")
    edges = pl.DataFrame(
        [("openai", "gpt-4o", NOON), ("openai", "o3", NOON + timedelta(days=1, hours=3))],
        schema=EDGE_SCHEMA,
        orient="row",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollup, "FEW_VALUES", few_values)
        whole = with_words(narrow(rows)) if has_words else narrow(rows)
        together = roll_up_usage(lambda columns: [whole.of(columns)], Grain(edges, (100, 200), frozenset({"team"})))
        alone = [
            rolled_up(mine, Grain(edges.filter(pl.col("edge").dt.date() == day), (100, 200), frozenset({"team"})))
            for (day,), mine in rows.partition_by("usage_date", as_dict=True, maintain_order=True).items()
        ]
    assert together.equals(pl.concat(alone))


def test_tags_that_become_alike_are_one_row_in_a_day_of_one_piece():
    day = with_words(narrow(core(*(row(tags=f'{{"team":"a","trace":"{n}"}}') for n in range(60)))))
    rolled = roll_up_usage(lambda columns: [day.of(columns)], GRAIN)
    assert rolled.select("tags", "requests").rows() == [('{"team":"a"}', 60)]


def test_an_empty_day_gives_no_rows_but_all_columns():
    rolled = rolled_up(empty(CoreUsage), GRAIN)
    assert (len(rolled), dict(rolled.schema)) == (0, polars_schema(IntUsageRollup))


def test_a_band_starts_above_its_threshold_and_counts_the_whole_prompt():
    rows = [row(input_uncached_tokens=60, cache_read_tokens=tokens, request_id=str(tokens)) for tokens in (40, 41, 141)]
    rolled = rolled_up(core(*rows), GRAIN)
    assert rolled.select("context_band_gt", "cache_read_tokens").rows() == [(0, 40), (100, 41), (200, 141)]


def test_sessions_are_kept_only_where_a_rule_reads_them():
    rows = [row(session_id="s1"), row(session_id="s2")]
    assert len(rolled_up(core(*rows), GRAIN)) == 1
    assert len(rolled_up(core(*rows), Grain(NO_EDGES, keeps_sessions=True))) == 2


def test_a_tag_with_many_values_is_dropped_unless_a_rule_reads_it():
    rows = [row(tags=json.dumps({"trace": str(n), "team": "a"})) for n in range(60)]
    assert rolled_up(core(*rows), GRAIN)["tags"].to_list() == ['{"team":"a"}']
    by_trace = Grain(NO_EDGES, tag_keys=frozenset({"trace"}))
    assert len(rolled_up(core(*rows), by_trace)) == 60


def test_sums_that_could_wrap_are_refused():
    with pytest.raises(ContractError):
        rolled_up(core(row(output_tokens=2**62), row(output_tokens=2**62)), GRAIN)


def test_rows_come_in_a_fixed_order():
    rows = [row(model=model, feature_tag=tag) for model in ("b", "a") for tag in ("z", None, "y")]
    forward, backward = (rolled_up(core(*ordered), GRAIN) for ordered in (rows, rows[::-1]))
    assert forward.equals(backward)


def test_meters_are_summed_beside_their_requests():
    meter = {
        "usage_date": MIDNIGHT.date(), "source": "s", "landed_file": "0" * 16, "record_number": 1, "part": 0,
        "provider": "openai", "account": "a", "model": "gpt-4o", "service_tier": "standard", "region": "r",
        "request_id": "x",
        "feature_tag": None, "api_key_id": None, "user_group": None, "session_id": None, "tags": None,
        "meter": "web_search_requests",
    }  # fmt: skip
    rows = [
        meter | {"started_at": NOON - timedelta(seconds=1), "quantity": Decimal(1)},
        meter | {"started_at": NOON, "quantity": Decimal("0.5")},
        meter | {"started_at": datetime(2026, 6, 2, 23, tzinfo=UTC), "quantity": Decimal(2)},
    ]
    from pipelines.contracts.usage import CoreMeters

    rolled = roll_up_meters(pl.DataFrame(rows, schema=polars_schema(CoreMeters)), GRAIN)
    assert rolled.select("segment_start", "quantity").rows() == [(MIDNIGHT, Decimal(1)), (NOON, Decimal("2.5"))]
