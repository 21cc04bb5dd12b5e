"""A deployment as the published marts know it, for scenarios that start from today.

What lives here: one deployment's month per GPU-hour. What does not: what a scenario does with it
(transforms/scenarios.py).
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import polars as pl

from pipelines.errors import NotFoundError
from pipelines.publish.readers import current
from pipelines.settings import Settings
from pipelines.transforms import economics
from pipelines.transforms.scenarios import Inference

MART = "mart__infrastructure_cost_daily"
_OTHERS = ("licences_cost_usd", "engineering_cost_usd", "network_storage_cost_usd")


def deployment_today(settings: Settings, deployment: str, month: str | None = None) -> tuple[str, Inference]:
    """The month (YYYY-MM) and the deployment's averages over it; the latest month with traffic unless one is named.

    Raises NotFoundError when nothing is published, or no such month has both cost and tokens.
    """
    snapshot = current(settings)
    files = [snapshot.path / file.relative for file in snapshot.manifest.files_of(MART)]
    days = pl.concat([pl.read_parquet(path) for path in files]) if files else pl.DataFrame()
    known = sorted(days["deployment"].unique()) if len(days) else []
    if len(days):
        days = days.filter((pl.col("deployment") == deployment) & pl.col("all_in_cost_usd").is_not_null())
        days = days.with_columns(pl.col("usage_date").dt.strftime("%Y-%m").alias("month"))
        served = days.group_by("month").agg(pl.col("tokens").sum()).filter(pl.col("tokens") > 0)["month"].sort()
        chosen = month or (served[-1] if len(served) else None)
        days = days.filter(pl.col("month") == chosen)
    if not len(days) or not days["tokens"].sum():
        raise NotFoundError(
            f"no month of {deployment} has both a cost and tokens"
            if month is None
            else f"{deployment} has none in {month}",
            where=MART,
            expected=f"one of {', '.join(known) or 'the deployments of deployments.csv'}, after a run",
            next_move="name another deployment or month, or give [today] by hand",
        )
    return str(days["month"][0]), _averages(days)


def _averages(days: pl.DataFrame) -> Inference:
    with localcontext(economics.PRECISION):
        gpu_hours = _sum(days, "gpu_hours")
        energy, cooling = _sum(days, "energy_cost_usd"), _sum(days, "cooling_cost_usd")
        kwh = Decimal(0) if days["energy_kwh"].null_count() else _sum(days, "energy_kwh")
        bare = energy - cooling
        busy = sum((hours * load for hours, load in days.select("gpu_hours", "utilisation").iter_rows()), Decimal(0))
        return Inference(
            usd_per_gpu_hour=_sum(days, "hardware_cost_usd") / gpu_hours,
            tokens_per_second_per_gpu=Decimal(days["tokens"].sum()) / (busy * economics.SECONDS_PER_HOUR),
            utilisation=busy / gpu_hours,
            other_usd_per_gpu_hour=sum((_sum(days, name) for name in _OTHERS), Decimal(0)) / gpu_hours,
            kwh_per_gpu_hour=kwh / gpu_hours,
            usd_per_kwh=bare / kwh if kwh else Decimal(0),
            pue=energy / bare if bare else Decimal(1),
        )


def _sum(days: pl.DataFrame, column: str) -> Decimal:
    return Decimal(days[column].sum())
