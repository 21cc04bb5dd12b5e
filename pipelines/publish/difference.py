"""What a publish would change: per month and feature, what readers see now and what was just built.

What lives here: comparing CURRENT's monthly cost with the lake's. What does not: why it changed, showing it (assets).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty
from pipelines.errors import NotFoundError
from pipelines.publish.facts import mart_files
from pipelines.publish.readers import current
from pipelines.settings import Settings

MART = "mart__feature_cost_monthly"
_KEY = ["month", "feature", "team", "cost_center"]
_FIGURES = ["total_tokens", "list_cost_usd", "contracted_cost_usd", "effective_cost_usd", "cost_status"]


def changed_months(settings: Settings) -> pl.DataFrame:
    """Rows of the monthly cost that differ, by month, feature, team and cost_center, in that order.

    Columns: the key; tokens, list, contracted and effective cost and cost_status of before and after (`…_before`,
    `…_after`, NULL where the row is not there); delta_usd, the difference of effective cost, an absent or unknown one
    counting as 0 there alone. A price that only moves list cost, because a bill decides what was paid, shows as well.
    """
    before = _figures(_published_files(settings)).rename({name: f"{name}_before" for name in _FIGURES})
    after = _figures(mart_files(settings)[MART]).rename({name: f"{name}_after" for name in _FIGURES})
    joined = before.join(after, on=_KEY, how="full", nulls_equal=True, coalesce=True)
    is_equal = pl.all_horizontal(pl.col(f"{name}_before").eq_missing(pl.col(f"{name}_after")) for name in _FIGURES)
    delta = pl.col("effective_cost_usd_after").fill_null(0) - pl.col("effective_cost_usd_before").fill_null(0)
    return joined.filter(~is_equal).with_columns(delta.alias("delta_usd")).sort(_KEY)


def _published_files(settings: Settings) -> list[Path]:
    try:
        snapshot = current(settings)
    except NotFoundError:
        return []
    return [snapshot.path / file.relative for file in snapshot.manifest.files_of(MART)]


def _figures(files: Sequence[Path]) -> pl.DataFrame:
    frames = [pl.read_parquet(path) for path in files] or [empty(contract_of(MART))]
    return pl.concat(frames).select(*_KEY, *_FIGURES)
