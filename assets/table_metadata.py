"""What Dagster shows about a table: its words, its columns, and what one run left in it.

What lives here: descriptions, column schemas, row counts, sums and previews. What does not: the tables themselves.
"""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from inspect import cleandoc
from pathlib import Path

import dagster as dg
import polars as pl

from pipelines.build.derived_tables import PYTHON_TABLES
from pipelines.build.graph import BuildReport, sql_models
from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import polars_schema
from pipelines.lake import Lake, Partition
from pipelines.settings import CODE_VERSION, PROJECT_ROOT

Shown = dict[str, int | str | dg.MarkdownMetadataValue | dg.TableSchema]
"""Metadata by name, as Dagster shows it."""
OWNERS = ["team:finops"]
_FLOORS = {"core": "core", "ref": "reference", "int": "intermediate", "mart": "marts"}
_PREVIEW_ROWS = 8


def table_spec(table: str, deps: Iterable[str], **more: object) -> dg.AssetSpec:
    """The asset of one table: words from its SQL header or contract, columns from its contract.

    `more` goes to AssetSpec as it is (partitions_def, skippable …).
    """
    return dg.AssetSpec(
        table,
        deps=sorted(deps),
        description=_description(table),
        group_name=_FLOORS[table.split("__", maxsplit=1)[0]],
        owners=_owners(table),
        kinds=_kinds(table),
        code_version=CODE_VERSION,
        metadata=_static_metadata(table),
        **more,  # type: ignore[arg-type]
    )


def _description(table: str) -> str:
    if table in sql_models():
        model = sql_models()[table]
        return "\n\n".join(
            [f"{model.title}.", f"{model.grain}.", "\n".join(f"- {rule}" for rule in model.rules)]
        ).strip()
    if table in PYTHON_TABLES:
        return f"{PYTHON_TABLES[table].title}.\n\n{PYTHON_TABLES[table].grain}."
    return cleandoc(contract_of(table).__doc__ or "")


def _owners(table: str) -> list[str]:
    return [f"team:{sql_models()[table].owner}"] if table in sql_models() else OWNERS


def _kinds(table: str) -> set[str]:
    return {"duckdb", "sql", "parquet"} if table in sql_models() else {"polars", "python", "parquet"}


def _static_metadata(table: str) -> Shown:
    found: Shown = {"dagster/column_schema": _column_schema(table)}
    if table in sql_models():
        model = sql_models()[table]
        found["key"] = ", ".join(model.key) or "none"
        found["file"] = model.path.relative_to(PROJECT_ROOT).as_posix()
    return found


def _column_schema(table: str) -> dg.TableSchema:
    contract = contract_of(table)
    types = polars_schema(contract)
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=str(types[name]),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for name, column in contract.to_schema().columns.items()
        ]
    )


def built_metadata(lake: Lake, partitions: Collection[Partition], report: BuildReport) -> Shown:
    """What one refresh of a table left in its partitions: how many were built and kept, rows; for a mart also the sums
    of those built, and first rows."""
    found: Shown = {
        "dagster/row_count": sum(partition.rows for partition in partitions),
        "partitions built": ", ".join(report.built) or "none",
        "partitions unchanged": report.unchanged,
    }
    if report.table.startswith("mart__"):
        files = {partition.key: lake.path(report.table, partition.key) for partition in partitions if partition.rows}
        built = [files[key] for key in report.built if key in files]
        found |= {f"sum of {name} in those built": str(total) for name, total in sums(built).items()}
        found["preview"] = dg.MetadataValue.md(preview(list(files.values())))
    return found


def sums(files: Sequence[Path]) -> dict[str, Decimal | int]:
    """Exact totals of every money and token column; ratios are left out, they do not add up."""
    if not files:
        return {}
    frame = pl.scan_parquet(list(files))
    names = [
        name
        for name in frame.collect_schema().names()
        if name.endswith(("_usd", "_tokens")) and "_per_" not in name and "_on_" not in name
    ]
    totals = frame.select(pl.col(names).sum()).collect()
    return dict(zip(names, totals.row(0), strict=True)) if names else {}


def preview(files: Sequence[Path]) -> str:
    """The first rows of a table as Markdown, newest partition first."""
    rows = (
        pl.concat([pl.read_parquet(path, n_rows=_PREVIEW_ROWS) for path in sorted(files, reverse=True)[:1]])
        if files
        else pl.DataFrame()
    )
    if rows.is_empty():
        return "no rows"
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN", tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True,
        tbl_cols=-1, tbl_rows=_PREVIEW_ROWS, tbl_width_chars=4000, fmt_str_lengths=60,
    ):  # fmt: skip
        return str(rows)
