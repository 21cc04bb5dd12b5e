"""Rolling up the days of a lake: several small ones at once give what each gives by itself."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.build import rollup_days
from pipelines.contracts.fields import polars_schema
from pipelines.contracts.usage import CoreUsage
from pipelines.errors import ContractError
from pipelines.lake import Lake
from pipelines.piece_files import write_partition
from pipelines.pieces import narrow
from pipelines.settings import Settings
from tests.unit.transforms.usage_days import MIDNIGHT, usage_row

ROWS = 5_000


def held(home: Path, *largest: int) -> Settings:
    """A home whose lake holds a day of ROWS rows for each of `largest`, the output tokens of its first row."""
    settings = Settings(home=home, threads=1)
    lake = Lake(settings.lake)
    with lake.writing(), lake.replacing() as replacement:
        for number, tokens in enumerate(largest):
            told = usage_row(started_at=MIDNIGHT + timedelta(days=number), output_tokens=1)
            row = pl.DataFrame(
                [{name: told[name] for name in polars_schema(CoreUsage)}], schema=polars_schema(CoreUsage)
            )
            day = pl.concat([row] * ROWS).with_columns(
                pl.int_range(1, ROWS + 1).alias("record_number"),
                pl.when(pl.int_range(ROWS) == 0).then(tokens).otherwise("output_tokens").alias("output_tokens"),
            )
            pieces = [narrow(day)]
            replacement.write(
                "core__usage", str(told["usage_date"]), lambda path, p=pieces: write_partition(p, CoreUsage, path)
            )
    return settings


def output_tokens(settings: Settings) -> list[int]:
    lake = Lake(settings.lake)
    return [lake.read(rollup_days.USAGE, day)["output_tokens"].sum() for day in lake.partitions(rollup_days.USAGE)]


def test_a_day_of_large_counts_does_not_make_the_others_refused(tmp_path):
    """9.5 × 10^14 tokens times 10,000 rows could wrap an integer sum; times the 5,000 rows of their own day, not."""
    settings = held(tmp_path, 1, 95 * 10**13)
    assert rollup_days.roll_up_days(settings).days == ["2026-06-02", "2026-06-03"]
    assert output_tokens(settings) == [ROWS, 95 * 10**13 + ROWS - 1]


def test_counts_that_could_wrap_in_their_own_day_are_refused(tmp_path):
    with pytest.raises(ContractError, match="could overflow"):
        rollup_days.roll_up_days(held(tmp_path, 1, 2 * 10**15))


def test_a_sum_beyond_the_contract_is_refused_with_its_day(tmp_path):
    with pytest.raises(ContractError, match="output_tokens") as caught:
        rollup_days.roll_up_days(held(tmp_path, 1, 10**15))
    assert caught.value.where == "int__usage_rollup/2026-06-03"


def test_a_day_whose_file_is_gone_is_named_and_not_rolled_up_as_empty(tmp_path):
    settings = held(tmp_path, 1, 2)
    Lake(settings.lake).path("core__usage", "2026-06-03").unlink()
    with pytest.raises(ContractError, match="gone from the lake") as caught:
        rollup_days.roll_up_days(settings)
    assert caught.value.where == "lake/core__usage/2026-06-03.parquet"
    assert "--from 2026-06-03" in caught.value.next_move


def test_days_are_the_same_to_the_byte_however_many_are_rolled_up_together(tmp_path, monkeypatch):
    together = held(tmp_path / "together", 1, 2, 3)
    rollup_days.roll_up_days(together)
    alone = held(tmp_path / "alone", 1, 2, 3)
    monkeypatch.setattr(rollup_days, "_DAYS_TOGETHER", 1)
    rollup_days.roll_up_days(alone)
    tables = (rollup_days.USAGE, rollup_days.METERS, rollup_days.CUT)
    mine, theirs = (Lake(one.lake).tables(tables) for one in (together, alone))
    assert len(mine[rollup_days.USAGE]) == 3
    assert mine == theirs
