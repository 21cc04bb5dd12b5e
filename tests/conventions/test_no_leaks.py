"""What the repository must not tell: machines, addresses of package indexes, keys.

What lives here: searches over every tracked file. What does not: what the product may log.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.conventions.tracked_files import ROOT, tracked_files

# Joined from pieces, so that this file does not find itself.
MACHINE_PATH = re.compile(
    r"(?<![\w.~}])/(?:"
    + "|".join(["ro" + "ot", "op" + "t", "wo" + "rk", "Us" + "ers", "mn" + "t", r"ho" + r"me/(?!data)\w+"])
    + r")/\w"
)
INDEX_HOST = re.compile(
    "|".join(
        [
            "pyp" + r"i\.org",
            "python" + r"hosted\.org",
            "registry" + r"\.npmjs",
            "deb" + r"\.debian\.org",
            "conda" + r"\.anaconda",
        ]
    )
)
PRIVATE_KEY = re.compile("-----BEGIN " + r"(?:[A-Z]+ )?PRIVATE KEY")
LIVE_KEY = re.compile(r"\b(?:sk-(?:proj|ant|live)-[A-Za-z0-9_\-]{40,}|AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36})\b")
PLANTED = re.compile(r"EXAMPLE|CANARY|canary|0{8}|x{8}|A{8}", re.IGNORECASE)


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    """Relative path → lines of every tracked file that is text."""
    found = {}
    for path in tracked_files():
        raw = path.read_bytes()
        if b"\0" not in raw[:4096]:
            found[str(path.relative_to(ROOT))] = raw.decode("utf-8", errors="replace").splitlines()
    return found


def lines_where(texts: dict[str, list[str]], tells: Callable[[str], object]) -> list[str]:
    return [f"{name}:{number}" for name, lines in texts.items() for number, line in enumerate(lines, 1) if tells(line)]


def test_no_path_of_one_machine(texts: dict[str, list[str]]) -> None:
    offenders = lines_where(texts, MACHINE_PATH.search)
    assert not offenders, f"write paths relative to the project, the home or tmp_path: {offenders}"


def test_no_address_of_a_package_index(texts: dict[str, list[str]]) -> None:
    offenders = lines_where(texts, INDEX_HOST.search)
    assert not offenders, f"name packages, not where they are fetched from: {offenders}"


def test_no_credentials(texts: dict[str, list[str]]) -> None:
    offenders = lines_where(
        texts, lambda line: PRIVATE_KEY.search(line) or (LIVE_KEY.search(line) and not PLANTED.search(line))
    )
    assert not offenders, f"remove the credential, revoke it, and plant an obvious EXAMPLE in tests: {offenders}"


def test_nothing_built_is_tracked(texts: dict[str, list[str]]) -> None:
    built = re.compile(r"(^|/)(lake|marts)/.*\.(parquet|duckdb)$|^data/home/|\.egg-info/|(^|/)__pycache__/|\.pyc$")
    offenders = [name for name in texts if built.search(name)]
    assert not offenders, f"add to .gitignore and remove: {offenders}"


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("path = '/ro" + "ot/x/y'", MACHINE_PATH),
        ("see /ho" + "me/alice/logs", MACHINE_PATH),
        ("--index-url https://pyp" + "i.org/simple", INDEX_HOST),
        ("-----BEGIN " + "RSA PRIVATE KEY-----", PRIVATE_KEY),
        ("key = sk-ant-" + "api03" * 10, LIVE_KEY),
    ],
)
def test_the_searches_find_what_they_look_for(line: str, pattern: re.Pattern[str]) -> None:
    assert pattern.search(line)


@pytest.mark.parametrize(
    "line", ["data/home/landing/x", "<home>/reference/*.csv", "self.home / 'opt'", "tokens/worker/s"]
)
def test_our_own_relative_paths_are_no_machine_paths(line: str) -> None:
    assert not MACHINE_PATH.search(line)
