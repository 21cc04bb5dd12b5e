"""The two plots of the page as SVG, drawn by hand: no plotting library is needed to read or to write them.

What lives here: how far each promise is kept, and how the cost of a million requests changes with the size of the log.
What does not: figures (targets.py, report.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.targets import Line

WIDTH = 960
_KEPT, _MISSED, _INK, _FAINT = "#1b6ca8", "#c8553d", "#222222", "#d5d8dc"
_LINES = ("#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#5b6770", "#00827f", "#a0522d", "#444444")


def promises_plot(lines: Sequence[Line]) -> str:
    """One bar per promise: what was measured as a share of what it must be, on a scale of powers of ten."""
    shown = [line for line in lines if line.share_of_must is not None]
    left, right, row = 430, 190, 24
    plot = WIDTH - left - right
    shares = [max(line.share_of_must or 0, 0.01) for line in shown] or [1.0]
    low, high = -2.0, max(1.0, math.ceil(math.log10(max(shares)) * 2) / 2)

    def across(share: float) -> float:
        return left + plot * (min(max(math.log10(max(share, 0.01)), low), high) - low) / (high - low)

    height = 74 + row * len(shown)
    parts = [
        _open(
            height, "Measured as a share of what it must be: left of 1 is kept. Ratios by the clock | by processor time"
        )
    ]
    for power in range(int(low), int(high) + 1):
        x = across(10.0**power)
        parts.append(f'<line x1="{x:.1f}" y1="38" x2="{x:.1f}" y2="{height - 24}" stroke="{_FAINT}"/>')
        parts.append(_text(x, height - 8, f"{10.0**power:g}", "middle"))
    for number, line in enumerate(shown):
        y = 44 + row * number
        x = across(line.share_of_must or 0)
        is_kept = line.verdict in {"met", "proud"}
        parts.append(_text(left - 8, y + 13, line.what.replace("`", ""), "end"))
        colour = _KEPT if is_kept else _MISSED
        parts.append(f'<rect x="{left}" y="{y}" width="{max(x - left, 2):.1f}" height="17" fill="{colour}"/>')
        short = line.values.replace(" by the clock, ", " | ").replace(" by the processor", "")
        parts.append(_text(max(x, left) + 6, y + 13, short))
    one = across(1)
    parts.append(f'<line x1="{one:.1f}" y1="38" x2="{one:.1f}" y2="{height - 24}" stroke="{_INK}" stroke-width="1.5"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def scaling_plot(sized: Mapping[str, Mapping[int, Mapping[str, float]]]) -> str:
    """Processor seconds a million over the size of the log, both on scales of powers of ten, one line per program."""
    left, right, top, height = 70, 270, 44, 420
    sizes = sorted({rows for by_size in sized.values() for rows in by_size}) or [1_000_000, 10_000_000]
    costs = [cost["processor"] for by_size in sized.values() for cost in by_size.values()] or [0.1, 1]
    x_low, x_high = math.log10(sizes[0]), max(math.log10(sizes[-1]), math.log10(sizes[0]) + 1)
    y_low, y_high = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))
    bottom = height - 40

    def across(rows: float) -> float:
        return left + (WIDTH - left - right) * (math.log10(rows) - x_low) / (x_high - x_low)

    def down(cost: float) -> float:
        return bottom - (bottom - top) * (math.log10(cost) - y_low) / max(y_high - y_low, 1)

    parts = [_open(height, "Processor seconds per million requests, by size of the log")]
    for power in range(y_low, y_high + 1):
        y = down(10.0**power)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{WIDTH - right}" y2="{y:.1f}" stroke="{_FAINT}"/>')
        parts.append(_text(left - 8, y + 4, f"{10.0**power:g}", "end"))
    parts += [_text(across(rows), bottom + 22, f"{rows / 1e6:g} M requests", "middle") for rows in sizes]
    ends = []
    for number, (name, by_size) in enumerate(sized.items()):
        colour = _LINES[number % len(_LINES)]
        points = [(across(rows), down(cost["processor"])) for rows, cost in sorted(by_size.items())]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        ends.append((points[-1][1], name, colour, points[-1][0]))
    parts += _labels(sorted(ends), WIDTH - right + 14)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _labels(ends: Sequence[tuple[float, str, str, float]], x: float) -> list[str]:
    """Names at the right edge, kept apart from each other, each tied to the end of its line."""
    parts, last = [], -math.inf
    for y, name, colour, from_x in ends:
        at = max(y, last + 16)
        last = at
        ends_at = f'x1="{from_x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{at:.1f}"'
        parts.append(f'<line {ends_at} stroke="{colour}" stroke-dasharray="2 3"/>')
        parts.append(_text(x + 4, at + 4, name, colour=colour))
    return parts


def _open(height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        f' font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
        f'<text x="10" y="22" font-size="15" fill="{_INK}">{escape(title)}</text>'
    )


def _text(x: float, y: float, words: str, anchor: str = "start", colour: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
