"""Tables between core and marts that Python computes: reference tables, prices of the moment, shares of the bill.

What lives here: one builder per table, from its inputs to a frame. What does not: tables that SQL computes (sql/),
which partitions are stale (graph.py).
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import polars as pl

from pipelines.build.infrastructure_tables import INFRASTRUCTURE_TABLES
from pipelines.build.python_tables import Inputs, PythonTable
from pipelines.settings import Settings
from pipelines.transforms.commitments import share_commitments
from pipelines.transforms.matching import share_other_charges, share_token_charges
from pipelines.transforms.model_resolution import nearest_ids, resolve_models
from pipelines.transforms.prepaid import draw_down, prepaid_use
from pipelines.transforms.price_book import price_book_of
from pipelines.transforms.price_segments import SEGMENT_KEYS, price_segments
from pipelines.transforms.reference_tables import TABLES as REFERENCE_TABLES
from pipelines.transforms.reference_tables import load_tables
from pipelines.transforms.rollup import SELF_HOSTED

_LONGEST_LOOK_BACK = timedelta(days=120)
"""So long after its end a month still looks at the clock."""
_RESTATED_FOR = timedelta(days=35)
_RESTATED_LONGER = {"google": timedelta(days=60), "gcp": timedelta(days=60)}
"""How long after a day its provider may restate the day's bill."""


def reference_frames(settings: Settings) -> dict[str, pl.DataFrame]:
    """Every reference table as the lake keeps it: the CSV tables, the price book in force, weights of shared costs."""
    read = load_tables(settings)
    frames = {name: rows.drop("is_home") for name, rows in read.items()}
    frames["ref__price_book"] = price_book_of(read["ref__model_prices"])
    frames["ref__shared_cost_weights"] = _shared_cost_weights(frames["ref__shared_costs"])
    return frames


REFERENCE_NAMES: tuple[str, ...] = (
    *(f"ref__{table.name}" for table in REFERENCE_TABLES),
    "ref__price_book",
    "ref__shared_cost_weights",
)


def _shared_cost_weights(rules: pl.DataFrame) -> pl.DataFrame:
    rows = [
        (rule["priority"], feature.strip(), Decimal(weight))
        for rule in rules.filter(pl.col("weights").is_not_null()).iter_rows(named=True)
        for feature, _, weight in (pair.partition("=") for pair in rule["weights"].split(";"))
    ]
    schema: dict[str, pl.DataType] = {"priority": pl.Int64(), "feature": pl.String(), "weight": pl.Decimal(38, 12)}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("priority", "feature")


def clock(settings: Settings, month: str, _inputs: Inputs) -> pl.DataFrame:
    """ref__clock: the run's UTC day as this month sees it; it stands still long after the month."""
    return _clock(month, min(settings.today(), _last_day(month) + _LONGEST_LOOK_BACK))


def bill_clock(_settings: Settings, month: str, inputs: Inputs) -> pl.DataFrame:
    """int__bill_clock: the same for those who ask whether the month's bills are final.

    It stands still once no provider that billed the month restates it; without any complete bill it does not run at
    all. So a month is looked at again only while a day may change what is said of its bills.
    """
    providers = set(inputs["int__bill_coverage"]["provider"])
    window = max((_RESTATED_LONGER.get(provider, _RESTATED_FOR) for provider in providers), default=timedelta())
    return _clock(month, min(inputs["ref__clock"]["today"].item(), _last_day(month) + window))


def _clock(month: str, today: date) -> pl.DataFrame:
    return pl.DataFrame({"month": [month], "today": [today]}, schema={"month": pl.String, "today": pl.Date})


def _last_day(month: str) -> date:
    year, number = map(int, month.split("-"))
    return date(year, number, calendar.monthrange(year, number)[1])


_NAMED = ("int__usage_rollup", "core__provider_usage", "core__billing")


