"""Which names a file holds: found wherever they stand, by one thread or two; all of them where one may be hidden."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.connectors.reading import json_names
from pipelines.connectors.reading.json_names import names_in

NAMES = ("usage", "tier", "tier_of_service", "ü")
PARTS = st.sampled_from(['"usage"', '"tier"', '"tier_of_service"', '"ü"', "usage", '"', "x", "\n", " " * 7, "\\n"])


@given(st.lists(PARTS, max_size=30), st.sampled_from([0, 10**9]), st.sampled_from([1, 16, 64]))
def test_names_are_found_wherever_they_stand(parts: list[str], large: int, block: int) -> None:
    text = "".join(parts)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_names, "_LARGE", large)
        patch.setattr(json_names, "_BLOCK", block)
        patch.setattr(json_names, "_SAMPLE", 4)
        path = Path(folder) / "log.jsonl"
        path.write_text(text, encoding="utf-8")
        assert names_in(path, NAMES) == {name for name in NAMES if f'"{name}"' in text}


@pytest.mark.parametrize("at", [0, 40, 49, 50, 51, 60, 94])
def test_an_escaped_letter_may_hide_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """`\\u0075sage` is the name usage to a reader of JSON; the escape stands around the middle of the file, too."""
    monkeypatch.setattr(json_names, "_LARGE", 0)
    monkeypatch.setattr(json_names, "_SAMPLE", 4)
    path = tmp_path / "log.jsonl"
    path.write_text(" " * at + "\\u0075" + " " * (94 - at))
    assert names_in(path, NAMES) == set(NAMES)


def test_an_empty_file_has_no_names(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b"")
    assert names_in(tmp_path / "log.jsonl", NAMES) == frozenset()


@pytest.mark.parametrize("at", range(8))
def test_an_escape_is_seen_across_blocks_however_short_the_names_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(json_names, "_BLOCK", 4)
    monkeypatch.setattr(json_names, "_SAMPLE", 0)
    path = tmp_path / "log.jsonl"
    path.write_text(" " * at + "\\u0061" + " " * 9)
    assert names_in(path, ["a"]) == {"a"}
