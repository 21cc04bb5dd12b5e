"""Which price bills what: the price of every component for each (provider, account, model, tier, region, moment).

What lives here: the inputs of sql/intermediate/int__price_segments.sql and the run of it. What does not: the choice
itself, which is that query. Nothing here sees a token; prices meet tokens in the roll-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase

import polars as pl

from pipelines.contracts.reference import ANY
from pipelines.errors import PriceBookError
from pipelines.sqlmodel import shipped_models
from pipelines.transforms.price_schedules import active_schedules
from pipelines.warehouse import answer, scratch_session

SEGMENT_KEYS = ("provider", "account", "model", "service_tier", "region", "segment_start")
SEGMENT_SCHEMA: dict[str, pl.DataType] = {
    "provider": pl.String(),
    "account": pl.String(),
    "model": pl.String(),
    "service_tier": pl.String(),
    "region": pl.String(),
    "segment_start": pl.Datetime("us", "UTC"),
    "component": pl.String(),
    "prompt_tokens_gt": pl.Int64(),
    "prompt_tokens_le": pl.Int64(),
    "tier_scope": pl.String(),
    "list_unit_price_usd": pl.Decimal(38, 18),
    "contracted_unit_price_usd": pl.Decimal(38, 18),
    "price_id": pl.String(),
    "contract_id": pl.String(),
    "priced_as": pl.String(),
    "valid_from_basis": pl.String(),
    "is_low_confidence": pl.Boolean(),
    "price_model": pl.String(),
    "normaliser": pl.String(),
}
_SOURCE_SCHEMA: dict[str, pl.DataType] = {
    "provider": pl.String(),
    "price_model": pl.String(),
    "component": pl.String(),
    "priced_as": pl.String(),
    "preference": pl.Int64(),
}
_CONTRACT_SCHEMA: dict[str, pl.DataType] = {
    "provider": pl.String(),
    "model": pl.String(),
    "account": pl.String(),
    "service_tier": pl.String(),
    "component": pl.String(),
    "contract_id": pl.String(),
    "model_specificity": pl.Int64(),
    "multiplier": pl.Decimal(12, 11),
    "unit_price_usd": pl.Decimal(38, 18),
    "valid_from": pl.Datetime("us", "UTC"),
    "valid_to": pl.Datetime("us", "UTC"),
}


def price_segments(
    book: pl.DataFrame,
    schedules: pl.DataFrame,
    resolution: pl.DataFrame,
    keys: pl.DataFrame,
    contracts: pl.DataFrame,
    equivalents: pl.DataFrame,
) -> pl.DataFrame:
    """Prices for each distinct row of `keys` (SEGMENT_KEYS), one per component and disjoint context band.

    `book` is load_price_book, `resolution` resolve_models of the keys' names, the others are the reference tables
    price_schedules, contract_prices and component_equivalents. Columns: SEGMENT_SCHEMA; prices are dollars per unit.
    A component that has no row here has no price: its usage is unpriced. `prompt_tokens_le` NULL is the open band.
    Without a contract the contracted price is the list price; a discount is rounded at 10⁻¹⁸ dollars. What only a
    contract prices has no list price and no `price_id`.
    Raises PriceBookError for a contract row that states both or neither of price and discount.
    """
    names = _names(keys, resolution)
    distinct = keys.select(SEGMENT_KEYS).unique().sort(SEGMENT_KEYS).with_row_index("key_number")
    inputs = {
        "int__price_keys": distinct.with_columns(pl.col("key_number").cast(pl.Int64)),
        "int__model_candidates": resolution,
        "ref__price_book": book.filter(
            pl.col("provider").is_in(resolution.get_column("price_provider").unique().to_list())
        ),
        "int__price_component_sources": _component_sources(names, equivalents),
        "int__price_schedule_hits": active_schedules(schedules, distinct.get_column("segment_start")),
        "int__price_contract_matches": _contract_matches(names, contracts),
    }
    model = shipped_models()["int__price_segments"]
    with scratch_session() as connection:
        for name, frame in inputs.items():
            connection.register(name, frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
        found = model.in_order(pl.DataFrame(answer(connection, model.sql)))
    return found.cast(pl.Schema(SEGMENT_SCHEMA))


def _names(keys: pl.DataFrame, resolution: pl.DataFrame) -> dict[tuple[str, str], set[str]]:
    """Per provider and logged model its own name and every name it is priced by; `*` is no name."""
    names: dict[tuple[str, str], set[str]] = {
        (provider, model): {model} for provider, model in keys.select("provider", "model").unique().iter_rows()
    }
    for provider, model, priced in resolution.select("provider", "model", "price_model").unique().iter_rows():
        names.setdefault((provider, model), {model}).add(priced)
    return {key: known - {ANY} for key, known in sorted(names.items())}


def _component_sources(names: Mapping[tuple[str, str], set[str]], equivalents: pl.DataFrame) -> pl.DataFrame:
    """component_equivalents, written out for the models at hand: columns of _SOURCE_SCHEMA."""
    rows = [
        (provider, model, rule["component"], rule["priced_as"], rule["preference"])
        for provider, model in sorted({(provider, name) for (provider, _), known in names.items() for name in known})
        for rule in equivalents.iter_rows(named=True)
        if rule["provider"] in (ANY, provider) and fnmatchcase(model, rule["model_pattern"])
    ]
    frame = pl.DataFrame(rows, schema=_SOURCE_SCHEMA, orient="row")
    key = ["provider", "price_model", "component", "priced_as"]
    return frame.group_by(key, maintain_order=True).agg(pl.col("preference").min()).select(_SOURCE_SCHEMA.keys())


def _contract_matches(names: Mapping[tuple[str, str], set[str]], contracts: pl.DataFrame) -> pl.DataFrame:
    """contract_prices, written out for the logged models that each pattern meets (by logged name or priced name)."""
    rows = []
    for contract in contracts.iter_rows(named=True):
        multiplier, unit_price = _contract_price(contract)
        for (provider, model), known in names.items():
            if provider == contract["provider"] and _meets(known, contract["model_pattern"]):
                rows.append(
                    (
                        *(provider, model, contract["account"], contract["service_tier"], contract["component"]),
                        *(contract["contract_id"], _specificity(contract["model_pattern"]), multiplier, unit_price),
                        *(contract["valid_from"], contract["valid_to"]),
                    )
                )
    return pl.DataFrame(rows, schema=_CONTRACT_SCHEMA, orient="row")


def _meets(names: Iterable[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _specificity(pattern: str) -> int:
    """More literal characters are more specific; a pattern without wildcards outranks every glob."""
    wild = sum(pattern.count(char) for char in "*?[")
    return len(pattern) - wild + (0 if wild else 1000)


def _contract_price(contract: dict[str, object]) -> tuple[Decimal | None, Decimal | None]:
    discount, price, units = contract["discount_percent"], contract["price_usd"], contract["per_units"]
    if isinstance(discount, Decimal) and price is None:
        return (100 - discount) / 100, None
    if discount is None and isinstance(price, Decimal) and isinstance(units, int) and contract["component"] != ANY:
        return None, price / units
    raise PriceBookError(
        "a contract price must be either a discount or a price",
        where=f"contract_prices.csv, contract {contract['contract_id']}",
        expected="discount_percent alone, or price_usd with per_units and one component",
        next_move="empty the other cells",
    )
