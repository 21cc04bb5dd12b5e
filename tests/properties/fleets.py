"""Small fleets for tests of the ledger: reference tables, traffic and telemetry as frames, each row in a few words.

What lives here: builders. What does not: any expected value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandera.polars as pa
import polars as pl

from pipelines.contracts import reference
from pipelines.contracts.fields import polars_schema
from pipelines.contracts.infrastructure import MEASURE_UNITS, CoreInfrastructure, IntSelfHostedUsage
from pipelines.transforms.deployment_hours import deployment_hours
from pipelines.transforms.deployment_ledger import ledger_hours

MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)
Rows = Sequence[Mapping[str, Any]]


def at(hours: float) -> datetime:
    """An instant, in hours after 2026-11-01."""
    return MIDNIGHT + timedelta(hours=hours)


def table(contract: type[pa.DataFrameModel], rows: Rows, **defaults: object) -> pl.DataFrame:
    """Rows with defaults as a frame of the contract; what is not told is NULL."""
    return pl.DataFrame([{**defaults, **row} for row in rows], schema=polars_schema(contract), orient="row")


def fleet_reference(deployments: Rows, rates: Rows, overheads: Rows = (), energy: Rows = ()) -> dict[str, pl.DataFrame]:
    """The four reference tables of the ledger. A deployment is `chat`, one rented GPU `X`, unless told otherwise."""
    base = {"deployment": "chat", "provider": "self_hosted", "model": "m", "gpu_type": "X", "gpu_count": 1}
    return {
        "ref__deployments": table(reference.RefDeployments, deployments, **base, purchase_type="on_demand"),
        "ref__gpu_rates": table(reference.RefGpuRates, rates, gpu_type="X", purchase_type="on_demand", source="test"),
        "ref__overheads": table(reference.RefOverheads, overheads, deployment="*", method="any"),
        "ref__energy": table(reference.RefEnergy, energy, site="*"),
    }


def traffic(*rows: tuple[float, str, int, int, int], deployment: str = "chat") -> pl.DataFrame:
    """int__self_hosted_usage from (hour, feature, uncached, cached, output)."""
    told = [
        {
            "usage_date": at(hour).date(),
            "hour_start": at(hour),
            "deployment": deployment,
            "feature": feature,
            "model": "m",
            "service_tier": "standard",
            "requests": 1,
            "uncached_tokens": uncached,
            "cached_tokens": cached,
            "output_tokens": output,
        }
        for hour, feature, uncached, cached, output in rows
    ]
    return table(IntSelfHostedUsage, told)


def telemetry(*rows: tuple[float, str, object, float], deployment: str = "chat") -> pl.DataFrame:
    """core__infrastructure from (hour, measure, quantity, covered seconds)."""
    told = [
        {
            "usage_date": at(hour).date(),
            "deployment": deployment,
            "hour_start": at(hour),
            "measure": measure,
            "unit": MEASURE_UNITS[measure],
            "measured_quantity": Decimal(str(quantity)),
            "covered_seconds": Decimal(str(covered)),
            "series_count": 1,
            "is_partial": False,
            "source": "prometheus",
            "landed_file": "a" * 16,
        }
        for hour, measure, quantity, covered in rows
    ]
    return table(CoreInfrastructure, told)


def ledger(
    facts: Mapping[str, pl.DataFrame],
    usage: pl.DataFrame | None = None,
    measured: pl.DataFrame | None = None,
    *,
    days: int = 1,
    month: str = "2026-11",
) -> pl.DataFrame:
    """int__infrastructure_cost_hourly of the first `days` of November 2026."""
    hours = deployment_hours(month, date(2026, 11, 1) + timedelta(days=days), facts)
    return ledger_hours(hours, traffic() if usage is None else usage, telemetry() if measured is None else measured)
