"""Pricing history again: with the book of today, or with the book as it was recorded at an instant.

What lives here: both, from the roll-ups, without a look at landing/. What does not: choosing a price (transforms/),
publishing (publication.py), the command's words (assets).
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import polars as pl

from pipelines.build.graph import Progress, months, refresh_reference, refresh_tables
from pipelines.build.rollup_days import roll_up_days
from pipelines.build.workbench import ALL
from pipelines.contracts.closing import IntFeatureCostDaily
from pipelines.contracts.fields import empty
from pipelines.contracts.priced import RefPriceBook
from pipelines.errors import UsageError
from pipelines.history.lake_beside import GOAL, evaluate, lake_beside
from pipelines.lake import Lake
from pipelines.publish.difference import changed_months
from pipelines.settings import Settings
from pipelines.transforms.price_book import load_price_book

_KEY = ["month", "feature"]


def reprice(settings: Settings, progress: Progress | None = None) -> pl.DataFrame:
    """Apply price book, contracts and rules as they stand to all of history; what a publish would now change.

    Only partitions whose prices or rules changed are built again. Returns publish.difference.changed_months; publishes
    nothing.
    """
    refresh_reference(settings)
    roll_up_days(settings, progress=progress)
    refresh_tables(settings, progress=progress)
    return changed_months(settings)


def costs_as_known_at(
    settings: Settings, known_at: datetime, first: date | None = None, last: date | None = None
) -> pl.DataFrame:
    """Feature costs of the UTC days `first` to `last`, priced with the book as it was recorded at `known_at`.

    Columns: int__feature_cost_daily. Usage, bills, contracts, rules and rates are those of today; only the public
    price book is that of then. Where the older book needs another cut of the roll-up, days are rolled up again from
    core rows. Nothing of the lake changes, nothing is published. Raises UsageError for an instant without a zone.
    """
    if known_at.tzinfo is None:
        raise UsageError(
            f"{known_at.isoformat()} has no zone",
            where="--known-at",
            expected="an instant such as 2026-11-01T00:00:00Z",
            next_move="add Z for UTC",
        )
    lake = Lake(settings.lake)
    with lake.writing():
        wanted = [
            month
            for month in months(lake, settings.today())
            if (first is None or f"{first:%Y-%m}" <= month) and (last is None or month <= f"{last:%Y-%m}")
        ]
        if not wanted:
            return empty(IntFeatureCostDaily)
        with lake_beside(settings) as beside:
            book = load_price_book(settings, known_at)
            Lake(beside.lake).write("ref__price_book", ALL, book, RefPriceBook, f"known at {known_at.isoformat()}")
            roll_up_days(beside)
            costs = evaluate(beside, wanted)
    day = pl.col("usage_date")
    return costs.filter((day >= (first or date.min)) & (day <= (last or date.max)))


def difference_to_now(settings: Settings, costs: pl.DataFrame) -> pl.DataFrame:
    """Per month and feature: effective and list cost as in `costs`, as computed now, and the difference of effective.

    Columns: month, feature, then_list_cost_usd, now_list_cost_usd, then_effective_cost_usd, now_effective_cost_usd,
    delta_usd (now − then). Only days that `costs` holds are compared.
    """
    lake = Lake(settings.lake)
    frames = [frame for key in lake.partitions(GOAL) if (frame := lake.read(GOAL, key)) is not None]
    days = costs["usage_date"].unique()
    now = pl.concat([empty(IntFeatureCostDaily), *frames]).filter(pl.col("usage_date").is_in(days.implode()))
    joined = _sums(costs, "then").join(_sums(now, "now"), on=_KEY, how="full", coalesce=True)
    delta = pl.col("now_effective_cost_usd").fill_null(0) - pl.col("then_effective_cost_usd").fill_null(0)
    names = [f"{when}_{what}_cost_usd" for what in ("list", "effective") for when in ("then", "now")]
    return joined.select(*_KEY, *names, delta.cast(pl.Decimal(38, 12)).alias("delta_usd")).sort(_KEY)


def _sums(costs: pl.DataFrame, when: str) -> pl.DataFrame:
    no_list = pl.col("contracted_cost_usd").is_not_null() & pl.col("list_cost_usd").is_null()
    is_known = {
        "list_cost_usd": (pl.col("list_cost_usd").count() > 0) & ~no_list.any(),
        "effective_cost_usd": pl.col("effective_cost_usd").count() > 0,
    }
    sums = [pl.when(known).then(pl.col(name).sum()).alias(f"{when}_{name}") for name, known in is_known.items()]
    by_month = costs.with_columns(pl.col("usage_date").dt.strftime("%Y-%m").alias("month"))
    return by_month.group_by(_KEY).agg(sums)


def export(costs: pl.DataFrame, out: Path) -> None:
    """Write the rows to `out`: Parquet or CSV by its ending. Raises UsageError for any other ending."""
    if out.suffix not in (".parquet", ".csv"):
        raise UsageError(
            f"{out.name} says no format",
            where="--out",
            expected="a file that ends in .parquet or .csv",
            next_move="choose one of them",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".parquet":
        costs.write_parquet(out, compression="zstd")
    else:
        costs.write_csv(out)
