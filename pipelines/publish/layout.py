"""Where everything of the published marts stands, and what its names mean.

What lives here: paths below `<home>/marts`, snapshot ids, what CURRENT points at. What does not: file contents.

    marts/ .lock  CURRENT -> snapshots/<seq>-<digest12>  published.jsonl
    marts/snapshots/<id>/ marts.duckdb  MANIFEST.json  <mart>/<partition>.parquet
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import NotFoundError, PublishError
from pipelines.settings import Settings

DATABASE = "marts.duckdb"
MANIFEST = "MANIFEST.json"
ALL = "all"
PARTITION = re.compile(rf"(\d{{4}}-(0[1-9]|1[0-2])|{ALL})\Z", re.ASCII)
"""A canonical file holds one UTC month of a dated mart, or `all` of an undated one."""

NO_SNAPSHOT = "run `tokenmart run` on your own files, or `tokenmart demo` for a sample quarter"

_ID = re.compile(r"(\d{6,})-[0-9a-f]{12}\Z", re.ASCII)
_STAGING_PREFIX = ".tmp-"


@dataclass(frozen=True)
class Layout:
    """The folder `<home>/marts`. Nothing here creates anything."""

    root: Path

    @classmethod
    def of(cls, settings: Settings) -> Layout:
        """The layout of a home."""
        return cls(settings.marts)

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def current(self) -> Path:
        return self.root / "CURRENT"

    @property
    def current_aside(self) -> Path:
        return self.root / "CURRENT.tmp"

    @property
    def journal(self) -> Path:
        return self.root / "published.jsonl"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    def snapshot(self, snapshot_id: str) -> Path:
        """The directory of a snapshot, whether it exists or not."""
        return self.snapshots / snapshot_id

    def staging(self, name: str) -> Path:
        """A staging directory: same file system as its final place, swept by the next writer if this one dies."""
        return self.snapshots / f"{_STAGING_PREFIX}{name}"

    def leftovers(self) -> Iterator[Path]:
        """Staging directories of dead writers; only the holder of the lock may touch them."""
        if self.snapshots.is_dir():
            yield from sorted(self.snapshots.glob(f"{_STAGING_PREFIX}*"))

    def snapshot_ids(self) -> list[str]:
        """Ids of the directories that stand, oldest first."""
        if not self.snapshots.is_dir():
            return []
        found = [entry.name for entry in self.snapshots.iterdir() if _ID.match(entry.name)]
        return sorted(found, key=sequence_of)

    def current_id(self) -> str | None:
        """The id that CURRENT points at, read once, or None before the first publish.

        Raises PublishError when CURRENT is not a link to `snapshots/<id>`.
        """
        try:
            target = self.current.readlink().as_posix()
        except FileNotFoundError:
            return None
        except OSError:
            target = ""
        folder, _, name = target.rpartition("/")
        if folder != self.snapshots.name or not _ID.match(name):
            raise PublishError(
                "CURRENT is not a link to a snapshot",
                where="marts/CURRENT",
                expected="a symbolic link to snapshots/<id>",
                next_move="remove marts/CURRENT, then `tokenmart snapshots rollback ID`",
            )
        return name


def snapshot_id(sequence: int, digest: str) -> str:
    """The id of a snapshot: its place in the sequence and the first 12 digits of its content digest."""
    return f"{sequence:06d}-{digest[:12]}"


def sequence_of(name: str) -> int:
    """The sequence number in a snapshot id. Raises NotFoundError for a name that is no id."""
    match = _ID.match(name)
    if not match:
        raise NotFoundError(
            f"{name!r} is not a snapshot id",
            where="marts/snapshots",
            expected="an id such as 000042-0123456789ab",
            next_move="`tokenmart snapshots list` shows them",
        )
    return int(match.group(1))
