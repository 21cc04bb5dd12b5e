"""The only reader of the environment.

What lives here: where the home is, what time it is, the hash key, resource limits. What does not: any file format.
Everything the user owns hangs below one folder, the home (`TOKENMART_HOME` or `--home`, default `data/home`).
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

from pipelines.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
SHIPPED_REFERENCE = PROJECT_ROOT / "data" / "reference"
SQL_ROOT = PROJECT_ROOT / "sql"
CODE_VERSION = "2026.11.4"
"""Raised by hand whenever the same input would give other numbers; part of every snapshot's manifest."""


@dataclass(frozen=True)
class Settings:
    """One home and one clock. Build it with `Settings.load()`; tests pass `home` and `fixed_now`."""

    home: Path
    fixed_now: datetime | None = None
    threads: int = 2
    memory_limit: str = "4GB"
    settle_seconds: float = 10.0
    settle_wait_seconds: float = 2.0
    is_deployed: bool = False
    """True where schedules and sensors start by themselves (TOKENMART_DEPLOYMENT=production)."""

    @classmethod
    def load(cls, home: str | os.PathLike[str] | None = None) -> Settings:
        """Settings from the environment: TOKENMART_HOME, _NOW, _THREADS, _MEMORY, _SETTLE_SECONDS, _DEPLOYMENT.

        Raises SettingsError for a clock that is no UTC instant, or when Pandera's validation is switched off.
        """
        if os.environ.get("PANDERA_VALIDATION_ENABLED", "True").strip().lower() in {"false", "0"}:
            raise SettingsError(
                "PANDERA_VALIDATION_ENABLED=False switches every contract off",
                where="environment",
                expected="the variable unset, or True",
                next_move="unset PANDERA_VALIDATION_ENABLED",
            )
        chosen = home or os.environ.get("TOKENMART_HOME") or PROJECT_ROOT / "data" / "home"
        threads = _whole("TOKENMART_THREADS", default=max(1, os.cpu_count() or 1))
        return cls(
            home=Path(chosen).expanduser().resolve(),
            fixed_now=_instant("TOKENMART_NOW"),
            threads=threads,
            memory_limit=os.environ.get("TOKENMART_MEMORY", "4GB"),
            settle_seconds=float(_whole("TOKENMART_SETTLE_SECONDS", default=10, least=0)),
            is_deployed=os.environ.get("TOKENMART_DEPLOYMENT", "dev").strip().lower() == "production",
        )

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    @property
    def reference(self) -> Path:
        return self.home / "reference"

    @property
    def lake(self) -> Path:
        return self.home / "lake"

    @property
    def marts(self) -> Path:
        return self.home / "marts"

    @property
    def closed(self) -> Path:
        return self.home / "closed"

    @property
    def dagster_home(self) -> Path:
        return Path(os.environ.get("DAGSTER_HOME") or self.home / "dagster")

    def now(self) -> datetime:
        """The recorded clock: TOKENMART_NOW when set, else the current UTC time, to the second."""
        return self.fixed_now or datetime.now(UTC).replace(microsecond=0)

    def today(self) -> date:
        """The current UTC day."""
        return self.now().date()

    @cached_property
    def hash_key(self) -> bytes:
        """Key for user-id hashes: TOKENMART_HASH_KEY, else a generated 0600 file in the home (made once)."""
        given = os.environ.get("TOKENMART_HASH_KEY")
        if given:
            return given.encode()
        path = self.home / ".hash_key"
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                pass
            else:
                with os.fdopen(descriptor, "w") as handle:
                    handle.write(secrets.token_hex(32))
        return path.read_text().strip().encode()


def _whole(name: str, *, default: int, least: int = 1) -> int:
    text = os.environ.get(name)
    if text is None:
        return default
    if not text.isdigit() or int(text) < least:
        raise SettingsError(
            f"{name}={text!r} is not usable",
            where="environment",
            expected=f"a whole number from {least}",
            next_move=f"correct or unset {name}",
        )
    return int(text)


def _instant(name: str) -> datetime | None:
    text = os.environ.get(name)
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise SettingsError(
            f"{name}={text!r} is not an instant",
            where="environment",
            expected="ISO 8601 with a zone, such as 2026-11-01T02:00:00Z",
            next_move=f"correct or unset {name}",
        )
    return instant.astimezone(UTC)
