"""The tool that builds the shipped price book from feeds and corrections. Run once per edition, reviewed as a diff.

What lives here: which feed is believed for which provider, and the files it writes. What does not: any feed's format.
`python -m pipelines.transforms.price_feeds.build FACTS OUT` reads the installed model-prices package and, from FACTS,
curated_overrides.csv, the recorded LiteLLM and tokencost timelines and the OpenRouter snapshots, and writes
OUT/model_prices/*.csv, OUT/model_aliases.csv and OUT/price_schedules.csv.
Belief, highest first: corrections; model-prices; the LiteLLM timeline for hosts, tiers and modalities that model-prices
does not hold; tokencost for models that everybody else dropped.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipelines.transforms.price_feeds import curated, derivations, model_prices, openrouter, recorded_timeline
from pipelines.transforms.price_feeds.rows import FeedPrice, iso, to_csv

HOSTS: tuple[Mapping[str, str], ...] = (
    {"openai": "openai", "anthropic": "anthropic", "gemini": "google", "azure": "azure_openai"},
    {"bedrock_converse": "aws_bedrock", "groq": "groq", "mistral": "mistral", "xai": "xai", "deepseek": "deepseek"},
    {"bedrock": "aws_bedrock", "cohere": "cohere", "together_ai": "together_ai", "fireworks_ai": "fireworks_ai"},
    {"bedrock_mantle": "aws_bedrock", "cohere_chat": "cohere", "deepinfra": "deepinfra", "cerebras": "cerebras"},
    {"text-completion-openai": "openai", "vertex_ai-language-models": "google", "voyage": "voyage"},
    {"vertex_ai-embedding-models": "google", "perplexity": "perplexity"},
)
"""LiteLLM's words for hosts, in waves: a later wave fills only models that the earlier ones do not hold."""

FILES = (
    "openai",
    "anthropic",
    "google",
    "deepseek",
    "mistral",
    "xai",
    "aws_bedrock",
    "azure_openai",
    "openrouter",
    "groq",
    "cohere",
)
_MODALITIES = frozenset(
    {"input_audio", "output_audio", "cache_read_audio", "input_image", "output_image", "input_video"}
    | {"audio_seconds", "characters", "images"}
)
_CACHES = frozenset({"cache_read", "cache_write_5m", "cache_write_1h", "cache_write_30m", "cache_write_12h"})
_THIRTY_MINUTES = frozenset({"openai", "azure_openai"})
_BATCH_LAUNCH = {
    "openai": datetime(2024, 4, 15, tzinfo=UTC),
    "anthropic": datetime(2024, 10, 8, tzinfo=UTC),
    "google": datetime(2025, 7, 7, tzinfo=UTC),
}
_OTHER_NAMES = {"claude-sonnet-4-20250514": ("claude-sonnet-4-0",)}
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


def main(arguments: list[str]) -> int:
    """Build from the facts folder `arguments[0]` into the folder `arguments[1]`. Returns the exit code."""
    facts, out = Path(arguments[0]), Path(arguments[1])
    snapshot = model_prices.installed_snapshot()
    lab = _lab_prices(snapshot)
    fixed = _curated_prices(_records(facts / "curated_overrides.csv"))
    timeline = _records(next(facts.glob("litellm_recorded_price_timeline*.csv.gz")))
    aliases = _aliases(snapshot, lab, timeline)
    claude = [row for row in (*lab, *fixed) if row.provider == "anthropic"]
    ids = derivations.bedrock_ids({row.model for row in claude}, {record["model_key"] for record in timeline})
    derived = [
        *derivations.us_inference(claude),
        *derivations.claude_on_bedrock(claude, ids),
        *derivations.claude_on_vertex(claude),
    ]
    book = [*fixed, *lab, *derived]
    vendor = "response bodies of Claude on Bedrock name the model without its vendor"
    aliases += [("aws_bedrock", model, target, "", "", vendor) for model, target in sorted(ids.items())]
    aliased = {(provider, alias) for provider, alias, *_ in aliases}
    book += _host_prices(timeline, book, set(ids.values()), aliased)
    book += _retired_prices(facts, book, aliased)
    with gzip.open(next(facts.glob("openrouter_monthly*.json.gz")), "rt", encoding="utf-8") as handle:
        book += openrouter.prices(json.load(handle, parse_float=Decimal))
    _write(out, book, aliases, model_prices.windows(snapshot))
    return 0


def _lab_prices(snapshot: Mapping[str, Any]) -> list[FeedPrice]:
    return list(_caches_reach_back(model_prices.prices(snapshot)))


