"""Pricing a log row by row with LiteLLM's own function. Runs in an environment of its own; no part of the product."""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import pyarrow.parquet as pq
from litellm import cost_per_token

PROVIDERS = {"google": "gemini"}


def price(row: dict[str, object]) -> None:
    """One request, as LiteLLM's documentation shows."""
    cost_per_token(
        model=row["model"],
        custom_llm_provider=PROVIDERS.get(row["provider"], row["provider"]),
        prompt_tokens=max(row["input_uncached_tokens"], 0) + row["cache_read_tokens"],
        completion_tokens=row["output_tokens"],
        cache_read_input_tokens=row["cache_read_tokens"],
    )


def is_known(row: dict[str, object]) -> bool:
    """Whether its price map holds the model: an unknown one raises, which takes longer than pricing."""
    try:
        price(row)
    except Exception:  # noqa: BLE001  unknown models raise their own kinds of error
        return False
    return True


rows = next(pq.ParquetFile(sys.argv[1]).iter_batches(int(sys.argv[2]))).to_pylist()
known = {model: is_known(row) for model, row in {row["model"]: row for row in rows}.items()}
rows = [row for row in rows if known[row["model"]]]
wall, cpu = time.perf_counter(), time.process_time()
for row in rows:
    price(row)
seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
print("MEASURED " + json.dumps({**seconds, "rows": len(rows)}))
