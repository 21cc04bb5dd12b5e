"""Columns that repeat few words (providers, tiers): what is done to a text is done once per word.

What lives here: the expression that does so, and the spelling that such words share. What does not: the words.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from pipelines.pieces import encoded


def once_per_word(texts: pl.Expr, change: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """`change(texts)`, for a change of each text by itself; NULL is changed as well."""

    def changed(values: pl.Series) -> pl.Series:
        numbers, words = encoded(values)
        told = pl.concat([words, pl.Series([None], dtype=pl.String)]).to_frame("word")
        return told.select(change(pl.col("word"))).to_series().gather(numbers.fill_null(len(words)))

    return texts.map_batches(changed, return_dtype=pl.String, is_elementwise=True)


def snake_case(texts: pl.Expr) -> pl.Expr:
    """Letters and digits in lower case, whatever stands between them as one underscore."""
    return texts.str.to_lowercase().str.replace_all(r"[^a-z0-9]+", "_").str.strip_chars("_")
