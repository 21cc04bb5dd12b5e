"""The ledger of self-hosting: what every deployment hour costs, how busy it was, and how that is known.

What lives here: int__infrastructure_cost_hourly from hours, logged tokens and telemetry. What does not: rates
(deployment_hours.py), weights and capacity from counters (work_calibration.py), shares of features
(deployment_shares.py). Rented machines cost their rate, power included; owned ones amortisation, colocation and power.
Telemetry that is absent is modelled, and the row says so in its basis columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import polars as pl

from pipelines.contracts.fields import polars_schema
from pipelines.contracts.infrastructure import IntInfrastructureCostHourly
from pipelines.quantities import largest_remainder
from pipelines.transforms import economics
from pipelines.transforms.work_calibration import Calibration, Weights, calibrate

Row = Mapping[str, Any]
Key = tuple[str, datetime]
CLASSES = ("uncached_tokens", "cached_tokens", "output_tokens")
COMPONENTS = ("licences", "engineering", "network_storage")
WHOLE_HOUR = Decimal(3540)
"""Seconds of an hour that an OpenCost window must cover to replace the rate; its windows end on the minute."""

_PICO = Decimal("1e-12")
_NANO = Decimal("1e-9")
_JOULES_PER_KWH = Decimal(3_600_000)


@dataclass(frozen=True)
class _Load:
    """How busy one hour was."""

    work: Decimal
    capacity: Decimal | None
    basis: str

    @property
    def share(self) -> Decimal:
        """u = min(1, work ÷ capacity); without a capacity an hour with traffic is fully busy."""
        if self.capacity is None:
            return Decimal(1) if self.work else Decimal(0)
        with localcontext(economics.PRECISION):
            return min(Decimal(1), self.work / self.capacity)


@dataclass(frozen=True)
class _Energy:
    """Kilowatt-hours of machines in one hour (without cooling), NULL where nothing tells; and how it is known."""

    kwh: Decimal | None
    basis: str


def ledger_hours(hours: pl.DataFrame, usage: pl.DataFrame, telemetry: pl.DataFrame) -> pl.DataFrame:
    """int__infrastructure_cost_hourly of one month from int__infrastructure_hours, int__self_hosted_usage,
    core__infrastructure."""
    stretches: dict[Key, list[Row]] = {}
    for row in hours.sort("deployment", "stretch_start").iter_rows(named=True):
        stretches.setdefault((row["deployment"], row["hour_start"]), []).append(row)
    logged = _logged(usage)
    measured: dict[Key, dict[str, Row]] = {}
    for row in telemetry.iter_rows(named=True):
        measured.setdefault((row["deployment"], row["hour_start"]), {})[row["measure"]] = row
    counted = {key: found for key, row in measured.items() if (found := counter_tokens(row)) is not None}
    unlogged = _unlogged(stretches, logged, counted)
    known = {
        name: calibrate([(gpu_hours(rows), counted.get(key), measured.get(key, {})) for key, rows in mine])
        for name, mine in _by_deployment(stretches).items()
    }
    rows = [
        _hour(terms, logged.get(key, (0, 0, 0)), unlogged.get(key, (0, 0, 0)), measured.get(key, {}), known[key[0]])
        for key, terms in stretches.items()
    ]
    schema = polars_schema(IntInfrastructureCostHourly)
    return pl.DataFrame(rows, schema=schema, orient="row").sort("deployment", "hour_start")


def gpu_hours(stretches: Sequence[Row]) -> Decimal:
    """GPU-hours of one deployment hour."""
    seconds = sum(row["gpu_count"] * row["seconds"] for row in stretches)
    with localcontext(economics.PRECISION):
        return Decimal(seconds) / 3600


def counter_tokens(measures: Mapping[str, Row]) -> tuple[int, int, int] | None:
    """Uncached, cached and output tokens of an hour by the engine's own counters; None where it has none."""
    if "input_tokens" not in measures or "output_tokens" not in measures:
        return None
    hits = measures.get("cached_tokens") or measures.get("prefix_cache_hit_tokens")
    prompt = int(measures["input_tokens"]["measured_quantity"])
    cached = min(prompt, int(hits["measured_quantity"])) if hits else 0
    return prompt - cached, cached, int(measures["output_tokens"]["measured_quantity"])


def _by_deployment(stretches: Mapping[Key, list[Row]]) -> dict[str, list[tuple[Key, list[Row]]]]:
    found: dict[str, list[tuple[Key, list[Row]]]] = {}
    for key, rows in stretches.items():
        found.setdefault(key[0], []).append((key, rows))
    return found


