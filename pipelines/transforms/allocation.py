"""Sharing amounts out in whole pico-dollars: largest remainder, many pools at once.

What lives here: the one function that splits money. What does not: who claims what (sql/), decimals (quantities.py).
Same rule as quantities.largest_remainder, which the tests hold it against.
"""

from __future__ import annotations

import polars as pl

from pipelines.errors import ContractError

_LARGEST = 2**127 - 1


def share_out(claims: pl.DataFrame, *, pool: str, amount: str, weight: str, tie: list[str], share: str) -> pl.DataFrame:
    """`claims` with a column `share` (Int128): the pool's `amount` in proportion to `weight`, summing to it exactly.

    pool: column that names the pool; amount: integer of the whole pool, equal on all its rows, any sign; weight:
    integers
    ≥ 0, at least one positive per pool; tie: columns that order equal remainders, unique inside a pool. What the floors
    leave
    goes one pico-dollar each to the largest remainders. Raises ContractError when the arithmetic would not fit 128 bits
    or a pool has nothing to share by. Source: largest-remainder method, docs/methodology.md.
    """
    if not len(claims):
        return claims.with_columns(pl.lit(None, dtype=pl.Int128).alias(share))
    wide = claims.with_columns(
        pl.col(amount).cast(pl.Int128).alias("_amount"), pl.col(weight).cast(pl.Int128).alias("_weight")
    )
    most, heaviest, lightest = wide.select(
        pl.col("_amount").abs().max(),
        pl.col("_weight").max().alias("_heaviest"),
        pl.col("_weight").min().alias("_lightest"),
    ).row(0)
    if most * heaviest > _LARGEST:
        raise ContractError(
            f"sharing {most} pico-dollars by weights up to {heaviest} does not fit 128 bits",
            expected="amounts of a day below ten million dollars, weights below 10^19",
            next_move="look for a unit error in the bill of the largest pool",
        )
    wide = wide.with_columns(pl.col("_weight").sum().over(pool).alias("_whole"))
    if lightest < 0 or wide["_whole"].min() == 0:
        raise ContractError("a pool has no positive weight to share by", expected="weights ≥ 0, one of them positive")
    product = pl.col("_amount").abs() * pl.col("_weight")
    wide = wide.with_columns(
        (product // pl.col("_whole")).alias("_floor"), (product % pl.col("_whole")).alias("_remainder")
    )
    wide = wide.with_row_index("_row").sort([pool, "_remainder", *tie], descending=[False, True, *([False] * len(tie))])
    wide = wide.with_columns(
        pl.int_range(pl.len()).over(pool).alias("_place"),
        (pl.col("_amount").abs() - pl.col("_floor").sum().over(pool)).alias("_left"),
    )
    one_more = (pl.col("_place") < pl.col("_left")).cast(pl.Int128)
    shared = (pl.col("_floor") + one_more) * pl.col("_amount").sign()
    return wide.with_columns(shared.alias(share)).sort("_row").select(*claims.columns, share)
