"""The page of results: figures of `run.py --json` as a table and a plot, between two marks of benchmarks/README.md.

What lives here: formatting. What does not: measuring. `python -m benchmarks.report results/*.json`
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
PLOT = HERE / "results.svg"
BEGIN, END = "<!-- figures: written by benchmarks/report.py -->", "<!-- end of figures -->"
_COLOURS = {"whole job": "#1b6ca8", "plain SQL": "#c8553d"}
_OTHER = "#8a8f98"


def table(figures: dict[str, Any]) -> str:
    """One measurement as Markdown."""
    rows = figures["rows"]
    lines = [
        f"### {rows:,} requests over {figures['days']} days",
        "",
        f"Measured {figures['measured']} on {figures['machine']}, Python {figures['python']}, "
        + ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
        + ".",
        "",
        "| program | wall, s | processor, s | requests a second | peak memory, GB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, run in figures["medians"].items():
        told = 20_000 if name.startswith("per row") else rows
        speed, peak = told / run["wall"], run["peak_bytes"] / 1e9
        lines.append(f"| {name} | {run['wall']:.2f} | {run['cpu']:.2f} | {speed:,.0f} | {peak:.2f} |")
    lines += [f"\nNot measured: {name} ({escape(reason)})" for name, reason in figures["skipped"].items()]
    return "\n".join(lines)


def plot(measurements: list[dict[str, Any]]) -> str:
    """Processor seconds per million requests as bars: one group per measurement."""
    bars = [
        (f"{figures['rows'] / 1e6:g} M, {name}", name, run["cpu"] * 1e6 / figures["rows"])
        for figures in measurements
        for name, run in figures["medians"].items()
        if name.startswith(("whole job", "plain SQL", "scan"))
    ]
    widest = max(value for _, _, value in bars)
    height = 40 + 24 * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" font-family="sans-serif">',
        '<text x="10" y="20" font-size="16">Processor seconds per million requests</text>',
    ]
    for number, (label, name, value) in enumerate(bars):
        y = 36 + 24 * number
        colour = next((c for start, c in _COLOURS.items() if name.startswith(start)), _OTHER)
        width = max(1.0, 440 * value / widest)
        parts.append(f'<text x="200" y="{y + 13}" font-size="12" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<rect x="210" y="{y}" width="{width:.1f}" height="18" fill="{colour}"/>')
        parts.append(f'<text x="{216 + width:.1f}" y="{y + 13}" font-size="12">{value:.2f}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(paths: list[str]) -> None:
    """Write the figures into the page and the plot beside it."""
    measurements = sorted(
        (json.loads(Path(path).read_text(encoding="utf-8")) for path in paths), key=lambda f: f["rows"]
    )
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    figures = "\n\n".join(table(measurement) for measurement in measurements)
    PAGE.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}", encoding="utf-8")
    PLOT.write_text(plot(measurements), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
