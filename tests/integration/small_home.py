"""Small homes for runs of the whole pipeline: a handful of calls whose cost is worked by hand.

What lives here: landing calls, an environment without surprises, reading what was published. What does not: expected
values, which stand in the tests. Days lie in 2025 so that they are in the past on any machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.settings import Settings

RULES = "priority,field,pattern,feature,team,cost_center\n10,feature_tag,support-*,Support assistant,Care,CC-100\n"
LANDED_AT = 1_741_000_000
"""A file's time: long ago, so that no run waits for it to settle."""


def call(
    at: str, prompt: int, completion: int, *, cached: int = 0, request_id: str, feature: str = "support-chat"
) -> str:
    """One line of a response log: a call of gpt-4o-mini."""
    usage = {
        "prompt_tokens": prompt,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return json.dumps(
        {
            "timestamp": at,
            "provider": "openai",
            "model": "gpt-4o-mini",
            "feature": feature,
            "request_id": request_id,
            "usage": usage,
        }
    )


@dataclass(frozen=True)
class SmallHome:
    """A home below a temporary folder."""

    path: Path

    def land(self, name: str, lines: Sequence[str]) -> Path:
        """Write landing/<name>; an empty sequence makes an empty file."""
        path = self.path / "landing" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
        os.utime(path, (LANDED_AT, LANDED_AT))
        return path

    def rules(self, text: str = RULES) -> None:
        """Write reference/features.csv."""
        (self.path / "reference").mkdir(parents=True, exist_ok=True)
        (self.path / "reference" / "features.csv").write_text(text)

    def mart(self, name: str) -> list[dict[str, Any]]:
        """Rows of a published mart, as readers of the canonical files see them."""
        files = sorted((self.path / "marts" / "CURRENT" / name).glob("*.parquet"))
        return pl.concat([pl.read_parquet(file) for file in files]).to_dicts()

    def lake_bytes(self, *tables: str) -> dict[str, bytes]:
        """Relative path → bytes of every partition of these tables."""
        root = self.path / "lake"
        return {
            file.relative_to(root).as_posix(): file.read_bytes()
            for table in tables
            for file in sorted((root / table).glob("*.parquet"))
        }

    @property
    def current(self) -> str | None:
        """The id behind CURRENT."""
        link = self.path / "marts" / "CURRENT"
        return link.readlink().name if link.is_symlink() else None


def use(home: Path, patch: pytest.MonkeyPatch, now: str = "2025-03-10T03:00:00Z") -> SmallHome:
    """Make `home` this process's home at a fixed clock, with a fixed hash key and Dagster's storage inside it."""
    patch.setenv("TOKENMART_HOME", str(home))
    patch.setenv("TOKENMART_NOW", now)
    patch.setenv("TOKENMART_HASH_KEY", "a key of the tests")
    for name in ("DAGSTER_HOME", "TOKENMART_DEPLOYMENT", "TOKENMART_SETTLE_SECONDS"):
        patch.delenv(name, raising=False)
    return SmallHome(home)


def settings() -> Settings:
    """The settings of the home in use."""
    return Settings.load()
