"""How long a person waits at the command line, and whether thread and chunk sizes leave a trace in the marts.

What lives here: query, --help and run with nothing new in absolute seconds; the digests of one job run in two ways; the
profile of a job. What does not: the job's speed (job.py).
"""

from __future__ import annotations

import subprocess

from benchmarks.figures import Figures
from benchmarks.logs import NIGHT, Scratch, landed_log, program, tokenmart

QUESTION = (
    "SELECT feature, sum(effective_cost_usd) AS cost_usd FROM mart__feature_cost_monthly GROUP BY feature ORDER BY 2"
)


def measure_commands(scratch: Scratch, rows: int, repeat: int) -> Figures:
    """Absolute seconds on a home with one published job; medians of several."""
    figures = Figures("commands", f"the command line on a home of {rows:,} requests")
    with scratch.home(landed_log("parquet", scratch.log(rows, 30, "parquet"))) as home:
        tokenmart(home, "run", "--json")
        for _ in range(max(5, repeat)):
            figures.add("--help", tokenmart(home, "--help"))
            figures.add("query", tokenmart(home, "query", QUESTION))
            figures.add("run with nothing new", tokenmart(home, "run"))
    return figures


def measure_determinism(scratch: Scratch, rows: int) -> Figures:
    """The digests of all marts, of a job as it is and of the same job on one thread and in small chunks."""
    figures = Figures("determinism", f"one thread and small chunks, {rows:,} requests in each of three forms")
    found = []
    for label in ("as it is", "one thread, small chunks"):
        landed = [pair for form in ("parquet", "csv", "gz") for pair in landed_log(form, scratch.log(rows, 30, form))]
        with scratch.home(landed) as home:
            (home / ".hash_key").write_text("benchmark", encoding="utf-8")
            if label == "as it is":
                run = tokenmart(home, "run", "--json")
            else:
                run = program("small_chunks", home, environment={**NIGHT, "TOKENMART_THREADS": "1"})
            figures.add(f"whole job, {label}", run, rows)
            found.append(program("digests", home).told)
    different = sorted(mart for mart in found[0] if found[0][mart] != found[1].get(mart))
    figures.state("digests", found[0])
    figures.state("marts compared", len(found[0]))
    figures.state("marts that differ", different)
    if different:
        raise SystemExit(f"one thread and small chunks give other bytes in {', '.join(different)}")
    return figures


def measure_profile(scratch: Scratch, rows: int) -> Figures:
    """Where the time of a job goes, by a sampler inside its process."""
    figures = Figures("profile", f"profile of the job, {rows:,} requests as Parquet")
    with scratch.home(landed_log("parquet", scratch.log(rows, 30, "parquet"))) as home:
        try:
            run = program("profiled", home)
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"the profiled job failed:\n{error.output}") from error
        figures.add("whole job, profiled", run, rows)
        figures.facts["profile"] = run.told
    return figures
