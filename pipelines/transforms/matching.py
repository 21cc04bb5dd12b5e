"""Turning billed keys and their claimants into shares: who pays how much of each bill line.

What lives here: the weights of a share (logged against provider usage or against the bill) and the two rounds of
sharing. What does not: finding keys and claimants (sql/intermediate), the rounding itself (allocation.py).
Round one shares token charges; round two shares credits, fees, taxes and purchases by what round one gave.
"""

from __future__ import annotations

import polars as pl

from pipelines.quantities import USD_SCALE
from pipelines.transforms.allocation import share_out

UNLOGGED = "__unlogged__"
SHARED = "__shared__"
DISCOUNT_TOLERANCE = (102, 100)
"""Without provider usage, a bill of up to 2% above logged cost is a price difference; above that the rest is
unlogged."""

OWNER = ["feature", "team", "cost_center", "provider", "account", "model", "service_tier", "component"]
_PICO = 10**USD_SCALE


def pico(column: str) -> pl.Expr:
    """Dollars of DECIMAL(38,12) as whole pico-dollars."""
    return pl.col(column).cast(pl.Decimal(38, 12)).to_physical()


def usd(column: str) -> pl.Expr:
    """Whole pico-dollars as DECIMAL(38,12)."""
    return (pl.col(column).cast(pl.Decimal(38, 12)) / pl.lit(_PICO)).cast(pl.Decimal(38, 12))


def share_token_charges(claims: pl.DataFrame) -> pl.DataFrame:
    """Shares of every billed key, `__unlogged__` included; per key they sum to its billed and its effective cost
    exactly.

    claims: int__token_claims. Returns `usage_date`, `key_id`, `match_level`, OWNER, `billed_cost_usd`,
    `effective_cost_usd`.
    """
    weighted = claim_weights(claims)
    logged = weighted.filter(pl.col("feature").is_not_null() & (pl.col("weight") > 0))
    unlogged = (
        weighted.group_by("key_id")
        .agg(
            pl.all().exclude("weight", *OWNER).first(),
            pl.col("provider").first(),
            pl.col("unlogged_weight").first().alias("weight"),
        )
        .filter(pl.col("weight") > 0)
        .with_columns(
            pl.lit(UNLOGGED).alias("feature"),
            pl.lit(None, dtype=pl.String).alias("team"),
            pl.lit(None, dtype=pl.String).alias("cost_center"),
            pl.col("key_account").alias("account"),
            pl.col("key_model").alias("model"),
            pl.col("key_tier").alias("service_tier"),
            pl.col("key_component").alias("component"),
        )
    )
    columns = ["usage_date", "key_id", "match_level", *OWNER, "billed_pico", "effective_pico", "weight"]
    return _shared(pl.concat([logged.select(columns), unlogged.select(columns)]), "key_id").select(
        "usage_date", "key_id", "match_level", *OWNER, "billed_cost_usd", "effective_cost_usd"
    )


def share_other_charges(claims: pl.DataFrame) -> pl.DataFrame:
    """Shares of credits, fees, taxes and purchases. claims: int__shared_claims. Same columns as token shares, with
    `charge_kind` instead of `match_level`."""
    weighted = claims.with_columns(
        pico("billed_cost_usd").alias("billed_pico"),
        pico("effective_cost_usd").alias("effective_pico"),
        pico("weight_usd").alias("weight"),
    ).filter(pl.col("weight") > 0)
    return _shared(weighted, "key_id").select(
        "usage_date", "key_id", "charge_kind", *OWNER, "billed_cost_usd", "effective_cost_usd"
    )


def claim_weights(claims: pl.DataFrame) -> pl.DataFrame:
    """`claims` with `weight` per claimant and `unlogged_weight` per key: pico-dollars, or tokens where `by_tokens` is
    true.

    Inside a key that is partly priced, a token without a price weighs what the priced ones weigh on average.
    """
    key = "key_id"
    logged = pl.col("feature").is_not_null()
    rows = claims.with_columns(
        pico("contracted_cost_usd").alias("cost"),
        pico("provider_cost_usd").alias("provider_cost"),
        pico("billed_cost_usd").alias("billed_pico"),
        pico("effective_cost_usd").alias("effective_pico"),
        pl.col("tokens").cast(pl.Int128).fill_null(0),
        pl.col("unpriced_tokens").cast(pl.Int128).fill_null(0),
        pl.col("provider_tokens").cast(pl.Int128),
        logged.alias("is_logged"),
    )
    rows = rows.with_columns(
        pl.col("cost").sum().over(key).alias("priced_cost"),
        (pl.col("tokens") - pl.col("unpriced_tokens")).sum().over(key).alias("priced_tokens"),
    )
    provider_unpriced = (
        pl.col("has_provider_usage") & pl.col("provider_tokens").is_not_null() & pl.col("provider_cost").is_null()
    )
    rows = rows.with_columns(((pl.col("priced_cost") <= 0) | provider_unpriced).alias("by_tokens"))
    per_token = pl.max_horizontal("priced_tokens", pl.lit(1, dtype=pl.Int128))
    guessed = pl.col("unpriced_tokens") * pl.col("priced_cost") // per_token
    weight = pl.when(pl.col("by_tokens")).then(pl.col("tokens")).otherwise(pl.col("cost").fill_null(0) + guessed)
    rows = rows.with_columns(pl.when(pl.col("is_logged")).then(weight).otherwise(0).alias("weight"))
    rows = rows.with_columns(pl.col("weight").sum().over(key).alias("logged_weight"))
    witness = (
        pl.when(pl.col("by_tokens")).then(pl.col("provider_tokens")).otherwise(pl.col("provider_cost")).fill_null(0)
    )
    with_usage = pl.max_horizontal(witness, "logged_weight")
    charged = pl.when(pl.col("billed_pico") == 0).then(pl.col("effective_pico")).otherwise(pl.col("billed_pico"))
    most, of = DISCOUNT_TOLERANCE
    is_price_gap = pl.col("by_tokens") | (charged * of <= pl.col("logged_weight") * most)
    without_usage = pl.when(is_price_gap).then(pl.col("logged_weight")).otherwise(charged)
    whole = pl.when(pl.col("has_provider_usage")).then(with_usage).otherwise(without_usage)
    unlogged = (
        pl.when(pl.col("logged_weight") == 0)
        .then(pl.lit(1, dtype=pl.Int128))
        .otherwise(whole - pl.col("logged_weight"))
    )
    return rows.with_columns(unlogged.cast(pl.Int128).alias("unlogged_weight"), pl.col("weight").cast(pl.Int128))


def _shared(claims: pl.DataFrame, pool: str) -> pl.DataFrame:
    shared = claims
    for amount, share in (("billed_pico", "billed_share"), ("effective_pico", "effective_share")):
        shared = share_out(shared, pool=pool, amount=amount, weight="weight", tie=OWNER, share=share)
    return shared.with_columns(
        usd("billed_share").alias("billed_cost_usd"), usd("effective_share").alias("effective_cost_usd")
    ).sort(pool, *OWNER, nulls_last=True)
