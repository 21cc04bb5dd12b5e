"""The list prices of the benchmark's models as one small table that any program can join: whole pico-dollars per token.

What lives here: flattening the shipped price book. What does not: choosing prices in the product (transforms/).
"""

from __future__ import annotations

import tempfile
import tomllib
from datetime import datetime
from pathlib import Path

import polars as pl

from pipelines.demo.benchmark_log import BENCHMARK_FILE
from pipelines.quantities import USD_SCALE
from pipelines.settings import Settings
from pipelines.transforms.price_book import load_price_book

COMPONENTS = {"input_uncached": "input_pico", "cache_read": "cache_read_pico", "output": "output_pico"}
PRICE_SCHEMA: dict[str, pl.DataType] = {
    "provider": pl.String(),
    "model": pl.String(),
    "valid_from": pl.Datetime("us", "UTC"),
    "valid_to": pl.Datetime("us", "UTC"),
    **dict.fromkeys(COMPONENTS.values(), pl.Int64()),
}


def benchmark_prices() -> pl.DataFrame:
    """PRICE_SCHEMA: one row per model and interval in which none of its prices changes; for short prompts."""
    models = tomllib.loads(BENCHMARK_FILE.read_text(encoding="utf-8"))["models"]
    wanted = [(provider, model) for provider, names in models.items() for model in names]
    with tempfile.TemporaryDirectory() as home:
        book = load_price_book(Settings(home=Path(home)))
    standard = book.filter(
        (pl.col("service_tier") == "standard")
        & pl.col("component").is_in(list(COMPONENTS))
        & pl.col("region").is_in(["*", "unspecified"])
        & pl.col("schedule").is_null()
        & (pl.col("prompt_tokens_gt") == 0)
    ).sort("layer_rank", "recorded_at", descending=[False, True])
    rows = [row for provider, model in wanted for row in _intervals(standard, provider, model)]
    return pl.DataFrame(rows, schema=PRICE_SCHEMA, orient="row").sort("provider", "model", "valid_from")


def _intervals(book: pl.DataFrame, provider: str, model: str) -> list[tuple[object, ...]]:
    mine = book.filter((pl.col("provider") == provider) & (pl.col("model") == model))
    edges = sorted({*mine["valid_from"], *mine["valid_to"].drop_nulls()})
    found: list[tuple[object, ...]] = []
    for start, end in zip(edges, [*edges[1:], None], strict=True):
        prices = [_price_at(mine, component, start) for component in COMPONENTS]
        if None not in prices:
            found.append((provider, model, start, end, *prices))
    return found


def _price_at(rows: pl.DataFrame, component: str, moment: datetime) -> int | None:
    in_force = rows.filter(
        (pl.col("component") == component)
        & (pl.col("valid_from") <= moment)
        & (pl.col("valid_to").is_null() | (pl.col("valid_to") > moment))
    )
    if in_force.is_empty():
        return None
    pico = in_force["unit_price_usd"][0] * 10**USD_SCALE
    if pico != int(pico):
        raise ValueError(f"{rows['model'][0]} {component} costs a fraction of a pico-dollar")
    return int(pico)
