"""Rolling up the days that changed: int__usage_rollup and int__meter_rollup, one partition per UTC day.

What lives here: which days are stale and at what grain they must be cut. What does not: the summing
(transforms/rollup.py).
A day is rolled up again when its core rows changed, or when the price book or the rules need a finer cut than it has; a
price that only changes its amount never reads core rows again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import chain
from pathlib import Path

import polars as pl

from pipelines.build.workbench import gone
from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty
from pipelines.contracts.rollup import IntMeterRollup, IntUsageRollup
from pipelines.contracts.usage import CoreMeters
from pipelines.errors import ContractError
from pipelines.lake import MOST_WAITING, Lake, Partition, Replacement, combined_digest, enforce
from pipelines.piece_files import open_partition, open_together
from pipelines.pieces import Piece
from pipelines.settings import CODE_VERSION, Settings
from pipelines.transforms.model_resolution import resolve_models
from pipelines.transforms.price_book import context_thresholds
from pipelines.transforms.price_schedules import PriceEdges
from pipelines.transforms.rollup import ALWAYS_READ, Grain, roll_up_meters, roll_up_usage, with_days

Progress = Callable[[str, int, int], None]
USAGE, METERS, CUT = "int__usage_rollup", "int__meter_rollup", "int__rollup_cut"
_NAMES = ["provider", "model", "region"]
_HELD_BYTES = 32 * 2**20
"""Files that are no larger together are read once and kept while they are rolled up."""
_ROWS_TOGETHER = 500_000
_DAYS_TOGETHER = 64
"""Days are rolled up together while they have no more rows than this, and are no more than these."""


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
        held = _held(lake)
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
        cut: list[_StaleDay] = []
        for day, content in stale:
            signature = f"{content}|{cutter.book_and_rules}"
            grain = cutter.grain_of(lake, day) if day not in forced and held.content(day) == content else None
            if grain is not None and day in held.cut and held.cut[day].signature == cutter.digest(grain):
                report.unchanged += 1
                same_cut += [table[day]._replace(signature=signature) for table in (held.usage, held.meters)]
            else:
                cut.append(_StaleDay(day, core[day].rows, signature))
        lake.register(*same_cut)
        for first in range(0, len(cut), MOST_WAITING):
            waiting = list(_together(cut[first : first + MOST_WAITING]))
            with lake.replacing() as replacement, ThreadPoolExecutor(settings.threads) as beside:
                roller = _Roller(lake, replacement, cutter, meters)
                cuts = []
                for of_days in beside.map(roller.roll_up, waiting):
                    cuts += of_days
                    report.days += [part.key for part in of_days]
                    if progress:
                        progress(f"rolled up {report.days[-1]}", len(report.days), len(cut))
            lake.register(*cuts)
    return report


@dataclass(frozen=True)
class _StaleDay:
    """A day to be rolled up: its rows in core__usage, the signature that its roll-ups get."""

    key: str
    rows: int
    signature: str


@dataclass(frozen=True)
class _Held:
    """What the lake holds of both roll-ups, and at which cut, by day; `lost` are those whose file is gone."""

    usage: dict[str, Partition]
    meters: dict[str, Partition]
    cut: dict[str, Partition]
    lost: set[tuple[str, str]]

    def signature(self, day: str) -> str:
        """What a day's roll-ups were built from; of a day without them it is like nothing."""
        if not self.lost.isdisjoint({(USAGE, day), (METERS, day)}):
            return ""
        return self.usage[day].signature if day in self.usage and day in self.meters else ""

    def content(self, day: str) -> str:
        return self.signature(day).partition("|")[0]


