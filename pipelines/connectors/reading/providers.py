"""Provider names: every spelling that a log, gateway or SDK uses for who bills a call → one name of ours.

What lives here: the alias table and the expression that applies it. What does not: models, prices, who calls it.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pipelines.connectors.reading.few_words import once_per_word, snake_case

PROVIDER_ALIASES: Mapping[str, str] = {
    "open_ai": "openai",
    "openai_chat": "openai",
    "openai_responses": "openai",
    "text_completion_openai": "openai",
    "claude": "anthropic",
    "anthropic_messages": "anthropic",
    "amazon": "aws_bedrock",
    "amazon_bedrock": "aws_bedrock",
    "aws": "aws_bedrock",
    "bedrock": "aws_bedrock",
    "bedrock_converse": "aws_bedrock",
    "azure": "azure_openai",
    "azure_ai": "azure_openai",
    "azure_ai_foundry": "azure_openai",
    "azure_ai_inference": "azure_openai",
    "azure_ai_openai": "azure_openai",
    "azure_foundry": "azure_openai",
    "azure_text": "azure_openai",
    "microsoft_foundry": "azure_openai",
    "az_ai_inference": "azure_openai",
    "az_ai_openai": "azure_openai",
    "gcp": "google",
    "gcp_gemini": "google",
    "gcp_gen_ai": "google",
    "gcp_vertex_ai": "google",
    "gemini": "google",
    "google_ai_studio": "google",
    "google_genai": "google",
    "google_gla": "google",
    "google_vertex": "google",
    "google_vertex_anthropic": "google",
    "vertex": "google",
    "vertex_ai": "google",
    "vertex_ai_beta": "google",
    "vertexai": "google",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "x_ai": "xai",
    "grok": "xai",
    "deep_seek": "deepseek",
    "cohere_chat": "cohere",
    "cohereai": "cohere",
    "open_router": "openrouter",
    "moonshot": "moonshotai",
    "moonshot_ai": "moonshotai",
    "z_ai": "zai",
    "zhipu": "zai",
    "zhipuai": "zai",
    "dashscope": "alibaba",
    "qwen": "alibaba",
    "meta_llama": "meta",
    "meta_llama_api": "meta",
    "nvidia_nim": "nvidia",
    "perplexity_ai": "perplexity",
    "fireworks_ai": "fireworks",
    "together_ai": "together",
    "togetherai": "together",
    "hugging_face": "huggingface",
    "01_ai": "zero_one_ai",
    "hosted_vllm": "self_hosted",
    "local": "self_hosted",
    "ollama": "self_hosted",
    "ollama_chat": "self_hosted",
    "selfhosted": "self_hosted",
    "sglang": "self_hosted",
    "tgi": "self_hosted",
    "vllm": "self_hosted",
}
"""Spelling in lower snake case → our name. Keys cover OpenTelemetry's `gen_ai.provider.name` and `gen_ai.system`,
LiteLLM's `custom_llm_provider` and the vendor prefixes of OpenRouter model ids. All that Azure bills is `azure_openai`,
all that Google Cloud or AI Studio bills is `google`: the provider is who sends the bill, not who made the model."""


def provider_name(expr: pl.Expr) -> pl.Expr:
    """Our name of a provider from any spelling: lower snake case, then PROVIDER_ALIASES; NULL or empty text gives NULL.

    An unknown provider stays itself in lower snake case; it is priced only if the price book knows it.
    """
    return once_per_word(expr, _name)


def _name(spelling: pl.Expr) -> pl.Expr:
    word = snake_case(spelling)
    return pl.when(word != "").then(word.replace(dict(PROVIDER_ALIASES)))
