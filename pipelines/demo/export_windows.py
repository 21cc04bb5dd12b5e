"""Which days each demo export covers on which night: the calendar of fetches.

What lives here: names and day spans of export files, late and restated fetches. What does not: what is in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from pipelines.demo.scenario import Scenario
from pipelines.demo.traffic import data_through

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """One fetch: first and last UTC day, both included, and the night on which it landed."""

    night: int
    first: date
    last: date

    @property
    def days(self) -> list[date]:
        """All days of the fetch, in order."""
        return [self.first + n * DAY for n in range((self.last - self.first).days + 1)]

    @property
    def name(self) -> str:
        """The span as part of a file name, such as `2026-07-01_2026-07-31`."""
        return f"{self.first}_{self.last}"


def _months(scenario: Scenario, through: date) -> Iterator[tuple[date, date]]:
    first = scenario.quarter.first_day
    while first <= through:
        following = (first.replace(day=28) + 4 * DAY).replace(day=1)
        yield first, min(following - DAY, through)
        first = following


def openai_usage_windows(scenario: Scenario) -> list[Window]:
    """A week in the API's older shape, then months; the second night fetches the last three days once more."""
    through = data_through(1)
    week = scenario.quarter.first_day + 6 * DAY
    windows = [Window(1, scenario.quarter.first_day, week)]
    windows += [Window(1, max(first, week + DAY), last) for first, last in _months(scenario, through)]
    return [*windows, Window(2, through - DAY, scenario.quarter.last_day)]


def openai_cost_windows(scenario: Scenario) -> list[Window]:
    """Months up to the bill's lag; the second night brings the restated week and the days that were still missing."""
    quarter = scenario.quarter
    through = data_through(1) - (quarter.bill_lag_days - 1) * DAY
    windows = [Window(1, first, last) for first, last in _months(scenario, through)]
    restated = Window(2, quarter.restated_from, quarter.restated_to)
    return [*windows, restated, Window(2, through + DAY, quarter.last_day)]


def anthropic_usage_windows(scenario: Scenario) -> list[Window]:
    """Months, with a day left out that only the second night brings."""
    quarter, through = scenario.quarter, data_through(1)
    windows = []
    for first, last in _months(scenario, through):
        if first <= quarter.missing_usage_day <= last:
            windows += [
                Window(1, first, quarter.missing_usage_day - DAY),
                Window(1, quarter.missing_usage_day + DAY, last),
            ]
        else:
            windows.append(Window(1, first, last))
    missing = Window(2, quarter.missing_usage_day, quarter.missing_usage_day)
    return [*windows, missing, Window(2, through + DAY, quarter.last_day)]


def anthropic_cost_windows(scenario: Scenario) -> list[Window]:
    """Months up to the bill's lag; the second night brings the rest."""
    through = data_through(1) - (scenario.quarter.bill_lag_days - 1) * DAY
    windows = [Window(1, first, last) for first, last in _months(scenario, through)]
    return [*windows, Window(2, through + DAY, scenario.quarter.last_day)]


def focus_windows(scenario: Scenario) -> list[Window]:
    """A file per month; the last month's file is short on the first night and replaced in place on the second."""
    through = data_through(1) - (scenario.quarter.bill_lag_days - 1) * DAY
    windows = [Window(1, first, last) for first, last in _months(scenario, through)]
    last_month = windows[-1].first
    return [*windows, Window(2, last_month, scenario.quarter.last_day)]
