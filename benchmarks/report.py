"""benchmarks/README.md and its plots, from benchmarks/results/*.json and the text of page.md.

What lives here: filling the marks of page.md with tables. What does not: measuring, what is promised (targets.py), how
a plot is drawn (plots.py), the words around the tables (page.md). `python -m benchmarks.report` writes the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.figures import RESULTS, kept
from benchmarks.plots import promises_plot, scaling_plot
from benchmarks.targets import FLOORS, KEEPING, lines

HERE = Path(__file__).parent
WORDS = HERE / "page.md"
PAGE = HERE / "README.md"
SIZES = ("job-1m", "job-10m", "job-100m")
_MARK = re.compile(r"^\{\{(\w+)(?: ([^}]*))?\}\}$", re.MULTILINE)
_NOTICE = "<!-- Written by `python -m benchmarks.report` from page.md and results/: change those. -->"
Record = Mapping[str, Any]


def write_page(results: Path = RESULTS, page: Path = PAGE) -> None:
    """Write the page and its two plots beside it."""
    records = kept([results])
    tables = {
        "machine": lambda _: _machine(records),
        "promises": lambda _: _promises(records),
        "floors": lambda _: _floors(records),
        "programs": lambda suite: _programs(records, suite),
        "scaling": lambda _: _scaling(records),
        "variants": lambda _: _variants(records),
        "stages": lambda _: _stages(records),
        "facts": lambda suite: _facts(records, suite),
        "queries": lambda _: _queries(records),
        "profile": lambda _: _profile(records),
    }
    text = WORDS.read_text(encoding="utf-8")
    filled = _MARK.sub(lambda mark: tables[mark[1]](mark[2] or ""), text)
    page.write_text(f"{_NOTICE}\n\n{filled}", encoding="utf-8")
    page.with_name("promises.svg").write_text(promises_plot(lines(records)), encoding="utf-8")
    page.with_name("scaling.svg").write_text(scaling_plot(_sized(records)), encoding="utf-8")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Markdown; all columns but the first `left` are numbers."""
    if not rows:
        return "Not measured yet."
    marks = ["---" if number < left else "---:" for number in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, marks, *rows))


def _machine(records: Mapping[str, Record]) -> str:
    machines: dict[tuple[str, str], list[str]] = {}
    for name, record in records.items():
        versions = ", ".join(f"{package} {number}" for package, number in record["versions"].items())
        words = (f"{record['machine']}; Python {record['python']}, {versions}", "")
        machines.setdefault(words, []).append(f"{name} ({record['measured'][:10]})")
    told = [f"Measured on {words}: {', '.join(names)}." for (words, _), names in machines.items()]
    extra = {k: v for record in records.values() for k, v in record["facts"].get("packages", {}).items()}
    if extra:
        told.append("References: " + ", ".join(f"{name} {number}" for name, number in sorted(extra.items())) + ".")
    return "\n\n".join(told) or "Not measured yet."


def _promises(records: Mapping[str, Record]) -> str:
    rows = [(line.what, line.must, line.proud, line.values, line.verdict) for line in lines(records)]
    kept_ones = sum(row[-1] in {"met", "proud"} for row in rows)
    table = _table(("promise", "must", "proud", "measured", ""), rows, left=5)
    return f"{table}\n\n{kept_ones} of {len(rows)} are kept."


def _floors(records: Mapping[str, Record]) -> str:
    rows = [(line.what, line.must, line.values or line.verdict) for line in lines(records, FLOORS)]
    return _table(("a part of the job alone", "the whole job must", "measured"), rows, left=3)


def _programs(records: Mapping[str, Record], suite: str) -> str:
    record = records.get(suite)
    if record is None:
        return "Not measured yet."
    rows = []
    for name, run in record["programs"].items():
        if name.startswith("stage "):
            continue
        own = run["told"] if name.startswith("per row") else run
        handled = own.get("rows")
        speed = f"{handled / own['wall']:,.0f}" if handled else ""
        rows.append(
            (name, f"{run['wall']:.2f}", f"{run['cpu']:.2f}", speed, f"{run['peak_bytes'] / 1e9:.2f}", str(run["runs"]))
        )
    head = ("program", "clock, s", "processor, s", "rows a second", "peak memory, GB", "runs")
    skipped = [f"Not measured: {name} ({escape(reason)})." for name, reason in record["skipped"].items()]
    return "\n\n".join([f"{record['title'][:1].upper()}{record['title'][1:]}.", _table(head, rows), *skipped])


