"""What no row of a chunk has is left out of the arithmetic of usage objects; that must not show in any row."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.connectors.native.usage import USAGE_SHAPE, read_usage
from pipelines.connectors.reading.json_lines import read_json_lines
from pipelines.quantities import TOKEN_COLUMNS


def leaves(folder: Path, usages: list[dict[str, Any]]) -> pl.DataFrame:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps({"usage": usage}) + "\n" for usage in usages))
    chunk = pl.concat(read_json_lines(path, {"usage": USAGE_SHAPE}))
    model = pl.lit("text-embed").alias("model")
    return read_usage(chunk.with_columns(pl.lit("openai").alias("provider"), model))


_FEW = st.sampled_from([None, 0, 0, 1, 7, 40])
_CHATS = st.fixed_dictionaries(
    {"prompt_tokens": st.sampled_from([0, 50, 90]), "completion_tokens": st.sampled_from([None, 0, 30])},
    optional={
        "total_tokens": st.sampled_from([None, 50, 80, 120, 200]),
        "reasoning_tokens": _FEW,
        "num_cached_tokens": _FEW,
        "cache_creation_input_tokens": _FEW,
        "prompt_tokens_details": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "cached_tokens": _FEW,
                "audio_tokens": _FEW,
                "image_tokens": _FEW,
                "cache_write_tokens": _FEW,
                "cached_tokens_details": st.fixed_dictionaries({"audio_tokens": _FEW}),
                "cache_write_tokens_details": st.fixed_dictionaries({"ttl_30m_tokens": _FEW}),
            },
        ),
        "completion_tokens_details": st.none()
        | st.fixed_dictionaries({"reasoning_tokens": _FEW}, optional={"audio_tokens": _FEW}),
    },
)


@settings(deadline=None, max_examples=40)
@given(usages=st.lists(_CHATS, min_size=2, max_size=6))
def test_a_usage_object_means_the_same_alone_and_among_others(usages: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        together = leaves(Path(folder), usages).select(*TOKEN_COLUMNS, "fault").fill_null(0)
        alone = [leaves(Path(folder), [usage]).select(*TOKEN_COLUMNS, "fault").fill_null(0) for usage in usages]
    assert together.rows() == [row for frame in alone for row in frame.rows()]
