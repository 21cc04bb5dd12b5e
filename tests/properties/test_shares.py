"""Every line of a bill is shared out exactly, to the owners and in the parts of the oracle; no day knows another.

What lives here: shares of owners against plain integers (shares_oracle.py), conservation per provider, account and
day, additivity over any split of the days. What does not: causes (test_reconciliation_causes.py).
6 batches of 60 to 120 provider-days, each computed together and once more in two random halves.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.transforms.allocation import share_out
from tests.properties.models import many_cases
from tests.properties.provider_days import START, days, pico, run_chain
from tests.properties.reconciliation_oracle import Day
from tests.properties.shares_oracle import Shares, largest_remainder, shares_of

ALLOCATED = ("int__allocated_tokens", "int__allocated_shared")
ACROSS = ("mart__reconciliation_daily", "int__feature_cost_daily")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shares")


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(many=st.lists(days(), min_size=60, max_size=120), split=st.integers(0, 2**32 - 1))
def test_features_unattributed_and_unlogged_sum_to_the_bill_and_are_the_oracles(
    many: list[Day], split: int, folder: Path
) -> None:
    tables = run_chain(many, folder)
    costs = tables["int__feature_cost_daily"]
    found = [by_day(tables[table]) for table in ALLOCATED]
    for number, day in enumerate(many):
        when = START + timedelta(days=number)
        mine = pl.col("usage_date") == when
        assert pico(costs.filter(mine)["billed_cost_usd"].sum()) == sum(line.billed for line in day.lines), day
        for told, expected in zip(found, shares_of(day), strict=True):
            assert told[when] == {owner: tuple(share) for owner, share in expected.items()}, day
        check_totals(day, [told[when] for told in found])
    draw = Random(split)
    halves = [[], []]  # type: ignore[var-annotated]
    for number, day in enumerate(many):
        halves[draw.randint(0, 1)].append((number, day))
    parts = [run_chain([day for _, day in half], folder) for half in halves if half]
    for table in ACROSS:
        told = pl.concat(
            moved(part[table], [number for number, _ in half])
            for part, half in zip(parts, [half for half in halves if half], strict=True)
        )
        assert told.sort(pl.all()).equals(tables[table].sort(pl.all()))


def by_day(shares: pl.DataFrame) -> dict[object, dict[tuple[str, ...], tuple[int, int]]]:
    told: dict[object, dict[tuple[str, ...], list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for row in shares.to_dicts():
        owner = tuple(row[name] for name in ("feature", "account", "model", "service_tier", "component"))
        told[row["usage_date"]][owner][0] += pico(row["billed_cost_usd"])
        told[row["usage_date"]][owner][1] += pico(row["effective_cost_usd"])
    sums = {day: {owner: (both[0], both[1]) for owner, both in mine.items()} for day, mine in told.items()}
    return defaultdict(dict, sums)


def check_totals(day: Day, told: list[dict[tuple[str, ...], tuple[int, int]]]) -> None:
    """Billed and effective cost each keep their own total."""
    both = [share for shares in told for share in shares.values()]
    assert sum(billed for billed, _ in both) == sum(line.billed for line in day.lines), day
    assert sum(effective for _, effective in both) == sum(line.effective for line in day.lines), day


def moved(rows: pl.DataFrame, numbers: list[int]) -> pl.DataFrame:
    """Rows of days that were numbered anew, on the days that they had."""
    were = {START + timedelta(days=place): START + timedelta(days=number) for place, number in enumerate(numbers)}
    return rows.with_columns(pl.col("usage_date").replace_strict(were, return_dtype=pl.Date))


@many_cases(10)
def test_pools_of_any_size_and_sign_are_shared_by_largest_remainder(draw: Random) -> None:
    """10 batches of 300 pools, amounts up to ten million dollars, ties included."""
    pools: dict[str, tuple[int, dict[tuple[str, ...], int]]] = {}
    for number in range(300):
        size = draw.choice((10, 10**6, 10**19 - 1))
        weights = {(f"f{owner}",): draw.randint(0, size) for owner in range(draw.randint(1, 7))}
        weights[f"f{draw.randint(0, 6)}",] = draw.choice((1, size))
        pools[f"k{number}"] = (draw.choice((1, -1)) * draw.randint(0, draw.choice((3, 10**9, 10**18))), weights)
    rows = [
        (name, amount, weight, *owner) for name, (amount, weights) in pools.items() for owner, weight in weights.items()
    ]
    draw.shuffle(rows)
    schema = {"pool": pl.String, "amount": pl.Int128, "weight": pl.Int128, "feature": pl.String}
    shared = share_out(
        pl.DataFrame(rows, schema=schema, orient="row"),
        pool="pool", amount="amount", weight="weight", tie=["feature"], share="share",
    )  # fmt: skip
    found: dict[str, Shares] = defaultdict(dict)
    for name, feature, share in shared.select("pool", "feature", "share").iter_rows():
        found[name][feature,] = share
    for name, (amount, weights) in pools.items():
        assert found[name] == largest_remainder(amount, weights)  # type: ignore[arg-type]
        assert sum(found[name].values()) == amount  # type: ignore[arg-type]
