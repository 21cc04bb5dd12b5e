"""Rolling up the days that changed: int__usage_rollup and int__meter_rollup, one partition per UTC day.

What lives here: which days are stale and at what grain they must be cut. What does not: the summing (transforms/rollup.py).
A day is rolled up again when its core rows changed, or when the price book or the rules need a finer cut than it has; a
price that only changes its amount never reads core rows again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty
from pipelines.contracts.rollup import IntMeterRollup, IntUsageRollup
from pipelines.contracts.usage import CoreMeters, CoreUsage
from pipelines.lake import Lake, combined_digest
from pipelines.settings import CODE_VERSION, Settings
from pipelines.transforms.model_resolution import resolve_models
from pipelines.transforms.price_book import context_thresholds
from pipelines.transforms.price_schedules import price_edges
from pipelines.transforms.rollup import Grain, roll_up_meters, roll_up_usage

Progress = Callable[[str, int, int], None]


@dataclass
class RollupReport:
    """Which days were rolled up again; `unchanged` counts the others."""

    days: list[str] = field(default_factory=list)
    unchanged: int = 0


def roll_up_days(settings: Settings, force: Iterable[str] = (), progress: Progress | None = None) -> RollupReport:
    """Bring both roll-ups up to date with the core days and with the lake's reference tables (refreshed before)."""
    lake = Lake(settings.lake)
    report = RollupReport()
    with lake.writing():
        core, meters = lake.partitions("core__usage"), lake.partitions("core__meters")
        done = lake.partitions("int__usage_rollup")
        forced = set(force)
        cutter = _Cutter(lake)
        stale = []
        for day, partition in core.items():
            content = combined_digest([CODE_VERSION, partition.sha256, meters[day].sha256 if day in meters else ""])
            signature = done[day].signature if day in done else ""
            if day not in forced and signature == f"{content}|{cutter.book_and_rules}":
                report.unchanged += 1
            else:
                stale.append((day, content, signature))
        for number, (day, content, signature) in enumerate(stale):
            if progress:
                progress(f"rolling up {day}", number, len(stale))
            if _refresh_day(lake, cutter, day, content, "" if day in forced else signature):
                report.days.append(day)
            else:
                report.unchanged += 1
    return report


class _Cutter:
    """What the price book and the rules demand of the grain. Loads them once, and only when a day may be stale."""

    def __init__(self, lake: Lake) -> None:
        names = ("ref__price_book", "ref__price_schedules", "ref__model_aliases", "ref__contract_prices", "ref__features")
        tables = [_or_empty(lake.read(name, "all"), contract_of(name)) for name in names]
        self._book, self._schedules, self._aliases, self._contracts, rules = tables
        fields = rules["field"].unique().to_list()
        self.tag_keys = frozenset(name.removeprefix("tag:") for name in fields if name.startswith("tag:"))
        self.keeps_sessions = "session_id" in fields
        self.thresholds = tuple(context_thresholds(self._book))
        self._known: dict[tuple[tuple[str, str, str], ...], pl.DataFrame] = {}
        self.book_and_rules = combined_digest(
            [
                *(partition.sha256 for name in names[:4] for partition in lake.partitions(name).values()),
                json.dumps([sorted(self.tag_keys), self.keeps_sessions]),
            ]
        )

    def grain(self, day: str, pairs: pl.DataFrame) -> Grain:
        """The grain of one day whose rows hold these (provider, model, region)."""
        key = tuple(pairs.sort(pl.all()).iter_rows())
        if key not in self._known:
            self._known[key] = resolve_models(pairs, self._book, self._aliases)
        edges = price_edges(self._book, self._schedules, self._known[key], date.fromisoformat(day), self._contracts)
        return Grain(edges, self.thresholds, self.tag_keys, self.keeps_sessions)

    def digest(self, grain: Grain) -> str:
        """A digest of everything in a grain that can change a roll-up row."""
        edges = [f"{p}|{m}|{e.isoformat()}" for p, m, e in grain.edges.sort(pl.all()).iter_rows()]
        return combined_digest([*edges, str(grain.thresholds), str(sorted(grain.tag_keys)), str(grain.keeps_sessions)])


def _refresh_day(lake: Lake, cutter: _Cutter, day: str, content: str, signature: str) -> bool:
    """Roll one day up unless only amounts changed; True when it was written."""
    names = ["provider", "model", "region"]
    old_content, _, old_cut = signature.partition("|")
    held = lake.read("int__usage_rollup", day, names) if old_content == content else None
    usage: pl.DataFrame | None = None
    if held is None:
        usage = _or_empty(lake.read("core__usage", day), CoreUsage)
        held = usage.select(names)
    grain = cutter.grain(day, held.unique())
    cut = cutter.digest(grain)
    if old_content == content and lake.partitions("int__rollup_cut").get(day, None) is not None:
        if lake.partitions("int__rollup_cut")[day].signature == cut:
            _remember(lake, day, f"{content}|{cutter.book_and_rules}", cut)
            return False
    if usage is None:
        usage = _or_empty(lake.read("core__usage", day), CoreUsage)
    meters = _or_empty(lake.read("core__meters", day), CoreMeters)
    lake.write("int__usage_rollup", day, roll_up_usage(usage, grain), IntUsageRollup)
    lake.write("int__meter_rollup", day, roll_up_meters(meters, grain), IntMeterRollup)
    _remember(lake, day, f"{content}|{cutter.book_and_rules}", cut)
    return True


def _or_empty(frame: pl.DataFrame | None, contract: type) -> pl.DataFrame:
    return empty(contract) if frame is None else frame


def _remember(lake: Lake, day: str, signature: str, cut: str) -> None:
    with lake.index() as index:
        index.execute(
            "UPDATE partitions SET signature = ? WHERE key = ? AND table_name IN ('int__usage_rollup', 'int__meter_rollup')",
            (signature, day),
        )
        index.execute("INSERT OR REPLACE INTO partitions VALUES ('int__rollup_cut', ?, 0, '', ?)", (day, cut))
