"""The machines' side of an explanation: what a deployment cost on a day, at which rates, and who shares in it.

What lives here: reading one day of the infrastructure ledger back into something that adds up on a page. What does
not: the ledger itself (transforms/deployment_ledger.py), its shares (deployment_shares.py), the page (explain.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import polars as pl

from pipelines.inspection.explain_shares import Day

COMPONENTS = ("hardware", "energy", "licences", "engineering", "network_storage")
_BY_THE_HOUR = ("hardware", "licences", "engineering", "network_storage")
_PICO = Fraction(1, 10**12)


@dataclass(frozen=True)
class MachineCost:
    """One component of a deployment's day. `how` says by which rates or readings."""

    component: str
    how: str
    cost_usd: Decimal


@dataclass(frozen=True)
class MachineClaim:
    """One owner's part of a deployment's day: busy time by work, idle time by policy."""

    feature: str
    team: str | None
    model: str
    service_tier: str
    uncached_tokens: int
    cached_tokens: int
    output_tokens: int
    busy_cost_usd: Decimal
    idle_cost_usd: Decimal
    usage_cost_usd: Decimal
    is_asked_for: bool


@dataclass(frozen=True)
class LedgerDay:
    """One deployment on one UTC day: components, which sum to what it cost, and claims, which sum to the same."""

    deployment: str
    hours: int
    hours_without_rate: int
    gpu_hours: Decimal
    all_in_cost_usd: Decimal
    busy_cost_usd: Decimal
    idle_cost_usd: Decimal
    idle_policy: str
    load_basis: str
    weights: str
    components: tuple[MachineCost, ...]
    claims: tuple[MachineClaim, ...]
    complaints: tuple[str, ...] = ()


def ledger_days(day: Day, deployments: Iterable[str], feature: str | None = None) -> tuple[LedgerDay, ...]:
    """The ledger's day of each deployment; claims of `feature` are marked. Deployments without hours are left out."""
    hours, shares = day("int__infrastructure_cost_hourly"), day("int__infrastructure_shares")
    usage, rates = day("int__self_hosted_usage"), day("int__infrastructure_hours")
    told = []
    for name in deployments:
        mine = pl.col("deployment") == name
        if hours.filter(mine).height:
            parts = (hours.filter(mine), rates.filter(mine), shares.filter(mine), usage.filter(mine))
            told.append(_ledger_day(name, *parts, feature))
    return tuple(told)


def _ledger_day(
    name: str, hours: pl.DataFrame, rates: pl.DataFrame, shares: pl.DataFrame, usage: pl.DataFrame, feature: str | None
) -> LedgerDay:
    priced = hours.filter(pl.col("all_in_cost_usd").is_not_null())
    components = tuple(
        MachineCost(component, _how(component, priced, rates), _sum(priced, f"{component}_cost_usd"))
        for component in COMPONENTS
    )
    claims = _claims(shares, usage, feature)
    whole, busy, idle = (_sum(priced, f"{slice_}_cost_usd") for slice_ in ("all_in", "busy", "idle"))
    return LedgerDay(
        deployment=name,
        hours=hours.height,
        hours_without_rate=hours.height - priced.height,
        gpu_hours=_sum(priced, "gpu_hours"),
        all_in_cost_usd=whole,
        busy_cost_usd=busy,
        idle_cost_usd=idle,
        idle_policy=", ".join(hours["idle_policy"].unique().sort()),
        load_basis=", ".join(hours["load_basis"].unique().sort()),
        weights=_weights(hours),
        components=components,
        claims=claims,
        complaints=(*_sums(name, whole, busy + idle, components, claims), *_rates_add_up(name, priced, rates)),
    )


