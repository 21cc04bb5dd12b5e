"""Homes and small marts for the tests of publishing. What lives here: builders. What does not: expected values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.publish import commit
from pipelines.settings import Settings

FEATURES = "mart__feature_cost_daily"
STATUS = "mart__data_status"

Row = tuple[str, str, int | None, str | None]
"""(day, feature, total_tokens, effective_cost_usd as decimal text)."""

_FEATURE_SCHEMA = pa.schema(
    [
        ("usage_date", pa.date32()),
        ("feature", pa.string()),
        ("total_tokens", pa.int64()),
        ("effective_cost_usd", pa.decimal128(38, 12)),
        ("cost_per_mtok_usd", pa.decimal128(38, 12)),
    ]
)
_STATUS_SCHEMA = pa.schema([("source", pa.string()), ("unpriced_tokens", pa.int64())])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An empty home whose clock stands at 2026-03-01T02:00:00Z."""
    return Settings(
        home=tmp_path / "home", fixed_now=datetime(2026, 3, 1, 2, tzinfo=UTC), threads=1, memory_limit="1GB"
    )


@pytest.fixture
def without_smoke(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the reader process out where many snapshots are published; test_publish.py runs it."""
    monkeypatch.setattr(commit, "_smoke_read", lambda _layout, _line: None)


Marts = Callable[[Mapping[str, list[Row]]], dict[str, list[Path]]]


@pytest.fixture
def marts(settings: Settings) -> Marts:
    """Writes both marts into the lake: the daily one by month from the rows given, an undated one without rows."""

    def write(months: Mapping[str, list[Row]]) -> dict[str, list[Path]]:
        paths = []
        for month, rows in months.items():
            columns = [
                [date.fromisoformat(day) for day, _, _, _ in rows],
                [feature for _, feature, _, _ in rows],
                [tokens for _, _, tokens, _ in rows],
                [None if cost is None else Decimal(cost) for _, _, _, cost in rows],
                [None] * len(rows),
            ]
            paths.append(_write(settings.lake / FEATURES / f"{month}.parquet", columns, _FEATURE_SCHEMA))
        status = _write(settings.lake / STATUS / "all.parquet", [[], []], _STATUS_SCHEMA)
        return {FEATURES: paths, STATUS: [status]}

    return write


def _write(path: Path, columns: list[list[object]], schema: pa.Schema) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)
    return path
