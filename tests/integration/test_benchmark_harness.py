"""The benchmarks' oracle, their references and the product agree on a small log; nothing is timed here."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import polars as pl
import pytest

from benchmarks import bi_marts, dashboards, handwritten, job, programs, run, sampling, targets
from benchmarks.logs import SEED, core_only, landed_log
from benchmarks.oracle import KEY, TABLE_SCHEMA, expected_table, same_table
from benchmarks.prices import benchmark_prices
from pipelines.build import graph as build
from pipelines.build import rollup_days
from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty
from pipelines.core.merge import merge_core
from pipelines.demo.benchmark_log import BenchmarkLog, write_benchmark_log
from pipelines.intake.staging import ingest
from pipelines.publish.facts import mart_names
from pipelines.settings import PROJECT_ROOT
from tests.integration.nights import home_settings

ROWS, DAYS = 3_000, 3
FORMS = {"parquet": "log.parquet", "csv": "log.csv", "ndjson": "log.jsonl", "gz": "log.jsonl.gz"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A folder with one log in four forms, the price table, and the table that all must give."""
    folder = tmp_path_factory.mktemp("bench")
    for form, name in FORMS.items():
        kind = "ndjson" if form == "gz" else form
        write_benchmark_log(folder / name, rows=ROWS, days=DAYS, form=kind, seed=SEED)
    benchmark_prices().write_parquet(folder / "prices.parquet")
    return folder, expected_table(BenchmarkLog(rows=ROWS, days=DAYS, seed=SEED))


def test_the_oracle_counts_every_request_once(bench):
    _, expected = bench
    log = BenchmarkLog(rows=ROWS, days=DAYS, seed=SEED)
    assert expected["requests"].sum() == log.accepted == 2_967  # 3,000 without 30 duplicates and 3 invalid rows
    assert expected.columns == list(TABLE_SCHEMA)
    assert expected.select(KEY).is_unique().all()


@pytest.mark.parametrize("form", list(FORMS))
def test_plain_sql_gives_the_expected_table_from_every_form(bench, form):
    folder, expected = bench
    table = folder / f"plain-{form}.parquet"
    programs.plain_sql(form, str(folder / FORMS[form]), str(folder / "prices.parquet"), str(table))
    same_table(table, expected, "plain SQL")


@pytest.mark.parametrize("query", job.VARIANTS)
def test_variants_of_plain_sql_give_the_expected_table(bench, query):
    folder, expected = bench
    table = folder / f"{query}.parquet"
    programs.plain_sql("parquet", str(folder / FORMS["parquet"]), str(folder / "prices.parquet"), str(table), query)
    same_table(table, expected, query)


def test_hand_written_polars_gives_the_expected_table(bench):
    folder, expected = bench
    table = folder / "handwritten.parquet"
    handwritten.feature_table(str(folder / FORMS["parquet"]), str(folder / "prices.parquet"), str(table))
    same_table(table, expected, "hand-written Polars")


def test_hand_written_polars_keeps_each_request_once_on_its_day(bench, tmp_path):
    folder, expected = bench
    ledger = tmp_path / "ledger"
    words = [str(folder / name) for name in (FORMS["parquet"], "prices.parquet", "keeping.parquet")]
    handwritten.feature_table(*words, str(ledger))
    same_table(folder / "keeping.parquet", expected, "hand-written Polars that keeps the requests")
    kept = {path.stem: pl.read_parquet(path)["request_id"] for path in ledger.iterdir()}
    assert {day: len(ids) for day, ids in kept.items()} == {
        str(day): requests
        for day, requests in expected.group_by("usage_date").agg(pl.col("requests").sum()).iter_rows()
    }
    assert pl.concat(kept.values()).is_unique().all()


def test_lines_are_converted_whole(bench, tmp_path):
    folder, _ = bench
    programs.converted(str(folder / FORMS["ndjson"]), str(tmp_path / "lines.parquet"))
    assert len(pl.read_parquet(tmp_path / "lines.parquet")) == ROWS


def test_the_mart_is_the_expected_table(bench, tmp_path):
    folder, expected = bench
    settings = home_settings(tmp_path / "home")
    for name, path in landed_log("parquet", folder / FORMS["parquet"]):
        target = settings.landing / name
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes())
    ingest(settings)
    merge_core(settings)
    build.refresh_reference(settings)
    programs.scan(str(folder / FORMS["parquet"]))
    programs.validate(str(settings.home))
    beside = home_settings(tmp_path / "beside")
    core_only(settings.home, beside.home)
    rollup_days.roll_up_days(beside)
    build.refresh_tables(beside, programs.needed_for("mart__feature_cost_daily"))
    table = tmp_path / "ours.parquet"
    programs.mart_table(str(beside.home), str(table), "built")
    same_table(table, expected, "mart core")


def test_a_wrong_table_is_told(bench, tmp_path):
    _, expected = bench
    wrong = expected.with_columns(
        pl.when(pl.int_range(pl.len()) == 5).then(0).otherwise("cost_pico").alias("cost_pico")
    )
    wrong.write_parquet(tmp_path / "wrong.parquet")
    with pytest.raises(SystemExit, match="1 rows differ"):
        same_table(tmp_path / "wrong.parquet", expected, "a program")


def test_small_chunks_find_the_chunks_that_they_change():
    code = "from benchmarks.programs import work_on_little; work_on_little(rows=512)"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=True)


def test_dashboard_queries_fit_the_marts():
    queries = sorted(dashboards.QUERIES.glob("*.sql"))
    assert len(queries) == 10
    with duckdb.connect() as connection:
        for name in mart_names():
            rows = empty(contract_of(name)).to_arrow()
            connection.register("rows", rows)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM rows")
        for query in queries:
            assert connection.sql(query.read_text(encoding="utf-8")).fetchall() == []
    assert bi_marts.LAST_DAY.isoformat() == "2026-11-29"


def test_every_promise_names_a_suite_that_is_run(tmp_path):
    names = set(run.suites(run.Scratch(tmp_path), 1, 1))
    assert {target.suite for target in targets.TARGETS} <= names
    assert {line.verdict for line in targets.lines({})} == {"not measured"}


def test_the_sampler_names_stage_and_function():
    found = sampling.sampled(lambda: sum(number * number for number in range(2_000_000)))
    assert found["stages"][0][0] == "start and Dagster"
    assert abs(sum(share for _, share in found["stages"]) - 1) < 1e-9
