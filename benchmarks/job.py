"""The nightly job on one log, next to its references: whole, by stages, its core alone, its contract alone.

What lives here: which programs of a size are run, in which order, each compared with the oracle before it is timed.
What does not: the programs (programs.py), references with an environment of their own (rivals.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import polars as pl

from benchmarks.figures import Figures
from benchmarks.logs import Scratch, core_only, landed_log, program, tokenmart
from benchmarks.measure import warm
from benchmarks.oracle import same_table
from benchmarks.rivals import pandas_script

STAGES = ("ingest", "merge", "reference", "rollup", "tables", "publish")
VARIANTS = ("plain_by_id", "plain_distinct", "plain_grouped", "plain_late_prices", "plain_asof")
"""Other ways to write the reference query, kept to show that it is not a straw man."""


def measure_job(
    scratch: Scratch, name: str, rows: int, forms: Sequence[str], repeat: int, extras: Sequence[str]
) -> Figures:
    """One size over 30 days. `extras`: `handwritten`, `pandas`, `plain`, `stages`, `variants`."""
    figures = Figures(name, f"{rows:,} requests over 30 days")
    job = _Job(scratch, figures, rows, 30)
    for form in forms:
        job.log(form)
    for number in range(repeat):
        print(f" round {number + 1} of {repeat}", flush=True)
        warm([job.log(form) for form in forms])
        for step in _steps(job, forms, extras, is_first=number == 0):
            step()
    return figures


def measure_one_day(scratch: Scratch, rows: int, repeat: int) -> Figures:
    """All requests on one day: how much memory the largest day takes."""
    figures = Figures("one-day", f"{rows:,} requests on one day")
    job = _Job(scratch, figures, rows, 1)
    for _ in range(repeat):
        warm([job.log("parquet")])
        job.ours("parquet", with_parts=False)
    return figures


def _steps(job: _Job, forms: Sequence[str], extras: Sequence[str], *, is_first: bool) -> list[Callable[[], None]]:
    """In the order in which they are interleaved: each of ours next to its reference."""
    steps: list[Callable[[], None]] = []
    if "parquet" in forms:
        steps.append(job.scan)
    for form in forms:
        if form != "gz":
            steps.append(lambda form=form: job.plain(form))  # type: ignore[misc]
        if form == "ndjson":
            steps.append(job.converted)
        steps.append(lambda form=form: job.ours(form, with_parts=form == "parquet"))  # type: ignore[misc]
    if "plain" in extras:
        steps.append(lambda: job.plain("parquet"))
    if "variants" in extras:
        steps += [lambda query=query: job.plain("parquet", query) for query in VARIANTS]  # type: ignore[misc]
    if "handwritten" in extras:
        steps.append(job.handwritten)
    if "pandas" in extras:
        steps.append(lambda: pandas_script(job.scratch, job.figures, job.rows, job.expected))
    if "stages" in extras and is_first:
        steps.append(job.stages)
    return steps


class _Job:
    """The programs of one log."""

    def __init__(self, scratch: Scratch, figures: Figures, rows: int, days: int) -> None:
        self.scratch, self.figures, self.rows, self.days = scratch, figures, rows, days
        self.expected: pl.DataFrame = scratch.expected(rows, days)
        self.table = scratch.root / "table.parquet"

    def log(self, form: str) -> Path:
        return self.scratch.log(self.rows, self.days, form)

    def scan(self) -> None:
        self.figures.add("scan", program("scan", self.log("parquet")), self.rows)

    def plain(self, form: str, query: str = "plain_sql") -> None:
        run = program("plain_sql", form, self.log(form), self.scratch.prices, self.table, query)
        same_table(self.table, self.expected, f"{query}, {form}")
        label = "plain SQL" if query == "plain_sql" else f"plain SQL as {query.removeprefix('plain_')}"
        self.figures.add(f"{label}, {form}", run, self.rows)

    def converted(self) -> None:
        target = self.scratch.root / "converted.parquet"
        run = program("converted", self.log("ndjson"), target)
        kept = pl.scan_parquet(target).select(pl.len()).collect().item()
        target.unlink()
        if kept != self.rows:
            raise SystemExit(f"{kept:,} lines of {self.rows:,} were converted")
        self.figures.add("conversion to Parquet alone, ndjson", run, self.rows)

    def handwritten(self) -> None:
        run = program("handwritten", self.log("parquet"), self.scratch.prices, self.table)
        same_table(self.table, self.expected, "hand-written Polars")
        self.figures.add("hand-written Polars, parquet", run, self.rows)
        ledger = self.scratch.root / "ledger"
        shutil.rmtree(ledger, ignore_errors=True)
        run = program("handwritten", self.log("parquet"), self.scratch.prices, self.table, ledger)
        shutil.rmtree(ledger)
        self.figures.add("hand-written Polars that keeps the requests, parquet", run, self.rows)

    def ours(self, form: str, *, with_parts: bool) -> None:
        """`tokenmart run`, Dagster included, on a new home; then, on what it built: nothing new, the core, the
        contract."""
        with ExitStack() as closing:
            home = closing.enter_context(self.scratch.home(landed_log(form, self.log(form))))
            run = tokenmart(home, "run", "--json")
            program("mart_table", home, self.table)
            same_table(self.table, self.expected, f"tokenmart run, {form}")
            self.figures.add(f"whole job, {form}", run, self.rows)
            if not with_parts:
                return
            self.figures.add("run with nothing new", tokenmart(home, "run", "--json"))
            beside = closing.enter_context(self.scratch.home())
            core_only(home, beside)
            core = program("mart_core", beside)
            program("mart_table", beside, self.table, "built")
            same_table(self.table, self.expected, "mart core alone")
            self.figures.add("mart core alone", core, self.rows)
            self.figures.add("contract alone", program("validate", home), self.rows)

    def stages(self) -> None:
        """Each step of the night in a process of its own."""
        with self.scratch.home(landed_log("parquet", self.log("parquet"))) as home:
            for name in STAGES:
                self.figures.add(f"stage {name}", program("stage", name, home), self.rows)
