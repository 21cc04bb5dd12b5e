"""From what a connector read to rows that may enter the lake.

What lives here: provenance, content ids, hashing of people, the contract applied row by row. What does not:
de-duplication
(deduplication.py), any format. A row that breaks its contract becomes a quarantine entry with a reason code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandera.polars as pa
import polars as pl

from pipelines.connectors.base import REJECT_SCHEMA, LandedFile
from pipelines.contracts.fields import breaches, polars_schema
from pipelines.contracts.suspects import suspects
from pipelines.contracts.usage import CoreUsage
from pipelines.pieces import Piece, narrow
from pipelines.quantities import METERS, TOKEN_COLUMNS
from pipelines.transforms.identifiers import hash_column, scrub_column, scrub_tags
from pipelines.warehouse import scratch_session

_SCRUBBED = ("request_id", "account", "model", "feature_tag", "session_id", "api_key_id", "user_group")
ROWS_SCHEMA = {**polars_schema(CoreUsage), **{meter: pl.Decimal(38, 9) for meter in METERS}}
"""core__usage rows on their way into a day: the meters still beside them."""
_IDENTITY = (
    "started_at", "provider", "account", "model", "service_tier", "region", *TOKEN_COLUMNS, "feature_tag", "user_id",
    "session_id", "api_key_id", "user_group", "status", "tags", "requests",
)  # fmt: skip


@dataclass(frozen=True)
class Sifted:
    """Rows that keep their contract, and quarantine entries (REJECT_SCHEMA plus `usage_date`) for the others."""

    rows: pl.DataFrame
    rejected: pl.DataFrame


@dataclass(frozen=True)
class SiftedUsage:
    """The same for request rows, which are many: one narrow piece."""

    piece: Piece
    rejected: pl.DataFrame


class ContentIds:
    """Ids for rows that have none: `content:<md5 of the row>:<n-th occurrence in the file>`.

    One instance per file. The same row n times in one file is n requests; the same file content landed again gives the
    same ids, so the highest multiplicity over files counts.
    """

    def __init__(self) -> None:
        self._seen = pl.DataFrame(schema={"content": pl.String, "seen": pl.Int64})

    def fill(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with every NULL request_id filled. Parts of one record share the id of its first part."""
        if frame["request_id"].null_count() == 0:
            return frame
        nameless = frame.filter(pl.col("request_id").is_null())
        firsts = nameless.filter(pl.col("part") == 0).select("record_number", *_IDENTITY)
        contents = firsts.select("record_number").with_columns(_row_md5(firsts.select(_IDENTITY)).alias("content"))
        contents = contents.with_columns((pl.col("content").cum_count().over("content")).cast(pl.Int64).alias("nth"))
        contents = contents.join(self._seen, on="content", how="left", maintain_order="left")
        numbered = contents.select(
            "record_number",
            pl.format("content:{}:{}", "content", pl.col("nth") + pl.col("seen").fill_null(0)).alias("content_id"),
        )
        counts = contents.group_by("content").agg(pl.len().cast(pl.Int64).alias("seen"))
        self._seen = pl.concat([self._seen, counts]).group_by("content").agg(pl.col("seen").sum())
        return (
            frame.join(numbered, on="record_number", how="left", maintain_order="left")
            .with_columns(pl.coalesce("request_id", "content_id").alias("request_id"))
            .drop("content_id")
        )


def _row_md5(rows: pl.DataFrame) -> pl.Series:
    """A digest per row that is the same in every version of every library (Polars' own hash is not)."""
    with scratch_session() as session:
        session.register("content_rows", rows.with_columns(pl.col("started_at").dt.epoch("us")).to_arrow())
        digests: pl.DataFrame = session.sql("SELECT md5(to_json(content_rows)) AS content FROM content_rows").pl()
    return digests["content"]


def sift_usage(usage: pl.DataFrame | Piece, file: LandedFile, key: bytes, ids: ContentIds) -> SiftedUsage:
    """core__usage rows (meter columns kept) from a connector's usage rows: ids filled, people hashed, contract
    applied."""
    piece = _with_provenance(usage if isinstance(usage, Piece) else narrow(usage), file)
    piece = piece.changed(lambda rows: _safe(rows, key))
    if "request_id" not in piece.varying.columns or piece.varying["request_id"].null_count():
        piece = narrow(ids.fill(piece.frame(piece.columns)))
    columns = [*polars_schema(CoreUsage), *METERS]
    return _sift_piece(piece.of(columns), columns)


def _with_provenance(piece: Piece, file: LandedFile) -> Piece:
    told = piece.with_constants(pl.Series("source", [file.source]), pl.Series("landed_file", [file.landed_file]))
    days = piece.column("started_at").dt.date().alias("usage_date")
    if days.null_count() or days.min() != days.max():
        return replace(told, varying=told.varying.with_columns(days))
    return told.with_constants(days.head(1))