_PARTS = ("stage ", "contract ", "conversion ", KEEPING)
"""Programs that do a part of a job only: how they grow is not shown."""


def _sized(records: Mapping[str, Record]) -> dict[str, dict[int, dict[str, float]]]:
    """Program → rows → seconds a million and peak, for the programs measured at more than one size."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for suite in SIZES:
        for name, run in records.get(suite, {}).get("programs", {}).items():
            if run["rows"] and not name.startswith(_PARTS):
                millions = run["rows"] / 1e6
                found.setdefault(name, {})[run["rows"]] = {
                    "clock": run["wall"] / millions,
                    "processor": run["cpu"] / millions,
                    "peak": run["peak_bytes"] / 1e9,
                }
    return {name: sizes for name, sizes in found.items() if len(sizes) > 1}


def _scaling(records: Mapping[str, Record]) -> str:
    """Per program and size: processor seconds a million; fixed and growing part from the smallest two sizes."""
    sized = _sized(records)
    sizes = sorted({rows for by_size in sized.values() for rows in by_size})
    rows = []
    for name, by_size in sized.items():
        (low, first), (high, second) = sorted(by_size.items())[:2]
        growing = (second["processor"] * high - first["processor"] * low) / (high - low)
        fixed = (first["processor"] - growing) * low / 1e6
        cells = [f"{by_size[n]['processor']:.2f}" if n in by_size else "" for n in sizes]
        peaks = [f"{by_size[n]['peak']:.2f}" if n in by_size else "" for n in sizes]
        rows.append((name, *cells, f"{max(fixed, 0):.1f}", f"{growing:.2f}", " / ".join(filter(None, peaks))))
    head = (
        "processor seconds a million", *(f"{n / 1e6:g} M" for n in sizes),
        "fixed, s", "each further million, s", "peak memory, GB",
    )  # fmt: skip
    return _table(head, rows)


def _variants(records: Mapping[str, Record]) -> str:
    programs = records.get("variants", {}).get("programs", {})
    rows = [
        (name, f"{run['wall']:.2f}", f"{run['cpu']:.2f}", f"{run['peak_bytes'] / 1e9:.2f}")
        for name, run in programs.items()
    ]
    return _table(("variant", "clock, s", "processor, s", "peak memory, GB"), rows)


def _stages(records: Mapping[str, Record]) -> str:
    programs = records.get("job-10m", {}).get("programs", {})
    rows = [
        (name.removeprefix("stage "), f"{run['wall']:.2f}", f"{run['cpu']:.2f}", f"{run['peak_bytes'] / 1e9:.2f}")
        for name, run in programs.items()
        if name.startswith("stage ")
    ]
    return _table(("stage, alone in a process", "clock, s", "processor, s", "peak memory, GB"), rows)


def _facts(records: Mapping[str, Record], suite: str) -> str:
    facts = records.get(suite, {}).get("facts", {})
    rows = [
        (name, f"{value:,.3g}" if isinstance(value, float) else f"{value:,}")
        for name, value in facts.items()
        if isinstance(value, int | float)
    ]
    return _table(("", ""), rows)


def _queries(records: Mapping[str, Record]) -> str:
    asked = records.get("bi", {}).get("facts", {}).get("queries", {})
    rows = [
        (f"[{name}](bi/{name}.sql)", f"{times['p50_ms']:.1f}", f"{times['p95_ms']:.1f}", f"{times['rows']:,}")
        for name, times in asked.items()
    ]
    return _table(("query", "p50, ms", "p95, ms", "rows"), rows)


def _profile(records: Mapping[str, Record]) -> str:
    """The flame summary: stages, and within each the functions that take more than a hundredth of all."""
    profile = records.get("profile", {}).get("facts", {}).get("profile")
    if not profile:
        return "Not measured yet."
    out = [f"{profile['seconds']:.1f} s, {profile['samples']:,} samples.", "", "```text"]
    for stage, share in profile["stages"]:
        out.append(f"{_bar(share)} {100 * share:5.1f} %  {stage}")
        for owner, function, part in profile["functions"]:
            if owner == stage and part >= 0.01:
                out.append(f"{_bar(part)} {100 * part:5.1f} %      {function}")
    return "\n".join([*out, "```"])


def _bar(share: float) -> str:
    return ("#" * round(40 * share)).ljust(24)


if __name__ == "__main__":
    write_page(*(Path(word) for word in sys.argv[1:]))
