"""For how long a provider still changes a day that it has reported: the look-back window of each source.

What lives here: the windows. What does not: scheduling (assets/automation.py), holding exports back (buckets.py).
"""

from __future__ import annotations

from collections.abc import Mapping

LOOK_BACK_DAYS: Mapping[str, int] = {
    "openai_costs": 35,
    "openai_usage": 35,
    "anthropic_costs": 35,
    "anthropic_usage": 35,
    "focus": 62,
}
"""OpenAI and Anthropic restate for 35 days, a FOCUS export the current and the previous month.

Request logs are final when written: a late file is taken in whatever its days.
"""
LONGEST_LOOK_BACK_DAYS = max(LOOK_BACK_DAYS.values())


def look_back_days(source: str) -> int:
    """The window of a source in days; a source without one of its own has the longest."""
    return LOOK_BACK_DAYS.get(source, LONGEST_LOOK_BACK_DAYS)
