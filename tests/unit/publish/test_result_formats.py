"""How a query's rows look as table, CSV, JSON and Parquet: every digit, every NULL."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import QueryError, UsageError
from pipelines.publish.query import FORMATS, write_result

ROWS = pa.table(
    {
        "feature": pa.array(['say "hi", ok', "", None]),
        "cost_usd": pa.array(
            [Decimal("12345678901234567890123456.000000000001"), Decimal("-0.5"), None], pa.decimal128(38, 12)
        ),
        "tokens": pa.array([9_007_199_254_740_993, 0, None], pa.int64()),
        "usage_date": pa.array([date(2026, 1, 31), None, None], pa.date32()),
        "seen_at": pa.array(
            [datetime(2026, 1, 31, 23, 59, 59, 250_000, tzinfo=UTC), None, None], pa.timestamp("us", "UTC")
        ),
    }
)


def _written(result: pa.Table | pa.RecordBatchReader, output_format: str) -> str:
    stream = io.StringIO()
    write_result(result, output_format, stream)
    return stream.getvalue()


def test_json_is_one_array_with_exact_numbers_and_nulls() -> None:
    text = _written(ROWS, "json")
    found = json.loads(text, parse_float=Decimal)
    assert found == [
        {
            "feature": 'say "hi", ok',
            "cost_usd": Decimal("12345678901234567890123456.000000000001"),
            "tokens": 9_007_199_254_740_993,
            "usage_date": "2026-01-31",
            "seen_at": "2026-01-31T23:59:59.250000Z",
        },
        {"feature": "", "cost_usd": Decimal("-0.5"), "tokens": 0, "usage_date": None, "seen_at": None},
        {"feature": None, "cost_usd": None, "tokens": None, "usage_date": None, "seen_at": None},
    ]
    assert '"cost_usd": 12345678901234567890123456.000000000001' in text


def test_smallest_amount_has_no_exponent() -> None:
    amounts = pa.table({"cost_usd": pa.array([Decimal("0.000000000001"), Decimal(0)], pa.decimal128(38, 12))})
    assert _written(amounts, "json") == '[\n{"cost_usd": 0.000000000001},\n{"cost_usd": 0.000000000000}\n]\n'
    assert _written(amounts, "csv") == "cost_usd\n0.000000000001\n0.000000000000\n"


def test_json_of_no_rows_is_an_empty_array() -> None:
    assert _written(ROWS.slice(0, 0), "json") == "[]\n"


def test_json_holds_no_nan_and_no_infinity() -> None:
    found = pa.table({"ratio": [1.5, float("nan"), float("inf"), -float("inf"), None]})
    assert json.loads(_written(found, "json")) == [{"ratio": value} for value in (1.5, None, None, None, None)]


def test_json_of_nested_values() -> None:
    kinds = {
        "tags": pa.array([[("team", "a"), ("b", None)]], pa.map_(pa.string(), pa.string())),
        "prices": pa.array([[Decimal("0.10"), None]], pa.list_(pa.decimal128(4, 2))),
        "one": pa.array([{"day": date(2026, 1, 1), "ok": True}]),
        "raw": pa.array([b"\x00\xff"]),
        "kind": pa.array(["x"]).dictionary_encode(),
    }
    assert _written(pa.table(kinds), "json") == (
        '[\n{"tags": {"team": "a", "b": null}, "prices": [0.10, null], "one": {"day": "2026-01-01", "ok": true}, '
        '"raw": "00ff", "kind": "x"}\n]\n'
    )


def test_text_beyond_ascii_stays_as_it_is() -> None:
    names = pa.table({"feature": ["Übersetzung 翻訳 \u2028"]})
    assert json.loads(_written(names, "json")) == [{"feature": "Übersetzung 翻訳 \u2028"}]
    assert "Übersetzung 翻訳" in _written(names, "json")


def test_csv_tells_null_from_empty_text() -> None:
    assert _written(ROWS, "csv") == (
        "feature,cost_usd,tokens,usage_date,seen_at\n"
        '"say ""hi"", ok",12345678901234567890123456.000000000001,9007199254740993,'
        "2026-01-31,2026-01-31T23:59:59.250000Z\n"
        '"",-0.500000000000,0,,\n'
        ",,,,\n"
    )


def test_csv_of_no_rows_is_its_header() -> None:
    assert _written(ROWS.slice(0, 0), "csv") == "feature,cost_usd,tokens,usage_date,seen_at\n"


def test_table_shows_every_digit_and_is_not_cut_off_a_terminal() -> None:
    wide = ROWS.append_column("note", pa.array(["x" * 500, None, None]))
    text = _written(wide, "table")
    assert "12345678901234567890123456.000000000001" in text
    assert "x" * 500 in text
    assert "NULL" in text
    assert text.endswith("3 rows\n")


def test_table_does_not_obey_what_a_log_smuggled_in() -> None:
    text = _written(pa.table({"feature": ["\x1b[31mred", "[bold]x[/bold]", "a\nb"]}), "table")
    assert "\x1b" not in text
    assert "\\x1b[31mred" in text
    assert "[bold]x[/bold]" in text
    assert "a\\nb" in text


def test_one_row_is_one_row() -> None:
    assert _written(pa.table({"a": [1]}), "table").endswith("1 row\n")


def test_parquet_keeps_the_exact_types() -> None:
    stream = io.BytesIO()
    write_result(ROWS, "parquet", stream)
    assert pq.read_table(io.BytesIO(stream.getvalue())).equals(ROWS)


def test_parquet_goes_through_the_buffer_of_a_text_stream() -> None:
    body = io.BytesIO()
    text = io.TextIOWrapper(body)
    write_result(ROWS, "parquet", text)
    assert body.getvalue().startswith(b"PAR1")


def test_parquet_to_pure_text_is_refused() -> None:
    with pytest.raises(UsageError, match="binary"):
        write_result(ROWS, "parquet", io.StringIO())


def test_parquet_to_a_terminal_is_refused() -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    with pytest.raises(UsageError, match="terminal"):
        write_result(ROWS, "parquet", Terminal())


def test_type_that_parquet_lacks_is_named_with_a_cast() -> None:
    spans = pa.table({"span": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pytest.raises(QueryError, match="Parquet cannot hold"):
        write_result(spans, "parquet", io.BytesIO())


@pytest.mark.parametrize("output_format", ["csv", "json", "table"])
def test_binary_stream_takes_text_formats_as_utf8(output_format: str) -> None:
    stream = io.BytesIO()
    write_result(pa.table({"feature": ["Ü"]}), output_format, stream)
    assert "Ü" in stream.getvalue().decode()


def test_reader_of_batches_is_written_whole() -> None:
    reader = pa.RecordBatchReader.from_batches(ROWS.schema, ROWS.to_batches(max_chunksize=1))
    assert len(json.loads(_written(reader, "json"))) == 3


def test_nanoseconds_and_years_beyond_python_are_written() -> None:
    instants = pa.array([1_577_836_800_123_456_789, None], pa.timestamp("ns"))
    assert json.loads(_written(pa.table({"at": instants}), "json")) == [
        {"at": "2020-01-01T00:00:00.123456789"},
        {"at": None},
    ]


def test_unknown_format_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        write_result(ROWS, "xlsx", io.StringIO())
    assert caught.value.expected == ", ".join(FORMATS)
