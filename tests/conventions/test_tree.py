"""The house rules that a reader can rely on in any file.

What lives here: shape of the tree. What does not: style (ruff), layout of SQL (sqlfluff).
Every test lists all offenders and says how to put them right.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conventions.tracked_files import ROOT, tracked_files

LONGEST = 400
EXCUSE = "Longer than 400 lines because"
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "stuff", "shared", "tools"}
PRODUCT = ("assets", "pipelines")


FILES = tracked_files()
MODULES = [path for path in FILES if path.suffix == ".py"]
PRODUCT_MODULES = [path for path in MODULES if path.relative_to(ROOT).parts[0] in PRODUCT]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def named(path: Path, line: int | None = None) -> str:
    return f"{path.relative_to(ROOT)}{f':{line}' if line else ''}"


def fail_on(offenders: list[str], fix: str) -> None:
    if offenders:
        pytest.fail(f"{fix}\n  " + "\n  ".join(offenders), pytrace=False)


def test_the_product_is_found() -> None:
    assert len(PRODUCT_MODULES) > 10, (
        f"only {len(PRODUCT_MODULES)} modules seen below {ROOT}: the other tests saw nothing"
    )


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    offenders = []
    for path in FILES:
        if path.suffix not in {".py", ".sql"}:
            continue
        text = path.read_text(encoding="utf-8")
        head = ast.get_docstring(ast.parse(text)) or "" if path.suffix == ".py" else text[:2000]
        if text.count("\n") > LONGEST and EXCUSE not in head:
            offenders.append(f"{named(path)}: {text.count(chr(10))} lines")
    fail_on(offenders, f"Split the file at a seam, or say in its first docstring or comment: '{EXCUSE} …'")


def test_every_module_opens_with_its_door_plate() -> None:
    offenders = [named(path) for path in MODULES if not (ast.get_docstring(tree_of(path)) or "").strip()]
    fail_on(offenders, "Open the module with a docstring: what lives here, what does not")


def test_rooms_of_the_product_say_what_does_not_live_there() -> None:
    offenders = []
    for path in PRODUCT_MODULES:
        if path.name == "__init__.py":
            continue
        plate = " ".join((ast.get_docstring(tree_of(path)) or "").lower().split())
        if "lives here" not in plate or not re.search(r"\b(does|do) not\b|\bis not\b", plate):
            offenders.append(named(path))
    fail_on(offenders, "Write the door plate as 'What lives here: …. What does not: ….'")


def test_no_file_has_a_name_that_says_nothing() -> None:
    offenders = [
        named(path) for path in MODULES if path.stem in VAGUE_NAMES or VAGUE_NAMES & set(path.parent.parts[-2:])
    ]
    fail_on(offenders, "Name the file after what it holds, not utils, helpers, common or the like")


def test_package_doors_hold_a_docstring_and_no_code() -> None:
    offenders = []
    for path in MODULES:
        if path.name == "__init__.py":
            body = tree_of(path).body
            if len(body) != 1 or not isinstance(body[0], ast.Expr) or not isinstance(body[0].value, ast.Constant):
                offenders.append(named(path))
    fail_on(offenders, "__init__.py holds one docstring and nothing else: importing a package must cost nothing")


def test_assets_do_not_postpone_annotations() -> None:
    offenders = [
        named(path, node.lineno)
        for path in MODULES
        if path.relative_to(ROOT).parts[0] == "assets"
        for node in tree_of(path).body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    fail_on(offenders, "Remove `from __future__` in assets/: Dagster reads the annotation of `context` at run time")


def test_the_product_prints_nothing_and_swallows_nothing() -> None:
    offenders = []
    for path in PRODUCT_MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                offenders.append(f"{named(path, node.lineno)}: print()")
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None
                or (
                    isinstance(node.type, ast.Name)
                    and node.type.id in {"Exception", "BaseException"}
                    and not _re_raises(node)
                )
            ):
                offenders.append(f"{named(path, node.lineno)}: except too broad")
    fail_on(offenders, "Return values or write through the command line's console; catch the error you can name")


def _re_raises(handler: ast.ExceptHandler) -> bool:
    """Clean-up that ends in a bare `raise` or a raised error of ours swallows nothing."""
    return isinstance(handler.body[-1], ast.Raise)


def test_the_product_holds_no_promises_in_comments() -> None:
    marks = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b|--.*\b(TODO|FIXME|XXX|HACK)\b")
    offenders = [
        named(path, number)
        for path in FILES
        if path.suffix in {".py", ".sql"} and path.relative_to(ROOT).parts[0] in (*PRODUCT, "sql")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if marks.search(line)
    ]
    fail_on(offenders, "Do it, or file it where work is planned; the code says what is")


def test_no_emoji_in_code_or_documents() -> None:
    pictures = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf\ufe0f]")
    offenders = [
        named(path, number)
        for path in FILES
        if path.suffix in {".py", ".sql", ".md", ".toml", ".yaml"} or path.name == "Makefile"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pictures.search(line)
    ]
    fail_on(offenders, "Words only: terminals, logs and diffs do not all show pictures")


def test_columns_carry_their_unit() -> None:
    """A contract never has a bare `amount`, `cost` or `tokens`: the unit and the class are in the name."""
    bare = {"amount", "cost", "price", "usd", "energy", "duration"}
    unit_stands_beside = {
        "RefBudgets.amount"
    }  # budgets are in tokens or dollars: the column `unit` of the same row says which
    offenders = []
    for path in PRODUCT_MODULES:
        if path.parent != ROOT / "pipelines" / "contracts":
            continue
        for owner in (node for node in tree_of(path).body if isinstance(node, ast.ClassDef)):
            offenders += [
                f"{named(path, field.lineno)}: {owner.name}.{field.target.id}"
                for field in owner.body
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and field.target.id in bare
                and f"{owner.name}.{field.target.id}" not in unit_stands_beside
            ]
    fail_on(offenders, "Put the unit in the name: billed_cost_usd, energy_kwh")
