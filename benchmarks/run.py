"""`make bench` and `make bench-large`: run the suites, keep their figures, print one table of promises.

What lives here: which suites there are, at which sizes, in which order. What does not: the suites (job.py, rivals.py,
commands.py, history.py, dashboards.py), the promises (targets.py), the page (report.py).
No program is timed before its table equals the oracle's, integer for integer.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.commands import measure_commands, measure_determinism, measure_profile
from benchmarks.dashboards import measure_dashboards
from benchmarks.figures import RESULTS, Figures, keep, kept
from benchmarks.history import measure_backfill, measure_history
from benchmarks.job import measure_job, measure_one_day
from benchmarks.logs import Scratch
from benchmarks.rivals import measure_per_row, measure_sessions
from benchmarks.targets import print_table

MILLION = 1_000_000
LARGE = ("job-100m", "one-day")


def suites(scratch: Scratch, repeat: int, share: float) -> dict[str, Callable[[], Figures]]:
    """Suite → what measures it. `share` makes every log that much smaller, to try the harness."""

    def rows(number: float) -> int:
        return max(2_000, int(number * share))

    def days(number: int) -> int:
        return max(60, int(number * share))

    every = ("parquet", "ndjson", "gz", "csv")
    return {
        "commands": lambda: measure_commands(scratch, rows(MILLION), repeat),
        "job-1m": lambda: measure_job(scratch, "job-1m", rows(MILLION), every, repeat, ("pandas",)),
        "job-10m": lambda: measure_job(
            scratch, "job-10m", rows(10 * MILLION), every[:3], repeat, ("handwritten", "pandas", "stages")
        ),
        "per-row": lambda: measure_per_row(scratch, rows(MILLION), repeat),
        "claude-code": lambda: measure_sessions(scratch, rows(2 * MILLION), repeat),
        "history": lambda: measure_history(scratch, rows(3.5 * MILLION), days(1_095), repeat),
        "backfill": lambda: measure_backfill(scratch, rows(10 * MILLION), days(365), 1),
        "bi": lambda: measure_dashboards(scratch, 100),
        "determinism": lambda: measure_determinism(scratch, rows(MILLION)),
        "profile": lambda: measure_profile(scratch, rows(10 * MILLION)),
        "variants": lambda: measure_job(scratch, "variants", rows(10 * MILLION), (), repeat, ("plain", "variants")),
        "job-100m": lambda: measure_job(scratch, "job-100m", rows(100 * MILLION), every[:1], repeat, ("handwritten",)),
        "one-day": lambda: measure_one_day(scratch, rows(100 * MILLION), 1),
    }


NOT_BY_DEFAULT = (*LARGE, "variants")


def main() -> None:
    """Measure the chosen suites and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    names = list(suites(Scratch(Path()), 1, 1))
    parser.add_argument("--only", help=f"suites, comma-separated: {', '.join(names)}")
    parser.add_argument("--large", action="store_true", help=f"the large suites: {', '.join(LARGE)}")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each program (default 3)")
    parser.add_argument("--share", type=float, default=1.0, help="make every log this much smaller, to try the harness")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent.parent / "build" / "bench")
    parser.add_argument(
        "--keep", action="store_true", help="keep the figures in benchmarks/results and write the page from them"
    )
    parser.add_argument("--table", action="store_true", help="measure nothing, print the table of what is known")
    given = parser.parse_args()
    work = given.work.resolve()
    scratch = Scratch(work)
    known = work / "results"
    if given.share != 1:
        known = work / f"results-{given.share:g}"
        if given.keep:
            parser.error("--keep wants the real sizes: leave --share out")
    every = suites(scratch, given.repeat, given.share)
    chosen = (
        given.only.split(",") if given.only else LARGE if given.large else [n for n in names if n not in NOT_BY_DEFAULT]
    )
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(names)}")
    for name in () if given.table else chosen:
        started = time.perf_counter()
        print(f"\n{name}", flush=True)
        try:
            figures = every[name]()
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"{name}: {error}\n{error.output}") from error
        keep(figures.record(), known)
        if given.keep:
            keep(figures.record(), RESULTS)
        print(f"  ({name}: {time.perf_counter() - started:.0f} s)", flush=True)
    folders = [known] if given.share != 1 else [RESULTS, known]
    print_table(kept(folders))
    if given.keep:
        from benchmarks.report import write_page

        write_page()


if __name__ == "__main__":
    main()