def _how(component: str, hours: pl.DataFrame, rates: pl.DataFrame) -> str:
    """The rates of the day in words; energy by its readings."""
    if component == "energy":
        kwh = hours["energy_kwh"].sum()
        basis = ", ".join(hours["power_basis"].unique().sort())
        tariffs = rates["usd_per_kwh"].drop_nulls().unique().sort()
        pue = ", ".join(f"{factor.normalize():f}" for factor in rates["pue"].unique().sort())
        price = ", $".join(f"{usd.normalize():f}" for usd in tariffs)
        return f"{kwh:f} kWh × PUE {pue} at ${price}, {basis}" if len(tariffs) and kwh is not None else basis
    column = f"{component}_usd_per_gpu_hour"
    found = rates[column].drop_nulls().unique().sort()
    colo = rates["colo_usd_per_gpu_hour"].max() if component == "hardware" else None
    words = [f"${', $'.join(f'{usd.normalize():f}' for usd in found)} per GPU-hour"] if len(found) else []
    words += [f"${colo.normalize():f} colocation"] if isinstance(colo, Decimal) and colo else []
    words += [", ".join(hours["hardware_basis"].unique().sort())] if component == "hardware" else []
    return ", ".join(words)


def _weights(hours: pl.DataFrame) -> str:
    told = hours.select("w_input", "w_cached", "w_output", "weights_basis").unique().sort(pl.all())
    return "; ".join(
        f"{uncached.normalize():f} / {cached.normalize():f} / {output.normalize():f} ({basis})"
        for uncached, cached, output, basis in told.iter_rows()
    )


def _claims(shares: pl.DataFrame, usage: pl.DataFrame, feature: str | None) -> tuple[MachineClaim, ...]:
    owner = ["feature", "team", "cost_center", "model", "service_tier"]
    counts = ["uncached_tokens", "cached_tokens", "output_tokens"]
    tokens = usage.group_by(owner).agg(pl.col(name).sum() for name in counts)
    beside = shares.join(tokens, on=owner, how="left", nulls_equal=True).sort(*owner, nulls_last=True)
    return tuple(
        MachineClaim(
            feature=row["feature"],
            team=row["team"],
            model=row["model"],
            service_tier=row["service_tier"],
            **{name: row[name] or 0 for name in counts},
            busy_cost_usd=row["busy_cost_usd"],
            idle_cost_usd=row["usage_cost_usd"] - row["busy_cost_usd"],
            usage_cost_usd=row["usage_cost_usd"],
            is_asked_for=row["feature"] == feature,
        )
        for row in beside.iter_rows(named=True)
    )


def _sums(
    name: str,
    whole: Decimal,
    slices: Decimal,
    components: Iterable[MachineCost],
    claims: Iterable[MachineClaim],
) -> list[str]:
    told = {
        "components": sum((part.cost_usd for part in components), Decimal(0)),
        "busy and idle": slices,
        "claims": sum((claim.usage_cost_usd for claim in claims), Decimal(0)),
    }
    return [
        f"deployment {name}: {what} sum to {amount:f}, its day cost {whole:f}"
        for what, amount in told.items()
        if amount != whole
    ]


def _rates_add_up(name: str, hours: pl.DataFrame, rates: pl.DataFrame) -> list[str]:
    """Rates × GPUs × time of every stretch, against what the ledger keeps; one pico-dollar per stretch is rounding.

    Hardware that OpenCost allocates has no rate of ours.
    """
    known = rates.join(hours.select("hour_start", "hardware_basis"), on="hour_start", suffix="_told")
    ours = known.filter(pl.col("hardware_basis_told") == pl.col("hardware_basis"))
    complaints = []
    for component in _BY_THE_HOUR:
        asked = ours if component == "hardware" else known
        columns = [f"{component}_usd_per_gpu_hour", "colo_usd_per_gpu_hour", "gpu_count", "seconds"]
        by_rate = Fraction(0)
        for rate, colo, gpus, seconds in asked.select(columns).iter_rows():
            every = (rate or 0) + (colo if component == "hardware" else 0)
            by_rate += Fraction(every) * gpus * seconds / 3600
        mine = hours.join(asked.select("hour_start").unique(), on="hour_start", how="semi")
        stored = Fraction(_sum(mine, f"{component}_cost_usd"))
        if abs(by_rate - stored) > _PICO * max(1, asked.height):
            complaints.append(f"deployment {name}: {component} is {stored} at its rates {by_rate}")
    return complaints


def _sum(frame: pl.DataFrame, column: str) -> Decimal:
    return Decimal(str(frame[column].sum())) if frame.height else Decimal(0)
