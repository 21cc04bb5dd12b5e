"""What a person may ask: one SELECT on the published marts; everything else is refused in plain words."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipelines.errors import NotFoundError, QueryError
from pipelines.publish.query import run_query
from pipelines.publish.snapshot import open_snapshot, publish
from pipelines.settings import Settings

FEATURES = "mart__feature_cost_daily"
ROWS = [("2026-01-01", "chat", 2_000, "0.200000000001"), ("2026-01-02", "search", None, None)]

pytestmark = pytest.mark.usefixtures("without_smoke")


@pytest.fixture
def published(settings: Settings, marts) -> Settings:
    publish(settings, marts({"2026-01": ROWS}), {})
    return settings


def test_decimals_tokens_and_nulls_come_exactly(published: Settings) -> None:
    table = run_query(published, f"SELECT effective_cost_usd, total_tokens FROM {FEATURES}")
    assert table.column("effective_cost_usd").to_pylist() == [Decimal("0.200000000001"), None]
    assert table.column("total_tokens").to_pylist() == [2_000, None]
    assert table.schema.field("effective_cost_usd").type == pa.decimal128(38, 12)


def test_sum_of_integers_stays_an_integer(published: Settings) -> None:
    table = run_query(published, "SELECT sum(x) AS total FROM (VALUES (9007199254740993), (0)) AS numbers(x)")
    assert table.column("total").to_pylist() == [Decimal(9_007_199_254_740_993)]  # 2^53 + 1: no float holds it


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (f"SELECT feature FROM {FEATURES} ORDER BY feature DESC", [("search",), ("chat",)]),
        (f"WITH f AS (SELECT feature FROM {FEATURES}) SELECT count(*) AS rows FROM f;", [(2,)]),
        (f"FROM {FEATURES} SELECT feature LIMIT 1", [("chat",)]),
        ("VALUES (1), (2)", [(1,), (2,)]),
        (f"-- a comment; with a semicolon\nSELECT 1 AS one /* and; another */ FROM {FEATURES} LIMIT 1", [(1,)]),
        (f"PIVOT (SELECT feature, total_tokens FROM {FEATURES}) ON feature USING sum(total_tokens)", [(2_000, None)]),
        (f"/* why */ (SELECT feature FROM {FEATURES} LIMIT 1)", [("chat",)]),
        ("SELECT 1 AS a, 2 AS a, 3 AS a_1", [(1, 2, 3)]),
    ],
)
def test_reading_statements_pass(published: Settings, sql: str, rows: list[tuple[object, ...]]) -> None:
    table = run_query(published, sql)
    assert [tuple(row.values()) for row in table.to_pylist()] == rows


def test_show_describe_and_explain_pass(published: Settings) -> None:
    assert run_query(published, "SHOW TABLES").column(0).to_pylist() == ["mart__data_status", FEATURES]
    assert "effective_cost_usd" in run_query(published, f"DESCRIBE {FEATURES}").column(0).to_pylist()
    assert run_query(published, f"EXPLAIN SELECT * FROM {FEATURES}").num_rows == 1


def test_names_that_come_twice_are_told_apart(published: Settings) -> None:
    table = run_query(published, "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a")
    assert table.column_names == ["a", "a_2", "a_1", "a_3"]


@pytest.mark.parametrize(("limit", "count"), [(None, 40_000), (40_001, 40_000), (20_000, 20_000), (1, 1), (0, 0)])
def test_limit_cuts_after_that_many_rows_in_order(published: Settings, limit: int | None, count: int) -> None:
    table = run_query(published, "SELECT i FROM range(40000) AS numbers(i) ORDER BY i DESC", limit=limit)
    assert table.num_rows == count
    assert table.column("i").to_pylist()[:1] == ([39_999] if count else [])


def test_no_rows_still_have_their_columns(published: Settings) -> None:
    table = run_query(published, f"SELECT feature, effective_cost_usd FROM {FEATURES} WHERE false")
    assert table.column_names == ["feature", "effective_cost_usd"]
    assert table.num_rows == 0


def test_instants_are_shown_in_utc_whatever_the_machine_thinks(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "TZ", "Asia/Tokyo")
    table = run_query(published, "SELECT CAST(TIMESTAMPTZ '2026-01-01 00:00:00+09' AS VARCHAR) AS instant")
    assert table.column("instant").to_pylist() == ["2025-12-31 15:00:00+00"]


def test_as_of_asks_the_snapshot_of_then(published: Settings, marts) -> None:
    later = Settings(published.home, datetime(2026, 3, 2, tzinfo=UTC), threads=1, memory_limit="1GB")
    publish(later, marts({"2026-01": ROWS[:1]}), {})
    count = f"SELECT count(*) AS rows FROM {FEATURES}"
    assert run_query(later, count).column("rows").to_pylist() == [1]
    assert run_query(later, count, as_of=datetime(2026, 3, 1, 12, tzinfo=UTC)).column("rows").to_pylist() == [2]
    with pytest.raises(NotFoundError):
        run_query(later, count, as_of=datetime(2026, 2, 1, tzinfo=UTC))


def test_home_without_snapshot_is_not_found(settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="nothing has been published"):
        run_query(settings, "SELECT 1")


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        (f"COPY {FEATURES} TO 'out.csv'", "COPY"),
        (f"COPY (PIVOT (SELECT feature FROM {FEATURES}) ON feature) TO 'out.csv'", "COPY"),
        (f"CREATE TABLE t AS PIVOT (SELECT feature FROM {FEATURES}) ON feature", "CREATE"),
        ("ATTACH 'other.duckdb'", "ATTACH"),
        ("DETACH marts", "DETACH"),
        ("USE memory", "USE"),
        ("INSTALL httpfs", "INSTALL"),
        ("LOAD icu", "LOAD"),
        ("SET threads=1", "SET"),
        ("RESET threads", "RESET"),
        ("SET VARIABLE x = 1", "SET"),
        ("PRAGMA database_list", "PRAGMA"),
        ("CALL pragma_version()", "CALL"),
        ("CHECKPOINT", "CHECKPOINT"),
        ("VACUUM", "VACUUM"),
        ("BEGIN", "BEGIN"),
        ("PREPARE q AS SELECT 1", "PREPARE"),
        (f"INSERT INTO {FEATURES} SELECT * FROM {FEATURES}", "INSERT"),
        (f"DELETE FROM {FEATURES}", "DELETE"),
        (f"UPDATE {FEATURES} SET feature = 'x'", "UPDATE"),
        (f"DROP TABLE {FEATURES}", "DROP"),
        ("CREATE TEMP TABLE t AS SELECT 1", "CREATE"),
        ("CREATE MACRO f(x) AS x", "CREATE"),
        ("EXPORT DATABASE 'out'", "EXPORT"),
        ("IMPORT DATABASE 'in'", "IMPORT"),
        ("COPY FROM DATABASE marts TO memory", "COPY"),
        ("/* SELECT */ -- SELECT\n COPY (SELECT 1) TO 'out.csv'", "COPY"),
    ],
)
def test_statement_that_is_no_question_is_refused_by_name(
    published: Settings, sql: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QueryError, match=rf"^{word} is not allowed here") as caught:
        run_query(published, sql)
    assert caught.value.next_move
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_two_statements_are_refused(published: Settings) -> None:
    with pytest.raises(QueryError, match="2 statements"):
        run_query(published, f"SELECT 1; DROP TABLE {FEATURES}")


@pytest.mark.parametrize("sql", ["", "   ", ";", "-- nothing\n"])
def test_empty_query_is_refused(published: Settings, sql: str) -> None:
    with pytest.raises(QueryError, match="empty"):
        run_query(published, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM read_parquet('{home}/lake/mart__feature_cost_daily/2026-01.parquet')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('{home}/lake/mart__feature_cost_daily/2026-01.parquet')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '{home}/lake/mart__feature_cost_daily/2026-01.parquet'",
        "SELECT * FROM read_blob('{database}')",
        "SELECT * FROM read_text('https://example.org/')",
        "SELECT getenv('HOME')",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{home}/out.csv'",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{home}/out.csv''')",
    ],
)
def test_nothing_outside_the_marts_can_be_read_or_written(published: Settings, sql: str) -> None:
    database = (published.marts / "CURRENT").resolve() / "marts.duckdb"
    with pytest.raises(QueryError) as caught:
        run_query(published, sql.format(home=published.home, database=database))
    assert str(published.home) not in str(caught.value)
    assert not (published.home / "out.csv").exists()


def test_stored_secrets_of_the_user_are_not_loaded(published: Settings) -> None:
    assert run_query(published, "SELECT * FROM duckdb_secrets()").num_rows == 0
    setting = run_query(published, "SELECT CAST(current_setting('allow_persistent_secrets') AS VARCHAR) AS allowed")
    assert setting.column("allowed").to_pylist() == ["false"]


def test_variables_of_the_program_cannot_be_read(published: Settings) -> None:
    secret_rows = pa.table({"secret": ["x"]})
    with open_snapshot(published) as connection, pytest.raises(duckdb.CatalogException, match="secret_rows does not"):
        connection.execute("SELECT secret FROM secret_rows")
    assert secret_rows.num_rows == 1


def test_locked_connection_cannot_write_over_its_own_file(published: Settings) -> None:
    # enable_external_access=false leaves the attached file itself on the list of allowed paths
    database = (published.marts / "CURRENT").resolve() / "marts.duckdb"
    before = database.read_bytes()
    with open_snapshot(published) as connection:
        for target in (database, f"{database}.wal"):
            with pytest.raises(duckdb.Error, match="disabled"):
                connection.execute(f"COPY (SELECT 1 AS a) TO '{target}' (FORMAT csv, USE_TMP_FILE false)")
        for statement in ("SET enable_external_access=true", "RESET disabled_filesystems", "SET threads=64"):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute(f"INSERT INTO {FEATURES} SELECT * FROM {FEATURES}")
    assert database.read_bytes() == before
    assert sorted(path.name for path in database.parent.glob("marts*")) == ["marts.duckdb"]


@pytest.mark.parametrize(
    ("sql", "what", "where"),
    [
        (
            f"SELECT feature,\n  nope\nFROM {FEATURES}",
            'column "nope" not found',
            "line 2 of the SQL\n      nope\n      ^^^^",
        ),
        (
            "SELECT *\nFROM mart__nope",
            "mart__nope does not exist",
            "line 2 of the SQL\n    FROM mart__nope\n         ^",
        ),
        ("SELECT 1 +\n+", "syntax error", "line 2 of the SQL\n    +\n    ^"),
        ("SELECT 'a", "unterminated", "line 1 of the SQL\n    SELECT 'a\n           ^"),
        (
            "SELECT nofunction(1)",
            "nofunction does not exist",
            "line 1 of the SQL\n    SELECT nofunction(1)\n           ^",
        ),
        ("SELECT\nCAST('x' AS INTEGER) AS n", "Could not convert", "line 2 of the SQL\n    CAST('x' AS INTEGER)"),
        ("SELECT CAST(i AS TINYINT) AS n FROM range(50000) AS t(i)", "out of range", "line 1 of the SQL"),
        ("SELECT $x AS x", "parameters: x", "SQL"),
    ],
)
def test_fault_in_the_sql_is_shown_with_its_place(published: Settings, sql: str, what: str, where: str) -> None:
    with pytest.raises(QueryError) as caught:
        run_query(published, sql)
    assert what in caught.value.what
    assert caught.value.where.startswith(where)
    assert caught.value.next_move


def test_query_that_needs_too_much_memory_fails_with_advice(settings: Settings, marts) -> None:
    publish(settings, marts({"2026-01": ROWS}), {})
    small = Settings(settings.home, settings.fixed_now, threads=1, memory_limit="30MB")
    with pytest.raises(QueryError, match="Out of Memory") as caught:
        run_query(small, "SELECT list(i) AS everything FROM range(20000000) AS t(i)")
    assert "TOKENMART_MEMORY" in caught.value.next_move


def test_asking_loads_neither_polars_nor_pandera() -> None:
    # `tokenmart query` promises its first output within a second; these two alone cost most of it
    code = "import sys, pipelines.publish.query; print(sorted({'polars', 'pandera', 'dagster'} & sys.modules.keys()))"
    root = Path(__file__).resolve().parents[3]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("sql", ["SELECT INTERVAL 1 DAY AS x", "SELECT '101'::BIT AS x", "SELECT 1::BIGNUM AS x"])
def test_type_that_no_format_holds_is_refused_with_a_cast(published: Settings, sql: str) -> None:
    with pytest.raises(QueryError, match="column x is of type") as caught:
        run_query(published, sql)
    assert "CAST" in caught.value.next_move