def model_names(_settings: Settings, _month: str, inputs: Inputs) -> pl.DataFrame:
    """int__model_names: the name under which logs, provider usage and bills are compared, by interval.

    A dated alias wins, then the first candidate of the price book; a name that the book does not know stays itself.
    """
    pairs = (
        pl.concat([inputs[table].select("provider", "model") for table in _NAMED])
        .filter(pl.col("model").is_not_null() & (pl.col("model") != "*"))
        .unique()
        .sort("provider", "model")
    )
    candidates = resolve_models(pairs, inputs["ref__price_book"], inputs["ref__model_aliases"]).filter(
        pl.col("price_model") != "*"
    )
    known: dict[tuple[str, str], list[_Candidate]] = {}
    ranked = candidates.sort("candidate_rank").select("provider", "model", *_Candidate._fields)
    for provider, model, *candidate in ranked.iter_rows():
        known.setdefault((provider, model), []).append(_Candidate(*candidate))
    rows: list[tuple[str, str, str, datetime | None, datetime | None]] = []
    for provider, model in pairs.iter_rows():
        rows.extend((provider, model, *interval) for interval in _intervals(model, known.get((provider, model), [])))
    schema: dict[str, pl.DataType] = {
        "provider": pl.String(),
        "model": pl.String(),
        "match_model": pl.String(),
        "valid_from": pl.Datetime("us", "UTC"),
        "valid_to": pl.Datetime("us", "UTC"),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


class _Candidate(NamedTuple):
    """A name of the price book for a logged one, as resolve_models gives it."""

    price_model: str
    normaliser: str
    valid_from: datetime | None
    valid_to: datetime | None

    @property
    def is_alias(self) -> bool:
        return "alias " in self.normaliser


_ALWAYS = datetime.min.replace(tzinfo=UTC)


def _intervals(model: str, candidates: Sequence[_Candidate]) -> list[tuple[str, datetime | None, datetime | None]]:
    """Aliases at their dates, the best other name in the gaps between them."""
    aliases = sorted((one for one in candidates if one.is_alias), key=lambda one: one.valid_from or _ALWAYS)
    base = next((one.price_model for one in candidates if not one.is_alias), model)
    found: list[tuple[str, datetime | None, datetime | None]] = []
    reached: datetime | None = _ALWAYS
    for name, _, start, end in aliases:
        begins = start or _ALWAYS
        if reached is None or begins < reached:
            continue
        if begins > reached:
            found.append((base, None if reached.year == 1 else reached, start))
        found.append((name, start, end))
        reached = end
    if reached is not None:
        found.append((base, None if reached.year == 1 else reached, None))
    return found


_ROLLED_UP = ("int__usage_rollup", "int__meter_rollup")


def prices_of_month(_settings: Settings, _month: str, inputs: Inputs) -> pl.DataFrame:
    """int__price_segments of one month, for every key that its roll-ups and provider buckets hold.

    Self-hosted keys are left out: the infrastructure ledger prices them, by the hour.
    """
    keys = pl.concat(
        [inputs[table].select(SEGMENT_KEYS) for table in _ROLLED_UP]
        + [
            inputs["core__provider_usage"].select(
                "provider", "account", "model", "service_tier", "region", pl.col("bucket_start").alias("segment_start")
            )
        ]
    ).unique()
    keys = keys.filter(pl.col("provider") != SELF_HOSTED)
    book = inputs["ref__price_book"]
    resolution = resolve_models(keys.select("provider", "model", "region").unique(), book, inputs["ref__model_aliases"])
    return price_segments(
        book,
        inputs["ref__price_schedules"],
        resolution,
        keys,
        inputs["ref__contract_prices"],
        inputs["ref__component_equivalents"],
    )


def allocated_tokens(_settings: Settings, _month: str, inputs: Inputs) -> pl.DataFrame:
    """int__allocated_tokens: every billed token key shared out, `__unlogged__` included."""
    return share_token_charges(inputs["int__token_claims"])


def allocated_shared(_settings: Settings, _month: str, inputs: Inputs) -> pl.DataFrame:
    """int__allocated_shared: credits, fees, taxes and purchases shared out, `__shared__` included."""
    return share_other_charges(inputs["int__shared_claims"])


def allocated_commitments(_settings: Settings, month: str, inputs: Inputs) -> pl.DataFrame:
    """int__allocated_commitments: commitments.csv amortised by day and shared out by use, prepaid amounts as drawn."""
    shared = share_commitments(month, inputs["ref__commitments"], inputs["int__usage_cost"], inputs["int__bill_lines"])
    drawn = inputs["int__prepaid_drawn"].filter(pl.col("usage_date").dt.strftime("%Y-%m") == month)
    return pl.concat([shared, drawn]) if len(drawn) else shared


def prepaid_usage(_settings: Settings, _month: str, inputs: Inputs) -> pl.DataFrame:
    """int__prepaid_use: use that prepaid amounts may pay for."""
    return prepaid_use(
        inputs["ref__commitments"],
        inputs["int__usage_cost"],
        inputs["int__allocated_tokens"],
        inputs["int__bill_lines"],
    )


def prepaid_drawn(_settings: Settings, _key: str, inputs: Inputs) -> pl.DataFrame:
    """int__prepaid_drawn: what prepaid amounts paid for, over all months."""
    seen_from = inputs["ref__clock"].select(pl.col("today").max()).item() or date.min
    return draw_down(inputs["ref__commitments"], inputs["int__prepaid_use"], seen_from)


def nearest_models(_settings: Settings, _key: str, inputs: Inputs) -> pl.DataFrame:
    """int__nearest_models: for each unpriced model why, and names of the price book that look like it."""
    book = inputs["ref__price_book"]
    known = set(book.select("provider", "model").unique().iter_rows())
    providers = {provider for provider, _ in known}
    rows = []
    for provider, model in (
        inputs["int__unpriced_month"].select("provider", "model").unique().sort(pl.all()).iter_rows()
    ):
        if provider not in providers:
            reason = "the price book has no prices of this provider"
        elif (provider, model) in known:
            reason = "the model has no price for this component, tier or day"
        else:
            reason = "the price book does not know this model"
        rows.append((provider, model, reason, ", ".join(nearest_ids(provider, model, book)) or None))
    schema = {"provider": pl.String, "model": pl.String, "reason": pl.String, "nearest_ids": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


PYTHON_TABLES: dict[str, PythonTable] = {
    table.name: table
    for table in (
        *INFRASTRUCTURE_TABLES,
        PythonTable(
            "ref__clock", "month", (), clock, "The run's clock", "One row per month: the UTC day it is seen from"
        ),
        PythonTable(
            "int__bill_clock",
            "month",
            ("ref__clock", "int__bill_coverage"),
            bill_clock,
            "The day from which a month's bills are judged",
            "One row per month: the UTC day, standing still once nothing that billed the month restates it",
        ),
        PythonTable(
            "int__model_names",
            "month",
            (*_NAMED, "ref__price_book", "ref__model_aliases"),
            model_names,
            "Names under which models are compared",
            "One row per provider, model and interval",
            columns=dict.fromkeys(_NAMED, ("provider", "model")),
        ),
        PythonTable(
            "int__price_segments",
            "month",
            (
                "int__usage_rollup",
                "int__meter_rollup",
                "core__provider_usage",
                "ref__price_book",
                "ref__price_schedules",
                "ref__contract_prices",
                "ref__component_equivalents",
                "ref__model_aliases",
            ),
            prices_of_month,
            "Prices in force for every key and moment of the roll-ups",
            "One row per price key, price segment, component and context band",
            columns=dict.fromkeys(_ROLLED_UP, SEGMENT_KEYS),
        ),
        PythonTable(
            "int__allocated_tokens",
            "month",
            ("int__token_claims",),
            allocated_tokens,
            "Token charges shared out by largest remainder",
            "One row per billed key and claimant; per key the shares sum to the bill exactly",
            rows_from=("int__token_claims",),
        ),
        PythonTable(
            "int__allocated_shared",
            "month",
            ("int__shared_claims",),
            allocated_shared,
            "Credits, fees, taxes and purchases shared out by largest remainder",
            "One row per pool and claimant; per pool the shares sum to the bill exactly",
            rows_from=("int__shared_claims",),
        ),
        PythonTable(
            "int__allocated_commitments",
            "month",
            ("ref__commitments", "int__usage_cost", "int__bill_lines", "int__prepaid_drawn"),
            allocated_commitments,
            "Commitments amortised by day and shared out by use",
            "One row per UTC day, commitment and claimant; per day and commitment the shares sum to the cost exactly",
            rows_from=("ref__commitments",),
        ),
        PythonTable(
            "int__prepaid_use",
            "month",
            ("ref__commitments", "int__usage_cost", "int__allocated_tokens", "int__bill_lines"),
            prepaid_usage,
            "Use that prepaid amounts may pay for",
            "One row per UTC day and owner at a provider with prepaid amounts",
            rows_from=("ref__commitments",),
        ),
        PythonTable(
            "int__prepaid_drawn",
            "all",
            ("ref__commitments", "int__prepaid_use", "ref__clock"),
            prepaid_drawn,
            "Prepaid amounts drawn down by use",
            "One row per UTC day, prepaid amount and claimant; per amount they sum to what it cost once it is used up",
            rows_from=("ref__commitments",),
        ),
        PythonTable(
            "int__nearest_models",
            "all",
            ("int__unpriced_month", "ref__price_book"),
            nearest_models,
            "Names that look like the unpriced ones",
            "One row per unpriced provider and model",
            rows_from=("int__unpriced_month",),
        ),
    )
}
