"""Who bills a model when a log names only the model: a small table of name prefixes.

What lives here: the table and the expression that applies it. What does not: provider spellings (providers.py), prices.
Only models that their maker serves under that name are listed. Open-weight models (llama, qwen, mixtral) are served by
many, so their name says nothing about who bills.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pipelines.connectors.reading.providers import PROVIDER_ALIASES, provider_name

MODEL_PREFIXES: Mapping[str, str] = {
    "gpt-": "openai",
    "chatgpt-": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "codex-": "openai",
    "text-embedding-3": "openai",
    "text-embedding-ada": "openai",
    "whisper-": "openai",
    "dall-e": "openai",
    "claude-": "anthropic",
    "gemini-": "google",
    "deepseek-": "deepseek",
    "mistral-": "mistral",
    "codestral": "mistral",
    "magistral": "mistral",
    "ministral": "mistral",
    "pixtral": "mistral",
    "grok-": "xai",
    "command": "cohere",
    "embed-english": "cohere",
    "embed-multilingual": "cohere",
    "rerank-": "cohere",
}
"""Beginning of a model name in lower case → provider. `gpt-oss` is open weight and is left out by `maker_of`."""

ROUTED_PREFIXES: tuple[str, ...] = (
    "anthropic",
    "azure",
    "azure_ai",
    "bedrock",
    "cohere",
    "deepseek",
    "gemini",
    "groq",
    "mistral",
    "openai",
    "openrouter",
    "vertex_ai",
    "xai",
)
"""First part of a routed name such as `bedrock/anthropic.claude-…`: it names the provider by itself."""

_BEDROCK = (
    r"^(?:(?:us|eu|apac|global|us-gov|au|jp)\.)?(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|openai)\.[a-z]"
)
_OPEN_WEIGHT = "gpt-oss"


def provider_of_model(model: pl.Expr) -> pl.Expr:
    """The provider that a model name implies; NULL where it implies none.

    In this order: a routing prefix (`bedrock/…`), a Bedrock id (`us.anthropic.claude-…`), the maker's own prefix.
    """
    name = model.str.to_lowercase().str.strip_chars()
    first = name.str.extract(r"^([a-z0-9_]+)/", 1)
    routed = pl.when(first.is_in(ROUTED_PREFIXES)).then(provider_name(first))
    bedrock = pl.when(name.str.contains(_BEDROCK)).then(pl.lit("aws_bedrock"))
    makers = [
        pl.when(name.str.starts_with(prefix)).then(pl.lit(provider)) for prefix, provider in MODEL_PREFIXES.items()
    ]
    known = pl.when(~name.str.starts_with(_OPEN_WEIGHT)).then(pl.coalesce(makers))
    return pl.coalesce(routed, bedrock, known)


def without_route(model: pl.Expr) -> pl.Expr:
    """The model name without a routing prefix (`bedrock/anthropic.claude-…` → `anthropic.claude-…`).

    Only the prefixes of ROUTED_PREFIXES go, and only the first: `openrouter/openai/gpt-4o` keeps `openai/gpt-4o`, which
    is OpenRouter's own name of the model.
    """
    pattern = f"^(?i:{'|'.join(ROUTED_PREFIXES)})/"
    return model.str.replace(pattern, "")


KNOWN_PROVIDERS: frozenset[str] = frozenset(PROVIDER_ALIASES.values()) | {"cerebras", "groq"}


def known_provider(said: pl.Expr) -> pl.Expr:
    """Our name of the provider that an instrumentation names; NULL for words we do not know.

    Frameworks also write their own names there (`gcp.vertex.agent`, `my_wrapper`): those must not become providers.
    """
    name = provider_name(said).replace({"google_vertexai": "google", "google_anthropic_vertex": "google"})
    return pl.when(name.is_in(KNOWN_PROVIDERS)).then(name)
