"""Reference tables: CSV files that people maintain, as typed and checked frames.

What lives here: which tables there are, their keys and defaults, the overlay of <home>/reference on data/reference, the
checks across rows. What does not: how one cell's text becomes a value (csv_tables.py), prices (price_book.py).
Format: data/reference/README.md. A row of the home replaces the shipped row of the same key; other rows add up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandera.polars as pa
import polars as pl

from pipelines.contracts import reference as contracts
from pipelines.contracts.fields import breaches, polars_schema
from pipelines.errors import ReferenceTableError
from pipelines.settings import SHIPPED_REFERENCE, Settings
from pipelines.transforms.csv_tables import (
    TextTable,
    glob_regex,
    read_text_table,
    typed_column,
    with_default,
)


@dataclass(frozen=True)
class Table:
    """One reference table. `key` names a row for the overlay; with `is_dated`, valid_from is part of it.

    `defaults` fill absent text; `globs` maps a pattern column to the regex column that is derived from it. A table that
    `is_folder` is every CSV below the folder of its name.
    """

    name: str
    contract: type[pa.DataFrameModel]
    key: tuple[str, ...]
    is_dated: bool = True
    defaults: Mapping[str, str] = field(default_factory=dict)
    globs: Mapping[str, str] = field(default_factory=dict)
    is_folder: bool = False
    home_hides_key: bool = False

    @property
    def asset(self) -> str:
        return f"ref__{self.name}"

    def files(self, root: Path) -> list[Path]:
        """The files of this table below a reference folder, by name; none where there is none."""
        if self.is_folder:
            return sorted((root / self.name).glob("*.csv"))
        path = root / f"{self.name}.csv"
        return [path] if path.is_file() else []

    def columns(self) -> dict[str, pl.DataType]:
        """Columns that a file may have, with their dtypes."""
        derived = set(self.globs.values())
        return {name: dtype for name, dtype in polars_schema(self.contract).items() if name not in derived}


_ANY = contracts.ANY

TABLES: tuple[Table, ...] = (
    Table(
        "sources",
        contracts.RefSources,
        ("source", "provider", "account"),
        is_dated=False,
        defaults={"provider": _ANY, "account": _ANY},
    ),
    Table(
        "features",
        contracts.RefFeatures,
        ("priority", "field", "pattern"),
        globs={"pattern": "pattern_regex"},
    ),
    Table(
        "model_prices",
        contracts.RefModelPrices,
        ("price_id",),
        is_dated=False,
        defaults={"region": _ANY, "service_tier": "standard", "prompt_tokens_gt": "0", "tier_scope": "request"},
        is_folder=True,
    ),
    Table("model_aliases", contracts.RefModelAliases, ("provider", "alias")),
    Table(
        "price_schedules",
        contracts.RefPriceSchedules,
        ("schedule", "start_time", "end_time", "weekdays"),
        defaults={"timezone": "UTC"},
    ),
    Table(
        "component_equivalents",
        contracts.RefComponentEquivalents,
        ("provider", "model_pattern", "component", "priced_as"),
        is_dated=False,
        defaults={"provider": _ANY, "model_pattern": _ANY},
        globs={"model_pattern": "model_regex"},
    ),
    Table(
        "contract_prices",
        contracts.RefContractPrices,
        ("contract_id", "provider", "account", "model_pattern", "service_tier", "component"),
        defaults={"account": _ANY, "model_pattern": _ANY, "service_tier": _ANY, "component": _ANY},
        globs={"model_pattern": "model_regex"},
    ),
    Table(
        "commitments",
        contracts.RefCommitments,
        ("commitment_id",),
        defaults={"account": _ANY, "model_pattern": _ANY},
        globs={"model_pattern": "model_regex"},
    ),
    Table(
        "shared_costs",
        contracts.RefSharedCosts,
        ("priority", "provider", "account", "match"),
        defaults={"provider": _ANY, "account": _ANY, "match": _ANY},
        globs={"match": "match_regex"},
    ),
    Table("fx_rates", contracts.RefFxRates, ("rate_date", "currency"), is_dated=False),
    Table(
        "invoices",
        contracts.RefInvoices,
        ("provider", "account", "period", "invoice_id"),
        is_dated=False,
        defaults={"account": _ANY, "currency": "USD"},
    ),
    Table(
        "deployments",
        contracts.RefDeployments,
        ("deployment",),
        defaults={"provider": "self_hosted"},
        globs={"bill_match": "bill_match_regex"},
    ),
    Table("gpu_rates", contracts.RefGpuRates, ("gpu_type", "purchase_type"), home_hides_key=True),
    Table(
        "overheads",
        contracts.RefOverheads,
        ("deployment", "component", "method"),
        defaults={"deployment": _ANY},
    ),
    Table("energy", contracts.RefEnergy, ("site",), defaults={"site": _ANY}, home_hides_key=True),
    Table(
        "model_equivalents",
        contracts.RefModelEquivalents,
        ("model",),
        is_dated=False,
    ),
    Table("budgets", contracts.RefBudgets, ("budget",)),
    Table("cohorts", contracts.RefCohorts, ("user_group",)),
)
"""Every reference table; data/reference/README.md says what each is for."""

BY_ASSET: Mapping[str, Table] = {table.asset: table for table in TABLES}


def load_reference(settings: Settings) -> dict[str, pl.DataFrame]:
    """All reference tables, keyed by asset name (`ref__features`, …): shipped rows overlaid by the home's.

    Each frame has exactly its contract's columns. Raises ReferenceTableError with file, line and column for a cell, a
    column or an interval that is not usable. Missing files give empty tables.
    """
    return {name: rows.drop("is_home") for name, rows in load_tables(settings).items()}


def load_tables(settings: Settings) -> dict[str, pl.DataFrame]:
    """As load_reference, with the column `is_home` of load_table."""
    return {table.asset: load_table(table, settings) for table in TABLES}


def load_table(table: Table, settings: Settings) -> pl.DataFrame:
    """One table, with the contract's columns and `is_home`: true for rows that the home's own files hold."""
    shipped = _read(table, SHIPPED_REFERENCE, is_home=False)
    home = _read(table, settings.reference, is_home=True)
    key = [*table.key, "valid_from"] if table.is_dated else [*table.key]
    if not home.is_empty():
        hidden = [*table.key] if table.home_hides_key else key
        shipped = shipped.join(home.select(hidden), on=hidden, how="anti", nulls_equal=True)
    merged = pl.concat([shipped, home])
    _check_intervals(table, merged)
    return merged.drop("_where").sort(key, nulls_last=False, maintain_order=True)


def reference_digest(settings: Settings) -> str:
    """sha256 (hex) over names and bytes of all files of all tables, shipped and home. Equal digest, equal tables."""
    digest = hashlib.sha256()
    for label, root in (("shipped", SHIPPED_REFERENCE), ("home", settings.reference)):
        for table in TABLES:
            for path in table.files(root):
                content = path.read_bytes()
                digest.update(f"{label}/{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
                digest.update(content)
    return digest.hexdigest()


def _read(table: Table, root: Path, *, is_home: bool) -> pl.DataFrame:
    columns = table.columns()
    texts = [read_text_table(path, columns, label=_label(path, root, is_home=is_home)) for path in table.files(root)]
    if not any(len(text.places) for text in texts):
        schema = {**polars_schema(table.contract), "is_home": pl.Boolean(), "_where": pl.String()}
        return pl.DataFrame(schema=schema)
    merged = _typed(table, TextTable.of_all(texts), is_home=is_home)
    key = [*table.key, "valid_from"] if table.is_dated else [*table.key]
    twice = merged.filter(merged.select(key).is_duplicated())
    if not twice.is_empty():
        _fail(
            f"two rows of {table.name} have the same key {_words(key)}",
            where=" and ".join(twice.get_column("_where").head(2)),
            expected="one row per key and folder",
            next_move="delete one of them, or give them different dates",
        )
    return merged


def _typed(table: Table, text: TextTable, *, is_home: bool) -> pl.DataFrame:
    series = []
    for name, dtype in table.columns().items():
        cells = with_default(text.columns[name], table.defaults.get(name))
        series.append(typed_column(name, cells, dtype, text.places))
    frame = pl.DataFrame(series)
    for pattern, regex in table.globs.items():
        derived = [None if glob is None else glob_regex(glob) for glob in frame.get_column(pattern)]
        frame = frame.with_columns(pl.Series(regex, derived, dtype=pl.String))
    frame = frame.select(polars_schema(table.contract).keys())
    _check_contract(table, frame, text.places)
    return frame.with_columns(pl.lit(is_home).alias("is_home"), text.places.alias("_where"))


def _check_contract(table: Table, frame: pl.DataFrame, places: pl.Series) -> None:
    broken = breaches(table.contract, frame)
    if broken.is_empty():
        return
    first = broken.sort("row").row(0, named=True)
    row, column = int(first["row"]), str(first["column"])
    value = frame.get_column(column)[row]
    _fail(
        f"{table.name}.{column} is empty"
        if value is None
        else f"{table.name}.{column} = {str(value)!r} is not allowed",
        where=f"{places[row]}, column {column}",
        expected=str(first["rule"]),
        next_move="correct the cell" + (f"; {broken.height - 1} more like it" if broken.height > 1 else ""),
    )


def _check_intervals(table: Table, frame: pl.DataFrame) -> None:
    if not {"valid_from", "valid_to"} <= set(frame.columns):
        return
    empty = frame.filter(pl.col("valid_from") >= pl.col("valid_to"))
    if not empty.is_empty():
        _fail(
            f"a row of {table.name} ends before it starts",
            where=str(empty.get_column("_where")[0]),
            expected="valid_from < valid_to (half-open, UTC)",
            next_move="correct the dates",
        )
    if not table.is_dated:
        return
    key = list(table.key)
    ordered = frame.sort(*key, "valid_from", nulls_last=False)
    following = ordered.with_columns(
        pl.col("valid_from").shift(-1).over(key).alias("_next_from"),
        pl.col("_where").shift(-1).over(key).alias("_next_where"),
    )
    clash = following.filter(
        pl.col("_next_where").is_not_null()
        & (pl.col("_next_from").is_null() | pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("_next_from")))
    )
    if not clash.is_empty():
        first = clash.row(0, named=True)
        _fail(
            f"two rows of {table.name} with the same {_words(key)} are valid at the same time",
            where=f"{first['_where']} and {first['_next_where']}",
            expected="half-open intervals [valid_from, valid_to) that do not overlap",
            next_move="end the earlier row where the later one starts",
        )


def _label(path: Path, root: Path, *, is_home: bool) -> str:
    folder = "<home>/reference" if is_home else "data/reference"
    return f"{folder}/{path.relative_to(root).as_posix()}"


def _words(names: list[str]) -> str:
    return ", ".join(names)


def _fail(what: str, *, where: str, expected: str, next_move: str) -> None:
    raise ReferenceTableError(what, where=where, expected=expected, next_move=next_move)
