"""The demo's Claude Code sessions: one row per content block, so that a message's usage stands there several times.

What lives here: landing/claude_code/<project>/<session>.jsonl, resumed sessions that repeat history,
a session that grows between the nights. What does not: what those tokens cost.
"""

from __future__ import annotations

import polars as pl

from pipelines.demo.json_text import json_object, quoted
from pipelines.demo.landed_files import LandingWriter
from pipelines.demo.native_usage import anthropic_messages
from pipelines.demo.random_streams import Stream
from pipelines.demo.traffic import data_through
from pipelines.demo.writers_gateway import CANARY

PROJECTS = ("-workspace-aurora-web", "-workspace-aurora-api", "-workspace-infra-tools")

_COPIED_MESSAGES = 4
_MAX_BLOCKS = 3


def write_claude_code(calls: pl.DataFrame, writer: LandingWriter, *, night: int, seed: int) -> None:
    """Land the session files of one night, one per project and ISO week; a week that went on is rewritten."""
    through = data_through(night)
    rows = session_rows(calls, seed=seed).filter(pl.col("usage_date") <= through)
    if night > 1:
        grown = rows.filter(pl.col("week_last") > data_through(night - 1)).select("project", "session").unique()
        rows = rows.join(grown, on=["project", "session"], how="semi", maintain_order="left")
    for (project, session), part in rows.group_by("project", "session", maintain_order=True):
        writer.write_lines(f"claude_code/{project}/{session}.jsonl", part["line"])


def session_rows(calls: pl.DataFrame, *, seed: int) -> pl.DataFrame:
    """Every row of every session file, in file order, with project, session, usage_date and week_last (its last day).

    An assistant message has one to three rows, the last with the final count of output tokens, the earlier ones with a
    placeholder; a user row comes before it. Each session but a project's first opens with the last messages of the one
    before, as a resumed session does.
    """
    counter = pl.int_range(pl.len(), dtype=pl.Int64)
    project = Stream(seed, "claude_code.project").pick(counter, PROJECTS)
    messages = calls.filter(pl.col("source") == "claude_code").with_columns(
        project.alias("project"),
        pl.col("usage_date").dt.strftime("%G-%V").alias("week"),
        (1 + Stream(seed, "claude_code.blocks").below(counter, _MAX_BLOCKS)).alias("blocks"),
    )
    blocks = messages.with_columns(
        pl.int_ranges(0, pl.col("blocks")).alias("block"), pl.lit(1).alias("section")
    ).explode("block", empty_as_null=False)
    history = _history(blocks)
    prompts = messages.with_columns(pl.lit(-1, dtype=pl.Int64).alias("block"), pl.lit(1).alias("section"))
    rows = pl.concat([history, prompts, blocks.select(prompts.columns)])
    ordered = rows.sort("project", "week", "section", "started_at", "route", "call", "block")
    named = ordered.with_columns(_session(seed)).with_columns(
        pl.col("usage_date").max().over("project", "week").alias("week_last")
    )
    return named.select("project", "session", "usage_date", "week_last", _line().alias("line"))


def _history(blocks: pl.DataFrame) -> pl.DataFrame:
    """The last few messages of each project's week, as opening rows of its next week."""
    order = ("started_at", "route", "call")
    ranked = blocks.sort(*order).with_columns(
        pl.col("started_at").rank("dense", descending=True).over("project", "week").alias("from_end"),
    )
    weeks = ranked.select("project", "week").unique().sort("project", "week")
    following = weeks.with_columns(pl.col("week").shift(-1).over("project").alias("next_week"))
    copied = ranked.filter(pl.col("from_end") <= _COPIED_MESSAGES).join(following, on=["project", "week"])
    return (
        copied.filter(pl.col("next_week").is_not_null())
        .with_columns(pl.col("next_week").alias("week"), pl.lit(0).alias("section"))
        .select(blocks.columns)
    )


def _session(seed: int) -> pl.Expr:
    """A stable name in the shape of a UUID for each project and week."""
    number = pl.struct("project", "week").rank("dense").cast(pl.Int64)
    digits = Stream(seed, "claude_code.session").bits(number).cast(pl.String).str.zfill(20)
    return pl.format(
        "{}-{}-4{}-8{}-{}",
        digits.str.slice(0, 8),
        digits.str.slice(8, 4),
        digits.str.slice(12, 3),
        digits.str.slice(15, 3),
        pl.col("week").str.replace("-", "").str.zfill(12),
    ).alias("session")


def _line() -> pl.Expr:
    stamp = pl.col("started_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    unique = pl.format("{}-{}-{}", pl.col("route"), pl.col("call"), pl.col("block"))
    common: dict[str, pl.Expr | int | str] = {
        "isSidechain": "false",
        "userType": quoted("external"),
        "cwd": quoted(pl.col("project").str.replace_all("-", "/", literal=True)),
        "sessionId": quoted(pl.col("session")),
        "version": quoted("2.1.157"),
        "uuid": quoted(unique),
        "timestamp": quoted(stamp),
    }
    is_final = pl.col("block") == pl.col("blocks") - 1
    output = (
        pl.when(is_final).then(pl.col("output_tokens")).otherwise(pl.min_horizontal(pl.col("output_tokens"), pl.lit(2)))
    )
    message = json_object(
        {
            "id": quoted(pl.col("request_id")),
            "type": quoted("message"),
            "role": quoted("assistant"),
            "model": quoted(pl.col("model")),
            "content": '[{"type":"text","text":"' + CANARY + '"}]',
            "usage": anthropic_messages(output),
        }
    )
    assistant = json_object(
        {**common, "type": quoted("assistant"), "requestId": quoted("req_" + pl.col("request_id")), "message": message}
    )
    user = json_object({**common, "type": quoted("user"), "message": '{"role":"user","content":"' + CANARY + '"}'})
    return pl.when(pl.col("block") < 0).then(user).otherwise(assistant)