def _logged(usage: pl.DataFrame) -> dict[Key, tuple[int, int, int]]:
    summed = usage.group_by("deployment", "hour_start").agg(pl.col(name).sum() for name in CLASSES)
    return {
        (row["deployment"], row["hour_start"]): (row[CLASSES[0]], row[CLASSES[1]], row[CLASSES[2]])
        for row in summed.iter_rows(named=True)
    }


def _unlogged(
    stretches: Mapping[Key, list[Row]],
    logged: Mapping[Key, tuple[int, int, int]],
    counted: Mapping[Key, tuple[int, int, int]],
) -> dict[Key, tuple[int, int, int]]:
    """What counters hold beyond the log, compared by day: a request is logged when it starts and counted when it ends,
    so hours alone would show gaps that are none. The day's gap lies in the hours in which counters exceed the log."""
    days: dict[tuple[str, object], list[Key]] = {}
    for key in sorted(stretches.keys() & counted.keys()):
        days.setdefault((key[0], key[1].date()), []).append(key)
    found: dict[Key, list[int]] = {}
    for keys in days.values():
        for place in range(len(CLASSES)):
            gaps = [counted[key][place] - logged.get(key, (0, 0, 0))[place] for key in keys]
            total = sum(gaps)
            if total > 0:
                shares = largest_remainder(total, [max(0, gap) for gap in gaps])
                for key, share in zip(keys, shares, strict=True):
                    found.setdefault(key, [0, 0, 0])[place] = share
    return {key: (counts[0], counts[1], counts[2]) for key, counts in found.items()}


def _hour(
    stretches: list[Row],
    logged: tuple[int, int, int],
    unlogged: tuple[int, int, int],
    measures: Mapping[str, Row],
    known: Calibration,
) -> dict[str, object]:
    terms = max(stretches, key=lambda row: row["seconds"])
    weights, weights_basis = _weights(terms, known)
    load = _load(
        stretches, weights.work((logged[0] + unlogged[0], logged[1] + unlogged[1], logged[2] + unlogged[2])), known
    )
    energy = _energy(stretches, measures, load)
    energy_usd, cooling_usd = _energy_cost(stretches, energy)
    hardware_basis, hardware = _hardware(stretches, measures)
    others = {name: _component(stretches, name) for name in COMPONENTS}
    if "opencost_network_storage_usd" in measures and hardware_basis == "opencost":
        others["network_storage"] = measures["opencost_network_storage_usd"]["measured_quantity"]
    all_in = None if hardware is None else hardware + energy_usd + sum(others.values(), Decimal(0))
    busy = None if all_in is None else _usd(all_in * load.share)
    return {
        **{
            name: terms[name]
            for name in ("usage_date", "deployment", "hour_start", "model", "gpu_type", "purchase_type")
        },
        "idle_policy": terms["idle_policy"],
        "gpu_hours": gpu_hours(stretches).quantize(_NANO),
        "hardware_cost_usd": hardware,
        "colo_cost_usd": Decimal(0) if hardware_basis == "opencost" else _component(stretches, "colo"),
        "energy_cost_usd": energy_usd,
        "cooling_cost_usd": cooling_usd,
        **{f"{name}_cost_usd": usd for name, usd in others.items()},
        "all_in_cost_usd": all_in,
        "busy_cost_usd": busy,
        "idle_cost_usd": None if all_in is None or busy is None else all_in - busy,
        "naive_cost_usd": None if hardware is None else _usd(hardware * load.share),
        "utilisation": load.share.quantize(_PICO),
        "energy_kwh": None if energy.kwh is None else energy.kwh.quantize(_NANO),
        "work_units": load.work,
        "capacity_units": None if load.capacity is None else load.capacity.quantize(_NANO),
        "w_input": weights.uncached,
        "w_cached": weights.cached,
        "w_output": weights.output,
        **dict(zip(CLASSES, logged, strict=True)),
        **{f"unlogged_{name}": count for name, count in zip(CLASSES, unlogged, strict=True)},
        "hardware_basis": hardware_basis,
        "power_basis": energy.basis,
        "load_basis": load.basis,
        "weights_basis": weights_basis,
    }


def _weights(terms: Row, known: Calibration) -> tuple[Weights, str]:
    """Declared weights; what is not declared is calibrated, and else the labelled assumption."""
    given = [terms[name] for name in ("w_input", "w_cached", "w_output")]
    base = known.weights or Weights()
    filled = [mine if mine is not None else other for mine, other in zip(given, base.values, strict=True)]
    if any(mine is not None for mine in given):
        return Weights(*filled), "declared"
    return base, "calibrated" if known.weights else "assumption"