def _caches_reach_back(rows: list[FeedPrice]) -> Iterator[FeedPrice]:
    """A cache price that starts later than the input price beside it only because the feed first noticed it then.

    The first cache row of a model and tier is carried back to where the input price of that day began, as a back-cast.
    """
    inputs: dict[tuple[str, str, str], list[FeedPrice]] = defaultdict(list)
    first: dict[tuple[str, str, str, str], datetime] = {}
    for row in rows:
        if row.schedule is None and row.component == "input_uncached" and not row.prompt_tokens_gt:
            inputs[row.provider, row.model, row.service_tier].append(row)
        key = (row.provider, row.model, row.service_tier, row.component)
        if row.schedule is None:
            first[key] = min(first.get(key, row.valid_from), row.valid_from)
    for row in rows:
        key = (row.provider, row.model, row.service_tier, row.component)
        beside = [
            other.valid_from
            for other in inputs[row.provider, row.model, row.service_tier]
            if other.valid_from < row.valid_from and (other.valid_to is None or other.valid_to > row.valid_from)
        ]
        if row.schedule or row.component not in _CACHES or first[key] != row.valid_from or not beside:
            yield row
        else:
            yield replace(row, valid_from=beside[0], valid_from_basis="backcast")


def _curated_prices(records: Iterable[Mapping[str, str]]) -> list[FeedPrice]:
    stated = [*curated.with_names(curated.corrections(records), _OTHER_NAMES), *curated.single_facts()]
    halved = []
    for row in derivations.batch_of(row for row in stated if row.provider in _BATCH_LAUNCH):
        begins = max(row.valid_from, _BATCH_LAUNCH[row.provider])
        if row.valid_to is None or begins < row.valid_to:
            halved.append(replace(row, valid_from=begins))
    return stated + halved


def _host_prices(
    timeline: list[dict[str, str]], book: list[FeedPrice], claude_ids: set[str], aliased: set[tuple[str, str]]
) -> list[FeedPrice]:
    taken: list[FeedPrice] = []
    leaves = {(row.provider, row.model, row.service_tier, row.component) for row in book}
    tiers = {(row.provider, row.model, row.service_tier) for row in book}
    models = {(row.provider, row.model) for row in book}
    for wave in HOSTS:
        source = "github.com/BerriAI/litellm model_prices_and_context_window.json"
        rows = recorded_timeline.prices(timeline, wave, source=source, long_writes=_THIRTY_MINUTES)
        fresh = []
        for row in rows:
            short = re.sub(r"^[a-z-]+\.(?=anthropic)|-v\d+(:\d+)?$", "", row.model)
            if (row.provider, row.model) in aliased or (short in claude_ids and not row.region.startswith("us-gov")):
                continue
            held = (row.provider, row.model) in models
            adds_tier = (row.provider, row.model, row.service_tier) not in tiers
            adds_leaf = (row.provider, row.model, row.service_tier, row.component) not in leaves
            if not held or adds_tier or (adds_leaf and row.component in _MODALITIES):
                fresh.append(row)
        taken += fresh
        leaves |= {(row.provider, row.model, row.service_tier, row.component) for row in fresh}
        tiers |= {(row.provider, row.model, row.service_tier) for row in fresh}
        models |= {(row.provider, row.model) for row in fresh}
    return taken


def _retired_prices(facts: Path, book: list[FeedPrice], aliased: set[tuple[str, str]]) -> list[FeedPrice]:
    """Models that the other feeds dropped, from tables that kept them."""
    with gzip.open(next(facts.glob("tokencostauto*.json.gz")), "rt", encoding="utf-8") as handle:
        host = {key: str(entry.get("litellm_provider", "")) for key, entry in json.load(handle).items()}
    records = [
        {**record, "litellm_provider": host.get(record["model_key"], "")}
        for record in _records(next(facts.glob("tokencost_git_price_timeline*.csv.gz")))
    ]
    held = {(row.provider, row.model) for row in book} | aliased
    claude = {row.model for row in book if row.provider == "aws_bedrock" and "claude" in row.model}
    rows: list[FeedPrice] = []
    for wave in HOSTS:
        found = recorded_timeline.prices(
            records, wave, source="github.com/AgentOps-AI/tokencost", long_writes=_THIRTY_MINUTES
        )
        short = {row.model: re.sub(r"^[a-z-]+\.(?=anthropic)|-v\d+(:\d+)?$", "", row.model) for row in found}
        fresh = [row for row in found if (row.provider, row.model) not in held and short[row.model] not in claude]
        held |= {(row.provider, row.model) for row in fresh}
        rows += fresh
    return rows


