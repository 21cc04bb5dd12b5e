"""Equations of self-hosting that no published case covers. Expected values are worked by hand in the comments."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pipelines.transforms import economics as eq
from pipelines.transforms.break_even import Crossing, SteppedFleet, break_even_mtok, payback_months


def test_a_token_that_takes_a_joule_needs_a_third_of_a_kilowatt_hour_per_million() -> None:
    # 700 W at 350 tokens a second: 2 J a token, 2 MJ a million, 2/3.6 kWh
    joules = eq.joules_per_token(Decimal(700), Decimal(350))
    assert joules == 2
    assert eq.kwh_per_mtok(Decimal(2)).quantize(Decimal("0.0001")) == Decimal("0.5556")
    assert eq.joules_per_token(Decimal(700), Decimal(0)) is None


def test_an_owned_gpu_costs_every_calendar_hour() -> None:
    # (30,000 − 4,000) / (5 × 8,760) = 26,000 / 43,800
    hour = eq.straight_line_per_hour(Decimal(30000), Decimal(4000), Decimal(5))
    assert hour.quantize(Decimal("0.000001")) == Decimal("0.593607")


def test_capital_costs_come_in_once_through_the_annuity() -> None:
    # 30,000 × 0.263797 / 8,760 = 0.903416
    hour = eq.annuity_per_hour(Decimal(30000), Decimal(0), Decimal(5), Decimal("0.10"))
    assert hour.quantize(Decimal("0.00001")) == Decimal("0.90342")


def test_an_annuity_without_interest_is_the_straight_line() -> None:
    facts = Decimal(30000), Decimal(4000), Decimal(5)
    assert eq.annuity_per_hour(*facts, Decimal(0)) == eq.straight_line_per_hour(*facts)


def test_power_lies_between_idle_and_full() -> None:
    assert eq.modelled_gpu_watts(Decimal(100), Decimal(700), Decimal("0.5")) == 400
    # 10 kWh × 1.3 × $0.12
    assert eq.energy_cost(Decimal(10), Decimal("0.12"), Decimal("1.3")) == Decimal("1.560")


def test_the_ratio_multiplies_load_overheads_and_delivery() -> None:
    # (1/0.5) × (3/2) × (1/0.75) = 4
    assert eq.naive_to_all_in(Decimal("0.5"), Decimal(3), Decimal(2), Decimal("0.75")) == 4
    assert eq.naive_to_all_in(Decimal(0), Decimal(3), Decimal(2)) is None


def test_nothing_breaks_even_against_an_api_cheaper_than_the_power() -> None:
    assert break_even_mtok(Decimal(100), Decimal(1), Decimal(1)) is None
    assert payback_months(Decimal(100), Decimal(5), Decimal(5)) is None
    assert payback_months(Decimal(100), Decimal(30), Decimal(10)) == 5


def test_a_fleet_that_steps_can_win_lose_and_win_again() -> None:
    # one machine: 900/(1−0) = 900 of its 1,000; two: 1,800 of 2,000, so from 1,000 to 1,800 the API is cheaper again
    fleet = SteppedFleet(Decimal(900), Decimal(0), Decimal(1000))
    assert fleet.machines(Decimal(1000)) == 1
    assert fleet.machines(Decimal(1001)) == 2
    assert fleet.crossings(Decimal(1), most_machines=2) == [
        Crossing(Decimal(900), "cheaper"),
        Crossing(Decimal(1000), "dearer"),
        Crossing(Decimal(1800), "cheaper"),
    ]


def test_a_peak_needs_machines_that_the_average_does_not() -> None:
    fleet = SteppedFleet(Decimal(900), Decimal(0), Decimal(1000), peak=Decimal(2))
    assert fleet.machines(Decimal(600)) == 2
    assert fleet.crossings(Decimal(1), most_machines=3) == []


@given(
    fixed=st.integers(1, 3000),
    own=st.integers(0, 3),
    api=st.integers(1, 6),
    capacity=st.integers(1, 2000),
    least=st.integers(1, 3),
    mtok=st.integers(1, 6000),
)
def test_the_crossings_say_which_side_is_cheaper_at_any_volume(
    fixed: int, own: int, api: int, capacity: int, least: int, mtok: int
) -> None:
    fleet = SteppedFleet(Decimal(fixed), Decimal(own), Decimal(capacity), least=least)
    crossings = fleet.crossings(Decimal(api), most_machines=6001)
    volume = Decimal(mtok)
    passed = [crossing for crossing in crossings if crossing.mtok < volume]
    says_cheaper = bool(passed) and passed[-1].becomes == "cheaper"
    assert says_cheaper == (fleet.usd(volume) < Decimal(api) * volume)
