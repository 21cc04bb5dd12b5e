"""One code location under one name, whoever starts it.

What lives here: how the packages are found. What does not: what the assets do.
"""

from __future__ import annotations

import importlib.util
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_workspace_file_and_dg_name_the_same_location() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    [entry] = workspace["load_from"]
    location = entry["python_module"]
    dg = PYPROJECT["tool"]["dg"]["project"]
    assert location["module_name"] == dg["code_location_target_module"] == "assets.definitions"
    assert location["location_name"] == dg["code_location_name"]
    assert (ROOT / location["working_directory"]).resolve() == ROOT


def test_no_third_place_names_the_location() -> None:
    """`[tool.dagster]` would be read by some commands and not by others."""
    assert "dagster" not in PYPROJECT["tool"]


@pytest.mark.parametrize("package", ["assets", "pipelines"])
def test_our_packages_are_the_ones_that_import(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == ROOT / package / "__init__.py"
    owners = set(packages_distributions().get(package, [])) - {"tokenmart"}
    assert not owners, f"{owners} also install a top-level package {package!r}: it would shadow ours in some processes"


def test_the_code_version_is_the_packages_version() -> None:
    from pipelines.settings import CODE_VERSION

    assert PYPROJECT["project"]["version"] == CODE_VERSION, (
        "raise both together: pyproject.toml and pipelines/settings.py"
    )
