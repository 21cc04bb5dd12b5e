"""`rows_from` keeps its promise: on the demo quarter, a table has no row where these inputs have none.

The promise is used to leave queries out, so it is tried with everything else that the quarter holds.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from pipelines.build.derived_tables import PYTHON_TABLES
from pipelines.build.graph import build_order, cut_of, inputs_of, rows_from, rows_of, sql_models
from pipelines.build.workbench import ALL, Sight, Workbench, workbench
from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty
from tests.integration.demo_quarter import CLOCK
from tests.integration.nights import home_settings

pytestmark = pytest.mark.slow

PROMISED = [table for table in build_order() if rows_from(table)]
MONTHS = ("2026-07", "2026-08", "2026-09")


def _computed(bench: Workbench, table: str, key: str, sight: Sight) -> pl.DataFrame:
    """As rows_of, without the short way."""
    if table in PYTHON_TABLES:
        return PYTHON_TABLES[table].build(bench.settings, key, bench.frames(sight, PYTHON_TABLES[table].columns))
    return bench.query(sql_models()[table], sight)


def test_a_table_has_no_row_where_its_sources_have_none(coherent: Path) -> None:
    settings = home_settings(coherent, CLOCK)
    with_rows = set()
    with workbench(settings, {name for table in PROMISED for name in (table, *inputs_of(table))}) as bench:
        for table in PROMISED:
            for key in (ALL,) if cut_of(table) == ALL else MONTHS:
                sight = bench.sight(inputs_of(table), key)
                if len(_computed(bench, table, key, sight)):
                    with_rows.add(table)
                nothing: dict[str, list[Path]] = {name: [] for name in rows_from(table)}
                without = replace(sight, files={**sight.files, **nothing})
                assert _computed(bench, table, key, without).is_empty(), (table, key)
                assert rows_of(bench, table, key, without).equals(empty(contract_of(table)))
    assert len(with_rows) > len(PROMISED) / 2, "the quarter says too little"
