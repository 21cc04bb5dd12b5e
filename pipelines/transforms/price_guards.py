"""Guards: what a price book must never hold, and what a price change must not do unseen.

What lives here: overlap, gap, unit error, step. What does not: loading the book, models that a feed drops and
proposing changes (price_changes.py).
"""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from pipelines.errors import PriceBookError

MOST_USD_PER_MTOK = Decimal(1000)
"""A token price above this is a unit error: the dearest model ever sold cost $600 per million output tokens."""

LARGEST_STEP = 10
"""A price that moves by more than this factor, up or down, is a unit error until a person says otherwise."""

KEY = (
    "provider",
    "model",
    "region",
    "service_tier",
    "component",
    "prompt_tokens_gt",
    "schedule",
)
"""Rows of one layer with the same key are alternatives in time: their intervals must not overlap."""


def unit_errors(book: pl.DataFrame) -> pl.DataFrame:
    """Rows whose token price is above $1,000 per million tokens."""
    return book.filter((pl.col("unit") == "tokens") & (pl.col("unit_price_usd") > MOST_USD_PER_MTOK.scaleb(-6)))


def overlaps(book: pl.DataFrame) -> pl.DataFrame:
    """Rows of one layer and key that are in force at the same time as a later row, with `next_price_id`."""
    key = ["layer_rank", *KEY]
    ordered = book.sort(*key, "valid_from", "price_id")
    following = ordered.with_columns(
        pl.col("valid_from").shift(-1).over(key).alias("next_from"),
        pl.col("price_id").shift(-1).over(key).alias("next_price_id"),
    )
    is_open = pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("next_from"))
    return following.filter(pl.col("next_price_id").is_not_null() & is_open).drop("next_from")


def gaps(book: pl.DataFrame) -> pl.DataFrame:
    """Holes between two rows of one layer and key: KEY, `gap_from`, `gap_to`. Usage inside one may be unpriced."""
    key = ["layer_rank", *KEY]
    following = book.sort(*key, "valid_from").with_columns(pl.col("valid_from").shift(-1).over(key).alias("gap_to"))
    return following.filter(pl.col("valid_to") < pl.col("gap_to")).select(
        *key, pl.col("valid_to").alias("gap_from"), "gap_to"
    )


def steps(book: pl.DataFrame) -> pl.DataFrame:
    """Rows that cost more than 10 times, or less than a tenth, of the row before them: adds `previous_price_usd`."""
    key = ["layer_rank", *KEY]
    before = book.sort(*key, "valid_from").with_columns(
        pl.col("unit_price_usd").shift(1).over(key).alias("previous_unit_price_usd")
    )
    price, previous = pl.col("unit_price_usd"), pl.col("previous_unit_price_usd")
    is_step = (price > previous * LARGEST_STEP) | (price * LARGEST_STEP < previous)
    return before.filter(previous.is_not_null() & (previous > 0) & (price > 0) & is_step)


def check_units(book: pl.DataFrame) -> None:
    """Raises PriceBookError for the first unit error."""
    wrong = unit_errors(book)
    if not wrong.is_empty():
        first = wrong.row(0, named=True)
        raise PriceBookError(
            f"${first['price_usd']:f} per {first['per_units']:,} tokens cannot be right",
            where=f"price {first['price_id']}",
            expected=f"at most ${MOST_USD_PER_MTOK} per million tokens",
            next_move="check whether the price is per token, per thousand or per million, and set per_units to it",
        )


def check_overlaps(book: pl.DataFrame) -> None:
    """Raises PriceBookError for the first overlap."""
    clash = overlaps(book)
    if not clash.is_empty():
        first = clash.row(0, named=True)
        raise PriceBookError(
            f"two prices for {first['provider']} {first['model']} {first['component']} at the same time",
            where=f"prices {first['price_id']} and {first['next_price_id']}",
            expected="half-open intervals that do not overlap within one layer and key",
            next_move="end the earlier row where the later one starts, or set superseded_at on the wrong one",
        )
