"""The small home, built once for all tests that only look at it."""

from __future__ import annotations

import pytest

from pipelines.settings import Settings
from tests.unit.inspection.small_home import build_all, land, settings_of, take_in


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A built and published home. Look, do not write: tests share it."""
    settings = settings_of(tmp_path_factory.mktemp("small") / "home")
    land(settings)
    take_in(settings)
    build_all(settings)
    return settings
