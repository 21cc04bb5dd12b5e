"""Sharing deployment hours out to features: busy cost by work, idle cost by policy, exact in pico-dollars.

What lives here: int__infrastructure_shares. What does not: what an hour costs (deployment_ledger.py), the rounding
(allocation.py). Idle policies, of `deployments.csv`: own_row (default): idle capacity is a row of its own, `__idle__`.
proportional: by the hour's work. even: the same for every feature of the hour. reserved: by each feature's busiest hour
of the month, which the machine must stand ready for. An hour without traffic stays `__idle__` under every policy.
"""

from __future__ import annotations

import polars as pl

from pipelines.contracts.fields import conform
from pipelines.contracts.infrastructure import IntInfrastructureShares
from pipelines.transforms.allocation import share_out
from pipelines.transforms.matching import UNLOGGED, pico, usd

IDLE = "__idle__"
OWNER = ["feature", "team", "cost_center", "model", "service_tier"]
POOL = "pool"
_HOUR = ["deployment", "hour_start"]
_SUMS = ["busy", "busy_half", "busy_double", "idle"]


def shares_of_hours(hours: pl.DataFrame, usage: pl.DataFrame) -> pl.DataFrame:
    """int__infrastructure_shares of one month from int__infrastructure_cost_hourly and int__self_hosted_usage.

    Hours whose cost is unknown are left out; per deployment and day both bases sum to the others exactly.
    """
    priced = hours.filter(pl.col("all_in_cost_usd").is_not_null()).with_columns(
        pico("busy_cost_usd").alias("busy_pico"),
        pico("idle_cost_usd").alias("idle_pico"),
        pl.format("{}|{}", "deployment", "hour_start").alias(POOL),
    )
    claims = _claims(priced, usage)
    worked = claims.group_by(POOL).agg((pl.col("work").sum() > 0).alias("is_worked"))
    priced = priced.join(worked, on=POOL, how="left").with_columns(pl.col("is_worked").fill_null(value=False))
    busy = _busy(priced.filter("is_worked"), claims)
    idle = _idle(priced, claims)
    return _by_day(pl.concat([busy, idle]), priced)


def _claims(priced: pl.DataFrame, usage: pl.DataFrame) -> pl.DataFrame:
    """Work of every claimant of every hour in whole billionths of a unit, with two other output weights (times two)."""
    terms = priced.select(*_HOUR, POOL, "usage_date", "w_input", "w_cached", "w_output", "idle_policy")
    logged = usage.select(*_HOUR, *OWNER, "uncached_tokens", "cached_tokens", "output_tokens").join(terms, on=_HOUR)
    tokens = [f"unlogged_{name}" for name in ("uncached_tokens", "cached_tokens", "output_tokens")]
    unlogged = priced.filter(pl.sum_horizontal(tokens) > 0).select(
        *_HOUR,
        pl.lit(UNLOGGED).alias("feature"),
        pl.lit(None, dtype=pl.String).alias("team"),
        pl.lit(None, dtype=pl.String).alias("cost_center"),
        "model",
        pl.lit("standard").alias("service_tier"),
        *(pl.col(name).alias(name.removeprefix("unlogged_")) for name in tokens),
        *(name for name in terms.columns if name not in _HOUR),
    )
    both = pl.concat([logged, unlogged.select(logged.columns)])
    weighed = {
        name: pl.col(f"{name}_tokens").cast(pl.Int128) * pl.col(f"w_{weight}").to_physical().cast(pl.Int128)
        for name, weight in (("uncached", "input"), ("cached", "cached"), ("output", "output"))
    }
    reading = weighed["uncached"] + weighed["cached"]
    return both.with_columns(
        (reading + weighed["output"]).alias("work"),
        (2 * reading + weighed["output"]).alias("work_half"),
        (reading + 2 * weighed["output"]).alias("work_double"),
    )


