"""Samples of machines into hours: differences of counters, gauges held over time, dollars of windows.

What lives here: pure functions from core__infrastructure_samples rows to core__infrastructure rows, and which of two
files tells a sample. What does not: which files and days (core_infrastructure.py), what an hour costs
(infrastructure_tables.py). Differences are taken over the samples of all files together, so nothing is lost where one
file ends and the next begins. The interval between two samples belongs to the hour in which it begins. A counter that
falls was reset: it counted from zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from pipelines.contracts.fields import conform
from pipelines.contracts.infrastructure import MEASURE_UNITS, CoreInfrastructure
from pipelines.quantities import largest_remainder

GAUGES = ("gpu_power_joules", "waiting_request_seconds")
MILLIJOULES = ("gpu_energy_joules",)
_SERIES = ["deployment", "measure", "series"]
_SAMPLE = [*_SERIES, "sampled_at"]
_HOUR = timedelta(hours=1)
_PICO = 10**12
_MICRO = 10**6


@dataclass(frozen=True)
class HourlyTelemetry:
    """`hours`: core__infrastructure rows of one day. `fates`: `landed_file`, `record_number`, `fate` (`accepted`,
    `duplicate`, `superseded`) of every sample and window that begins on the day."""

    hours: pl.DataFrame
    fates: pl.DataFrame


def hourly_telemetry(samples: pl.DataFrame, day: date) -> HourlyTelemetry:
    """One UTC day from the samples of all live files that touch it or its neighbours.

    samples: CoreInfrastructureSamples and `newness` (higher is newer, equal for parts of one file).
    """
    points = samples.filter(pl.col("valid_until").is_null())
    windows = samples.filter(pl.col("valid_until").is_not_null())
    told = _one_per_sample(points)
    kept_windows, window_fates = _newest_windows(windows)
    hours = pl.concat([_prefer_counters(_intervals(told, day)), _window_hours(kept_windows, day)])
    point_fates = told.select("landed_file", "record_number", "usage_date", "fate")
    fates = pl.concat([point_fates, window_fates]).filter(pl.col("usage_date") == day)
    rows = hours.with_columns(
        pl.lit(day).alias("usage_date"),
        pl.col("measure").replace_strict(MEASURE_UNITS, return_dtype=pl.String).alias("unit"),
    )
    return HourlyTelemetry(
        conform(rows, CoreInfrastructure).sort("deployment", "hour_start", "measure", "source"),
        fates.select("landed_file", "record_number", "fate").unique(["landed_file", "record_number"]),
    )


def _one_per_sample(points: pl.DataFrame) -> pl.DataFrame:
    """Every sample with its `fate`: of those with one series and instant, the newest file's counts.

    Inside one file a GPU may be told by several pods, one of them stale: the largest value counts.
    """
    ordered = points.sort(
        [*_SAMPLE, "newness", "measured_quantity", "landed_file", "record_number"],
        descending=[False] * len(_SAMPLE) + [True, True, False, False],
    )
    first = pl.col("measured_quantity").first().over(_SAMPLE)
    place = pl.int_range(pl.len()).over(_SAMPLE)
    fate = (
        pl.when(place == 0)
        .then(pl.lit("accepted"))
        .when(pl.col("measured_quantity") == first)
        .then(pl.lit("duplicate"))
        .otherwise(pl.lit("superseded"))
    )
    return ordered.with_columns(fate.alias("fate"))


def _intervals(told: pl.DataFrame, day: date) -> pl.DataFrame:
    """What lies between neighbouring samples, by series and hour; gaps hold nothing."""
    samples = told.filter(pl.col("fate") == "accepted").sort(_SAMPLE)
    following = samples.with_columns(
        pl.col("sampled_at").shift(-1).over(_SERIES).alias("next_at"),
        pl.col("measured_quantity").shift(-1).over(_SERIES).alias("next_quantity"),
    )
    begun = following.filter((pl.col("sampled_at").dt.date() == day) & pl.col("next_at").is_not_null())
    microseconds = (pl.col("next_at") - pl.col("sampled_at")).dt.total_microseconds()
    held = begun.filter(microseconds <= pl.col("longest_gap_seconds") * _MICRO)
    now, later = (pl.col(name).to_physical().cast(pl.Int128) for name in ("measured_quantity", "next_quantity"))
    counted = pl.when(later >= now).then(later - now).otherwise(later)
    counted = pl.when(pl.col("measure").is_in(MILLIJOULES)).then(counted // 1000).otherwise(counted)
    integrated = now * microseconds.cast(pl.Int128) // _MICRO
    return (
        held.with_columns(
            pl.when(pl.col("measure").is_in(GAUGES)).then(integrated).otherwise(counted).alias("pico"),
            microseconds.alias("microseconds"),
            pl.col("sampled_at").dt.truncate("1h").alias("hour_start"),
        )
        .group_by(*_SERIES, "hour_start")
        .agg(
            pl.col("pico").sum(),
            pl.col("microseconds").sum(),
            pl.col("is_partial").any(),
            pl.col("source").min(),
            pl.col("landed_file").min(),
        )
    )


def _prefer_counters(series: pl.DataFrame) -> pl.DataFrame:
    """Hours over all series; power gauges only of GPUs whose energy counter covers less of the hour than they do."""
    energy = series.filter(pl.col("measure") == "gpu_energy_joules")
    power = series.filter(pl.col("measure") == "gpu_power_joules")
    gpu_hour = ["deployment", "series", "hour_start"]
    both = energy.join(power.select(*gpu_hour, pl.col("microseconds").alias("other")), on=gpu_hour)
    counter_wins = both.filter(pl.col("microseconds") >= pl.col("other")).select(gpu_hour)
    gauge_wins = both.filter(pl.col("microseconds") < pl.col("other")).select(gpu_hour)
    chosen = pl.concat(
        [
            series.filter(~pl.col("measure").is_in(["gpu_energy_joules", "gpu_power_joules"])),
            energy.join(gauge_wins, on=gpu_hour, how="anti"),
            power.join(counter_wins, on=gpu_hour, how="anti"),
        ]
    )
    return chosen.group_by("deployment", "hour_start", "measure").agg(
        _decimal(pl.col("pico").sum(), 12).alias("measured_quantity"),
        _decimal(pl.col("microseconds").sum(), 6).cast(pl.Decimal(38, 9)).alias("covered_seconds"),
        pl.len().cast(pl.Int64).alias("series_count"),
        pl.col("is_partial").any(),
        pl.col("source").min(),
        pl.col("landed_file").min(),
    )


def _decimal(whole: pl.Expr, places: int) -> pl.Expr:
    return (whole.cast(pl.Decimal(38, places)) / pl.lit(10**places)).cast(pl.Decimal(38, places))


def _newest_windows(windows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Windows that count: the newest file that covers a stretch of a deployment speaks for all of it."""
    if not len(windows):
        return windows, _no_fates()
    fates: list[str] = []
    spoken: dict[tuple[str, str], list[tuple[datetime, datetime, str]]] = {}
    ordered = windows.sort(
        ["newness", "landed_file", "record_number", "measure"], descending=[True, False, False, False]
    )
    for row in ordered.iter_rows(named=True):
        taken = spoken.setdefault((row["source"], row["deployment"]), [])
        start, end, file = row["sampled_at"], row["valid_until"], row["landed_file"]
        beaten = any(other != file and start < until and begun < end for begun, until, other in taken)
        fates.append("superseded" if beaten else "accepted")
        if not beaten:
            taken.append((start, end, file))
    told = ordered.with_columns(pl.Series("fate", fates, dtype=pl.String))
    return told.filter(pl.col("fate") == "accepted"), told.select("landed_file", "record_number", "usage_date", "fate")


