"""Changing the price book: showing it, adding a price, refreshing it from a feed. Files only ever grow.

What lives here: what the `prices` commands do, short of printing. What does not: loading and checking (price_book.py),
feeds' formats (price_feeds/). Everything is written below <home>/reference/model_prices; a change is refused when the
book would hold a unit error, an overlap or an unreviewed step of more than 10×. Nothing is ever deleted: a model that a
feed drops keeps its prices, because its history still has to be priced (litellm PR#20795).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl

from pipelines.contracts.fields import breaches, conform, polars_schema
from pipelines.contracts.reference import RefModelPrices
from pipelines.errors import NotFoundError, PriceBookError, UsageError
from pipelines.settings import Settings
from pipelines.transforms.csv_tables import read_text_table, typed_column, with_default
from pipelines.transforms.model_resolution import nearest_ids, resolve_models
from pipelines.transforms.price_book import as_price_book, load_price_book
from pipelines.transforms.price_feeds import genai_prices, model_prices
from pipelines.transforms.price_feeds.rows import FeedPrice, to_csv
from pipelines.transforms.price_guards import KEY, LARGEST_STEP, MOST_USD_PER_MTOK
from pipelines.transforms.reference_tables import BY_ASSET, load_reference, load_table

LOCAL_FILE = "local.csv"
_SHOWN = (
    "provider",
    "model",
    "normaliser",
    "region",
    "service_tier",
    "component",
    "prompt_tokens_gt",
    "prompt_tokens_le",
    "schedule",
    "price_usd",
    "per_units",
    "unit",
    "valid_from",
    "valid_to",
    "valid_from_basis",
    "layer",
    "source",
    "price_id",
)


def show_prices(settings: Settings, model: str, at: datetime | None = None) -> pl.DataFrame:
    """Every price in force for `model` at `at` (default now), of all providers and layers, the winning layer first.

    Scheduled prices are listed with their schedule, whether or not a window is open. Raises NotFoundError with the
    nearest known names when no provider prices the model then.
    """
    moment = at or settings.now()
    book = load_price_book(settings)
    aliases = load_reference(settings)["ref__model_aliases"]
    pairs = book.select("provider").unique().with_columns(pl.lit(model).alias("model"))
    names = resolve_models(pairs, book, aliases).filter(pl.col("price_model") != "*")
    meant = names.filter(_covers(moment)).sort("candidate_rank").unique("provider", keep="first", maintain_order=True)
    rows = book.filter(_covers(moment)).join(
        meant.select("price_provider", "price_model", "normaliser"),
        left_on=["provider", "model"],
        right_on=["price_provider", "price_model"],
    )
    if rows.is_empty():
        near = [
            name for provider in pairs.get_column("provider").sort() for name in nearest_ids(provider, model, book, 1)
        ]
        raise NotFoundError(
            f"no price of {model} is known at {moment.isoformat()}",
            where="price book",
            expected="a model id as the provider reports it" + (f", such as {', '.join(near[:5])}" if near else ""),
            next_move="check the name and the date, or add the price with `tokenmart prices add`",
        )
    order = ["provider", "service_tier", "region", "component", "prompt_tokens_gt", "layer_rank", "schedule"]
    return rows.sort(order).select(_SHOWN)


def add_price(settings: Settings, price: FeedPrice, *, is_reviewed: bool = False) -> Path:
    """Append one price to <home>/reference/model_prices/local.csv as a curated row, recorded now; returns the file.

    An earlier open price of the same key ends where this one starts. Raises PriceBookError when the book would not hold
    together with it, or when the price differs by more than 10× from the one in force and `is_reviewed` is false.
    """
    recorded = FeedPrice(**{**vars(price), "layer": "curated", "recorded_at": price.recorded_at or settings.now()})
    book = load_price_book(settings)
    added = price_frame([recorded])
    current = _compare(added, book, recorded.valid_from)
    if not is_reviewed and current.get_column("guard").item() == "step":
        before = current.get_column("current_price_usd").item()
        raise PriceBookError(
            f"{recorded.model} {recorded.component} would go from ${before:f} to ${recorded.price_usd:f}",
            where=f"{LOCAL_FILE}, provider {recorded.provider}",
            expected=f"a step of at most {LARGEST_STEP}x",
            next_move="check the unit (per_units); if the price is right, say so with --reviewed",
        )
    _check_together(settings, added)
    path = settings.reference / "model_prices" / LOCAL_FILE
    _append(path, to_csv([recorded]))
    return path


def refresh_diff(settings: Settings, feed: str | Path) -> pl.DataFrame:
    """What a feed would change, for a person to review: `change`, `current_price_usd`, `current_price_id`, `guard`, and
    the columns of ref__model_prices.

    `change` is new, changed or dropped_by_feed (one row per model, kept as it is); `guard` is unit_error, step or NULL.
    `feed` is `model-prices`, `genai-prices` (installed packages) or the path of a CSV in the columns of a price file.
    Only prices in force now or later are compared; nothing is written. Raises UsageError for an unknown feed.
    """
    now = settings.now()
    offered = price_frame(_feed_rows(feed, now))
    book = load_price_book(settings)
    live = offered.filter(pl.col("valid_to").is_null() | (pl.col("valid_to") > now))
    compared = _compare(live, book, now)
    change = pl.when(pl.col("current_price_id").is_null()).then(pl.lit("new")).otherwise(pl.lit("changed"))
    differing = compared.filter(pl.col("differs")).with_columns(change.alias("change"))
    models = offered.select("provider", "model").unique()
    missing = (
        book.filter((pl.col("layer") == "feed") & (pl.col("model") != "*") & _covers(now))
        .filter((pl.col("component") == "input_uncached") & (pl.col("service_tier") == "standard"))
        .sort(*KEY)
        .unique(["provider", "model"], keep="first", maintain_order=True)
        .join(models.select("provider").unique(), on="provider", how="semi")
        .join(models, on=["provider", "model"], how="anti")
        .with_columns(
            pl.lit("dropped_by_feed").alias("change"),
            pl.col("price_usd").alias("current_price_usd"),
            pl.col("price_id").alias("current_price_id"),
            pl.lit(None, dtype=pl.String).alias("guard"),
        )
    )
    columns = ["change", "current_price_usd", "current_price_id", "guard", *polars_schema(RefModelPrices)]
    return pl.concat([differing.select(columns), missing.select(columns)]).sort("change", *KEY, "valid_from")


def apply_refresh(settings: Settings, reviewed: pl.DataFrame, *, name: str = "refresh") -> Path | None:
    """Write the reviewed rows of a refresh_diff as a new file <home>/reference/model_prices/<name>-<day>[-n].csv.

    Rows marked dropped_by_feed change nothing: their prices stay. Rows with a guard are refused (take them out, or add
    them one by one with add_price). Returns None when there is nothing to write. Raises PriceBookError.
    """
    guarded = reviewed.filter(pl.col("guard").is_not_null())
    if not guarded.is_empty():
        first = guarded.row(0, named=True)
        raise PriceBookError(
            f"the diff still holds {guarded.height} guarded rows ({first['guard']})",
            where=f"price {first['price_id']}",
            expected="a reviewed diff without unit errors and steps above 10x",
            next_move="take the rows out, or add them one by one with `tokenmart prices add --reviewed`",
        )
    taken = reviewed.filter(pl.col("change") != "dropped_by_feed")
    if taken.is_empty():
        return None
    rows = [_feed_price(row) for row in taken.iter_rows(named=True)]
    recorded = [FeedPrice(**{**vars(row), "layer": "feed", "recorded_at": settings.now()}) for row in rows]
    _check_together(settings, price_frame(recorded))
    folder = settings.reference / "model_prices"
    stem = f"{name}-{settings.today().isoformat()}"
    path = folder / f"{stem}.csv"
    count = 1
    while path.exists():
        count += 1
        path = folder / f"{stem}-{count}.csv"
    _append(path, to_csv(recorded))
    return path


def read_price_file(path: Path) -> list[FeedPrice]:
    """The rows of a CSV in the columns of a price file; ids are made anew. Raises ReferenceTableError."""
    table = BY_ASSET["ref__model_prices"]
    columns = table.columns()
    text = read_text_table(path, columns, label=path.name)
    filled = {name: with_default(cells, table.defaults.get(name)) for name, cells in text.columns.items()}
    frame = pl.DataFrame([typed_column(name, filled[name], dtype, text.places) for name, dtype in columns.items()])
    return [_feed_price(row) for row in frame.iter_rows(named=True)]


def _feed_rows(feed: str | Path, now: datetime) -> list[FeedPrice]:
    if feed == "model-prices":
        return model_prices.prices(model_prices.installed_snapshot())
    if feed == "genai-prices":
        return genai_prices.prices(now)
    path = Path(feed)
    if not path.is_file():
        raise UsageError(
            f"{str(feed)!r} is no feed",
            where="prices refresh",
            expected="model-prices, genai-prices, or the path of a price CSV",
            next_move="correct the name",
        )
    return read_price_file(path)


def _compare(offered: pl.DataFrame, book: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Each offered row beside the price that the book holds for its key at max(at, its start)."""
    moment = pl.max_horizontal(pl.col("valid_from"), pl.lit(at))
    beside = (
        offered.with_row_index("_row")
        .with_columns(moment.alias("_at"))
        .join(
            book.select(
                *KEY,
                pl.col("unit_price_usd").alias("_unit"),
                pl.col("price_usd").alias("current_price_usd"),
                pl.col("price_id").alias("current_price_id"),
                pl.col("valid_from").alias("_from"),
                pl.col("valid_to").alias("_to"),
                "layer_rank",
            ),
            on=list(KEY),
            nulls_equal=True,
        )
        .filter((pl.col("_from") <= pl.col("_at")) & (pl.col("_to").is_null() | (pl.col("_to") > pl.col("_at"))))
        .sort("_row", "layer_rank")
        .unique("_row", keep="first", maintain_order=True)
        .select("_row", "_unit", "current_price_usd", "current_price_id")
    )
    joined = offered.with_row_index("_row").join(beside, on="_row", how="left", maintain_order="left")
    verdicts = [
        _verdict(price, units, unit, before)
        for price, units, unit, before in joined.select("price_usd", "per_units", "unit", "_unit").iter_rows()
    ]
    return joined.with_columns(
        pl.Series("differs", [differs for differs, _ in verdicts], dtype=pl.Boolean),
        pl.Series("guard", [guard for _, guard in verdicts], dtype=pl.String),
    ).drop("_row", "_unit")


