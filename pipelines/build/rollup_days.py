"""Rolling up the days that changed: int__usage_rollup and int__meter_rollup, one partition per UTC day.

What lives here: which days are stale and at what grain they must be cut. What does not: the summing
(transforms/rollup.py).
A day is rolled up again when its core rows changed, or when the price book or the rules need a finer cut than it has; a
price that only changes its amount never reads core rows again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import polars as pl

from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty
from pipelines.contracts.rollup import IntMeterRollup, IntUsageRollup
from pipelines.contracts.usage import CoreMeters
from pipelines.lake import MOST_WAITING, Lake, Partition, Replacement, combined_digest
from pipelines.piece_files import open_partition
from pipelines.pieces import Piece
from pipelines.settings import CODE_VERSION, Settings
from pipelines.transforms.model_resolution import resolve_models
from pipelines.transforms.price_book import context_thresholds
from pipelines.transforms.price_schedules import PriceEdges
from pipelines.transforms.rollup import ALWAYS_READ, Grain, roll_up_meters, roll_up_usage

Progress = Callable[[str, int, int], None]
USAGE, METERS, CUT = "int__usage_rollup", "int__meter_rollup", "int__rollup_cut"
_NAMES = ["provider", "model", "region"]
_HELD_BYTES = 32 * 2**20
"""A day whose file is no larger is read once and kept while it is rolled up."""


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
        held = _Held(*(lake.partitions(name) for name in (USAGE, METERS, CUT)))
        forced = set(force)
        cutter = _Cutter(lake)
        stale = []
        for day, partition in core.items():
            content = combined_digest([CODE_VERSION, partition.sha256, meters[day].sha256 if day in meters else ""])
            if day not in forced and held.signature(day) == f"{content}|{cutter.book_and_rules}":
                report.unchanged += 1
            else:
                stale.append((day, content))
        same_cut: list[Partition] = []
        cut: list[tuple[str, str]] = []
        for day, content in stale:
            signature = f"{content}|{cutter.book_and_rules}"
            grain = cutter.grain_of(lake, day) if day not in forced and held.content(day) == content else None
            if grain is not None and day in held.cut and held.cut[day].signature == cutter.digest(grain):
                report.unchanged += 1
                same_cut += [replace(table[day], signature=signature) for table in (held.usage, held.meters)]
            else:
                cut.append((day, signature))
        lake.register(*same_cut)
        for first in range(0, len(cut), MOST_WAITING):
            batch = cut[first : first + MOST_WAITING]
            with lake.replacing() as replacement, ThreadPoolExecutor(settings.threads) as beside:
                cuts = []
                for (day, _), of_day in zip(
                    batch, beside.map(lambda task: _roll_up_day(lake, replacement, cutter, *task), batch), strict=True
                ):
                    cuts.append(of_day)
                    report.days.append(day)
                    if progress:
                        progress(f"rolled up {day}", len(report.days), len(cut))
            lake.register(*cuts)
    return report


@dataclass(frozen=True)
class _Held:
    """What the lake holds of both roll-ups, and at which cut, by day."""

    usage: dict[str, Partition]
    meters: dict[str, Partition]
    cut: dict[str, Partition]

    def signature(self, day: str) -> str:
        return self.usage[day].signature if day in self.usage and day in self.meters else ""

    def content(self, day: str) -> str:
        return self.signature(day).partition("|")[0]


class _Cutter:
    """What the price book and the rules demand of the grain. Loads them once, and only when a day may be stale."""

    def __init__(self, lake: Lake) -> None:
        names = (
            "ref__price_book",
            "ref__price_schedules",
            "ref__model_aliases",
            "ref__contract_prices",
            "ref__features",
        )
        tables = [_or_empty(lake.read(name, "all"), contract_of(name)) for name in names]
        self._book, self._schedules, self._aliases, self._contracts, rules = tables
        fields = rules["field"].unique().to_list()
        self.tag_keys = frozenset(name.removeprefix("tag:") for name in fields if name.startswith("tag:"))
        self.keeps_sessions = "session_id" in fields
        self.thresholds = tuple(context_thresholds(self._book))
        self._known: dict[tuple[tuple[str, str, str], ...], PriceEdges] = {}
        self.book_and_rules = combined_digest(
            [
                *(partition.sha256 for name in names[:4] for partition in lake.partitions(name).values()),
                json.dumps([sorted(self.tag_keys), self.keeps_sessions]),
            ]
        )

    def grain(self, day: str, names: pl.DataFrame) -> Grain:
        """The grain of one day whose rows hold these (provider, model, region)."""
        key = tuple(names.sort(pl.all()).iter_rows())
        if key not in self._known:
            resolution = resolve_models(names, self._book, self._aliases)
            self._known[key] = PriceEdges.of(self._book, self._schedules, resolution, self._contracts)
        edges = self._known[key].inside(date.fromisoformat(day))
        return Grain(edges, self.thresholds, self.tag_keys, self.keeps_sessions)

    def grain_of(self, lake: Lake, day: str) -> Grain:
        """The same for a day that is rolled up: its roll-up knows the names."""
        held = lake.read(USAGE, day, _NAMES)
        return self.grain(day, _or_empty(held, IntUsageRollup).select(_NAMES).unique())

    def digest(self, grain: Grain) -> str:
        """A digest of everything in a grain that can change a roll-up row."""
        edges = [f"{p}|{m}|{e.isoformat()}" for p, m, e in grain.edges.sort(pl.all()).iter_rows()]
        return combined_digest([*edges, str(grain.thresholds), str(sorted(grain.tag_keys)), str(grain.keeps_sessions)])


class _Rows:
    """The rows of a core day with the columns asked for; what a small day was asked for once is not read again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_small = path.exists() and path.stat().st_size <= _HELD_BYTES
        self._held = list(open_partition(path, ALWAYS_READ)) if self._is_small else []
        self._columns = set(ALWAYS_READ)

    def __call__(self, columns: Sequence[str]) -> Iterable[Piece]:
        if not self._is_small:
            return open_partition(self._path, columns) if self._path.exists() else []
        missing = [name for name in columns if name not in self._columns]
        if missing:
            more = open_partition(self._path, missing)
            self._held = [piece.beside(other) for piece, other in zip(self._held, more, strict=True)]
            self._columns.update(missing)
        return [piece.of(columns) for piece in self._held]


def _roll_up_day(lake: Lake, replacement: Replacement, cutter: _Cutter, day: str, signature: str) -> Partition:
    """Write both roll-ups of a day; gives the cut that they have."""
    rows_of = _Rows(lake.path("core__usage", day))
    meters = _or_empty(lake.read("core__meters", day), CoreMeters)
    names = pl.concat(
        [pl.DataFrame(schema=dict.fromkeys(_NAMES, pl.String)), *(p.grouped(_NAMES, []) for p in rows_of(_NAMES))]
    )
    grain = cutter.grain(day, names.unique())
    replacement.write(USAGE, day, roll_up_usage(rows_of, grain), IntUsageRollup, signature)
    replacement.write(METERS, day, roll_up_meters(meters, grain), IntMeterRollup, signature)
    return Partition(CUT, day, 0, "", cutter.digest(grain))


def _or_empty(frame: pl.DataFrame | None, contract: type) -> pl.DataFrame:
    return empty(contract) if frame is None else frame
