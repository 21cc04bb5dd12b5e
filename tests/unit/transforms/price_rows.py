"""Small price books for tests, written as a person would: only what matters to the case."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipelines.contracts.fields import empty
from pipelines.contracts.reference import RefComponentEquivalents, RefContractPrices, RefModelAliases, RefPriceSchedules
from pipelines.transforms.model_resolution import resolve_models
from pipelines.transforms.price_book import as_price_book
from pipelines.transforms.price_changes import price_frame
from pipelines.transforms.price_feeds.rows import FeedPrice
from pipelines.transforms.price_segments import price_segments


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def price(usd: str, component: str = "input_uncached", **fields: Any) -> FeedPrice:
    """A price row of provider `lab`, model `m`, valid from 2025 on, unless the case says otherwise."""
    stated = {"provider": "lab", "model": "m", "valid_from": at("2025-01-01"), "source": "test", **fields}
    return FeedPrice(component=component, price_usd=Decimal(usd), **stated)


def book(*rows: FeedPrice, home: tuple[FeedPrice, ...] = ()) -> pl.DataFrame:
    frames = [
        price_frame(part).with_columns(pl.lit(is_home).alias("is_home"))
        for part, is_home in ((rows, False), (home, True))
    ]
    return as_price_book(pl.concat(frames))


def key(moment: str = "2025-06-01", **fields: Any) -> dict[str, Any]:
    return {
        "provider": "lab",
        "account": "default",
        "model": "m",
        "service_tier": "standard",
        "region": "unspecified",
        "segment_start": at(moment),
        **fields,
    }


def table(contract: Any, *rows: dict[str, Any]) -> pl.DataFrame:
    frame = empty(contract)
    return pl.concat([frame, pl.DataFrame(list(rows), schema=frame.schema)]) if rows else frame


def segments(
    prices: pl.DataFrame,
    *keys: dict[str, Any],
    schedules: tuple[dict[str, Any], ...] = (),
    aliases: tuple[dict[str, Any], ...] = (),
    contracts: tuple[dict[str, Any], ...] = (),
    equivalents: tuple[dict[str, Any], ...] = (),
) -> pl.DataFrame:
    wanted = pl.DataFrame(list(keys))
    return price_segments(
        prices,
        table(RefPriceSchedules, *schedules),
        resolve_models(wanted, prices, table(RefModelAliases, *aliases)),
        wanted,
        table(RefContractPrices, *contracts),
        table(RefComponentEquivalents, *equivalents),
    )


def per_mtok(frame: pl.DataFrame, column: str = "list_unit_price_usd") -> list[Decimal]:
    return [(value * 1_000_000).normalize() for value in frame.get_column(column)]