def _aliases(
    snapshot: Mapping[str, Any], lab: list[FeedPrice], timeline: list[dict[str, str]]
) -> list[tuple[str, str, str, str, str, str]]:
    """(provider, alias, model, valid_from, valid_to, source): names that mean a model with prices of its own."""
    models = {(row.provider, row.model) for row in lab}
    found = {
        ("anthropic", "claude-3-5-sonnet-latest", "claude-3-5-sonnet-20240620", "2024-06-20", "2024-10-22"),
        ("anthropic", "claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022", "2024-10-22", ""),
        ("anthropic", "claude-3-opus-latest", "claude-3-opus-20240229", "", ""),
        ("openai", "gpt-4o", "gpt-4o-2024-05-13", "2024-05-13", "2024-10-02"),
        ("openai", "gpt-4o", "gpt-4o-2024-08-06", "2024-10-02", ""),
    }
    rows = [(*names, "provider documentation of model aliases") for names in found]
    package = "github.com/wakamex/model-prices aliases"
    for provider, bases in snapshot["bases"].items():
        host = model_prices.provider_name(provider)
        rows += [(host, alias, base, "", "", package) for alias, base in bases.items() if (host, alias) not in models]
    for alias, target in snapshot["aliases"]["models"].items():
        provider, model = target.split("/", 1)
        rows.append((model_prices.provider_name(provider), alias, model, "", "", package))
    rows += _dated_names(lab, timeline, models)
    return [row for row in set(rows) if (row[0], row[2]) in models]


def _dated_names(
    lab: list[FeedPrice], timeline: list[dict[str, str]], models: set[tuple[str, str]]
) -> Iterator[tuple[str, str, str, str, str, str]]:
    """`gpt-4.1-2025-04-14` means gpt-4.1 where LiteLLM lists both and the last price of both is the same."""
    hosts = {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}
    source = "github.com/BerriAI/litellm model_prices_and_context_window.json"
    rows = recorded_timeline.prices(timeline, hosts, source=source, long_writes=_THIRTY_MINUTES)
    last: dict[tuple[str, str, str], Decimal] = {}
    for row in sorted((*rows, *lab), key=lambda found: found.valid_from):
        if row.service_tier == "standard" and not row.prompt_tokens_gt and row.region == "*" and not row.schedule:
            last[row.provider, row.model, row.component] = row.price_usd
    for provider, model in sorted({(row.provider, row.model) for row in rows}):
        base = _DATED.sub("", model)
        if base == model or (provider, model) in models or (provider, base) not in models:
            continue
        same = [
            last.get((provider, model, leaf)) == last.get((provider, base, leaf))
            for leaf in ("input_uncached", "output")
        ]
        if all(same):
            yield provider, model, base, "", "", source


def _write(
    out: Path, book: list[FeedPrice], aliases: Iterable[tuple[str, ...]], windows: Iterable[model_prices.Window]
) -> None:
    folder = out / "model_prices"
    folder.mkdir(parents=True, exist_ok=True)
    by_file: dict[str, dict[str, FeedPrice]] = defaultdict(dict)
    for row in book:
        by_file[row.provider if row.provider in FILES else "others"][row.price_id] = row
    for name, rows in by_file.items():
        ordered = sorted(rows.values(), key=_order)
        (folder / f"{name}.csv").write_text(to_csv(ordered), encoding="utf-8")
    alias_columns = ("provider", "alias", "model", "valid_from", "valid_to", "source")
    (out / "model_aliases.csv").write_text(_csv(alias_columns, sorted(aliases)), encoding="utf-8")
    window_columns = ("schedule", "timezone", "start_time", "end_time", "weekdays", "exclude_dates", "include_dates")
    lines = [
        (
            *(window.schedule, "UTC", window.start_time, window.end_time, window.weekdays, window.exclude_dates, None),
            *(iso(window.valid_from), iso(window.valid_to) if window.valid_to else None, window.source),
        )
        for window in windows
    ]
    text = _csv((*window_columns, "valid_from", "valid_to", "source"), lines)
    (out / "price_schedules.csv").write_text(text, encoding="utf-8")


def _order(row: FeedPrice) -> tuple[Any, ...]:
    key = (row.provider, row.model, row.region, row.service_tier, row.component, row.prompt_tokens_gt)
    return (*key, row.schedule or "", row.layer, row.valid_from, row.price_id)


def _csv(columns: tuple[str, ...], rows: Iterable[Iterable[object]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return out.getvalue()


def _records(path: Path) -> list[dict[str, str]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
