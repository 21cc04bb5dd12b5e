"""The `model-prices` package as a feed: dated prices of labs' own APIs, tiers, context bands and daily schedules.

What lives here: its snapshot (a parsed JSON document) → FeedPrice rows and schedule windows. What does not: fetching
it. The package is MIT. What its words mean: `fast` is OpenAI's priority tier and Anthropic's fast mode; `cache_write`
is the default lifetime (5 minutes, at OpenAI 30), the `1h` multiple is 1 hour at Anthropic, 12 hours at OpenAI. A first
interval without a start is a back-cast from the first record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any

from pipelines.errors import NotFoundError
from pipelines.transforms.price_feeds.rows import FLOOR, FeedPrice, day_in_name, without_drift

PROVIDERS: Mapping[str, str] = {"amazon-bedrock": "aws_bedrock"}
_TIERS = {"standard": "standard", "batch": "batch", "flex": "flex", "thinking": "thinking", "ultrafast": "ultrafast"}
_BASES = {"models.dev commit": "recorded", "documented": "documented", "first observed": "first_observed"}
_COMPONENTS = {"input": "input_uncached", "output": "output", "cache_read": "cache_read"}


@dataclass(frozen=True)
class Window:
    """One daily window of a schedule, in the columns of price_schedules.csv."""

    schedule: str
    start_time: str
    end_time: str
    weekdays: str | None
    exclude_dates: str | None
    valid_from: datetime
    valid_to: datetime | None
    source: str


def installed_snapshot() -> dict[str, Any]:
    """The snapshot of the installed package. Raises NotFoundError when it is not installed."""
    try:
        text = (files("model_prices") / "snapshot.json").read_text(encoding="utf-8")
    except ModuleNotFoundError:
        raise NotFoundError(
            "the feed package model-prices is not installed",
            where="prices refresh",
            expected="model-prices beside tokenmart",
            next_move="install the dev extra, or give a price file instead",
        ) from None
    return load_snapshot(text)


def load_snapshot(text: str) -> dict[str, Any]:
    """A snapshot from its JSON text; numbers become exact decimals."""
    document: dict[str, Any] = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return document


def provider_name(name: str) -> str:
    """The package's provider id as ours: lower snake case."""
    return PROVIDERS.get(name, name.replace("-", "_"))


def prices(snapshot: Mapping[str, Any]) -> list[FeedPrice]:
    """All prices of the snapshot, each interval once; scheduled prices follow the plain ones they scale."""
    rows: list[FeedPrice] = []
    for provider, models in snapshot["prices"].items():
        for model, modes in models.items():
            for mode, intervals in modes.items():
                rows.extend(_timeline(provider, model, mode, intervals))
    return rows + list(_scheduled(snapshot, rows))


def _timeline(provider: str, model: str, mode: str, intervals: list[dict[str, Any]]) -> Iterator[FeedPrice]:
    """One model in one mode: per component and band, runs of equal prices become one row."""
    starts = [None if item["start"] is None else _moment(item["start"]) for item in intervals]
    leaves = [_leaves(provider, item["rates"] or {}) for item in intervals]
    keys = sorted({key for found in leaves for key in found}, key=str)
    tier = _TIERS.get(mode) or ("fast" if provider == "anthropic" else "priority")
    for key in keys:
        component, above, upto = key
        begin = 0
        while begin < len(intervals):
            price = leaves[begin].get(key)
            end = begin + 1
            while end < len(intervals) and leaves[end].get(key) == price:
                end += 1
            if price is not None:
                rates = intervals[begin]["rates"]
                observed = _moment(rates["valid_from"])
                start = starts[begin] or day_in_name(model) or FLOOR
                basis = _BASES[rates["valid_from_basis"]] if starts[begin] and start >= observed else "backcast"
                yield FeedPrice(
                    provider=provider_name(provider),
                    model=model,
                    component=component,
                    price_usd=price,
                    valid_from=start,
                    valid_to=starts[end] if end < len(intervals) else None,
                    source=rates["source"],
                    service_tier=tier,
                    prompt_tokens_gt=above,
                    prompt_tokens_le=upto,
                    valid_from_basis=basis,
                    recorded_at=max(observed, start),
                )
            begin = end


