"""The import arrow of docs/architecture.md holds. What lives here: one run of import-linter, and sources kept apart.

What does not: the contracts of the floors, which stand in pyproject.toml.
"""

from __future__ import annotations

import re
import tomllib
from itertools import permutations
from pathlib import Path

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


def test_nobody_imports_upwards(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    said = capsys.readouterr().out
    assert status == EXIT_STATUS_SUCCESS, said


def test_the_arrow_of_the_design_is_what_is_checked() -> None:
    contracts = {contract["id"]: contract for contract in CONTRACTS}
    assert set(contracts) == {"one_arrow", "plain_python", "floors"}
    assert contracts["one_arrow"]["layers"] == ["assets", "pipelines"]
    assert "dagster" in contracts["plain_python"]["forbidden_modules"]
    assert contracts["floors"]["exhaustive"], "a module that stands on no floor would escape the contract"


def test_a_source_never_imports_another_source() -> None:
    """A source is a module that defines CONNECTOR; whatever else stands in the folder is a room that sources share."""
    sources = sorted(
        f"pipelines.connectors.{path.stem}"
        for path in (ROOT / "pipelines" / "connectors").glob("*.py")
        if re.search(r"^CONNECTOR\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert sources, "no module defines CONNECTOR: nothing was checked"
    graph = grimp.build_graph("pipelines", cache_dir=None)
    chains = [graph.find_shortest_chain(importer=one, imported=other) for one, other in permutations(sources, 2)]
    offenders = [" -> ".join(chain) for chain in chains if chain]
    assert not offenders, "Move what both need to a shared room beside them:\n  " + "\n  ".join(offenders)
