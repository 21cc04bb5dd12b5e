"""Σ causes = billed − metered, to the last pico-dollar, for any combination of sides present and keys missing.

What lives here: random provider-days through the SQL models of the match, held against an oracle in plain integers
(reconciliation_oracle.py), and the conservation of every bill line in the feature costs. What does not: worked cases,
the shares of single owners (test_shares.py).
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.properties.provider_days import START, days, pico, run_chain
from tests.properties.reconciliation_oracle import Answer, Day, reconcile

CAUSES = (
    "price_gap",
    "unlogged",
    "overlogged",
    "unpriced",
    "non_token_charges",
    "credits",
    "tax",
    "commitment",
    "excluded_from_cost_api",
    "not_billed",
    "timing",
    "fx",
    "unexplained",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chain")


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(many=st.lists(days(), min_size=60, max_size=120))
def test_causes_bridge_metered_and_billed_exactly_and_are_the_ones_of_the_oracle(many: list[Day], folder: Path) -> None:
    tables = run_chain(many, folder)
    by_day = tables["mart__reconciliation_daily"].partition_by("usage_date", as_dict=True)
    for number, day in enumerate(many):
        expected = reconcile(day)
        found = by_day.get((START + timedelta(days=number),))
        rows = [] if found is None else found.filter(pl.col("provider") == day.provider).to_dicts()
        compare(day, expected, rows)


def compare(day: Day, expected: Answer, rows: list[dict[str, Any]]) -> None:
    accounts_seen = {row["account"] for row in rows}
    assert {*expected.metered, *expected.billed} <= accounts_seen, day
    for row in rows:
        account = row["account"]
        assert pico(row["metered_cost_usd"]) == expected.metered.get(account, 0), day
        assert pico(row["billed_cost_usd"]) == expected.billed.get(account, 0), day
        causes = {cause: pico(row[f"{cause}_usd"]) for cause in CAUSES}
        if row["billed_cost_usd"] is None:
            continue
        assert sum(causes.values()) == pico(row["billed_cost_usd"]) - pico(row["metered_cost_usd"]), (day, causes)
        wanted = {cause: expected.causes.get(account, {}).get(cause, 0) for cause in CAUSES}
        assert causes == wanted, day
