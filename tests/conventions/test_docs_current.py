"""Pages that are made from code equal what the code says now, and links inside the documents lead somewhere.

What lives here: docs against code. What does not: the words of a page.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.conventions.tracked_files import ROOT, tracked_files

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(path for path in tracked_files() if path.match("*/README.md") and path.parent.parent == ROOT),
]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
MAKE_TARGET = re.compile(r"`make ([a-z-]+)")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """docs/generate.py, loaded by its path: docs is no package."""
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["data-dictionary.md", "cli.md"])
def test_a_generated_page_is_current(generator: ModuleType, name: str) -> None:
    path = ROOT / "docs" / name
    written = path.read_text(encoding="utf-8") if path.exists() else ""
    assert written == generator.PAGES[name](), f"docs/{name} is behind the code: run make docs and commit it"


def test_no_generated_page_goes_uncompared(generator: ModuleType) -> None:
    assert set(generator.PAGES) == {"data-dictionary.md", "cli.md"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    broken = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert not broken, f"{document.relative_to(ROOT)} links to what is not there: {broken}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tasks_that_a_document_names_exist(document: Path) -> None:
    tasks = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    unknown = set(MAKE_TARGET.findall(document.read_text(encoding="utf-8"))) - tasks
    assert not unknown, f"{document.relative_to(ROOT)} names tasks that the Makefile has not: {sorted(unknown)}"


def test_every_task_tells_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    told = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert told == set(phony[1].split()), "every task is phony and has a '## …' that make help shows"
