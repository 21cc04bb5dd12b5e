"""Reading worked cases of SQL models: YAML files that hold data and the arithmetic behind it, no code.

What lives here: parsing, typed defaults, writing the inputs where DuckDB reads them. What does not: the comparison
(test_models.py), any expected value (the YAML files).

    why: the arithmetic, by hand
    defaults: {int__usage_cost: {provider: openai}}      # optional: columns that all rows of a table share
    inputs:
      int__usage_cost: [{feature: chat, tokens: 10}]     # columns left out get a typed default, or NULL where allowed
    expected: [{feature: chat, total_tokens: 10}]        # rows in the model's order; columns left out are not compared
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty, polars_schema
from pipelines.lake import enforce
from pipelines.settings import Settings
from pipelines.warehouse import create_view, session

DAY = date(2026, 11, 1)
_NAMED_DEFAULTS: Mapping[str, object] = {
    "source": "response_log",
    "landed_file": "0" * 16,
    "sha256": "0" * 64,
    "relative_path": "a.jsonl",
    "record_number": 1,
    "provider": "openai",
    "account": "default",
    "model": "gpt-4o",
    "match_model": "gpt-4o",
    "service_tier": "standard",
    "region": "unspecified",
    "status": "success",
    "component": "input_uncached",
    "match_component": "input_uncached",
    "feature": "chat",
    "price_basis": "book",
    "tier_scope": "request",
    "layer": "curated",
    "valid_from_basis": "documented",
    "unit": "tokens",
    "per_units": 1_000_000,
    "billing_currency": "USD",
    "charge_category": "Usage",
    "charge_kind": "token",
    "cost_status": "final",
    "month": "2026-11",
    "role": "bill",
    "usd_per_unit": Decimal(1),
}
_FOLLOWS: Mapping[str, str] = {"billed_cost_at_invoice_rate_usd": "billed_cost_usd"}
"""A column that a case leaves out and that equals another one wherever nothing is said about currencies."""


@dataclass(frozen=True)
class Case:
    """One worked case: its model or check, its inputs by table, the rows expected."""

    path: Path
    why: str
    inputs: Mapping[str, list[dict[str, Any]]]
    expected: list[dict[str, Any]]

    @property
    def model(self) -> str:
        return self.path.parent.name


class _ExactLoader(yaml.SafeLoader):
    """YAML whose decimals stay decimals."""


def _exact(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal:
    return Decimal(loader.construct_scalar(node).replace("_", ""))


_ExactLoader.add_constructor("tag:yaml.org,2002:float", _exact)


def read_case(path: Path) -> Case:
    """One case; its defaults are spread over its rows. Raises ValueError for a word that cases do not have."""
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=_ExactLoader)
    strange = content.keys() - {"why", "defaults", "inputs", "expected"}
    if strange or not {"why", "inputs", "expected"} <= content.keys():
        raise ValueError(f"{path}: a case has why, inputs, expected and perhaps defaults; found {sorted(content)}")
    shared = content.get("defaults", {})
    inputs = {
        table: [{**shared.get(table, {}), **row} for row in rows or []] for table, rows in content["inputs"].items()
    }
    return Case(path, content["why"], inputs, content["expected"] or [])


def input_frame(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as a frame that keeps the contract of `table`, with what the case leaves out filled in."""
    contract = contract_of(table)
    schema = polars_schema(contract)
    columns = contract.to_schema().columns
    unknown = sorted({name for row in rows for name in row} - schema.keys())
    if unknown:
        raise ValueError(f"{table} has no columns {unknown}")
    if not rows:
        return empty(contract)
    filled = [
        {name: _cell(row, name, dtype, is_nullable=columns[name].nullable) for name, dtype in schema.items()}
        for row in rows
    ]
    frame = pl.DataFrame(filled, schema=schema, orient="row")
    enforce(contract, frame, f"case for {table}")
    return frame


def _cell(row: Mapping[str, Any], name: str, dtype: pl.DataType, *, is_nullable: bool) -> object:
    if name in row:
        return _typed(row[name], dtype)
    if name in _FOLLOWS and _FOLLOWS[name] in row:
        return _typed(row[_FOLLOWS[name]], dtype)
    if is_nullable or name in _NAMED_DEFAULTS:
        return None if is_nullable else _NAMED_DEFAULTS[name]
    if dtype == pl.Date:
        return DAY
    if isinstance(dtype, pl.Datetime):
        day = row.get("usage_date", DAY)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    if dtype == pl.Boolean:
        return False
    if dtype == pl.String:
        return "x"
    return Decimal(0) if isinstance(dtype, pl.Decimal) else 0


def _typed(value: Any, dtype: pl.DataType) -> object:
    if isinstance(dtype, pl.Decimal) and isinstance(value, int):
        return Decimal(value)
    if isinstance(dtype, pl.Datetime) and isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def run_sql(sql: str, tables: tuple[str, ...], case: Case, folder: Path) -> pl.DataFrame:
    """The rows that a model gives on the case's inputs; a table that the case leaves out is empty."""
    strange = sorted(case.inputs.keys() - set(tables))
    if strange:
        raise ValueError(f"{case.path}: the model does not read {strange}")
    with session(Settings(home=folder, threads=1)) as connection:
        for table in tables:
            frame = input_frame(table, case.inputs.get(table, []))
            path = folder / f"{table}.parquet"
            frame.write_parquet(path)
            create_view(connection, table, [path], frame)
        return connection.sql(sql).pl()
