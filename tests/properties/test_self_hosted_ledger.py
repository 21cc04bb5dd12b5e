"""The ledger of self-hosting against a slow oracle in plain Python: minute by minute, in fractions.

What lives here: conservation and the oracle, over random fleets. What does not: worked cases (tests/unit/transforms).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts.infrastructure import IntInfrastructureCostHourly, IntInfrastructureShares
from pipelines.lake import enforce
from pipelines.transforms.deployment_shares import shares_of_hours
from tests.properties.fleets import MIDNIGHT, at, fleet_reference, ledger, telemetry, traffic

HOURS = 48
PICO = Fraction(1, 10**12)
POLICIES = ("own_row", "proportional", "even", "reserved")


@dataclass(frozen=True)
class Fleet:
    """One deployment over two days: whole minutes from midnight, whole dollars."""

    gpus: int
    starts: int
    ends: int
    first_rate: int
    second_rate: int
    rate_changes: int
    licence: int
    capacity: int | None
    policy: str
    requests: list[tuple[int, str, int, int, int]]


FLEETS = st.builds(
    Fleet,
    gpus=st.integers(1, 9),
    starts=st.integers(0, 600),
    ends=st.integers(700, HOURS * 60),
    first_rate=st.integers(0, 7),
    second_rate=st.integers(1, 7),
    rate_changes=st.integers(1, HOURS * 60 - 1),
    licence=st.integers(0, 500),
    capacity=st.none() | st.integers(10, 3000),
    policy=st.sampled_from(POLICIES),
    requests=st.lists(
        st.tuples(
            st.integers(0, HOURS - 1),
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 900),
            st.integers(0, 900),
            st.integers(0, 900),
        ),
        max_size=30,
        unique_by=lambda request: request[:2],
    ),
)


def tables(fleet: Fleet) -> dict[str, pl.DataFrame]:
    edge = at(fleet.rate_changes / 60)
    deployment = {
        "gpu_count": fleet.gpus,
        "capacity_units_per_gpu_hour": fleet.capacity,
        "idle_policy": fleet.policy,
        "valid_from": at(fleet.starts / 60),
        "valid_to": at(fleet.ends / 60),
    }
    return fleet_reference(
        [deployment],
        [
            {"usd_per_gpu_hour": fleet.first_rate, "valid_to": edge},
            {"usd_per_gpu_hour": fleet.second_rate, "valid_from": edge},
        ],
        [{"component": "licences", "value": fleet.licence, "unit": "usd_per_gpu_month"}],
    )


def running_minutes(fleet: Fleet, hour: int) -> range:
    return range(max(hour * 60, fleet.starts), min(hour * 60 + 60, fleet.ends))


def expected_cost(fleet: Fleet, hour: int) -> Fraction:
    """Dollars of one hour: every minute at its rate, and the licence by the month's 720 hours."""
    total = Fraction(0)
    for minute in running_minutes(fleet, hour):
        rate = fleet.first_rate if minute < fleet.rate_changes else fleet.second_rate
        total += fleet.gpus * (Fraction(rate, 60) + Fraction(fleet.licence, 720 * 60))
    return total


def expected_load(fleet: Fleet, hour: int) -> Fraction:
    work = sum((work_of(request) for request in fleet.requests if request[0] == hour), Fraction(0))
    if fleet.capacity is None:
        return Fraction(work > 0)
    available = Fraction(fleet.gpus * fleet.capacity * len(running_minutes(fleet, hour)), 60)
    return min(Fraction(1), work / available)


def work_of(request: tuple[int, str, int, int, int]) -> Fraction:
    """The labelled default weights 1 / 0.1 / 5."""
    return request[2] + Fraction(request[3], 10) + 5 * request[4]


