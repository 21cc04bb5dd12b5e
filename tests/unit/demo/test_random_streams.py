"""splitmix64: published numbers, and that the vectorised and the plain form are one function."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.demo.random_streams import Stream, mix

_GAMMA = 0x9E3779B97F4A7C15
COUNTERS = [0, 1, 2, 63, 10**6, 2**40, 2**62]


def test_first_numbers_of_seed_1234567_are_the_published_ones():
    # Rosetta Code, "Pseudo-random numbers/Splitmix64": the first five numbers of seed 1234567.
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [mix(1234567 + step * _GAMMA) for step in range(1, 6)] == published


@pytest.mark.parametrize("seed", [0, 1, 20260701, 2**63])
def test_vectorised_numbers_equal_plain_ones(seed):
    stream = Stream(seed, "some.stream")
    frame = pl.DataFrame({"counter": COUNTERS}).select(
        stream.bits(pl.col("counter")).alias("bits"), stream.below(pl.col("counter"), 1000).alias("below")
    )
    assert frame["bits"].to_list() == [stream.at(counter) for counter in COUNTERS]
    assert frame["below"].to_list() == [stream.below_at(counter, 1000) for counter in COUNTERS]


def test_streams_differ_by_name_and_by_seed():
    numbers = {Stream(seed, name).at(0) for seed in (1, 2) for name in ("a", "b", "ab", "ba")}
    assert len(numbers) == 8


def test_draws_stay_inside_their_bounds_and_reach_them():
    frame = pl.select(pl.int_range(200_000, dtype=pl.Int64).alias("n")).select(
        Stream(1, "below").below(pl.col("n"), 7).alias("below"),
        Stream(1, "skewed").skewed(pl.col("n"), 10, 110).alias("skewed"),
        Stream(1, "chance").chance(pl.col("n"), 250).alias("chance"),
        Stream(1, "zero").below(pl.col("n"), pl.lit(0)).alias("zero"),
    )
    assert set(frame["below"]) == set(range(7))
    assert (frame["skewed"].min(), frame["skewed"].max()) == (10, 109)
    # The mean of low + span × u² is low + span / 3 = 10 + 33.3, less half a unit for whole numbers.
    assert 42 < frame["skewed"].mean() < 44
    assert 0.245 < frame["chance"].mean() < 0.255
    assert set(frame["zero"]) == {0}


def test_pick_gives_every_value_its_share():
    frame = pl.select(pl.int_range(30_000, dtype=pl.Int64).alias("n"))
    picked = frame.select(Stream(3, "pick").pick(pl.col("n"), ["x", "y", "y"]).alias("picked"))["picked"]
    assert set(picked) == {"x", "y"}
    assert 0.64 < (picked == "y").mean() < 0.69
