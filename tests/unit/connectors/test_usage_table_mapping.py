"""The usage_table connector with a mapping.toml, and files that it refuses; the real traces."""

from __future__ import annotations

import json
from datetime import UTC, datetime
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


class TestMapping:
    def test_foreign_names_constants_tags_and_relative_times(self, tmp_path: Path) -> None:
        mapping = """
        [columns]
        started_at = "t"
        input_tokens = "in"
        cache_read_tokens = "hit"
        output_tokens = "out"
        [constants]
        provider = "self_hosted"
        model = "llama-3-70b"
        account = "gpu-east"
        [tags]
        team = "squad"
        [time]
        origin = "2025-09-10T00:00:00Z"
        unit = "seconds"
        [tokens]
        input_includes_cache = true
        """
        got = reading(csv(tmp_path, "t,in,hit,out,squad\n90.5,100,30,4,blue\n86400,10,20,1,\n", mapping))
        assert got.column("started_at") == [instant(2025, 9, 10, 0, 1, 30, 500000), instant(2025, 9, 11)]
        # 100 − 30; 10 − 20 stays negative for the contract to name cache_gt_input
        assert got.column("input_uncached_tokens") == [70, -10]
        assert got.column("cache_read_tokens") == [30, 20]
        assert got.column("tags") == ['{"team":"blue"}', None]
        assert got.column("account") == ["gpu-east", "gpu-east"]

    def test_single_tag_columns_win_over_the_tags_column(self, tmp_path: Path) -> None:
        head = "started_at,provider,model,output_tokens,tags,squad\n"
        text = head + '2026-10-01T00:00:00Z,openai,m,1,"{""team"":""red"",""env"":""x""}",blue\n'
        got = reading(csv(tmp_path, text, '[tags]\nteam = "squad"\n'))
        assert got.column("tags") == ['{"env":"x","team":"blue"}']

    def test_paths_reach_into_json_records(self, tmp_path: Path) -> None:
        mapping = """
        [columns]
        started_at = "at.ms"
        feature_tag = 'labels."app.feature"'
        output_tokens = "counts[1]"
        [constants]
        provider = "openai"
        model = "m"
        [time]
        unit = "milliseconds"
        """
        records = [
            {"at": {"ms": 1759276800123}, "labels": {"app.feature": "chat"}, "counts": [1, 2]},
            {"at": {"ms": "1759276800124"}, "counts": [1]},
            {"at": 5, "counts": [1, 2]},
        ]
        got = reading(jsonl(tmp_path, records, mapping))
        # 1759276800 s = 2025-10-01T00:00:00Z
        assert got.column("started_at") == [instant(2025, 10, 1, 0, 0, 0, 123000)]
        assert got.column("feature_tag") == ["chat"]
        assert got.column("output_tokens") == [2]
        assert got.reasons == [(2, "missing_usage", None), (3, "type_error", "at")]

    def test_reasoning_beside_output_is_added_when_the_mapping_says_so(self, tmp_path: Path) -> None:
        text = "started_at,provider,model,output_tokens,reasoning_tokens\n2026-10-01T00:00:00Z,xai,m,10,90\n"
        got = reading(csv(tmp_path, text, "[tokens]\noutput_excludes_reasoning = true\n"))
        assert (got.column("output_tokens"), got.column("reasoning_tokens")) == ([100], [90])

    def test_own_time_format_and_zone_with_a_repeated_hour(self, tmp_path: Path) -> None:
        mapping = '[time]\nformat = "%d/%m/%Y %H:%M:%S"\ntimezone = "Europe/Berlin"\n'
        times = ["01/07/2026 12:00:00", "25/10/2026 02:30:00", "29/03/2026 02:30:00"]
        got = reading(csv(tmp_path, OURS + "".join(f"{t},openai,m,1,1\n" for t in times), mapping))
        # Berlin is UTC+2 in July; 02:30 on 25 October happens twice (the earlier is UTC+2), on 29 March not at all
        assert got.column("started_at") == [instant(2026, 7, 1, 10), instant(2026, 10, 25, 0, 30)]
        assert got.reasons == [(3, "bad_timestamp", "started_at")]

    def test_a_wrong_unit_gives_bad_timestamps_instead_of_a_far_future(self, tmp_path: Path) -> None:
        text = OURS + "1759276800000,openai,m,1,1\n"
        assert reading(csv(tmp_path, text, '[time]\nunit = "seconds"\n')).reasons == [
            (1, "bad_timestamp", "started_at")
        ]

    @pytest.mark.parametrize(
        ("mapping", "named"),
        [
            ('[column]\nstarted_at = "t"\n', "columns"),
            ('[columns]\nstart = "t"\n', "started_at"),
            ("[constants]\nmodel = 5\n", "[constants] model"),
            ('[time]\nunit = "s"\n', "seconds"),
            ('[time]\norigin = "2026-01-01T00:00:00Z"\n', "unit"),
            ('[time]\ntimezone = "Berlin"\n', "Europe/Berlin"),
            ("[tokens]\ninput_includes_cache = 1\n", "true or false"),
            ('[columns]\nmodel = "m"\n[constants]\nmodel = "m"\n', "[constants]"),
            ("[columns\n", "TOML"),
            ('[csv]\ndelimiter = "ab"\n', "one character"),
        ],
    )
    def test_a_mistake_in_the_mapping_is_named_with_its_cure(self, tmp_path: Path, mapping: str, named: str) -> None:
        error = refused(csv(tmp_path, OURS, mapping))
        assert error.code == "bad_mapping"
        assert named in str(error)

    def test_a_mapped_column_that_the_file_lacks_is_an_error(self, tmp_path: Path) -> None:
        error = refused(csv(tmp_path, OURS, '[columns]\nsession_id = "sid"\n'))
        assert error.code == "mapped_column_missing"
        assert "'sid'" in str(error)


