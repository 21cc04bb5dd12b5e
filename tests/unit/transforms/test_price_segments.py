"""Which price bills a request: one situation per test, prices of invented labs, worked by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipelines.errors import PriceBookError
from tests.unit.transforms.price_rows import at, book, key, per_mtok, price, segments

PRICES = ("list_unit_price_usd", "contracted_unit_price_usd")


def only(frame: pl.DataFrame, component: str = "input_uncached") -> list[tuple[Any, ...]]:
    rows = frame.filter(pl.col("component") == component)
    unit = pl.Series(per_mtok(rows), dtype=pl.Decimal(38, 18))
    return rows.select("prompt_tokens_gt", "prompt_tokens_le", unit.alias("usd")).rows()


def test_the_price_is_that_of_the_moment_not_of_today() -> None:
    rows = book(price("5", valid_to=at("2025-06-01")), price("1", valid_from=at("2025-06-01")))
    found = segments(rows, key("2025-05-31T23:59:59"), key("2025-06-01"))
    assert per_mtok(found) == [5, 1]


def test_nothing_is_priced_before_the_first_or_after_the_last_price() -> None:
    rows = book(price("5", valid_to=at("2025-06-01")))
    assert segments(rows, key("2024-12-31T23:59:59"), key("2025-06-01")).is_empty()


def test_an_unknown_model_or_tier_has_no_price() -> None:
    rows = book(price("5"))
    assert segments(rows, key(model="m-2"), key(service_tier="priority"), key(provider="other")).is_empty()


def test_the_context_band_is_disjoint_and_open_at_the_top() -> None:
    rows = book(price("3", prompt_tokens_le=200_000), price("6", prompt_tokens_gt=200_000))
    assert only(segments(rows, key())) == [(0, 200_000, 3), (200_000, None, 6)]


def test_a_narrower_band_cuts_a_wider_one() -> None:
    rows = book(price("3"), price("6", prompt_tokens_gt=200_000), price("9", prompt_tokens_gt=500_000))
    assert only(segments(rows, key())) == [(0, 200_000, 3), (200_000, 500_000, 6), (500_000, None, 9)]


def test_a_curated_band_over_a_feed_without_bands_leaves_the_low_band_to_the_feed() -> None:
    rows = book(price("3"), price("6", prompt_tokens_gt=200_000, layer="curated"))
    assert only(segments(rows, key())) == [(0, 200_000, 3), (200_000, None, 6)]


def test_curated_outranks_feed_and_home_outranks_shipped() -> None:
    shipped = (price("1"), price("2", layer="curated"))
    assert per_mtok(segments(book(*shipped), key())) == [2]
    assert per_mtok(segments(book(*shipped, home=(price("3"),)), key())) == [2]
    assert per_mtok(segments(book(*shipped, home=(price("4", layer="curated"),)), key())) == [4]
    assert per_mtok(segments(book(price("1"), home=(price("3"),)), key())) == [3]


def test_an_exact_region_outranks_any_region() -> None:
    rows = book(price("3.3"), price("3", region="global"))
    assert per_mtok(segments(rows, key(region="global"), key(region="us"))) == [3, Decimal("3.3")]


def test_a_price_for_any_model_fills_in_only_what_the_model_has_not() -> None:
    fee = price("10", "web_search_requests", model="*", per_units=1000, unit="requests")
    own = price("25", "web_search_requests", per_units=1000, unit="requests")
    alone = segments(book(price("3"), fee), key())
    assert alone.select("component", "list_unit_price_usd").rows() == [
        ("input_uncached", Decimal("0.000003")),
        ("web_search_requests", Decimal("0.01")),
    ]
    both = segments(book(price("3"), fee, own), key()).filter(pl.col("component") == "web_search_requests")
    assert both.get_column("list_unit_price_usd").to_list() == [Decimal("0.025")]


NIGHT = {
    "schedule": "night",
    "timezone": "UTC",
    "start_time": "16:30",
    "end_time": "00:30",
    "weekdays": None,
    "exclude_dates": None,
    "include_dates": None,
    "valid_from": at("2025-02-26T16:30"),
    "valid_to": at("2025-09-05T16:00"),
    "source": "test",
}


@pytest.mark.parametrize(
    ("moment", "usd"),
    [
        ("2025-04-01T16:29:59", "0.27"),
        ("2025-04-01T16:30:00", "0.135"),
        ("2025-04-02T00:29:59", "0.135"),
        ("2025-04-02T00:30:00", "0.27"),
        ("2025-02-26T16:29:59", "0.27"),  # the schedule starts
        ("2025-02-26T00:10:00", "0.27"),  # a window of the night before it started
        ("2025-09-05T00:10:00", "0.135"),
        ("2025-09-05T16:30:00", "0.27"),  # the schedule has ended
    ],
)
def test_a_daily_window_that_passes_midnight(moment: str, usd: str) -> None:
    rows = book(price("0.27"), price("0.135", schedule="night"))
    assert per_mtok(segments(rows, key(moment), schedules=(NIGHT,))) == [Decimal(usd)]


def test_holidays_and_weekends_are_off_and_working_weekends_are_on() -> None:
    peak = {
        **NIGHT,
        "schedule": "peak",
        "start_time": "01:00",
        "end_time": "04:00",
        "weekdays": "12345",
        "exclude_dates": "2026-10-01 2026-10-02",
        "include_dates": "2026-10-10",
        "valid_from": None,
        "valid_to": None,
    }
    rows = book(price("1"), price("2", schedule="peak"))
    moments = {
        "2026-09-30T02:00": 2,  # Wednesday
        "2026-10-01T02:00": 1,  # holiday, a Thursday
        "2026-10-03T02:00": 1,  # Saturday
        "2026-10-10T02:00": 2,  # a Saturday that is worked
        "2026-09-30T04:00": 1,  # half-open
    }
    found = segments(rows, *(key(moment) for moment in moments), schedules=(peak,))
    priced = dict(
        zip((f"{moment:%Y-%m-%dT%H:%M}" for moment in found.get_column("segment_start")), per_mtok(found), strict=True)
    )
    assert priced == moments


def equivalent(component: str, priced_as: str, preference: int = 1, **fields: str) -> dict[str, Any]:
    return {
        "provider": "*",
        "model_pattern": "*",
        "component": component,
        "priced_as": priced_as,
        "preference": preference,
        "source": "test",
        "model_regex": "^.*$",
        **fields,
    }


def test_a_component_is_billed_like_another_only_without_a_price_of_its_own() -> None:
    rules = (
        equivalent("cache_write_unknown", "cache_write_5m", 2),
        equivalent("cache_write_unknown", "cache_write_30m", 1, provider="lab"),
    )
    rows = book(price("6", "cache_write_30m"), price("7", "cache_write_5m"))
    found = segments(rows, key(), equivalents=rules).filter(pl.col("component") == "cache_write_unknown")
    assert found.select("priced_as").rows() == [("cache_write_30m",)]
    assert per_mtok(found) == [6]
    own = book(price("6", "cache_write_30m"), price("8", "cache_write_unknown"))
    found = segments(own, key(), equivalents=rules).filter(pl.col("component") == "cache_write_unknown")
    assert per_mtok(found) == [8]


def test_candidates_of_one_name_are_never_mixed() -> None:
    aliases = (
        {"provider": "lab", "alias": "m", "model": "m-old", "valid_from": None, "valid_to": None, "source": "test"},
    )
    rows = book(price("5"), price("1", model="m-old"), price("2", "output", model="m-old"))
    found = segments(rows, key(), aliases=aliases)
    assert found.select("component", "price_model").rows() == [("input_uncached", "m")]


def test_an_alias_prices_only_while_it_meant_that_model() -> None:
    names = [("m-1", None, at("2024-10-02")), ("m-2", at("2024-10-02"), None)]
    aliases = tuple(
        {"provider": "lab", "alias": "latest", "model": model, "valid_from": start, "valid_to": end, "source": "test"}
        for model, start, end in names
    )
    rows = book(
        price("5", model="m-1", valid_from=at("2024-01-01")), price("2.5", model="m-2", valid_from=at("2024-01-01"))
    )
    found = segments(rows, key("2024-10-01", model="latest"), key("2024-10-02", model="latest"), aliases=aliases)
    assert per_mtok(found) == [5, Decimal("2.5")]
    assert found.get_column("normaliser").to_list() == ["alias latest of m-1", "alias latest of m-2"]


def test_a_batch_suffix_changes_the_tier() -> None:
    rows = book(price("4"), price("2", service_tier="batch"))
    assert per_mtok(segments(rows, key(model="m:batch"))) == [2]


def test_prices_before_their_first_observation_are_low_confidence() -> None:
    rows = book(price("3", valid_from_basis="backcast", recorded_at=at("2025-06-04")))
    found = segments(rows, key("2025-06-03"), key("2025-06-04"))
    assert found.get_column("is_low_confidence").to_list() == [True, False]
    documented = book(price("3", valid_from_basis="documented", recorded_at=at("2025-06-04")))
    assert segments(documented, key("2025-06-03")).get_column("is_low_confidence").to_list() == [False]


def contract(**fields: Any) -> dict[str, Any]:
    return {
        "contract_id": "c",
        "provider": "lab",
        "account": "*",
        "model_pattern": "*",
        "service_tier": "*",
        "component": "*",
        "discount_percent": None,
        "price_usd": None,
        "per_units": None,
        "valid_from": None,
        "valid_to": None,
        "model_regex": "^.*$",
        **fields,
    }


def contracted(*contracts: dict[str, Any], **fields: Any) -> list[tuple[Any, ...]]:
    rows = book(price("3"), price("15", "output"))
    found = segments(rows, key(**fields), contracts=contracts)
    usd = pl.Series(per_mtok(found, "contracted_unit_price_usd"), dtype=pl.Decimal(38, 18))
    return found.select("component", usd.alias("usd"), "contract_id").rows()


def test_without_a_contract_the_contracted_price_is_the_list_price() -> None:
    assert contracted() == [("input_uncached", 3, None), ("output", 15, None)]


def test_a_discount_leaves_the_list_price_alone() -> None:
    rows = book(price("3"))
    found = segments(rows, key(), contracts=(contract(discount_percent=Decimal("12.5")),))
    assert per_mtok(found) == [3]
    assert per_mtok(found, "contracted_unit_price_usd") == [Decimal("2.625")]


def test_a_contract_price_needs_its_component_and_its_dates() -> None:
    fixed = contract(
        component="output",
        price_usd=Decimal(9),
        per_units=1_000_000,
        valid_from=at("2025-02-01"),
        valid_to=at("2025-06-01"),
    )
    assert contracted(fixed, moment="2025-05-31") == [("input_uncached", 3, None), ("output", 9, "c")]
    assert contracted(fixed, moment="2025-06-01") == [("input_uncached", 3, None), ("output", 15, None)]


@pytest.mark.parametrize(
    ("closer", "wider"),
    [
        ({"account": "default"}, {"model_pattern": "m"}),
        ({"model_pattern": "m"}, {"model_pattern": "m*"}),
        ({"model_pattern": "m*"}, {"service_tier": "standard"}),
        ({"service_tier": "standard"}, {"component": "output"}),
        ({"component": "output"}, {}),
        ({"valid_from": at("2025-03-01")}, {"valid_from": at("2025-02-01")}),
    ],
)
def test_the_most_specific_contract_wins(closer: dict[str, Any], wider: dict[str, Any]) -> None:
    found = contracted(
        contract(contract_id="a-wider", discount_percent=Decimal(50), **wider),
        contract(contract_id="closer", discount_percent=Decimal(10), **closer),
    )
    assert ("output", Decimal("13.5"), "closer") in found


def test_a_contract_of_another_account_tier_or_model_does_not_apply() -> None:
    others = ({"account": "eu"}, {"service_tier": "batch"}, {"model_pattern": "n*"}, {"provider": "other"})
    rows = [contract(discount_percent=Decimal(50), **other) for other in others]
    assert contracted(*rows) == [("input_uncached", 3, None), ("output", 15, None)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"discount_percent": Decimal(5), "price_usd": Decimal(1), "per_units": 1},
        {"price_usd": Decimal(1), "component": "output"},
        {"price_usd": Decimal(1), "per_units": 1_000_000},
    ],
)
def test_a_contract_row_states_a_price_or_a_discount(fields: dict[str, Any]) -> None:
    with pytest.raises(PriceBookError, match="either a discount or a price"):
        contracted(contract(**fields))


def fixed(usd: str, component: str, **fields: Any) -> dict[str, Any]:
    return contract(component=component, price_usd=Decimal(usd), per_units=1_000_000, **fields)


def alone(prices: pl.DataFrame, *contracts: dict[str, Any], **fields: Any) -> list[tuple[Any, ...]]:
    """(component, above, up to, list, contracted, price, contract), per million tokens."""
    equivalents = (equivalent("cache_write_unknown", "cache_write_5m"),)
    found = segments(prices, key(**fields), contracts=contracts, equivalents=equivalents)
    return [
        (
            *(row["component"], row["prompt_tokens_gt"], row["prompt_tokens_le"]),
            *(None if row[name] is None else row[name] * 1_000_000 for name in PRICES),
            *(row["price_id"], row["contract_id"]),
        )
        for row in found.to_dicts()
    ]


def test_a_contract_alone_prices_a_model_that_no_public_list_knows() -> None:
    """A price that the contract states for one component prices it, and what is billed like it; a discount does not."""
    known = book(price("3", model="another"))
    agreed = (fixed("2", "input_uncached"), fixed("5", "cache_write_5m"), contract(discount_percent=Decimal(50)))
    assert alone(known, *agreed, model="secret") == [
        ("cache_write_5m", 0, None, None, 5, None, "c"),
        ("cache_write_unknown", 0, None, None, 5, None, "c"),
        ("input_uncached", 0, None, None, 2, None, "c"),
    ]


def test_a_contract_alone_prices_only_its_own_account_tier_and_dates() -> None:
    agreed = fixed("2", "output", account="a", service_tier="priority", valid_from=at("2025-02-01"))
    known = book(price("3", model="another"))
    here = {"model": "secret", "account": "a", "service_tier": "priority"}
    assert [row[0] for row in alone(known, agreed, **here)] == ["output"]
    for other in ({"account": "b"}, {"service_tier": "standard"}, {"moment": "2025-01-31"}):
        assert alone(known, agreed, **{**here, **other}) == []


def test_a_contract_fills_the_bands_and_components_that_the_list_leaves_out() -> None:
    """The list prices input up to 200,000 tokens at 3; above it only the contract's 2 is known, and output at 9."""
    known = book(price("3", prompt_tokens_le=200_000))
    found = alone(known, fixed("2", "input_uncached"), fixed("9", "output"))
    assert [row[:5] for row in found] == [
        ("input_uncached", 0, 200_000, 3, 2),
        ("input_uncached", 200_000, None, None, 2),
        ("output", 0, None, None, 9),
    ]
    assert [row[5] is None for row in found] == [False, True, True]


def test_of_two_contracts_without_a_list_price_the_more_specific_wins() -> None:
    known = book(price("3", model="another"))
    wide, close = fixed("2", "output", contract_id="a-wide"), fixed("4", "output", contract_id="close", account="a")
    assert alone(known, wide, close, model="secret", account="a") == [("output", 0, None, None, 4, None, "close")]
