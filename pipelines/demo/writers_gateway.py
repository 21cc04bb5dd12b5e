"""The demo's gateway log: JSON lines with native usage, its duplicates, its bad lines, its late file.

What lives here: landing/response_log/gateway/**. What does not: usage objects (native_usage.py), other logs.
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from pipelines.demo.json_text import json_object, quoted
from pipelines.demo.landed_files import LandingWriter
from pipelines.demo.native_usage import native_usage
from pipelines.demo.random_streams import Stream
from pipelines.demo.scenario import Route, Scenario
from pipelines.demo.traffic import data_through

FOLDER = "response_log/gateway"

CANARY = "synthetic-demo-text-that-no-table-may-hold"
"""Stands where prompts and completions stand in real logs; a pipeline that keeps it keeps too much."""

RETRY_PROVIDERS = ("openai", "anthropic", "google", "aws_bedrock")
"""Whose lines the shipper may send twice: calls without an id are left out, two equal ones would be two calls."""


def write_gateway_log(calls: pl.DataFrame, scenario: Scenario, writer: LandingWriter, *, night: int, seed: int) -> None:
    """Land the gateway files of one night: July .gz, August .zst, weeks and days of September, the late file."""
    lines = gateway_lines(calls, scenario, seed=seed).filter(pl.col("night") == night)
    for (name,), part in lines.group_by("file", maintain_order=True):
        writer.write_lines(f"{FOLDER}/{name}", part["line"])


def gateway_lines(calls: pl.DataFrame, scenario: Scenario, *, seed: int) -> pl.DataFrame:
    """Every line of the gateway log, in order: file (name), night, copy (0 original, 1 duplicate, 2 invalid), kind (of
    an invalid line), line.

    Invalid lines have the day's end as their place. Duplicates are verbatim, half of them in the next day's file.
    """
    logged = calls.filter((pl.col("source") == "gateway") | pl.col("is_cross_logged")).with_columns(
        pl.col("usage_date").alias("file_date"), pl.lit(0).alias("copy")
    )
    originals = logged.with_columns(_line(scenario))
    together = pl.concat(
        [
            _columns(originals),
            _columns(_duplicates(originals, scenario, seed)),
            _invalid_lines(originals, scenario),
        ]
    )
    order = ("file_date", "copy_last", "started_at", "route", "call", "copy")
    return (
        together.with_columns(_file_name(scenario), (pl.col("copy") == 2).alias("copy_last"))
        .sort(order)
        .select("file", "night", "copy", pl.when("copy_last").then(pl.col("route")).alias("kind"), "line")
    )


def _columns(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.select("file_date", "night", "is_late", "copy", "started_at", "route", "call", "line")


def _line(scenario: Scenario) -> pl.Expr:
    is_anthropic = pl.col("provider") == "anthropic"
    usage = native_usage()
    content = '[{"type":"text","text":"' + CANARY + '"}]'
    response = json_object(
        {
            "id": quoted(pl.col("request_id")),
            "type": quoted("message"),
            "role": quoted("assistant"),
            "model": quoted(pl.col("model")),
            "content": content,
            "usage": usage,
        }
    )
    return json_object(
        {
            "timestamp": quoted(_timestamp()),
            "provider": quoted(pl.col("provider")),
            "model": quoted(pl.col("model")),
            "account": quoted(pl.col("account")),
            "request_id": quoted(pl.col("request_id")),
            "feature": quoted(pl.when("is_cross_logged").then(pl.col("feature")).otherwise(pl.col("feature_tag"))),
            "user_id": quoted("person-" + pl.col("user").cast(pl.String).str.zfill(4) + "@example.com"),
            "session_id": quoted(pl.format("s-{}-{}", pl.col("user"), pl.col("usage_date").dt.strftime("%m%d"))),
            "api_key_id": pl.when(~pl.col("is_cross_logged")).then(quoted(pl.col("api_key_id"))),
            "service_tier": pl.when(~is_anthropic).then(quoted(_tier_word())),
            "tags": _tags(scenario.routes),
            "usage": pl.when(~is_anthropic).then(usage),
            "response": pl.when(is_anthropic).then(response),
        }
    ).alias("line")


def _timestamp() -> pl.Expr:
    """Milliseconds in UTC, except for Bedrock, whose proxy writes the office's summer time (UTC+2)."""
    started_at = pl.col("started_at")
    local = (started_at + pl.duration(hours=2)).dt.strftime("%Y-%m-%dT%H:%M:%S%.3f+02:00")
    return (
        pl.when(pl.col("provider") == "aws_bedrock")
        .then(local)
        .otherwise(started_at.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    )


def _tier_word() -> pl.Expr:
    """OpenAI calls its standard tier `default`."""
    is_default = (pl.col("provider") == "openai") & (pl.col("service_tier") == "standard")
    return pl.when(is_default).then(pl.lit("default")).otherwise(pl.col("service_tier"))


def _tags(routes: tuple[Route, ...]) -> pl.Expr:
    tags = pl.lit(None, dtype=pl.String)
    for route in routes:
        if route.tags:
            text = json_object({name: quoted(value) for name, value in route.tags.items()})
            tags = pl.when(pl.col("route") == route.key).then(text).otherwise(tags)
    return tags


def _duplicates(originals: pl.DataFrame, scenario: Scenario, seed: int) -> pl.DataFrame:
    quarter = scenario.quarter
    repeated = Stream(seed, "gateway.duplicates")
    counter = pl.int_range(pl.len(), dtype=pl.Int64)
    next_day = pl.duration(days=Stream(seed, "gateway.duplicate_day").below(counter, 2))
    file_date = pl.min_horizontal(pl.col("usage_date") + next_day, pl.lit(quarter.last_day))
    chosen = originals.filter(
        pl.col("provider").is_in(RETRY_PROVIDERS) & ~pl.col("is_late") & ~pl.col("is_cross_logged")
    )
    return chosen.filter(repeated.chance(counter, quarter.duplicate_permille)).with_columns(
        file_date.cast(pl.Date).alias("file_date"),
        pl.lit(1).alias("copy"),
        pl.when(file_date > data_through(1)).then(2).otherwise(1).alias("night"),
    )


def _file_name(scenario: Scenario) -> pl.Expr:
    """Months at first, weeks (by their Monday) in the last month, days in the last week."""
    day = pl.col("file_date")
    last = scenario.quarter.last_day
    monthly = day.dt.strftime("%Y-%m.jsonl")
    daily = day.dt.strftime("%Y-%m/%Y-%m-%d")
    weekly = day.dt.truncate("1w").dt.strftime("week-%Y-%m-%d")
    return (
        pl.when("is_late")
        .then(daily + ".edge-2.jsonl.gz")
        .when(day >= last - timedelta(days=last.weekday()))
        .then(daily + ".jsonl")
        .when(day >= last.replace(day=1))
        .then(day.dt.strftime("%Y-%m/") + weekly + ".jsonl.gz")
        .when(day.dt.month() == scenario.quarter.first_day.month)
        .then(monthly + ".gz")
        .otherwise(monthly + ".zst")
    ).alias("file")


def invalid_line(kind: str, day: date, original: dict[str, object] | None) -> str | None:
    """One line that no reader may accept, by kind; `original` is the call whose id the kind `id_reused` takes.

    None where the kind needs an original and the day has none. Raises KeyError for an unknown kind.
    """
    head = f'"timestamp":"{day}T23:59:00.000Z","provider":"openai"'
    usage = '"usage":{"prompt_tokens":120,"completion_tokens":30,"total_tokens":150}'
    above = '"usage":{"prompt_tokens":100,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":900}}'
    request_id = f'"request_id":"chatcmpl-invalid-{day}-{kind}"'
    if kind == "id_reused":
        if original is None:
            return None
        taken = '"timestamp":"{timestamp}","provider":"{provider}","model":"{model}","account":"{account}"'
        return "{" + taken.format_map(original) + f',"request_id":"{original["request_id"]}",' + usage + "}"
    return {
        "truncated": "{" + head + ',"model":"gpt-4o",' + request_id + ',"usage":{"prompt_tok',
        "cached_above_prompt": "{" + head + ',"model":"gpt-4o",' + request_id + "," + above + "}",
        "count_as_text": "{"
        + head
        + ',"model":"gpt-4o",'
        + request_id
        + ","
        + usage.replace("120", '"about 120"')
        + "}",
        "no_timestamp": '{"provider":"openai","model":"gpt-4o",' + request_id + "," + usage + "}",
        "no_usage": "{" + head + ',"model":"gpt-4o",' + request_id + "}",
        "no_model": "{" + head + "," + request_id + "," + usage + "}",
    }[kind]


def _invalid_lines(originals: pl.DataFrame, scenario: Scenario) -> pl.DataFrame:
    taken_from = originals.filter((pl.col("provider") == "openai") & ~pl.col("is_late") & ~pl.col("is_cross_logged"))
    rows = []
    for number, (day, kind) in enumerate(scenario.invalid):
        firsts = taken_from.filter(pl.col("usage_date") == day).head(1)
        original = None
        if len(firsts):
            original = firsts.row(0, named=True)
            later = original["started_at"] + timedelta(seconds=1)
            original["timestamp"] = later.strftime("%Y-%m-%dT%H:%M:%S.") + f"{later.microsecond // 1000:03d}Z"
        line = invalid_line(kind, day, original)
        if line is not None:
            rows.append((day, 2 if day > data_through(1) else 1, False, 2, None, kind, number, line))
    return pl.DataFrame(rows, schema=_columns(originals).schema, orient="row")
