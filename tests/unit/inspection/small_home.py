"""A home so small that every number in it is worked by hand, built by the real pipeline.

What lives here: its landed files, its prices, building it. What does not: expectations (the tests beside it).

house-model costs $2 per million input tokens, $1 cached, $8 output. On 1 November:
  chat     1,000 input × 2e-6 = 0.002   + 100 output × 8e-6 = 0.0008  → 0.0028
  search   2,000 input × 2e-6 = 0.004   + 8,000 cached × 1e-6 = 0.008 → 0.012
The bill of the day is 0.02. 0.02 is more than 2% above 0.0148, so chat and search pay what they logged and the rest,
0.0052, is __unlogged__. On 2 November 500 input and 50 output tokens, 0.001 + 0.0004 = 0.0014, have no tag and no bill.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from pipelines.build import graph as build
from pipelines.build import rollup_days
from pipelines.core import merge as core
from pipelines.intake import staging as intake
from pipelines.publish.facts import facts_of_build, mart_files
from pipelines.publish.snapshot import publish
from pipelines.settings import Settings

NOW = datetime(2026, 11, 22, tzinfo=UTC)
_NOVEMBER_1 = 1_793_491_200
_PRICES = """provider,model,component,price_usd,per_units,unit,valid_from,valid_from_basis,recorded_at,layer,source,\
price_id
openai,house-model,input_uncached,2,1000000,tokens,2026-01-01,documented,2026-01-01,curated,price sheet,house-in
openai,house-model,cache_read,1,1000000,tokens,2026-01-01,documented,2026-01-01,curated,price sheet,house-cached
openai,house-model,output,8,1000000,tokens,2026-01-01,documented,2026-01-01,curated,price sheet,house-out
"""


def call(request_id: str, when: str, prompt: int, completion: int, cached: int = 0, **more: str) -> str:
    """One line of a response log."""
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    record = {"timestamp": when, "provider": "openai", "model": "house-model", "request_id": request_id, "usage": usage}
    return json.dumps(record | more) + "\n"


def land(settings: Settings) -> None:
    """Put the files of the home into landing/ and reference/."""
    log = settings.landing / "response_log" / "calls.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text(
        call("r1", "2026-11-01T12:00:00Z", 1000, 100, feature="chat")
        + call("r2", "2026-11-01T13:00:00Z", 10_000, 0, 8000, feature="search")
        + "this is no JSON\n"
        + call("r1", "2026-11-01T12:00:00Z", 1000, 999, feature="chat")
        + call("r3", "2026-11-02T09:00:00Z", 500, 50)
    )
    (log.parent / "nothing.jsonl").touch()
    bill = settings.landing / "openai_costs" / "costs.json"
    bill.parent.mkdir(parents=True)
    line = {
        "object": "organization.costs.result",
        "amount": {"value": 0.02, "currency": "usd"},
        "line_item": None,
        "project_id": None,
    }
    bucket = {"object": "bucket", "start_time": _NOVEMBER_1, "end_time": _NOVEMBER_1 + 86_400, "results": [line]}
    bill.write_text(json.dumps({"object": "page", "data": [bucket], "has_more": False, "next_page": None}))
    prices = settings.reference / "model_prices" / "house.csv"
    prices.parent.mkdir(parents=True)
    prices.write_text(_PRICES)


def settings_of(home: Path) -> Settings:
    """Settings of a test's home: a fixed clock, files settled at once."""
    return Settings(home=home, fixed_now=NOW, threads=1, settle_seconds=0)


def take_in(settings: Settings) -> None:
    """Landing to core days."""
    intake.ingest(settings)
    core.merge_core(settings)


def build_all(settings: Settings) -> None:
    """Core days to a published snapshot."""
    build.refresh_reference(settings)
    rollup_days.roll_up_days(settings)
    for table in build.build_order():
        build.refresh_table(settings, table)
    publish(settings, mart_files(settings), facts_of_build(settings))
