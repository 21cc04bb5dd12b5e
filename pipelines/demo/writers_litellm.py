"""The demo's LiteLLM spend log: one team's calls as rows of LiteLLM_SpendLogs, exported as JSON lines.

What lives here: landing/litellm/*.jsonl. What does not: the calls that the gateway logged too
(writers_gateway.py).
"""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from pipelines.demo.json_text import escaped, json_object, quoted
from pipelines.demo.landed_files import LandingWriter
from pipelines.demo.native_usage import PROMPT, openai_chat
from pipelines.demo.scenario import Scenario
from pipelines.demo.traffic import data_through

_TEAM = "team-search-0001"


def write_litellm_log(calls: pl.DataFrame, scenario: Scenario, writer: LandingWriter, *, night: int) -> None:
    """Land the LiteLLM exports of one night: a file a month, and one for what came after the first night."""
    mine = calls.filter((pl.col("source") == "litellm") & (pl.col("night") == night))
    name = pl.col("usage_date").dt.strftime("%Y-%m")
    late = pl.col("usage_date") > data_through(1)
    lines = mine.select(pl.when(late).then(name + "-late").otherwise(name).alias("file"), _line(scenario).alias("line"))
    for (file,), part in lines.group_by("file", maintain_order=True):
        writer.write_lines(f"litellm/spend_logs_{file}.jsonl", part["line"])


def _line(scenario: Scenario) -> pl.Expr:
    moment = pl.col("started_at").dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
    finished = (pl.col("started_at") + pl.duration(milliseconds=pl.col("output_tokens") * 9 + 180)).dt
    metadata = json_object(
        {"applied_guardrails": "[]", "user_api_key_team_id": quoted(_TEAM), "usage_object": openai_chat()}
    )
    return json_object(
        {
            "request_id": quoted(pl.col("request_id")),
            "call_type": quoted("acompletion"),
            "api_key": quoted(pl.col("api_key_id")),
            "spend": _estimated_spend(scenario),
            "total_tokens": PROMPT + pl.col("output_tokens"),
            "prompt_tokens": PROMPT,
            "completion_tokens": pl.col("output_tokens"),
            "startTime": quoted(moment),
            "endTime": quoted(finished.strftime("%Y-%m-%d %H:%M:%S%.6f")),
            "model": quoted(pl.col("model")),
            "model_group": quoted(pl.col("model")),
            "custom_llm_provider": quoted(pl.col("provider")),
            "user": quoted("person-" + pl.col("user").cast(pl.String).str.zfill(4) + "@example.com"),
            "team_id": quoted(_TEAM),
            "cache_hit": quoted("None"),
            "cache_key": quoted("Cache OFF"),
            "metadata": quoted(escaped(metadata)),
            "request_tags": quoted("[]"),
            "messages": quoted("{}"),
            "response": quoted("{}"),
            "status": quoted(pl.col("status")),
        }
    )


def _estimated_spend(scenario: Scenario) -> pl.Expr:
    """The gateway's own estimate at list price in dollars, exact to 10⁻¹⁰; below one dollar per call in this demo."""
    ten_billionths: pl.Expr = pl.lit(0, dtype=pl.Int64)
    for period in scenario.prices:
        here = (pl.col("provider") == period.provider) & (pl.col("model") == period.model)
        rates = {part: int(Decimal(text) * 10**4) for part, text in period.components.items() if part != "web_search"}
        spend = pl.sum_horizontal(pl.col(f"{part}_tokens") * rate for part, rate in rates.items())
        ten_billionths = pl.when(here & (period.service_tier == "standard")).then(spend).otherwise(ten_billionths)
    return "0." + ten_billionths.cast(pl.String).str.zfill(10)
