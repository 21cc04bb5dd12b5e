"""marts.duckdb made from its parent's: the same rows as when everything is loaded, or everything is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.publish.database import Built, Parent, build_database, month_column, within_months
from pipelines.publish.layout import DATABASE
from pipelines.publish.manifest import Manifest, content_digest, describe
from pipelines.publish.snapshot import publish
from pipelines.publish.staging import Staged, survey
from pipelines.settings import Settings
from tests.unit.publish.conftest import Marts

DAILY, MONTHLY, STATUS = "mart__feature_cost_daily", "mart__reconciliation_monthly", "mart__data_status"
MONTHS = ("2026-01", "2026-02", "2026-03", "2026-04", "2026-05", "2026-06")
SCHEMAS = {
    DAILY: pa.schema(
        [("usage_date", pa.date32()), ("feature", pa.string()), ("billed_cost_usd", pa.decimal128(38, 12))]
    ),
    MONTHLY: pa.schema([("month", pa.string()), ("logged_tokens", pa.int64())]),
    STATUS: pa.schema([("source", pa.string()), ("unpriced_tokens", pa.int64())]),
}


@dataclass
class Lake:
    """Canonical files of three marts below a folder of a snapshot's shape."""

    folder: Path

    def write(self, table: str, partition: str, seed: int) -> Path:
        """A file whose rows depend on `seed`: none for 0."""
        path = self.folder / table / f"{partition}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        columns: dict[str, list[list[object]]] = {
            DAILY: [
                [date.fromisoformat(f"{partition}-01") + timedelta(days=n * 13) for n in range(min(seed, 3))],
                [f"feature {seed}"] * min(seed, 3),
                [Decimal(seed) / 7 * n for n in range(min(seed, 3))],
            ] if table == DAILY else [],
            MONTHLY: [[partition] * seed, list(range(seed))],
            STATUS: [["litellm"] * seed, [None] * seed],
        }  # fmt: skip
        arrays = [
            pa.array(
                [v.quantize(Decimal("0.000000000001")) if isinstance(v, Decimal) else v for v in values], field.type
            )
            for values, field in zip(columns[table], SCHEMAS[table], strict=True)
        ]
        pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMAS[table]), path)
        return path

    def tables(self) -> dict[str, list[Path]]:
        return {table: sorted((self.folder / table).glob("*.parquet")) for table in SCHEMAS}


def make(settings: Settings, folder: Path, name: str, parent: Parent | None = None) -> tuple[Built, Manifest]:
    """The database of a folder; a manifest to go with it."""
    files = survey(Lake(folder).tables())
    (folder / DATABASE).unlink(missing_ok=True)
    built = build_database(settings, folder, folder / DATABASE, name, files, parent)
    manifest = Manifest(name, content_digest(files), None, settings.now(), files, built.tables, {})
    return built, manifest


def content(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every table's columns with their types, and its rows, in an order that does not depend on how they stand."""
    with duckdb.connect(str(database), read_only=True) as connection:
        return {
            table: [
                *connection.execute(
                    f"SELECT column_name, data_type, column_default FROM duckdb_columns() WHERE table_name = '{table}'"
                    " ORDER BY column_index"
                ).fetchall(),
                *sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr),
            ]
            for table in SCHEMAS
        }


def history(folder: Path) -> Lake:
    lake = Lake(folder)
    for number, month in enumerate(MONTHS, start=1):
        lake.write(DAILY, month, number)
        lake.write(MONTHLY, month, number)
    lake.write(STATUS, "all", 1)
    return lake


Change = tuple[str, str, int | None]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([DAILY, MONTHLY]), st.sampled_from([*MONTHS, "2026-07"]), st.integers(0, 9) | st.none()
        ),
        max_size=4,
        unique_by=lambda change: change[:2],
    ),
    st.integers(0, 3),
)
def test_exchanging_gives_what_loading_everything_gives(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Change], status: int
) -> None:
    folder = tmp_path_factory.mktemp("snapshots")
    settings = Settings(home=folder / "home", threads=1, memory_limit="512MB")
    history(folder / "1")
    _, manifest = make(settings, folder / "1", "000001-aaaaaaaaaaaa")
    shutil.copytree(folder / "1", folder / "2", ignore=shutil.ignore_patterns(DATABASE))
    after = Lake(folder / "2")
    for table, month, seed in changes:
        if seed is None:
            (after.folder / table / f"{month}.parquet").unlink(missing_ok=True)
        else:
            after.write(table, month, seed)
    after.write(STATUS, "all", status)
    built, _ = make(settings, folder / "2", "000002-bbbbbbbbbbbb", Parent(folder / "1", manifest))
    found, facts = content(folder / "2" / DATABASE), built.tables
    for table, months in built.changed.items():
        assert months <= {month for name, month, _ in changes if name == table}
    loaded, _ = make(settings, folder / "2", "000002-bbbbbbbbbbbb")
    assert found == content(folder / "2" / DATABASE)
    assert facts == loaded.tables
    assert not loaded.changed


def _next(folder: Path, change: Callable[[Lake], object]) -> Path:
    shutil.copytree(folder / "1", folder / "2", ignore=shutil.ignore_patterns(DATABASE))
    change(Lake(folder / "2"))
    return folder / "2"


@pytest.fixture
def first(tmp_path: Path, settings: Settings) -> Parent:
    history(tmp_path / "1")
    _, manifest = make(settings, tmp_path / "1", "000001-aaaaaaaaaaaa")
    return Parent(tmp_path / "1", manifest)


