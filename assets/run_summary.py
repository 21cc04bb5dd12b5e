"""What a run did, in one record: for machines as JSON, for people as a few lines.

What lives here: putting the reports of the steps together. What does not: running (pipeline_run.py).
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from assets.cli_console import answers, remarks
from assets.listener import Listener
from pipelines.connectors import registry
from pipelines.intake.landing import Ledger, unseen
from pipelines.intake.staging import IntakeReport
from pipelines.lake import Lake
from pipelines.publish.layout import Layout
from pipelines.settings import Settings

_FATES = ("records", "accepted", "quarantined", "duplicate", "superseded", "not_usage")
_SHOWN = 10
_ASK = (
    'tokenmart query "SELECT feature, total_tokens, effective_cost_usd, cost_per_mtok_usd'
    ' FROM mart__feature_cost_monthly"'
)


def nothing_new(settings: Settings) -> dict[str, Any]:
    """The record of a run that had nothing to do: the same fields, nothing in them."""
    intake = IntakeReport()
    if (settings.lake / "index.sqlite").exists():
        _, intake.unknown_sources = unseen(settings, Ledger(Lake(settings.lake)), registry.SOURCES)
    return summary(settings, Listener(intake=intake), None) | {"snapshot_id": Layout.of(settings).current_id()}


def summary(settings: Settings, listener: Listener, run_id: str | None) -> dict[str, Any]:
    """The record of a run, from what its steps reported; `run_id` is None when nothing was run."""
    intake, core, published = listener.intake or IntakeReport(), listener.core, listener.published
    is_new = bool(published and published.is_new)
    return {
        "outcome": "published" if is_new else "nothing_new",
        "snapshot_id": published.snapshot_id if published else None,
        "is_new": is_new,
        "files": {
            "ingested": intake.ingested,
            "duplicates": intake.duplicates,
            "rejected": [{"file": file, "reason": reason} for file, reason in intake.rejected],
            "retracted": intake.retracted,
            "still_being_written": intake.unsettled,
            "known_before": intake.known,
        },
        "unknown_folders": intake.unknown_sources,
        "records": _records(settings, intake),
        "days": {
            "requests": core.usage_days if core else [],
            "bills_and_provider_usage": core.bucket_days if core else [],
            "machines": core.infrastructure_days if core else [],
            "rolled_up": listener.rollup.days if listener.rollup else [],
        },
        "missing_raw": core.missing_raw if core else [],
        "run_id": run_id,
    }


def _records(settings: Settings, intake: IntakeReport) -> dict[str, int]:
    """What became of the records of the files that this run took in."""
    ledger = Lake(settings.lake).read("core__landed_files", "all")
    if ledger is None or not intake.ingested:
        return dict.fromkeys(_FATES, 0)
    name = pl.concat_str("source", pl.lit("/"), "relative_path")
    mine = ledger.filter((pl.col("status") == "ingested") & name.is_in(intake.ingested))
    return {fate: int(mine[fate].sum()) for fate in _FATES}


def tell(record: Mapping[str, Any]) -> None:
    """The record in a few lines: the outcome on stdout, what needs attention on stderr."""
    say, remark = answers(), remarks()
    files = record["files"]
    for entry in files["rejected"][:_SHOWN]:
        remark.print(f"[red]rejected[/red] landing/{entry['file']}", soft_wrap=True)
        remark.print(f"  {entry['reason']}", markup=False, soft_wrap=True)
    for file in files["still_being_written"][:_SHOWN]:
        remark.print(f"[yellow]still being written[/yellow] landing/{file}: left for the next run", soft_wrap=True)
    for folder, count in record["unknown_folders"].items():
        remark.print(
            f"[yellow]no source[/yellow] landing/{folder} ({count} files): not read;"
            f" sources are {', '.join(registry.SOURCES)}",
            soft_wrap=True,
        )
    for file in record["missing_raw"][:_SHOWN]:
        remark.print(
            f"[yellow]gone[/yellow] landed file {file} is no longer in landing/: its rows were kept", soft_wrap=True
        )
    if record["run_id"]:
        _tell_counts(record)
    if record["is_new"]:
        say.print(
            f"published snapshot [bold]{record['snapshot_id']}[/bold]: marts/CURRENT/marts.duckdb", soft_wrap=True
        )
        say.print(f"ask: {_ASK}", markup=False, soft_wrap=True)
    elif record["snapshot_id"]:
        say.print(f"nothing new: readers keep snapshot {record['snapshot_id']}", soft_wrap=True)
    else:
        say.print(
            "nothing new: landing/ holds no file yet. Drop one into landing/<source>/ and run again.", soft_wrap=True
        )
        say.print(f"sources: {', '.join(registry.SOURCES)}", soft_wrap=True)


def _tell_counts(record: Mapping[str, Any]) -> None:
    files, counts, days = record["files"], record["records"], record["days"]
    touched = sorted({*days["requests"], *days["bills_and_provider_usage"], *days["machines"]})
    say = answers()
    say.print(
        f"files: {len(files['ingested'])} ingested, {len(files['duplicates'])} duplicates,"
        f" {len(files['rejected'])} rejected, "
        f"{len(files['still_being_written'])} still being written, {files['known_before']} known before",
        soft_wrap=True,
    )
    if files["ingested"]:
        told = ", ".join(f"{counts[fate]:,} {fate.replace('_', ' ')}" for fate in _FATES)
        say.print(f"rows: {told}", soft_wrap=True)
    if touched:
        say.print(f"days: {len(touched)} written, {touched[0]} to {touched[-1]}", soft_wrap=True)
