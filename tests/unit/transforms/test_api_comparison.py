"""What an API would have billed for self-hosted tokens, and which way of running pays from which volume on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl

from pipelines.contracts.reference import RefGpuRates, RefModelEquivalents
from pipelines.settings import Settings
from pipelines.transforms.api_equivalents import PriceTables, api_equivalents
from pipelines.transforms.deployment_options import break_even_options
from pipelines.transforms.price_book import load_price_book
from pipelines.transforms.reference_tables import load_reference
from tests.properties.fleets import at, fleet_reference, ledger, table, traffic

TODAY = date(2026, 11, 22)
HEADER = (
    "price_id,provider,model,component,price_usd,per_units,unit,valid_from,valid_to,"
    "valid_from_basis,recorded_at,layer,source\n"
)


def price_tables(home: Path, *prices: tuple[str, str, str, str, str]) -> PriceTables:
    """A book with the shipped prices and these: provider, model, component, dollars a million, valid_from."""
    folder = home / "reference" / "model_prices"
    folder.mkdir(parents=True)
    rows = [
        f"p{number},{provider},{model},{component},{usd},1000000,tokens,{since},,documented,{since},curated,test"
        for number, (provider, model, component, usd, since) in enumerate(prices)
    ]
    (folder / "test.csv").write_text(HEADER + "\n".join(rows) + "\n")
    settings = Settings(home=home, fixed_now=datetime(2026, 11, 22, tzinfo=UTC))
    reference = load_reference(settings)
    names = ("price_schedules", "model_aliases", "component_equivalents", "contract_prices")
    return PriceTables(load_price_book(settings), *(reference[f"ref__{name}"] for name in names))


def sold(
    provider: str, model: str, usd: Sequence[str], since: str = "2026-01-01"
) -> list[tuple[str, str, str, str, str]]:
    """Input, output and perhaps cached input prices of one offer."""
    components = ("input_uncached", "output", "cache_read")
    return [(provider, model, component, price, since) for component, price in zip(components, usd, strict=False)]


def named(*rows: Mapping[str, object]) -> pl.DataFrame:
    return table(RefModelEquivalents, rows)


def test_the_same_model_is_priced_at_its_cheapest_seller(tmp_path: Path) -> None:
    # 1 M input, 1 M cached, 1 M output: groq 1 + 1 + 2 (no cache discount) = 4, xai 1 + 0.5 + 3 = 4.50
    prices = price_tables(tmp_path, *sold("groq", "m-1", ("1", "2")), *sold("xai", "m-1", ("1", "3", "0.5")))
    usage = traffic((0, "a", 10**6, 10**6, 10**6)).with_columns(pl.lit("Maker/M-1").alias("model"))
    row = api_equivalents(usage, named(), prices, TODAY).row(0, named=True)
    assert (row["equivalence"], row["equivalent_provider"], row["api_cost_usd"]) == ("same_model", "groq", 4)


def test_a_named_equivalent_outranks_the_same_model(tmp_path: Path) -> None:
    prices = price_tables(tmp_path, *sold("groq", "m", ("1", "1")), *sold("xai", "big", ("5", "5")))
    equivalent = {
        "model": "m",
        "equivalent_provider": "xai",
        "equivalent_model": "big",
        "quality_ratio": Decimal("0.9"),
    }
    row = api_equivalents(traffic((0, "a", 10**6, 0, 0)), named(equivalent), prices, TODAY).row(0, named=True)
    assert (row["equivalence"], row["equivalent_model"], row["api_cost_usd"]) == ("named", "big", 5)
    assert row["quality_ratio"] == Decimal("0.9")


def test_each_day_has_its_own_price_and_today_prices_it_again(tmp_path: Path) -> None:
    prices = price_tables(tmp_path, *sold("xai", "m", ("4", "4")), *sold("xai", "m", ("1", "1"), "2026-11-02"))
    found = api_equivalents(traffic((0, "a", 10**6, 0, 0), (24, "a", 10**6, 0, 0)), named(), prices, TODAY)
    assert found["api_cost_usd"].to_list() == [4, 1]
    assert found["api_cost_at_todays_price_usd"].to_list() == [1, 1]


def test_a_model_that_nobody_sells_has_no_api_cost(tmp_path: Path) -> None:
    row = api_equivalents(traffic((0, "a", 10, 0, 0)), named(), price_tables(tmp_path), TODAY).row(0, named=True)
    assert (row["equivalence"], row["equivalent_model"], row["api_cost_usd"]) == (None, None, None)


def api_day(usd: object) -> pl.DataFrame:
    return pl.DataFrame(
        {"deployment": ["chat"], "api_cost_usd": [Decimal(str(usd))]},
        schema={"deployment": pl.String, "api_cost_usd": pl.Decimal(38, 12)},
    )


def options(
    rates: Sequence[Mapping[str, object]], usage: pl.DataFrame, api_usd: object, **deployment: object
) -> dict[str, dict[str, object]]:
    """Options of the first day of November for one GPU `X` at $1 an hour: $720 a whole month."""
    facts = fleet_reference([{"valid_from": at(0), **deployment}], rates)
    told = ledger(facts, usage)
    frame = break_even_options("2026-11", told, api_day(api_usd), table(RefGpuRates, rates, gpu_type="X", source="t"))
    return {str(row["option"]): row for row in frame.iter_rows(named=True)}


RENTED = {"purchase_type": "on_demand", "usd_per_gpu_hour": 1}


def test_break_even_scales_a_day_to_the_month() -> None:
    # 1 M tokens a day for $2 at the API: $720 / $2 a million = 360 M a month; served now: 30 M
    row = options([RENTED], traffic((0, "a", 10**6, 0, 0)), 2)["as_is"]
    assert (row["fixed_usd_per_month"], row["api_usd_per_mtok"]) == (720, 2)
    assert (row["break_even_tokens_per_month"], row["tokens_per_month"]) == (360_000_000, 30_000_000)


def test_other_ways_of_paying_for_the_same_gpu_stand_beside() -> None:
    rates = [
        RENTED,
        {"purchase_type": "reserved", "usd_per_gpu_hour": Decimal("0.5")},
        {"purchase_type": "owned", "purchase_price_usd": 8760, "useful_life_years": 5},
    ]
    found = options(rates, traffic((0, "a", 10**6, 0, 0)), 20)
    # reserved: $360 / $20; owned: 8,760 / 43,800 h = $0.20 an hour = $144 a month;
    # it saves 30 × $20 = $600 a month: 14.6 months
    assert found["rent:reserved"]["break_even_tokens_per_month"] == 18_000_000
    assert found["buy:owned"]["fixed_usd_per_month"] == 144
    assert (found["buy:owned"]["purchase_usd"], found["buy:owned"]["payback_months"]) == (8760, Decimal("14.6"))


def test_a_fleet_with_a_capacity_steps() -> None:
    # 1 M tokens in one hour that could do 2 M: 24 × 2 × 30 = 1,440 M a month and machine; the peak hour is 24 times
    # the average, so one machine holds 60 M. $720 / $20 = 36 M pays on the first; the second starts at 60 M
    # and pays from 72 M
    usage = traffic((0, "a", 10**6, 0, 0))
    found = options([RENTED], usage, 20, capacity_units_per_gpu_hour=2 * 10**6)
    row = found["stepped"]
    assert row["capacity_tokens_per_month"] == 1_440_000_000
    assert (row["break_even_tokens_per_month"], row["dearer_again_tokens_per_month"]) == (36_000_000, 60_000_000)


def test_no_volume_pays_against_a_cheap_api() -> None:
    found = options([RENTED], traffic(), 0)
    assert found["as_is"]["break_even_tokens_per_month"] is None
    assert found["as_is"]["crossings"] == 0
