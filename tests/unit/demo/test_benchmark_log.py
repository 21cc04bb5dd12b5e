"""The benchmark log: closed-form counts, chunks that change nothing, three forms of the same rows."""

from __future__ import annotations

import gzip
import json
import tomllib
from datetime import date

import polars as pl
import pytest

from pipelines.demo.benchmark_log import BENCHMARK_FILE, BenchmarkLog, write_benchmark_log
from pipelines.errors import UsageError

ROWS, DAYS = 20_000, 4


@pytest.fixture(scope="module")
def log() -> BenchmarkLog:
    return BenchmarkLog(rows=ROWS, days=DAYS, seed=5)


@pytest.fixture(scope="module")
def frame(log) -> pl.DataFrame:
    return log.frame(0, ROWS)


def test_one_percent_are_verbatim_duplicates_of_valid_rows(log, frame):
    repeated = frame.filter(pl.struct(frame.columns).is_duplicated())
    assert len(frame) - frame["request_id"].n_unique() == log.duplicates == 200
    assert len(frame) - len(frame.unique()) == 200
    assert repeated["input_uncached_tokens"].min() >= 0


def test_one_in_a_thousand_is_invalid(log, frame):
    assert len(frame.filter(pl.col("input_uncached_tokens") < 0)) == log.invalid == 20
    assert log.accepted == 20_000 - 200 - 20


def test_mix_is_the_promised_one(frame):
    assert frame["model"].n_unique() == 30
    assert frame["feature_tag"].n_unique() == 40
    assert frame["user_id"].n_unique() > 4000
    assert 0.28 < (frame["cache_read_tokens"] > 0).mean() < 0.32


def test_chunks_of_any_size_give_the_same_rows(log, frame):
    assert pl.concat([log.frame(0, 137), log.frame(137, 138), log.frame(138, ROWS)]).equals(frame)


def test_rows_lie_on_their_days(log, frame):
    originals = frame.with_row_index("row").filter(pl.col("row") % 100 != 99)
    first_days = originals.group_by(pl.col("started_at").dt.date().alias("day")).agg(pl.col("row").min()).sort("day")
    assert first_days["day"].to_list() == [date(2026, 6, day) for day in (1, 2, 3, 4)]
    assert first_days["row"].to_list() == [log.first_row_of(day) for day in range(DAYS)] == [0, 5000, 10_000, 15_000]


def test_parquet_and_csv_hold_the_rows(tmp_path, frame):
    write_benchmark_log(tmp_path / "log.parquet", rows=ROWS, days=DAYS, form="parquet", seed=5)
    write_benchmark_log(tmp_path / "log.csv", rows=ROWS, days=DAYS, form="csv", seed=5)
    assert pl.read_parquet(tmp_path / "log.parquet").equals(frame)
    moment = pl.col("started_at").str.strptime(pl.Datetime("us", "UTC"), "%Y-%m-%dT%H:%M:%S%.fZ")
    schema = {name: pl.String if name == "started_at" else dtype for name, dtype in frame.schema.items()}
    assert pl.read_csv(tmp_path / "log.csv", schema=schema).with_columns(moment).equals(frame)


def test_json_lines_speak_the_providers_words(tmp_path, frame):
    write_benchmark_log(tmp_path / "log.jsonl", rows=1_000, days=1, form="ndjson", seed=5)
    rows = BenchmarkLog(rows=1_000, days=1, seed=5).frame(0, 1_000)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["request_id"] for line in lines] == rows["request_id"].to_list()
    for line, row in zip(lines, rows.iter_rows(named=True), strict=True):
        usage = line["usage"]
        prompt = row["input_uncached_tokens"] + row["cache_read_tokens"]
        if line["provider"] == "anthropic":
            found = (usage["input_tokens"] + usage["cache_read_input_tokens"], usage["output_tokens"])
        elif line["provider"] == "google":
            found = (usage["promptTokenCount"], usage["candidatesTokenCount"])
        else:
            found = (usage["prompt_tokens"], usage["completion_tokens"])
        assert found == (prompt, row["output_tokens"])


def test_a_folder_gets_a_file_per_day_with_the_same_lines(tmp_path):
    write_benchmark_log(tmp_path / "one.jsonl", rows=3_000, days=3, form="ndjson", seed=5)
    write_benchmark_log(tmp_path / "days", rows=3_000, days=3, form="ndjson", seed=5)
    files = sorted((tmp_path / "days").iterdir())
    assert [path.name for path in files] == ["2026-06-01.jsonl", "2026-06-02.jsonl", "2026-06-03.jsonl"]
    assert b"".join(path.read_bytes() for path in files) == (tmp_path / "one.jsonl").read_bytes()


def test_gzip_holds_no_clock(tmp_path):
    for name in ("a", "b"):
        write_benchmark_log(tmp_path / name / "log.csv.gz", rows=500, days=1, form="csv", seed=5)
    packed = [(tmp_path / name / "log.csv.gz").read_bytes() for name in ("a", "b")]
    assert packed[0] == packed[1]
    assert len(gzip.decompress(packed[0]).splitlines()) == 501


@pytest.mark.parametrize(("rows", "days", "form"), [(0, 1, "csv"), (1, 0, "csv"), (1, 1, "xml")])
def test_an_impossible_log_is_refused(tmp_path, rows, days, form):
    with pytest.raises(UsageError):
        write_benchmark_log(tmp_path / "log.csv", rows=rows, days=days, form=form, seed=1)


@pytest.mark.real_data
def test_every_model_has_list_prices_for_all_its_tokens(shared_data):
    feed = pl.read_csv(
        shared_data / "prices" / "canonical_seed_from_model-prices-0.0.5.csv.gz", infer_schema=False, null_values=[""]
    ).filter(
        (pl.col("service_tier") == "standard") & (pl.col("valid_from").is_null() | (pl.col("valid_from") < "2026-06"))
    )
    priced = set(feed.select("provider", "model", "component").iter_rows())
    models = tomllib.loads(BENCHMARK_FILE.read_text())["models"]
    assert sum(len(names) for names in models.values()) == 30
    missing = [
        (provider, model, component)
        for provider, names in models.items()
        for model in names
        for component in ("input_uncached", "cache_read", "output")
        if (provider, model, component) not in priced
    ]
    assert missing == []
