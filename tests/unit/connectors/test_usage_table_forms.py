"""One table told as CSV and as Parquet gives the same rows and the same rejects, however often its texts repeat."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.connectors import usage_files
from pipelines.connectors.usage_table import CONNECTOR
from tests.unit.connectors.reading import Reading, land, read_log

MAPPING = '[columns]\nfeature_tag = "team"\nuser_group = "team"\napi_key_id = "key"\n'
TEXTS = {
    "started_at": ["2026-10-01T00:00:00Z", "2026-10-02T12:30:00.000005Z"],
    "provider": ["openai", "OpenAI", " openai ", "azure", None],
    "model": ["gpt-4o", "gpt-4o ", "NULL", "m"],
    "account": ["a", "", "b", None],
    "service_tier": ["default", "standard", "Batch", None],
    "status": ["ok", "error", None],
    "team": ["x", " x", "nan", "y", None],
    "key": ["k1", "k2"],
    "output_tokens": ["1", "20", "-3", None],
}
ROWS = st.lists(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in TEXTS.items()}), min_size=1)


def told(folder: Path, rows: list[dict[str, str | None]]) -> tuple[Reading, Reading]:
    """The same rows read from both forms."""
    texts = pl.DataFrame(rows, schema=dict.fromkeys(TEXTS, pl.String))
    counts = texts.with_columns(pl.col("output_tokens").cast(pl.Int64))
    texts.write_csv(folder / "log.csv", null_value="")
    counts.write_parquet(folder / "log.parquet", row_group_size=4)
    return (
        read_log(CONNECTOR, land(folder / "log.csv", "usage_table", mapping=MAPPING)),
        read_log(CONNECTOR, land(folder / "log.parquet", "usage_table", mapping=MAPPING)),
    )


@settings(deadline=None, max_examples=80, derandomize=True)
@given(ROWS, st.sampled_from([3, 9, 500_000]))
def test_both_forms_give_the_same(rows, most_rows):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(usage_files, "_PARQUET_ROWS", most_rows)
        from_csv, from_parquet = told(Path(folder), rows)
    assert from_parquet.usage.equals(from_csv.usage)
    assert from_parquet.reasons == from_csv.reasons


def test_words_of_one_provider_are_one_provider_and_empty_ones_are_none(tmp_path):
    spellings = ["OpenAI", "openai", " openai", "openai"] * 5
    rows = [
        {
            "started_at": "2026-10-01T00:00:00Z", "provider": provider, "model": "m", "account": "", "status": "ok",
            "service_tier": "default", "team": "nan", "key": "k", "output_tokens": "7",
        }
        for provider in spellings
    ]  # fmt: skip
    _, got = told(tmp_path, rows)
    assert set(got.column("provider")) == {"openai"}
    assert set(got.column("service_tier")) == {"standard"}
    assert set(got.column("account")) == {"default"}
    assert set(got.column("feature_tag")) == set(got.column("user_group")) == {None}
    assert got.total("output_tokens") == 140


def test_a_constant_without_a_text_is_the_default(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("started_at,model,output_tokens\n2026-10-01T00:00:00Z,m,7\n")
    mapping = '[constants]\nprovider = "OpenAI"\naccount = " NULL "\n'
    got = read_log(CONNECTOR, land(path, "usage_table", mapping=mapping))
    assert (got.column("provider"), got.column("account"), got.total("output_tokens")) == (["openai"], ["default"], 7)
