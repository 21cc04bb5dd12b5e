"""Every SQL model and check against its worked cases: tests/sql/<name>/<situation>.yaml.

What lives here: running the cases and comparing. What does not: the cases' form (cases.py), expected values (the YAML).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.contracts.dictionary import contract_of
from pipelines.lake import enforce
from pipelines.sqlmodel import load_checks, load_models
from tests.sql.cases import Case, read_case, run_sql

HERE = Path(__file__).parent
CASES = [read_case(path) for path in sorted(HERE.glob("*/*.yaml"))]
MODELS = load_models()
CHECKS = load_checks()


def _label(case: Case) -> str:
    return f"{case.model}-{case.path.stem}"


@pytest.mark.parametrize("case", [case for case in CASES if case.model in MODELS], ids=_label)
def test_model_gives_the_rows_worked_by_hand(case: Case, tmp_path: Path) -> None:
    model = MODELS[case.model]
    rows = model.in_order(run_sql(model.sql, model.inputs, case, tmp_path))
    enforce(contract_of(case.model), rows, case.path.name)
    found = [
        {column: row[column] for column in expected}
        for row, expected in zip(rows.to_dicts(), case.expected, strict=False)
    ]
    assert found == case.expected, case.why
    assert rows.height == len(case.expected), f"more rows than the case expects: {rows.rows()[len(case.expected) :]}"
    assert not rows.select(model.key).is_duplicated().any(), f"{model.key} is not a key here"


@pytest.mark.parametrize("case", [case for case in CASES if case.model in CHECKS], ids=_label)
def test_check_returns_the_rows_that_break_it(case: Case, tmp_path: Path) -> None:
    check = CHECKS[case.model]
    rows = run_sql(check.sql, check.inputs, case, tmp_path)
    found = [
        {column: row[column] for column in expected}
        for row, expected in zip(rows.to_dicts(), case.expected, strict=False)
    ]
    assert found == case.expected, case.why
    assert rows.height == len(case.expected)


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_is_seen_to_pass_and_to_fail(name: str) -> None:
    mine = [case for case in CASES if case.model == name]
    assert any(not case.expected for case in mine), f"add tests/sql/{name}/<situation that is fine>.yaml"
    assert any(case.expected for case in mine), f"add tests/sql/{name}/<situation that breaks it>.yaml"


def test_every_case_belongs_to_a_model_or_a_check() -> None:
    stray = sorted({case.model for case in CASES} - {*MODELS, *CHECKS})
    assert not stray, f"no model and no check is called {stray}"
    assert all(case.why.strip() for case in CASES), "say why in every case: the arithmetic, by hand"


@pytest.mark.parametrize("name", CHECKS)
def test_of_nothing_every_check_is_true(name: str, tmp_path: Path) -> None:
    """So a night does not ask a check whose tables hold no row."""
    check = CHECKS[name]
    assert run_sql(check.sql, check.inputs, Case(tmp_path, "", {}, []), tmp_path).is_empty()
