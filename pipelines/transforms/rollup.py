"""Rolling days of requests up to the grain of prices and owners.

What lives here: pure functions from core rows to roll-up rows. What does not: prices themselves (price_book.py), which
days need it (build/rollup_days.py). After this step nothing reads a log again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import polars as pl

from pipelines.contracts.fields import MOST_TOKENS, conform, empty
from pipelines.contracts.rollup import IntMeterRollup, IntUsageRollup
from pipelines.errors import ContractError
from pipelines.pieces import CODE, Piece, encoded, narrow, recoded
from pipelines.quantities import INPUT_LEAF_COLUMNS, TOKEN_COLUMNS

SELF_HOSTED = "self_hosted"
FEW_VALUES = 50
"""A tag key with at most this many values a day is kept even when no rule reads it: it shows what a rule could
catch."""

_OWNER = ["source", "provider", "account", "model", "service_tier", "region", "feature_tag", "api_key_id", "user_group",
          "session_id", "tags", "status"]  # fmt: skip
KEY = ["usage_date", "segment_start", *_OWNER]
_GROUP = [*KEY, "context_band_gt", "price_basis"]
_MOST_PARTIAL_ROWS = 1_000_000
_OWN = pl.Series([SELF_HOSTED])
ALWAYS_READ = ["usage_date", *(name for name in _OWNER if name != "session_id"), *TOKEN_COLUMNS, "requests",
               "reported_cost_usd"]  # fmt: skip
"""Columns of core__usage that the roll-up of every day reads; moments and sessions are read where they matter."""


@dataclass(frozen=True)
class Grain:
    """What the roll-up must keep apart.

    edges: `provider`, `model`, `edge` (UTC instants inside the day at which a price changes). thresholds: prompt sizes
    above
    which a context band begins. tag_keys: tag keys that rules read. keeps_sessions: whether a rule reads session ids.
    """

    edges: pl.DataFrame
    thresholds: tuple[int, ...] = ()
    tag_keys: frozenset[str] = field(default_factory=frozenset)
    keeps_sessions: bool = False


RowsOf = Callable[[Sequence[str]], Iterable[Piece]]
"""Gives the rows of one day, or of several small ones, with the columns asked for, piece by piece."""


def roll_up_usage(rows_of: RowsOf, grain: Grain) -> pl.DataFrame:
    """int__usage_rollup of some days from their core__usage rows, day by day. Memory follows its distinct keys, not its
    rows."""
    asked = ["usage_date", "tags"]
    short = _short_tags([with_days(piece).grouped(asked, []) for piece in rows_of(asked)], grain)
    columns = [*ALWAYS_READ, *(["session_id"] if grain.keeps_sessions else [])]
    if len(grain.edges) or any(own.is_one_of("provider", _OWN).any() for own in rows_of(["provider"])):
        columns.append("started_at")
    largest = count = 0
    parts: list[pl.DataFrame] = []
    for piece in rows_of(columns):
        if len(piece):
            count += len(piece)
            largest = max(largest, _largest(piece))
            parts += [_summed(rows, grain, tags) for rows, tags in _alike(piece, short)]
            if sum(map(len, parts)) > _MOST_PARTIAL_ROWS:
                parts = [_added_up(parts)]
    if not parts:
        return empty(IntUsageRollup)
    _refuse_overflow(count, largest)
    sums = _added_up(parts) if len(parts) > 1 else parts[0]
    reported = pl.when(pl.col("price_basis") == "reported").then("reported_cost_usd")
    return conform(sums.with_columns(reported.alias("reported_cost_usd")), IntUsageRollup).sort(_GROUP, nulls_last=True)


def _added_up(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by(_GROUP).agg(pl.all().sum())


def _largest(piece: Piece) -> int:
    frames = (piece.constants, piece.varying)
    return max(int(frame[name].max() or 0) for frame in frames for name in TOKEN_COLUMNS if name in frame.columns)  # type: ignore[arg-type]


def _alike(piece: Piece, short: Mapping[date, _ShortTags]) -> Iterator[tuple[Piece, Mapping[str, str | None]]]:
    """The piece, cut by day unless all its days keep the same tag keys; with short texts of all its tags."""
    one_day = piece.constants["usage_date"] if "usage_date" in piece.constants.columns else None
    days = (piece.varying["usage_date"].unique() if one_day is None else one_day).to_list()
    if len({short[day].keys for day in days}) == 1:
        yield piece, {text: new for day in days for text, new in short[day].texts.items()}
        return
    for name, rows in piece.by_day():
        yield rows, short[date.fromisoformat(name)].texts


def _summed(piece: Piece, grain: Grain, tags: Mapping[str, str | None]) -> pl.DataFrame:
    """The sums of one piece, with the columns of int__usage_rollup."""
    keyed = _with_segments(_with_tags(with_days(piece), tags), grain.edges)
    if not grain.keeps_sessions:
        keyed = keyed.with_constants(pl.Series("session_id", [None], dtype=pl.String))
    keyed = _with_band(keyed, grain.thresholds)
    if "reported_cost_usd" in keyed.constants.columns:
        basis = "book" if keyed.constants["reported_cost_usd"].null_count() else "reported"
        keyed = keyed.with_constants(pl.Series("price_basis", [basis]))
    else:
        is_reported = keyed.varying["reported_cost_usd"].is_not_null()
        keyed = keyed.with_numbers("price_basis", is_reported.cast(CODE), pl.Series(["book", "reported"]))
    amounts = [*TOKEN_COLUMNS, "requests", "reported_cost_usd"]
    varying = [name for name in amounts if name in keyed.varying.columns]
    summed = keyed.grouped(_GROUP, [pl.len().cast(pl.Int64).alias("_rows"), *(pl.col(name).sum() for name in varying)])
    same = [
        (pl.col("_rows") * pl.lit(value, dtype=keyed.constants[name].dtype)).cast(keyed.constants[name].dtype)
        for name in amounts
        if name not in varying
        for value in [keyed.constants[name].item()]
    ]
    names = [name for name in amounts if name not in varying]
    return summed.with_columns(value.alias(name) for name, value in zip(names, same, strict=True)).select(
        *_GROUP, *amounts
    )


def _with_band(piece: Piece, thresholds: Sequence[int]) -> Piece:
    """`context_band_gt`: the largest threshold that the whole prompt exceeds."""
    varying = [name for name in INPUT_LEAF_COLUMNS if name in piece.varying.columns]
    same = sum(piece.constants[name].item() for name in INPUT_LEAF_COLUMNS if name not in varying)
    prompt = piece.varying.select(pl.sum_horizontal(*varying, pl.lit(same, dtype=pl.Int64)).alias("p"))["p"]
    bands = pl.Series([0, *sorted(thresholds)], dtype=pl.Int64)
    reached = [limit for limit in bands[1:] if (prompt > limit).any()]
    if not reached or len(prompt) < len(piece):
        return piece.with_constants(pl.Series("context_band_gt", [max([0, *reached])], dtype=pl.Int64))
    number = pl.sum_horizontal((prompt > limit).cast(CODE) for limit in reached).alias("context_band_gt")
    numbers = pl.select(number.cast(CODE)).to_series()
    return replace(piece, varying=piece.varying.with_columns(numbers), words={**piece.words, "context_band_gt": bands})


def roll_up_meters(meters: pl.DataFrame, grain: Grain) -> pl.DataFrame:
    """int__meter_rollup of one day from its core__meters rows."""
    if not len(meters):
        return empty(IntMeterRollup)
    piece = narrow(meters.with_columns(pl.lit("success").alias("status")))
    short = _short_tags([meters.select("usage_date", "tags")], grain)
    keyed = _with_segments(_with_tags(piece, short[meters["usage_date"][0]].texts), grain.edges)
    if not grain.keeps_sessions:
        keyed = keyed.without("session_id").with_constants(pl.Series("session_id", [None], dtype=pl.String))
    key = [*KEY, "meter"]
    rows = keyed.frame([*key, "quantity"])
    return conform(rows.group_by(key).agg(pl.col("quantity").sum()), IntMeterRollup).sort(key, nulls_last=True)


def _refuse_overflow(rows: int, largest: int) -> None:
    """Integer sums wrap in silence: refuse a day whose largest count could overflow one."""
    if largest * rows >= 2**63:
        raise ContractError(
            f"token sums of {rows:,} rows of up to {largest:,} tokens could overflow",
            where="core__usage",
            expected=f"counts far below {MOST_TOKENS:,}",
            next_move="look for a unit error in the file with the largest counts",
        )


def with_days(piece: Piece) -> Piece:
    """Days, where there are several, as numbers and words."""
    if "usage_date" in piece.constants.columns:
        return piece
    days = piece.varying["usage_date"].unique().sort()
    return piece.with_numbers("usage_date", days.search_sorted(piece.varying["usage_date"]).cast(CODE), days)


def _with_segments(piece: Piece, edges: pl.DataFrame) -> Piece:
    """`segment_start`: when the price segment of a row began. Self-hosted rows are cut by hour, because the ledger that
    prices them is: every hour is a price edge of theirs."""
    changing = piece.is_one_of("provider", edges["provider"]) & piece.is_one_of("model", edges["model"])
    is_cut = changing | piece.is_one_of("provider", _OWN)
    is_one_day = "usage_date" in piece.constants.columns
    days = piece.constants["usage_date"] if is_one_day else piece.words["usage_date"]
    opens = days.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("segment_start")
    if is_one_day and not is_cut.any():
        return piece.with_constants(opens)
    day = pl.repeat(0, len(piece), dtype=CODE, eager=True) if is_one_day else piece.varying["usage_date"]
    start = pl.col("usage_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    by_hour = pl.when(pl.col("provider") == SELF_HOSTED).then(pl.col("started_at").dt.truncate("1h")).otherwise(start)
    if not is_cut.any():
        return piece.with_numbers("segment_start", day, opens)
    rows = piece.only(is_cut).frame(["usage_date", "provider", "model", "started_at"]).with_columns(
        is_cut.arg_true().alias("_at"), by_hour.alias("segment_start")
    ).sort("started_at").join_asof(
        edges.sort("edge"), left_on="started_at", right_on="edge", by=["provider", "model"], strategy="backward",
        check_sortedness=False,
    ).with_columns(pl.max_horizontal("edge", "segment_start").alias("segment_start"))  # fmt: skip
    starts = pl.concat([opens, rows["segment_start"]]).unique().sort()
    numbers = starts.search_sorted(opens).cast(CODE).gather(day)
    numbers = numbers.scatter(rows["_at"], starts.search_sorted(rows["segment_start"]).cast(CODE))
    return piece.with_numbers("segment_start", numbers, starts)


def _with_tags(piece: Piece, short: Mapping[str, str | None]) -> Piece:
    """`tags` reduced to the keys that are kept; work is done once per distinct text."""
    old, new = pl.Series(list(short), dtype=pl.String), pl.Series(list(short.values()), dtype=pl.String)
    if "tags" in piece.constants.columns:
        return piece.with_constants(piece.constants["tags"].replace(old, new))
    known = (piece.varying["tags"], piece.words["tags"]) if "tags" in piece.words else encoded(piece.varying["tags"])
    return piece.with_numbers("tags", *recoded(*known, lambda texts: texts.replace(old, new)))


@dataclass(frozen=True)
class _ShortTags:
    """Which tag keys a day keeps, and each of its distinct tag texts → the same with these keys alone."""

    keys: frozenset[str]
    texts: Mapping[str, str | None]


def _short_tags(told: Sequence[pl.DataFrame], grain: Grain) -> dict[date, _ShortTags]:
    """By day: the keys that rules read, and those with few values on that day, are kept."""
    texts: dict[date, set[str]] = {}
    parsed: dict[str, dict[str, str]] = {}
    for day, text in (row for frame in told for row in frame.iter_rows()):
        mine = texts.setdefault(day, set())
        if text is not None:
            mine.add(text)
            if text not in parsed:
                parsed[text] = json.loads(text)
    found = {}
    for day, mine in texts.items():
        keys = frozenset({*grain.tag_keys, *_few_valued([parsed[text] for text in mine])})
        found[day] = _ShortTags(
            keys, {text: _tag_text({key: value for key, value in parsed[text].items() if key in keys}) for text in mine}
        )
    return found


def _few_valued(parsed: Sequence[dict[str, str]]) -> set[str]:
    values: dict[str, set[str]] = {}
    many: set[str] = set()
    for tags in parsed:
        for key, value in tags.items():
            if key in many:
                continue
            known = values.setdefault(key, set())
            known.add(str(value))
            if len(known) > FEW_VALUES:
                many.add(key)
                del values[key]
    return set(values)


def _tag_text(tags: dict[str, str]) -> str | None:
    return json.dumps(tags, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if tags else None
