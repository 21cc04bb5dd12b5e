"""The lock files install what pyproject.toml asks for, from anywhere.

What lives here: pins and hashes. What does not: how the packages are used.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
LOCKS = ("requirements.lock", "requirements-dev.lock")


def locked(name: str) -> dict[str, list[str]]:
    """Package → the versions pinned for it (several where Python versions or systems differ)."""
    pins: dict[str, list[str]] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        pin = re.match(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", line)
        if pin:
            pins.setdefault(canonicalize_name(pin[1]), []).append(pin[2])
    return pins


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text, f"{name} names an address: make lock writes none"
    blocks = re.split(r"\n(?=\S)", text.strip())
    naked = [block.split(" ")[0] for block in blocks if "--hash=sha256:" not in block]
    assert not naked, f"without a hash in {name}: {naked}; write it again with make lock"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("requirements.lock", PROJECT["dependencies"]),
        ("requirements-dev.lock", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]),
    ],
)
def test_the_lock_answers_what_the_project_asks_for(name: str, wanted: list[str]) -> None:
    pins = locked(name)
    offenders = []
    for text in wanted:
        requirement = Requirement(text)
        versions = pins.get(canonicalize_name(requirement.name), [])
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            offenders.append(f"{text}: locked {versions or 'not at all'}")
    assert not offenders, f"run make lock: {offenders}"


def test_both_locks_agree() -> None:
    product, tools = locked("requirements.lock"), locked("requirements-dev.lock")
    assert {name: tools.get(name) for name in product} == product, "run make lock: tests must run on what users install"


def test_the_product_needs_no_second_frame_library() -> None:
    heavy = {"pandas", "numpy"} & set(locked("requirements.lock"))
    assert not heavy, f"{heavy} came in with a dependency: it doubles the install and the ways to compute"


def test_dagster_and_its_tools_stay_on_one_patch() -> None:
    pins = locked("requirements.lock")
    versions = {tuple(pins[name]) for name in ("dagster", "dagster-webserver", "dagster-dg-cli", "dagster-graphql")}
    assert len(versions) == 1


def test_every_pin_says_why() -> None:
    """A dependency stands below a comment line with its reason (several may share one), or before one on its line."""
    block = re.search(r"\ndependencies = \[\n(.*?)\n\]", PYPROJECT, re.DOTALL)
    assert block is not None
    reason = False
    offenders = []
    for line in block[1].splitlines():
        if line.strip().startswith("#"):
            reason = True
        elif not (reason or "#" in line):
            offenders.append(line.strip())
        elif not line.strip().startswith('"dagster'):
            reason = False
    assert not offenders, f"say in a comment above why this range: {offenders}"
