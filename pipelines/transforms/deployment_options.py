"""When each way of running a deployment pays against an API: break-even volumes and months to pay a purchase back.

What lives here: int__break_even from a month of the ledger. What does not: the equations (break_even.py), API prices
(api_equivalents.py). Monthly figures are the month's own, scaled from the hours that the deployment has run to a whole
month. Energy counts as variable cost, all else as fixed. The `stepped` option adds copies of the deployment as volume
grows, held up by the month's own peak: the busiest hour's work over the average hour's. Volumes are of the deployment's
own mix of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import polars as pl

from pipelines.contracts.fields import polars_schema
from pipelines.contracts.infrastructure import IntBreakEven
from pipelines.transforms import economics
from pipelines.transforms.break_even import SteppedFleet, break_even_mtok, payback_months
from pipelines.transforms.deployment_hours import hardware_rate, month_span

MOST_COPIES = 256
_PICO = Decimal("1e-12")
_MTOK = Decimal(10**6)
_TOKENS = ("uncached_tokens", "cached_tokens", "output_tokens")


@dataclass(frozen=True)
class _Month:
    """One deployment's month, scaled to a whole one. Dollars and millions of tokens a month."""

    deployment: str
    gpu_type: str
    purchase_type: str
    gpus: Decimal
    hardware_usd: Decimal
    energy_usd: Decimal
    all_in_usd: Decimal
    mtok: Decimal
    api_usd_per_mtok: Decimal | None
    capacity_mtok: Decimal | None
    peak: Decimal
    hours: Decimal


