"""What a dashboard feels: ten typical queries on three years of published marts, through the door that readers use.

What lives here: publishing generated marts with the product's own code, timing each query many times on one locked-down
connection. What does not: the marts (bi_marts.py), the queries (bi/*.sql).
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.bi_marts import DAYS, FEATURES, LAST_DAY, MODELS, write_marts
from benchmarks.figures import Figures
from benchmarks.logs import Scratch
from benchmarks.measure import MARK, run_fresh

QUERIES = Path(__file__).with_name("bi")
_WARM_UP = 3


def measure_dashboards(scratch: Scratch, rounds: int) -> Figures:
    """Publish once, ask every query `rounds` times."""
    figures = Figures("bi", f"three years × {FEATURES} features × {MODELS} models of marts")
    with scratch.home() as home:
        figures.add(
            "marts made and published", run_fresh([sys.executable, "-m", "benchmarks.dashboards", "publish", str(home)])
        )
        figures.facts.update(figures.runs["marts made and published"][-1].told)
        asked = run_fresh([sys.executable, "-m", "benchmarks.dashboards", "ask", str(home), str(rounds)])
        figures.add("ten queries, all rounds", asked)
    figures.facts["rounds"] = rounds
    figures.facts["queries"] = asked.told["queries"]
    for name, times in asked.told["queries"].items():
        print(
            f"  {name:32s} p50 {times['p50_ms']:7.1f} ms  p95 {times['p95_ms']:7.1f} ms  {times['rows']:,} rows",
            flush=True,
        )
    figures.state("worst p95, ms", max(times["p95_ms"] for times in asked.told["queries"].values()))
    return figures


def publish_generated(home: Path) -> None:
    """Make the marts below `home` and publish them; tells rows and sizes."""
    import polars as pl

    from pipelines.publish.layout import DATABASE
    from pipelines.publish.snapshot import current, publish
    from pipelines.settings import Settings

    now = datetime.combine(LAST_DAY + timedelta(days=1), datetime.min.time(), UTC)
    settings = Settings(home=home, fixed_now=now)
    files = write_marts(home / "made")
    started = time.perf_counter()
    publish(settings, files, {"clock": now.isoformat()})
    seconds = time.perf_counter() - started
    snapshot = current(settings)
    rows = {
        name: sum(pl.scan_parquet(p).select(pl.len()).collect().item() for p in paths) for name, paths in files.items()
    }
    told = {
        "publish seconds": seconds,
        "rows of the daily mart": rows["mart__feature_cost_daily"],
        "share of all combinations": rows["mart__feature_cost_daily"] / (DAYS * FEATURES * MODELS),
        "rows of all marts": sum(rows.values()),
        "snapshot bytes": sum(path.stat().st_size for path in snapshot.path.rglob("*") if path.is_file()),
        "database bytes": (snapshot.path / DATABASE).stat().st_size,
    }
    print(MARK + json.dumps(told))


def ask(home: Path, rounds: int) -> None:
    """Time every query on one read-only, locked-down connection, answers fetched; the queries take turns."""
    from pipelines.publish.readers import open_snapshot
    from pipelines.settings import Settings

    queries = {path.stem: path.read_text(encoding="utf-8") for path in sorted(QUERIES.glob("*.sql"))}
    times: dict[str, list[float]] = {name: [] for name in queries}
    rows: dict[str, int] = {}
    with open_snapshot(Settings.load(home)) as connection:
        for number in range(_WARM_UP + rounds):
            for name, query in queries.items():
                started = time.perf_counter()
                rows[name] = len(connection.sql(query).fetchall())
                if number >= _WARM_UP:
                    times[name].append((time.perf_counter() - started) * 1000)
    empty = [name for name, count in rows.items() if not count]
    if empty:
        raise SystemExit(f"no rows: {', '.join(empty)}")
    told = {
        name: {"p50_ms": _quantile(found, 0.5), "p95_ms": _quantile(found, 0.95), "rows": rows[name]}
        for name, found in times.items()
    }
    print(MARK + json.dumps({"queries": told}))


def _quantile(values: list[float], share: float) -> float:
    """The smallest value that so many are not above."""
    return sorted(values)[max(0, -(-int(len(values) * share * 100) // 100) - 1)]


if __name__ == "__main__":
    if sys.argv[1] == "publish":
        publish_generated(Path(sys.argv[2]))
    else:
        ask(Path(sys.argv[2]), int(sys.argv[3]))
