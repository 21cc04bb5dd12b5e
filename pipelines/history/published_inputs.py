"""What the published numbers were made from, kept beside the lake, so that the next publish can say what changed.

What lives here: one generation per published digest (lake/.published/<digest>/): the digests of the base tables and of
the computed feature costs, and hard links of their files, which generations share (lake/.published/files/<sha256>).
What does not: causes (restatement.py).
A generation is made before its snapshot goes live and found by that snapshot's digest, so a kill between the two leaves
nothing that could be mistaken.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from pipelines.build.graph import code_digest
from pipelines.errors import NotFoundError
from pipelines.history.lake_beside import GOAL, ancestors, base_tables
from pipelines.lake import Lake, combined_digest
from pipelines.publish.durable import link_or_copy
from pipelines.publish.readers import current
from pipelines.settings import Settings

KEPT_GENERATIONS = 3
_FACTS = "facts.json"
_FILES = "files"
_MOST_SPARE_FILES = 1000
_ALSO = (GOAL, "core__landed_files")
_DIGESTS_ONLY = ("core__usage", "core__meters")
"""Too large to keep twice: their digests tell whether a roll-up changed its usage or only its cut."""


@dataclass(frozen=True)
class Generation:
    """The inputs of one published snapshot. `code` is a digest of everything that computes feature costs."""

    root: Path
    snapshot_id: str

    @cached_property
    def _facts(self) -> Mapping[str, object]:
        facts: Mapping[str, object] = json.loads((self.root / _FACTS).read_text(encoding="utf-8"))
        return facts

    @property
    def code(self) -> str:
        return str(self._facts["code"])

    @property
    def code_version(self) -> str:
        return str(self._facts["code_version"])

    def digests(self, table: str) -> dict[str, str]:
        """Key → sha256 of the partitions of a table at that time."""
        tables = self._facts["digests"]
        return dict(tables.get(table, {})) if isinstance(tables, dict) else {}

    def tables(self) -> Iterable[Mapping[str, str]]:
        """Key → sha256, table by table."""
        tables = self._facts["digests"] if (self.root / _FACTS).exists() else {}
        return tables.values() if isinstance(tables, dict) else ()

    def path(self, table: str, key: str) -> Path | None:
        """The file of one partition as it was, None where there was none."""
        sha256 = self.digests(table).get(key)
        if sha256 is None:
            return None
        own = self.root / table / f"{key}.parquet"  # generations of earlier versions held their files themselves
        return next((path for path in (_shared(self.root.parent, sha256), own) if path.exists()), None)

    def read(self, table: str, key: str) -> pl.DataFrame | None:
        """One partition as it was, None where there was none."""
        path = self.path(table, key)
        return None if path is None else pl.read_parquet(path)


def code_of_costs() -> str:
    """A digest of every model that feature costs are made with, and of the code's version."""
    return combined_digest([f"{table}:{code_digest(table)}" for table in ancestors()])


def last_generation(settings: Settings) -> Generation | None:
    """The inputs of CURRENT; None before the first publish and where they were not kept (after a long rollback)."""
    try:
        snapshot = current(settings)
    except NotFoundError:
        return None
    root = _folder(settings) / snapshot.manifest.digest
    return Generation(root, snapshot.snapshot_id) if (root / _FACTS).exists() else None


def keep_inputs(settings: Settings, digest: str, code_version: str) -> None:
    """Keep the lake's inputs as the generation of a content digest that is about to be published.

    Work: a hard link per partition that no earlier generation holds. The caller holds the lake's lock.
    """
    lake = Lake(settings.lake)
    target = _folder(settings) / digest
    if (target / _FACTS).exists():
        return
    aside = target.with_name(f".tmp-{uuid.uuid4().hex}")
    aside.mkdir(parents=True)
    held = _shared_files(settings)
    try:
        digests: dict[str, dict[str, str]] = {}
        for table, partitions in lake.tables({*base_tables(), *_ALSO, *_DIGESTS_ONLY}).items():
            digests[table] = {key: partition.sha256 for key, partition in partitions.items()}
            for key, sha256 in digests[table].items():
                if table not in _DIGESTS_ONLY and sha256 not in held:
                    link_or_copy(lake.path(table, key), aside / sha256)
                    (aside / sha256).rename(_shared(aside.parent, sha256))
                    held.add(sha256)
        facts = {"code": code_of_costs(), "code_version": code_version, "digests": digests}
        (aside / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def forget_old_generations(settings: Settings) -> None:
    """Keep the generation of CURRENT and the newest few; the caller holds the lake's lock."""
    folder = _folder(settings)
    try:
        live = current(settings).manifest.digest
    except NotFoundError:
        return
    entries = [entry for entry in folder.iterdir() if entry.name not in (live, _FILES)] if folder.is_dir() else []
    newest = sorted(entries, key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
    for entry in newest:
        is_spare = entry.name.startswith(".tmp-") or entry not in newest[: KEPT_GENERATIONS - 1]
        if is_spare:
            shutil.rmtree(entry, ignore_errors=True)
    _forget_files(settings, [folder / live, *(entry for entry in newest if entry.exists())])


def _forget_files(settings: Settings, generations: list[Path]) -> None:
    """Remove files that no generation names, once they are many: most nights there is nothing to look through."""
    held = _shared_files(settings)
    if len(held) < _MOST_SPARE_FILES + 2 * len(_named_by(generations[0])):
        return
    for sha256 in held.difference(*map(_named_by, generations)):
        _shared(_folder(settings), sha256).unlink(missing_ok=True)


def _named_by(generation: Path) -> set[str]:
    return {sha256 for table in Generation(generation, "").tables() for sha256 in table.values()}


def _shared(folder: Path, sha256: str) -> Path:
    return folder / _FILES / sha256


def _shared_files(settings: Settings) -> set[str]:
    """The files that generations share, by the digest of their bytes."""
    folder = _folder(settings) / _FILES
    folder.mkdir(parents=True, exist_ok=True)
    return {entry.name for entry in folder.iterdir()}


def _folder(settings: Settings) -> Path:
    return settings.lake / ".published"
