"""SQL files and their headers: what a good one says, and how each fault is named."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.errors import ContractError
from pipelines.sqlmodel import load_checks, load_models, tables_read, topological_order

HEADER = """/* --- toml
title = "Cost of each feature"
grain = "One row per feature"
key = ["feature"]
inputs = [{inputs}]
rules = ["Shares by largest remainder"]
owner = "finops"
--- */
"""


def _model(root: Path, name: str, query: str, *inputs: str, folder: str = "marts", header: str = HEADER) -> Path:
    path = root / folder / f"{name}.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header.replace("{inputs}", ", ".join(f'"{table}"' for table in inputs)) + query)
    return path


def test_model_is_read_with_its_header_and_without_it(tmp_path: Path) -> None:
    path = _model(tmp_path, "mart__a", "\nwith u as (select * from core__usage)\nselect * from u;\n", "core__usage")
    model = load_models(tmp_path)["mart__a"]
    assert (model.name, model.path) == ("mart__a", path)
    assert model.sql == "with u as (select * from core__usage)\nselect * from u"
    assert (model.title, model.grain, model.owner) == ("Cost of each feature", "One row per feature", "finops")
    assert (model.key, model.inputs, model.rules) == (("feature",), ("core__usage",), ("Shares by largest remainder",))
    assert model.partition == "month"


def test_rows_are_stored_by_key_and_unknown_comes_last(tmp_path: Path) -> None:
    _model(tmp_path, "mart__a", "select 1 as x", header=HEADER.replace('["feature"]', '["feature", "day"]'))
    rows = pl.DataFrame({"day": [2, 1, 3, 4], "feature": ["é", "é", None, "z"], "x": [1, 2, 3, 4]})
    assert load_models(tmp_path)["mart__a"].in_order(rows)["x"].to_list() == [4, 2, 1, 3]


def test_partition_can_be_all(tmp_path: Path) -> None:
    _model(tmp_path, "mart__a", "select 1 as x", header=HEADER.replace("owner", 'partition = "all"\nowner'))
    assert load_models(tmp_path)["mart__a"].partition == "all"


def test_models_of_both_folders_come_in_name_order(tmp_path: Path) -> None:
    _model(tmp_path, "mart__b", "select 1 as x")
    _model(tmp_path, "mart__a", "select 1 as x")
    _model(tmp_path, "int__z", "select 1 as x", folder="intermediate")
    assert list(load_models(tmp_path)) == ["int__z", "mart__a", "mart__b"]


def test_no_files_are_no_models(tmp_path: Path) -> None:
    assert load_models(tmp_path) == {}
    assert load_checks(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "folder", "header", "query", "complaint"),
    [
        ("mart__a", "marts", "", "select 1 as x", "does not begin with its header"),
        ("mart__a", "marts", "-- a\n" + HEADER, "select 1 as x", "does not begin with its header"),
        ("mart__a", "marts", "/* --- toml\ntitle = \n--- */\n", "select 1 as x", "not TOML"),
        ("mart__a", "marts", HEADER.replace('owner = "finops"\n', ""), "select 1 as x", r"lacks \['owner'\]"),
        (
            "mart__a",
            "marts",
            HEADER.replace("owner", 'ownr = "x"\nowner'),
            "select 1 as x",
            r"unknown words \['ownr'\]",
        ),
        ("mart__a", "marts", HEADER.replace('"finops"', "7"), "select 1 as x", "owner = 7 does not fit"),
        ("mart__a", "marts", HEADER.replace('"finops"', '""'), "select 1 as x", "owner = '' does not fit"),
        ("mart__a", "marts", HEADER.replace('["feature"]', '["a", "a"]'), "select 1 as x", "key = .* does not fit"),
        ("mart__a", "marts", HEADER.replace('["feature"]', "[1]"), "select 1 as x", "key = .* does not fit"),
        ("mart__a", "marts", HEADER.replace('["feature"]', "[]"), "select 1 as x", "the key is empty"),
        ("mart__a", "marts", HEADER.replace("owner", 'partition = "day"\nowner'), "select 1 as x", "'day' is unknown"),
        ("mart__a", "marts", HEADER, "", "0 statements"),
        ("mart__a", "marts", HEADER, "select 1 as x; select 2 as x", "2 statements"),
        ("mart__a", "marts", HEADER, "select 1 as x from", "syntax error"),
        ("mart__a", "marts", HEADER, "create table t as select 1 as x", "Only SELECT"),
        ("mart__a", "marts", HEADER, "select 1 as feature order by feature", "orders its rows"),
        ("mart__a", "marts", HEADER, "select * from core__usage", "read only .'core__usage'."),
        ("Mart__A", "marts", HEADER, "select 1 as x", "not lower snake case"),
        ("int__a", "marts", HEADER, "select 1 as x", "wrong prefix"),
        ("mart__a", "intermediate", HEADER, "select 1 as x", "wrong prefix"),
    ],
)
def test_fault_of_a_model_names_the_file_and_the_fault(
    tmp_path: Path, name: str, folder: str, header: str, query: str, complaint: str
) -> None:
    _model(tmp_path, name, query, folder=folder, header=header)
    with pytest.raises(ContractError, match=complaint) as caught:
        load_models(tmp_path)
    assert caught.value.where == f"sql/{folder}/{name}.sql"


def test_input_that_is_not_read_is_a_fault(tmp_path: Path) -> None:
    _model(tmp_path, "mart__a", "select * from core__usage", "core__usage", "core__billing")
    with pytest.raises(ContractError, match=r"named only \['core__billing'\], read only \[\]"):
        load_models(tmp_path)


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("select 1 as x", set()),
        ("select * from a, b as c join d using (x)", {"a", "b", "d"}),
        ("with c as (select * from a) select * from c", {"a"}),
        ("with a as (select * from a) select * from a", {"a"}),
        ("with x as (select * from a), y as (select * from x) select * from y join x using (k)", {"a"}),
        ("with a as (select * from b), b as (select 1 as x) select * from a, b", {"b"}),
        ("with x as (with c as (select * from a) select * from c) select * from x, c", {"a", "c"}),
        ("with recursive r as (select 1 as n union all select n + 1 from r, a where n < 3) select * from r", {"a"}),
        ("with X as (select * from a) select * from x", {"a"}),
        ("with x as materialized (select * from a) select * from x union all select * from b", {"a", "b"}),
        ("select (select max(x) from a) from b where exists (select 1 from c) order by (select 1 from d)", set("abcd")),
        ("select * from a where x > $known_at", {"a"}),
        ("select * from range(3), unnest([1])", set()),
        ("select no_such_function(x) from a", {"a"}),
        ("with a as (select 1 as x) select * from other.a", {"other.a"}),
        ("select sum(x) filter (where x > (select 1 from b)) over (partition by y) from a", {"a", "b"}),
        ("from a select x qualify row_number() over (order by x) = (select 1 from b)", {"a", "b"}),
    ],
)
def test_tables_that_a_query_reads(query: str, tables: set[str]) -> None:
    assert tables_read(query) == tables


@pytest.mark.parametrize("query", ["", "select 1; select 2", "select", "insert into t values (1)", "copy t to 'x'"])
def test_text_that_is_not_one_select_is_refused(query: str) -> None:
    with pytest.raises(ContractError):
        tables_read(query)


def test_models_are_ordered_after_what_they_read_and_else_by_name(tmp_path: Path) -> None:
    _model(tmp_path, "mart__a", "select * from int__z, core__usage", "int__z", "core__usage")
    _model(tmp_path, "mart__b", "select * from mart__a", "mart__a")
    _model(tmp_path, "mart__c", "select 1 as x")
    _model(tmp_path, "int__z", "select * from core__usage", "core__usage", folder="intermediate")
    order = [model.name for model in topological_order(load_models(tmp_path))]
    assert order == ["int__z", "mart__c", "mart__a", "mart__b"]


def test_models_in_a_circle_are_refused(tmp_path: Path) -> None:
    _model(tmp_path, "mart__a", "select * from mart__b", "mart__b")
    _model(tmp_path, "mart__b", "select * from mart__a", "mart__a")
    with pytest.raises(ContractError, match="circle: mart__"):
        topological_order(load_models(tmp_path))


CHECK_HEADER = '/* --- toml\ntitle = "Every token is priced once"\nseverity = "fail"\ninputs = ["mart__a"]\n--- */\n'


def test_check_is_read(tmp_path: Path) -> None:
    _model(tmp_path, "tokens_priced_once", "select * from mart__a", folder="checks", header=CHECK_HEADER)
    check = load_checks(tmp_path)["tokens_priced_once"]
    assert (check.title, check.severity, check.inputs) == ("Every token is priced once", "fail", ("mart__a",))
    assert check.sql == "select * from mart__a"


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (CHECK_HEADER.replace('"fail"', '"error"'), "severity = 'error' is unknown"),
        (CHECK_HEADER.replace('["mart__a"]', "[]"), "read only"),
        (HEADER, "lacks"),
    ],
)
def test_fault_of_a_check_is_named(tmp_path: Path, header: str, complaint: str) -> None:
    _model(tmp_path, "a_check", "select * from mart__a", "mart__a", folder="checks", header=header)
    with pytest.raises(ContractError, match=complaint):
        load_checks(tmp_path)


def test_shipped_sql_files_keep_the_form() -> None:
    topological_order(load_models())
    load_checks()
