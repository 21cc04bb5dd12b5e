"""Why published numbers have changed: per month, feature and provider, one row per cause.

What lives here: finding the months that changed, the order of causes, computing the share of each. What does not: the
inputs of the last publish (published_inputs.py), telling what stands behind a cause (restatement_evidence.py).

Only days that had been published count: a new day is growth, no restatement. Where one class of input changed, the
whole change is its; where several did, the month is computed once per class, on the old inputs with the classes so far
exchanged for the new ones (lake_beside.py), in the order of RESTATEMENT_CAUSES. Old code is not kept, so where the code
changed as well, its share is what today's code makes of the old inputs, and it comes first instead of last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import polars as pl

from pipelines.build.workbench import ALL
from pipelines.contracts.closing import RESTATEMENT_CAUSES, MartRestatements
from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import conform, empty
from pipelines.core.closed_journal import CLOSED_MONTHS
from pipelines.history.lake_beside import GOAL, base_tables, evaluate, lake_beside, place
from pipelines.history.published_inputs import Generation, code_of_costs, last_generation
from pipelines.history.restatement_evidence import evidence_of
from pipelines.lake import Lake
from pipelines.settings import Settings

JOURNAL = "mart__restatements"
USAGE = ("int__usage_rollup", "int__meter_rollup")
BILLS = ("core__billing", "core__fetched_buckets")
PRICES = (
    "ref__price_book",
    "ref__price_schedules",
    "ref__contract_prices",
    "ref__component_equivalents",
    "ref__model_aliases",
)
RATES = ("ref__fx_rates", "ref__invoices")
_KEY = ["feature", "provider"]
_BUCKET = ["source", "provider", "account", "usage_date"]
_PROVENANCE = ["landed_file", "record_number"]


@dataclass(frozen=True)
class Change:
    """One month whose published days cost something else now; `causes` in the order of application, never empty."""

    month: str
    days: frozenset[date]
    before: pl.DataFrame
    after: pl.DataFrame
    causes: tuple[str, ...]


def since_last_publish(settings: Settings) -> pl.DataFrame:
    """Rows of mart__restatements that publishing the lake as it stands would add; none when nothing was published.

    The caller holds the lake's lock. Nothing of the lake is changed.
    """
    lake = Lake(settings.lake)
    old = last_generation(settings)
    if old is None:
        return empty(MartRestatements)
    rows = [_rows_of(settings, lake, old, change) for change in _changes(lake, old)]
    return pl.concat([empty(MartRestatements), *rows])


def _changes(lake: Lake, old: Generation) -> list[Change]:
    then, now = old.digests(GOAL), {key: part.sha256 for key, part in lake.partitions(GOAL).items()}
    found = []
    for month in sorted(then):
        if now.get(month) == then[month]:
            continue
        before = old.read(GOAL, month)
        after = lake.read(GOAL, month)
        if before is None:
            continue
        days = frozenset(before["usage_date"].unique())
        first, last = _sums(before, days), _sums(empty(contract_of(GOAL)) if after is None else after, days)
        if not _difference(first, last).is_empty():
            found.append(Change(month, days, first, last, _causes(lake, old, month, days)))
    return found


def _sums(costs: pl.DataFrame, days: frozenset[date]) -> pl.DataFrame:
    """Effective cost per feature and provider over the given days; NULL where nothing is known."""
    known = pl.col("effective_cost_usd")
    total = pl.when(known.count() > 0).then(known.sum()).alias("usd")
    return costs.filter(pl.col("usage_date").is_in(sorted(days))).group_by(_KEY).agg(total).sort(_KEY)


def _difference(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    joined = before.rename({"usd": "before_usd"}).join(
        after.rename({"usd": "after_usd"}), on=_KEY, how="full", coalesce=True, nulls_equal=True
    )
    delta = pl.col("after_usd").fill_null(0) - pl.col("before_usd").fill_null(0)
    changed = joined.with_columns(delta.cast(pl.Decimal(38, 12)).alias("delta_usd"))
    return changed.filter(pl.col("delta_usd") != 0).sort(_KEY)


def _causes(lake: Lake, old: Generation, month: str, days: frozenset[date]) -> tuple[str, ...]:
    wanted = {str(day) for day in days}
    found = _classes_changed(lake, old, lambda key: key in wanted)
    if not found:
        found = _classes_changed(lake, old, lambda key: key[:7] == month)
    return tuple(cause for cause in RESTATEMENT_CAUSES if cause in found) or ("code_changed",)


def _classes_changed(lake: Lake, old: Generation, counts: Callable[[str], bool]) -> set[str]:
    def changed(tables: Sequence[str]) -> bool:
        return any(_changed_keys(lake, old, table, counts) for table in tables)

    found: set[str] = set()
    prices, rules = changed(PRICES), changed(_rule_tables())
    if changed(_machine_tables()):
        found.add("late_usage")
    if changed(USAGE):
        if changed(("core__usage", "core__meters")):
            found.add("late_usage")
        else:
            found.add("rules_changed" if rules and not prices else "price_corrected")
    if any(
        _other_content(lake, old, "core__provider_usage", key)
        for key in _changed_keys(lake, old, "core__provider_usage", counts)
    ):
        found.add("provider_usage_arrived")
    arrived, restated = _bill_changes(lake, old, counts)
    found |= ({"bill_arrived"} if arrived else set()) | ({"bill_restated"} if restated else set())
    for is_changed, cause in (
        (prices, "price_corrected"),
        (rules, "rules_changed"),
        (changed(RATES), "fx"),
        (old.code != code_of_costs(), "code_changed"),
    ):
        if is_changed:
            found.add(cause)
    return found


def _machine_tables() -> list[str]:
    """Core rows of machines: what they did is usage too, and may be told late."""
    others = {*BILLS, "core__provider_usage"}
    return [table for table in base_tables() if table.startswith("core__") and table not in others]


def _rule_tables() -> list[str]:
    others = {*PRICES, *RATES}
    return [table for table in base_tables() if table.startswith("ref__") and table not in others]


def _changed_keys(lake: Lake, old: Generation, table: str, counts: Callable[[str], bool]) -> list[str]:
    then, now = old.digests(table), {key: part.sha256 for key, part in lake.partitions(table).items()}
    return [key for key in sorted({*then, *now}) if (key == ALL or counts(key)) and then.get(key) != now.get(key)]


def _other_content(lake: Lake, old: Generation, table: str, key: str) -> bool:
    """Whether a partition tells something else now; the same rows from a newer file do not."""
    return not _content(_with_day(old.read(table, key), table)).equals(
        _content(_with_day(lake.read(table, key), table))
    )


def _content(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.drop(_PROVENANCE, strict=False).sort(pl.all())


def _bill_changes(lake: Lake, old: Generation, counts: Callable[[str], bool]) -> tuple[bool, bool]:
    """Whether buckets arrived that were not there, and whether buckets that were there changed."""
    arrived = restated = False
    for table in BILLS:
        for key in _changed_keys(lake, old, table, counts):
            before, after = _with_day(old.read(table, key), table), _with_day(lake.read(table, key), table)
            fresh = _arrived(after, old, key)
            arrived |= len(fresh) > 0
            restated |= not _content(after.join(fresh, on=after.columns, how="anti", nulls_equal=True)).equals(
                _content(before)
            )
    return arrived, restated


def _arrived(rows: pl.DataFrame, old: Generation, day: str) -> pl.DataFrame:
    """Rows of buckets that the last publish did not know; an export that names no accounts speaks for all of them."""
    known = pl.concat([_with_day(old.read(table, day), table).select(_BUCKET) for table in BILLS]).unique()
    same_day = [name for name in _BUCKET if name != "account"]
    whole = known.filter(pl.col("account") == "*").select(same_day).unique()
    fresh = rows.join(known, on=_BUCKET, how="anti").join(whole, on=same_day, how="anti")
    is_whole = pl.col("account") == "*"
    return pl.concat([fresh.filter(~is_whole), fresh.filter(is_whole).join(known, on=same_day, how="anti")])


def _with_day(frame: pl.DataFrame | None, table: str) -> pl.DataFrame:
    rows = empty(contract_of(table)) if frame is None else frame
    return (
        rows
        if "usage_date" in rows.columns
        else rows.with_columns(pl.col("bucket_start").dt.date().alias("usage_date"))
    )


def _rows_of(settings: Settings, lake: Lake, old: Generation, change: Change) -> pl.DataFrame:
    steps = _steps(settings, lake, old, change)
    closed = change.month in lake.partitions(CLOSED_MONTHS)
    rows = []
    before = change.before
    for cause, after in steps:
        changed = _difference(before, after)
        told = {
            provider: evidence_of(lake, old, change.month, cause, provider) for provider in set(changed["provider"])
        }
        rows.append(
            changed.with_columns(
                pl.lit(settings.now()).alias("restated_at"),
                pl.lit(old.snapshot_id).alias("before_snapshot"),
                pl.lit(change.month).alias("month"),
                pl.lit(cause).alias("cause"),
                pl.lit(closed).alias("is_closed_month"),
                pl.col("provider").replace_strict(told, return_dtype=pl.String, default="").alias("evidence"),
            )
        )
        before = after
    return pl.concat([conform(frame, MartRestatements) for frame in rows])


def _steps(settings: Settings, lake: Lake, old: Generation, change: Change) -> list[tuple[str, pl.DataFrame]]:
    """Cause → feature costs after it, in order; the last step ends at what the lake holds."""
    if len(change.causes) == 1:
        return [(change.causes[0], change.after)]
    inputs = [cause for cause in change.causes if cause != "code_changed"]
    steps: list[tuple[str, pl.DataFrame]] = []
    with lake_beside(settings) as beside:
        there = Lake(beside.lake)
        for table in base_tables():
            _exchange(there, table, change.month, partial(old.path, table), old.digests(table))
        if "code_changed" in change.causes:
            steps.append(("code_changed", _sums(evaluate(beside, [change.month]), change.days)))
        for cause in inputs[:-1]:
            _apply(cause, lake, there, old, change)
            steps.append((cause, _sums(evaluate(beside, [change.month]), change.days)))
    return [*steps, (inputs[-1], change.after)]


def _exchange(
    there: Lake, table: str, month: str, path_of: Callable[[str], Path | None], wanted: Mapping[str, str]
) -> None:
    """Let the month's partitions of a base table be those at `path_of`; partitions not in `wanted` go."""
    keys = {key for key in {*there.partitions(table), *wanted} if key == ALL or key[:7] == month}
    for key in sorted(keys):
        source = path_of(key) if key in wanted else None
        place(there, table, key, source)


