"""What history costs: a night on top of three years and on top of a month, pricing again, a year computed again.

What lives here: building homes with a long history once, working on copies of them. What does not: single-log jobs
(job.py).
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb

from benchmarks.figures import Figures
from benchmarks.logs import Scratch, land, landed_log, tokenmart
from pipelines.demo.benchmark_log import BENCHMARK_START

SHORT_DAYS = 30
OVERRIDE = ("gpt-4o", "--provider", "openai", "--component", "output", "--price", "11", "--source", "the benchmark")
"""A user's own price for the model that a log holds on every day."""


def measure_history(scratch: Scratch, requests: int, long: int, repeat: int) -> Figures:
    """`requests` over `long` days: the first load, the same night on all of them and on a month, pricing again."""
    figures = Figures("history", f"{long:,} days of history, {requests:,} requests in all")
    days = scratch.daily_logs(requests, long)
    end = BENCHMARK_START + timedelta(days=long)
    [night] = scratch.daily_logs(requests // long, 1, start=end, seed=11)
    figures.state("requests of a day", requests // long)
    with scratch.home(_landed(days)) as old, scratch.home(_landed(days[-SHORT_DAYS:])) as young:
        figures.add("first load, daily files", tokenmart(old, "run", "--json", environment=_at(end)), requests)
        tokenmart(young, "run", "--json", environment=_at(end))
        for _ in range(repeat):
            for label, home in (("a month", young), ("the long history", old)):
                with scratch.copy_of(home) as copy:
                    land(copy, f"usage_table/{night.name}", night)
                    after = _at(end + timedelta(days=1))
                    run = tokenmart(copy, "run", "--json", environment=after)
                    _expect_day(copy, end)
                    figures.add(f"night after {label}", run, requests // long)
        for _ in range(repeat):
            with scratch.copy_of(old) as copy:
                figures.add("reprice, nothing changed", tokenmart(copy, "reprice", "--json", environment=_at(end)))
                before = _cost(copy)
                tokenmart(copy, "prices", "add", *OVERRIDE, "--from", str(BENCHMARK_START), environment=_at(end))
                figures.add("reprice, a price of every day", tokenmart(copy, "reprice", "--json", environment=_at(end)))
                if _cost(copy) == before:
                    raise SystemExit("the price override changed nothing: there is nothing to measure")
    # Last: a file system is slow for a while after many files were removed.
    _one_file(scratch, figures, requests, long, end)
    return figures


def _one_file(scratch: Scratch, figures: Figures, requests: int, days: int, end: date) -> None:
    with scratch.home(landed_log("parquet", scratch.log(requests, days, "parquet"))) as home:
        figures.add("first load, one file", tokenmart(home, "run", "--json", environment=_at(end)), requests)


def measure_backfill(scratch: Scratch, requests: int, days: int, repeat: int) -> Figures:
    """A year computed again from its raw files in one Dagster run."""
    figures = Figures("backfill", f"backfill of {days:,} days, {requests:,} requests in all")
    end = BENCHMARK_START + timedelta(days=days)
    with scratch.home(_landed(scratch.daily_logs(requests, days))) as home:
        figures.add("first load of the year", tokenmart(home, "run", "--json", environment=_at(end)), requests)
        ranges = {"backfill of 30 days": min(days, SHORT_DAYS), "backfill": days}
        for _ in range(repeat):
            for label, length in ranges.items():
                last = BENCHMARK_START + timedelta(days=length - 1)
                words = ("backfill", "--from", str(BENCHMARK_START), "--to", str(last), "--yes", "--json")
                run = tokenmart(home, *words, environment=_at(end))
                _expect_days(home, days)
                figures.add(label, run, requests * length // days)
    figures.state("processes started by the backfill", max(run.processes for run in figures.runs["backfill"]))
    return figures


def _landed(files: list[Path]) -> list[tuple[str, Path]]:
    return [(f"usage_table/{path.name}", path) for path in files]


def _at(day: date) -> dict[str, str]:
    return {"TOKENMART_NOW": f"{day}T02:00:00Z", "TOKENMART_SETTLE_SECONDS": "0"}


def _expect_days(home: Path, days: int) -> None:
    found = _asked(home, "SELECT count(DISTINCT usage_date) FROM mart__feature_cost_daily WHERE requests > 0")
    if found != days:
        raise SystemExit(f"{found} days were published, not {days}")


def _expect_day(home: Path, day: date) -> None:
    if not _asked(home, f"SELECT sum(requests) FROM mart__feature_cost_daily WHERE usage_date = DATE '{day}'"):
        raise SystemExit(f"nothing was published for {day}")


def _cost(home: Path) -> object:
    return _asked(home, "SELECT sum(list_cost_usd) FROM mart__feature_cost_daily")


def _asked(home: Path, sql: str) -> object:
    with duckdb.connect(str(home / "marts" / "CURRENT" / "marts.duckdb"), read_only=True) as connection:
        return connection.sql(sql).fetchall()[0][0]
