"""The headline of a snapshot: one line per feature over all its months.

What lives here: sums over the published monthly cost. What does not: printing them (assets), the mart (sql/marts).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import polars as pl

from pipelines.publish.difference import MART
from pipelines.publish.readers import current
from pipelines.settings import Settings

_FIGURES = ["requests", "total_tokens", "unpriced_tokens", "billed_cost_usd", "effective_cost_usd"]


@dataclass(frozen=True)
class FeatureLine:
    """One feature over all months of a snapshot. Money in dollars, exact; NULL (None) where nothing is known of it.

    `cost_per_mtok_usd` is effective cost × 10⁶ / total tokens, None without tokens, to 12 digits.
    """

    feature: str
    requests: int
    total_tokens: int
    unpriced_tokens: int
    billed_cost_usd: Decimal | None
    effective_cost_usd: Decimal | None
    cost_per_mtok_usd: Decimal | None


def headline(settings: Settings) -> list[FeatureLine]:
    """Every feature of CURRENT over all its teams, the dearest first. Raises NotFoundError before the first publish."""
    snapshot = current(settings)
    files = [snapshot.path / file.relative for file in snapshot.manifest.files_of(MART)]
    known = [pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name) for name in _FIGURES]
    months = pl.concat([pl.read_parquet(path) for path in files])
    summed = months.group_by("feature").agg(known)
    ordered = summed.sort(["effective_cost_usd", "feature"], descending=[True, False], nulls_last=True)
    return [
        FeatureLine(**row, cost_per_mtok_usd=_per_mtok(row["effective_cost_usd"], row["total_tokens"]))
        for row in ordered.select("feature", *_FIGURES).iter_rows(named=True)
    ]


def _per_mtok(cost: Decimal | None, tokens: int) -> Decimal | None:
    if cost is None or not tokens:
        return None
    with localcontext(prec=60):
        return (cost * 1_000_000 / tokens).quantize(Decimal("1e-12"), rounding=ROUND_HALF_EVEN)