def _safe(rows: pl.DataFrame, key: bytes) -> pl.DataFrame:
    """Without people and secrets; columns that are not there are left out."""
    present = set(rows.columns)
    if "user_id" in present:
        rows = hash_column(rows, "user_id", key)
    for column in _SCRUBBED:
        if column in present:
            rows = scrub_column(rows, column, key)
    return scrub_tags(rows, key) if "tags" in present else rows


def _sift_piece(piece: Piece, columns: list[str]) -> SiftedUsage:
    at = _suspect_rows(piece.of(list(polars_schema(CoreUsage))))
    if not len(at):
        return SiftedUsage(piece, _entries(pl.DataFrame(schema=ROWS_SCHEMA)))
    sifted = _sift(_all_columns(piece.only(at), columns), CoreUsage, keep=METERS)
    bad = sifted.rejected["record_number"].unique()
    return SiftedUsage(piece.only(~piece.varying["record_number"].is_in(bad.implode())), sifted.rejected)


def _suspect_rows(piece: Piece) -> pl.Series:
    """Positions of the rows that may break the contract, ascending; texts that rows share are looked at once."""
    frames = [piece.varying.drop(list(piece.words)), piece.constants]
    found = [suspects(CoreUsage, frame, partial=True) for frame in frames]
    of_words = {name: suspects(CoreUsage, texts.to_frame(name), partial=True) for name, texts in piece.words.items()}
    whole = pl.int_range(len(piece), dtype=pl.UInt32, eager=True)
    varying, constant = found
    if varying is None or constant is None or len(constant.rows) or None in of_words.values():
        return whole
    is_suspect = [whole.is_in(varying.rows.implode())] if len(varying.rows) else []
    for name, told in of_words.items():
        numbers = piece.varying[name]
        if told is not None and len(told.rows):
            is_suspect.append(numbers.is_in(told.rows.implode()).fill_null(False))
        if numbers.null_count() and not CoreUsage.to_schema().columns[name].nullable:
            is_suspect.append(numbers.is_null())
    if not is_suspect:
        return whole.clear()
    return pl.select(pl.any_horizontal(is_suspect)).to_series().arg_true()


def _all_columns(piece: Piece, columns: list[str]) -> pl.DataFrame:
    """The rows with all of `columns`; those that the piece does not have are NULL."""
    absent = [pl.lit(None, dtype=ROWS_SCHEMA[name]).alias(name) for name in columns if name not in piece.columns]
    present = [name for name in columns if name in piece.columns]
    return piece.frame(present).with_columns(absent).select(columns)


def sift_dated(frame: pl.DataFrame, file: LandedFile, contract: type[pa.DataFrameModel], instant: str) -> Sifted:
    """Rows of `contract` (provider usage, bills) from a connector's frame; the day is that of `instant`."""
    frame = frame.with_columns(
        pl.lit(file.source).alias("source"),
        pl.lit(file.landed_file).alias("landed_file"),
        pl.col(instant).dt.date().alias("usage_date"),
    )
    return _sift(frame, contract)


def _sift(frame: pl.DataFrame, contract: type[pa.DataFrameModel], keep: tuple[str, ...] = ()) -> Sifted:
    columns = list(polars_schema(contract))
    rows = frame.select(*columns, *keep)
    found = breaches(contract, rows.select(columns))
    if not len(found):
        return Sifted(rows, _entries(rows.clear()))
    position = {name: number for number, name in enumerate(columns)}
    first = (
        found.with_columns(
            pl.col("column").replace_strict(position, default=len(position), return_dtype=pl.Int64).alias("at")
        )
        .sort("row", "at")
        .group_by("row", maintain_order=True)
        .first()
    )
    numbered = rows.with_row_index("row")
    broken = numbered.join(first.select("row", "column", "rule"), on="row", how="inner")
    bad_records = broken["record_number"].unique().implode()
    entries = _entries(
        broken.with_columns(
            pl.when((pl.col("column") == "input_uncached_tokens") & (pl.col("input_uncached_tokens") < 0))
            .then(pl.lit("cache_gt_input"))
            .when(pl.col("column").is_in(["started_at", "usage_date"]))
            .then(pl.lit("bad_timestamp"))
            .otherwise(pl.concat_str(pl.lit("contract_"), "column"))
            .alias("reason_code")
        )
        if "input_uncached_tokens" in columns
        else broken.with_columns(pl.concat_str(pl.lit("contract_"), "column").alias("reason_code"))
    )
    return Sifted(rows.filter(~pl.col("record_number").is_in(bad_records)), entries)


def _entries(broken: pl.DataFrame) -> pl.DataFrame:
    absent = [
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in {**REJECT_SCHEMA, "usage_date": pl.Date()}.items()
        if name not in broken.columns
    ]
    if "part" not in broken.columns:
        broken = broken.with_columns(pl.lit(0, dtype=pl.Int32).alias("part"))
    return broken.with_columns(a for a in absent if a.meta.output_name() != "part").select(*REJECT_SCHEMA, "usage_date")
