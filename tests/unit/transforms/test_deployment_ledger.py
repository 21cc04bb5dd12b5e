"""The ledger in worked cases: NVIDIA's equation, components that stay in their own column, and how each number is
known."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipelines.errors import ReferenceTableError
from pipelines.transforms.deployment_hours import deployed_months
from tests.properties.fleets import at, fleet_reference, ledger, telemetry, traffic

COSTS = ["hardware", "energy", "licences", "engineering", "network_storage", "all_in"]
OWNED = {"purchase_type": "owned", "purchase_price_usd": 43800, "salvage_usd": 0, "useful_life_years": 5}
"""$43,800 over 5 × 8,760 hours: one dollar an hour."""
POWERED = {**OWNED, "idle_w": 100, "max_w": 900, "host_w_per_gpu": 100}
RUNS = {"valid_from": at(0)}


def owned(**more: object) -> dict[str, object]:
    return {**RUNS, "purchase_type": "owned", **more}


def first_hour(told: pl.DataFrame) -> dict[str, Any]:
    return told.filter(pl.col("hour_start") == at(0)).row(0, named=True)


def costs(told: pl.DataFrame) -> dict[str, Decimal]:
    """Dollars of the whole frame by component."""
    return {name: Decimal(told[f"{name}_cost_usd"].sum()) for name in COSTS}


def test_a_deployment_of_hardware_alone_is_nvidias_equation() -> None:
    # GB300 at $2.65 and 6,000 tokens a second for an hour: 21.6 M tokens, 0.1227 a million (published: 0.12)
    facts = fleet_reference([RUNS], [{"usd_per_gpu_hour": Decimal("2.65")}])
    told = first_hour(ledger(facts, traffic((0, "f", 0, 0, 6000 * 3600))))
    assert told["all_in_cost_usd"] == told["hardware_cost_usd"] == told["naive_cost_usd"] == Decimal("2.65")
    per_mtok = told["all_in_cost_usd"] * 10**6 / told["output_tokens"]
    assert per_mtok.quantize(Decimal("0.01")) == Decimal("0.12")


@pytest.mark.parametrize(
    ("column", "overhead", "dollars"),
    [
        # 24 of November's 720 hours
        ("licences", {"component": "licences", "value": 72, "unit": "usd_per_gpu_month"}, "2.4"),
        ("licences", {"component": "licences", "value": Decimal("0.5"), "unit": "usd_per_gpu_hour"}, "12"),
        ("network_storage", {"component": "network_storage", "value": 360, "unit": "usd_per_month"}, "12"),
        ("engineering", {"component": "engineering", "value": 8640, "unit": "usd_per_year"}, "24"),
    ],
)
def test_a_component_moves_only_its_own_column(column: str, overhead: dict[str, object], dollars: str) -> None:
    rate = [{"usd_per_gpu_hour": 2}]
    without = costs(ledger(fleet_reference([RUNS], rate)))
    with_it = costs(ledger(fleet_reference([RUNS], rate, [overhead])))
    moved = {name: with_it[name] - without[name] for name in COSTS if with_it[name] != without[name]}
    assert moved == {column: Decimal(dollars), "all_in": Decimal(dollars)}


def test_energy_moves_only_its_own_column_and_shows_its_cooling() -> None:
    # full load: 900 W + 100 W host = 1 kWh an hour, × 1.5 × $0.20 = 30 cents, of which 10 cents cooling
    usage = traffic((0, "f", 10, 0, 0))
    facts = fleet_reference([owned()], [POWERED])
    tariff = [{"usd_per_kwh": Decimal("0.20"), "pue": Decimal("1.5")}]
    without = first_hour(ledger(facts, usage))
    told = first_hour(ledger(fleet_reference([owned()], [POWERED], energy=tariff), usage))
    assert (without["energy_cost_usd"], without["power_basis"]) == (0, "no_tariff")
    assert (told["energy_cost_usd"], told["cooling_cost_usd"]) == (Decimal("0.30"), Decimal("0.10"))
    assert told["hardware_cost_usd"] == without["hardware_cost_usd"] == Decimal(1)
    assert (told["energy_kwh"], told["power_basis"]) == (Decimal(1), "modelled_at_full_load")


def test_staff_is_people_times_their_loaded_year_over_all_gpu_hours_of_the_month() -> None:
    # half a person at $240,000: $10,000 a month over (1 + 3) GPUs × 720 h = $3.4722 per GPU-hour
    staff = [
        {"component": "engineering", "method": "fte", "value": Decimal("0.5"), "unit": "fte"},
        {"component": "engineering", "method": "loaded_annual", "value": 240000, "unit": "usd_per_year"},
    ]
    both = [RUNS, {**RUNS, "deployment": "other", "gpu_count": 3}]
    told = ledger(fleet_reference(both, [{"usd_per_gpu_hour": 2}], staff), days=30)
    by_deployment = dict(told.group_by("deployment").agg(pl.col("engineering_cost_usd").sum()).iter_rows())
    assert {name: round(usd, 6) for name, usd in by_deployment.items()} == {"chat": 2500, "other": 7500}


def test_an_overhead_of_half_a_month_is_half_of_it() -> None:
    half = {"component": "network_storage", "value": 720, "unit": "usd_per_month", "valid_from": at(360)}
    told = ledger(fleet_reference([RUNS], [{"usd_per_gpu_hour": 2}], [half]), days=30)
    assert round(Decimal(told["network_storage_cost_usd"].sum()), 6) == 360
    assert told.filter(pl.col("hour_start") < at(360))["network_storage_cost_usd"].sum() == 0


def test_interest_comes_in_once_through_the_annuity() -> None:
    # 43,800 × 0.263797 / 8,760 = 1.318987
    told = first_hour(ledger(fleet_reference([owned()], [{**OWNED, "cost_of_capital": Decimal("0.10")}])))
    assert told["hardware_basis"] == "annuity"
    assert round(told["hardware_cost_usd"], 5) == Decimal("1.31899")


def test_colocation_that_includes_power_leaves_no_power_bill() -> None:
    # 1 kW at $144 a month over 720 h: 20 cents an hour, part of hardware
    site = {"usd_per_kwh": Decimal("0.20"), "colo_usd_per_kw_month": 144, "colo_includes_power": True}
    told = first_hour(ledger(fleet_reference([owned()], [POWERED], energy=[site])))
    assert (told["colo_cost_usd"], told["hardware_cost_usd"]) == (Decimal("0.2"), Decimal("1.2"))
    assert (told["energy_cost_usd"], told["power_basis"]) == (0, "included_in_colo")


def test_the_site_of_a_deployment_outranks_any_site() -> None:
    tariffs = [{"site": "*", "usd_per_kwh": 1}, {"site": "oslo", "usd_per_kwh": Decimal("0.1")}]
    told = first_hour(
        ledger(fleet_reference([owned(site="oslo")], [POWERED], energy=tariffs), traffic((0, "f", 1, 0, 0)))
    )
    assert told["energy_cost_usd"] == Decimal("0.1")


@pytest.mark.parametrize(
    ("measured", "basis", "kwh"),
    [
        # counter 1.8 MJ = 0.5 kWh, and the host's 0.1 kWh
        ([("gpu_energy_joules", 1_800_000, 3600)], "counter", "0.6"),
        ([("gpu_power_joules", 1_800_000, 3600)], "power_gauge", "0.6"),
        # half an hour by counter, the other half modelled at 900 W: 0.5 + 0.45 + 0.1
        ([("gpu_energy_joules", 1_800_000, 1800)], "counter_and_model", "1.05"),
        # nothing measured: 900 W and the host
        ([], "modelled_at_full_load", "1"),
    ],
)
def test_energy_is_measured_where_it_can_be_and_says_so(
    measured: list[tuple[str, int, int]], basis: str, kwh: str
) -> None:
    facts = fleet_reference([owned()], [POWERED], energy=[{"usd_per_kwh": Decimal("0.20")}])
    told = first_hour(ledger(facts, traffic((0, "f", 1, 0, 0)), telemetry(*((0, *row) for row in measured))))
    assert (told["power_basis"], told["energy_kwh"]) == (basis, Decimal(kwh))
    assert told["energy_cost_usd"] == Decimal(kwh) * Decimal("0.20")


def test_modelled_power_follows_the_load_where_a_capacity_is_known() -> None:
    # a quarter of capacity: 100 + 0.25 × 800 = 300 W and 100 W host; a silent hour: 100 + 100
    facts = fleet_reference([owned(capacity_units_per_gpu_hour=400)], [POWERED], energy=[{"usd_per_kwh": 1}])
    told = ledger(facts, traffic((0, "f", 100, 0, 0)))
    assert told["energy_kwh"].to_list()[:2] == [Decimal("0.4"), Decimal("0.2")]
    assert set(told["power_basis"]) == {"modelled"}
    assert first_hour(told)["utilisation"] == Decimal("0.25")
    assert first_hour(told)["naive_cost_usd"] == Decimal("0.25")


def test_without_watts_or_telemetry_power_is_unknown_not_zero_kilowatt_hours() -> None:
    told = first_hour(ledger(fleet_reference([owned()], [OWNED], energy=[{"usd_per_kwh": 1}])))
    assert (told["energy_kwh"], told["power_basis"], told["energy_cost_usd"]) == (None, "none", 0)


def test_a_gpu_without_a_rate_has_no_cost_at_all() -> None:
    told = first_hour(ledger(fleet_reference([RUNS], [{"usd_per_gpu_hour": 2, "valid_from": at(24)}])))
    assert (told["hardware_basis"], told["all_in_cost_usd"], told["busy_cost_usd"]) == ("unknown", None, None)


def test_opencost_replaces_the_rate_only_where_it_covers_the_hour() -> None:
    facts = fleet_reference([RUNS], [{"usd_per_gpu_hour": 2}])
    rows = [(0, "opencost_hardware_usd", 3, 3600), (0, "opencost_network_storage_usd", 1, 3600)]
    told = ledger(facts, measured=telemetry(*rows, (1, "opencost_hardware_usd", 1, 1200)))
    assert told["hardware_cost_usd"].to_list()[:2] == [3, 2]
    assert told["hardware_basis"].to_list()[:2] == ["opencost", "rented"]
    assert told["all_in_cost_usd"].to_list()[:2] == [4, 2]


def test_a_night_without_capacity_says_that_load_is_unknown() -> None:
    told = ledger(fleet_reference([RUNS], [{"usd_per_gpu_hour": 2}]), traffic((3, "f", 1, 0, 0)))
    assert set(told["load_basis"]) == {"none"}
    assert told["utilisation"].to_list()[2:5] == [0, 1, 0]
    assert set(told["weights_basis"]) == {"assumption"}


def test_weights_that_are_declared_in_part_keep_the_default_for_the_rest() -> None:
    told = first_hour(
        ledger(fleet_reference([{**RUNS, "w_output": 3}], [{"usd_per_gpu_hour": 2}]), traffic((0, "f", 10, 10, 10)))
    )
    assert told["weights_basis"] == "declared"
    assert told["work_units"] == Decimal(10 + 1 + 30)


def calibrating(hours: int, queue: int) -> list[tuple[float, str, object, float]]:
    """Counters of a GPU that spends 1,000 J and 2 J per input and 8 J per output token."""
    rows: list[tuple[float, str, object, float]] = []
    for hour in range(hours):
        tokens, output = 1000 + 37 * (hour % 7), 300 + 53 * (hour % 5)
        rows += [
            (hour, "input_tokens", tokens, 3600),
            (hour, "output_tokens", output, 3600),
            (hour, "gpu_energy_joules", 1000 + 2 * tokens + 8 * output, 3600),
            (hour, "waiting_request_seconds", queue * 3600 if hour == 3 else 0, 3600),
        ]
    return rows


def test_counters_calibrate_the_output_weight_and_the_capacity() -> None:
    # slopes 2 and 8: an output token weighs 4; the queue stood in hour 3 with 1,111 + 4 × 459 = 2,947 units
    told = ledger(
        fleet_reference([RUNS], [{"usd_per_gpu_hour": 2}]), measured=telemetry(*calibrating(72, queue=2)), days=3
    )
    assert set(told["weights_basis"]) == {"calibrated"}
    assert told["w_output"].unique().to_list() == [Decimal(4)]
    assert set(told["load_basis"]) == {"calibrated"}
    assert told["capacity_units"].unique().to_list() == [Decimal(2947)]
    assert told.filter(pl.col("hour_start") == at(3))["utilisation"].item() == 1


def test_too_few_hours_or_no_queue_calibrate_nothing() -> None:
    told = ledger(fleet_reference([RUNS], [{"usd_per_gpu_hour": 2}]), measured=telemetry(*calibrating(24, queue=0)))
    assert (set(told["weights_basis"]), set(told["load_basis"])) == ({"assumption"}, {"none"})


def test_an_overhead_in_an_unknown_unit_is_named() -> None:
    facts = fleet_reference([RUNS], [], [{"component": "licences", "value": 1, "unit": "bananas"}])
    with pytest.raises(ReferenceTableError, match="bananas"):
        ledger(facts)


def test_people_without_their_pay_are_not_free() -> None:
    heads = {"component": "engineering", "method": "fte", "value": 2, "unit": "fte"}
    with pytest.raises(ReferenceTableError, match="belong together"):
        ledger(fleet_reference([RUNS], [], [heads]))


def test_a_deployment_changes_size_in_the_middle_of_an_hour() -> None:
    # half an hour of one GPU and half of three, at $2: 1 + 3
    sizes = [{**RUNS, "valid_to": at(0.5)}, {"valid_from": at(0.5), "gpu_count": 3}]
    told = first_hour(ledger(fleet_reference(sizes, [{"usd_per_gpu_hour": 2}])))
    assert (told["hardware_cost_usd"], told["gpu_hours"]) == (4, 2)


def test_months_without_a_file_are_told_by_the_dates_of_deployments() -> None:
    def months(start: float, end: float | None, today: datetime) -> set[str]:
        facts = fleet_reference([{"valid_from": at(start), "valid_to": None if end is None else at(end)}], [])
        return deployed_months(facts["ref__deployments"], today.date())

    assert months(0, None, at(24 * 45)) == {"2026-11", "2026-12"}
    assert months(0, None, at(24 * 30)) == {"2026-11"}
    assert months(0, None, at(0)) == set()
    assert months(12, 36, at(24 * 45)) == {"2026-11"}
