"""The usage_table connector: CSV, Parquet and JSON lines, in our words or mapped to them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipelines.connectors.base import LandedFile
from pipelines.connectors.usage_table import CONNECTOR
from pipelines.errors import FileRejectedError
from tests.unit.connectors.reading import Reading, land, read_log

OURS = "started_at,provider,model,input_uncached_tokens,output_tokens\n"


def csv(tmp_path: Path, text: str, mapping: str | None = None, account: str = "default") -> LandedFile:
    path = tmp_path / "log.csv"
    path.write_bytes(text.encode())
    return land(path, "usage_table", mapping=mapping, account=account)


def jsonl(tmp_path: Path, records: list[object], mapping: str | None = None) -> LandedFile:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return land(path, "usage_table", mapping=mapping)


def parquet(tmp_path: Path, frame: pl.DataFrame, mapping: str | None = None) -> LandedFile:
    path = tmp_path / "log.parquet"
    frame.write_parquet(path)
    return land(path, "usage_table", mapping=mapping)


def reading(file: LandedFile) -> Reading:
    return read_log(CONNECTOR, file)


def refused(file: LandedFile) -> FileRejectedError:
    with pytest.raises(FileRejectedError) as caught:
        list(CONNECTOR.read(file))
    return caught.value


def instant(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


class TestColumnsOfOurs:
    def test_five_columns_are_enough_and_the_rest_has_defaults(self, tmp_path: Path) -> None:
        got = reading(csv(tmp_path, OURS + "2026-10-01T00:00:00Z,openai,gpt-4o,7,3\n"))
        row = got.usage.row(0, named=True)
        assert row["started_at"] == instant(2026, 10, 1)
        assert (row["provider"], row["account"], row["model"]) == ("openai", "default", "gpt-4o")
        assert (row["service_tier"], row["region"], row["status"]) == ("standard", "unspecified", "success")
        assert (row["input_uncached_tokens"], row["output_tokens"], row["cache_read_tokens"]) == (7, 3, 0)
        assert (row["requests"], row["request_id"], row["tags"], row["reported_cost_usd"]) == (1, None, None, None)

    def test_crlf_blank_lines_quotes_and_a_newline_inside_quotes(self, tmp_path: Path) -> None:
        text = (
            "started_at,provider,model,output_tokens,session_id,note\r\n"
            '2026-10-01T00:00:00Z,openai,"gpt, 4o",1,"s ""1""","two\r\nlines"\r\n'
            "\r\n"
            "2026-10-01T00:00:01Z,openai,gpt-4o,2,s2,\r\n"
            "\r\n"
        )
        got = reading(csv(tmp_path, text))
        assert got.column("model") == ["gpt, 4o", "gpt-4o"]
        assert got.column("session_id") == ['s "1"', "s2"]
        assert got.column("record_number") == [1, 2]

    def test_short_and_long_lines_are_rejected_and_the_rest_goes_on(self, tmp_path: Path) -> None:
        good = "2026-10-01T00:00:00Z,openai,gpt-4o,7,3\n"
        got = reading(csv(tmp_path, OURS + good + "2026-10-01T00:00:00Z,openai\n\n" + good + "a,b,c,d,e,f\n" + good))
        assert got.reasons == [(2, "malformed_csv", None), (4, "malformed_csv", None)]
        assert got.column("record_number") == [1, 3, 5]

    def test_a_bad_number_after_a_bad_line_keeps_the_record_numbers(self, tmp_path: Path) -> None:
        good = "2026-10-01T00:00:00Z,openai,gpt-4o,7,3\n"
        bad = "2026-10-01T00:00:00Z,openai,gpt-4o,12.5,3\n"
        got = reading(csv(tmp_path, OURS + "short\n" + good + bad + good))
        assert got.reasons == [(1, "malformed_csv", None), (3, "bad_token_count", "input_uncached_tokens")]
        assert got.column("record_number") == [2, 4]

    def test_each_unreadable_record_gets_its_own_reason(self, tmp_path: Path) -> None:
        lines = [
            ",openai,gpt-4o,1,1",
            "yesterday,openai,gpt-4o,1,1",
            "2026-10-01T00:00:00Z,,gpt-4o,1,1",
            "2026-10-01T00:00:00Z,openai,NULL,1,1",
            "2026-10-01T00:00:00Z,openai,gpt-4o,,",
            "2026-10-01T00:00:00Z,openai,gpt-4o,99999999999999999999,1",
            "2026-10-01T00:00:00Z,openai,gpt-4o,1,many",
        ]
        got = reading(csv(tmp_path, OURS + "\n".join(lines)))
        assert got.reasons == [
            (1, "missing_timestamp", "started_at"),
            (2, "bad_timestamp", "started_at"),
            (3, "missing_provider", "provider"),
            (4, "missing_model", "model"),
            (5, "missing_usage", None),
            (6, "bad_token_count", "input_uncached_tokens"),
            (7, "bad_token_count", "output_tokens"),
        ]
        assert got.usage.is_empty()

    def test_a_failed_call_may_lack_token_counts(self, tmp_path: Path) -> None:
        text = "started_at,provider,model,output_tokens,status\n2026-10-01T00:00:00Z,openai,gpt-4o,,error\n"
        got = reading(csv(tmp_path, text))
        assert got.column("status") == ["failure"]
        assert got.column("output_tokens") == [0]

    def test_whole_floats_and_padded_texts_are_counts_and_a_negative_count_is_left_to_the_contract(
        self, tmp_path: Path
    ) -> None:
        lines = ["2026-10-01T00:00:00Z,openai,m,12.0, 5 ", "2026-10-01T00:00:00Z,openai,m,1e3,-4"]
        got = reading(csv(tmp_path, OURS + "\n".join(lines)))
        assert got.column("input_uncached_tokens") == [12, 1000]
        assert got.column("output_tokens") == [5, -4]

    def test_zones_fractions_and_naive_times_become_utc_microseconds(self, tmp_path: Path) -> None:
        times = ["2026-10-01T02:00:00.123456789+02:00", "2026-09-30 17:00:00-07:00", "2026-10-01 00:00:00.5"]
        got = reading(csv(tmp_path, OURS + "".join(f"{t},openai,m,1,1\n" for t in times)))
        assert got.column("started_at") == [
            instant(2026, 10, 1, 0, 0, 0, 123456),
            instant(2026, 10, 1),
            instant(2026, 10, 1, 0, 0, 0, 500000),
        ]

    def test_provider_tier_and_status_words_are_translated(self, tmp_path: Path) -> None:
        text = (
            "started_at,provider,model,output_tokens,service_tier,status\n"
            "2026-10-01T00:00:00Z,Azure,m,1,default,OK\n"
            "2026-10-01T00:00:00Z,vertex_ai,m,1,batch,success\n"
        )
        got = reading(csv(tmp_path, text))
        assert got.column("provider") == ["azure_openai", "google"]
        assert got.column("service_tier") == ["standard", "batch"]
        assert got.column("status") == ["success", "success"]

    def test_requests_meters_and_reported_cost_are_exact(self, tmp_path: Path) -> None:
        text = (
            "started_at,provider,model,output_tokens,requests,web_search_requests,audio_seconds,reported_cost_usd\n"
            "2026-10-01T00:00:00Z,openrouter,m,1,25,2,1.5,0.1\n"
            "2026-10-01T00:00:00Z,openrouter,m,1,,,,0.00022500000000000002\n"
            "2026-10-01T00:00:00Z,openrouter,m,1,1,,,free\n"
        )
        got = reading(csv(tmp_path, text))
        assert got.column("requests") == [25, 1]
        assert got.column("web_search_requests") == [Decimal(2), None]
        assert got.column("audio_seconds") == [Decimal("1.5"), None]
        # 0.000225 with the noise of a double: rounded at the twelfth digit in decimal arithmetic
        assert got.column("reported_cost_usd") == [Decimal("0.1"), Decimal("0.000225")]
        assert got.reasons == [(3, "bad_amount", "reported_cost_usd")]

    def test_tags_are_canonical_and_free_text_is_dropped(self, tmp_path: Path) -> None:
        head = "started_at,provider,model,output_tokens,tags\n"
        values = [
            '{"team":"search","env":"prod"}',
            json.dumps({"n": 7, "long": "x" * 129, "nested": {"a": 1}}),
            "[",
            "",
        ]
        quoted = ['"' + value.replace('"', '""') + '"' for value in values]
        got = reading(csv(tmp_path, head + "".join(f"2026-10-01T00:00:00Z,openai,m,1,{value}\n" for value in quoted)))
        assert got.column("tags") == ['{"env":"prod","team":"search"}', '{"n":"7"}', None]
        assert got.reasons == [(3, "type_error", "tags")]

    def test_a_row_without_an_account_is_default_whatever_its_folder(self, tmp_path: Path) -> None:
        line = "2026-10-01T00:00:00Z,openai,m,1,"
        text = f"started_at,provider,model,output_tokens,account\n{line}proj_1\n{line}\n"
        got = reading(csv(tmp_path, text, account="team-a"))
        assert got.column("account") == ["proj_1", "default"]

    def test_a_new_foreign_column_changes_nothing(self, tmp_path: Path) -> None:
        got = reading(
            csv(tmp_path, "started_at,provider,model,output_tokens,mood\n2026-10-01T00:00:00Z,openai,m,1,good\n")
        )
        assert got.column("output_tokens") == [1]

    def test_an_empty_file_and_a_bare_header_hold_no_record(self, tmp_path: Path) -> None:
        assert reading(csv(tmp_path, "")).usage.is_empty()
        assert reading(csv(tmp_path, OURS)).usage.is_empty()
        assert reading(csv(tmp_path, OURS.strip())).usage.is_empty()

    def test_a_short_first_line_is_rejected_like_any_other(self, tmp_path: Path) -> None:
        got = reading(
            csv(tmp_path, "model,provider,output_tokens,started_at\nm,openai\nm,openai,1,2026-10-01T00:00:00Z\n")
        )
        assert got.reasons == [(1, "malformed_csv", None)]
        assert got.column("record_number") == [2]

    def test_semicolons_are_guessed_from_the_header(self, tmp_path: Path) -> None:
        got = reading(csv(tmp_path, OURS.replace(",", ";") + "2026-10-01T00:00:00Z;openai;m;1;2\n"))
        assert got.column("output_tokens") == [2]


