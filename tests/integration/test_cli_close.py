"""`tokenmart close` on a published home: refused with its reasons for machines, then closed.

What lives here: words and exit codes. What does not: what closing does to the numbers (test_close_and_restate.py).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from assets.cli import app
from tests.integration.nights import built, home_settings, land
from tests.integration.small_month import DAYS, MONTH, OPENAI_LINES, openai_costs, whole_month


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TOKENMART_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("TOKENMART_NOW", "2026-11-22T12:00:00Z")
    monkeypatch.setenv("TOKENMART_SETTLE_SECONDS", "0")
    yield tmp_path / "home"
    shutil.rmtree(tmp_path / "home", ignore_errors=True)


def said(*words: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout, parse_float=Decimal)


def test_a_month_is_refused_with_reasons_and_closed_once_they_are_gone(home: Path) -> None:
    """Without the last day of the bill the month stays open; with it $42.60 are frozen."""
    whole_month(home)
    land(home, "openai_costs/costs.json", openai_costs(dict.fromkeys(DAYS[:5], OPENAI_LINES)))
    built(home_settings(home))
    code, refusal = said("close", MONTH, "--json")
    assert (code, refusal["outcome"]) == (12, "refused")
    assert refusal["reasons"] == ["openai, account p1: no complete bill for 2026-09-06: fetch or land them"]
    land(home, "openai_costs/costs.json", openai_costs(dict.fromkeys(DAYS, OPENAI_LINES)))
    built(home_settings(home))
    code, closed = said("close", MONTH, "--json")
    assert (code, closed["outcome"], closed["month"]) == (0, "closed", MONTH)
    assert closed["effective_cost_usd"] == Decimal("42.60")
    assert closed["snapshot_id"] is not None
