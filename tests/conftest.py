"""Fixtures that all tests share. What lives here: where the real data is, fresh homes. What does not: expected
values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples at every run, whatever the machine's speed: a red test can be run again.
settings.register_profile("tokenmart", derandomize=True, deadline=None, database=None)
settings.load_profile("tokenmart")

_SHARED = Path(os.environ.get("TOKENMART_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def _present(folder: str) -> Path:
    path = _SHARED / folder
    if not path.is_dir():
        pytest.skip(f"real data folder {folder!r} is absent (set TOKENMART_SHARED to the folder that holds it)")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real traces, exports and price feeds; the test is skipped where it is absent."""
    return _present("data")


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder of published and hand-worked expected results; the test is skipped where it is absent."""
    return _present("cases")
