"""Columns that repeat few words (providers, tiers, identifiers): what is done to a text is done once per word.

What lives here: doing so, for a series and as an expression, and the spelling that our own words share. What does not:
the words.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from pipelines.pieces import encoded

_PROBE_ROWS = 1_000


def by_distinct(values: pl.Series, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """`change(values)` for a change of single texts (NULL is one), done once per distinct value where values repeat.

    Values that it leaves alone are not copied.
    """
    if values.head(_PROBE_ROWS).n_unique() > _PROBE_ROWS // 2:
        return change(values)
    numbers, words = encoded(values)
    if numbers.null_count():
        numbers, words = numbers.fill_null(len(words)), pl.concat([words, pl.Series([None], dtype=pl.String)])
    changed = change(words)
    if changed.equals(words, null_equal=True):
        return values
    return changed.gather(numbers).alias(values.name)


def once_per_word(texts: pl.Expr, change: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """The same as an expression."""

    def changed(values: pl.Series) -> pl.Series:
        return by_distinct(values, lambda words: words.to_frame("word").select(change(pl.col("word"))).to_series())

    return texts.map_batches(changed, return_dtype=pl.String, is_elementwise=True)


def snake_case(texts: pl.Expr) -> pl.Expr:
    """Letters and digits in lower case, whatever stands between them as one underscore."""
    return texts.str.to_lowercase().str.replace_all(r"[^a-z0-9]+", "_").str.strip_chars("_")
