"""Damaged files of every source: what cannot be read is rejected or quarantined by name, and stops nothing.

What lives here: bytes that were cut, flipped, repeated or replaced, at random and one by one. What does not: what a
good file means (tests/unit/connectors), a disk that fails (test_publish_disk.py).
"""

from __future__ import annotations

import gzip
import io
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pipelines.connectors import registry
from pipelines.demo.generator import write_demo
from pipelines.errors import FileRejectedError
from pipelines.intake.landing import Ledger, survey
from pipelines.intake.reading import read_file
from pipelines.lake import Lake
from tests.unit.lake_state import call, home_settings, land, read, take_in

ODD_VALUES = [b'"x"', b"null", b"-5", b"1.5", b"1e400", b"[]", b"{}", b"true", b"9" * 30, b'"\\u0000"', b'"\\ud800"']
ODD_BYTES = [b"\x00", b"\xff\xfe", b"\n\n", b'"', b"{", b"]", b",", b"NaN", b"1e999", b"-1"]
SOURCES = (
    "anthropic_costs", "anthropic_usage", "claude_code", "focus", "litellm", "openai_costs", "openai_usage",
    "prometheus", "response_log",
)  # fmt: skip


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 3, 20])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def repeat(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.randrange(1, 500)]


def insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at:at] = chance.choice(ODD_BYTES)


def replace_number(data: bytearray, chance: random.Random) -> None:
    replace(data, chance, rb"\d+")


def replace_text(data: bytearray, chance: random.Random) -> None:
    replace(data, chance, rb'"[^"\n]{1,30}"')


def replace(data: bytearray, chance: random.Random, pattern: bytes) -> None:
    found = list(re.finditer(pattern, data))
    if found:
        one = chance.choice(found)
        data[one.start() : one.end()] = chance.choice(ODD_VALUES)


DAMAGES: list[Callable[[bytearray, random.Random], None]] = [cut, flip, repeat, insert, replace_number, replace_text]


@pytest.fixture(scope="module")
def demo_landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("demo")
    write_demo(home, night=1, scale=0.01)
    return home / "landing"


@pytest.mark.parametrize("source", SOURCES)
def test_whatever_happens_to_its_bytes_a_file_is_read_or_rejected(
    demo_landing: Path, tmp_path: Path, source: str
) -> None:
    files = sorted(path for path in (demo_landing / source).rglob("*") if path.is_file())
    chance = random.Random(source)
    settings = home_settings(tmp_path)
    told = []
    for number in range(30):
        original = chance.choice([path for path in files if path.suffix != ".toml"])
        is_packed = original.suffix == ".gz"
        data = bytearray(gzip.decompress(original.read_bytes()) if is_packed else original.read_bytes())
        damage = chance.choice(DAMAGES)
        if is_packed and number % 3 == 0:
            data = bytearray(original.read_bytes())
            damage(data, chance)
        else:
            damage(data, chance)
            data = bytearray(gzip.compress(data)) if is_packed else data
        shutil.rmtree(settings.landing, ignore_errors=True)
        land(settings, str(original.relative_to(demo_landing)), bytes(data))
        lake = Lake(settings.lake)
        for file in survey(settings, Ledger(lake), registry.SOURCES).fresh:
            try:
                read_file(settings, lake, file, by_itself=number % 2 == 0)
            except FileRejectedError as error:
                told.append((error.code, error.expected, error.next_move))
    assert all(map(all, told))
    assert "unforeseen" not in {code for code, _, _ in told}


@pytest.mark.parametrize("source", ["usage_table", "focus"])
def test_a_flipped_bit_in_a_parquet_file_is_read_or_rejected(demo_landing: Path, tmp_path: Path, source: str) -> None:
    """Its texts, its words, the numbers of words and the names of columns are all believed by whoever does not look."""
    rows = pl.DataFrame([call(f"r{n}", feature_tag=f"chat-{n % 7}", user_id=f"u{n % 5}") for n in range(500)])
    bill = pl.read_csv(min((demo_landing / "focus").rglob("*.csv")), infer_schema=False)
    stream = io.BytesIO()
    (rows if source == "usage_table" else bill).write_parquet(stream, compression="uncompressed", statistics=False)
    chance = random.Random(source)
    settings = home_settings(tmp_path)
    outcomes = set()
    for number in range(150):
        data = bytearray(stream.getvalue())
        for _ in range(3):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        shutil.rmtree(settings.landing, ignore_errors=True)
        land(settings, f"{source}/a.parquet", bytes(data))
        [file] = survey(settings, Ledger(Lake(settings.lake)), registry.SOURCES).fresh
        try:
            read_file(settings, Lake(settings.lake), file, by_itself=number % 2 == 0)
            outcomes.add("read")
        except FileRejectedError as error:
            outcomes.add(error.code)
    assert {"read", "malformed_parquet"} <= outcomes
    assert "unforeseen" not in outcomes