@settings(max_examples=60, deadline=None)
@given(fleet=FLEETS)
def test_every_hour_costs_what_its_minutes_cost(fleet: Fleet) -> None:
    told = ledger(tables(fleet), traffic(*fleet.requests), days=2)
    enforce(IntInfrastructureCostHourly, told, "test")
    found = {int((row["hour_start"] - MIDNIGHT).total_seconds()) // 3600: row for row in told.iter_rows(named=True)}
    assert sorted(found) == [hour for hour in range(HOURS) if running_minutes(fleet, hour)]
    parts = ["hardware", "energy", "licences", "engineering", "network_storage"]
    for hour, row in found.items():
        assert row["all_in_cost_usd"] == sum(row[f"{part}_cost_usd"] for part in parts)
        assert row["all_in_cost_usd"] == row["busy_cost_usd"] + row["idle_cost_usd"]
        assert abs(Fraction(row["all_in_cost_usd"]) - expected_cost(fleet, hour)) <= PICO
        assert abs(Fraction(row["utilisation"]) - expected_load(fleet, hour)) <= PICO


@settings(max_examples=60, deadline=None)
@given(fleet=FLEETS)
def test_shares_sum_to_the_ledger_exactly_and_follow_the_work(fleet: Fleet) -> None:
    told = ledger(tables(fleet), traffic(*fleet.requests), days=2)
    shares = shares_of_hours(told, traffic(*fleet.requests))
    enforce(IntInfrastructureShares, shares, "test")
    bases = ["usage_cost_usd", "fully_loaded_cost_usd"]
    others = ["usage_cost_output_weight_half_usd", "usage_cost_output_weight_double_usd"]
    by_day = shares.group_by("usage_date").agg(pl.col(name).sum() for name in (*bases, *others))
    ledger_days = dict(told.group_by("usage_date").agg(pl.col("all_in_cost_usd").sum()).iter_rows())
    for row in by_day.iter_rows(named=True):
        assert {row[name] for name in (*bases, *others)} == {ledger_days[row["usage_date"]]}
    assert {day for day, usd in ledger_days.items() if usd} <= set(by_day["usage_date"])
    busy, silent = expected_busy(fleet)
    found = dict(shares.group_by("feature").agg(pl.col("busy_cost_usd").sum()).iter_rows())
    for feature, usd in busy.items():
        assert abs(Fraction(found.get(feature, 0)) - usd) <= HOURS * 2 * PICO
    idle = shares.filter(pl.col("feature") == "__idle__")["usage_cost_usd"].sum()
    kept = silent if fleet.policy != "own_row" else silent + expected_idle_with_traffic(fleet)
    assert abs(Fraction(idle) - kept) <= HOURS * 2 * PICO


def expected_busy(fleet: Fleet) -> tuple[dict[str, Fraction], Fraction]:
    """Busy dollars by feature, and the dollars of hours without work."""
    busy: dict[str, Fraction] = {}
    silent = Fraction(0)
    for hour in range(HOURS):
        mine = [request for request in fleet.requests if request[0] == hour and work_of(request)]
        whole = sum((work_of(request) for request in mine), Fraction(0))
        if not mine:
            silent += expected_cost(fleet, hour)
        elif running_minutes(fleet, hour):
            for request in mine:
                share = expected_cost(fleet, hour) * expected_load(fleet, hour) * work_of(request) / whole
                busy[request[1]] = busy.get(request[1], Fraction(0)) + share
    return busy, silent


def expected_idle_with_traffic(fleet: Fleet) -> Fraction:
    worked = {request[0] for request in fleet.requests if work_of(request)}
    return sum(
        (
            expected_cost(fleet, hour) * (1 - expected_load(fleet, hour))
            for hour in worked
            if running_minutes(fleet, hour)
        ),
        Fraction(0),
    )


@settings(max_examples=40, deadline=None)
@given(
    counters=st.lists(
        st.tuples(st.integers(0, 23), *[st.integers(0, 2000)] * 3), max_size=12, unique_by=lambda c: c[0]
    ),
    requests=st.lists(
        st.tuples(st.integers(0, 23), st.just("a"), *[st.integers(0, 900)] * 3), max_size=12, unique_by=lambda r: r[0]
    ),
)
def test_the_gap_between_counters_and_log_is_unlogged_and_never_negative(
    counters: list[tuple[int, int, int, int]], requests: list[tuple[int, str, int, int, int]]
) -> None:
    measured: list[tuple[float, str, object, float]] = []
    for hour, uncached, cached, output in counters:
        measured += [
            (hour, "input_tokens", uncached + cached, 3600),
            (hour, "cached_tokens", cached, 3600),
            (hour, "output_tokens", output, 3600),
        ]
    facts = fleet_reference([{"valid_from": MIDNIGHT}], [{"usd_per_gpu_hour": 2}])
    told = ledger(facts, traffic(*requests), telemetry(*measured))
    logged: dict[int, Any] = {request[0]: request[2:] for request in requests}
    for place, name in enumerate(("uncached_tokens", "cached_tokens", "output_tokens")):
        gap = sum(count[1 + place] - logged.get(count[0], (0, 0, 0))[place] for count in counters)
        assert told[f"unlogged_{name}"].sum() == max(0, gap)
    shares = shares_of_hours(told, traffic(*requests))
    assert shares["usage_cost_usd"].sum() == told["all_in_cost_usd"].sum() == 48
