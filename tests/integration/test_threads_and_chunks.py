"""One thread and small chunks give the bytes that several threads and large chunks give, from the log to the marts."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import polars as pl
import pytest

from pipelines import lake, piece_files
from pipelines.build import rollup_days
from pipelines.connectors import usage_files
from pipelines.connectors.reading import json_lines
from pipelines.core import day_merge, days
from pipelines.demo.benchmark_log import write_benchmark_log
from pipelines.settings import Settings
from tests.integration.nights import home_settings, mart_files, night

ROWS, DAYS = 20_000, 3


def landed(home: Path) -> Settings:
    """A home with the same requests told as Parquet, other requests as CSV, and as packed JSON lines."""
    home.mkdir()
    (home / ".hash_key").write_text("test")
    settings = home_settings(home)
    for form, path in (
        ("parquet", "usage_table/log.parquet"),
        ("csv", "usage_table/late.csv"),
        ("ndjson", "response_log/log.jsonl.gz"),
    ):
        target = settings.landing / path
        target.parent.mkdir(parents=True, exist_ok=True)
        write_benchmark_log(target, rows=ROWS, days=DAYS, form=form, seed=3 if form == "csv" else 4)
    return settings


def canonical_digests(settings: Settings) -> dict[str, str]:
    """Mart → digest of its rows written as canonical Parquet, partitions in order."""
    digests = {}
    for mart, paths in mart_files(settings).items():
        frames = [pl.read_parquet(path) for path in sorted(paths)]
        target = settings.home / "canonical.parquet"
        (pl.concat(frames) if frames else pl.DataFrame()).write_parquet(
            target, compression="zstd", row_group_size=2**19
        )
        digests[mart] = hashlib.sha256(target.read_bytes()).hexdigest()
    return digests


@pytest.mark.slow
def test_marts_are_the_same_to_the_byte(tmp_path, monkeypatch):
    large = landed(tmp_path / "large")
    night(dataclasses.replace(large, threads=4))
    with monkeypatch.context() as patch:
        patch.setattr(usage_files, "_PARQUET_ROWS", 700)
        patch.setattr(usage_files, "_CSV_BLOCK", 64 * 1024)
        patch.setitem(json_lines.read_json_lines.__kwdefaults__, "chunk_rows", 900)
        patch.setattr(lake, "ROW_GROUP_ROWS", 512)
        patch.setattr(day_merge, "LARGE_DAY_ROWS", 1_000)
        patch.setattr(days, "_DAYS_TOGETHER", 1)
        patch.setattr(rollup_days, "_DAYS_TOGETHER", 1)
        patch.setattr(piece_files, "_FEW_ROWS", 100)
        small = landed(tmp_path / "small")
        night(dataclasses.replace(small, threads=1))
    expected = canonical_digests(large)
    assert expected["mart__feature_cost_daily"]
    assert canonical_digests(small) == expected
    feature_rows = sum(len(pl.read_parquet(path)) for path in mart_files(small)["mart__feature_cost_daily"])
    assert feature_rows > 1_000
