"""Any provider's native usage object → disjoint token leaves, meters, reported cost, served tier and region.

What lives here: the shape that reads them all, which family a row belongs to, the frame that comes out. What does
not: the families (native_usage_<family>.py), the log around the object (response_log.py and other connectors).
Rules: every token stands in exactly one leaf; the identities hold on recorded responses of each provider.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import polars as pl

from pipelines.connectors.native import anthropic, bedrock, google, openai
from pipelines.connectors.reading.json_lines import Shape, polars_type
from pipelines.quantities import METERS, TOKEN_COLUMNS

USAGE_SHAPE: Shape = {
    **google.GOOGLE_SHAPE,
    **openai.OPENAI_SHAPE,
    **anthropic.ANTHROPIC_SHAPE,
    **bedrock.BEDROCK_SHAPE,
    **bedrock.COHERE_SHAPE,
}
"""Every field of every usage object that is read. Nothing in it can hold a prompt, a completion or a name."""

SDK_USAGE_SHAPE: Shape = {
    **USAGE_SHAPE,
    "prompt_tokens_details": google.GOOGLE_SHAPE["prompt_tokens_details"],
}
"""The same for logs in which a Google SDK wrote its snake-case object under the name that OpenAI uses for its own."""

SDK_SIGN = "prompt_token_count"
"""A name that only a file with such objects holds."""

Family = Callable[[pl.DataFrame], pl.DataFrame]

FAMILIES: Mapping[str, tuple[Family, Shape]] = {
    "google": (google.usage_metadata, google.GOOGLE_SHAPE),
    "bedrock": (bedrock.converse, bedrock.BEDROCK_SHAPE),
    "cohere": (bedrock.cohere, bedrock.COHERE_SHAPE),
    "chat": (openai.chat, USAGE_SHAPE),
    "anthropic": (anthropic.messages, USAGE_SHAPE),
    "responses": (openai.responses, USAGE_SHAPE),
}

USAGE_COLUMNS: tuple[str, ...] = (
    *TOKEN_COLUMNS,
    *METERS,
    "reported_cost_usd",
    "usage_tier",
    "usage_region",
    "part",
    "requests",
    "fault",
)
"""What `read_usage` adds. `fault` is NULL or one of FAULTS."""

FAULTS = ("unknown_usage_shape", "bad_token_count", "bad_reported_cost")

_EXACT = 2.0**53

_DTYPES: Mapping[str, pl.DataType] = {
    **dict.fromkeys(TOKEN_COLUMNS, pl.Int64()),
    **dict.fromkeys(METERS, pl.Decimal(38, 9)),
    "reported_cost_usd": pl.Decimal(38, 12),
    "part": pl.Int32(),
    "requests": pl.Int64(),
}
"""The rest of USAGE_COLUMNS is text."""


def usage_family(usage: str, given: Collection[str] = tuple(USAGE_SHAPE)) -> pl.Expr:
    """Which family the usage object in a struct column belongs to, by the fields present; NULL when by none.

    The provider is no evidence: Bedrock, Vertex AI and gateways pass other makers' objects through. Where a plain
    `input_tokens`/`output_tokens` pair fits both Anthropic and Responses, both mean the same. `given` are the fields
    that the struct has.
    """

    def has(*names: str) -> pl.Expr:
        found = [pl.col(usage).struct.field(name).is_not_null() for name in names if name in given]
        return pl.any_horizontal(found or [pl.lit(False)])

    additive = has(
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "cache_creation",
        "iterations",
        "server_tool_use",
        "speed",
    )
    return (
        pl.when(has("prompt_tokens", "completion_tokens"))
        .then(pl.lit("chat"))
        .when(has("input_tokens", "output_tokens", "iterations"))
        .then(pl.when(additive & ~has("input_tokens_details")).then(pl.lit("anthropic")).otherwise(pl.lit("responses")))
        .when(has(*google.SIGNS))
        .then(pl.lit("google"))
        .when(has(*bedrock.SIGNS))
        .then(pl.lit("bedrock"))
        .when(has("billed_units"))
        .then(pl.lit("cohere"))
        .when(has("seconds"))
        .then(pl.lit("responses"))
        .when(has("total_tokens"))
        .then(pl.lit("chat"))
    )


def read_usage(frame: pl.DataFrame, usage: str = "usage", *, family: str | None = None) -> pl.DataFrame:
    """One row per record and billed part, with USAGE_COLUMNS in place of the struct column `usage`.

    Needs `record_number`, `provider` (our name, may be NULL), `model` (the served one, may be NULL) and `usage`, a
    struct of USAGE_SHAPE or SDK_USAGE_SHAPE, or of one family's own shape where `family` names it (a key of FAMILIES),
    or of some of their fields (fields_among).
    Fields of the shape that the struct does not have are read as absent.
    `upstream` (OpenRouter's word for who served the call) is used if present. Other columns are carried along.
    `provider` and `model` change on rows that another provider or model bills; the first row of a record has
    `requests` 1, further ones 0. Counts that are not whole or beyond 2^53 give a `fault`; negative leaves are left for
    the contract.
    Rows come by record and part.
    """
    own: list[str] = [name for name in ("record_number", "provider", "model", "upstream") if name in frame.columns]
    families = pl.select(pl.lit(family)).to_series() if family else _families(frame, usage)
    names = families.unique().sort().to_list() or [None]
    pieces = []
    for name in names:
        is_member = None if len(names) == 1 else families.eq_missing(name)
        pieces.append(_read_family(_members(frame, own, usage, name, is_member), name))
    read = pieces[0] if len(pieces) == 1 else _in_order(pieces)
    carried = frame.drop(usage, *own[1:])
    if len(read) == len(carried) and carried["record_number"].is_sorted():
        return carried.hstack(read.drop("record_number"))
    return carried.join(read, on="record_number", how="inner").sort("record_number", "part")


def _in_order(pieces: list[pl.DataFrame]) -> pl.DataFrame:
    """All rows by record and part. Columns of zeros or of NULLs alone are set aside meanwhile: most of them are, and to
    move them costs as much as to read the others."""
    types = pieces[0].schema
    same = {name: _one_value([piece[name] for piece in pieces]) for name in types}
    rows = pl.concat([piece.select(name for name in types if same[name] is None) for piece in pieces])
    if not rows["record_number"].is_sorted():
        rows = rows.sort([name for name in ("record_number", "part") if same[name] is None])
    return rows.with_columns(value.alias(name) for name, value in same.items() if value is not None).select(list(types))


def _one_value(columns: list[pl.Series]) -> pl.Expr | None:
    """Zero or NULL where all columns hold nothing else, or None."""
    dtype = columns[0].dtype
    if all(column.null_count() == len(column) for column in columns):
        return pl.lit(None, dtype=dtype)
    if dtype.is_integer() and all(not c.null_count() and c.min() == c.max() == 0 for c in columns):
        return pl.lit(0, dtype=dtype)
    return None


def _families(frame: pl.DataFrame, usage: str) -> pl.Series:
    struct = frame.schema[usage]
    given = [field.name for field in struct.fields] if isinstance(struct, pl.Struct) else []
    return frame.with_columns(usage_family(usage, given).alias("_family"))["_family"]


def _members(
    frame: pl.DataFrame, own: list[str], usage: str, family: str | None, is_member: pl.Series | None
) -> pl.DataFrame:
    """The rows of one family with the fields of its shape as columns.

    Fields that nobody gives are set aside while filtering: filtering a wide struct costs more than all else together.
    """
    given = frame.schema[usage]
    shape = FAMILIES[family][1] if family else {}
    fields = [field for field in given.fields if field.name in shape] if isinstance(given, pl.Struct) else []
    flat = frame.select(*own, *(pl.col(usage).struct.field(field.name) for field in fields))
    used = [name for name in flat.columns if name in own or flat[name].null_count() < len(flat)]
    rows = flat.select(used)
    if is_member is not None:
        rows = rows.filter(is_member)
    absent = [pl.lit(None, dtype=polars_type(kind)).alias(name) for name, kind in shape.items() if name not in used]
    partial = [_completed(pl.col(name), rows.schema[name], shape[name]) for name in used if name in shape]
    return rows.with_columns(*absent, *partial)


def _completed(value: pl.Expr, dtype: object, kind: Any) -> pl.Expr:
    """An object with the fields of its shape that the reader left out, all NULL."""
    if not isinstance(dtype, pl.Struct) or not isinstance(kind, Mapping):
        return value
    have = dtype.to_schema()
    absent = [pl.lit(None, dtype=polars_type(inner)).alias(name) for name, inner in kind.items() if name not in have]
    partial = [
        _completed(pl.field(name), have[name], kind[name]).alias(name)
        for name in have
        if isinstance(have[name], pl.Struct) and isinstance(kind.get(name), Mapping)
    ]
    return value.struct.with_fields(*absent, *partial) if absent or partial else value


def all_names(shape: Shape) -> Iterator[str]:
    """Every name of a shape, those of inner objects too."""
    for name, kind in shape.items():
        yield name
        inner = kind[0] if isinstance(kind, list) else kind
        if isinstance(inner, Mapping):
            yield from all_names(inner)


def fields_among(shape: Shape, names: Collection[str]) -> Shape:
    """A shape without the fields whose name is none of `names`; an object keeps one field at least."""
    found: dict[str, Any] = {}
    for name, kind in shape.items():
        if name in names:
            inner = fields_among(kind, names) if isinstance(kind, Mapping) else kind
            found[name] = inner or dict([next(iter(kind.items()))])
    return found


def _read_family(rows: pl.DataFrame, family: str | None) -> pl.DataFrame:
    if family is None:
        return _finish(rows.with_columns(fault=pl.lit("unknown_usage_shape")))
    read, _ = FAMILIES[family]
    flat = rows.with_columns(part=pl.lit(0, dtype=pl.Int32), requests=pl.lit(1, dtype=pl.Int64))
    if family not in ("chat", "responses"):
        return _finish(read(flat))
    if flat.schema["prompt_tokens_details"] == pl.String:
        flat = flat.with_columns(openai.details_from_text())
    return _finish(openai.split_byok(read(openai.reported_cost(flat))))


def _finish(flat: pl.DataFrame) -> pl.DataFrame:
    """The key columns and USAGE_COLUMNS alone, counts checked and made integers. Meters may be fractions (seconds)."""
    present = set(flat.columns)
    bad = [pl.lit(False)]
    for name in (*TOKEN_COLUMNS, *METERS):
        if name in present:
            bad.append(~pl.col(name).is_finite() | (pl.col(name).abs() >= _EXACT))
        if name in present and name in TOKEN_COLUMNS:
            bad.append(pl.col(name) != pl.col(name).floor())
    faults: list[pl.Expr] = [pl.when(pl.any_horizontal(bad)).then(pl.lit("bad_token_count"))]
    if "bad_cost" in present:
        faults.append(pl.when(pl.col("bad_cost")).then(pl.lit("bad_reported_cost")))
    if "fault" in present:
        faults.append(pl.col("fault"))
    result = [pl.col(name) for name in ("record_number", "provider", "model") if name in present]
    for name in USAGE_COLUMNS:
        value = pl.col(name) if name in present else pl.lit(None)
        value = pl.coalesce(faults) if name == "fault" else value
        result.append(value.cast(_DTYPES.get(name, pl.String()), strict=False).alias(name))
    return flat.select(result)
