"""What the native-usage families share: safe field access, and the rule that makes inclusive counts disjoint.

What lives here: expression builders over an unnested usage object. What does not: any provider's own field names.
Counts are Float64 here, exact to 2^53; usage.py checks that they are whole and turns them into integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

NOWHERE = pl.lit(0.0)
"""A quantity of which no row has any: what is worked out from such quantities alone needs no work."""
UNSPLIT = pl.lit(None, dtype=pl.Float64)
"""A split of a quantity that no row gives."""


def count(name: str, *path: str) -> pl.Expr:
    """A count of the usage object (or of an object inside it); absent and null are 0."""
    return raw(name, *path).fill_null(0.0)


def raw(name: str, *path: str) -> pl.Expr:
    """A field of the usage object, by its path; NULL where any step of the path is absent."""
    field = pl.col(name)
    for step in path:
        field = field.struct.field(step)
    return field


def largest(*fields: pl.Expr) -> pl.Expr:
    """One quantity under several names: the largest of what is given, 0 where none is."""
    return pl.max_horizontal(*fields).fill_null(0.0)


def largest_given(frame: pl.DataFrame, *paths: tuple[str, ...]) -> pl.Expr:
    """The same for fields by their paths, of which those are left out that hold nothing but 0 and NULL; NOWHERE where
    all are."""
    fields = [raw(*path) for path in paths if not _is_nothing(_values(frame, path))]
    return largest(pl.lit(0.0), *fields) if fields else NOWHERE


def split_given(frame: pl.DataFrame, *paths: tuple[str, ...]) -> pl.Expr:
    """The largest of what fields give, NULL where none is given; UNSPLIT where no row gives one."""
    fields = [raw(*path) for path in paths if _values(frame, path).null_count() < len(frame)]
    return pl.max_horizontal(*fields) if fields else UNSPLIT


def _values(frame: pl.DataFrame, path: Sequence[str]) -> pl.Series:
    values = frame[path[0]]
    for step in path[1:]:
        values = values.struct.field(step)
    return values


def _is_nothing(values: pl.Series) -> bool:
    return values.null_count() == len(values) or values.min() == values.max() == 0


def positive(amount: pl.Expr) -> pl.Expr:
    """`amount` where it is above 0, else 0 (for differences whose sign has a meaning, never to hide a bad count)."""
    return pl.max_horizontal(amount, pl.lit(0.0))


@dataclass(frozen=True)
class InclusiveInput:
    """An input count that includes its cached, cache-write, audio, image and video parts.

    `cached_audio`, `cached_image`, `cached_video` are NULL where the source does not split its cached tokens.
    """

    total: pl.Expr
    cached: pl.Expr
    written: pl.Expr
    audio: pl.Expr
    image: pl.Expr
    video: pl.Expr
    cached_audio: pl.Expr
    cached_image: pl.Expr
    cached_video: pl.Expr

    def leaves(self) -> list[pl.Expr]:
        """Disjoint leaves that sum to total − written. A negative one means that the parts exceed the whole.

        Where cached tokens are not split, they are text as far as there is text, then audio, image, video: what
        exceeds the text must be the others. Cached image and video share the price of cached text.
        """
        others = (self.audio, self.image, self.video, self.cached_audio, self.cached_image, self.cached_video)
        if all(part is NOWHERE or part is UNSPLIT for part in others):
            none = ("cache_read_audio", "input_audio", "input_image", "input_video")
            return [
                (self.total - self.cached - self.written).alias("input_uncached_tokens"),
                self.cached.alias("cache_read_tokens"),
                *(NOWHERE.alias(f"{name}_tokens") for name in none),
            ]
        excess = positive(self.cached + self.written + self.audio + self.image + self.video - self.total)
        audio = self.cached_audio.fill_null(pl.min_horizontal(self.audio, excess))
        image = self.cached_image.fill_null(pl.min_horizontal(self.image, positive(excess - audio)))
        video = self.cached_video.fill_null(pl.min_horizontal(self.video, positive(excess - audio - image)))
        fresh = self.audio - audio + self.image - image + self.video - video
        return [
            (self.total - self.cached - self.written - fresh).alias("input_uncached_tokens"),
            (self.cached - audio).alias("cache_read_tokens"),
            audio.alias("cache_read_audio_tokens"),
            (self.audio - audio).alias("input_audio_tokens"),
            (self.image - image).alias("input_image_tokens"),
            (self.video - video).alias("input_video_tokens"),
        ]


def is_used(frame: pl.DataFrame, name: str) -> bool:
    """True where any row gives the field: expressions over a field that nobody gives are not worth their time."""
    return frame[name].null_count() < len(frame)


def listed(frame: pl.DataFrame, name: str, key: str, value: str, wanted: Sequence[str]) -> pl.Expr:
    """Σ `value` over the entries of a list of objects whose `key` is one of `wanted`; NULL where there is no list.

    An entry's key may be an SDK's enum text (`MediaModality.AUDIO`): the last part counts, in any case.
    """
    if not is_used(frame, name):
        return pl.lit(None, dtype=pl.Float64)
    entries = frame.select("record_number", pl.col(name)).explode(name).unnest(name)
    word = pl.col(key).str.split(".").list.last().str.to_lowercase()
    sums = entries.filter(word.is_in(wanted)).group_by("record_number").agg(pl.col(value).sum())
    if sums.is_empty():
        return pl.when(pl.col(name).is_not_null()).then(0.0)
    joined = frame.select("record_number").join(sums, on="record_number", how="left", maintain_order="left")[value]
    return pl.when(pl.col(name).is_not_null()).then(pl.lit(joined).fill_null(0.0))
