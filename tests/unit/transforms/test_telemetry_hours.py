"""From samples to hours: resets, gaps, files that continue or overlap each other, windows of dollars.

Expected values are worked by hand in the comments; the property test holds the hours against a walk over the samples in
Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts.fields import polars_schema
from pipelines.contracts.infrastructure import CoreInfrastructure, CoreInfrastructureSamples
from pipelines.lake import enforce
from pipelines.transforms.telemetry_hours import HourlyTelemetry, hourly_telemetry

DAY = date(2026, 11, 1)
MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)
SCHEMA = {**polars_schema(CoreInfrastructureSamples), "newness": pl.Int64()}
FILES = ("a" * 16, "b" * 16)


def sample(
    at: float,
    value: object,
    *,
    measure: str = "output_tokens",
    file: int = 0,
    name: str = "s",
    until: float | None = None,
) -> dict[str, object]:
    """One sample `at` seconds after midnight; with `until` a window of dollars."""
    moment = MIDNIGHT + timedelta(seconds=at)
    return {
        "source": "prometheus" if until is None else "opencost",
        "landed_file": FILES[file],
        "record_number": 0,
        "usage_date": moment.date(),
        "sampled_at": moment,
        "valid_until": None if until is None else MIDNIGHT + timedelta(seconds=until),
        "deployment": "chat",
        "measure": measure,
        "series": name,
        "measured_quantity": Decimal(str(value)),
        "longest_gap_seconds": 300,
        "is_partial": False,
        "newness": file,
    }


def hourly(samples: Iterable[dict[str, object]], day: date = DAY) -> HourlyTelemetry:
    rows = [{**row, "record_number": number} for number, row in enumerate(samples, start=1)]
    told = hourly_telemetry(pl.DataFrame(rows, schema=SCHEMA, orient="row"), day)
    enforce(CoreInfrastructure, told.hours, "test")
    return told


def quantities(told: HourlyTelemetry) -> dict[tuple[int, str], Decimal]:
    return {
        (row["hour_start"].hour, row["measure"]): row["measured_quantity"] for row in told.hours.iter_rows(named=True)
    }


def fates(told: HourlyTelemetry) -> dict[int, str]:
    return dict(told.fates.select("record_number", "fate").iter_rows())


def test_a_counter_that_falls_was_reset_and_counts_from_zero() -> None:
    # 100 → 160 (+60), restart, 25 (+25), 40 (+15)
    told = hourly(sample(60 * n, value) for n, value in enumerate((100, 160, 25, 40)))
    assert quantities(told) == {(0, "output_tokens"): Decimal(100)}
    assert told.hours["covered_seconds"].item() == Decimal(180)


def test_more_than_five_minutes_without_a_sample_are_a_gap() -> None:
    # 0 → 300 is covered (+10), 300 → 601 is not, 601 → 661 is (+5)
    told = hourly([sample(0, 0), sample(300, 10), sample(601, 500), sample(661, 505)])
    assert quantities(told)[0, "output_tokens"] == Decimal(15)
    assert told.hours["covered_seconds"].item() == Decimal(360)


def test_an_interval_belongs_to_the_hour_in_which_it_begins() -> None:
    told = hourly([sample(3500, 0), sample(3590, 9), sample(3650, 30), sample(3700, 37)])
    assert quantities(told) == {(0, "output_tokens"): Decimal(30), (1, "output_tokens"): Decimal(7)}


def test_what_lies_between_two_files_is_not_lost() -> None:
    told = hourly([sample(0, 0), sample(60, 5, file=0), sample(120, 11, file=1), sample(180, 13, file=1)])
    assert quantities(told)[0, "output_tokens"] == Decimal(13)


def test_files_that_overlap_count_each_sample_once() -> None:
    told = hourly([sample(0, 0), sample(60, 5), sample(60, 5, file=1), sample(120, 9, file=1)])
    assert quantities(told)[0, "output_tokens"] == Decimal(9)
    assert fates(told) == {1: "accepted", 2: "duplicate", 3: "accepted", 4: "accepted"}


def test_the_newer_file_wins_where_two_disagree() -> None:
    told = hourly([sample(0, 0), sample(60, 50), sample(60, 40, file=1)])
    assert quantities(told)[0, "output_tokens"] == Decimal(40)
    assert fates(told)[2] == "superseded"


def test_the_last_interval_of_a_day_ends_in_the_next() -> None:
    samples = [sample(86340, 0), sample(86400, 6), sample(86460, 10)]
    assert quantities(hourly(samples)) == {(23, "output_tokens"): Decimal(6)}
    assert quantities(hourly(samples, DAY + timedelta(days=1))) == {(0, "output_tokens"): Decimal(4)}
    assert fates(hourly(samples)) == {1: "accepted"}


def test_energy_is_millijoules_and_power_is_held_over_time() -> None:
    # 90,000 mJ = 90 J; 300 W for 60 s = 18,000 J of the GPU without a counter
    energy = [sample(0, 1000, measure="gpu_energy_joules"), sample(60, 91000, measure="gpu_energy_joules")]
    power = [sample(at, 300, measure="gpu_power_joules", name="other") for at in (0, 60)]
    assert quantities(hourly(energy + power)) == {
        (0, "gpu_energy_joules"): Decimal(90),
        (0, "gpu_power_joules"): Decimal(18000),
    }


def test_a_gpu_with_both_is_counted_by_its_counter() -> None:
    energy = [sample(0, 1000, measure="gpu_energy_joules"), sample(60, 91000, measure="gpu_energy_joules")]
    power = [sample(at, 300, measure="gpu_power_joules") for at in (0, 60)]
    assert quantities(hourly(energy + power)) == {(0, "gpu_energy_joules"): Decimal(90)}


def test_pods_of_one_gpu_are_one_series_even_when_one_is_stale() -> None:
    # the stale pod still says 1,000 at 60 s; the largest value is the GPU's
    values = [(0, 1000), (0, 1000), (60, 1000), (60, 4000), (120, 9000)]
    told = hourly(sample(at, value, measure="gpu_energy_joules") for at, value in values)
    assert quantities(told)[0, "gpu_energy_joules"] == Decimal(8)
    assert sorted(fates(told).values()) == ["accepted", "accepted", "accepted", "duplicate", "superseded"]


def test_dollars_of_a_window_are_spread_over_its_hours_to_the_last_place() -> None:
    # 1 dollar over 90 minutes: two thirds and one third
    told = hourly([sample(0, 1, measure="opencost_hardware_usd", until=5400)])
    assert quantities(told) == {
        (0, "opencost_hardware_usd"): Decimal("0.666666666667"),
        (1, "opencost_hardware_usd"): Decimal("0.333333333333"),
    }


def test_a_newer_window_replaces_an_older_one_that_it_touches() -> None:
    old = sample(0, 24, measure="opencost_hardware_usd", until=86400)
    new = sample(0, 12, measure="opencost_hardware_usd", until=86400, file=1)
    told = hourly([old, new])
    assert sum(quantities(told).values()) == Decimal(12)
    assert fates(told) == {1: "superseded", 2: "accepted"}


@given(
    steps=st.lists(st.tuples(st.sampled_from([15, 60, 299, 300, 301, 900]), st.integers(-50, 500)), max_size=40),
    start=st.integers(0, 4000),
)
def test_hours_are_what_a_walk_over_the_samples_gives(steps: list[tuple[int, int]], start: int) -> None:
    at, value, samples = start, 1000, [(start, 1000)]
    expected: dict[tuple[int, str], Decimal] = {}
    for step, change in steps:
        before, at = at, at + step
        following = max(0, value + change) if change >= 0 else -change
        grown = following - value if following >= value else following
        if step <= 300:
            key = (before // 3600, "output_tokens")
            expected[key] = expected.get(key, Decimal(0)) + grown
        value = following
        samples.append((at, value))
    assert quantities(hourly(sample(*pair) for pair in samples)) == expected
