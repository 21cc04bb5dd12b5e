"""Sharing amounts out in whole pico-dollars: largest remainder, many pools at once.

What lives here: the one function that splits money. What does not: who claims what (sql/), decimals (quantities.py).
Same rule as quantities.largest_remainder, which the tests hold it against.
"""

from __future__ import annotations

import polars as pl

from pipelines.errors import ContractError
from pipelines.quantities import largest_remainder

_LARGEST = 2**127 - 1


def share_out(claims: pl.DataFrame, *, pool: str, amount: str, weight: str, tie: list[str], share: str) -> pl.DataFrame:
    """`claims` with a column `share` (Int128): the pool's `amount` in proportion to `weight`, summing to it exactly.

    pool: column that names the pool; amount: integer of the whole pool, equal on all its rows, any sign; weight: whole
    numbers ≥ 0, at least one positive per pool; tie: columns that order equal remainders, unique inside a pool. What
    the floors leave goes one pico-dollar each to the largest remainders. Pools whose arithmetic would not fit 128 bits
    are shared out one by one, in integers of any size. Raises ContractError when a pool has nothing to share by.
    Source: largest-remainder method, docs/methodology.md.
    """
    if not len(claims):
        return claims.with_columns(pl.lit(None, dtype=pl.Int128).alias(share))
    wide = claims.with_columns(
        pl.col(amount).cast(pl.Int128).alias("_amount"), pl.col(weight).cast(pl.Int128).alias("_weight")
    ).with_row_index("_row")
    by_weight = wide.group_by(pool).agg(
        pl.col("_amount").abs().max(), pl.col("_weight").max(), pl.col("_weight").min().alias("_least"), pl.len()
    )
    if by_weight.filter((pl.col("_least") < 0) | (pl.col("_weight") <= 0)).height:
        raise ContractError("a pool has no positive weight to share by", expected="weights ≥ 0, one of them positive")
    large = [
        name
        for name, most, heaviest, rows in by_weight.select(pool, "_amount", "_weight", "len").iter_rows()
        if max(most, 1) * heaviest * rows > _LARGEST
    ]
    is_large = pl.col(pool).is_in(large)
    parts = [_at_once(wide.filter(~is_large), pool, tie), _one_by_one(wide.filter(is_large), pool, tie)]
    shared = pl.concat(parts).sort("_row")
    return claims.with_columns(shared["_share"].alias(share))


def _at_once(wide: pl.DataFrame, pool: str, tie: list[str]) -> pl.DataFrame:
    """`_row` and `_share` of pools that fit."""
    wide = wide.with_columns(pl.col("_weight").sum().over(pool).alias("_whole"))
    product = pl.col("_amount").abs() * pl.col("_weight")
    wide = wide.with_columns(
        (product // pl.col("_whole")).alias("_floor"), (product % pl.col("_whole")).alias("_remainder")
    )
    wide = wide.sort([pool, "_remainder", *tie], descending=[False, True, *([False] * len(tie))])
    wide = wide.with_columns(
        pl.int_range(pl.len()).over(pool).alias("_place"),
        (pl.col("_amount").abs() - pl.col("_floor").sum().over(pool)).alias("_left"),
    )
    one_more = (pl.col("_place") < pl.col("_left")).cast(pl.Int128)
    return wide.select("_row", ((pl.col("_floor") + one_more) * pl.col("_amount").sign()).alias("_share"))


def _one_by_one(wide: pl.DataFrame, pool: str, tie: list[str]) -> pl.DataFrame:
    """The same for the few that do not."""
    parts = [pl.DataFrame(schema={"_row": pl.get_index_type(), "_share": pl.Int128})]
    for rows in wide.sort([pool, *tie]).partition_by(pool, maintain_order=True):
        shares = largest_remainder(rows["_amount"][0], rows["_weight"].to_list())
        parts.append(rows.select("_row", pl.Series("_share", shares, dtype=pl.Int128)))
    return pl.concat(parts)
