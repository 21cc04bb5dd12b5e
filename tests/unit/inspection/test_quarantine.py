"""Quarantine: what is listed, what is shown, and what a replay releases."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.connectors.base import Batch
from pipelines.connectors.response_log import CONNECTOR
from pipelines.errors import FileRejectedError, NotFoundError, UsageError
from pipelines.inspection.quarantine import list_quarantine, replay, show_quarantine
from pipelines.intake.landing import Ledger
from pipelines.lake import Lake
from pipelines.settings import Settings
from tests.unit.inspection.small_home import call, settings_of, take_in


def home_with(tmp_path: Path, **files: str) -> Settings:
    settings = settings_of(tmp_path / "home")
    folder = settings.landing / "response_log"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.jsonl").write_text(text)
    take_in(settings)
    return settings


def requests_in_core(settings: Settings) -> list[str]:
    lake = Lake(settings.lake)
    frames = [lake.read("core__usage", day, ["request_id"]) for day in lake.partitions("core__usage")]
    return sorted(name for frame in frames if frame is not None for name in frame["request_id"])


def test_records_and_whole_files_are_listed_by_reason(built_home: Settings) -> None:
    """calls.jsonl: line 3 is no JSON, line 4 tells r1 otherwise than line 1; nothing.jsonl is empty."""
    listed = list_quarantine(built_home)
    assert listed.select("relative_path", "reason_code", "records", "first_record", "scope").rows() == [
        ("calls.jsonl", "key_conflict", 1, 4, "records"),
        ("calls.jsonl", "malformed_json", 1, 3, "records"),
        ("nothing.jsonl", "empty_file", None, None, "whole file"),
    ]
    assert list_quarantine(built_home, "openai_costs").is_empty()


def test_a_file_is_shown_by_its_path_or_a_start_of_its_identity(built_home: Settings) -> None:
    by_path = show_quarantine(built_home, "response_log/calls.jsonl")
    assert by_path.entries.select("record_number", "reason_code").rows() == [(3, "malformed_json"), (4, "key_conflict")]
    assert show_quarantine(built_home, by_path.landed_file[:8]).landed_file == by_path.landed_file
    rejected = show_quarantine(built_home, "nothing.jsonl")
    assert (rejected.status, rejected.entries.height) == ("rejected", 0)
    assert rejected.reason is not None
    assert rejected.reason.startswith("the file is empty")


def test_no_text_of_a_record_is_shown(built_home: Settings) -> None:
    shown = str(show_quarantine(built_home, "calls.jsonl").entries.rows())
    assert "this is no JSON" not in shown


def test_a_file_that_holds_nothing_quarantined_is_not_found(built_home: Settings) -> None:
    with pytest.raises(NotFoundError) as caught:
        show_quarantine(built_home, "call.jsonl")
    assert "response_log/calls.jsonl" in caught.value.expected


def test_an_unknown_source_is_refused(built_home: Settings) -> None:
    with pytest.raises(UsageError, match="'openai' is not a source"):
        list_quarantine(built_home, "openai")


def test_a_replay_that_changes_nothing_releases_nothing_and_loses_nothing(tmp_path: Path) -> None:
    settings = home_with(tmp_path, a=call("r1", "2026-11-01T12:00:00Z", 1, 1) + "no JSON\n")
    report = replay(settings)
    assert [(file.relative_path, file.before, file.after, file.released) for file in report.files] == [
        ("a.jsonl", 1, 1, 0)
    ]
    assert report.days == ["2026-11-01"]
    assert requests_in_core(settings) == ["r1"]
    (row,) = Ledger(Lake(settings.lake)).frame().to_dicts()
    assert (row["records"], row["accepted"], row["quarantined"]) == (2, 1, 1)


def test_a_conflict_is_released_when_the_other_file_is_replaced(tmp_path: Path) -> None:
    """a and b tell r1 differently, one is quarantined. The other is replaced by a file without r1, then a replay."""
    first = call("r1", "2026-11-01T12:00:00Z", 1, 1)
    settings = home_with(tmp_path, a=first, b=call("r1", "2026-11-01T12:00:00Z", 1, 2))
    held = list_quarantine(settings)["relative_path"].to_list()
    assert len(held) == 1
    other = "b.jsonl" if held == ["a.jsonl"] else "a.jsonl"
    (settings.landing / "response_log" / other).write_text(call("r2", "2026-11-01T13:00:00Z", 1, 1))
    take_in(settings)
    replay(settings)
    assert list_quarantine(settings).is_empty()
    assert requests_in_core(settings) == ["r1", "r2"]


def test_a_reader_that_learned_to_read_a_file_releases_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the reader rejects the file as a whole (as one that does not know a new format would); then it does not."""

    def refuse(_self: object, _file: object) -> list[Batch]:
        raise FileRejectedError("a format of tomorrow", code="unknown_format")

    with monkeypatch.context() as patched:
        patched.setattr(type(CONNECTOR), "read", refuse)
        settings = home_with(tmp_path, a=call("r1", "2026-11-01T12:00:00Z", 1, 1))
        still = replay(settings)
        assert [(file.was_rejected, file.rejected) for file in still.files] == [(True, "a format of tomorrow")]
        assert requests_in_core(settings) == []
    (file,) = replay(settings).files
    assert (file.was_rejected, file.rejected) == (True, None)
    assert requests_in_core(settings) == ["r1"]
    assert Ledger(Lake(settings.lake)).frame()["status"].to_list() == ["ingested"]


def test_raw_files_that_are_gone_or_changed_are_named_and_left_alone(tmp_path: Path) -> None:
    good = call("r1", "2026-11-01T12:00:00Z", 1, 1)
    settings = home_with(
        tmp_path, gone=good + "no JSON\n", other=call("r2", "2026-11-01T12:00:00Z", 1, 1) + "no JSON\n"
    )
    (settings.landing / "response_log" / "gone.jsonl").unlink()
    (settings.landing / "response_log" / "other.jsonl").write_text(good + good)
    report = replay(settings)
    assert (report.files, report.missing_raw, report.changed_raw) == (
        [],
        ["response_log/gone.jsonl"],
        ["response_log/other.jsonl"],
    )
    assert requests_in_core(settings) == ["r1", "r2"]


def test_replaying_one_source_leaves_the_others_alone(tmp_path: Path) -> None:
    settings = home_with(tmp_path, a="no JSON\n" + call("r1", "2026-11-01T12:00:00Z", 1, 1))
    assert replay(settings, "usage_table").files == []
    assert [file.relative_path for file in replay(settings, "response_log").files] == ["a.jsonl"]
