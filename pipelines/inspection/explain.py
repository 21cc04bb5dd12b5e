"""How the cost of one feature on one day came about, from its total back to files, prices and bill lines.

What lives here: `explain`, the usage side (tokens × price, rules, files), and the proof that the page adds up. What
does not: the bill's side (explain_shares.py), the machines' (explain_ledger.py), a whole provider-day
(explain_provider.py), printing (the command line), computing costs (sql/, transforms/).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches

import polars as pl

from pipelines.contracts.dictionary import contract_of
from pipelines.contracts.fields import empty
from pipelines.errors import NotFoundError
from pipelines.inspection.explain_ledger import LedgerDay, ledger_days
from pipelines.inspection.explain_parts import ROW_KEY, Part, parts_of
from pipelines.inspection.explain_shares import Day, SharedKey, other_pools, token_keys
from pipelines.intake.landing import Ledger
from pipelines.lake import Lake
from pipelines.quantities import LEAF_COLUMNS
from pipelines.settings import Settings
from pipelines.transforms.rollup import SELF_HOSTED

_COSTS = "int__feature_cost_daily"
_HALF_PICO = Decimal("0.5e-12")
_OWNER_FIELDS = ["source", "account", "model", "api_key_id", "feature_tag", "user_group"]


@dataclass(frozen=True)
class CostRow:
    """One row of int__feature_cost_daily and the parts that its effective cost is the sum of."""

    team: str | None
    cost_center: str | None
    provider: str
    account: str
    model: str
    service_tier: str
    requests: int
    total_tokens: int
    unpriced_tokens: int
    list_cost_usd: Decimal | None
    contracted_cost_usd: Decimal | None
    billed_cost_usd: Decimal | None
    effective_cost_usd: Decimal | None
    cost_status: str
    cost_per_mtok_usd: Decimal | None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class UsageLine:
    """Tokens (or a meter's quantity) at one price: quantity × contracted unit price = contracted cost. Self-hosted
    usage has no such price: see the ledgers.

    `roll_up_rows` roll-up rows were rounded one by one at 10⁻¹² dollars. Price fields are NULL where there is no price.
    """

    provider: str
    account: str
    model: str
    service_tier: str
    region: str
    status: str
    segment_start: datetime
    context_band_gt: int
    component: str
    tokens: int
    meter_quantity: Decimal | None
    list_unit_price_usd: Decimal | None
    contracted_unit_price_usd: Decimal | None
    list_cost_usd: Decimal | None
    contracted_cost_usd: Decimal | None
    is_unpriced: bool
    is_low_confidence: bool
    price_id: str | None
    contract_id: str | None
    normaliser: str | None
    price_source: str | None
    valid_from: datetime | None
    valid_from_basis: str | None
    roll_up_rows: int


@dataclass(frozen=True)
class RuleLine:
    """What made the usage this feature's: a rule of features.csv, or the log's own tag, or nothing."""

    source: str
    rule: str
    rule_priority: int | None
    rule_field: str | None
    rule_pattern: str | None
    requests: int
    tokens: int


@dataclass(frozen=True)
class FileLine:
    """One landed file behind the usage: `records` of it, between two record numbers."""

    source: str
    path: str
    landed_file: str
    records: int
    first_record: int
    last_record: int
    tokens: int


@dataclass(frozen=True)
class Explanation:
    """Everything behind one feature on one UTC day. `complaints` is empty when the page adds up to the last digit."""

    feature: str
    usage_date: date
    effective_cost_usd: Decimal | None
    rows: tuple[CostRow, ...]
    usage: tuple[UsageLine, ...]
    rules: tuple[RuleLine, ...]
    keys: tuple[SharedKey, ...]
    pools: tuple[SharedKey, ...]
    ledgers: tuple[LedgerDay, ...]
    files: tuple[FileLine, ...]
    notes: tuple[str, ...] = field(default=())
    complaints: tuple[str, ...] = field(default=())


def explain(settings: Settings, feature: str, day: date, provider: str | None = None) -> Explanation:
    """Trace the cost of a feature on a UTC day, of all providers or of one, back to where it comes from.

    Reads the lake, so it explains the last build, published or not, and closed months as they are computed now; a note
    says where the mart shows what was frozen instead. Raises NotFoundError, with the nearest names or days, when the
    feature has no row on that day.
    """
    lake = Lake(settings.lake)
    read = rows_of(lake, day)
    computed = read(_COSTS)
    mine = _asked_for(computed, feature, provider)
    if mine.is_empty():
        raise _not_there(lake, computed, feature, day, provider)
    providers = mine["provider"].unique().sort().to_list()
    ledger = Ledger(lake).frame()
    paths = {
        file: f"{source}/{path}"
        for file, source, path in ledger.select("landed_file", "source", "relative_path").iter_rows()
    }
    priced = read("int__usage_priced").filter((pl.col("feature") == feature) & pl.col("provider").is_in(providers))
    keys = token_keys(read, feature, paths, providers)
    pools = other_pools(read, feature, paths, providers)
    usage = _usage_lines(priced, read("int__price_segments"), _book(lake))
    files, notes = _files(lake, read, priced, feature, day, providers, paths)
    rows = tuple(
        _cost_row(row, read, feature) for row in mine.sort(*ROW_KEY[2:], "team", "cost_center").iter_rows(named=True)
    )
    machines = mine.filter(pl.col("provider") == SELF_HOSTED)["account"].unique().sort()
    ledgers = ledger_days(read, machines.to_list(), feature)
    complaints = [*_rows_add_up(rows, usage), *(text for key in (*keys, *pools) for text in key.complaints)]
    complaints += [text for ledger in ledgers for text in ledger.complaints]
    return Explanation(
        feature=feature,
        usage_date=day,
        effective_cost_usd=_sum_known(row.effective_cost_usd for row in rows),
        rows=rows,
        usage=usage,
        rules=_rules(priced),
        keys=tuple(keys),
        pools=tuple(pools),
        ledgers=ledgers,
        files=files,
        notes=(*notes, *_frozen(_asked_for(read("mart__feature_cost_daily"), feature, provider), rows)),
        complaints=tuple(complaints),
    )


def _asked_for(costs: pl.DataFrame, feature: str, provider: str | None) -> pl.DataFrame:
    mine = costs.filter(pl.col("feature") == feature)
    return mine if provider is None else mine.filter(pl.col("provider") == provider)


def _frozen(mart: pl.DataFrame, rows: tuple[CostRow, ...]) -> list[str]:
    """A note where the mart of a closed month, corrections aside, shows another cost than the one computed now."""
    shown = _sum_known(mart.filter(pl.col("charge_class").is_null())["effective_cost_usd"])
    computed = _sum_known(row.effective_cost_usd for row in rows)
    if mart.is_empty() or shown == computed:
        return []
    told = "an unknown cost" if shown is None else f"${shown:f}"
    return [f"the mart shows {told}: the month is closed, and later changes are posted as corrections"]


def rows_of(lake: Lake, day: date) -> Day:
    """Reads the rows of a day from a table cut by month or by day; a table that was never built is empty."""

    def read(table: str) -> pl.DataFrame:
        keys = lake.partitions(table)
        key = next((key for key in (day.isoformat(), f"{day:%Y-%m}", "all") if key in keys), None)
        if key is None:
            return empty(contract_of(table))
        rows = pl.scan_parquet(lake.path(table, key))
        schema = rows.collect_schema()
        if "usage_date" in schema:
            rows = rows.filter(pl.col("usage_date") == day)
        return rows.collect()

    return read


def _book(lake: Lake) -> pl.DataFrame:
    book = lake.read("ref__price_book", "all")
    columns = ["price_id", "source", "valid_from"]
    return empty(contract_of("ref__price_book")).select(columns) if book is None else book.select(columns)


def _usage_lines(priced: pl.DataFrame, segments: pl.DataFrame, book: pl.DataFrame) -> tuple[UsageLine, ...]:
    costing = priced.filter((pl.col("component") != "requests") & (pl.col("provider") != SELF_HOSTED))
    group = [
        "provider", "account", "model", "service_tier", "region", "status", "segment_start", "context_band_gt",
        "component", "is_unpriced", "is_low_confidence", "price_id", "contract_id", "normaliser",
    ]  # fmt: skip
    summed = costing.group_by(group).agg(
        pl.col("tokens").sum(),
        pl.when(pl.col("meter_quantity").count() > 0).then(pl.col("meter_quantity").sum()).alias("meter_quantity"),
        *(
            pl.when(pl.col(name).count() == pl.len()).then(pl.col(name).sum()).alias(name)
            for name in ("list_cost_usd", "contracted_cost_usd")
        ),
        pl.len().cast(pl.Int64).alias("roll_up_rows"),
    )
    on = [
        "provider", "account", "model", "service_tier", "region", "segment_start", "component", "price_id",
        "contract_id",
    ]  # fmt: skip
    unit = segments.select(
        *on,
        "prompt_tokens_gt",
        "prompt_tokens_le",
        "list_unit_price_usd",
        "contracted_unit_price_usd",
        "valid_from_basis",
    )
    in_band = pl.col("prompt_tokens_gt").is_null() | (
        (pl.col("context_band_gt") >= pl.col("prompt_tokens_gt"))
        & (pl.col("prompt_tokens_le").is_null() | (pl.col("context_band_gt") < pl.col("prompt_tokens_le")))
    )
    prices = book.rename({"source": "price_source"})
    told = (
        summed.join(unit, on=on, how="left", nulls_equal=True).filter(in_band).join(prices, on="price_id", how="left")
    )
    names = UsageLine.__dataclass_fields__
    ordered = told.sort(
        "provider", "account", "model", "service_tier", "segment_start", "context_band_gt", "status", "component"
    )
    return tuple(UsageLine(**{name: row[name] for name in names}) for row in ordered.iter_rows(named=True))


def _rules(priced: pl.DataFrame) -> tuple[RuleLine, ...]:
    by_rule = priced.group_by("source", "rule_priority", "rule_field", "rule_pattern").agg(
        pl.col("requests").sum(), pl.col("tokens").sum(), pl.col("feature").first(), pl.col("feature_tag").first()
    )
    told = []
    for row in by_rule.sort("rule_priority", "rule_field", "rule_pattern", "source", nulls_last=True).iter_rows(
        named=True
    ):
        if row["rule_field"] is not None:
            rule = f"features.csv: priority {row['rule_priority']}, {row['rule_field']} matches {row['rule_pattern']}"
        elif row["feature_tag"] == row["feature"]:
            rule = "no rule matched; the log's own tag names the feature"
        else:
            rule = "no rule matched, and the log has no tag"
        names = ("source", "rule_priority", "rule_field", "rule_pattern", "requests", "tokens")
        told.append(RuleLine(rule=rule, **{name: row[name] for name in names}))
    return tuple(told)


def _files(
    lake: Lake, read: Day, priced: pl.DataFrame, feature: str, day: date, providers: list[str], paths: dict[str, str]
) -> tuple[tuple[FileLine, ...], list[str]]:
    """Landed files whose rows have the owner fields of the feature; a note where tags or sessions tell more finely."""
    owners = read("int__feature_owner").filter(pl.col("feature") == feature).select(_OWNER_FIELDS).unique()
    columns = ["provider", *_OWNER_FIELDS, "landed_file", "record_number", *LEAF_COLUMNS]
    if owners.is_empty() or not lake.path("core__usage", day.isoformat()).exists():
        return (), []
    rows = (
        pl.scan_parquet(lake.path("core__usage", day.isoformat()))
        .select(columns)
        .filter(pl.col("provider").is_in(providers))
    )
    held = rows.join(owners.lazy(), on=_OWNER_FIELDS, how="semi", nulls_equal=True).collect()
    per_file = held.group_by("source", "landed_file").agg(
        pl.col("record_number").n_unique().cast(pl.Int64).alias("records"),
        pl.col("record_number").min().alias("first_record"),
        pl.col("record_number").max().alias("last_record"),
        pl.sum_horizontal(LEAF_COLUMNS).sum().alias("tokens"),
    )
    files = tuple(
        FileLine(path=paths.get(row["landed_file"], row["landed_file"]), **row)
        for row in per_file.sort("source", "landed_file").iter_rows(named=True)
    )
    logged, found = int(priced["tokens"].sum()), sum(file.tokens for file in files)
    if logged == found:
        return files, []
    return files, [
        f"rules read tags or sessions: the files hold {found:,} tokens of which {logged:,} are this feature's"
    ]


def _cost_row(row: dict[str, object], read: Day, feature: str) -> CostRow:
    names = [name for name in CostRow.__dataclass_fields__ if name != "parts"]
    return CostRow(**{name: row[name] for name in names}, parts=parts_of(row, read, feature))  # type: ignore[arg-type]


def _rows_add_up(rows: tuple[CostRow, ...], usage: tuple[UsageLine, ...]) -> list[str]:
    complaints = []
    for row in rows:
        named = f"{row.provider} {row.account} {row.model} {row.service_tier}"
        summed = sum((part.amount_usd for part in row.parts), Decimal(0))
        if row.effective_cost_usd is not None and summed != row.effective_cost_usd:
            complaints.append(f"{named}: parts sum to {summed:f}, its cost is {row.effective_cost_usd:f}")
    for line in usage:
        quantity = line.meter_quantity if line.meter_quantity is not None else Decimal(line.tokens)
        if line.contracted_unit_price_usd is None or line.contracted_cost_usd is None:
            continue
        apart = abs(quantity * line.contracted_unit_price_usd - line.contracted_cost_usd)
        if apart > _HALF_PICO * line.roll_up_rows:
            complaints.append(f"{line.model} {line.component}: quantity × price is {apart:f} away from the stored cost")
    logged = _sum_known(line.contracted_cost_usd for line in usage)
    stored = _sum_known(row.contracted_cost_usd for row in rows)
    if (logged or 0) != (stored or 0):
        complaints.append(f"usage sums to {logged} at contracted price, its rows to {stored}")
    return complaints


def _sum_known(amounts: object) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]  # type: ignore[attr-defined]
    return sum(known, Decimal(0)) if known else None


def _not_there(lake: Lake, computed: pl.DataFrame, feature: str, day: date, provider: str | None) -> NotFoundError:
    names = sorted(set(computed["feature"].to_list()))
    days = []
    for key in sorted(lake.partitions(_COSTS)):
        held = pl.scan_parquet(lake.path(_COSTS, key)).filter(pl.col("feature") == feature)
        days += held.select("usage_date").unique().collect()["usage_date"].to_list()
    if feature in names and provider is not None:
        sold = sorted(set(computed.filter(pl.col("feature") == feature)["provider"].to_list()))
        expected = f"a provider of that feature and day: {', '.join(sold)}"
    elif days:
        near = sorted(days, key=lambda known: (abs((known - day).days), known))[:3]
        expected = "a day on which it has cost or usage, such as " + ", ".join(str(known) for known in sorted(near))
    else:
        near_names = get_close_matches(feature, names, n=3, cutoff=0.3) or names[:3]
        expected = "a feature of that day" + (f", such as {', '.join(near_names)}" if near_names else "")
    return NotFoundError(
        f"{feature!r} has no row on {day}" + (f" at {provider}" if provider else ""),
        where=_COSTS,
        expected=expected,
        next_move='`tokenmart query "SELECT DISTINCT feature FROM mart__feature_cost_daily"` lists all names',
    )
