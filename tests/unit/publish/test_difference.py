"""What a publish would change: shown where tokens, any cost or the status of a month differ, and nowhere else."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest

from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import polars_schema
from pipelines.publish import difference
from pipelines.settings import Settings

SCHEMA = polars_schema(contract_of(difference.MART))


def month(feature: str, **figures: object) -> dict[str, object]:
    held = {"month": "2026-08", "feature": feature, "total_tokens": 7, "cost_status": "final", **figures}
    return {name: held.get(name) for name in SCHEMA}


@pytest.mark.parametrize(
    ("column", "before", "after", "delta"),
    [
        ("list_cost_usd", Decimal(3), Decimal(4), 0),
        ("contracted_cost_usd", Decimal(3), None, 0),
        ("effective_cost_usd", Decimal(3), Decimal(5), 2),
        ("effective_cost_usd", None, Decimal(5), 5),
        ("total_tokens", 7, 8, 0),
        ("cost_status", "provisional", "final", 0),
    ],
)
def test_a_month_is_shown_where_one_figure_differs(tmp_path, monkeypatch, column, before, after, delta):
    rows = {
        "before": [month("same"), month("other", **{column: before})],
        "after": [month("same"), month("other", **{column: after})],
    }
    for name, told in rows.items():
        pl.DataFrame(told, schema=SCHEMA).write_parquet(tmp_path / f"{name}.parquet")
    monkeypatch.setattr(difference, "_published_files", lambda _: [tmp_path / "before.parquet"])
    monkeypatch.setattr(difference, "mart_files", lambda _: {difference.MART: [tmp_path / "after.parquet"]})
    [shown] = difference.changed_months(Settings(tmp_path)).to_dicts()
    assert shown["feature"] == "other"
    assert (shown[f"{column}_before"], shown[f"{column}_after"]) == (before, after)
    assert shown["delta_usd"] == delta
