"""From a connector's rows to rows that may enter the lake: ids, days, contracts row by row."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.connectors.base import LandedFile, canonical_usage
from pipelines.quantities import TOKEN_COLUMNS
from pipelines.transforms.canonical_rows import ROWS_SCHEMA, ContentIds, sift_usage
from tests.unit.transforms.usage_days import MIDNIGHT

FILE = LandedFile(source="usage_table", path=Path("x"), relative_path="x", landed_file="0" * 16)


def given(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {"started_at": MIDNIGHT, "provider": "openai", "model": "gpt-4o", "request_id": None}
    full = [{**base, "record_number": number, **row} for number, row in enumerate(rows, 1)]
    names = {name for row in full for name in row}
    frame = pl.DataFrame(
        [{name: row.get(name) for name in names} for row in full],
        schema_overrides={name: dtype for name, dtype in ROWS_SCHEMA.items() if name in names},
        infer_schema_length=None,
    )
    return canonical_usage(frame)


def sifted(*rows: dict[str, Any], ids: ContentIds | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    found = sift_usage(given(*rows), FILE, b"key", ids or ContentIds())
    return found.piece.frame(list(ROWS_SCHEMA)), found.rejected


def test_rows_get_their_source_file_and_utc_day():
    rows, rejected = sifted({"request_id": "a"})
    assert rows.select("source", "landed_file", "usage_date").row(0) == ("usage_table", "0" * 16, MIDNIGHT.date())
    assert (dict(rows.schema), len(rejected)) == (ROWS_SCHEMA, 0)


def test_a_row_without_id_gets_one_from_its_content_and_its_place_among_equals():
    ids = ContentIds()
    rows, _ = sifted({"output_tokens": 1}, {"output_tokens": 1}, {"output_tokens": 2}, {"request_id": "own"}, ids=ids)
    first, second, other, own = rows["request_id"].to_list()
    assert first.endswith(":1")
    assert second == first[:-1] + "2"
    assert other.split(":")[1] != first.split(":")[1]
    assert own == "own"
    later, _ = sifted({"output_tokens": 1, "record_number": 9}, ids=ids)
    assert later["request_id"].item() == first[:-1] + "3"
    again, _ = sifted({"output_tokens": 1})
    assert again["request_id"].item() == first


def test_a_content_id_is_the_md5_of_the_row_as_json():
    tokens = dict.fromkeys(TOKEN_COLUMNS, 0) | {"output_tokens": 7}
    content = {
        "started_at": int(MIDNIGHT.timestamp()) * 10**6, "provider": "openai", "account": "default", "model": "gpt-4o",
        "service_tier": "standard", "region": "unspecified", **tokens, "feature_tag": None, "user_id": None,
        "session_id": None, "api_key_id": None, "user_group": None, "status": "success", "tags": None, "requests": 1,
    }  # fmt: skip
    digest = hashlib.md5(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
    rows, _ = sifted({"output_tokens": 7})
    assert rows["request_id"].item() == f"content:{digest}:1"


def test_parts_of_one_record_share_an_id():
    rows, _ = sifted({"part": 0, "record_number": 1}, {"part": 1, "record_number": 1, "model": "o3"})
    assert rows["request_id"].n_unique() == 1


def test_one_bad_row_is_quarantined_with_its_reason_and_the_others_stay():
    rows, rejected = sifted(
        {"request_id": "a"},
        {"request_id": "b", "input_uncached_tokens": -1},
        {"request_id": "c", "output_tokens": -1},
        {"request_id": "d", "provider": "Open AI"},
        {"request_id": "e", "status": "odd"},
    )
    assert rows["request_id"].to_list() == ["a"]
    assert rejected.sort("record_number").select("record_number", "reason_code", "column").rows() == [
        (2, "cache_gt_input", "input_uncached_tokens"),
        (3, "contract_output_tokens", "output_tokens"),
        (4, "contract_provider", "provider"),
        (5, "contract_status", "status"),
    ]


def test_a_fault_that_all_rows_share_rejects_them_all():
    rows, rejected = sifted({"request_id": "a", "model": ""}, {"request_id": "b", "model": ""})
    assert (len(rows), rejected["reason_code"].to_list()) == (0, ["contract_model"] * 2)


def test_a_bad_part_takes_its_whole_record_along():
    rows, rejected = sifted(
        {"request_id": "a", "part": 0, "record_number": 1},
        {"request_id": "a", "part": 1, "record_number": 1, "output_tokens": -1},
        {"request_id": "b", "record_number": 2},
    )
    assert rows["request_id"].to_list() == ["b"]
    assert rejected.select("record_number", "part").rows() == [(1, 1)]


def test_rows_of_several_days_are_cut_by_day_whatever_their_order():
    late = MIDNIGHT.replace(day=3)
    found = sift_usage(
        given({"request_id": "a", "started_at": late}, {"request_id": "b"}, {"request_id": "c", "started_at": late}),
        FILE, b"key", ContentIds(),
    )  # fmt: skip
    cut = {day: piece.frame(["request_id"])["request_id"].to_list() for day, piece in found.piece.by_day()}
    assert cut == {"2026-06-02": ["b"], "2026-06-03": ["a", "c"]}
