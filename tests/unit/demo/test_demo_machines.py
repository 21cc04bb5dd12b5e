"""The demo's self-hosted deployments: counters agree with the log, faults are where they are promised, tables are read.

What lives here: landing/prometheus and the reference tables of machines. What does not: what the machines cost.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from pipelines.connectors.base import LandedFile
from pipelines.connectors.registry import connector
from pipelines.demo.expectations import demo_expectations
from pipelines.demo.scenario import load_scenario
from pipelines.demo.traffic import build_calls
from pipelines.settings import Settings
from pipelines.transforms.reference_tables import load_reference
from pipelines.transforms.telemetry_hours import hourly_telemetry

SCALE, SEED = 0.05, 7
PROMPT, CACHED, OUTPUT = (
    f"vllm:{name}_total" for name in ("prompt_tokens", "prompt_tokens_cached", "generation_tokens")
)
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"

Series = dict[int, str]
Labels = tuple[tuple[str, str], ...]


def told(home: Any, deployment: str) -> dict[Labels, Series]:
    """Labels → Unix second → value as text, over all files of a deployment."""
    found: dict[Labels, Series] = defaultdict(dict)
    for path in home.files(f"prometheus/{deployment}"):
        for one in json.loads(path.read_text())["data"]["result"]:
            found[tuple(sorted(one["metric"].items()))].update(dict(one["values"]))
    return found


def counted_by_day(home: Any, deployment: str) -> dict[tuple[str, str], int]:
    """(Day, metric) → what token counters grew by; one that falls counted from zero."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for labels, values in told(home, deployment).items():
        name = dict(labels)["__name__"]
        if name.startswith("vllm:"):
            for (at, now), (_, later) in pairwise(sorted(values.items())):
                day = datetime.fromtimestamp(at, tz=UTC).date().isoformat()
                sums[day, name] += int(later) - int(now) if int(later) >= int(now) else int(later)
    return {key: count for key, count in sums.items() if count}


def logged(home: Any) -> list[dict[str, Any]]:
    return [record for record in home.records("response_log") if record.get("provider") == "self_hosted"]


@pytest.mark.parametrize("deployment", ["chat-h100", "embed-l40s"])
def test_counters_are_what_was_logged_plus_what_was_not(both_nights, deployment):
    expected: dict[tuple[str, str], int] = defaultdict(int)
    for record in logged(both_nights):
        day, usage = record["timestamp"][:10], record["usage"]
        if record["account"] == deployment and day >= "2026-09-14":
            expected[day, PROMPT] += usage["prompt_tokens"]
            expected[day, CACHED] += usage["prompt_tokens_details"]["cached_tokens"]
            expected[day, OUTPUT] += usage["completion_tokens"]
    calls = build_calls(load_scenario(), seed=SEED, scale=SCALE)
    trials = calls.filter((pl.col("source") == "unlogged") & (pl.col("account") == deployment))
    for row in trials.iter_rows(named=True):
        expected[str(row["usage_date"]), PROMPT] += row["input_uncached_tokens"]
        expected[str(row["usage_date"]), OUTPUT] += row["output_tokens"]
    assert (len(trials) > 0) is (deployment == "chat-h100")
    assert len({day for day, _ in expected}) == 17  # 14 to 30 September
    assert counted_by_day(both_nights, deployment) == {key: count for key, count in expected.items() if count}


def test_second_night_adds_the_last_day_and_repeats_only_its_first_midnight(first_night, both_nights):
    for deployment in ("chat-h100", "embed-l40s"):
        before, after = told(first_night, deployment), told(both_nights, deployment)
        assert before.keys() == after.keys()
        for labels, values in before.items():
            assert max(values) == datetime(2026, 9, 30, tzinfo=UTC).timestamp()
            assert max(after[labels]) == datetime(2026, 10, 1, tzinfo=UTC).timestamp()
            assert values.items() <= after[labels].items()


def test_one_engine_restarts_once(both_nights):
    falls = [
        (dict(labels)["engine"], at)
        for labels, values in told(both_nights, "chat-h100").items()
        if dict(labels)["__name__"] == PROMPT
        for (_, now), (at, later) in pairwise(sorted(values.items()))
        if int(later) < int(now)
    ]
    # restarted at 11:10, told by the sample of 11:30
    assert falls == [("0", datetime(2026, 9, 22, 11, 30, tzinfo=UTC).timestamp())]


