"""Work of a deployment: how much a token of each kind weighs, and how much a GPU can do in an hour.

What lives here: the weights, their default, and both as calibrated from the deployment's own counters. What does not:
weights that deployments.csv declares (deployment_ledger.py). A token's weight is its share of machine time. From
counters: joules of the GPUs are explained by uncached input and output tokens, hour by hour (least squares with a
constant), and the ratio of the two slopes is the output weight. Capacity is the largest work per GPU-hour in an hour in
which requests queued: only then was the machine full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from pipelines.transforms.economics import PRECISION

Row = Mapping[str, Any]
Hour = tuple[Decimal, tuple[int, int, int] | None, Mapping[str, Row]]
"""GPU-hours, counted tokens (uncached, cached, output), and measures of one deployment hour."""

LEAST_HOURS = 48
LEAST_EXPLAINED = Decimal("0.8")
PLAUSIBLE_OUTPUT_WEIGHT = (Decimal(1), Decimal(20))
"""Published evidence runs from 1 : 2.2 to 1 : 11.7; a slope ratio far outside is noise, and the assumption stays."""
COVERED_SHARE = Decimal("0.95")
QUEUE = Decimal(1)
"""Requests that wait on average over an hour in which a machine counts as full."""

_PLACES = Decimal("1e-9")


@dataclass(frozen=True)
class Weights:
    """Units of work per token. The defaults 1 : 0.1 : 5 are an assumption and labelled so wherever they are used."""

    uncached: Decimal = Decimal(1)
    cached: Decimal = Decimal("0.1")
    output: Decimal = Decimal(5)

    @property
    def values(self) -> tuple[Decimal, Decimal, Decimal]:
        return self.uncached, self.cached, self.output

    def work(self, tokens: tuple[int, int, int]) -> Decimal:
        """W = Σ weight × tokens over uncached, cached and output tokens, exact."""
        return sum((weight * count for weight, count in zip(self.values, tokens, strict=True)), Decimal(0))


@dataclass(frozen=True)
class Calibration:
    """What a deployment's counters of one month say; None where they say nothing."""

    weights: Weights | None = None
    capacity_per_gpu_hour: Decimal | None = None


def calibrate(hours: Sequence[Hour]) -> Calibration:
    """Weights and capacity of one deployment from the hours of one month."""
    weights = _weights(hours)
    return Calibration(weights, _capacity(hours, weights or Weights()))


def _weights(hours: Sequence[Hour]) -> Weights | None:
    points = []
    for gpu_hours, tokens, measures in hours:
        energy = measures.get("gpu_energy_joules")
        if tokens is None or energy is None or energy["covered_seconds"] < COVERED_SHARE * gpu_hours * 3600:
            continue
        points.append((Decimal(tokens[0]), Decimal(tokens[2]), Decimal(energy["measured_quantity"])))
    if len(points) < LEAST_HOURS:
        return None
    slopes = _plane(points)
    if slopes is None or min(slopes[:2]) <= 0 or slopes[2] < LEAST_EXPLAINED:
        return None
    with localcontext(PRECISION):
        output = (slopes[1] / slopes[0]).quantize(_PLACES)
    least, most = PLAUSIBLE_OUTPUT_WEIGHT
    return Weights(output=output) if least <= output <= most else None


def _plane(points: Sequence[tuple[Decimal, Decimal, Decimal]]) -> tuple[Decimal, Decimal, Decimal] | None:
    """Slopes a, b of z ≈ c + a·x + b·y by least squares, and the share of variance explained; None where x and y move
    together."""
    with localcontext(PRECISION):
        count = len(points)
        middle = [sum((point[i] for point in points), Decimal(0)) / count for i in range(3)]
        centred = [tuple(point[i] - middle[i] for i in range(3)) for point in points]

        def moment(i: int, j: int) -> Decimal:
            return sum((point[i] * point[j] for point in centred), Decimal(0))

        xx, yy, xy, xz, yz, zz = (moment(*pair) for pair in ((0, 0), (1, 1), (0, 1), (0, 2), (1, 2), (2, 2)))
        spread = xx * yy - xy * xy
        if not zz or spread <= Decimal("0.001") * xx * yy:
            return None
        a, b = (xz * yy - yz * xy) / spread, (yz * xx - xz * xy) / spread
        return a, b, (a * xz + b * yz) / zz


def _capacity(hours: Sequence[Hour], weights: Weights) -> Decimal | None:
    most: Decimal | None = None
    for gpu_hours, tokens, measures in hours:
        queue = measures.get("waiting_request_seconds")
        if tokens is None or queue is None or queue["covered_seconds"] < COVERED_SHARE * 3600:
            continue
        if queue["measured_quantity"] < QUEUE * queue["covered_seconds"]:
            continue
        with localcontext(PRECISION):
            done = (weights.work(tokens) / gpu_hours).quantize(_PLACES)
        most = done if done > 0 and (most is None or done > most) else most
    return most
