"""The programs that are measured, each run in a process of its own: `python -m benchmarks.programs NAME ARGUMENTS`.

What lives here: our job's stages, and the references that need nothing but this environment. What does not: timing a
process (measure.py), references with an environment of their own (foreign/).
A program that gives the daily feature table writes it as Parquet to the path that it is told.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

SQL = Path(__file__).with_name("sql")


def scan(log: str) -> None:
    """Read the columns that the table needs, and the id, and touch every value."""
    import duckdb

    with duckdb.connect() as connection:
        _open_log(connection, "parquet", log)
        connection.execute(_text("scan")).fetchall()


def plain_sql(form: str, log: str, prices: str, table: str, query: str = "plain_sql") -> None:
    """The DuckDB query of sql/plain_sql.sql, or a variant of it, over a log in the given form."""
    import duckdb

    with duckdb.connect() as connection:
        _open_log(connection, form, log)
        connection.sql(_text(query), params={"prices": prices}).write_parquet(table)


def _open_log(connection, form: str, log: str) -> None:  # type: ignore[no-untyped-def]
    connection.execute("SET TimeZone='UTC'")
    connection.execute("SET VARIABLE log = $log", {"log": log})
    connection.execute(_text(f"read_{'ndjson' if form == 'gz' else form}"))


def _text(name: str) -> str:
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def converted(log: str, target: str) -> None:
    """JSON lines become a Parquet file of the table's columns and the id, and nothing else happens."""
    import duckdb

    with duckdb.connect() as connection:
        _open_log(connection, "ndjson", log)
        connection.sql("FROM requests").write_parquet(target, compression="zstd")


