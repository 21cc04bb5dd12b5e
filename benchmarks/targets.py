"""What is promised, and whether what was measured keeps it.

What lives here: one line per promise: where its figures are, what it must be and what we would be proud of. What does
not: measuring, layout of the page (report.py).
A ratio is looked at twice, by the clock and by processor time of all processes: a busy machine disturbs that less.
A promise is met when every look keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Mapping[str, Any]]
"""Suite → its record."""
Looks = dict[str, float]
"""How it was looked at → the value."""
CLOCK, PROCESSOR = "clock", "processor"
"""A single value stands under the first."""


@dataclass(frozen=True)
class Target:
    """One promise. `suite` holds its figures; `unit` is ×, %, s, ms, GB or nothing for a count."""

    what: str
    suite: str
    must: float
    proud: float | None
    looks: Callable[[Results], Looks | None]
    unit: str = "×"
    at_least: bool = False

    def verdict(self, looks: Looks) -> str:
        """`proud`, `met`, `missed`, or by which look it is met."""
        kept = [look for look, value in looks.items() if self._keeps(value, self.must)]
        if len(kept) < len(looks):
            return f"met by the {kept[0]} only" if kept else "missed"
        is_proud = self.proud is not None and all(self._keeps(value, self.proud) for value in looks.values())
        return "proud" if is_proud else "met"

    def _keeps(self, value: float, limit: float) -> bool:
        return value >= limit if self.at_least else value <= limit


@dataclass(frozen=True)
class Line:
    """One line of the table, in words."""

    what: str
    must: str
    proud: str
    values: str
    verdict: str
    measured: str
    share_of_must: float | None
    """The worst look as a share of what it must be: 1 is just met, less is better."""


def _ratio(suite: str, ours: str, reference: str, *, times: float = 1) -> Callable[[Results], Looks | None]:
    def looks(results: Results) -> Looks | None:
        one, other = _program(results, suite, ours), _program(results, suite, reference)
        if one is None or other is None:
            return None
        return {CLOCK: times * one["wall"] / other["wall"], PROCESSOR: times * one["cpu"] / other["cpu"]}

    return looks


def _speed(reference_suite: str, reference: str) -> Callable[[Results], Looks | None]:
    """Rows a second of our whole job at ten million over those of a library's own loop."""

    def looks(results: Results) -> Looks | None:
        one, other = _program(results, "job-10m", "whole job, parquet"), _program(results, reference_suite, reference)
        if one is None or other is None:
            return None
        told = other["told"]
        return {
            CLOCK: one["rows"] / one["wall"] / (told["rows"] / told["wall"]),
            PROCESSOR: one["rows"] / one["cpu"] / (told["rows"] / told["cpu"]),
        }

    return looks


def _share_told(suite: str, part: str, whole: str) -> Callable[[Results], Looks | None]:
    def looks(results: Results) -> Looks | None:
        one, other = _program(results, suite, part), _program(results, suite, whole)
        if one is None or other is None:
            return None
        return {CLOCK: 100 * one["told"]["wall"] / other["wall"], PROCESSOR: 100 * one["told"]["cpu"] / other["cpu"]}

    return looks


def _seconds(suite: str, name: str) -> Callable[[Results], Looks | None]:
    return lambda results: _single(_program(results, suite, name), "wall")


def _peak(suite: str, name: str) -> Callable[[Results], Looks | None]:
    return lambda results: _single(_program(results, suite, name), "peak_bytes", 1e9)


def _peaks(suite: str, ours: str, reference: str) -> Callable[[Results], Looks | None]:
    def looks(results: Results) -> Looks | None:
        one, other = _program(results, suite, ours), _program(results, suite, reference)
        return None if one is None or other is None else {CLOCK: one["peak_bytes"] / other["peak_bytes"]}

    return looks