def _load(stretches: list[Row], work: Decimal, known: Calibration) -> _Load:
    with localcontext(economics.PRECISION):
        if all(row["capacity_units_per_gpu_hour"] is not None for row in stretches):
            units = sum(row["gpu_count"] * row["seconds"] * row["capacity_units_per_gpu_hour"] for row in stretches)
            return _Load(work, units / 3600, "declared")
        if known.capacity_per_gpu_hour is not None:
            return _Load(work, known.capacity_per_gpu_hour * gpu_hours(stretches), "calibrated")
    return _Load(work, None, "none")


def _hardware(stretches: list[Row], measures: Mapping[str, Row]) -> tuple[str, Decimal | None]:
    """Dollars of machines and their place. OpenCost replaces the rate where it covers the hour, or where no rate is
    known."""
    basis: str = stretches[0]["hardware_basis"]
    allocated = measures.get("opencost_hardware_usd")
    is_unknown = any(row["hardware_basis"] == "unknown" for row in stretches)
    if allocated is not None and (is_unknown or allocated["covered_seconds"] >= WHOLE_HOUR):
        return "opencost", allocated["measured_quantity"]
    if is_unknown:
        return "unknown", None
    return basis, _component(stretches, "hardware") + _component(stretches, "colo")


def _component(stretches: list[Row], name: str) -> Decimal:
    with localcontext(economics.PRECISION):
        total = sum(
            (row["gpu_count"] * row["seconds"] * row[f"{name}_usd_per_gpu_hour"] for row in stretches), Decimal(0)
        )
        return _usd(total / 3600)


def _energy(stretches: list[Row], measures: Mapping[str, Row], load: _Load) -> _Energy:
    """Energy of GPUs by counter, gauge and model, in this order, plus the hosts; and the name of that mixture."""
    counter, gauge = measures.get("gpu_energy_joules"), measures.get("gpu_power_joules")
    told = [row for row in (counter, gauge) if row is not None]
    joules = sum((row["measured_quantity"] for row in told), Decimal(0))
    covered = sum((row["covered_seconds"] for row in told), Decimal(0))
    gpu_seconds = Decimal(sum(row["gpu_count"] * row["seconds"] for row in stretches))
    uncovered = max(Decimal(0), gpu_seconds - covered)
    can_model = all(row["idle_w"] is not None and row["max_w"] is not None for row in stretches)
    names = [name for name, row in (("counter", counter), ("gauge", gauge)) if row is not None]
    with localcontext(economics.PRECISION):
        is_gap = uncovered > gpu_seconds / 100
        if is_gap and can_model:
            names.append("model")
            for row in stretches:
                watts = economics.modelled_gpu_watts(row["idle_w"], row["max_w"], load.share)
                joules += watts * row["gpu_count"] * row["seconds"] * uncovered / gpu_seconds
        joules += sum((row["host_w_per_gpu"] * row["gpu_count"] * row["seconds"] for row in stretches), Decimal(0))
        kwh = joules / _JOULES_PER_KWH if names else None
    excuse = stretches[0]["power_excuse"]
    return _Energy(kwh, excuse or _power_basis(names, load))


def _power_basis(names: list[str], load: _Load) -> str:
    if not names:
        return "none"
    if names == ["model"]:
        return "modelled" if load.capacity is not None or not load.work else "modelled_at_full_load"
    if names == ["gauge"]:
        return "power_gauge"
    return names[0] if len(names) == 1 else "_".join([*names[:-1], "and", names[-1]])


def _energy_cost(stretches: list[Row], energy: _Energy) -> tuple[Decimal, Decimal]:
    """Dollars of energy with cooling, and the part that PUE adds. An hour with two tariffs is split by GPU-seconds."""
    if energy.kwh is None:
        return Decimal(0), Decimal(0)
    gpu_seconds = sum(row["gpu_count"] * row["seconds"] for row in stretches)
    whole = bare = Decimal(0)
    with localcontext(economics.PRECISION):
        for row in stretches:
            if row["pays_power"]:
                kwh = energy.kwh * row["gpu_count"] * row["seconds"] / gpu_seconds
                whole += economics.energy_cost(kwh, row["usd_per_kwh"], row["pue"])
                bare += economics.energy_cost(kwh, row["usd_per_kwh"])
    return _usd(whole), _usd(whole) - _usd(bare)


def _usd(amount: Decimal) -> Decimal:
    with localcontext(economics.PRECISION):
        return amount.quantize(_PICO, rounding=ROUND_HALF_EVEN)
