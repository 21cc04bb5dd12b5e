"""The data dictionary tells a contract as it is checked.

What lives here: a page written by hand from the class above it. What does not: the real tables.
"""

from __future__ import annotations

from typing import Annotated

import pandera.polars as pa
import polars as pl

from pipelines.contracts.dictionary import contracts, data_dictionary, table_name
from pipelines.contracts.usage import CoreUsage


class MartTeaDaily(pa.DataFrameModel):
    """One row per day and tea house: what was poured. Do not sum `guests` over days.

    Second paragraph.
    """

    usage_date: pl.Date
    house: str = pa.Field(str_matches=r"^[a-z]+$")
    kind: str = pa.Field(isin=("green", "black|red"), nullable=True)
    guests: pl.Int64 = pa.Field(ge=0)
    revenue_usd: Annotated[pl.Decimal, 38, 12] = pa.Field(nullable=True, description="before tips")
    opened_at: Annotated[pl.Datetime, "us", "UTC"]
    note: str = pa.Field(str_length={"min_value": 1, "max_value": 64}, nullable=True)


PAGE = r"""# Data dictionary

Written by `make docs` from the contracts in `pipelines/contracts/`; a test compares them. Do not edit.
Money is an exact decimal, times are UTC, unknown is NULL and never 0.

## Marts: what BI reads

- [`mart__tea_daily`](#mart__tea_daily): One row per day and tea house

### `mart__tea_daily`

One row per day and tea house: what was poured. Do not sum `guests` over days.

Second paragraph.

| column | type | NULL | rules |
| --- | --- | --- | --- |
| `usage_date` | date |  |  |
| `house` | text |  | matches `^[a-z]+$` |
| `kind` | text | yes | one of `green`, `black\|red` |
| `guests` | bigint |  | ≥ 0 |
| `revenue_usd` | decimal(38, 12) | yes | before tips |
| `opened_at` | timestamp, UTC |  |  |
| `note` | text | yes | 1 to 64 characters |
"""


def test_a_contract_is_told_with_grain_types_and_rules() -> None:
    assert data_dictionary({"mart__tea_daily": MartTeaDaily}) == PAGE


def test_a_class_is_named_after_its_table() -> None:
    assert table_name("CoreLandedFiles") == "core__landed_files"
    assert table_name("MartSelfHostedVsApi") == "mart__self_hosted_vs_api"


def test_a_group_of_shared_columns_is_no_table() -> None:
    assert table_name("Provenance") is None
    assert table_name("TokenLeaves") is None
    assert "token_leaves" not in " ".join(contracts())


def test_tables_are_found_without_being_listed() -> None:
    found = contracts()
    assert found["core__usage"] is CoreUsage
    floors = [name.split("__")[0] for name in found]
    assert floors == sorted(floors, key=["core", "ref", "int", "mart"].index), "canonical rows first, marts last"
