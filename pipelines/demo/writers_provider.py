"""The demo's provider usage exports: what OpenAI and Anthropic say was used, logged or not.

What lives here: landing/openai_usage/*.json and landing/anthropic_usage/*.json. What does not: dollars
(writers_bills.py). Counts are sums over all calls of the ledger, so that provider usage = logged calls (each once) +
unlogged calls.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

from pipelines.demo.export_windows import anthropic_usage_windows, openai_usage_windows
from pipelines.demo.landed_files import LandingWriter
from pipelines.demo.scenario import Scenario
from pipelines.demo.traffic import COUNTS

USAGE_KEYS = ("usage_date", "account", "model", "service_tier")


def provider_usage(calls: pl.DataFrame, provider: str) -> pl.DataFrame:
    """Billable usage of one provider by UTC day, account, model and tier: COUNTS and `requests`, in that order."""
    billable = calls.filter((pl.col("provider") == provider) & (pl.col("status") == "success"))
    return billable.group_by(USAGE_KEYS).agg(pl.col(COUNTS).sum(), pl.len().alias("requests")).sort(USAGE_KEYS)


def write_openai_usage(calls: pl.DataFrame, scenario: Scenario, writer: LandingWriter, *, night: int) -> None:
    """Land the completions pages of one night, and the web searches of one project that no log mentions."""
    by_day = _by_day(provider_usage(calls, "openai"))
    for number, window in enumerate(openai_usage_windows(scenario)):
        if window.night == night:
            buckets = [
                _openai_bucket(day, [_openai_result(row, is_old=number == 0) for row in by_day.get(day, [])])
                for day in window.days
            ]
            writer.write_json(f"openai_usage/completions_{window.name}.json", openai_page(buckets))
            searches = [_openai_bucket(day, [_openai_searches(scenario)]) for day in window.days]
            writer.write_json(f"openai_usage/web_search_calls_{window.name}.json", openai_page(searches))


def write_anthropic_usage(calls: pl.DataFrame, scenario: Scenario, writer: LandingWriter, *, night: int) -> None:
    """Land the message usage reports of one night. The default workspace has no id in this report."""
    by_day = _by_day(provider_usage(calls, "anthropic"))
    for window in anthropic_usage_windows(scenario):
        if window.night == night:
            buckets = [
                anthropic_bucket(day, [_anthropic_result(row) for row in by_day.get(day, [])]) for day in window.days
            ]
            writer.write_json(f"anthropic_usage/messages_{window.name}.json", anthropic_page(buckets))


def openai_page(buckets: list[dict[str, Any]]) -> dict[str, Any]:
    """The envelope of OpenAI's organization endpoints, one page without a next one."""
    return {"object": "page", "data": buckets, "has_more": False, "next_page": None}


def anthropic_page(buckets: list[dict[str, Any]]) -> dict[str, Any]:
    """The envelope of Anthropic's reports, one page without a next one."""
    return {"data": buckets, "has_more": False, "next_page": None}


def midnight(day: date) -> datetime:
    """The UTC midnight that opens a day."""
    return datetime.combine(day, time(), tzinfo=UTC)


def openai_seconds(day: date) -> dict[str, Any]:
    """Start and end of a daily bucket as Unix seconds."""
    start = midnight(day)
    return {"start_time": int(start.timestamp()), "end_time": int((start + timedelta(days=1)).timestamp())}


def anthropic_bucket(day: date, results: list[dict[str, Any]]) -> dict[str, Any]:
    """A daily bucket of Anthropic's reports."""
    start = midnight(day)
    return {
        "starting_at": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "ending_at": f"{start + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        "results": results,
    }


def _by_day(usage: pl.DataFrame) -> dict[date, list[dict[str, Any]]]:
    days: dict[date, list[dict[str, Any]]] = {}
    for row in usage.iter_rows(named=True):
        days.setdefault(row["usage_date"], []).append(row)
    return days


def _openai_bucket(day: date, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "bucket", **openai_seconds(day), "results": results}


def _openai_result(row: dict[str, Any], *, is_old: bool) -> dict[str, Any]:
    """One completions result. Responses of the older shape have no uncached and no cache-write counts."""
    written = row["cache_write_30m_tokens"]
    split = {
        "input_uncached_tokens": row["input_uncached_tokens"],
        "input_cache_write_tokens": written,
        "input_cache_write_30m_tokens": written,
        "input_cache_write_12h_tokens": 0,
    }
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": row["input_uncached_tokens"] + row["cache_read_tokens"] + written,
        **({} if is_old else split),
        "input_cached_tokens": row["cache_read_tokens"],
        "output_tokens": row["output_tokens"],
        "input_audio_tokens": 0,
        "output_audio_tokens": 0,
        "num_model_requests": row["requests"],
        "project_id": row["account"],
        "user_id": None,
        "api_key_id": None,
        "model": row["model"],
        "batch": row["service_tier"] == "batch",
        "service_tier": "default",
    }


def _openai_searches(scenario: Scenario) -> dict[str, Any]:
    return {
        "object": "organization.usage.web_searches.result",
        "num_model_requests": scenario.bill.openai_searches_per_day,
        "num_requests": scenario.bill.openai_searches_per_day,
        "project_id": scenario.bill.openai_search_account,
        "user_id": None,
        "api_key_id": None,
        "model": "gpt-4o",
        "context_level": None,
    }


def _anthropic_result(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "uncached_input_tokens": row["input_uncached_tokens"],
        "cache_creation": {
            "ephemeral_1h_input_tokens": row["cache_write_1h_tokens"],
            "ephemeral_5m_input_tokens": row["cache_write_5m_tokens"],
        },
        "cache_read_input_tokens": row["cache_read_tokens"],
        "output_tokens": row["output_tokens"],
        "server_tool_use": {"web_search_requests": row["web_search_requests"]},
        "api_key_id": None,
        "workspace_id": None if row["account"] == "default" else row["account"],
        "model": row["model"],
        "service_tier": row["service_tier"],
        "context_window": "0-200k",
        "inference_geo": "global",
    }