def sessions_read(folder: str) -> None:
    """DuckDB reads what a Claude Code report needs of session files, and adds it up."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET VARIABLE sessions = $sessions", {"sessions": f"{folder}/**/*.jsonl"})
        connection.execute(_text("sessions")).fetchall()


def handwritten(log: str, prices: str, table: str, ledger: str = "") -> None:
    """The same table in hand-written Polars, with every request that counts in files below `ledger`."""
    from benchmarks.handwritten import feature_table

    feature_table(log, prices, table, ledger)


def stage(name: str, home: str) -> None:
    """One step of a night in plain Python."""
    from pipelines.build import graph as build
    from pipelines.build import rollup_days
    from pipelines.core import merge as core
    from pipelines.history.publication import publish_marts
    from pipelines.intake import staging as intake
    from pipelines.settings import Settings

    settings = Settings.load(home)
    steps: dict[str, Callable[[], object]] = {
        "ingest": lambda: intake.ingest(settings),
        "merge": lambda: core.merge_core(settings),
        "reference": lambda: build.refresh_reference(settings),
        "rollup": lambda: rollup_days.roll_up_days(settings),
        "tables": lambda: build.refresh_tables(settings),
        "publish": lambda: publish_marts(settings),
    }
    steps[name]()


def mart_core(home: str) -> None:
    """Roll-up, pricing and the daily feature mart, with all that it reads, over core days that stand in the lake."""
    from benchmarks.measure import timed
    from pipelines.build import graph as build
    from pipelines.build import rollup_days
    from pipelines.settings import Settings

    with timed() as say:
        settings = Settings.load(home)
        rollup_days.roll_up_days(settings)
        build.refresh_tables(settings, needed_for("mart__feature_cost_daily"))
        say()


def needed_for(table: str) -> set[str]:
    """A derived table and all derived tables that it is computed from."""
    from pipelines.build import graph as build

    derived = set(build.build_order())
    found: set[str] = set()
    waiting = [table]
    while waiting:
        name = waiting.pop()
        if name in derived and name not in found:
            found.add(name)
            waiting += build.inputs_of(name)
    return found


def validate(home: str) -> None:
    """The contract of core__usage on every row of the lake, day by day. Times the checking, not the reading."""
    import time

    import polars as pl

    from benchmarks.measure import MARK
    from pipelines.contracts.fields import breaches
    from pipelines.contracts.usage import CoreUsage
    from pipelines.lake import Lake
    from pipelines.settings import Settings

    lake = Lake(Settings.load(home).lake)
    wall = cpu = 0.0
    rows = 0
    for day in lake.partitions("core__usage"):
        frame = pl.read_parquet(lake.path("core__usage", day))
        rows += len(frame)
        started, busy = time.perf_counter(), time.process_time()
        found = breaches(CoreUsage, frame)
        wall += time.perf_counter() - started
        cpu += time.process_time() - busy
        if len(found):
            raise ValueError(f"a row of {day} breaks its contract")
    print(f'{MARK}{{"wall": {wall}, "cpu": {cpu}, "rows": {rows}}}')


def mart_table(home: str, table: str, where: str = "published") -> None:
    """The daily feature table, published or only built, in the columns of the comparison."""
    import duckdb

    folder = Path(home)
    if where == "published":
        connection = duckdb.connect(str(folder / "marts" / "CURRENT" / "marts.duckdb"), read_only=True)
    else:
        connection = duckdb.connect()
        connection.execute(
            "SET VARIABLE files = $files", {"files": str(folder / "lake/mart__feature_cost_daily/*.parquet")}
        )
        connection.execute("CREATE VIEW mart__feature_cost_daily AS FROM read_parquet(getvariable('files'))")
    with connection:
        connection.sql(_text("feature_table")).write_parquet(table)


def genai_prices(log: str, rows: str) -> None:
    """Price the first rows of a log one by one with the genai-prices library, as its documentation shows."""
    import polars as pl
    from genai_prices import Usage, calc_price

    from benchmarks.measure import timed

    requests = pl.scan_parquet(log).head(int(rows)).collect().rows(named=True)
    priced = 0
    with timed() as say:
        for row in requests:
            usage = Usage(
                input_tokens=max(row["input_uncached_tokens"], 0) + row["cache_read_tokens"],
                cache_read_tokens=row["cache_read_tokens"],
                output_tokens=row["output_tokens"],
            )
            try:
                calc_price(
                    usage,
                    model_ref=row["model"],
                    provider_id=row["provider"],
                    genai_request_timestamp=row["started_at"],
                )
            except LookupError:
                continue
            priced += 1
        say(rows=len(requests), priced=priced)


def small_chunks(home: str) -> None:
    """`tokenmart run` with readers and writers that work on a few thousand rows at a time."""
    work_on_little(rows=8192)
    _command("--home", home, "run", "--json")


def work_on_little(rows: int) -> None:
    """Make readers and writers of this process work on `rows` rows at a time."""
    from pipelines import lake
    from pipelines.connectors import usage_files
    from pipelines.connectors.reading import json_lines

    chunks = {
        (usage_files, "_PARQUET_ROWS"): rows,
        (usage_files, "_CSV_BLOCK"): 32 * rows,
        (lake, "ROW_GROUP_ROWS"): rows,
    }
    for (module, name), size in chunks.items():
        if not hasattr(module, name):
            raise AttributeError(f"{module.__name__} has no {name} any more: name the chunk that took its place")
        setattr(module, name, size)
    defaults = json_lines.read_json_lines.__kwdefaults__
    if "chunk_rows" not in defaults:
        raise AttributeError("read_json_lines has no chunk_rows any more: name the chunk that took its place")
    defaults["chunk_rows"] = rows


def digests(home: str) -> None:
    """Digest of every published mart: its rows, in their order, as one canonical Parquet file."""
    import hashlib
    import io
    import json

    import polars as pl

    from benchmarks.measure import MARK

    found = {}
    for folder in sorted((Path(home) / "marts" / "CURRENT").resolve().glob("mart__*")):
        target = io.BytesIO()
        rows = pl.concat([pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
        rows.write_parquet(target, compression="zstd", row_group_size=2**19)
        found[folder.name] = hashlib.sha256(target.getvalue()).hexdigest()
    print(MARK + json.dumps(found))


def profiled(home: str) -> None:
    """`tokenmart run` under the sampler; tells where the samples fell."""
    import json

    from benchmarks.measure import MARK
    from benchmarks.sampling import sampled

    print(MARK + json.dumps(sampled(lambda: _command("--home", home, "run", "--json"))))


def _command(*words: str) -> None:
    """The command line of the product in this process."""
    sys.argv = ["tokenmart", *words]
    from assets.cli import app

    os.environ.setdefault("COLUMNS", "100")
    app(standalone_mode=False)


PROGRAMS: dict[str, Callable[..., None]] = {
    one.__name__: one
    for one in (
        scan,
        plain_sql,
        converted,
        sessions_read,
        handwritten,
        stage,
        mart_core,
        validate,
        mart_table,
        genai_prices,
        small_chunks,
        digests,
        profiled,
    )
}

if __name__ == "__main__":
    # Ours and the references alike begin and end as the command line does: nothing here lives long enough to leave
    # garbage, and the kernel frees at once what Python would take apart.
    gc.disable()
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)
