"""What a logged model name means: exact, dated alias, recorded normaliser, never a guess."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

from pipelines.contracts.reference import RefModelAliases
from pipelines.transforms.model_resolution import nearest_ids, resolve_models
from tests.unit.transforms.price_rows import at, book, price, table

BOOK = book(
    price("3", provider="anthropic", model="claude-sonnet-4-5"),
    price("3", provider="anthropic", model="claude-sonnet-4-5-20250929"),
    price("10", "web_search_requests", provider="anthropic", model="*", per_units=1000, unit="requests"),
    price("3.3", provider="aws_bedrock", model="anthropic.claude-sonnet-4-5-20250929"),
    price("0.1", provider="aws_bedrock", model="amazon.titan-embed-text-v2:0"),
    price("2.5", provider="openai", model="gpt-4o-2024-08-06"),
    price("5", provider="openai", model="gpt-4o-2024-05-13"),
    price("3.75", provider="openai", model="ft:gpt-4o-2024-08-06"),
    price("3", provider="google", model="claude-sonnet-4-5-20250929"),
    price("1.25", provider="google", model="gemini-2.5-pro"),
    price("2", provider="openrouter", model="openai/gpt-5.6-sol"),
)
ALIASES = table(
    RefModelAliases,
    {
        "provider": "openai",
        "alias": "gpt-4o",
        "model": "gpt-4o-2024-05-13",
        "valid_from": None,
        "valid_to": at("2024-10-02"),
        "source": "test",
    },
    {
        "provider": "openai",
        "alias": "gpt-4o",
        "model": "gpt-4o-2024-08-06",
        "valid_from": at("2024-10-02"),
        "valid_to": None,
        "source": "test",
    },
)


def resolved(provider: str, model: str) -> list[dict[str, object]]:
    pairs = pl.DataFrame({"provider": [provider], "model": [model]})
    return resolve_models(pairs, BOOK, ALIASES).filter(pl.col("price_model") != "*").sort("candidate_rank").to_dicts()


@pytest.mark.parametrize(
    ("provider", "model", "price_model", "region", "tier", "normaliser"),
    [
        ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5", None, None, "exact"),
        ("anthropic", "anthropic/claude-sonnet-4-5", "claude-sonnet-4-5", None, None, "provider prefix"),
        ("anthropic", "claude-sonnet-4-5[1m]", "claude-sonnet-4-5", None, None, "[1m]"),
        ("google", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5-20250929", None, None, "@20250929"),
        ("google", "publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro", None, None, "publisher path"),
        ("google", "models/gemini-2.5-pro", "gemini-2.5-pro", None, None, "provider prefix"),
        (
            *("aws_bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
            *("anthropic.claude-sonnet-4-5-20250929", "us", None, "-v1:0"),
        ),
        (
            *(
                "aws_bedrock",
                "arn:aws:bedrock:us-east-1:1:inference-profile/global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            ),
            *("anthropic.claude-sonnet-4-5-20250929", "global", None, "ARN"),
        ),
        ("aws_bedrock", "amazon.titan-embed-text-v2:0", "amazon.titan-embed-text-v2:0", None, None, "exact"),
        ("openai", "ft:gpt-4o-2024-08-06:acme::abc", "ft:gpt-4o-2024-08-06", None, None, "fine-tuned"),
        ("openrouter", "openai/gpt-5.6-sol:batch", "openai/gpt-5.6-sol", None, "batch", ":batch"),
    ],
)
def test_a_recorded_rule_leads_to_the_priced_id_and_is_named(
    provider: str, model: str, price_model: str, region: str | None, tier: str | None, normaliser: str
) -> None:
    best = resolved(provider, model)[0]
    assert (best["price_model"], best["price_region"], best["price_tier_override"]) == (price_model, region, tier)
    assert best["candidate_rank"] == 0
    assert normaliser in str(best["normaliser"])


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-opus-4-9"),  # a newer member of a known family
        ("anthropic", "claude-sonnet-4"),  # a prefix of a known id
        ("openai", "gpt-4o-2024-11-20"),  # another snapshot
        ("openai", "gpt-4o-2024-08-06-eu"),
        ("aws_bedrock", "amazon.titan-embed-text-v1"),  # v1 is no v2
        ("deepseek", "gpt-4o-2024-08-06"),  # another provider's model
        ("openrouter", "gpt-5.6-sol"),
        ("anthropic", "CLAUDE-SONNET-4-5"),
    ],
)
def test_nothing_is_guessed(provider: str, model: str) -> None:
    assert resolved(provider, model) == []


def test_an_alias_is_dated(  # LibreChat#4386: gpt-4o was re-pointed on 2024-10-02
) -> None:
    found = [(row["price_model"], row["valid_from"], row["valid_to"]) for row in resolved("openai", "gpt-4o")]
    day: datetime = at("2024-10-02")
    assert found == [("gpt-4o-2024-05-13", None, day), ("gpt-4o-2024-08-06", day, None)]


def test_fees_for_any_model_are_the_last_candidate_even_of_an_unknown_model() -> None:
    pairs = pl.DataFrame({"provider": ["anthropic"], "model": ["claude-opus-4-9"]})
    found = resolve_models(pairs, BOOK, ALIASES)
    assert found.select("price_model", "normaliser").rows() == [("*", "any model")]


def test_the_hint_for_people_is_near_and_never_a_candidate() -> None:
    assert nearest_ids("anthropic", "claude-sonnet-4-6", BOOK)[0] == "claude-sonnet-4-5"
    assert resolved("anthropic", "claude-sonnet-4-6") == []