def test_one_sample_is_no_number_and_one_gpu_is_told_by_two_pods(both_nights):
    energy = [
        (dict(labels), values)
        for labels, values in told(both_nights, "embed-l40s").items()
        if dict(labels)["__name__"] == ENERGY
    ]
    bad = [(labels["gpu"], at) for labels, values in energy for at, value in values.items() if value == "NaN"]
    assert bad == [("0", datetime(2026, 9, 17, 9, tzinfo=UTC).timestamp())]
    assert [(labels["gpu"], labels["pod"]) for labels, _ in energy] == [
        ("0", "embed-0"),
        ("1", "embed-0"),
        ("1", "embed-0-old"),
    ]
    assert energy[1][1] == energy[2][1]


def test_nobody_asks_the_rented_fleet_at_night(both_nights):
    hours = {int(record["timestamp"][11:13]) for record in logged(both_nights) if record["account"] == "chat-h100"}
    assert hours
    assert hours.isdisjoint({22, 23, 0, 1, 2, 3, 4})
    night = [datetime(2026, 9, 15, 22, tzinfo=UTC), datetime(2026, 9, 16, 5, tzinfo=UTC)]
    for labels, values in told(both_nights, "chat-h100").items():
        if dict(labels)["__name__"] == PROMPT:
            assert values[int(night[0].timestamp())] == values[int(night[1].timestamp())]


def test_connector_and_hours_find_the_expected_tokens_and_refuse_the_nan(both_nights):
    frames, reasons = [], []
    for number, path in enumerate(both_nights.files("prometheus")):
        place = path.relative_to(both_nights.path / "landing")
        file = LandedFile("prometheus", path, place.as_posix(), f"{number:016x}", place.parts[1])
        for batch in connector("prometheus").read(file):
            reasons += [code for reject in batch.rejected for code in reject["reason_code"]]
            frames.append(
                batch.infrastructure.with_columns(
                    pl.col("sampled_at").dt.date().alias("usage_date"),
                    pl.lit("prometheus").alias("source"),
                    pl.lit(file.landed_file).alias("landed_file"),
                    pl.lit(number).cast(pl.Int64).alias("newness"),
                )
            )
    assert reasons == ["not_a_number"]
    samples = pl.concat(frames)
    expected = demo_expectations(night=2, seed=SEED, scale=SCALE)["self_hosted"]
    assert len(expected) == 34  # 17 days of two deployments
    for day in sorted({row["usage_date"] for row in expected}):
        hours = hourly_telemetry(samples, day).hours
        for row in (row for row in expected if row["usage_date"] == day):
            mine = hours.filter(pl.col("deployment") == row["deployment"])
            tokens = mine.filter(pl.col("measure").is_in(["input_tokens", "output_tokens"]))["measured_quantity"].sum()
            assert tokens == row["logged_tokens"] + row["unlogged_tokens"], (day, row["deployment"])
            gpus = mine.filter(pl.col("measure").is_in(["gpu_energy_joules", "gpu_power_joules"]))
            # two GPUs around the clock; the NaN takes half an hour on each side of itself from one GPU
            missing = 3600 if (str(day), row["deployment"]) == ("2026-09-17", "embed-l40s") else 0
            assert gpus["covered_seconds"].sum() == 2 * 86400 - missing


def test_tables_of_machines_are_accepted_beside_the_shipped_ones(both_nights):
    tables = load_reference(Settings(home=both_nights.path))
    deployments = {row["deployment"]: row for row in tables["ref__deployments"].iter_rows(named=True)}
    assert deployments.keys() == {"chat-h100", "embed-l40s"}
    rates = tables["ref__gpu_rates"]
    for row in deployments.values():
        mine = rates.filter((pl.col("gpu_type") == row["gpu_type"]) & (pl.col("purchase_type") == row["purchase_type"]))
        assert len(mine) == 1
    staff = tables["ref__overheads"].filter(pl.col("component") == "engineering")
    assert dict(zip(staff["method"], staff["unit"], strict=True)) == {"fte": "fte", "loaded_annual": "usd_per_year"}
    models = {record["model"] for record in logged(both_nights)}
    assert models == set(tables["ref__model_equivalents"]["model"]) == {"llama-3.3-70b-instruct", "bge-m3"}


def test_self_hosted_calls_have_no_list_price():
    daily = demo_expectations(night=2, seed=SEED, scale=SCALE)["usage_daily"]
    mine = [row for row in daily if row["provider"] == "self_hosted"]
    assert {row["feature"] for row in mine} == {"support_chat", "doc_summaries", "search_answers"}
    assert {(row["token_list_cost_usd"], row["search_list_cost_usd"]) for row in mine} == {(None, None)}