def _held(lake: Lake) -> _Held:
    tables = lake.tables((USAGE, METERS, CUT))
    lost = lake.lost({name: tables[name] for name in (USAGE, METERS)})
    return _Held(tables[USAGE], tables[METERS], tables[CUT], lost)


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
    """The rows of core days with the columns asked for; what was read of small files is not read again."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._is_small = sum(path.stat().st_size for path in paths) <= _HELD_BYTES
        self._columns = set(ALWAYS_READ)
        self._held = [open_together(paths, ALWAYS_READ)] if paths and self._is_small else []

    def __call__(self, columns: Sequence[str]) -> Iterable[Piece]:
        if not self._is_small:
            return chain.from_iterable(open_partition(path, columns) for path in self._paths)
        missing = [name for name in columns if name not in self._columns]
        if missing and self._held:
            self._held = [self._held[0].beside(open_together(self._paths, missing))]
        self._columns.update(missing)
        return [piece.of(columns) for piece in self._held]


def _together(stale: Iterable[_StaleDay]) -> Iterator[list[_StaleDay]]:
    """Days that are rolled up together: what is done costs far more for a few rows each than for all of them."""
    group: list[_StaleDay] = []
    for day in stale:
        if group and (sum(one.rows for one in group) + day.rows > _ROWS_TOGETHER or len(group) == _DAYS_TOGETHER):
            yield group
            group = []
        group.append(day)
    if group:
        yield group


@dataclass(frozen=True)
class _Roller:
    """Rolls days up and writes both roll-ups of each."""

    lake: Lake
    replacement: Replacement
    cutter: _Cutter
    meters: dict[str, Partition]

    def roll_up(self, days: Sequence[_StaleDay]) -> list[Partition]:
        """Write the roll-ups of some days; gives the cut that each has."""
        rows_of = self._rows_of(days)
        grains = self._grains(days, rows_of)
        usage = self._usage(days, rows_of, grains)
        for day in days:
            mine, grain = usage.get(day.key, empty(IntUsageRollup)), grains[day.key]
            self.replacement.write(USAGE, day.key, mine, None, day.signature)
            self.replacement.write(METERS, day.key, self._meters_of(day.key, grain), IntMeterRollup, day.signature)
        return [Partition(CUT, day.key, 0, "", self.cutter.digest(grains[day.key])) for day in days]

    def _grains(self, days: Sequence[_StaleDay], rows_of: _Rows) -> dict[str, Grain]:
        asked = ["usage_date", *_NAMES]
        named = [pl.DataFrame(schema={"usage_date": pl.Date} | dict.fromkeys(_NAMES, pl.String))]
        named += [with_days(piece).grouped(asked, []) for piece in rows_of(asked)]
        names = pl.concat(named).unique().partition_by("usage_date", as_dict=True, include_key=False)
        nothing = named[0].drop("usage_date")
        return {day.key: self.cutter.grain(day.key, names.get((date.fromisoformat(day.key),), nothing)) for day in days}

    def _usage(self, days: Sequence[_StaleDay], rows_of: _Rows, grains: dict[str, Grain]) -> dict[str, pl.DataFrame]:
        edges = pl.concat([grain.edges for grain in grains.values()])
        try:
            rows = roll_up_usage(rows_of, replace(grains[days[0].key], edges=edges))
            enforce(IntUsageRollup, rows, f"{USAGE}/{days[0].key}")
        except ContractError:
            # One day's counts can be too large for the rows of all of them, and what is refused is named by its day.
            if len(days) == 1:
                raise
            alone = [self._usage([day], self._rows_of([day]), {day.key: grains[day.key]}) for day in days if day.rows]
            return {key: rows for one in alone for key, rows in one.items()}
        return {str(day): mine for (day,), mine in rows.partition_by("usage_date", as_dict=True).items()}

    def _rows_of(self, days: Sequence[_StaleDay]) -> _Rows:
        paths = {day.key: self.lake.path("core__usage", day.key) for day in days if day.rows}
        for day, path in paths.items():
            if not path.exists():
                raise gone("core__usage", day)
        return _Rows(list(paths.values()))

    def _meters_of(self, day: str, grain: Grain) -> pl.DataFrame:
        has_rows = day in self.meters and self.meters[day].rows > 0
        rows = self.lake.read("core__meters", day) if has_rows else empty(CoreMeters)
        if rows is None:
            raise gone("core__meters", day)
        return roll_up_meters(rows, grain)


def _or_empty(frame: pl.DataFrame | None, contract: type) -> pl.DataFrame:
    return empty(contract) if frame is None else frame
