"""Provider spellings seen in logs, gateways and SDKs. Expected names: the list of the public contract."""

from __future__ import annotations

import re

import polars as pl
import pytest

from pipelines.connectors.reading.providers import PROVIDER_ALIASES, provider_name
from pipelines.contracts.fields import PROVIDER_PATTERN


def _named(*spellings: str | None) -> list[str | None]:
    return pl.DataFrame({"p": pl.Series(spellings, dtype=pl.String)}).select(provider_name(pl.col("p")))["p"].to_list()


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("OpenAI", "openai"),
        ("azure", "azure_openai"),
        ("Azure OpenAI", "azure_openai"),
        ("azure.ai.openai", "azure_openai"),
        ("amazon-bedrock", "aws_bedrock"),
        ("aws.bedrock", "aws_bedrock"),
        ("bedrock", "aws_bedrock"),
        ("vertex_ai", "google"),
        ("gcp.gemini", "google"),
        ("google-vertex", "google"),
        ("x-ai", "xai"),
        ("mistralai", "mistral"),
        ("self-hosted", "self_hosted"),
        ("Some New Vendor", "some_new_vendor"),
        (" anthropic ", "anthropic"),
    ],
)
def test_each_spelling_gets_our_name(spelling: str, name: str) -> None:
    assert _named(spelling) == [name]


def test_no_provider_stays_null_and_is_never_guessed() -> None:
    assert _named(None, "", "  ", "--") == [None, None, None, None]


def test_alias_keys_are_in_the_form_that_the_expression_looks_up() -> None:
    assert [key for key in PROVIDER_ALIASES if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", key)] == []


def test_alias_targets_keep_the_contract_and_are_no_aliases_themselves() -> None:
    targets = set(PROVIDER_ALIASES.values())
    assert [name for name in targets if not re.match(PROVIDER_PATTERN, name)] == []
    assert targets & set(PROVIDER_ALIASES) == set()
