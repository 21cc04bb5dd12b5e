"""The `prices` commands: showing, adding, refreshing. Files only grow, and nothing slips in unseen."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipelines.errors import NotFoundError, PriceBookError, UsageError
from pipelines.settings import Settings
from pipelines.transforms import reference_tables
from pipelines.transforms.price_book import load_price_book
from pipelines.transforms.price_changes import add_price, apply_refresh, read_price_file, refresh_diff, show_prices
from pipelines.transforms.price_feeds.rows import FeedPrice, to_csv
from tests.unit.transforms.price_rows import at, price


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    folder = tmp_path / "shipped" / "model_prices"
    folder.mkdir(parents=True)
    monkeypatch.setattr(reference_tables, "SHIPPED_REFERENCE", folder.parent)
    rows = [price("3"), price("15", "output"), price("1", model="retired"), price("2", provider="other", model="m")]
    (folder / "lab.csv").write_text(to_csv(rows))
    return Settings(home=tmp_path / "home", fixed_now=at("2026-06-01"))


def feed(tmp_path: Path, *rows: FeedPrice) -> Path:
    path = tmp_path / "feed.csv"
    path.write_text(to_csv(rows))
    return path


def in_force(settings: Settings, component: str = "input_uncached") -> list[tuple[object, ...]]:
    rows = load_price_book(settings).filter(pl.col("provider") == "lab", pl.col("model") == "m")
    rows = rows.filter(pl.col("component") == component).sort("layer_rank", "valid_from")
    return rows.select("layer_rank", "price_usd", "valid_from", "valid_to").rows()


def test_show_lists_every_provider_and_says_how_the_name_was_read(settings: Settings) -> None:
    found = show_prices(settings, "m[1m]")
    assert found.select("provider", "component", "price_usd").rows() == [
        ("lab", "input_uncached", 3),
        ("lab", "output", 15),
        ("other", "input_uncached", 2),
    ]
    assert set(found.get_column("normaliser")) == {"context marker [1m] stripped"}


def test_show_of_an_unknown_model_hints_at_the_nearest_and_prices_nothing(settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="no price of retirde is known") as caught:
        show_prices(settings, "retirde")
    assert "such as retired" in str(caught.value)
    with pytest.raises(NotFoundError):
        show_prices(settings, "m", at("2024-12-31"))


def test_an_added_price_is_curated_and_leaves_the_shipped_book_alone(settings: Settings) -> None:
    shipped = (reference_tables.SHIPPED_REFERENCE / "model_prices" / "lab.csv").read_bytes()
    path = add_price(settings, price("2.5", valid_from=at("2026-02-01")))
    assert path == settings.reference / "model_prices" / "local.csv"
    assert in_force(settings) == [(0, Decimal("2.5"), at("2026-02-01"), None), (3, 3, at("2025-01-01"), None)]
    assert (reference_tables.SHIPPED_REFERENCE / "model_prices" / "lab.csv").read_bytes() == shipped


def test_a_second_added_price_ends_the_first_without_editing_its_line(settings: Settings) -> None:
    path = add_price(settings, price("2.5", valid_from=at("2026-02-01")))
    first = path.read_text()
    later = Settings(home=settings.home, fixed_now=at("2026-06-02"))
    add_price(later, price("2", valid_from=at("2026-05-01")))
    assert path.read_text().startswith(first)
    assert in_force(later)[:2] == [
        (0, Decimal("2.5"), at("2026-02-01"), at("2026-05-01")),
        (0, 2, at("2026-05-01"), None),
    ]


def test_the_same_price_twice_is_refused(settings: Settings) -> None:
    add_price(settings, price("2.5"))
    with pytest.raises(PriceBookError, match="in the book already"):
        add_price(settings, price("2.5"))


@pytest.mark.parametrize("usd", ["30.01", "0.29"])
def test_a_step_above_ten_needs_a_review(usd: str, settings: Settings) -> None:
    with pytest.raises(PriceBookError, match="would go from"):
        add_price(settings, price(usd))
    assert not (settings.reference / "model_prices").exists()
    add_price(settings, price(usd), is_reviewed=True)
    assert in_force(settings)[0][1] == Decimal(usd)


def test_a_unit_error_is_refused_even_when_reviewed(settings: Settings) -> None:
    with pytest.raises(PriceBookError, match="cannot be right"):
        add_price(settings, price("3", per_units=1), is_reviewed=True)
    assert not (settings.reference / "model_prices").exists()


def test_a_refresh_shows_what_is_new_changed_dropped_and_suspect(settings: Settings, tmp_path: Path) -> None:
    path = feed(
        tmp_path,
        price("2.5", valid_from=at("2026-05-20")),
        price("15", "output"),
        price("0.3", "cache_read"),
        price("300", model="n"),
        price("5000", "output", model="n"),
        price("9", "input_image", valid_to=at("2026-01-01")),
    )
    diff = refresh_diff(settings, str(path))
    assert diff.select("change", "model", "component", "current_price_usd", "price_usd", "guard").rows() == [
        ("changed", "m", "input_uncached", 3, Decimal("2.5"), None),
        ("dropped_by_feed", "retired", "input_uncached", 1, 1, None),
        ("new", "m", "cache_read", None, Decimal("0.3"), None),
        ("new", "n", "input_uncached", None, 300, None),
        ("new", "n", "output", None, 5000, "unit_error"),
    ]
    assert not settings.reference.exists()


def test_a_factor_of_a_thousand_in_a_feed_is_held_back(settings: Settings, tmp_path: Path) -> None:
    # litellm#23503: a price per thousand read as per million, and the reverse
    diff = refresh_diff(settings, str(feed(tmp_path, price("0.003", valid_from=at("2026-05-20")))))
    assert diff.filter(pl.col("change") == "changed").get_column("guard").to_list() == ["step"]
    with pytest.raises(PriceBookError, match="guarded"):
        apply_refresh(settings, diff)


def test_an_applied_refresh_is_a_new_file_below_curated_rows_and_keeps_retired_models(
    settings: Settings, tmp_path: Path
) -> None:
    add_price(settings, price("14", "output", valid_from=at("2026-01-01")))
    rows = (price("2.5", valid_from=at("2026-05-20")), price("12", "output", valid_from=at("2026-05-20")))
    path = apply_refresh(settings, refresh_diff(settings, str(feed(tmp_path, *rows))), name="lab")
    assert path == settings.reference / "model_prices" / "lab-2026-06-01.csv"
    assert in_force(settings) == [(2, Decimal("2.5"), at("2026-05-20"), None), (3, 3, at("2025-01-01"), None)]
    assert in_force(settings, "output")[0] == (0, 14, at("2026-01-01"), None)
    assert show_prices(settings, "retired").get_column("price_usd").to_list() == [1]
    assert refresh_diff(settings, str(feed(tmp_path, rows[0]))).filter(pl.col("change") != "dropped_by_feed").is_empty()
    again = Settings(home=settings.home, fixed_now=at("2026-06-01T05:00"))
    second = apply_refresh(
        again, refresh_diff(again, str(feed(tmp_path, price("2.4", valid_from=at("2026-05-30"))))), name="lab"
    )
    assert second is not None
    assert second.name == "lab-2026-06-01-2.csv"
    assert in_force(again)[:2] == [
        (2, Decimal("2.5"), at("2026-05-20"), at("2026-05-30")),
        (2, Decimal("2.4"), at("2026-05-30"), None),
    ]


def test_nothing_to_apply_writes_nothing(settings: Settings, tmp_path: Path) -> None:
    diff = refresh_diff(settings, str(feed(tmp_path, price("3"), price("15", "output"))))
    assert diff.get_column("change").to_list() == ["dropped_by_feed"]
    assert apply_refresh(settings, diff) is None
    assert not settings.reference.exists()


def test_an_unknown_feed_is_a_usage_error(settings: Settings) -> None:
    with pytest.raises(UsageError, match="is no feed"):
        refresh_diff(settings, "nowhere.csv")


def test_a_price_file_survives_a_round_trip(tmp_path: Path) -> None:
    rows = [
        price("0.003625", "cache_read", prompt_tokens_gt=200_000, schedule="night", valid_to=at("2026-01-01T16:00"))
    ]
    back = read_price_file(feed(tmp_path, *rows))
    assert [row.price_id for row in back] == [
        FeedPrice(**{**vars(rows[0]), "recorded_at": rows[0].valid_from}).price_id
    ]
    assert to_csv(back) == to_csv(rows)
