"""What stands behind a restatement: the files, price rows or rules that are new or gone since the last publish.

What lives here: naming them in one line of text. What does not: which cause applies (restatement.py).
Names of files, identifiers of rows and versions only; never a line's own text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from pipelines.build.workbench import ALL
from pipelines.history.published_inputs import Generation
from pipelines.lake import Lake
from pipelines.settings import CODE_VERSION

MOST_NAMED = 5
SELF_HOSTED = "self_hosted"
_BILL_TABLES = ("core__billing", "core__fetched_buckets")
_CALLS = ("core__usage", "core__meters")
_MACHINES = ["prometheus", "opencost"]
_ROWS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "price_corrected": {
        "ref__price_book": ("price_id",),
        "ref__contract_prices": ("contract_id",),
        "ref__price_schedules": ("schedule",),
        "ref__model_aliases": ("provider", "alias"),
        "ref__component_equivalents": ("provider", "component"),
    },
    "rules_changed": {
        "ref__features": ("priority", "field", "pattern"),
        "ref__shared_costs": ("priority", "match"),
        "ref__sources": ("source", "provider", "account"),
        "ref__commitments": ("commitment_id",),
    },
    "fx": {
        "ref__fx_rates": ("rate_date", "currency"),
        "ref__invoices": ("provider", "account", "invoice_id"),
    },
}


def evidence_of(lake: Lake, old: Generation, month: str, cause: str, provider: str) -> str:
    """One line that names what a cause rests on, at most MOST_NAMED things and the number of the others."""
    if cause == "code_changed":
        return f"code {old.code_version} to {CODE_VERSION}, or the SQL of a model"
    if cause in _ROWS:
        return _listed(_changed_rows(lake, old, _ROWS[cause], provider), "reference tables")
    if cause == "late_usage":
        return _listed(_log_files(lake, old, month, provider), "files that were there before")
    tables = ("core__provider_usage",) if cause == "provider_usage_arrived" else _BILL_TABLES
    return _listed(_bucket_files(lake, old, month, tables, provider), "files of the provider")


def _listed(names: Iterable[str], otherwise: str) -> str:
    ordered = sorted(set(names))
    if not ordered:
        return otherwise
    more = f" and {len(ordered) - MOST_NAMED} more" if len(ordered) > MOST_NAMED else ""
    return ", ".join(ordered[:MOST_NAMED]) + more


def _changed_rows(lake: Lake, old: Generation, tables: Mapping[str, tuple[str, ...]], provider: str) -> list[str]:
    names = []
    for table, key in tables.items():
        before, after = old.read(table, ALL), lake.read(table, ALL)
        if before is None or after is None or before.columns != after.columns:
            continue
        shared = [column for column in after.columns if column != "superseded_at"]
        one_way = after.join(before, on=shared, how="anti", nulls_equal=True)
        other_way = before.join(after, on=shared, how="anti", nulls_equal=True)
        changed = pl.concat([one_way, other_way])
        if "provider" in changed.columns:
            changed = changed.filter(pl.col("provider").is_in([provider, "*"]))
        short = table.removeprefix("ref__")
        names += [f"{short}: {' '.join(map(str, row))}" for row in changed.select(key).unique().iter_rows()]
    return names


def _log_files(lake: Lake, old: Generation, month: str, provider: str) -> list[str]:
    """New files with rows of the provider on days that changed; of machines, any new file of theirs."""
    before, after = old.read("core__landed_files", ALL), lake.read("core__landed_files", ALL)
    if before is None or after is None:
        return []
    fresh = after.filter(pl.col("status") == "ingested").join(before, on=["landed_file", "status"], how="anti")
    names: set[str] = set()
    for table in _CALLS:
        for key, partition in lake.partitions(table).items():
            if key[:7] == month and old.digests(table).get(key) != partition.sha256:
                rows = lake.read(table, key, ["provider", "landed_file"])
                names |= set() if rows is None else set(rows.filter(pl.col("provider") == provider)["landed_file"])
    told = fresh.filter(pl.col("landed_file").is_in(sorted(names)))
    if told.is_empty() and provider == SELF_HOSTED:
        told = fresh.filter(pl.col("source").is_in(_MACHINES))
    return [f"{source}/{path}" for source, path in told.select("source", "relative_path").iter_rows()]


def _bucket_files(lake: Lake, old: Generation, month: str, tables: Iterable[str], provider: str) -> list[str]:
    names: set[str] = set()
    ledger = lake.read("core__landed_files", ALL)
    for table in tables:
        for key, partition in lake.partitions(table).items():
            if key[:7] != month or old.digests(table).get(key) == partition.sha256:
                continue
            now, then = lake.read(table, key), old.read(table, key)
            known = set() if then is None else set(then["landed_file"])
            if now is not None:
                mine = now.filter(pl.col("provider") == provider)
                names |= set(mine["landed_file"]) - known
    if ledger is None:
        return sorted(names)
    found = ledger.filter(pl.col("landed_file").is_in(sorted(names)) & (pl.col("status") == "ingested"))
    return [f"{source}/{path}" for source, path in found.select("source", "relative_path").iter_rows()]
