"""The price book: every public price, in layers, as it was known at an instant.

What lives here: loading, layering, exact unit prices, context bands. What does not: which row prices a request
(price_segments.py), what a model's name means (model_resolution.py), windows of the day (price_schedules.py), changes
to the book (price_changes.py). Rows are append-only: a correction is a new row beside a superseded one.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import polars as pl

from pipelines.contracts.fields import conform
from pipelines.contracts.reference import PriceBook
from pipelines.errors import PriceBookError
from pipelines.quantities import LEAVES, METERS, UNIT_PRICE_SCALE
from pipelines.settings import Settings
from pipelines.transforms.price_guards import KEY, check_overlaps, check_units
from pipelines.transforms.reference_tables import BY_ASSET, load_table

PRICED_COMPONENTS = frozenset((*LEAVES, *METERS))
"""What a price row may be about: token leaves and non-token meters."""


def load_price_book(settings: Settings, known_at: datetime | None = None) -> pl.DataFrame:
    """Prices of all public layers, one row each, in the columns of contracts.reference.PriceBook.

    Without `known_at`: what is believed today, whatever the clock says (superseded rows are out). With it: what was
    believed then, recorded_at <= known_at < superseded_at. Contract prices are not part of it. Raises
    ReferenceTableError for an unusable cell and PriceBookError for overlaps, an unknown component or a unit error.
    """
    return price_book_of(load_table(BY_ASSET["ref__model_prices"], settings), known_at)


def price_book_of(rows: pl.DataFrame, known_at: datetime | None = None) -> pl.DataFrame:
    """As load_price_book, from the rows of ref__model_prices and `is_home`."""
    if known_at is None:
        rows = rows.filter(pl.col("superseded_at").is_null())
    else:
        is_known = pl.col("superseded_at").is_null() | (pl.col("superseded_at") > known_at)
        rows = rows.filter((pl.col("recorded_at") <= known_at) & is_known)
    return as_price_book(rows)


def as_price_book(rows: pl.DataFrame) -> pl.DataFrame:
    """Checked book rows from rows of ref__model_prices and `is_home`: adds layer_rank and unit_price_usd.

    Raises PriceBookError as load_price_book does.
    """
    unknown = rows.filter(~pl.col("component").is_in(list(PRICED_COMPONENTS)))
    if not unknown.is_empty():
        first = unknown.row(0, named=True)
        raise PriceBookError(
            f"nobody meters {first['component']!r}",
            where=f"price {first['price_id']}, column component",
            expected="one of " + ", ".join((*LEAVES, *METERS)),
            next_move="correct the component",
        )
    _refuse_marginal(rows)
    is_feed = (pl.col("layer") == "feed").cast(pl.Int32)
    ranked = rows.with_columns((2 * is_feed + (~pl.col("is_home")).cast(pl.Int32)).cast(pl.Int32).alias("layer_rank"))
    book = conform(_with_unit_price(_end_open_rows(ranked)), PriceBook)
    check_units(book)
    check_overlaps(book)
    return book


def _refuse_marginal(rows: pl.DataFrame) -> None:
    """No provider is known to bill only the tokens above a threshold; such a row must not price whole requests."""
    marginal = rows.filter(pl.col("tier_scope") == "marginal")
    if not marginal.is_empty():
        raise PriceBookError(
            "a context tier that prices only the tokens above its threshold cannot be applied yet",
            where=f"price {marginal.get_column('price_id')[0]}, column tier_scope",
            expected="tier_scope = request: the whole request is priced in the band of its whole prompt",
            next_move="leave the row out; its usage is then listed as unpriced",
        )


def context_thresholds(book: pl.DataFrame) -> list[int]:
    """Prompt sizes at which some price changes, ascending: the roll-up's context bands are cut at these.

    Both ends count: `prompt_tokens_gt` above 0, and any `prompt_tokens_le`.
    """
    edges = pl.concat(
        [book.get_column("prompt_tokens_gt"), book.get_column("prompt_tokens_le").rename("prompt_tokens_gt")]
    )
    return sorted({int(edge) for edge in edges.drop_nulls() if edge > 0})


def _end_open_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """An open end lasts until a row of the same layer and key that was recorded later, open as well, starts.

    So files only ever grow: a new price is one more line, and what was known before its recorded_at stays derivable. A
    row that a later one covers from its very start is left out.
    """
    key = ["layer_rank", *KEY]
    is_open = pl.col("valid_to").is_null()
    crowded = rows.filter(is_open).filter(pl.len().over(key) > 1)
    if crowded.is_empty():
        return rows
    later = crowded.select(*key, pl.col("valid_from").alias("_starts"), pl.col("recorded_at").alias("_known"))
    ends = (
        crowded.join(later, on=key, nulls_equal=True)
        .filter(pl.col("_known") > pl.col("recorded_at"))
        .group_by("price_id")
        .agg(pl.col("_starts").min().alias("_end"))
    )
    ended = rows.join(ends, on="price_id", how="left", maintain_order="left")
    ended = ended.with_columns(pl.when(is_open).then(pl.col("_end")).otherwise(pl.col("valid_to")).alias("valid_to"))
    return ended.filter(pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("valid_from"))).drop("_end")


def _with_unit_price(rows: pl.DataFrame) -> pl.DataFrame:
    pairs = rows.select("price_usd", "per_units").unique()
    exact = [_unit_price(price, units) for price, units in pairs.iter_rows()]
    unit = pl.Series("unit_price_usd", exact, dtype=pl.Decimal(38, UNIT_PRICE_SCALE))
    return rows.join(pairs.with_columns(unit), on=["price_usd", "per_units"], how="left", maintain_order="left")


def _unit_price(price_usd: Decimal, per_units: int) -> Decimal:
    scaled, left = divmod(int(price_usd.scaleb(UNIT_PRICE_SCALE)), per_units)
    if left:
        raise PriceBookError(
            f"{price_usd} per {per_units} units is no exact price for one unit",
            where="model_prices",
            expected=f"price_usd / per_units with at most {UNIT_PRICE_SCALE} decimals",
            next_move="state the price for another number of units",
        )
    return Decimal(scaled).scaleb(-UNIT_PRICE_SCALE)
