"""Reference tables: overlay, defaults, strict cells, intervals, and errors that lead to the cell."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path

import polars as pl
import pytest

from pipelines.errors import ReferenceTableError
from pipelines.settings import Settings
from pipelines.transforms import reference_tables
from pipelines.transforms.csv_tables import glob_regex
from pipelines.transforms.reference_tables import TABLES, load_reference, load_table, reference_digest


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(reference_tables, "SHIPPED_REFERENCE", folder)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "home" / "reference").mkdir(parents=True)
    return Settings(home=tmp_path / "home")


def load(name: str, settings: Settings) -> pl.DataFrame:
    return load_table(reference_tables.BY_ASSET[f"ref__{name}"], settings)


FEATURES = "priority,field,pattern,feature,team,cost_center,valid_from,valid_to\n"


def test_a_home_row_replaces_the_shipped_row_of_the_same_key_and_others_add_up(
    shipped: Path, settings: Settings
) -> None:
    (shipped / "sources.csv").write_text(
        "source,provider,account,role,precedence\nlitellm,*,*,log,30\nlangfuse,*,*,log,60\n"
    )
    (settings.reference / "sources.csv").write_text(
        "source,provider,account,role,precedence\nlitellm,,,control,5\nlitellm,openai,,log,1\n"
    )
    rows = load("sources", settings).select("source", "provider", "account", "role", "precedence", "is_home").rows()
    assert rows == [
        ("langfuse", "*", "*", "log", 60, False),
        ("litellm", "*", "*", "control", 5, True),
        ("litellm", "openai", "*", "log", 1, True),
    ]


def test_ones_own_gpu_quote_hides_the_shipped_default_whatever_its_dates(shipped: Path, settings: Settings) -> None:
    head = "gpu_type,purchase_type,usd_per_gpu_hour,valid_from,valid_to,source\n"
    (shipped / "gpu_rates.csv").write_text(
        f"{head}H100,on_demand,2.69,2025-01-01,,list\nH100,spot,1.5,2025-01-01,,list\n"
    )
    (settings.reference / "gpu_rates.csv").write_text(f"{head}H100,on_demand,1.89,2026-03-01,,our quote\n")
    rows = load("gpu_rates", settings).select("purchase_type", "usd_per_gpu_hour", "is_home").rows()
    assert rows == [("on_demand", Decimal("1.89"), True), ("spot", Decimal("1.5"), False)]


def test_bom_crlf_blank_lines_and_absent_trailing_columns_are_read(shipped: Path, settings: Settings) -> None:
    text = "\ufeffpriority,field,pattern,feature\r\n\r\n1,tag:team,a*,search\r\n2,model,gpt-*,chat\r\n"
    (settings.reference / "features.csv").write_bytes(text.encode("utf-8"))
    rows = load("features", settings)
    assert rows.select("priority", "field", "feature", "team", "valid_to").rows() == [
        (1, "tag:team", "search", None, None),
        (2, "model", "chat", None, None),
    ]


def test_days_and_instants_become_utc_instants(shipped: Path, settings: Settings) -> None:
    (settings.reference / "cohorts.csv").write_text(
        "user_group,cohort,valid_from,valid_to\nlegal,eu,2026-01-01,2026-03-01T02:00:00+02:00\n"
    )
    row = load("cohorts", settings).row(0, named=True)
    assert row["valid_from"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert row["valid_to"] == datetime(2026, 3, 1, tzinfo=UTC)


def test_money_cells_are_exact(shipped: Path, settings: Settings) -> None:
    (settings.reference / "fx_rates.csv").write_text("rate_date,currency,usd_per_unit\n2026-01-01,EUR,1.100000000001\n")
    assert load("fx_rates", settings).get_column("usd_per_unit").item() == Decimal("1.100000000001")


@pytest.mark.parametrize(
    ("table", "text", "words"),
    [
        ("features", FEATURES + "1,colour,a,b,,,,\n", ["line 2", "column field"]),
        ("features", FEATURES + "\n1,model,gpt,,,,,\n", ["line 3", "feature is empty"]),
        ("features", FEATURES + "one,model,gpt,b,,,,\n", ["line 2", "priority = 'one'", "a whole number"]),
        ("features", FEATURES + "1,model,gpt,b,,,01.02.2026,\n", ["column valid_from", "2026-11-01"]),
        ("features", FEATURES + "1,model,gpt,b,,,2026-01-01T00:00:00,\n", ["column valid_from"]),
        ("features", FEATURES + "1,model,gpt,b,,,2026-02-01,2026-02-01\n", ["ends before it starts", "line 2"]),
        ("features", "priority,field,pattern,feature,teem\n", ["unknown column 'teem'", "cost_center"]),
        ("features", "priority,field,pattern,feature\n1,model,a,b,c\n", ["5 cells under 4 columns"]),
        ("features", 'priority,field,pattern,feature\n1,model,"a,b\n', ["CSV cannot be read"]),
        ("features", "", ["no header"]),
        ("fx_rates", "rate_date,currency,usd_per_unit\n2026-01-01,EUR,1.1000000000001\n", ["at most 12 decimals"]),
        ("fx_rates", "rate_date,currency,usd_per_unit\n2026-01-01,EUR,nan\n", ["usd_per_unit = 'nan'"]),
        ("fx_rates", "rate_date,currency,usd_per_unit\n2026-01-01,EUR,1\n2026-01-01,EUR,2\n", ["line 2", "line 3"]),
    ],
)
def test_a_wrong_cell_is_an_error_that_leads_to_it(
    table: str, text: str, words: list[str], shipped: Path, settings: Settings
) -> None:
    (settings.reference / f"{table}.csv").write_text(text)
    with pytest.raises(ReferenceTableError) as caught:
        load_reference(settings)
    for word in (f"<home>/reference/{table}.csv", *words):
        assert word in str(caught.value)
    assert str(settings.home) not in str(caught.value)


def test_rows_of_one_key_must_not_overlap_across_shipped_and_home(shipped: Path, settings: Settings) -> None:
    header = "user_group,cohort,valid_from,valid_to\n"
    (shipped / "cohorts.csv").write_text(header + "legal,eu,2026-01-01,\n")
    (settings.reference / "cohorts.csv").write_text(header + "legal,us,2026-02-01,\n")
    with pytest.raises(ReferenceTableError, match="valid at the same time"):
        load_reference(settings)
    (settings.reference / "cohorts.csv").write_text(header + "legal,eu,2026-01-01,2026-02-01\nlegal,us,2026-02-01,\n")
    assert load("cohorts", settings).height == 2


@pytest.mark.parametrize(
    "glob", ["gpt-*", "a.b?c", "[a-c]x", "[!a-c]x", "x[", "a+b(c)|d^e$f{g}\\h", "*[]]*", "tag/#& ~é"]
)
@pytest.mark.parametrize(
    "value", ["gpt-4o", "a.bxc", "aXbxc", "ax", "dx", "x[", "a+b(c)|d^e$f{g}\\h", "q]q", "tag/#& ~é", "gpt-\n4", ""]
)
def test_a_glob_means_what_fnmatch_means(glob: str, value: str) -> None:
    found = pl.Series([value]).str.contains(glob_regex(glob)).item()
    assert found == fnmatchcase(value, glob)


def test_the_regex_of_a_feature_rule_is_anchored(shipped: Path, settings: Settings) -> None:
    (settings.reference / "features.csv").write_text(FEATURES + "1,model,gpt-4,b,,,,\n")
    regex = load("features", settings).get_column("pattern_regex").item()
    assert re.fullmatch(r"\^\(\?s:gpt-4\)\$", regex)


def test_the_digest_moves_with_any_byte_of_any_table_and_with_nothing_else(shipped: Path, settings: Settings) -> None:
    (shipped / "cohorts.csv").write_text("user_group,cohort\nlegal,eu\n")
    first = reference_digest(settings)
    (shipped / "README.md").write_text("no table")
    assert reference_digest(settings) == first
    (settings.reference / "cohorts.csv").write_text("user_group,cohort\nlegal,eu\n")
    second = reference_digest(settings)
    (settings.reference / "cohorts.csv").write_text("user_group,cohort\nlegal,us\n")
    assert len({first, second, reference_digest(settings)}) == 3


def test_every_shipped_table_has_a_file_and_loads(tmp_path: Path) -> None:
    tables = load_reference(Settings(home=tmp_path))
    assert {table.asset for table in TABLES} == set(tables)
    for table in TABLES:
        assert table.files(reference_tables.SHIPPED_REFERENCE), f"data/reference/{table.name}.csv is missing"
    for name in ("features", "deployments", "overheads", "commitments", "invoices"):
        assert tables[f"ref__{name}"].is_empty()
    logs = tables["ref__sources"].filter(pl.col("role") == "log").sort("precedence").get_column("source").to_list()
    assert logs.index("response_log") < logs.index("litellm") < logs.index("langfuse") < logs.index("otel_genai")
