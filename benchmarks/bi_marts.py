"""Three years of marts as a large company would have them, made without any log.

What lives here: Parquet files that keep the contracts of the marts. What does not: publishing and asking
(dashboards.py).
500 features of 50 teams and 60 models of six providers. A feature uses about ten of the models, from a first day to
a last day of its own and on nine days of ten, one model of eight also by batch: not every combination on every day.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import conform, empty
from pipelines.demo.random_streams import Stream
from pipelines.lake import enforce
from pipelines.publish.facts import mart_names

FEATURES, MODELS, TEAMS, DAYS = 500, 60, 50, 1_095
FIRST_DAY = date(2023, 12, 1)
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
PROVIDERS = ("openai", "anthropic", "google", "aws_bedrock", "azure_openai", "mistral")
_SEED = 5
_PAIRS_OF_FEATURE = (6, 19)
_MONEY = pl.Decimal(38, 12)
_SETTLED = timedelta(days=35)


def write_marts(folder: Path) -> dict[str, list[Path]]:
    """Write every mart below `folder`; mart → its files in load order."""
    days = (
        _pairs()
        .join(_calendar(), how="cross")
        .filter(
            (pl.col("usage_date") >= pl.col("first_day"))
            & (pl.col("usage_date") <= pl.col("last_day"))
            & _stream("active").chance(pl.col("pair") * 10_000 + pl.col("day"), 900)
        )
    )
    daily = _costed(_counted(days))
    frames = {
        "mart__feature_cost_daily": daily,
        "mart__feature_cost_monthly": _monthly(daily),
        "mart__reconciliation_daily": _reconciled(daily, "usage_date"),
        "mart__reconciliation_monthly": _reconciled(
            daily.with_columns(pl.col("usage_date").dt.strftime("%Y-%m").alias("month")), "month"
        ),
        "mart__unpriced_usage": _unpriced(daily),
    }
    return {name: _written(name, frames.get(name), folder) for name in mart_names()}


def _stream(name: str) -> Stream:
    return Stream(_SEED, f"bi.{name}")


def _pairs() -> pl.DataFrame:
    """One row per feature, model and tier that occur together, with the days between which they do."""
    feature = pl.int_range(FEATURES, dtype=pl.Int64, eager=True).alias("feature_number").to_frame()
    width = _stream("width").below(pl.col("feature_number"), _PAIRS_OF_FEATURE[1] - _PAIRS_OF_FEATURE[0])
    pairs = (
        feature.with_columns(pl.int_ranges(0, _PAIRS_OF_FEATURE[0] + width).alias("place"))
        .explode("place")
        .with_columns((pl.col("feature_number") * 100 + pl.col("place")).alias("pair"))
        .with_columns(_stream("model").skewed(pl.col("pair"), 0, MODELS).alias("model_number"))
        .unique(subset=["feature_number", "model_number"], keep="first", maintain_order=True)
    )
    tiers = pl.concat(
        [
            pairs.with_columns(pl.lit("standard").alias("service_tier")),
            pairs.filter(pl.col("pair") % 8 == 0).with_columns(
                pl.lit("batch").alias("service_tier"), pl.col("pair") + 1_000_000
            ),
        ]
    )
    pair, number = pl.col("pair"), pl.col("feature_number")
    began = _stream("began").below(number, DAYS // 3)
    lasted = DAYS // 2 + _stream("lasted").below(number, DAYS)
    names = pl.Series([f"model-{at:02d}" for at in range(MODELS)])
    return tiers.select(
        "pair",
        ("feature-" + number.cast(pl.String).str.zfill(3)).alias("feature"),
        ("team-" + (number % TEAMS).cast(pl.String).str.zfill(2)).alias("team"),
        ("cc-" + (number % TEAMS // 5).cast(pl.String)).alias("cost_center"),
        pl.lit(pl.Series(PROVIDERS)).gather(pl.col("model_number") % len(PROVIDERS)).alias("provider"),
        ("account-" + (number % 3).cast(pl.String)).alias("account"),
        pl.lit(names).gather(pl.col("model_number")).alias("model"),
        "service_tier",
        (pl.lit(FIRST_DAY) + pl.duration(days=began)).alias("first_day"),
        (pl.lit(FIRST_DAY) + pl.duration(days=began + lasted)).alias("last_day"),
        (50_000 + _stream("price").below(pl.col("model_number"), 5_000_000)).alias("pico"),
        (1 + _stream("size").skewed(pair, 0, 400)).alias("size"),
    )


def _calendar() -> pl.DataFrame:
    return pl.select(
        pl.int_range(DAYS, dtype=pl.Int64).alias("day"),
        pl.date_range(FIRST_DAY, LAST_DAY).alias("usage_date"),
    )


def _counted(days: pl.DataFrame) -> pl.DataFrame:
    """Requests and tokens of each row. One pair in two hundred has no price."""
    at = pl.col("pair") * 10_000 + pl.col("day")
    requests = pl.col("size") * (5 + _stream("requests").below(at, 40))
    return (
        days.with_columns(requests.alias("requests"))
        .with_columns(
            (pl.col("requests") * (400 + _stream("input").below(at, 4_000))).alias("input_tokens"),
            (pl.col("requests") * (50 + _stream("output").below(at, 700))).alias("output_tokens"),
        )
        .with_columns(
            (pl.col("input_tokens") * 3 // 10).alias("cached_input_tokens"),
            (pl.col("input_tokens") // 20).alias("cache_write_tokens"),
            (pl.col("output_tokens") // 4).alias("reasoning_tokens"),
            (pl.col("input_tokens") + pl.col("output_tokens")).alias("total_tokens"),
            (pl.col("pair") % 200 == 7).alias("is_unpriced"),
        )
        .with_columns(pl.when("is_unpriced").then(pl.col("total_tokens")).otherwise(0).alias("unpriced_tokens"))
    )


def _costed(rows: pl.DataFrame) -> pl.DataFrame:
    """mart__feature_cost_daily in its order: list cost, a tenth off by contract, billed once it is settled."""
    pico = pl.col("pico") * (pl.col("input_tokens") + 4 * pl.col("output_tokens"))
    price = pl.when(~pl.col("is_unpriced")).then(pico)
    settled = pl.col("usage_date") <= LAST_DAY - _SETTLED
    contracted = price * 9 // 10
    costs = rows.with_columns(
        _usd(price).alias("list_cost_usd"),
        _usd(contracted).alias("contracted_cost_usd"),
        _usd(pl.when(settled).then(contracted)).alias("billed_cost_usd"),
        _usd(contracted).alias("effective_cost_usd"),
        _usd(pl.lit(0, dtype=pl.Int64)).alias("non_token_cost_usd"),
        pl.when(settled).then(pl.lit("final")).otherwise(pl.lit("provisional")).alias("cost_status"),
    )
    return costs.with_columns(*_per_mtok()).sort(
        "usage_date", "feature", "team", "cost_center", "provider", "account", "model", "service_tier"
    )


def _usd(pico: pl.Expr) -> pl.Expr:
    """Whole pico-dollars as the decimal with twelve digits: the same digits, the point set."""
    return (pico.cast(_MONEY) * pl.lit(Decimal("0.000000000001"), dtype=_MONEY)).cast(_MONEY)


def _per_mtok() -> list[pl.Expr]:
    cost = pl.col("effective_cost_usd").cast(pl.Float64) * 1_000_000
    return [
        (cost / pl.col("total_tokens")).cast(_MONEY).alias("cost_per_mtok_usd"),
        (cost / pl.col("output_tokens")).cast(_MONEY).alias("cost_per_mtok_output_usd"),
    ]


_COUNTS = (
    "requests", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
    "total_tokens", "unpriced_tokens",
)  # fmt: skip
_COSTS = ("list_cost_usd", "contracted_cost_usd", "billed_cost_usd", "effective_cost_usd", "non_token_cost_usd")


def _monthly(daily: pl.DataFrame) -> pl.DataFrame:
    key = ["month", "feature", "team", "cost_center"]
    sums = (
        daily.with_columns(pl.col("usage_date").dt.strftime("%Y-%m").alias("month"))
        .group_by(key)
        .agg(pl.col(*_COUNTS, *_COSTS).sum(), pl.col("cost_status").max())
        .sort("feature", "month")
    )
    cost = pl.col("effective_cost_usd")
    before = cost.shift(1).over("feature")
    ratio = pl.Decimal(18, 6)
    share = cost.cast(pl.Float64) * 100 / cost.cast(pl.Float64).sum().over("month")
    return sums.with_columns(
        *_per_mtok(),
        share.cast(ratio).alias("share_of_total_percent"),
        (cost - before).alias("change_on_month_before_usd"),
        (pl.when(before > 0).then((cost - before).cast(pl.Float64) * 100 / before.cast(pl.Float64)))
        .cast(ratio)
        .alias("change_on_month_before_percent"),
    ).sort(key)


def _reconciled(daily: pl.DataFrame, period: str) -> pl.DataFrame:
    key = [period, "provider", "account"]
    return (
        daily.group_by(key)
        .agg(
            pl.col("total_tokens").sum().alias("logged_tokens"),
            pl.col("contracted_cost_usd").sum().alias("metered_cost_usd"),
            pl.col("billed_cost_usd").sum().alias("billed_cost_usd"),
            pl.col("cost_status").max().alias("status"),
        )
        .with_columns(
            pl.col("logged_tokens").alias("provider_tokens"),
            pl.lit(1).cast(pl.Decimal(18, 6)).alias("coverage"),
            pl.col("metered_cost_usd").alias("provider_cost_usd"),
            pl.lit(0).cast(_MONEY).alias("unexplained_usd"),
        )
        .sort(key)
    )


def _unpriced(daily: pl.DataFrame) -> pl.DataFrame:
    rows = daily.filter(pl.col("unpriced_tokens") > 0)
    return rows.group_by("provider", "model", "service_tier").agg(
        pl.lit("unspecified").alias("region"),
        pl.lit("input_uncached").alias("component"),
        pl.col("usage_date").min().alias("first_day"),
        pl.col("usage_date").max().alias("last_day"),
        pl.col("total_tokens").sum().alias("tokens"),
        pl.col("unpriced_tokens").sum(),
        pl.col("requests").sum(),
        pl.lit("no price row covers this model").alias("reason"),
    )


def _written(name: str, frame: pl.DataFrame | None, folder: Path) -> list[Path]:
    """The files of one mart: a month each where it is dated, else one."""
    contract = contract_of(name)
    rows = empty(contract) if frame is None else conform(frame, contract)
    target = folder / name
    target.mkdir(parents=True)
    if "usage_date" in rows.columns and len(rows):
        months = rows.group_by(pl.col("usage_date").dt.strftime("%Y-%m"), maintain_order=True)
        parts = {str(month): part for (month,), part in months}
    else:
        parts = {"all": rows}
    for part in parts.values():
        enforce(contract, part, name)
    for key, part in parts.items():
        part.write_parquet(target / f"{key}.parquet", compression="zstd")
    return [target / f"{key}.parquet" for key in parts]
