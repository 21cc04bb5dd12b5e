"""The core floor as one step: everything staged is merged into its days, and the ledger is told.

What lives here: the order of the merges and what they report. What does not: requests (days.py), buckets
(buckets.py), machines (infrastructure.py), staging (intake/staging.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

from pipelines.contracts.usage import CoreLandedFiles
from pipelines.core.buckets import merge_bucket_days
from pipelines.core.days import merge_usage_days
from pipelines.core.infrastructure import merge_infrastructure_days
from pipelines.intake.landing import Ledger
from pipelines.intake.staging import Progress, clear_pending
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.transforms.reference_tables import BY_ASSET, load_table


@dataclass
class CoreReport:
    """Which days of request rows, of provider buckets and of machines were written, and raw files a rebuild missed."""

    usage_days: list[str] = field(default_factory=list)
    bucket_days: list[str] = field(default_factory=list)
    infrastructure_days: list[str] = field(default_factory=list)
    missing_raw: list[str] = field(default_factory=list)


def merge_core(settings: Settings, rebuild: Iterable[str] = (), progress: Progress | None = None) -> CoreReport:
    """Merge what intake staged; rebuild the days given (ISO dates) from raw files. Nothing staged, nothing given: no
    work."""
    days = sorted(set(rebuild))
    lake = Lake(settings.lake)
    with lake.writing():
        usage = merge_usage_days(settings, _precedence(settings), days, progress)
        buckets = merge_bucket_days(settings, days, progress)
        machines = merge_infrastructure_days(settings, days, progress)
        if usage.days or buckets or machines:
            lake.write("core__landed_files", "all", Ledger(lake).frame(), CoreLandedFiles)
        clear_pending(lake)
    return CoreReport(usage.days, buckets, machines, usage.missing_raw)


def _precedence(settings: Settings) -> dict[str, int]:
    sources = load_table(BY_ASSET["ref__sources"], settings).filter(pl.col("role") == "log")
    best = sources.group_by("source").agg(pl.col("precedence").min())
    return dict(best.iter_rows())
