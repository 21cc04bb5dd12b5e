"""The logs, tables and homes that the suites work on, below one scratch folder.

What lives here: making each log and its expected table once, scratch homes with landed files, copies of a home. What
does not: what a log holds (pipelines/demo/benchmark_log.py), any measuring.
A file's name carries a digest of the code and the data that it was made from, so that none is ever stale.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import polars as pl

from benchmarks.measure import Run, run_fresh
from benchmarks.oracle import expected_table
from benchmarks.prices import benchmark_prices
from pipelines.demo import benchmark_log, json_text, native_usage, random_streams
from pipelines.demo.benchmark_log import BENCHMARK_FILE, BENCHMARK_START, BenchmarkLog, Form, write_benchmark_log
from pipelines.settings import PROJECT_ROOT, SHIPPED_REFERENCE

SEED = 7
FOLDERS: dict[str, str] = {
    "parquet": "usage_table",
    "csv": "usage_table",
    "ndjson": "response_log",
    "gz": "response_log",
}
"""Form → the folder of landing/ that it belongs to."""
_SUFFIXES = {"parquet": ".parquet", "csv": ".csv", "ndjson": ".jsonl", "gz": ".jsonl.gz"}
_GENERATORS = (benchmark_log, json_text, native_usage, random_streams)
NIGHT = {"TOKENMART_NOW": "2026-07-02T02:00:00Z", "TOKENMART_SETTLE_SECONDS": "0"}
"""The environment of a job over a log that starts on the benchmark's first day and has 30 days."""
PROGRAM = (sys.executable, "-m", "benchmarks.programs")


@dataclass(frozen=True)
class Scratch:
    """The scratch folder; everything in it can be made again."""

    root: Path

    def log(self, rows: int, days: int, form: str) -> Path:
        """One log as one file, written when it is not there yet."""
        path = self.root / f"log-{rows}-{days}-{_log_digest()}{_SUFFIXES[form]}"
        if not path.exists():
            print(f"writing {path.name}", flush=True)
            kind: Form = "ndjson" if form == "gz" else form  # type: ignore[assignment]
            with self._aside(path) as aside:
                write_benchmark_log(aside, rows=rows, days=days, form=kind, seed=SEED)
        return path

    def daily_logs(self, rows: int, days: int, start: date = BENCHMARK_START, seed: int = SEED) -> list[Path]:
        """One log as a Parquet file per UTC day."""
        folder = self.root / f"days-{rows}-{days}-{start}-{seed}-{_log_digest()}"
        if not folder.exists():
            print(f"writing {folder.name}", flush=True)
            aside = folder.with_name(f"aside-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            write_benchmark_log(aside, rows=rows, days=days, form="parquet", seed=seed, start=start)
            aside.rename(folder)
        return sorted(folder.iterdir())

    def expected(self, rows: int, days: int) -> pl.DataFrame:
        """The oracle's table of a log."""
        path = self.root / f"expected-{rows}-{days}-{_log_digest()}-{_price_digest()}.parquet"
        if not path.exists():
            print(f"expected table of {rows:,} rows over {days} days", flush=True)
            with self._aside(path) as aside:
                expected_table(BenchmarkLog(rows=rows, days=days, seed=SEED)).write_parquet(aside)
        return pl.read_parquet(path)

    @cached_property
    def prices(self) -> Path:
        """The list prices of the benchmark's models as a small Parquet file."""
        path = self.root / f"prices-{_price_digest()}.parquet"
        with self._aside(path) as aside:
            benchmark_prices().write_parquet(aside)
        return path

    @contextmanager
    def home(self, landed: Sequence[tuple[str, Path]] = ()) -> Iterator[Path]:
        """A new home with files landed by hard links: (path below landing/, file). Gone when the block ends."""
        self.root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="home-", dir=self.root))
        try:
            for name, path in landed:
                land(folder, name, path)
            yield folder
        finally:
            remove(folder)

    @contextmanager
    def copy_of(self, home: Path) -> Iterator[Path]:
        """A copy of a home that may be worked on. Data files are hard links: what replaces them leaves the original."""
        folder = Path(tempfile.mkdtemp(prefix="copy-", dir=self.root))
        try:
            shutil.copytree(home, folder, symlinks=True, copy_function=_link_or_copy, dirs_exist_ok=True)
            yield folder
        finally:
            remove(folder)

    @contextmanager
    def _aside(self, path: Path) -> Iterator[Path]:
        self.root.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"aside-{path.name}")
        yield aside
        aside.rename(path)


def landed_log(form: str, path: Path) -> list[tuple[str, Path]]:
    """One log where its source expects it."""
    return [(f"{FOLDERS[form]}/{path.name}", path)]


def land(home: Path, name: str, path: Path) -> None:
    """Hang a file below landing/."""
    target = home / "landing" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(path, target)


def tokenmart(home: Path, *words: str, environment: dict[str, str] | None = None) -> Run:
    """One command of the product on a home, in a fresh process."""
    command = [sys.executable, "-m", "assets.cli", "--home", str(home), *words]
    return run_fresh(command, NIGHT if environment is None else environment, PROJECT_ROOT)


def program(name: str, *words: object, environment: dict[str, str] | None = None) -> Run:
    """One program of programs.py in a fresh process."""
    return run_fresh([*PROGRAM, name, *map(str, words)], environment or NIGHT, PROJECT_ROOT)


def core_only(job_home: Path, home: Path) -> None:
    """Let `home` hold the core days and the reference tables of a home in which a job ran, and nothing that was built
    from them."""
    kept = ("core__", "ref__")
    for table in sorted((job_home / "lake").iterdir()):
        if table.is_dir() and table.name.startswith(kept):
            shutil.copytree(table, home / "lake" / table.name, copy_function=_link_or_copy)
    index = home / "lake" / "index.sqlite"
    shutil.copy2(job_home / "lake" / "index.sqlite", index)
    with sqlite3.connect(index) as connection:
        connection.execute(
            "DELETE FROM partitions WHERE substr(table_name, 1, 6) <> 'core__' AND substr(table_name, 1, 5) <> 'ref__'"
        )
    connection.close()


def remove(folder: Path) -> None:
    """Remove a scratch home, the read-only files of its snapshots included."""
    shutil.rmtree(folder, ignore_errors=True)


def _link_or_copy(source: str, target: str) -> None:
    if source.endswith((".parquet", ".duckdb", ".jsonl", ".gz", ".csv")):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _log_digest() -> str:
    return _digest([*(Path(str(module.__file__)) for module in _GENERATORS), BENCHMARK_FILE])


def _price_digest() -> str:
    here = Path(__file__).parent
    book = PROJECT_ROOT / "pipelines" / "transforms" / "price_book.py"
    return _digest([here / "oracle.py", here / "prices.py", book, *SHIPPED_REFERENCE.glob("model_prices/*.csv")])


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
