"""The demo's Prometheus exports: token counters, power gauges and energy counters of the self-hosted deployments.

What lives here: landing/prometheus/<deployment>/*.json, answers of range queries. What does not: the calls behind the
counters (traffic.py), what the machines cost (writers_reference.py). A call counts in the step in which it starts, so
the counters of a day are the deployment's calls of that day, logged or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate

import polars as pl

from pipelines.demo.landed_files import LandingWriter
from pipelines.demo.native_usage import OUTPUT, PROMPT, READ
from pipelines.demo.random_streams import Stream
from pipelines.demo.scenario import SELF_HOSTED, Fleet, Scenario
from pipelines.demo.traffic import data_through
from pipelines.demo.writers_provider import midnight

TOKEN_COUNTERS = {
    "vllm:prompt_tokens_total": PROMPT,
    "vllm:generation_tokens_total": OUTPUT,
    "vllm:prompt_tokens_cached_total": READ,
}
ENERGY_COUNTER = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
POWER_GAUGE = "DCGM_FI_DEV_POWER_USAGE"

_DAY = timedelta(days=1)
_EARLIER_TOKENS = 700_000_000
_EARLIER_MILLIJOULES = 90_000_000_000

Values = list[int | None]
"""One value for each instant; None is no measurement."""


def write_prometheus(calls: pl.DataFrame, scenario: Scenario, writer: LandingWriter, *, night: int, seed: int) -> None:
    """Land the range queries of one night: a file a week and deployment, and one of the day that night 2 adds.

    Both ends of a query are samples, so that midnight between two files stands in both, as in Prometheus.
    """
    telemetry = scenario.telemetry
    step = timedelta(minutes=telemetry.step_minutes)
    count = (scenario.quarter.last_day - telemetry.first_day + _DAY) // step
    instants = [midnight(telemetry.first_day) + number * step for number in range(count + 1)]
    for fleet in telemetry.fleets:
        series = [*_engines(calls, fleet, instants, step), *_gpus(calls, fleet, instants, step, seed)]
        for first, last in _queries(scenario, night):
            inside = [n for n, at in enumerate(instants) if midnight(first) <= at <= midnight(last + _DAY)]
            result = [
                {"metric": labels, "values": [[int(instants[n].timestamp()), _text(values[n])] for n in inside]}
                for labels, values in series
            ]
            answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
            text = json.dumps(answer, separators=(",", ":"))
            writer.write_lines(f"prometheus/{fleet.deployment}/{first}.json", [text])


def _queries(scenario: Scenario, night: int) -> Iterator[tuple[date, date]]:
    """First and last day of each query of a night."""
    last = data_through(1)
    first = scenario.telemetry.first_day
    if night > 1:
        yield last + _DAY, scenario.quarter.last_day
        return
    while first <= last:
        yield first, min(first + 6 * _DAY, last)
        first += 7 * _DAY


def _engines(
    calls: pl.DataFrame, fleet: Fleet, instants: Sequence[datetime], step: timedelta
) -> Iterator[tuple[dict[str, str], Values]]:
    """Token counters of each engine, which take calls in turns. A restarted engine counts from zero and loses none."""
    for engine in range(fleet.engines):
        mine = calls.filter(pl.col("call") % fleet.engines == engine)
        for name, tokens in TOKEN_COUNTERS.items():
            labels = {
                "__name__": name,
                "engine": str(engine),
                "instance": f"{fleet.deployment}-{engine}:8000",
                "job": "vllm",
            }
            totals = list(accumulate(_per_step(mine, fleet, tokens, instants, step), initial=_EARLIER_TOKENS))
            restart = fleet.restarted_at if engine == 0 else None
            lost = max((n for n, at in enumerate(instants) if restart and at < restart), default=None)
            if lost is not None:
                totals = [total if n <= lost else total - totals[lost] for n, total in enumerate(totals)]
            yield labels, list(totals)


def _gpus(
    calls: pl.DataFrame, fleet: Fleet, instants: Sequence[datetime], step: timedelta, seed: int
) -> Iterator[tuple[dict[str, str], Values]]:
    """Power in watts or energy in millijoules of each GPU: idle power, and more by how many tokens a step had."""
    name = ENERGY_COUNTER if fleet.watts == "counter" else POWER_GAUGE
    tokens = [*_per_step(calls, fleet, PROMPT - READ + 5 * OUTPUT, instants, step), 0]
    seconds = step // timedelta(seconds=1)
    for number, uuid in enumerate(fleet.gpus):
        noise = Stream(seed, f"{uuid}.watts")
        watts = [
            fleet.idle_watts
            + (fleet.max_watts - fleet.idle_watts) * min(count, fleet.tokens_per_step) // fleet.tokens_per_step
            + noise.below_at(n, 5)
            for n, count in enumerate(tokens)
        ]
        values: Values = list(watts)
        if fleet.watts == "counter":
            values = list(accumulate((1000 * seconds * each for each in watts[:-1]), initial=_EARLIER_MILLIJOULES))
        if number == 0 and fleet.unmeasured_at in instants:
            values[instants.index(fleet.unmeasured_at)] = None
        for pod in fleet.pods if uuid == fleet.gpus[-1] else fleet.pods[:1]:
            yield {"__name__": name, "UUID": uuid, "gpu": str(number), "job": "dcgm-exporter", "pod": pod}, values


def _per_step(
    calls: pl.DataFrame, fleet: Fleet, tokens: pl.Expr, instants: Sequence[datetime], step: timedelta
) -> list[int]:
    """Tokens of the fleet's calls between each instant and the next."""
    seconds = (pl.col("started_at") - pl.lit(instants[0], dtype=pl.Datetime("us", "UTC"))).dt.total_seconds()
    place = seconds // int(step.total_seconds())
    summed = (
        _served(calls, fleet)
        .filter(pl.col("started_at") >= instants[0])
        .select(place.alias("place"), tokens.alias("tokens"))
        .group_by("place")
        .agg(pl.col("tokens").sum())
    )
    by_place = dict(summed.iter_rows())
    return [by_place.get(n, 0) for n in range(len(instants) - 1)]


def _served(calls: pl.DataFrame, fleet: Fleet) -> pl.DataFrame:
    return calls.filter((pl.col("provider") == SELF_HOSTED) & (pl.col("account") == fleet.deployment))


def _text(value: int | None) -> str:
    return "NaN" if value is None else str(value)
