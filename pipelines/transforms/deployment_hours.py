"""What runs in every hour and what an hour of it costs: dated reference tables cut into stretches without a change.

What lives here: int__infrastructure_hours. What does not: load, power and traffic (deployment_ledger.py). Rates of
`overheads.csv` are told by `unit`: `usd_per_gpu_hour`, `usd_per_gpu_month`, `usd_per_month`, `usd_per_year`, and for
engineering also method `fte` with unit `fte` beside method `loaded_annual` with unit `usd_per_year`, multiplied. A
monthly amount is spread over the GPU-hours that deployments.csv plans for the month (of the one deployment, or of all
for `*`), so a month never costs more for being looked at early. Rows of `*` and of the deployment add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from itertools import pairwise
from typing import Any

import polars as pl

from pipelines.contracts.fields import polars_schema
from pipelines.contracts.infrastructure import IntInfrastructureHours
from pipelines.contracts.reference import ANY
from pipelines.errors import ReferenceTableError
from pipelines.transforms import economics

Row = Mapping[str, Any]
HOUR = timedelta(hours=1)
MONTHLY_UNITS = ("usd_per_month", "usd_per_year", "fte")
PER_GPU_UNITS = ("usd_per_gpu_hour", "usd_per_gpu_month")
_RATE_PLACES = Decimal("1e-18")


@dataclass(frozen=True)
class Span:
    """A half-open interval of UTC time."""

    start: datetime
    end: datetime

    @property
    def hours(self) -> Decimal:
        """Length in hours; 0 when it is empty."""
        return Decimal(max(0, int((self.end - self.start).total_seconds()))) / 3600

    def overlap(self, row: Row) -> Span:
        """The part in which a dated row is valid."""
        start, end = row["valid_from"] or self.start, row["valid_to"] or self.end
        first = max(self.start, start)
        return Span(first, max(min(self.end, end), first))


def month_span(month: str) -> Span:
    """All of a month YYYY-MM."""
    year, number = map(int, month.split("-"))
    following = date(year + number // 12, number % 12 + 1, 1)
    return Span(_midnight(date(year, number, 1)), _midnight(following))


def deployment_hours(month: str, today: date, reference: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """int__infrastructure_hours of one month, up to the last complete UTC day before `today`.

    reference: ref__deployments, ref__gpu_rates, ref__overheads, ref__energy. Raises ReferenceTableError for an overhead
    whose unit is unknown.
    """
    whole = month_span(month)
    ended = Span(whole.start, max(whole.start, min(whole.end, _midnight(today))))
    facts = _Facts(
        whole, *(_rows(reference[f"ref__{name}"]) for name in ("deployments", "gpu_rates", "overheads", "energy"))
    )
    rows: list[dict[str, object]] = []
    for deployment in facts.deployments:
        runs = ended.overlap(deployment)
        edges = sorted({runs.start, runs.end, *facts.edges_inside(runs)})
        for start, end in pairwise(edges):
            terms = facts.terms(deployment, start)
            rows.extend({**terms, **stretch} for stretch in _stretches(Span(start, end)))
    schema = polars_schema(IntInfrastructureHours)
    return pl.DataFrame(rows, schema=schema, orient="row").sort("deployment", "stretch_start")


def deployed_months(deployments: pl.DataFrame, today: date) -> set[str]:
    """Months (YYYY-MM) in which a deployment of ref__deployments with a known start runs on a complete UTC day."""
    found: set[str] = set()
    for start, end in deployments.select("valid_from", "valid_to").iter_rows():
        last = min(end, _midnight(today)) if end else _midnight(today)
        month = start and start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        while month and max(start, month) < last:
            found.add(f"{month:%Y-%m}")
            month = month_span(f"{month:%Y-%m}").end
    return found


def _rows(frame: pl.DataFrame) -> list[Row]:
    return list(frame.iter_rows(named=True))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _stretches(span: Span) -> Iterable[dict[str, object]]:
    start = span.start
    while start < span.end:
        hour = start.replace(minute=0, second=0, microsecond=0)
        end = min(hour + HOUR, span.end)
        seconds = int((end - start).total_seconds())
        if seconds:
            yield {"usage_date": hour.date(), "hour_start": hour, "stretch_start": start, "seconds": seconds}
        start = end


class _Facts:
    """The reference rows of one month, and the terms of a deployment at an instant."""

    def __init__(
        self, month: Span, deployments: list[Row], rates: list[Row], overheads: list[Row], energy: list[Row]
    ) -> None:
        self.month = month
        self.deployments = deployments
        self.rates = rates
        self.overheads = overheads
        self.energy = energy
        for row in overheads:
            _check_unit(row)
        for scope in sorted({row["deployment"] for row in overheads}):
            _check_staff([row for row in overheads if row["deployment"] == scope], scope)

    def edges_inside(self, span: Span) -> set[datetime]:
        """Instants inside the span at which anything changes."""
        tables: Sequence[Sequence[Row]] = (self.rates, self.overheads, self.energy)
        instants = {row[name] for table in tables for row in table for name in ("valid_from", "valid_to") if row[name]}
        return {instant for instant in instants if span.start < instant < span.end}

    def terms(self, deployment: Row, at: datetime) -> dict[str, object]:
        """Everything that stays the same from `at` to the next edge."""
        rate = next(
            (
                row
                for row in self.rates
                if row["gpu_type"] == deployment["gpu_type"]
                and row["purchase_type"] == deployment["purchase_type"]
                and _is_valid(row, at)
            ),
            None,
        )
        valid = [row for row in self.energy if _is_valid(row, at)]
        sites = {row["site"]: row for row in valid}
        energy = sites.get(deployment["site"] or ANY) or sites.get(ANY)
        basis, hardware = hardware_rate(rate, deployment["purchase_type"])
        is_owned = deployment["purchase_type"] == "owned"
        terms: dict[str, object] = {
            name: deployment[name]
            for name in ("deployment", "model", "gpu_type", "gpu_count", "purchase_type", "capacity_units_per_gpu_hour")
        }
        terms |= {name: deployment[name] for name in ("w_input", "w_cached", "w_output")}
        terms |= {name: self._overhead(deployment, name, at) for name in ("licences", "engineering", "network_storage")}
        for name in ("licences", "engineering", "network_storage"):
            terms[f"{name}_usd_per_gpu_hour"] = terms.pop(name)
        return terms | {
            "idle_policy": deployment["idle_policy"] or "own_row",
            "hardware_basis": basis,
            "hardware_usd_per_gpu_hour": hardware,
            "colo_usd_per_gpu_hour": self._colo(rate, energy) if is_owned else Decimal(0),
            "pays_power": is_owned
            and energy is not None
            and energy["usd_per_kwh"] is not None
            and not _in_colo(energy),
            "power_excuse": _power_excuse(is_owned, energy),
            "idle_w": rate["idle_w"] if rate else None,
            "max_w": rate["max_w"] if rate else None,
            "host_w_per_gpu": (rate["host_w_per_gpu"] if rate else None) or Decimal(0),
            "usd_per_kwh": energy["usd_per_kwh"] if energy else None,
            "pue": (energy["pue"] if energy else None) or Decimal(1),
        }

    def _colo(self, rate: Row | None, energy: Row | None) -> Decimal:
        """Colocation per GPU-hour: dollars per kW and month of the power that the GPU and its host may draw."""
        if energy is None or energy["colo_usd_per_kw_month"] is None or rate is None or rate["max_w"] is None:
            return Decimal(0)
        with localcontext(economics.PRECISION):
            kilowatts = (rate["max_w"] + (rate["host_w_per_gpu"] or 0)) / 1000
            return _rate(kilowatts * energy["colo_usd_per_kw_month"] / self.month.hours)

    def _overhead(self, deployment: Row, component: str, at: datetime) -> Decimal:
        mine = [
            row
            for row in self.overheads
            if row["component"] == component
            and row["deployment"] in (ANY, deployment["deployment"])
            and _is_valid(row, at)
        ]
        total = Decimal(0)
        with localcontext(economics.PRECISION):
            for row in mine:
                if row["unit"] in PER_GPU_UNITS:
                    hours = 1 if row["unit"] == "usd_per_gpu_hour" else self.month.hours
                    total += row["value"] / hours
                elif row["unit"] != "fte" and row["method"] != "loaded_annual":
                    total += self._spread(row, row["value"])
            total += self._staff(mine)
        return _rate(total)

    def _staff(self, rows: list[Row]) -> Decimal:
        """FTE × loaded annual ÷ 12, for `*` and for the deployment each by its own GPU-hours."""
        total = Decimal(0)
        for scope in sorted({row["deployment"] for row in rows}):
            mine = [row for row in rows if row["deployment"] == scope]
            heads = [row for row in mine if row["unit"] == "fte"]
            pay = [row for row in mine if row["method"] == "loaded_annual"]
            if heads and pay:
                total += self._spread(pay[0], pay[0]["value"] * sum((row["value"] for row in heads), Decimal(0)))
        return total

    def _spread(self, row: Row, amount: Decimal) -> Decimal:
        """A monthly or yearly amount per planned GPU-hour of what it is for."""
        monthly = amount / 12 if row["unit"] == "usd_per_year" else amount
        validity = self.month.overlap(row)
        scope = [one for one in self.deployments if row["deployment"] in (ANY, one["deployment"])]
        gpu_hours = sum((one["gpu_count"] * validity.overlap(one).hours for one in scope), Decimal(0))
        return monthly * validity.hours / self.month.hours / gpu_hours if gpu_hours else Decimal(0)


def _is_valid(row: Row, at: datetime) -> bool:
    return (row["valid_from"] is None or row["valid_from"] <= at) and (row["valid_to"] is None or at < row["valid_to"])


def _in_colo(energy: Row) -> bool:
    return bool(energy["colo_includes_power"])


def _power_excuse(is_owned: bool, energy: Row | None) -> str | None:
    """Why power costs nothing here; None where it is paid by the kilowatt-hour."""
    if not is_owned:
        return "included_in_rent"
    if energy is not None and _in_colo(energy):
        return "included_in_colo"
    return "no_tariff" if energy is None or energy["usd_per_kwh"] is None else None


def hardware_rate(rate: Row | None, purchase_type: str) -> tuple[str, Decimal | None]:
    """Dollars per GPU-hour and how they were come by; NULL where no rate says anything."""
    if rate is None:
        return "unknown", None
    price, life = rate["purchase_price_usd"], rate["useful_life_years"]
    if purchase_type == "owned" and price is not None and life is not None:
        salvage, capital = rate["salvage_usd"] or Decimal(0), rate["cost_of_capital"]
        if capital:
            return "annuity", _rate(economics.annuity_per_hour(price, salvage, life, capital))
        return "straight_line", _rate(economics.straight_line_per_hour(price, salvage, life))
    if rate["usd_per_gpu_hour"] is None:
        return "unknown", None
    return ("owned_per_hour" if purchase_type == "owned" else "rented"), rate["usd_per_gpu_hour"]


def _rate(usd: Decimal) -> Decimal:
    """Dollars per GPU-hour at 18 digits, so that a month of hours adds up to the month's amount."""
    with localcontext(economics.PRECISION):
        return usd.quantize(_RATE_PLACES, rounding=ROUND_HALF_EVEN)


def _check_unit(row: Row) -> None:
    is_known = row["unit"] in (*PER_GPU_UNITS, "usd_per_month", "usd_per_year")
    if is_known or (row["component"] == "engineering" and row["unit"] == "fte"):
        return
    raise ReferenceTableError(
        f"nobody knows the unit {row['unit']!r}",
        where=f"overheads.csv, deployment {row['deployment']}, {row['component']}, method {row['method']}",
        expected=", ".join((*PER_GPU_UNITS, *MONTHLY_UNITS)) + " (fte for engineering only)",
        next_move="correct the cell",
    )


def _check_staff(rows: list[Row], scope: str) -> None:
    """People without their pay, or pay without people, would cost nothing in silence."""
    has_heads = any(row["unit"] == "fte" for row in rows)
    has_pay = any(row["method"] == "loaded_annual" for row in rows)
    if has_heads != has_pay:
        raise ReferenceTableError(
            "people and what they cost a year belong together",
            where=f"overheads.csv, deployment {scope}, engineering",
            expected="a row of method fte (unit fte) and a row of method loaded_annual (unit usd_per_year)",
            next_move="add the other row",
        )
