"""What the name of a billing meter says: token leaf, service tier, whether it bills tokens at all.

What lives here: reading words such as `gpt-4o, cached input`, `USE1-Claude4.6Sonnet-output-tokens-batch` or `gpt 4o
1120 Inp glbl Tokens`. What does not: model ids (a meter's own name for a model is none; the caller decides), money,
line layouts.

Documented spellings, by source: OpenAI line items `<model>, input`, `<model>, cached input`, `<model> audio,
output`, `<model>, input_tokens`, `priority | <model>, output, long context`; Bedrock usage types
`<region>-<model>-cache-read-input-token-count`, `…-output-tokens-flex`; Marketplace meters
`MP:USE1_CacheWrite1hInputTokenCount_Global-Units`; Azure meters with `Inp`, `Outp`, `opt`, `cached`; Google SKUs
`Gemini 3 Flash Text Input Caching - Predictions`; Anthropic token types `cache_creation.ephemeral_5m_input_tokens`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[a-z]+|\d+(?:min|[mh])(?![a-z])|\d+")
_TTL = {
    "5m": "cache_write_5m",
    "5min": "cache_write_5m",
    "1h": "cache_write_1h",
    "30m": "cache_write_30m",
    "12h": "cache_write_12h",
}

_INPUT = frozenset({"input", "inp", "inpt", "prompt"})
_OUTPUT = frozenset({"output", "outp", "outpt", "opt", "completion"})
_CACHED = frozenset({"cached", "cache", "caching", "cchd"})
_WRITE = frozenset({"write", "writes", "creation"})
_SHORT = {"aud": "audio", "img": "image"}
_TOKENS = frozenset({"token", "tokens"})
_NOT_INFERENCE = frozenset(
    {
        "training",
        "train",
        "hosting",
        "hosted",
        "storage",
        "tpm",
        "ptu",
        "reserved",
        "provisioned",
        "commitment",
        "hour",
        "hours",
    }
)
"""Words of capacity, storage and training: such a meter may speak of tokens and still bills something else."""

_TIERS = ("batch", "flex", "priority", "scale", "fast", "standard")
_MODALITIES = {
    ("input", "audio"): "input_audio",
    ("input", "image"): "input_image",
    ("input", "video"): "input_video",
    ("output", "audio"): "output_audio",
    ("output", "image"): "output_image",
}


@dataclass(frozen=True)
class MeterMeaning:
    """`component` is a token leaf or NULL; `service_tier` NULL where no word names one; `says_tokens` whether the
    word token stands in the name of a meter that bills inference."""

    component: str | None = None
    service_tier: str | None = None
    says_tokens: bool = False


def meter_meaning(text: str | None) -> MeterMeaning:
    """The meaning of a meter's name. Words that are not known mean nothing; a name without direction has no
    component."""
    if not text:
        return MeterMeaning()
    spaced = _CAMEL.sub(" ", text).lower()
    words = [_SHORT.get(word, word) for word in _WORD.findall(spaced)]
    known = set(words)
    if known & _NOT_INFERENCE:
        return MeterMeaning(service_tier=_tier(known, spaced))
    return MeterMeaning(_component(known, words), _tier(known, spaced), bool(known & _TOKENS))


def _tier(known: set[str], spaced: str) -> str | None:
    if re.search(r"latency.optimi[sz]ed", spaced):
        return "latency_optimized"
    return next((tier for tier in _TIERS if tier in known), None)


def _component(known: set[str], words: list[str]) -> str | None:
    is_cached = bool(known & _CACHED)
    if is_cached and known & _WRITE:
        return next((_TTL[word] for word in words if word in _TTL), "cache_write_unknown")
    if known & _OUTPUT and not known & _INPUT:
        return _modal("output", known)
    if is_cached and (known & _INPUT or "read" in known):
        return "cache_read_audio" if "audio" in known else "cache_read"
    if known & {"embedding", "embeddings"}:
        return "embedding_input"
    if known & _INPUT and not known & _OUTPUT:
        return _modal("input", known)
    return None


def _modal(direction: str, known: set[str]) -> str:
    plain = "output" if direction == "output" else "input_uncached"
    return next((leaf for (way, kind), leaf in _MODALITIES.items() if way == direction and kind in known), plain)
