"""Who pays for a deployment's hours, by each idle policy. One GPU at $8 an hour, 100 units of work an hour."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest

from pipelines.transforms.deployment_shares import shares_of_hours
from tests.properties.fleets import at, fleet_reference, ledger, traffic

# Hour 0: a does 30 and b 10 of 100 units, so 60 are idle. Hour 1: a does 100. The other 22 hours are silent.
TRAFFIC = traffic((0, "a", 30, 0, 0), (0, "b", 10, 0, 0), (1, "a", 100, 0, 0))
SILENT = Decimal(22 * 8)


def shares(policy: str | None, usage: pl.DataFrame = TRAFFIC) -> pl.DataFrame:
    deployment = {"valid_from": at(0), "idle_policy": policy, "capacity_units_per_gpu_hour": 100}
    told = ledger(fleet_reference([deployment], [{"usd_per_gpu_hour": 8}]), usage)
    return shares_of_hours(told, usage)


def usage_cost(frame: pl.DataFrame) -> dict[str, Decimal]:
    return dict(frame.select("feature", "usage_cost_usd").iter_rows())


@pytest.mark.parametrize(
    ("policy", "a", "b", "idle"),
    [
        # busy: a 8 × 0.3 = 2.40 and 8.00, b 0.80; idle of hour 0: 4.80
        (None, "10.4", "0.8", "180.8"),
        ("own_row", "10.4", "0.8", "180.8"),
        # 4.80 by work: a 3.60, b 1.20
        ("proportional", "14", "2", "176"),
        # 2.40 each
        ("even", "12.8", "3.2", "176"),
        # by the busiest hours, 100 and 10: a 4.363636363636, b 0.436363636364
        ("reserved", "14.763636363636", "1.236363636364", "176"),
    ],
)
def test_idle_capacity_follows_the_policy_and_silent_hours_stay_idle(
    policy: str | None, a: str, b: str, idle: str
) -> None:
    found = usage_cost(shares(policy))
    assert found == {"a": Decimal(a), "b": Decimal(b), "__idle__": Decimal(idle)}
    assert sum(found.values()) == 24 * 8


def test_fully_loaded_puts_all_idle_capacity_on_those_who_were_served() -> None:
    # the day's $192 by busy cost, 10.40 to 0.80
    found = dict(shares("own_row").select("feature", "fully_loaded_cost_usd").iter_rows())
    assert found["__idle__"] == 0
    assert found["a"].quantize(Decimal("0.0001")) == Decimal("178.2857")
    assert sum(found.values()) == 192


def test_a_day_that_served_nobody_keeps_its_cost_as_idle_on_both_bases() -> None:
    row = shares("proportional", traffic()).row(0, named=True)
    assert (row["feature"], row["usage_cost_usd"], row["fully_loaded_cost_usd"]) == ("__idle__", 192, 192)


def test_another_output_weight_moves_cost_between_readers_and_writers() -> None:
    """a reads 50, b writes 10 × 5: half and half. Half the weight: 50 to 25. Twice: 50 to 100. Idle cost stays."""
    usage = traffic((0, "a", 50, 0, 0), (0, "b", 0, 0, 10))
    rows = {row["feature"]: row for row in shares("own_row", usage).iter_rows(named=True)}
    assert rows["a"]["usage_cost_usd"] == rows["b"]["usage_cost_usd"] == 4
    assert rows["a"]["usage_cost_output_weight_half_usd"] == Decimal("5.333333333333")
    assert rows["a"]["usage_cost_output_weight_double_usd"] == Decimal("2.666666666667")
    assert rows["__idle__"]["usage_cost_output_weight_half_usd"] == rows["__idle__"]["usage_cost_usd"] == 23 * 8


def test_more_work_than_capacity_is_a_full_machine_not_a_dearer_one() -> None:
    found = usage_cost(shares("own_row", traffic((0, "a", 500, 0, 0))))
    assert found == {"a": Decimal(8), "__idle__": Decimal(23 * 8)}
