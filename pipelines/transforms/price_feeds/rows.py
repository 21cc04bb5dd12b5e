"""One price as every feed states it, before it becomes a line of the price book.

What lives here: FeedPrice, its stable id, its CSV form, the UTC words of the readers. What does not: any feed's format
(one module each beside this one), rules that derive one price from another (derivations.py).
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

FLOOR = datetime(2020, 1, 1, tzinfo=UTC)
"""Start of a back-cast price whose model's first day nobody recorded: before any of these models was sold."""

MTOK = 1_000_000


@dataclass(frozen=True)
class FeedPrice:
    """One price and interval; fields as in contracts.reference.RefModelPrices. Money is Decimal, instants are UTC."""

    provider: str
    model: str
    component: str
    price_usd: Decimal
    valid_from: datetime
    source: str
    region: str = "*"
    service_tier: str = "standard"
    prompt_tokens_gt: int = 0
    prompt_tokens_le: int | None = None
    schedule: str | None = None
    per_units: int = MTOK
    unit: str = "tokens"
    valid_to: datetime | None = None
    valid_from_basis: str = "recorded"
    recorded_at: datetime | None = None
    superseded_at: datetime | None = None
    change_kind: str | None = None
    layer: str = "feed"

    @property
    def price_id(self) -> str:
        """Readable and stable: the names, the first day, and eight digits over everything that tells rows apart."""
        parts = (
            self.region,
            self.prompt_tokens_gt,
            self.prompt_tokens_le,
            self.schedule,
            plain(self.price_usd),
            self.per_units,
            iso(self.valid_from),
            iso(self.recorded_at or self.valid_from),
            self.layer,
        )
        digest = hashlib.sha256("|".join(str(part) for part in parts).encode()).hexdigest()[:8]
        return f"{self.provider}/{self.model}/{self.service_tier}/{self.component}@{self.valid_from:%Y-%m-%d}-{digest}"


COLUMNS = (
    "price_id",
    "provider",
    "model",
    "region",
    "service_tier",
    "component",
    "prompt_tokens_gt",
    "prompt_tokens_le",
    "tier_scope",
    "schedule",
    "price_usd",
    "per_units",
    "unit",
    "valid_from",
    "valid_to",
    "valid_from_basis",
    "recorded_at",
    "superseded_at",
    "change_kind",
    "layer",
    "source",
)


def to_csv(prices: Iterable[FeedPrice]) -> str:
    """The rows as CSV text of a model_prices file, header first, in the order given."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for price in prices:
        writer.writerow(_cells(price))
    return out.getvalue()


def _cells(price: FeedPrice) -> list[str]:
    values: dict[str, object] = {
        **{name: getattr(price, name) for name in COLUMNS if name != "tier_scope"},
        "tier_scope": "request",
        "recorded_at": price.recorded_at or price.valid_from,
    }
    return [_text(values[name]) for name in COLUMNS]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Decimal):
        return plain(value)
    return str(value)


def without_drift(value: Decimal, decimals: int = 9) -> Decimal:
    """A feed's float without the noise of its 16th digit: no price per million tokens is finer than 10⁻⁹ dollars."""
    return round(value, decimals)


def plain(value: Decimal) -> str:
    """A Decimal without exponent and without trailing zeros, exact: `0.15`, `30`, `0`."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def iso(moment: datetime) -> str:
    """A UTC instant as `2026-11-01` at midnight, else `2026-11-01T16:00:00Z`."""
    if (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0):
        return f"{moment:%Y-%m-%d}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"


def day_in_name(model: str) -> datetime | None:
    """The day that a snapshot's id carries (`…-2024-08-06`, `…-20250929`), as UTC midnight; None where it has none."""
    found = re.search(r"(?<!\d)(20[12]\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?!\d)", model)
    if not found:
        return None
    year, month, day = (int(part) for part in found.groups())
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None
