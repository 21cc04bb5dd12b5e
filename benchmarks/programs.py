"""The programs that are measured, each run in a process of its own: `python -m benchmarks.programs NAME ARGUMENTS`.

What lives here: our job and its stages, and the references that need nothing but this environment. What does not:
timing (measure.py), references with an environment of their own (foreign/).
A program that gives the daily feature table writes it as Parquet to the path that it is told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

SQL = Path(__file__).with_name("plain_sql.sql")
NATIVE = """
CREATE VIEW requests AS
SELECT
    cast("timestamp" AS TIMESTAMPTZ) AS started_at, provider, model, request_id, feature AS feature_tag,
    CASE
        WHEN provider = 'anthropic' THEN usage.input_tokens
        WHEN provider = 'google' THEN usage.promptTokenCount - coalesce(usage.cachedContentTokenCount, 0)
        WHEN provider = 'deepseek' THEN usage.prompt_tokens - coalesce(usage.prompt_cache_hit_tokens, 0)
        ELSE usage.prompt_tokens - coalesce(usage.prompt_tokens_details.cached_tokens, 0)
    END AS input_uncached_tokens,
    coalesce(
        usage.cache_read_input_tokens, usage.cachedContentTokenCount, usage.prompt_cache_hit_tokens,
        usage.prompt_tokens_details.cached_tokens, 0
    ) AS cache_read_tokens,
    coalesce(usage.completion_tokens, usage.output_tokens, usage.candidatesTokenCount) AS output_tokens
FROM read_json(
    {source}, format = 'newline_delimited', columns = {{
        'timestamp': 'VARCHAR', 'provider': 'VARCHAR', 'model': 'VARCHAR', 'request_id': 'VARCHAR',
        'feature': 'VARCHAR',
        'usage': 'STRUCT(input_tokens BIGINT, cache_read_input_tokens BIGINT, output_tokens BIGINT,
            promptTokenCount BIGINT, cachedContentTokenCount BIGINT, candidatesTokenCount BIGINT, prompt_tokens BIGINT,
            prompt_cache_hit_tokens BIGINT, completion_tokens BIGINT,
            prompt_tokens_details STRUCT(cached_tokens BIGINT))'
    }}
)
"""
READERS = {
    "parquet": "CREATE VIEW requests AS SELECT * FROM read_parquet({source})",
    "csv": "CREATE VIEW requests AS SELECT * FROM read_csv({source})",
    "ndjson": NATIVE,
}


def scan(log: str) -> None:
    """Read the columns that the table needs, and the id, and touch every value."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(
            """SELECT count(started_at), max(provider), max(model), max(feature_tag), sum(input_uncached_tokens),
                sum(cache_read_tokens), sum(output_tokens), bit_xor(hash(request_id))
            FROM read_parquet($log)""",
            {"log": log},
        ).fetchall()


def plain_sql(form: str, log: str, prices: str, table: str) -> None:
    """The DuckDB query of plain_sql.sql over a log in the given form."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        source = "'" + log.replace("'", "''") + "'"
        connection.execute(READERS[form].format(source=source))
        query = SQL.read_text(encoding="utf-8")
        connection.sql(query, params={"prices": prices}).pl().write_parquet(table)


def stage(name: str, home: str) -> None:
    """One step of a night in plain Python."""
    from pipelines.build import graph as build
    from pipelines.build import rollup_days
    from pipelines.core import merge as core
    from pipelines.intake import staging as intake
    from pipelines.publish.facts import mart_files
    from pipelines.publish.snapshot import publish
    from pipelines.settings import Settings

    settings = Settings.load(home)
    steps: dict[str, Callable[[], object]] = {
        "ingest": lambda: intake.ingest(settings),
        "merge": lambda: core.merge_core(settings),
        "reference": lambda: build.refresh_reference(settings),
        "rollup": lambda: rollup_days.roll_up_days(settings),
        "marts": lambda: [build.refresh_table(settings, table) for table in build.build_order()],
        "publish": lambda: publish(settings, mart_files(settings), {"clock": settings.now().isoformat()}),
    }
    steps[name]()


def validate(home: str) -> None:
    """The contract of core__usage on every row of the lake, chunk by chunk, as intake does it."""
    import polars as pl

    from pipelines.contracts.fields import breaches
    from pipelines.contracts.usage import CoreUsage
    from pipelines.lake import Lake
    from pipelines.settings import Settings

    lake = Lake(Settings.load(home).lake)
    for day in lake.partitions("core__usage"):
        if len(breaches(CoreUsage, pl.read_parquet(lake.path("core__usage", day)))):
            raise ValueError(f"a row of {day} breaks its contract")


def mart_table(home: str, table: str) -> None:
    """The published daily feature table in the columns of the comparison."""
    import duckdb

    with duckdb.connect(str(Path(home) / "marts" / "CURRENT" / "marts.duckdb"), read_only=True) as connection:
        connection.sql(
            """SELECT usage_date, feature, cast(sum(requests) AS BIGINT) AS requests,
                cast(sum(input_tokens) AS BIGINT) AS input_tokens,
                cast(sum(cached_input_tokens) AS BIGINT) AS cached_input_tokens,
                cast(sum(output_tokens) AS BIGINT) AS output_tokens,
                cast(sum(list_cost_usd) * 1000000000000 AS BIGINT) AS cost_pico
            FROM mart__feature_cost_daily WHERE requests > 0
            GROUP BY usage_date, feature ORDER BY usage_date, feature"""
        ).pl().write_parquet(table)


def genai_prices(log: str, rows: str) -> None:
    """Price the first rows of a log one by one with the genai-prices library, as its documentation shows."""
    import polars as pl
    from genai_prices import Usage, calc_price

    for row in pl.scan_parquet(log).head(int(rows)).collect().iter_rows(named=True):
        usage = Usage(
            input_tokens=max(row["input_uncached_tokens"], 0) + row["cache_read_tokens"],
            cache_read_tokens=row["cache_read_tokens"],
            output_tokens=row["output_tokens"],
        )
        try:
            calc_price(
                usage, model_ref=row["model"], provider_id=row["provider"], genai_request_timestamp=row["started_at"]
            )
        except LookupError:
            continue


PROGRAMS: dict[str, Callable[..., None]] = {
    program.__name__: program for program in (scan, plain_sql, stage, validate, mart_table, genai_prices)
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