def break_even_options(month: str, ledger: pl.DataFrame, api: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """int__break_even of one month from int__infrastructure_cost_hourly, int__api_equivalents and ref__gpu_rates."""
    rows: list[dict[str, object]] = []
    for (deployment,), hours in ledger.sort("deployment").group_by("deployment", maintain_order=True):
        if hours["all_in_cost_usd"].null_count():
            continue
        mine = _month(month, str(deployment), hours, api.filter(pl.col("deployment") == deployment))
        rows.extend({"month": month, **row} for row in _options(month, mine, rates))
    return pl.DataFrame(rows, schema=polars_schema(IntBreakEven), orient="row").sort("deployment", "option")


def _month(month: str, deployment: str, hours: pl.DataFrame, api: pl.DataFrame) -> _Month:
    last = hours.sort("hour_start").row(-1, named=True)
    whole = month_span(month).hours
    logged, unlogged = _sum(hours, _TOKENS), _sum(hours, [f"unlogged_{name}" for name in _TOKENS])
    ran = Decimal(len(hours))
    with localcontext(economics.PRECISION):
        scale = whole / ran
        api_usd = None if not len(api) or api["api_cost_usd"].null_count() else Decimal(api["api_cost_usd"].sum())
        mtok = Decimal(logged + unlogged) / _MTOK * scale
        work, capacity = Decimal(hours["work_units"].sum()), hours["capacity_units"]
        most = Decimal(hours["work_units"].max() or 0)  # type: ignore[arg-type]
        has_capacity = capacity.null_count() == 0 and work > 0
        return _Month(
            deployment=deployment,
            gpu_type=last["gpu_type"],
            purchase_type=last["purchase_type"],
            gpus=Decimal(hours["gpu_hours"].sum()) / ran,
            hardware_usd=Decimal(hours["hardware_cost_usd"].sum()) * scale,
            energy_usd=Decimal(hours["energy_cost_usd"].sum()) * scale,
            all_in_usd=Decimal(hours["all_in_cost_usd"].sum()) * scale,
            mtok=mtok,
            api_usd_per_mtok=api_usd * _MTOK / logged if api_usd is not None and logged else None,
            capacity_mtok=mtok * Decimal(capacity.sum()) / work if has_capacity else None,
            peak=most * ran / work if work else Decimal(1),
            hours=whole,
        )


def _sum(frame: pl.DataFrame, columns: tuple[str, ...] | list[str]) -> int:
    return sum(int(frame[name].sum()) for name in columns)


def _options(month: str, mine: _Month, rates: pl.DataFrame) -> Iterator[dict[str, object]]:
    energy_per_mtok = economics.ratio(mine.energy_usd, mine.mtok) or Decimal(0)
    fixed = mine.all_in_usd - mine.energy_usd
    own = _owned(month, mine, rates)
    paid = own if mine.purchase_type == "owned" else None
    yield _row(mine, "as_is", fixed, energy_per_mtok, mine.hardware_usd, paid)
    if mine.capacity_mtok is not None and mine.api_usd_per_mtok is not None:
        fleet = SteppedFleet(fixed, energy_per_mtok, mine.capacity_mtok, peak=max(Decimal(1), mine.peak))
        crossings = fleet.crossings(mine.api_usd_per_mtok, MOST_COPIES)
        cheaper = [one.mtok for one in crossings if one.becomes == "cheaper"]
        dearer = [one.mtok for one in crossings if one.becomes == "dearer"]
        yield _row(mine, "stepped", fixed, energy_per_mtok, mine.hardware_usd, None) | {
            "break_even_tokens_per_month": _tokens(cheaper[0]) if cheaper else None,
            "dearer_again_tokens_per_month": _tokens(dearer[0]) if dearer else None,
            "crossings": len(crossings),
        }
    for purchase_type, rate in _other_ways(month, mine, rates):
        hardware = rate * mine.gpus * mine.hours
        name = ("buy:" if purchase_type == "owned" else "rent:") + purchase_type
        # rent includes power; what a machine that is rented now would draw once owned is not known here
        variable = energy_per_mtok if purchase_type == "owned" else Decimal(0)
        bought = own if purchase_type == "owned" else None
        yield _row(mine, name, fixed - mine.hardware_usd + hardware, variable, hardware, bought)


def _row(
    mine: _Month, option: str, fixed: Decimal, variable: Decimal, hardware: Decimal, purchase: Decimal | None
) -> dict[str, object]:
    api = mine.api_usd_per_mtok
    with localcontext(economics.PRECISION):
        volume = None if api is None else break_even_mtok(fixed, api, variable)
        running = fixed - hardware + variable * mine.mtok
        months = None
        if purchase is not None and api is not None:
            months = payback_months(purchase, api * mine.mtok, running)
    return {
        "deployment": mine.deployment,
        "option": option,
        "fixed_usd_per_month": _usd(fixed),
        "variable_usd_per_mtok": _usd(variable),
        "api_usd_per_mtok": _usd(api),
        "break_even_tokens_per_month": _tokens(volume),
        "crossings": 0 if volume is None else 1,
        "dearer_again_tokens_per_month": None,
        "capacity_tokens_per_month": _tokens(mine.capacity_mtok),
        "tokens_per_month": _tokens(mine.mtok),
        "purchase_usd": _usd(purchase),
        "payback_months": _usd(months),
    }


def _rates_at_end(month: str, mine: _Month, rates: pl.DataFrame) -> dict[str, Mapping[str, Any]]:
    """Rates of the deployment's GPU in force as the month ends, by purchase type."""
    end = month_span(month).end - timedelta(microseconds=1)
    valid = rates.filter(
        (pl.col("gpu_type") == mine.gpu_type)
        & (pl.col("valid_from").is_null() | (pl.col("valid_from") <= end))
        & (pl.col("valid_to").is_null() | (pl.col("valid_to") > end))
    )
    return {row["purchase_type"]: row for row in valid.sort("purchase_type").iter_rows(named=True)}


def _owned(month: str, mine: _Month, rates: pl.DataFrame) -> Decimal | None:
    """What the deployment's GPUs cost to buy, where the rates say it."""
    row = _rates_at_end(month, mine, rates).get("owned")
    return None if row is None or row["purchase_price_usd"] is None else row["purchase_price_usd"] * mine.gpus


def _other_ways(month: str, mine: _Month, rates: pl.DataFrame) -> Iterator[tuple[str, Decimal]]:
    for purchase_type, row in _rates_at_end(month, mine, rates).items():
        _, rate = hardware_rate(row, purchase_type)
        if purchase_type != mine.purchase_type and rate is not None:
            yield purchase_type, rate


def _tokens(mtok: Decimal | None) -> int | None:
    return None if mtok is None else int((mtok * _MTOK).to_integral_value(rounding=ROUND_HALF_EVEN))


def _usd(amount: Decimal | None) -> Decimal | None:
    if amount is None:
        return None
    with localcontext(economics.PRECISION):
        return amount.quantize(_PICO, rounding=ROUND_HALF_EVEN)
