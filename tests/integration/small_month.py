"""A month small enough to work by hand: two accounts, one model each, one price each, logs, provider usage and bills.

What lives here: writing the landed files and reference tables. What does not: expected values (the tests).

OpenAI, project `p1`, model `house-mini`: $1.00 per million input tokens, $10.00 per million output tokens.
Anthropic, workspace `w1`, model `house-claude`: $2.00 and $20.00; cache reads $0.20, 5-minute writes $2.50.
Every ordinary day: `chat` logs 2,000,000 input and 100,000 output tokens ($3.00), `search` 1,000,000 input ($1.00) with
OpenAI; `chat` 1,000,000 input, 500,000 cache reads and 50,000 output with Anthropic ($2.00 + $0.10 + $1.00 = $3.10).
So OpenAI bills $4.00 a day ($3.00 input, $1.00 output), Anthropic $3.10 a day.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from tests.integration.nights import land, refer

MONTH = "2026-09"
DAYS = tuple(date(2026, 9, 1) + timedelta(days=n) for n in range(6))
OPENAI_DAY = Decimal("4.00")
ANTHROPIC_DAY = Decimal("3.10")
_BOOK = (
    "price_id,provider,model,region,service_tier,component,prompt_tokens_gt,prompt_tokens_le,tier_scope,schedule,"
    "price_usd,per_units,unit,valid_from,valid_to,valid_from_basis,recorded_at,superseded_at,change_kind,layer,source"
)


def price_row(
    name: str,
    provider: str,
    model: str,
    component: str,
    usd: str,
    *,
    tier: str = "standard",
    known: str = "2026-01-01",
    gone: str = "",
    start: str = "2026-01-01",
) -> str:
    """One line of the price book, per million tokens."""
    return (
        f"{name},{provider},{model},*,{tier},{component},0,,request,,{usd},1000000,tokens,{start},,documented,"
        f"{known},{gone},,curated,contract of the test"
    )


PRICES = (
    price_row("h-in", "openai", "house-mini", "input_uncached", "1.00"),
    price_row("h-out", "openai", "house-mini", "output", "10.00"),
    price_row("c-in", "anthropic", "house-claude", "input_uncached", "2.00"),
    price_row("c-read", "anthropic", "house-claude", "cache_read", "0.20"),
    price_row("c-w5", "anthropic", "house-claude", "cache_write_5m", "2.50"),
    price_row("c-out", "anthropic", "house-claude", "output", "20.00"),
    price_row("c-pin", "anthropic", "house-claude", "input_uncached", "3.00", tier="priority"),
)


def prices(home: Path, rows: Iterable[str] = PRICES) -> None:
    refer(home, "model_prices/house", "\n".join([_BOOK, *rows]) + "\n")


def openai_call(day: date, number: int, feature: str, tokens: tuple[int, int], **more: object) -> dict[str, object]:
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return {
        "timestamp": f"{day}T10:00:00Z",
        "provider": "openai",
        "account": "p1",
        "model": "house-mini",
        "request_id": f"o-{day}-{number}",
        "feature": feature,
        "usage": usage,
        **more,
    }


def anthropic_call(
    day: date, number: int, feature: str, tokens: tuple[int, int, int], **more: object
) -> dict[str, object]:
    uncached, read, output = tokens
    usage = {
        "input_tokens": uncached,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": 0,
        "output_tokens": output,
    }
    return {
        "timestamp": f"{day}T11:00:00Z",
        "provider": "anthropic",
        "account": "w1",
        "model": "house-claude",
        "request_id": f"a-{day}-{number}",
        "feature": feature,
        "usage": usage,
        **more,
    }


def day_of_calls(day: date) -> list[dict[str, object]]:
    return [
        openai_call(day, 1, "chat", (2_000_000, 100_000)),
        openai_call(day, 2, "search", (1_000_000, 0)),
        anthropic_call(day, 1, "chat", (1_000_000, 500_000, 50_000)),
    ]


def _epoch(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def openai_costs(lines: Mapping[date, Iterable[tuple[str | None, str]]], account: str | None = "p1") -> str:
    """A page of the costs API: per day (line item, dollars)."""
    data = [
        {
            "object": "bucket",
            "start_time": _epoch(day),
            "end_time": _epoch(day + timedelta(days=1)),
            "results": [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": float(amount), "currency": "usd"},
                    "line_item": item,
                    "project_id": account,
                }
                for item, amount in items
            ],
        }
        for day, items in lines.items()
    ]
    return json.dumps({"object": "page", "data": data, "has_more": False})


OPENAI_LINES = (("house-mini, input", "3.00"), ("house-mini, output", "1.00"))


def openai_usage(
    tokens: Mapping[date, tuple[int, int]], account: str | None = "p1", model: str | None = "house-mini"
) -> str:
    data = [
        {
            "object": "bucket",
            "start_time": _epoch(day),
            "end_time": _epoch(day + timedelta(days=1)),
            "results": [
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": given,
                    "input_cached_tokens": 0,
                    "output_tokens": made,
                    "num_model_requests": 2,
                    "project_id": account,
                    "model": model,
                    "batch": False,
                    "service_tier": "default",
                }
            ],
        }
        for day, (given, made) in tokens.items()
    ]
    return json.dumps({"object": "page", "data": data, "has_more": False})


OPENAI_TOKENS = (3_000_000, 100_000)


def anthropic_costs(lines: Mapping[date, Iterable[tuple[str | None, str]]]) -> str:
    """A page of the cost report: per day (token type, cents)."""
    data = [
        {
            "starting_at": f"{day}T00:00:00Z",
            "ending_at": f"{day + timedelta(days=1)}T00:00:00Z",
            "results": [
                {
                    "amount": cents,
                    "currency": "USD",
                    "cost_type": "tokens",
                    "token_type": kind,
                    "model": "house-claude",
                    "service_tier": "standard",
                    "workspace_id": "w1",
                    "context_window": "0-200k",
                    "description": f"house-claude {kind}",
                    "inference_geo": "global",
                }
                for kind, cents in items
            ],
        }
        for day, items in lines.items()
    ]
    return json.dumps({"data": data, "has_more": False, "next_page": None})


ANTHROPIC_LINES = (
    ("uncached_input_tokens", "200.00"),
    ("cache_read_input_tokens", "10.00"),
    ("output_tokens", "100.00"),
)


def anthropic_usage(tokens: Mapping[date, tuple[int, int, int]], tier: str = "standard") -> str:
    data = [
        {
            "starting_at": f"{day}T00:00:00Z",
            "ending_at": f"{day + timedelta(days=1)}T00:00:00Z",
            "results": [
                {
                    "uncached_input_tokens": uncached,
                    "cache_read_input_tokens": read,
                    "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
                    "output_tokens": output,
                    "server_tool_use": {"web_search_requests": 0},
                    "model": "house-claude",
                    "service_tier": tier,
                    "workspace_id": "w1",
                    "context_window": "0-200k",
                    "inference_geo": "global",
                    "api_key_id": None,
                }
            ],
        }
        for day, (uncached, read, output) in tokens.items()
    ]
    return json.dumps({"data": data, "has_more": False, "next_page": None})


ANTHROPIC_TOKENS = (1_000_000, 500_000, 50_000)


def whole_month(home: Path, days: Iterable[date] = DAYS) -> None:
    """Everything coherent: logs, provider usage and bills of both accounts on every day."""
    chosen = tuple(days)
    prices(home)
    for day in chosen:
        land(home, f"response_log/{day}.jsonl", day_of_calls(day))
    land(home, "openai_usage/usage.json", openai_usage(dict.fromkeys(chosen, OPENAI_TOKENS)))
    land(home, "openai_costs/costs.json", openai_costs(dict.fromkeys(chosen, OPENAI_LINES)))
    land(home, "anthropic_usage/usage.json", anthropic_usage(dict.fromkeys(chosen, ANTHROPIC_TOKENS)))
    land(home, "anthropic_costs/costs.json", anthropic_costs(dict.fromkeys(chosen, ANTHROPIC_LINES)))