def _verdict(price: Decimal, units: int, unit: str, before: Decimal | None) -> tuple[bool, str | None]:
    one = price / units
    guard = None
    if unit == "tokens" and one * 1_000_000 > MOST_USD_PER_MTOK:
        guard = "unit_error"
    elif before and one and (one > before * LARGEST_STEP or one * LARGEST_STEP < before):
        guard = "step"
    return before is None or one != before, guard


def _check_together(settings: Settings, added: pl.DataFrame) -> None:
    broken = breaches(RefModelPrices, added)
    if not broken.is_empty():
        first = broken.row(0, named=True)
        value = added.get_column(first["column"])[first["row"]]
        raise PriceBookError(
            f"{first['column']} = {str(value)!r} cannot stand in the price book",
            where=f"price {added.get_column('price_id')[first['row']]}",
            expected=first["rule"],
            next_move=f"correct {first['column']}; nothing was written",
        )
    rows = load_table(BY_ASSET["ref__model_prices"], settings).filter(pl.col("superseded_at").is_null())
    merged = pl.concat([rows, added.with_columns(pl.lit(True).alias("is_home")).select(rows.columns)])
    twice = merged.filter(pl.col("price_id").is_duplicated())
    if not twice.is_empty():
        raise PriceBookError(
            "this price is in the book already",
            where=f"price {twice.get_column('price_id')[0]}",
            expected="a new price, or another date",
            next_move="nothing to do",
        )
    as_price_book(merged)


def price_frame(rows: Iterable[FeedPrice]) -> pl.DataFrame:
    """Prices as rows of ref__model_prices, ids made from their content."""
    records = [
        {
            **vars(row),
            "price_id": row.price_id,
            "tier_scope": "request",
            "recorded_at": row.recorded_at or row.valid_from,
        }
        for row in rows
    ]
    schema = polars_schema(RefModelPrices)
    return conform(pl.DataFrame(records, schema=schema, orient="row"), RefModelPrices)


def _feed_price(row: dict[str, object]) -> FeedPrice:
    names = FeedPrice.__dataclass_fields__
    return FeedPrice(**{name: row[name] for name in names})  # type: ignore[arg-type]


def _covers(moment: datetime) -> pl.Expr:
    starts = pl.col("valid_from").is_null() | (pl.col("valid_from") <= moment)
    return starts & (pl.col("valid_to").is_null() | (pl.col("valid_to") > moment))


def _append(path: Path, text: str) -> None:
    """The file with the rows of `text` added, written beside it and renamed; its old lines stay byte for byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        old = path.read_text(encoding="utf-8")
        text = old + ("" if old.endswith("\n") else "\n") + text.split("\n", 1)[1]
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with temporary.open("w", encoding="utf-8", newline="") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
