"""`make bench`: the nightly job and its references on one log, interleaved, each in fresh processes.

What lives here: which programs are run and compared, and the table that is printed. What does not: the programs
(programs.py, foreign/), the expected numbers (oracle.py), the page and its plot (report.py).
No program is timed before its table equals the oracle's, integer for integer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import polars as pl

from benchmarks.measure import Run, middle, run_fresh, warm
from benchmarks.oracle import TABLE_SCHEMA, expected_table
from benchmarks.prices import benchmark_prices
from pipelines.demo.benchmark_log import SUFFIXES, BenchmarkLog, Form, write_benchmark_log

FOLDERS: dict[str, str] = {
    "parquet": "usage_table",
    "csv": "usage_table",
    "ndjson": "response_log",
    "gz": "response_log",
}
STAGES = ("ingest", "merge", "reference", "rollup", "marts", "publish")
PROGRAM = (sys.executable, "-m", "benchmarks.programs")
PER_ROW = 20_000
FOREIGN = {"pandas_script": ("pandas", "pyarrow"), "litellm_rows": ("litellm", "pyarrow")}


@dataclass
class Bench:
    """One benchmark: its logs, its scratch folder, and what was measured so far."""

    rows: int
    days: int
    work: Path
    runs: dict[str, list[Run]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> BenchmarkLog:
        return BenchmarkLog(rows=self.rows, days=self.days, seed=7)

    def path(self, form: str) -> Path:
        suffix = ".jsonl.gz" if form == "gz" else SUFFIXES[form]
        return self.work / f"requests-{self.rows}-{self.days}{suffix}"

    def add(self, name: str, run: Run) -> None:
        self.runs.setdefault(name, []).append(run)
        print(f"  {name:28s} {run.wall:8.2f} s  {run.cpu:8.2f} cpu s  {run.peak_bytes / 1e9:6.2f} GB", flush=True)


def make_logs(bench: Bench, forms: Sequence[str]) -> None:
    """Write the logs that are not there yet."""
    bench.work.mkdir(parents=True, exist_ok=True)
    for form in forms:
        path = bench.path(form)
        if not path.exists():
            print(f"writing {path.name}", flush=True)
            kind: Form = "ndjson" if form == "gz" else form  # type: ignore[assignment]
            aside = path.with_name(f"aside-{path.name}")
            write_benchmark_log(aside, rows=bench.rows, days=bench.days, form=kind, seed=7)
            aside.rename(path)


def same_table(path: Path, expected: pl.DataFrame, name: str) -> None:
    """Stop unless a program's table is the oracle's."""
    found = pl.read_parquet(path).select(list(TABLE_SCHEMA)).cast(pl.Schema(TABLE_SCHEMA)).sort("usage_date", "feature")
    if not found.equals(expected):
        both = expected.join(found, on=["usage_date", "feature"], how="full", suffix="_found")
        wrong = both.filter(pl.col("cost_pico").ne_missing(pl.col("cost_pico_found")))
        raise SystemExit(f"{name} does not give the expected table:\n{wrong}")


def our_job(bench: Bench, form: str, expected: pl.DataFrame) -> None:
    """`tokenmart run`, Dagster included, on a home with one landed log; then once more with nothing new."""
    with Home(bench, form) as folder:
        command = [sys.executable, "-m", "assets.cli", "--home", str(folder), "run", "--json"]
        clock = {"TOKENMART_NOW": "2026-07-02T02:00:00Z", "TOKENMART_SETTLE_SECONDS": "0"}
        run = run_fresh(command, clock)
        table = folder / "table.parquet"
        run_fresh([*PROGRAM, "mart_table", str(folder), str(table)])
        same_table(table, expected, f"tokenmart run, {form}")
        bench.add(f"whole job, {form}", run)
        if form == "parquet":
            bench.add("run with nothing new", run_fresh(command, clock))


def our_stages(bench: Bench) -> None:
    """Each step of the night in a process of its own, and the contract alone on every row."""
    with Home(bench, "parquet") as folder:
        environment = {"TOKENMART_NOW": "2026-07-02T02:00:00Z", "TOKENMART_SETTLE_SECONDS": "0"}
        for name in STAGES:
            bench.add(f"stage {name}", run_fresh([*PROGRAM, "stage", name, str(folder)], environment))
        bench.add("contract alone", run_fresh([*PROGRAM, "validate", str(folder)], environment))


class Home:
    """A scratch home with one log landed by a hard link."""

    def __init__(self, bench: Bench, form: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="home-", dir=bench.work))
        path = bench.path(form)
        target = self._folder / "landing" / FOLDERS[form] / path.name
        target.parent.mkdir(parents=True)
        os.link(path, target)

    def __enter__(self) -> Path:
        return self._folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def plain_sql(bench: Bench, form: str, expected: pl.DataFrame, prices: Path) -> None:
    """The reference query on a log of one form."""
    table = bench.work / "plain.parquet"
    run = run_fresh(
        [*PROGRAM, "plain_sql", "ndjson" if form == "gz" else form, str(bench.path(form)), str(prices), str(table)]
    )
    same_table(table, expected, f"plain SQL, {form}")
    bench.add(f"plain SQL, {form}", run)


def foreign(bench: Bench, name: str, arguments: Sequence[str], label: str) -> bool:
    """A program of foreign/ in an environment made on demand; False, with the reason noted, where it cannot be made."""
    folder = bench.work / f"venv-{name}"
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
            subprocess.run(
                [str(python), "-m", "pip", "install", "--quiet", *FOREIGN[name]], check=True, capture_output=True
            )
        script = Path(__file__).parent / "foreign" / f"{name}.py"
        bench.add(label, run_fresh([str(python), str(script), *arguments]))
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder, ignore_errors=True)
        bench.skipped[label] = str(error.output or error)[-200:]
        return False
    return True


def main() -> None:
    """Measure and print; `--json FILE` keeps the figures for report.py."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--forms", default="parquet,ndjson,gz,csv", help="which logs: parquet, ndjson, gz, csv")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent.parent / "build" / "bench")
    parser.add_argument("--foreign", action="store_true", help="also pandas and litellm, in environments made for them")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    forms = [form for form in FOLDERS if form in given.forms.split(",")]
    bench = Bench(given.requests, given.days, given.work.resolve())
    make_logs(bench, forms)
    prices = bench.work / "prices.parquet"
    benchmark_prices().write_parquet(prices)
    expected = expected_table(bench.log)
    programs = _programs(bench, forms, expected, prices, with_foreign=given.foreign)
    for number in range(given.repeat):
        print(f"round {number + 1} of {given.repeat}", flush=True)
        warm([bench.path(form) for form in forms])
        for program in programs:
            try:
                program()
            except subprocess.CalledProcessError as error:
                raise SystemExit(f"{error}\n{error.output}") from error
    figures = {
        "rows": bench.rows,
        "days": bench.days,
        "measured": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} × {_processor()}, {_memory_gb():.0f} GB",
        "versions": {name: version(name) for name in ("polars", "duckdb", "pandera", "pyarrow", "dagster")},
        "python": platform.python_version(),
        "medians": {name: asdict(middle(runs)) for name, runs in bench.runs.items()},
        "skipped": bench.skipped,
    }
    print_table(figures)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _programs(
    bench: Bench, forms: Sequence[str], expected: pl.DataFrame, prices: Path, *, with_foreign: bool
) -> list[Callable[[], object]]:
    """In the order in which they are interleaved: each of ours next to its reference."""
    parquet = str(bench.path("parquet"))
    programs: list[Callable[[], object]] = []
    if "parquet" in forms:
        programs.append(lambda: bench.add("scan", run_fresh([*PROGRAM, "scan", parquet])))
    for form in forms:
        if form != "gz":
            programs.append(lambda form=form: plain_sql(bench, form, expected, prices))  # type: ignore[misc]
        programs.append(lambda form=form: our_job(bench, form, expected))  # type: ignore[misc]
    if "parquet" in forms:
        programs.append(lambda: our_stages(bench))
        per_row = [*PROGRAM, "genai_prices", parquet, str(PER_ROW)]
        programs.append(lambda: bench.add("per row, genai-prices", run_fresh(per_row)))
    if with_foreign and "parquet" in forms:
        table = str(bench.work / "pandas.parquet")
        programs.append(lambda: foreign(bench, "pandas_script", [parquet, str(prices), table], "pandas script"))
        programs.append(lambda: foreign(bench, "litellm_rows", [parquet, str(PER_ROW)], "per row, litellm"))
    return programs


