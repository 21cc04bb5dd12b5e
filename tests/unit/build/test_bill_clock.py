"""int__bill_clock: a month is judged by the run's day only while that day may change what is said of its bills.

The windows are those of money.md §4 in words: Google restates a day for 60 days, everybody else for 35.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipelines.build.derived_tables import PYTHON_TABLES
from pipelines.contracts.fields import conform
from pipelines.contracts.matched import IntBillClock, IntBillCoverage
from pipelines.settings import Settings


@pytest.mark.parametrize(
    ("providers", "today", "expected"),
    [
        pytest.param([], "2026-11-22", "2026-11-22", id="the month itself"),
        pytest.param([], "2026-12-05", "2026-11-30", id="no bill, nothing to wait for"),
        pytest.param(["openai"], "2026-12-05", "2026-12-05", id="inside the window"),
        pytest.param(["openai"], "2027-01-04", "2027-01-04", id="its last day"),
        pytest.param(["openai", "azure"], "2027-01-05", "2027-01-04", id="after 35 days"),
        pytest.param(["openai", "gcp"], "2027-01-20", "2027-01-20", id="Google restates longer"),
        pytest.param(["google"], "2027-06-01", "2027-01-29", id="after 60 days"),
    ],
)
def test_the_clock_of_a_month(tmp_path: Path, providers: list[str], today: str, expected: str) -> None:
    table = PYTHON_TABLES["int__bill_clock"]
    covered = pl.DataFrame({"provider": providers}, schema={"provider": pl.String}).with_columns(
        pl.lit("*").alias("account"), pl.lit(date(2026, 11, 3)).alias("usage_date")
    )
    clock = pl.DataFrame({"month": ["2026-11"], "today": [date.fromisoformat(today)]})
    seen = table.build(
        Settings(home=tmp_path),
        "2026-11",
        {"ref__clock": clock, "int__bill_coverage": conform(covered, IntBillCoverage)},
    )
    assert conform(seen, IntBillClock).rows() == [("2026-11", date.fromisoformat(expected))]
