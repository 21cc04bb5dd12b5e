"""Money and tokens are exact to the last digit, or the computation is refused: nothing wraps, nothing is rounded off.

What lives here: sums at the edge of what the columns hold, through the roll-up, SQL models and the sharing of pools.
What does not: that no stored column is a float (tests/conventions/test_contracts.py), reading amounts
(test_money_decimals.py).
600 days rolled up, 16 monthly sums and 1,500 pools, about a third of each beyond the edge.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import duckdb
import polars as pl
import pytest

from pipelines.errors import ContractError
from pipelines.pieces import narrow
from pipelines.transforms.allocation import share_out
from pipelines.transforms.price_schedules import EDGE_SCHEMA
from pipelines.transforms.rollup import Grain, roll_up_usage
from tests.properties.models import many_cases, pico, run_models, usd
from tests.unit.transforms.usage_days import usage_frame, usage_row

LARGEST_BIGINT, LARGEST_DECIMAL, LARGEST_WIDE = 2**63 - 1, 10**38 - 1, 2**127 - 1
GRAIN = Grain(pl.DataFrame(schema=EDGE_SCHEMA))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exact")


@many_cases(6)
def test_tokens_of_a_day_are_summed_exactly_or_refused(draw: Random) -> None:
    refused = 0
    for _ in range(100):
        size = draw.choice((10**3, 10**15, 2**61, LARGEST_BIGINT))
        counts = [draw.randint(0, size) for _ in range(draw.randint(1, 6))]
        rows = [
            usage_row(f"r{number}", input_uncached_tokens=count, output_tokens=draw.randint(0, 9))
            for number, count in enumerate(counts)
        ]
        try:
            day = narrow(usage_frame(rows))
            found = roll_up_usage(lambda columns, day=day: [day.of(columns)], GRAIN)
        except ContractError:
            refused += 1
            assert max(counts) * len(counts) > LARGEST_BIGINT
        else:
            assert found["input_uncached_tokens"].to_list() == [sum(counts)]
    assert 0 < refused < 100


@many_cases(2)
def test_months_are_summed_exactly_or_refused(draw: Random, folder: Path) -> None:
    refused = 0
    for number in range(8):
        tokens_size, cost_size = draw.choice(((10**9, 10**20), (2**62, 10**20), (10**9, LARGEST_DECIMAL)))
        days = [(draw.randint(0, tokens_size), draw.randint(-cost_size, cost_size)) for _ in range(draw.randint(1, 4))]
        tokens, cost = sum(day[0] for day in days), sum(day[1] for day in days)
        rows = [
            {"account": f"a{place}", "total_tokens": told, "billed_cost_usd": usd(amount)}
            for place, (told, amount) in enumerate(days)
        ]
        try:
            (row,) = run_models(["int__feature_cost_month"], {"mart__feature_cost_daily": rows}, folder)[
                "int__feature_cost_month"
            ].to_dicts()
        except duckdb.Error:
            refused += 1
            assert tokens > LARGEST_BIGINT or max(abs(amount) for _, amount in days) * len(days) > LARGEST_DECIMAL
        else:
            assert (row["total_tokens"], pico(row["billed_cost_usd"])) == (tokens, cost), number
    assert refused


@many_cases(3)
def test_pools_of_any_size_are_shared_exactly(draw: Random) -> None:
    """Many pools at once: about a third of them do not fit 128 bits on the way."""
    rows, beyond = [], 0
    for number in range(500):
        amount = draw.choice((1, -1)) * draw.randint(0, draw.choice((10**12, 10**25)))
        weights = [draw.randint(0, draw.choice((10**12, 10**20))) for _ in range(draw.randint(1, 4))]
        weights[0] += 1
        beyond += abs(amount) * max(weights) > LARGEST_WIDE
        rows += [(f"k{number}", amount, weight, f"f{place}") for place, weight in enumerate(weights)]
    schema = {"pool": pl.String, "amount": pl.Int128, "weight": pl.Int128, "feature": pl.String}
    claims = pl.DataFrame(draw.sample(rows, len(rows)), schema=schema, orient="row")
    shared = share_out(claims, pool="pool", amount="amount", weight="weight", tie=["feature"], share="share")
    assert shared.select(claims.columns).equals(claims)
    assert 100 < beyond < 400
    for pool in shared.sort("pool", "feature").partition_by("pool"):
        amount, weights, shares = pool["amount"][0], pool["weight"].to_list(), pool["share"].to_list()
        assert sum(shares) == amount
        exact = [abs(amount) * weight for weight in weights]
        floors = [part // sum(weights) for part in exact]
        by_remainder = sorted(range(len(weights)), key=lambda at: (-(exact[at] % sum(weights)), at))
        for at in by_remainder[: abs(amount) - sum(floors)]:
            floors[at] += 1
        assert [abs(share) for share in shares] == floors