RATIOS = (
    ("whole job, parquet", "plain SQL, parquet", 1.0),
    ("whole job, ndjson", "plain SQL, ndjson", 0.7),
    ("whole job, gz", "whole job, ndjson", 2.0),
    ("whole job, csv", "plain SQL, csv", None),
    ("whole job, parquet", "pandas script", 0.25),
    ("contract alone", "whole job, parquet", 0.2),
)
"""(ours, reference, at most): processor seconds of all processes, which a busy machine disturbs less than the clock."""


def print_table(figures: dict[str, object]) -> None:
    """Medians, rows a second, peak memory, and the ratios that are promised."""
    medians = figures["medians"]
    rows = figures["rows"]
    assert isinstance(medians, dict)
    assert isinstance(rows, int)
    print(f"\n{rows:,} requests over {figures['days']} days on {figures['machine']}\n")
    print(f"{'program':28s} {'wall s':>9s} {'cpu s':>9s} {'rows/s':>12s} {'peak GB':>8s}")
    for name, run in medians.items():
        told = PER_ROW if name.startswith("per row") else rows
        speed, peak = told / run["wall"], run["peak_bytes"] / 1e9
        print(f"{name:28s} {run['wall']:9.2f} {run['cpu']:9.2f} {speed:12,.0f} {peak:8.2f}")
    print()
    for ours, reference, most in RATIOS:
        if ours in medians and reference in medians:
            wall = medians[ours]["wall"] / medians[reference]["wall"]
            cpu = medians[ours]["cpu"] / medians[reference]["cpu"]
            target = "" if most is None else f"  (at most {most})"
            print(f"{ours} ÷ {reference}: {wall:.2f} by the clock, {cpu:.2f} of processor time{target}")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


if __name__ == "__main__":
    main()
