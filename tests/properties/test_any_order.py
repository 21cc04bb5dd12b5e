"""The marts are a function of what landed: nights in any order, killed anywhere, a backfill and a rebuild agree.

What lives here: one random set of logs, provider usage and bills, brought to the marts by several ways, their bytes
compared. What does not: kill -9 of a process (tests/faults), Dagster's runs (tests/integration), threads and chunks
(tests/integration/test_threads_and_chunks.py), an oracle of single records (test_calls_once.py).
3 sets of 8 logs with 1,500 records of 900 calls over three nights, killed about nine times in all; one set
of 16 files with bills and provider usage brought to the marts at once, over three nights of which two are killed, and
by a backfill of every day.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from pipelines.publish.facts import mart_files
from pipelines.publish.manifest import content_digest
from pipelines.publish.staging import survey
from pipelines.settings import Settings
from tests.integration.nights import built, home_settings
from tests.integration.small_month import openai_call, openai_costs, openai_usage, prices
from tests.properties.models import many_cases
from tests.unit.lake_state import core_state, take_in

DAYS = [date(2026, 9, 1) + timedelta(days=number) for number in range(5)]
NOW = datetime(2026, 9, 20, tzinfo=UTC)
Files = dict[str, tuple[str, int]]
"""Path below landing/ → text, and when it was written (seconds)."""


class KilledError(BaseException):
    """Stands for the end of the process: nothing may catch it."""


def drawn_files(draw: Random) -> Files:
    files: Files = {}
    for number in range(8):
        lines = []
        for _ in range(190):
            day, call = draw.choice(DAYS), draw.randrange(900)
            feature = draw.choice(("chat", "search", None))
            told = openai_call(day, call, "x", (draw.choice((900, 900, 901)), 7))
            lines.append(json.dumps({**told, "feature": feature}))
        files[f"response_log/{number}.jsonl"] = ("\n".join(lines) + "\n", 1_789_000_000 + number)
    for number in range(4):
        when = 1_789_000_000 + draw.randrange(10**5)
        chosen = draw.sample(DAYS, 3)
        bill = {day: (("house-mini, input", f"{draw.randint(0, 900) / 100}"), (None, "-0.25")) for day in chosen}
        files[f"openai_costs/{number}.json"] = (openai_costs(bill), when)
        counted = {day: (draw.randrange(10**6), draw.randrange(10**4)) for day in draw.sample(DAYS, 3)}
        files[f"openai_usage/{number}.json"] = (openai_usage(counted), when)
    return files


def home_of(folder: Path) -> Settings:
    folder.mkdir()
    (folder / ".hash_key").write_text("test")
    prices(folder)
    return home_settings(folder, NOW)


def put(settings: Settings, files: Files, names: list[str]) -> None:
    for name in names:
        text, written = files[name]
        path = settings.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (written, written))


def digest(settings: Settings) -> str:
    return content_digest(survey(mart_files(settings)))


def killed(work: Callable[[], object], after: int) -> bool:
    """Work that ends where its `after`-th file would be renamed into place; whether it got that far."""
    renamed = 0

    def rename(source: Path, target: Path) -> None:
        nonlocal renamed
        renamed += 1
        if renamed > after:
            raise KilledError
        durably(source, target)

    durably = os.replace
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", rename)
        try:
            work()
        except KilledError:
            return True
    return False


@many_cases(3)
def test_the_core_floor_is_the_same_after_kills_in_any_order(
    draw: Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("kills")
    files = {name: told for name, told in drawn_files(draw).items() if name.startswith("response_log/")}
    at_once = home_of(root / "at_once")
    put(at_once, files, list(files))
    take_in(at_once)
    names = list(files)
    draw.shuffle(names)
    nightly = home_of(root / "nightly")
    for start in range(0, len(names), 3):
        put(nightly, files, names[start : start + 3])
        for _ in range(draw.randint(0, 2)):
            killed(lambda: take_in(nightly), draw.randrange(1, 35))
        take_in(nightly)
    assert core_state(nightly) == core_state(at_once)


@many_cases(1)
def test_every_way_to_the_marts_gives_the_same_bytes(draw: Random, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("ways")
    files = drawn_files(draw)
    at_once = home_of(root / "at_once")
    put(at_once, files, list(files))
    built(at_once)
    expected = digest(at_once)

    nightly = home_of(root / "nightly")
    names = list(files)
    draw.shuffle(names)
    cuts = sorted(draw.sample(range(1, len(names)), 2))
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(names)], strict=True)):
        put(nightly, files, names[start:end])
        if number:
            assert killed(lambda: built(nightly), draw.randrange(3, 60))
        built(nightly)
    assert digest(nightly) == expected

    shutil.rmtree(nightly.lake / "core__usage")
    built(nightly, rebuild=[str(day) for day in DAYS])
    assert digest(nightly) == expected