def _leaves(provider: str, rates: Mapping[str, Any]) -> dict[tuple[str, int, int | None], Decimal]:
    """(component, above, up to) → dollars per million tokens, of one interval."""
    if not rates:
        return {}
    bands = [rates, *sorted(rates.get("tiers") or (), key=lambda tier: tier["above"])]
    found: dict[tuple[str, int, int | None], Decimal] = {}
    multiple = rates.get("cache_write_1h_multiple")
    default_write, long_write = (
        ("cache_write_30m", "cache_write_12h") if provider == "openai" else ("cache_write_5m", "cache_write_1h")
    )
    # OpenAI's multiple stands on every model, also on those that sell no cache writes.
    has_long_write = multiple and (provider != "openai" or "cache_write" in rates)
    long_writes = [band["input"] * multiple if has_long_write and "input" in band else None for band in bands]
    for component, values in (
        *((name, [band.get(field) for band in bands]) for field, name in _COMPONENTS.items()),
        (default_write, [band.get("cache_write") for band in bands]),
        (long_write, long_writes),
    ):
        stated = [
            (int(band.get("above", 0)), value) for band, value in zip(bands, values, strict=True) if value is not None
        ]
        for position, (above, value) in enumerate(stated):
            if not value and provider == "openai":
                continue  # its models that cache nothing are listed at 0, which would price tokens for nothing
            upto = stated[position + 1][0] if position + 1 < len(stated) else None
            found[component, above, upto] = without_drift(value)
    return found


def schedule_id(provider: str, schedule: Mapping[str, Any]) -> str:
    """Name of a schedule: provider, what its windows are, and its first day."""
    kind = "peak" if "peak_hours_utc" in schedule else "off_peak"
    return f"{provider_name(provider)}_{kind}_{_moment(schedule['valid_from']):%Y_%m_%d}"


def windows(snapshot: Mapping[str, Any]) -> list[Window]:
    """Daily windows of all schedules, for price_schedules.csv."""
    calendars = snapshot["schedules"].get("holidays", {})
    found: list[Window] = []
    for schedule in snapshot["schedules"]["schedule"]:
        calendar = calendars.get(schedule.get("holidays"))
        hours = schedule.get("peak_hours_utc") or schedule["off_peak_hours_utc"]
        until = schedule.get("valid_until")
        found.extend(
            Window(
                schedule=schedule_id(schedule["provider"], schedule),
                start_time=start,
                end_time=end,
                weekdays="12345" if schedule.get("weekdays_only") else None,
                exclude_dates=_holidays(calendar, start, end) if calendar else None,
                valid_from=_moment(schedule["valid_from"]),
                valid_to=_moment(until) if until else None,
                source=schedule["source"],
            )
            for start, end in hours
        )
    return found


def _holidays(calendar: Mapping[str, Any], start: str, end: str) -> str:
    """Local holidays as UTC days; only windows whose local day is their UTC day can be written so."""
    offset = timedelta(hours=int(calendar["utc_offset_hours"]))
    for clock in (start, end):
        hour, minute = (int(part) for part in clock.split(":"))
        if timedelta(hours=hour, minutes=minute) + offset > timedelta(days=1):
            raise ValueError(f"window {start}-{end} passes midnight at UTC+{offset}")
    return " ".join(date.fromisoformat(day).isoformat() for day in calendar["dates"])


def _scheduled(snapshot: Mapping[str, Any], rows: list[FeedPrice]) -> Iterator[FeedPrice]:
    for schedule in snapshot["schedules"]["schedule"]:
        provider = provider_name(schedule["provider"])
        multiplier = schedule.get("peak_multiplier") or schedule["off_peak_multiplier"]
        begins = _moment(schedule["valid_from"])
        ends = _moment(schedule["valid_until"]) if schedule.get("valid_until") else None
        for row in rows:
            factor = multiplier.get(row.model) if isinstance(multiplier, dict) else multiplier
            if row.provider != provider or factor is None or row.service_tier != "standard":
                continue
            start = max(row.valid_from, begins)
            stop = min((moment for moment in (row.valid_to, ends) if moment), default=None)
            if stop is not None and start >= stop:
                continue
            yield replace(
                row,
                price_usd=without_drift(row.price_usd * factor),
                valid_from=start,
                valid_to=stop,
                valid_from_basis="documented" if start == begins else row.valid_from_basis,
                recorded_at=max(row.recorded_at or start, start) if start != begins else start,
                schedule=schedule_id(schedule["provider"], schedule),
                source=schedule["source"],
            )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