def test_a_packed_stream_with_a_flipped_bit_is_rejected(tmp_path: Path) -> None:
    settings = home_settings(tmp_path)
    lines = "".join(f'{{"timestamp": "2026-06-01T10:00:00Z", "request_id": "r{n}"}}\n' for n in range(2_000))
    packed = bytearray(gzip.compress(lines.encode(), mtime=0))
    codes = set()
    for at in range(30, len(packed) - 8, 97):
        damaged = bytearray(packed)
        damaged[at] ^= 0x10
        land(settings, "response_log/a.jsonl.gz", bytes(damaged))
        [file] = survey(settings, Ledger(Lake(settings.lake)), registry.SOURCES).fresh
        with pytest.raises(FileRejectedError) as caught:
            read_file(settings, Lake(settings.lake), file)
        codes.add(caught.value.code)
    assert codes == {"truncated_compression"}


@pytest.mark.parametrize(
    "at", ["0000-06-01T10:00:00Z", "-005-06-01T10:00:00Z", "+12026-06-01T10:00:00Z", "2026-02-30T10:00:00Z"]
)
def test_a_moment_outside_the_calendar_is_no_moment(tmp_path: Path, at: str) -> None:
    settings = home_settings(tmp_path)
    land(settings, "usage_table/a.jsonl", [call("r"), call("odd", at)])
    take_in(settings)
    lake = Lake(settings.lake)
    found = [read(lake, "core__quarantine", key) for key in lake.partitions("core__quarantine")]
    reasons = [row["reason_code"] for frame in found for row in frame.to_dicts()]
    assert reasons == ["bad_timestamp"]


def test_typed_moments_outside_the_calendar_are_no_moments(tmp_path: Path) -> None:
    settings = home_settings(tmp_path)
    rows = pl.DataFrame([call("r"), call("odd")]).with_columns(
        pl.Series("started_at", [1_780_000_000_000_000, 400_000_000_000_000_000]).cast(pl.Datetime("us", "UTC"))
    )
    rows.write_parquet(land(settings, "usage_table/a.parquet", b""))
    take_in(settings)
    lake = Lake(settings.lake)
    [key] = lake.partitions("core__quarantine")
    assert read(lake, "core__quarantine", key)["reason_code"].to_list() == ["bad_timestamp"]


@pytest.mark.parametrize("source", ["openai_costs", "anthropic_usage"])
def test_half_of_a_character_in_a_document_of_money_is_rejected(
    demo_landing: Path, tmp_path: Path, source: str
) -> None:
    """JSON can write "\\ud800" alone, no text can hold it."""
    settings = home_settings(tmp_path)
    original = next(
        path
        for path in sorted((demo_landing / source).rglob("*.json"))
        if b'"object"' in path.read_bytes() or source == "anthropic_usage"
    )
    spoiled = re.sub(
        rb'"(project_id|workspace_id)": ?(null|"[^"]*")', rb'"\1": "\\ud800"', original.read_bytes(), count=1
    )
    assert spoiled != original.read_bytes()
    land(settings, f"{source}/a.json", spoiled)
    report, _ = take_in(settings)
    [(name, why)] = report.rejected
    assert name == f"{source}/a.json"
    assert "half of a character" in why


def test_a_line_of_a_bill_with_text_after_a_quote_is_named_and_the_others_count(
    demo_landing: Path, tmp_path: Path
) -> None:
    settings = home_settings(tmp_path)
    original = min((demo_landing / "focus").rglob("*.csv"), key=lambda path: path.stat().st_size)
    lines = original.read_bytes().splitlines()
    quoted = [place for place, line in enumerate(lines) if place and b'""}"' in line]
    spoiled = quoted[len(quoted) // 2]
    lines[spoiled] = lines[spoiled].replace(b'""}"', b'"true', 1)
    land(settings, "focus/aws/a.csv", b"\n".join(lines) + b"\n")
    take_in(settings)
    lake = Lake(settings.lake)
    entries = pl.concat([read(lake, "core__quarantine", key) for key in lake.partitions("core__quarantine")])
    assert entries.select("record_number", "reason_code").rows() == [(spoiled, "ragged_row")]


@pytest.mark.parametrize("number", ["1e400", "1e999999", "1e999999999", "-1e999999999", "1e-999999999"])
def test_a_number_of_a_billion_digits_is_no_number_and_costs_nothing(
    demo_landing: Path, tmp_path: Path, number: str
) -> None:
    """Written out, such a number would not fit into memory."""
    settings = home_settings(tmp_path)
    for source, pattern in (
        ("openai_costs", rb'"value": ?[0-9."]+'),
        ("openai_usage", rb'"input_tokens": ?[0-9]+'),
        ("prometheus", rb"\[[0-9.]+(?=, ?\")"),
    ):
        files = (path.read_bytes() for path in sorted((demo_landing / source).rglob("*.json")))
        original = next(data for data in files if re.search(pattern, data))
        said = rb"[" if source == "prometheus" else pattern.split(b":")[0] + b": "
        land(settings, f"{source}/a.json", re.sub(pattern, said + number.encode(), original, count=1))
    report, _ = take_in(settings)
    quarantined = Lake(settings.lake).partitions("core__quarantine")
    assert len(report.rejected) + len(quarantined) >= (2 if "e-" in number else 3)
