"""What the names of billing meters say, in the spellings that providers document."""

from __future__ import annotations

import pytest

from pipelines.connectors.reading.meter_words import MeterMeaning, meter_meaning


@pytest.mark.parametrize(
    ("text", "component", "tier", "says_tokens"),
    [
        ("input", "input_uncached", None, False),
        ("cached input", "cache_read", None, False),
        ("audio, cached input", "cache_read_audio", None, False),
        ("output_tokens", "output", None, True),
        ("cache_creation.ephemeral_5m_input_tokens", "cache_write_5m", None, True),
        ("cache_creation.ephemeral_1h_input_tokens", "cache_write_1h", None, True),
        ("USE1-Nova2.0Lite-input-tokens-flex", "input_uncached", "flex", True),
        ("USE1-Claude4.6Sonnet-output-tokens-cross-region-global", "output", None, True),
        ("USE1-Llama3-output-tokens-latency-optimized", "output", "latency_optimized", True),
        ("USE1-x-mantle-input-tokens-standard", "input_uncached", "standard", True),
        ("MP:USE1_OutputTokenCount_Global-Units", "output", None, True),
        ("GPT 5 Inpt Glbl 1M Tokens", "input_uncached", None, True),
        ("o3 0416 Outp glbl Tokens", "output", None, True),
        ("gpt rt aud Inp Tokens", "input_audio", None, True),
        ("Text Embedding 3 Tokens", "embedding_input", None, True),
        ("Gemini Image Output", "output_image", None, False),
        ("batch", None, "batch", False),
        ("Tokens", None, None, True),
        ("Vector storage", None, None, False),
        ("Reserved_1Month_InputTPM_Geo", None, None, False),
        ("training tokens", None, None, False),
        ("input and output tokens", None, None, True),  # both directions: no single leaf
        ("", None, None, False),
        (None, None, None, False),
    ],
)
def test_meter_names(text: str | None, component: str | None, tier: str | None, says_tokens: bool) -> None:
    assert meter_meaning(text) == MeterMeaning(component, tier, says_tokens)
