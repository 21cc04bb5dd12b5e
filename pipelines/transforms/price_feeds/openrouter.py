"""Monthly snapshots of OpenRouter's price list as a feed.

What lives here: {"snapshots": [{"date", "prices": {model: [input, output]}}]} → FeedPrice rows. What does not: what a
call cost: OpenRouter reports that itself, and the report outranks this table. A price is known at its snapshot only: a
new model may be a month older, so its first price starts at the snapshot before, as `first_observed`; a changed price
starts where it is seen. A model that leaves the list keeps its last price. Zero is a price for `:free` models only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pipelines.transforms.price_feeds.rows import FeedPrice, without_drift

_BATCH = ":batch"


def prices(document: Mapping[str, Any]) -> list[FeedPrice]:
    """One row per model, component and run of equal prices; dollars per million tokens, as OpenRouter prints them."""
    runs: dict[tuple[str, str], list[tuple[datetime, datetime, Decimal]]] = {}
    before: datetime | None = None
    for snapshot in document["snapshots"]:
        day = datetime.fromisoformat(snapshot["date"]).replace(tzinfo=UTC)
        for model, pair in snapshot["prices"].items():
            for component, stated in zip(("input_uncached", "output"), pair, strict=True):
                price = without_drift(Decimal(str(stated)))
                if model.startswith("~") or price < 0 or (price == 0 and not model.endswith(":free")):
                    continue
                found = runs.setdefault((model, component), [])
                if not found or found[-1][2] != price:
                    found.append(((before or day) if not found else day, day, price))
        before = day
    return list(_rows(runs, str(document["source"])))


def _rows(runs: Mapping[tuple[str, str], list[tuple[datetime, datetime, Decimal]]], source: str) -> Iterator[FeedPrice]:
    for (model, component), found in runs.items():
        for position, (start, seen, price) in enumerate(found):
            yield FeedPrice(
                provider="openrouter",
                model=model.removesuffix(_BATCH),
                service_tier="batch" if model.endswith(_BATCH) else "standard",
                component=component,
                price_usd=price,
                valid_from=start,
                valid_to=found[position + 1][0] if position + 1 < len(found) else None,
                valid_from_basis="first_observed",
                recorded_at=seen,
                source=source,
            )