class TestParquet:
    def test_typed_columns_of_every_kind(self, tmp_path: Path) -> None:
        frame = pl.DataFrame(
            {
                "started_at": pl.Series(["2026-10-01", "2026-10-02"]).str.to_datetime("%Y-%m-%d", time_unit="ns"),
                "provider": pl.Series(["openai", "openai"], dtype=pl.Categorical),
                "model": ["m", "m"],
                "input_uncached_tokens": pl.Series([5, 2**40], dtype=pl.UInt64),
                "cache_read_tokens": [1.0, 2.5],
                "output_tokens": [Decimal("3.00"), Decimal("4.00")],
                "request_id": [17, 18],
                "tags": [{"team": "a", "n": None}, {"team": "b", "n": 1}],
                "prompt": ["secret", "secret"],
            }
        )
        got = reading(parquet(tmp_path, frame))
        assert got.column("started_at") == [instant(2026, 10, 1)]
        assert got.column("request_id") == ["17"]
        assert got.column("output_tokens") == [3]
        assert got.column("tags") == ['{"team":"a"}']
        assert got.reasons == [(2, "bad_token_count", "cache_read_tokens")]

    def test_zones_days_and_struct_paths(self, tmp_path: Path) -> None:
        frame = pl.DataFrame(
            {
                "day": [date(2026, 10, 1)],
                "meta": [{"feature": "chat", "ids": [8302]}],
                "n": ["12"],
            }
        )
        mapping = """
        [columns]
        started_at = "day"
        feature_tag = "meta.feature"
        session_id = "meta.ids[0]"
        output_tokens = "n"
        [constants]
        provider = "openai"
        model = "m"
        """
        got = reading(parquet(tmp_path, frame, mapping))
        assert got.usage.select("started_at", "feature_tag", "session_id", "output_tokens").row(0) == (
            instant(2026, 10, 1),
            "chat",
            "8302",
            12,
        )