class TestUnusableFiles:
    def test_a_table_without_known_columns_is_refused_with_a_mapping_to_copy(self, tmp_path: Path) -> None:
        error = refused(csv(tmp_path, "TIMESTAMP,ContextTokens\n1,2\n"))
        assert error.code == "no_known_columns"
        assert "ContextTokens" in error.where
        assert "[columns]" in error.next_move

    def test_json_lines_without_known_columns_are_refused_too(self, tmp_path: Path) -> None:
        assert refused(jsonl(tmp_path, [{"a": 1}, {"b": 2}])).code == "no_known_columns"

    def test_input_beside_cache_columns_needs_a_word_about_inclusion(self, tmp_path: Path) -> None:
        text = "started_at,provider,model,input_tokens,cache_read_tokens\n2026-10-01T00:00:00Z,openai,m,9,4\n"
        error = refused(csv(tmp_path, text))
        assert error.code == "ambiguous_input_tokens"
        assert "input_includes_cache" in error.next_move
        apart = reading(csv(tmp_path, text, "[tokens]\ninput_includes_cache = false\n"))
        assert apart.column("input_uncached_tokens") == [9]

    def test_plain_numbers_as_times_need_a_unit(self, tmp_path: Path) -> None:
        assert refused(csv(tmp_path, OURS + "1759276800,openai,m,1,1\n")).code == "time_unit_missing"
        record = {"started_at": 1759276800, "provider": "openai", "model": "m", "output_tokens": 1}
        assert refused(jsonl(tmp_path, [record])).code == "time_unit_missing"

    def test_bytes_that_are_no_text_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "log.csv"
        path.write_bytes(OURS.encode() + b"2026-10-01T00:00:00Z,openai,\xff\xfe,1,1\n")
        assert refused(land(path, "usage_table")).code == "malformed_csv"

    def test_a_cut_parquet_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "log.parquet"
        path.write_bytes(b"PAR1 and then nothing")
        assert refused(land(path, "usage_table")).code == "malformed_parquet"


@pytest.mark.real_data
class TestRealTraces:
    """Totals as published with the traces (README of the real data)."""

    def test_azure_code_2023(self, shared_data: Path) -> None:
        mapping = """
        [columns]
        started_at = "TIMESTAMP"
        input_tokens = "ContextTokens"
        output_tokens = "GeneratedTokens"
        [constants]
        provider = "azure_openai"
        model = "code"
        """
        got = reading(land(shared_data / "traces/AzureLLMInferenceTrace_code.csv", "usage_table", mapping=mapping))
        assert (len(got.usage), got.total("input_uncached_tokens"), got.total("output_tokens")) == (
            8819,
            18059974,
            245896,
        )
        # first line of the file: 18:17:03.9799600, seven digits
        assert got.column("started_at")[0] == instant(2023, 11, 16, 18, 17, 3, 979960)

    def test_mooncake_conversation(self, shared_data: Path) -> None:
        mapping = """
        [columns]
        started_at = "timestamp"
        input_tokens = "input_length"
        output_tokens = "output_length"
        [constants]
        provider = "self_hosted"
        model = "kimi"
        [time]
        origin = "2024-11-01T00:00:00Z"
        unit = "milliseconds"
        """
        got = reading(land(shared_data / "traces/mooncake_conversation_trace.jsonl", "usage_table", mapping=mapping))
        totals = (len(got.usage), got.total("input_uncached_tokens"), got.total("output_tokens"))
        assert totals == (12031, 144793823, 4122048)

    def test_ragpulse_with_features_inside_a_list(self, shared_data: Path) -> None:
        mapping = """
        [columns]
        started_at = "timestamp"
        input_tokens = "input_length"
        output_tokens = "output_length"
        feature_tag = "hash_ids.sys_prompt[0]"
        session_id = "session_id"
        [constants]
        provider = "self_hosted"
        model = "rag"
        [time]
        origin = "2025-09-10T00:00:00Z"
        unit = "seconds"
        """
        got = reading(land(shared_data / "traces/ragpulse_0_trace.jsonl", "usage_table", mapping=mapping))
        assert (len(got.usage), got.total("input_uncached_tokens"), got.total("output_tokens")) == (
            7106,
            20917099,
            2012676,
        )
        counts = dict(got.usage["feature_tag"].value_counts().rows())
        assert counts == {"8302": 5448, "8308": 1402, "8325": 256}
        hours = (got.usage["started_at"] - instant(2025, 9, 10)).dt.total_hours().to_list()
        # 7 days; the README names the hours without any request
        assert sorted(set(range(7 * 24)) - set(hours)) == [65, 136, 159, 161]
        assert got.column("started_at")[0] == instant(2025, 9, 10, 0, 1, 22)
