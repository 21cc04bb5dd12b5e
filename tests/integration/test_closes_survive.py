"""A close outlives the lake: rebuilt from nothing, the month is as it was signed, and what came later is a correction.

What lives here: the journal of closes in <home>/closed/: deleted lakes, older homes, files that were touched, columns
that joined since. What does not: closing and corrections themselves (test_close_and_restate.py).
The month is that of small_month.py: $42.60 in all.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.contracts.closing import CoreClosedCosts
from pipelines.core.closed_journal import under_contract
from pipelines.errors import ContractError, PublishError
from pipelines.history.closing import close_month, closed_months
from pipelines.lake import Lake, file_sha256
from pipelines.settings import Settings
from tests.integration.nights import home_settings, land, night, published
from tests.integration.small_month import DAYS, MONTH, OPENAI_LINES, openai_costs, whole_month


def on_day(home: Path, day: int) -> Settings:
    return home_settings(home, datetime(2026, 11, day, 12, tzinfo=UTC))


def credited(home: Path) -> None:
    """A credit of $1.50 on one day, told after the close."""
    lines = {**dict.fromkeys(DAYS, OPENAI_LINES), DAYS[2]: (*OPENAI_LINES, (None, "-1.50"))}
    land(home, "openai_costs/credit.json", openai_costs(lines))


@pytest.fixture(scope="module")
def closed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("closed")
    whole_month(home)
    night(home_settings(home))
    close_month(on_day(home, 23), MONTH)
    credited(home)
    night(on_day(home, 24))
    return home


@pytest.fixture
def home(closed_home: Path, tmp_path: Path) -> Path:
    target = tmp_path / "home"
    shutil.copytree(closed_home, target, symlinks=True)
    return target


def told(settings: Settings) -> list[dict[str, Any]]:
    with published(settings) as marts:
        return (
            marts.sql(
                "select month, closed_at, closed_costs_sha256, closed_effective_cost_usd,"
                " correction_effective_cost_usd, recomputed_effective_cost_usd from mart__closed_months"
            )
            .pl()
            .to_dicts()
        )


def test_a_lake_built_from_nothing_knows_the_closes_and_publishes_the_same(home: Path) -> None:
    """Signed 42.60, credit −1.50 posted to October, recomputed 41.10: the same digest without any of the old lake."""
    settings = on_day(home, 24)
    before, digest = told(settings), published_digest(settings)
    assert [row["correction_effective_cost_usd"] for row in before] == [Decimal("-1.50")]
    assert [row["recomputed_effective_cost_usd"] for row in before] == [Decimal("41.10")]
    shutil.rmtree(home / "lake")
    again = night(settings)
    assert not again.is_new
    assert again.manifest.digest == digest
    assert told(settings) == before
    assert closed_months(Lake(settings.lake)) == [MONTH]


def published_digest(settings: Settings) -> str:
    manifest = json.loads((settings.marts / "CURRENT" / "MANIFEST.json").read_text())
    return str(manifest["digest"])


def test_a_home_that_lost_lake_and_marts_still_keeps_what_was_signed(home: Path) -> None:
    before = told(on_day(home, 24))
    shutil.rmtree(home / "lake")
    shutil.rmtree(home / "marts")
    night(on_day(home, 25))
    assert told(on_day(home, 25)) == before


def test_a_lake_from_before_the_journal_hands_its_closes_over(home: Path) -> None:
    settings = on_day(home, 24)
    signed = file_sha256(home / "closed" / f"{MONTH}.parquet")
    shutil.rmtree(home / "closed")
    night(settings)
    assert file_sha256(home / "closed" / f"{MONTH}.parquet") == signed
    assert json.loads((home / "closed" / f"{MONTH}.json").read_text())["closed_costs_sha256"] == signed


def test_signed_rows_that_were_touched_or_are_gone_stop_the_run(home: Path) -> None:
    path = home / "closed" / f"{MONTH}.parquet"
    rows = pl.read_parquet(path)
    rows.with_columns(pl.col("effective_cost_usd") + 1).write_parquet(path)
    with pytest.raises(ContractError, match=f"signed rows of {MONTH} were changed"):
        night(on_day(home, 25))
    path.unlink()
    with pytest.raises(ContractError, match=f"signed rows of {MONTH} are gone"):
        night(on_day(home, 25))


def test_a_close_that_the_live_snapshot_shows_is_never_lost_in_silence(home: Path) -> None:
    shutil.rmtree(home / "lake")
    shutil.rmtree(home / "closed")
    with pytest.raises(PublishError, match=f"shows {MONTH} as closed"):
        night(on_day(home, 25))


def test_rows_without_their_line_are_no_close(home: Path) -> None:
    """A kill between the two writes: the month is open, and closing it again signs it anew."""
    shutil.rmtree(home / "lake")
    shutil.rmtree(home / "marts")
    (home / "closed" / f"{MONTH}.json").unlink()
    settings = on_day(home, 25)
    night(settings)
    assert told(settings) == []
    assert close_month(settings, MONTH).effective_cost_usd == Decimal("41.10")


def test_a_column_that_joined_after_the_close_is_unknown_in_signed_rows_and_no_other_change_passes(home: Path) -> None:
    signed = pl.read_parquet(home / "closed" / f"{MONTH}.parquet")
    older = signed.drop("cost_center")
    assert under_contract(older, CoreClosedCosts, "test")["cost_center"].null_count() == len(signed)
    assert under_contract(signed, CoreClosedCosts, "test").equals(signed)
    with pytest.raises(ContractError, match="effective_was"):
        under_contract(signed.rename({"team": "effective_was"}), CoreClosedCosts, "test")
    with pytest.raises(ContractError, match="total_tokens"):
        under_contract(signed.drop("total_tokens"), CoreClosedCosts, "test")