def _busy(priced: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    shared = claims.join(priced.select(POOL, "busy_pico"), on=POOL).filter(pl.col("work") > 0)
    for weight, share in (("work", "busy"), ("work_half", "busy_half"), ("work_double", "busy_double")):
        shared = share_out(shared, pool=POOL, amount="busy_pico", weight=weight, tie=OWNER, share=share)
    return _entries(shared.with_columns(pl.lit(0, dtype=pl.Int128).alias("idle")))


def _idle(priced: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """Idle cost of every hour: on `__idle__`, or shared by the policy of an hour with traffic."""
    policy = pl.col("idle_policy")
    alone = priced.filter((policy == "own_row") | ~pl.col("is_worked"))
    own = alone.filter(pl.col("idle_pico") > 0).select(
        "usage_date",
        "deployment",
        pl.lit(IDLE).alias("feature"),
        pl.lit(None, dtype=pl.String).alias("team"),
        pl.lit(None, dtype=pl.String).alias("cost_center"),
        "model",
        pl.lit("standard").alias("service_tier"),
        # an hour without work has no busy cost, so its whole cost is idle
        pl.col("idle_pico").cast(pl.Int128).alias("idle"),
    )
    to_share = priced.join(alone.select(POOL), on=POOL, how="anti").select(
        POOL, "idle_pico", "idle_policy", "deployment"
    )
    mine = claims.filter(pl.col("work") > 0).drop("idle_policy").join(to_share.drop("deployment"), on=POOL)
    by_work = _shared(mine.filter(policy == "proportional"), "work")
    evenly = _shared_evenly(mine.filter(policy == "even"))
    reserved = _shared(_reserved(claims, to_share, priced), "peak")
    entries = [_with_zeros(own), *(_with_zeros(_owned(frame)) for frame in (by_work, evenly, reserved))]
    return pl.concat(entries)


def _shared(claims: pl.DataFrame, weight: str) -> pl.DataFrame:
    return share_out(claims, pool=POOL, amount="idle_pico", weight=weight, tie=OWNER, share="idle")


def _shared_evenly(claims: pl.DataFrame) -> pl.DataFrame:
    """The same for every feature, and inside a feature by work."""
    features = claims.select(POOL, "feature", "idle_pico").unique().with_columns(pl.lit(1).alias("one"))
    portions = share_out(features, pool=POOL, amount="idle_pico", weight="one", tie=["feature"], share="portion")
    inside = claims.join(portions.select(POOL, "feature", "portion"), on=[POOL, "feature"]).with_columns(
        pl.format("{}|{}", POOL, "feature").alias("feature_pool")
    )
    return share_out(inside, pool="feature_pool", amount="portion", weight="work", tie=OWNER, share="idle")


def _reserved(claims: pl.DataFrame, to_share: pl.DataFrame, priced: pl.DataFrame) -> pl.DataFrame:
    """Everyone with traffic in the month claims every hour with traffic, by its own busiest hour."""
    peaks = claims.group_by("deployment", *OWNER).agg(pl.col("work").max().alias("peak")).filter(pl.col("peak") > 0)
    hours = to_share.filter(pl.col("idle_policy") == "reserved").join(priced.select(POOL, "usage_date"), on=POOL)
    return hours.join(peaks, on="deployment")


def _owned(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("usage_date", "deployment", *OWNER, pl.col("idle").cast(pl.Int128))


def _with_zeros(frame: pl.DataFrame) -> pl.DataFrame:
    zeros = [pl.lit(0, dtype=pl.Int128).alias(name) for name in _SUMS[:-1]]
    return _entries(frame.with_columns(*zeros))


def _entries(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("usage_date", "deployment", *OWNER, *(pl.col(name).cast(pl.Int128) for name in _SUMS))


def _by_day(entries: pl.DataFrame, priced: pl.DataFrame) -> pl.DataFrame:
    """Days, with idle capacity of the whole day loaded onto whoever was served, in proportion to busy cost."""
    day = ["usage_date", "deployment"]
    summed = entries.group_by(*day, *OWNER).agg(pl.col(name).sum() for name in _SUMS)
    idle = priced.group_by(day).agg(pl.col("idle_pico").cast(pl.Int128).sum().alias("idle_of_day"))
    pooled = summed.join(idle, on=day).with_columns(pl.format("{}|{}", "deployment", "usage_date").alias(POOL))
    served = pl.col("busy").sum().over(POOL)
    # nobody was served on the day: the cost stays where the policy put it
    weight = pl.when(served > 0).then(pl.col("busy")).otherwise(pl.col("idle"))
    pooled = pooled.with_columns(weight.alias("weight"))
    is_free = pl.col("weight").sum().over(POOL) == 0
    free = pooled.filter(is_free).with_columns(pl.lit(0, dtype=pl.Int128).alias("loaded"))
    loaded = share_out(
        pooled.filter(~is_free), pool=POOL, amount="idle_of_day", weight="weight", tie=OWNER, share="loaded"
    )
    told = pl.concat([loaded, free.select(loaded.columns)]).with_columns(
        (pl.col("busy") + pl.col("idle")).alias("usage"),
        (pl.col("busy") + pl.col("loaded")).alias("full"),
        (pl.col("busy_half") + pl.col("idle")).alias("half"),
        (pl.col("busy_double") + pl.col("idle")).alias("double"),
    )
    rows = told.with_columns(
        usd("busy").alias("busy_cost_usd"),
        usd("usage").alias("usage_cost_usd"),
        usd("full").alias("fully_loaded_cost_usd"),
        usd("half").alias("usage_cost_output_weight_half_usd"),
        usd("double").alias("usage_cost_output_weight_double_usd"),
    )
    return conform(rows, IntInfrastructureShares).sort(*day, *OWNER, nulls_last=True)
