"""The price book: layers, what was known when, exact units, guards, and files that only grow."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipelines.errors import PriceBookError
from pipelines.settings import Settings
from pipelines.transforms import reference_tables
from pipelines.transforms.price_book import context_thresholds, load_price_book
from pipelines.transforms.price_feeds.rows import FeedPrice, to_csv
from pipelines.transforms.price_guards import gaps, steps
from tests.unit.transforms.price_rows import at, book, price


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(reference_tables, "SHIPPED_REFERENCE", tmp_path / "shipped")
    return Settings(home=tmp_path / "home", fixed_now=at("2026-06-01"))


def ship(settings: Settings, *rows: FeedPrice, name: str = "lab.csv", home: bool = False) -> None:
    root = settings.reference if home else reference_tables.SHIPPED_REFERENCE
    path = root / "model_prices" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_csv(rows))


def test_the_layers_are_home_curated_shipped_curated_home_feed_shipped_feed(settings: Settings) -> None:
    ship(settings, price("1"), price("2", model="n", layer="curated"))
    ship(settings, price("3", model="o", layer="curated"), price("4", model="p"), home=True)
    ranks = dict(load_price_book(settings).select("model", "layer_rank").rows())
    assert ranks == {"o": 0, "n": 1, "p": 2, "m": 3}


def test_the_unit_price_is_exact(settings: Settings) -> None:
    ship(settings, price("0.003625"), price("10", "web_search_requests", per_units=1000, unit="requests"))
    units = dict(load_price_book(settings).select("component", "unit_price_usd").rows())
    assert units == {"input_uncached": Decimal("0.000000003625"), "web_search_requests": Decimal("0.01")}


def test_a_price_without_an_exact_unit_is_refused(settings: Settings) -> None:
    ship(settings, price("0.05", "code_execution_seconds", per_units=3600, unit="seconds"))
    with pytest.raises(PriceBookError, match="no exact price for one unit"):
        load_price_book(settings)


def test_known_at_gives_back_what_was_believed_then(settings: Settings) -> None:
    # announced on 30 June for 1 September, cancelled on 10 August
    rise = price(
        "3",
        valid_from=at("2026-09-01"),
        recorded_at=at("2026-06-30"),
        superseded_at=at("2026-08-10"),
        change_kind="announced_then_cancelled",
        layer="curated",
    )
    ship(settings, price("2", recorded_at=at("2026-06-01")), rise)

    def prices(known: str | None) -> list[Decimal]:
        rows = load_price_book(settings, at(known) if known else None)
        return rows.sort("price_usd").get_column("price_usd").to_list()

    assert prices("2026-05-31") == []
    assert prices("2026-06-29") == [2]
    assert prices("2026-07-15") == [2, 3]
    assert prices("2026-08-10") == [2]
    assert prices(None) == [2]


def test_an_open_price_ends_where_a_later_recorded_one_starts(settings: Settings) -> None:
    ship(settings, price("5", recorded_at=at("2025-01-01")))
    ship(settings, price("4", valid_from=at("2025-06-01"), recorded_at=at("2025-06-02")), name="later.csv")
    rows = load_price_book(settings).sort("valid_from").select("price_usd", "valid_from", "valid_to").rows()
    assert rows == [(5, at("2025-01-01"), at("2025-06-01")), (4, at("2025-06-01"), None)]
    then = load_price_book(settings, known_at=at("2025-06-01"))
    assert then.select("price_usd", "valid_to").rows() == [(5, None)]


def test_two_prices_at_the_same_time_in_one_layer_are_refused(settings: Settings) -> None:
    ship(settings, price("5", valid_to=at("2025-07-01")), price("4", valid_from=at("2025-06-01")))
    with pytest.raises(PriceBookError, match="at the same time"):
        load_price_book(settings)


def test_touching_intervals_and_other_layers_do_not_overlap() -> None:
    rows = book(
        price("5", valid_to=at("2025-06-01")),
        price("4", valid_from=at("2025-06-01")),
        price("3", layer="curated"),
        price("2", prompt_tokens_gt=200_000),
        price("1", schedule="night"),
    )
    assert rows.height == 5


@pytest.mark.parametrize("usd", ["1000.01", "2500000"])
def test_a_token_price_above_1000_dollars_a_million_is_a_unit_error(usd: str) -> None:
    with pytest.raises(PriceBookError, match="cannot be right"):
        book(price(usd))


def test_a_price_per_token_read_as_per_million_is_a_unit_error() -> None:
    # $3 per million stated as 3 per one token
    with pytest.raises(PriceBookError, match="cannot be right"):
        book(price("3", per_units=1))


def test_a_free_price_is_a_price() -> None:
    assert book(price("0")).get_column("unit_price_usd").item() == 0


def test_steps_above_ten_and_gaps_are_found() -> None:
    rows = book(
        price("5", valid_to=at("2025-06-01")),
        price("0.49", valid_from=at("2025-06-01"), valid_to=at("2025-07-01")),
        price("4.9", valid_from=at("2025-08-01")),
    )
    assert steps(rows).get_column("price_usd").to_list() == [Decimal("0.49")]
    assert gaps(rows).select("gap_from", "gap_to").rows() == [(at("2025-07-01"), at("2025-08-01"))]


def test_an_unknown_component_is_refused() -> None:
    with pytest.raises(PriceBookError, match="nobody meters 'reasoning'"):
        book(price("5", "reasoning"))


def test_context_thresholds_are_both_ends_of_every_band() -> None:
    rows = book(price("1", prompt_tokens_le=200_000), price("2", prompt_tokens_gt=272_000), price("3", model="n"))
    assert context_thresholds(rows) == [200_000, 272_000]


def test_a_home_row_of_a_shipped_id_replaces_it(settings: Settings) -> None:
    row = price("5")
    ship(settings, row)
    superseded = FeedPrice(**{**vars(row), "superseded_at": at("2026-01-01")})
    assert superseded.price_id == row.price_id
    ship(settings, superseded, home=True)
    assert load_price_book(settings).is_empty()


def test_the_shipped_book_loads_without_overlap_and_every_row_names_a_source(tmp_path: Path) -> None:
    rows = load_price_book(Settings(home=tmp_path))
    assert rows.height > 10_000
    assert rows.filter(pl.col("source").str.strip_chars() == "").is_empty()
    labs = {"openai", "anthropic", "google", "deepseek", "mistral", "xai", "aws_bedrock", "azure_openai", "openrouter"}
    assert labs | {"groq", "cohere"} <= set(rows.get_column("provider"))


def test_a_marginal_context_tier_is_refused_instead_of_pricing_whole_requests(settings: Settings) -> None:
    ship(settings, price("1"))
    path = reference_tables.SHIPPED_REFERENCE / "model_prices" / "lab.csv"
    path.write_text(path.read_text().replace(",request,", ",marginal,"))
    with pytest.raises(PriceBookError, match="only the tokens above its threshold"):
        load_price_book(settings)