def _apply(cause: str, lake: Lake, there: Lake, old: Generation, change: Change) -> None:
    """Exchange one class of inputs for what the lake holds now."""
    recut = "price_corrected" if "price_corrected" in change.causes else "rules_changed"
    tables: dict[str, tuple[str, ...]] = {
        "late_usage": (*USAGE, *_machine_tables()),
        "provider_usage_arrived": ("core__provider_usage",),
        "bill_arrived": (),
        "bill_restated": BILLS,
        "price_corrected": PRICES,
        "rules_changed": tuple(_rule_tables()),
        "fx": RATES,
    }
    chosen = tables[cause] + (USAGE if cause == recut and "late_usage" not in change.causes else ())
    for table in chosen:
        now = {key: partition.sha256 for key, partition in lake.partitions(table).items()}
        _exchange(there, table, change.month, partial(lake.path, table), now)
    if cause == "bill_arrived":
        _add_arrived_bills(lake, there, old, change.month)


def _add_arrived_bills(lake: Lake, there: Lake, old: Generation, month: str) -> None:
    for table in BILLS:
        for key in (key for key in lake.partitions(table) if key[:7] == month):
            columns = list(empty(contract_of(table)).columns)
            arrived = _arrived(_with_day(lake.read(table, key), table), old, key)
            before = _with_day(old.read(table, key), table)
            there.write(table, key, pl.concat([before, arrived]).select(columns), None)
