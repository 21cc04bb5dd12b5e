"""What several integration tests share because it is dear to make.

What lives here: the demo quarter, built once per process. What does not: anything a test writes to.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.demo_quarter import build_quarter


@pytest.fixture(scope="session")
def coherent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo quarter after both nights, as it is; copy it before you change it."""
    home = tmp_path_factory.mktemp("demo")
    build_quarter(home)
    return home