def test_only_months_with_other_bytes_are_exchanged(tmp_path: Path, settings: Settings, first: Parent) -> None:
    new = _next(tmp_path, lambda lake: lake.write(DAILY, "2026-06", 9))
    built, _ = make(settings, new, "000002-bbbbbbbbbbbb", first)
    assert built.changed == {DAILY: {"2026-06"}, MONTHLY: frozenset(), STATUS: frozenset()}
    with duckdb.connect(str(new / DATABASE), read_only=True) as connection:
        june = "SELECT DISTINCT feature, _snapshot_id FROM mart__feature_cost_daily WHERE usage_date >= '2026-06-01'"
        assert connection.execute(june).fetchall() == [("feature 9", "000002-bbbbbbbbbbbb")]
        assert describe(connection, DAILY).rows == 1 + 2 + 3 + 3 + 3 + 3
        format_of = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal"
        assert str(connection.execute(format_of).fetchall()[0][0]).startswith("v1.4.0")


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param("DELETE FROM mart__feature_cost_daily WHERE feature = 'feature 2'", id="rows are missing"),
        pytest.param(
            "UPDATE mart__feature_cost_daily SET usage_date = '2026-05-31' WHERE feature = 'feature 6'", id="moved"
        ),
        pytest.param("DROP TABLE mart__reconciliation_monthly", id="a mart is missing"),
        pytest.param("CREATE TABLE mine AS SELECT 1 AS one", id="a table too many"),
    ],
)
def test_a_parent_that_is_not_what_its_files_are_is_not_built_on(
    tmp_path: Path, settings: Settings, first: Parent, harm: str
) -> None:
    with duckdb.connect(str(first.directory / DATABASE)) as connection:
        connection.execute(harm)
    new = _next(tmp_path, lambda lake: lake.write(DAILY, "2026-06", 9))
    built, _ = make(settings, new, "000002-bbbbbbbbbbbb", first)
    assert not built.changed
    found = content(new / DATABASE)
    make(settings, new, "000002-bbbbbbbbbbbb")
    assert found == content(new / DATABASE)


def test_without_the_parents_database_everything_is_loaded(tmp_path: Path, settings: Settings, first: Parent) -> None:
    (first.directory / DATABASE).unlink()
    new = _next(tmp_path, lambda lake: lake.write(DAILY, "2026-06", 9))
    built, _ = make(settings, new, "000002-bbbbbbbbbbbb", first)
    assert not built.changed
    assert built.tables[DAILY].rows == 15


def test_a_file_with_more_holes_than_content_is_packed_anew(tmp_path: Path, settings: Settings, first: Parent) -> None:
    """A table of 4 MB before the marts, and gone again, leaves its blocks free."""
    with duckdb.connect(str(first.directory / DATABASE)) as connection:
        for step in (
            "CREATE TABLE once AS SELECT hash(range) AS noise FROM range(500000)",
            "CREATE TABLE again AS FROM mart__feature_cost_daily",
            "DROP TABLE mart__feature_cost_daily",
            "ALTER TABLE again RENAME TO mart__feature_cost_daily",
        ):
            connection.execute(step)
            connection.execute("CHECKPOINT")
        connection.execute("DROP TABLE once")
        connection.execute("CHECKPOINT")
    before = (first.directory / DATABASE).stat().st_size
    assert before > 4_000_000
    new = _next(tmp_path, lambda lake: lake.write(DAILY, "2026-06", 9))
    built, _ = make(settings, new, "000002-bbbbbbbbbbbb", first)
    assert not built.changed
    assert (new / DATABASE).stat().st_size < before


def test_a_mart_is_cut_by_its_day_or_its_month() -> None:
    assert month_column({"usage_date": "DATE", "month": "VARCHAR"}) == "usage_date"
    assert month_column({"month": "VARCHAR"}) == "month"
    assert month_column({"source": "VARCHAR"}) is None
    rows = "(VALUES (DATE '2026-01-31'), (DATE '2026-02-01'), (DATE '2026-03-01')) AS days(usage_date)"
    within = within_months({"usage_date": "DATE"}, ["2026-02", "2026-03"])
    assert duckdb.sql(f"SELECT count(*) FROM {rows} WHERE {within}").fetchall() == [(2,)]
    assert within_months({"month": "VARCHAR"}, []) == "false"


def test_checks_of_months_are_told_which_differ_from_a_snapshot_that_passed_the_same(
    settings: Settings, marts: Marts, without_smoke: None
) -> None:
    """The parent passed the same SQL: only February is new. It passed other SQL, or none: everything is."""
    told = []

    def checks(staged: Staged) -> list[str]:
        staged.show([DAILY], staged.changed.get(DAILY))
        (tokens,) = staged.connection.execute(f"SELECT sum(total_tokens) FROM {DAILY}").fetchall()[0]
        told.append((staged.changed.get(DAILY), tokens))
        return []

    many = [("2026-01-01", "search", number, "1") for number in range(2_000)]
    whole = sum(number for _, _, number, _ in many)
    for sql, tokens in (("a", 1), ("a", 2), ("b", 3), (None, 4), (None, 5)):
        months = {"2026-01": many, "2026-02": [("2026-02-01", "search", tokens, "1")]}
        publish(settings, marts(months), {} if sql is None else {"sql_digest": sql}, checks)
    assert told == [
        (None, whole + 1),
        ({"2026-02"}, 2),
        (None, whole + 3),
        (None, whole + 4),
        (None, whole + 5),
    ]