def _no_fates() -> pl.DataFrame:
    return pl.DataFrame(
        schema={"landed_file": pl.String, "record_number": pl.Int64, "usage_date": pl.Date, "fate": pl.String}
    )


_WINDOW_SCHEMA: dict[str, pl.DataType] = {
    "deployment": pl.String(),
    "hour_start": pl.Datetime("us", "UTC"),
    "pico": pl.Int128(),
    "microseconds": pl.Int64(),
    "measure": pl.String(),
    "series": pl.String(),
    "is_partial": pl.Boolean(),
    "source": pl.String(),
    "landed_file": pl.String(),
}


def _window_hours(windows: pl.DataFrame, day: date) -> pl.DataFrame:
    """Dollars of windows spread over their hours by length, exact in pico-dollars; only hours of the day."""
    rows: list[tuple[object, ...]] = []
    told = ("measure", "series", "is_partial", "source", "landed_file")
    for window in windows.iter_rows(named=True):
        start, end = window["sampled_at"], window["valid_until"]
        hours = _hours_of(start, end)
        lengths = [_microseconds(min(end, hour + _HOUR) - max(start, hour)) for hour in hours]
        shares = largest_remainder(int(window["measured_quantity"] * _PICO), lengths)
        rows.extend(
            (window["deployment"], hour, share, length, *(window[name] for name in told))
            for hour, share, length in zip(hours, shares, lengths, strict=True)
            if hour.date() == day
        )
    frame = pl.DataFrame(rows, schema=_WINDOW_SCHEMA, orient="row")
    return _prefer_counters(
        frame.select([*_SERIES, "hour_start", "pico", "microseconds", "is_partial", "source", "landed_file"])
    )


def _hours_of(start: datetime, end: datetime) -> list[datetime]:
    first = start.replace(minute=0, second=0, microsecond=0)
    count = -(-_microseconds(end - first) // _microseconds(_HOUR))
    return [first + number * _HOUR for number in range(count)]


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def touched_days(samples: pl.DataFrame) -> set[date]:
    """UTC days that the samples and windows of one file speak of."""
    days = {*samples["sampled_at"].dt.date().unique().to_list()}
    for start, end in (
        samples.filter(pl.col("valid_until").is_not_null()).select("sampled_at", "valid_until").iter_rows()
    ):
        last = (end - timedelta(microseconds=1)).astimezone(UTC).date()
        days |= {start.date() + timedelta(days=number) for number in range((last - start.date()).days + 1)}
    return days
