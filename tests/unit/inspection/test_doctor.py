"""The doctor: a healthy home, and each thing that can be wrong with one."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.inspection import doctor
from pipelines.lake import Lake
from pipelines.settings import Settings
from tests.unit.inspection.small_home import settings_of


@pytest.fixture
def copied_home(built_home: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(built_home.home, tmp_path / "home", symlinks=True)
    return settings_of(tmp_path / "home")


def found(settings: Settings, subject: str) -> list[tuple[str, str]]:
    return [(finding.verdict, finding.seen) for finding in doctor.examine(settings) if finding.subject == subject]


def test_every_finding_that_is_not_ok_names_the_next_move(built_home: Settings) -> None:
    findings = doctor.examine(built_home)
    assert [finding for finding in findings if finding.verdict != "ok" and not finding.next_move] == []
    assert [finding.subject for finding in findings if finding.verdict == "fail"] == []


def test_no_finding_holds_the_path_of_the_home(built_home: Settings) -> None:
    assert [finding for finding in doctor.examine(built_home) if str(built_home.home) in finding.seen] == []


def test_a_home_that_does_not_exist_is_no_failure(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "new")
    assert found(settings, "home") == [("warn", "the home does not exist yet")]
    assert not settings.home.exists()
    assert not any(finding.verdict == "fail" for finding in doctor.examine(settings))


def test_rejected_files_are_told_with_their_reason(built_home: Settings) -> None:
    assert found(built_home, "files") == [
        ("warn", "response_log/nothing.jsonl is rejected (empty_file): the file is empty")
    ]


def _strange_folder(settings: Settings) -> None:
    (settings.landing / "openai-costs").mkdir()
    (settings.landing / "openai-costs" / "a.json").write_text("{}")


def _waiting_file(settings: Settings) -> None:
    (settings.landing / "response_log" / "new.jsonl").write_text("{}\n")


def _gone_file(settings: Settings) -> None:
    (settings.landing / "response_log" / "calls.jsonl").unlink()


def _open_hash_key(settings: Settings) -> None:
    (settings.home / ".hash_key").write_text("k")
    (settings.home / ".hash_key").chmod(0o644)


def _broken_reference(settings: Settings) -> None:
    (settings.reference / "features.csv").write_text("priority,pattern\n1,x\n")


def _unit_error(settings: Settings) -> None:
    prices = settings.reference / "model_prices" / "house.csv"
    prices.write_text(prices.read_text().replace(",output,8,", ",output,8000,"))


def _lost_partition(settings: Settings) -> None:
    Lake(settings.lake).path("mart__data_status", "all").unlink()


def _broken_index(settings: Settings) -> None:
    (settings.lake / "index.sqlite").write_bytes(b"no database at all" * 100)


def _damaged_snapshot(settings: Settings) -> None:
    file = next((settings.marts / "CURRENT").glob("mart__data_status/*.parquet"))
    file.chmod(0o644)
    file.write_bytes(b"damaged")


def _leftover(settings: Settings) -> None:
    (settings.marts / "snapshots" / ".tmp-dead").mkdir()


@pytest.mark.parametrize(
    ("damage", "subject", "verdict", "words"),
    [
        (_strange_folder, "landing", "warn", "no source: openai-costs (1 files)"),
        (_waiting_file, "landing", "warn", "response_log/new.jsonl"),
        (_gone_file, "files", "warn", "no longer in landing/: response_log/calls.jsonl"),
        (_open_hash_key, "hash key", "fail", "others can read"),
        (_broken_reference, "reference tables", "fail", "features"),
        (_unit_error, "price book", "fail", "8000"),
        (_lost_partition, "lake", "fail", "mart__data_status/all"),
        (_broken_index, "lake", "fail", "cannot be looked at"),
        (_damaged_snapshot, "published marts", "fail", "not what was published"),
        (_leftover, "locks", "warn", ".tmp-dead"),
    ],
)
def test_what_is_wrong_is_found(
    copied_home: Settings, damage: Callable[[Settings], None], subject: str, verdict: str, words: str
) -> None:
    before = found(copied_home, subject)
    damage(copied_home)
    told = [finding for finding in found(copied_home, subject) if finding not in before]
    assert told, f"{subject}: {before}"
    assert told[0][0] == verdict
    assert words in told[0][1]


def test_other_bytes_in_a_partition_are_found(copied_home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many spot checks as partitions nothing escapes; by default some twenty are compared."""
    monkeypatch.setattr(doctor, "SPOT_CHECKS", 1000)
    path = Lake(copied_home.lake).path("mart__data_status", "all")
    path.write_bytes(path.read_bytes() + b" ")
    ((verdict, seen),) = found(copied_home, "lake")
    assert verdict == "fail"
    assert seen.endswith("mart__data_status/all")


def test_a_running_writer_is_told(built_home: Settings) -> None:
    with (built_home.lake / ".lock").open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert ("warn", "somebody is writing now (lake/.lock)") in found(built_home, "locks")
    assert [verdict for verdict, _ in found(built_home, "locks")] == ["ok"]


def test_a_fixed_clock_is_told(built_home: Settings) -> None:
    ((verdict, seen),) = found(built_home, "clock")
    assert (verdict, seen) == ("warn", "the clock is fixed at 2026-11-22T00:00:00+00:00")
    assert found(replace(built_home, fixed_now=None), "clock")[0][0] == "ok"