def _fact(suite: str, name: str) -> Callable[[Results], Looks | None]:
    def looks(results: Results) -> Looks | None:
        value = results.get(suite, {}).get("facts", {}).get(name)
        if value is None:
            return None
        return {CLOCK: float(len(value) if isinstance(value, list) else value)}

    return looks


def _single(program: Mapping[str, Any] | None, name: str, unit: float = 1) -> Looks | None:
    return None if program is None else {CLOCK: program[name] / unit}


def _program(results: Results, suite: str, name: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = results.get(suite, {}).get("programs", {}).get(name)
    return found


JOB, PLAIN = "whole job, parquet", "plain SQL, parquet"
CORE = "mart core alone"
TARGETS = (
    Target("whole job from Parquet ÷ plain SQL, 10 M", "job-10m", 1.0, 0.55, _ratio("job-10m", JOB, PLAIN)),
    Target("whole job from Parquet ÷ plain SQL, 100 M", "job-100m", 0.6, 0.4, _ratio("job-100m", JOB, PLAIN)),
    Target("mart core alone ÷ plain SQL, 10 M", "job-10m", 0.5, 0.25, _ratio("job-10m", CORE, PLAIN)),
    Target("mart core alone ÷ scan, 10 M", "job-10m", 6, 3, _ratio("job-10m", CORE, "scan")),
    Target("mart core alone ÷ plain SQL, 100 M", "job-100m", 0.5, 0.25, _ratio("job-100m", CORE, PLAIN)),
    Target("mart core alone ÷ scan, 100 M", "job-100m", 6, 3, _ratio("job-100m", CORE, "scan")),
    Target(
        "whole job from JSON lines ÷ plain SQL on the same lines, 10 M", "job-10m", 0.7, 0.36,
        _ratio("job-10m", "whole job, ndjson", "plain SQL, ndjson"),
    ),
    Target(
        "whole job from gz ÷ from plain JSON lines, 10 M", "job-10m", 2, 1.5,
        _ratio("job-10m", "whole job, gz", "whole job, ndjson"),
    ),
    Target("peak memory, 100 M over 30 days", "job-100m", 4, 2, _peak("job-100m", JOB), "GB"),
    Target("peak memory, 100 M on one day", "one-day", 6, None, _peak("one-day", JOB), "GB"),
    Target("contract on every row, share of the whole job, 10 M", "job-10m", 20, 8,
           _share_told("job-10m", "contract alone", JOB), "%"),
    Target("requests a second of the whole job ÷ genai-prices", "per-row", 50, 140,
           _speed("per-row", "per row, genai-prices"), at_least=True),
    Target("requests a second of the whole job ÷ LiteLLM", "per-row", 50, 140,
           _speed("per-row", "per row, litellm"), at_least=True),
    Target("ccusage ÷ whole job on the same Claude Code files", "claude-code", 3, 6,
           _ratio("claude-code", "ccusage", "whole job, claude_code"), at_least=True),
    Target("pandas script ÷ whole job from Parquet, 10 M", "job-10m", 4, 8,
           _ratio("job-10m", "pandas script, parquet", JOB), at_least=True),
    Target("`query`, start to answer", "commands", 1, None, _seconds("commands", "query"), "s"),
    Target("`--help`", "commands", 0.3, None, _seconds("commands", "--help"), "s"),
    Target("`run` with nothing new", "commands", 5, None, _seconds("commands", "run with nothing new"), "s"),
    Target("first load of 1,095 days, one file", "history", 10, None, _seconds("history", "first load, one file"), "s"),
    Target("first load of 1,095 days, a file per day", "history", 10, None,
           _seconds("history", "first load, daily files"), "s"),
    Target("a night after 1,095 days, 3.5 M requests in all", "history", 10, None,
           _seconds("history", "night after the long history"), "s"),
    Target("the same night after 1,095 days ÷ after 30 days", "history", 1.2, 1.05,
           _ratio("history", "night after the long history", "night after a month")),
    Target("`reprice` of 1,095 days, nothing changed", "history", 30, None,
           _seconds("history", "reprice, nothing changed"), "s"),
    Target("`reprice` of 1,095 days, a price of every day", "history", 30, None,
           _seconds("history", "reprice, a price of every day"), "s"),
    Target("`backfill` of 365 days, 10 M, one Dagster run", "backfill", 90, 35, _seconds("backfill", "backfill"), "s"),
    Target("peak memory of the backfill ÷ of one of 30 days", "backfill", 1.5, None,
           _peaks("backfill", "backfill", "backfill of 30 days")),
    Target("processes that the backfill started", "backfill", 3, None,
           _fact("backfill", "processes started by the backfill"), ""),
    Target("worst p95 of ten dashboard queries", "bi", 50, None, _fact("bi", "worst p95, ms"), "ms"),
    Target("marts that differ with one thread and small chunks", "determinism", 0, None,
           _fact("determinism", "marts that differ"), ""),
)  # fmt: skip

KEEPING = "hand-written Polars that keeps the requests, parquet"
FLOORS = (
    Target("hand-written Polars that keeps the requests ÷ plain SQL, 10 M", "job-10m", 1.0, None,
           _ratio("job-10m", KEEPING, PLAIN)),
    Target("hand-written Polars that keeps the requests ÷ plain SQL, 100 M", "job-100m", 0.6, None,
           _ratio("job-100m", KEEPING, PLAIN)),
    Target("conversion of the JSON lines to Parquet alone ÷ plain SQL on the same lines, 10 M", "job-10m", 0.7, None,
           _ratio("job-10m", "conversion to Parquet alone, ndjson", "plain SQL, ndjson")),
    Target("ccusage ÷ DuckDB adding up the same session files", "claude-code", 3, None,
           _ratio("claude-code", "ccusage", "reading alone, claude_code"), at_least=True),
)  # fmt: skip
"""What a promise would be if its job did only a part of what it does."""


def lines(results: Results, targets: Sequence[Target] = TARGETS) -> list[Line]:
    """Every promise as one line; what was not measured says how to."""
    return [_line(target, results) for target in targets]


def _line(target: Target, results: Results) -> Line:
    sign = "≥" if target.at_least else "≤"
    must = f"{sign} {_number(target.must, target.unit)}"
    proud = "" if target.proud is None else f"{sign} {_number(target.proud, target.unit)}"
    looks = target.looks(results)
    if looks is None:
        skipped = results.get(target.suite, {}).get("skipped", {})
        why = next(iter(skipped.values()), "make bench-large" if target.suite in LARGE else "make bench")
        return Line(target.what, must, proud, "", "not measured", why, None)
    values = ", ".join(
        _number(value, target.unit) + (f" by the {look}" if len(looks) > 1 else "") for look, value in looks.items()
    )
    shares = [
        (target.must / value if target.at_least else value / target.must) if target.must else value + 0.0
        for value in looks.values()
    ]
    measured = str(results[target.suite].get("measured", ""))
    return Line(target.what, must, proud, values, target.verdict(looks), measured, max(shares))


LARGE = frozenset({"job-100m", "one-day"})
"""Suites that need the large run."""


def _number(value: float, unit: str) -> str:
    text = f"{value:.0f}" if unit in {"", "ms"} or value >= 100 else f"{value:.3g}"
    return text if not unit else f"{text} {unit}"


def print_table(results: Results) -> None:
    """The one table: every promise, its stretch, what was measured, the verdict."""
    rows = [("promise", "must", "proud", "measured", "verdict", "when")]
    rows += [(line.what, line.must, line.proud, line.values, line.verdict, line.measured) for line in lines(results)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    print()
    for number, row in enumerate(rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + "  " + row[5])
        if number == 0:
            print("-" * (sum(widths) + 30))
    verdicts = [row[4] for row in rows[1:]]
    kept = sum(verdict in {"met", "proud"} for verdict in verdicts)
    print(f"\n{kept} of {len(verdicts)} promises kept, {verdicts.count('not measured')} not measured")