class TestChunks:
    def test_batches_of_a_long_file_stay_bounded_and_numbered(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pipelines.connectors import usage_files

        monkeypatch.setattr(usage_files, "_CSV_BLOCK", 4096)
        lines = [f"2026-10-01T00:00:00Z,openai,m,{n},1" for n in range(1000)]
        lines[500] = "short"
        lines[900] = "2026-10-01T00:00:00Z,openai,m,x,1"
        file = csv(tmp_path, OURS + "\n".join(lines))
        assert max(len(b.usage) for b in CONNECTOR.read(file) if b.usage is not None) < 200
        got = reading(file)
        assert got.reasons == [(501, "malformed_csv", None), (901, "bad_token_count", "input_uncached_tokens")]
        # token count n stands in record n + 1, before and after the bad lines
        assert all(n + 1 == number for n, number in got.usage.select("input_uncached_tokens", "record_number").rows())


def test_planted_secrets_reach_no_frame(tmp_path: Path) -> None:
    secret = "CANARY-7f3a"
    line = f"{secret},{secret},{secret},{secret}\n"
    head = "started_at,provider,model,output_tokens,prompt,completion,email,api_key\n"
    text = f"{head}2026-10-01T00:00:00Z,openai,m,x,{line}2026-10-01T00:00:00Z,openai,m,1,{line}"
    got = reading(csv(tmp_path, text))
    assert len(got.usage) == len(got.rejected) == 1
    assert secret not in got.text()
    record = {
        "started_at": "2026-10-01T00:00:00Z",
        "provider": "openai",
        "model": "m",
        "output_tokens": 1,
        "prompt": secret,
    }
    assert secret not in reading(jsonl(tmp_path, [record, {**record, "output_tokens": "x"}])).text()
