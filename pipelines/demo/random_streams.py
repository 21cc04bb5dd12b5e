"""Random numbers that are a pure function of (seed, stream, counter): splitmix64, vectorised and in plain integers.

What lives here: the mixing function twice (a Polars expression and its plain-Python twin) and draws built on it.
What does not: what is drawn (traffic.py, benchmark_log.py).
Being counter-based, any row can be made without the rows before it: chunks, order and threads change nothing. Only
UInt64 arithmetic that wraps is used, so the numbers do not depend on a library's hash function or on floats.
Source of the mixer: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (splitmix64).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def mix(value: int) -> int:
    """The finaliser of splitmix64 on one integer, a bijection of 64-bit integers."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def _literal(value: int) -> pl.Expr:
    return pl.lit(value, dtype=pl.UInt64)


def _shifted(value: pl.Expr, bits: int) -> pl.Expr:
    """Logical right shift; Polars has no shift operator, and dividing by a power of two is the same."""
    return value // _literal(1 << bits)


def _mixed(value: pl.Expr) -> pl.Expr:
    value = (value ^ _shifted(value, 30)) * _literal(_FIRST)
    value = (value ^ _shifted(value, 27)) * _literal(_SECOND)
    return value ^ _shifted(value, 31)


@dataclass(frozen=True)
class Stream:
    """One independent sequence of 64-bit numbers, named: the same seed and name always give the same sequence.

    Every draw comes as an expression over a counter column and, with the suffix `_at`, for one plain counter.
    """

    seed: int
    name: str

    @property
    def key(self) -> int:
        """Start state of the sequence: the seed with the name folded in, byte by byte."""
        state = mix(self.seed)
        for byte in self.name.encode():
            state = mix(state ^ byte)
        return state

    def at(self, counter: int) -> int:
        """The 64-bit number at `counter`."""
        return mix(counter * _GAMMA + self.key)

    def bits(self, counter: pl.Expr) -> pl.Expr:
        """The 64-bit numbers at the counters (UInt64); distinct counters give distinct numbers."""
        return _mixed(counter.cast(pl.UInt64) * _literal(_GAMMA) + _literal(self.key))

    def below_at(self, counter: int, bound: int) -> int:
        """A number from 0 to bound - 1, for bound up to 2^32."""
        return ((self.at(counter) >> 32) * bound) >> 32

    def below(self, counter: pl.Expr, bound: pl.Expr | int) -> pl.Expr:
        """Numbers from 0 to bound - 1 (Int64), for bounds up to 2^32; 0 where the bound is 0."""
        limit = _literal(bound) if isinstance(bound, int) else bound.cast(pl.UInt64)
        return _shifted(_shifted(self.bits(counter), 32) * limit, 32).cast(pl.Int64)

    def chance(self, counter: pl.Expr, permille: pl.Expr | int) -> pl.Expr:
        """True for `permille` of a thousand."""
        return self.below(counter, 1000) < permille

    def skewed(self, counter: pl.Expr, least: pl.Expr | int, most: pl.Expr | int) -> pl.Expr:
        """Whole numbers from least to most, small ones likelier: a squared uniform draw (mean at one third)."""
        draw = _shifted(self.bits(counter), 48)
        low = pl.lit(least, dtype=pl.Int64) if isinstance(least, int) else least.cast(pl.Int64)
        high = pl.lit(most, dtype=pl.Int64) if isinstance(most, int) else most.cast(pl.Int64)
        span = (high - low).cast(pl.UInt64)
        return low + _shifted(_shifted(draw * draw, 8) * span, 24).cast(pl.Int64)

    def pick(self, counter: pl.Expr, values: Sequence[int] | Sequence[str]) -> pl.Expr:
        """One of `values`, each equally likely; repeat a value to make it likelier."""
        table = pl.Series(values)
        return pl.lit(table).gather(self.below(counter, len(values)))
