"""DuckDB sessions of the build and of readers: clock, limits, quoting, the lock."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipelines.errors import ContractError, SettingsError
from pipelines.settings import Settings
from pipelines.warehouse import (
    attach,
    detach,
    identifier,
    load_parquet,
    lock_down,
    served_session,
    session,
    text_literal,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", threads=1, memory_limit="512MB")


def _ask(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[object, ...]]:
    return connection.execute(query).fetchall()


@pytest.fixture
def database(settings: Settings, tmp_path: Path) -> Path:
    """A file with the table `numbers` of 3, 1, 2 in that order."""
    parquet = tmp_path / "numbers.parquet"
    path = tmp_path / "numbers.duckdb"
    with session(settings) as connection:
        _ask(connection, f"COPY (SELECT unnest([3, 1, 2]) AS n) TO '{parquet}' (FORMAT parquet)")
        attach(connection, path, read_only=False)
        load_parquet(connection, "numbers", [parquet], snapshot_id="s'1")
        detach(connection)
    return path


def test_session_is_utc_within_limits_and_spills_into_the_home(settings: Settings) -> None:
    with session(settings) as connection:
        assert _ask(connection, "SELECT current_setting('TimeZone'), current_setting('threads')") == [("UTC", 1)]
        assert _ask(connection, "SELECT current_setting('temp_directory')") == [(str(settings.lake / ".tmp"),)]
        assert _ask(connection, "SELECT current_setting('memory_limit')") == [("488.2 MiB",)]  # 512 × 10⁶ bytes
        assert _ask(connection, "SELECT current_setting('autoinstall_known_extensions')") == [(False,)]


def test_session_reads_a_published_file_and_cannot_change_it(settings: Settings, database: Path) -> None:
    with session(settings, read_only_db=database) as connection:
        assert _ask(connection, "SELECT n FROM numbers") == [(3,), (1,), (2,)]
        with pytest.raises(duckdb.Error, match="read-only"):
            _ask(connection, "DELETE FROM numbers")
        assert _ask(connection, "CREATE TEMP TABLE aside AS SELECT n FROM numbers") == [(3,)]


def test_loaded_table_carries_its_snapshot_id_and_leaves_no_log(database: Path) -> None:
    with duckdb.connect(str(database), read_only=True) as connection:
        assert _ask(connection, "SELECT n, _snapshot_id FROM numbers") == [(3, "s'1"), (1, "s'1"), (2, "s'1")]
    assert not database.with_name("numbers.duckdb.wal").exists()


def test_reader_session_creates_nothing_on_disk(settings: Settings) -> None:
    with served_session(settings) as connection:
        assert _ask(connection, "SELECT current_setting('temp_directory')") == [("",)]
    assert not settings.home.exists()


@pytest.mark.parametrize("memory", ["plenty", "4 apples"])
def test_memory_that_is_no_size_is_a_settings_error(tmp_path: Path, memory: str) -> None:
    with pytest.raises(SettingsError) as caught:
        session(Settings(home=tmp_path, threads=1, memory_limit=memory))
    assert "TOKENMART_MEMORY" in caught.value.next_move


@pytest.mark.parametrize(
    "attempt",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "COPY (SELECT 1) TO '{database}' (FORMAT csv, USE_TMP_FILE false)",
        "COPY (SELECT 1) TO '{database}.wal' (FORMAT csv, USE_TMP_FILE false)",
        "ATTACH '{folder}/new.duckdb'",
        "INSTALL httpfs",
        "SET enable_external_access=true",
        "SET lock_configuration=false",
        "SET disabled_filesystems=''",
        "SET TimeZone='Asia/Tokyo'",
    ],
)
def test_locked_session_refuses(settings: Settings, database: Path, tmp_path: Path, attempt: str) -> None:
    with served_session(settings) as connection:
        attach(connection, database, read_only=True)
        lock_down(connection)
        before = database.read_bytes()
        with pytest.raises(duckdb.Error):
            _ask(connection, attempt.format(folder=tmp_path, database=database))
        assert _ask(connection, "SELECT sum(n) FROM numbers") == [(6,)]
    assert database.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["numbers.duckdb", "numbers.parquet"]


def test_locked_session_does_not_read_variables_of_the_program(settings: Settings) -> None:
    secret_rows = pa.table({"secret": ["x"]})
    with served_session(settings) as connection:
        assert connection.execute("SELECT secret FROM secret_rows").fetchall() == [("x",)]
        lock_down(connection)
        with pytest.raises(duckdb.CatalogException, match="secret_rows does not exist"):
            connection.execute("SELECT secret FROM secret_rows")
    assert secret_rows.num_rows == 1


@pytest.mark.parametrize("name", ["", "Mart", "a b", 'a"b', "1a", "a;b", "é", "a\n"])
def test_name_that_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(ContractError):
        identifier(name)


def test_quoting() -> None:
    assert identifier("order") == '"order"'
    assert text_literal("it's") == "'it''s'"
