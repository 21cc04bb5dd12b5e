"""The price book only grows: intervals never overlap, and what was believed at any instant can be asked for ever after.

What lives here: random sequences of added, corrected and superseded prices through the files of a home, against a list
of what was added when. What does not: which price bills a call (test_price_intervals.py, test_priced_once.py), the
guards of a change (tests/unit/transforms/test_price_changes.py).
3 homes of 24 changes to 6 keys: after all of them 75 books are asked for again and 7,500 moments are priced.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import polars as pl
import pytest

from pipelines.settings import Settings
from pipelines.transforms import reference_tables
from pipelines.transforms.price_book import load_price_book
from pipelines.transforms.price_changes import add_price
from pipelines.transforms.price_feeds.rows import FeedPrice, to_csv
from tests.properties.models import many_cases

START = datetime(2025, 1, 1, tzinfo=UTC)
KEYS = [(model, component) for model in ("m1", "m2", "m3") for component in ("input_uncached", "output")]
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Added:
    """A price without an end: known from `known` until `gone`, for usage from `start` on."""

    key: tuple[str, str]
    usd: int
    start: datetime
    known: datetime
    gone: datetime | None = None

    def price(self) -> FeedPrice:
        model, component = self.key
        return FeedPrice(
            provider="lab", model=model, component=component, price_usd=Decimal(self.usd), valid_from=self.start,
            source="test", recorded_at=self.known, superseded_at=self.gone, layer="curated",
        )  # fmt: skip


def believed(added: list[Added], key: tuple[str, str], moment: datetime, known_at: datetime | None) -> int | None:
    """The latest known of the prices that begin by `moment`, those of the home before shipped ones; `known_at` None: by
    all that is known today."""
    mine = [one for one in added if one.key == key and one.start <= moment]
    if known_at is None:
        mine = [one for one in mine if one.gone is None]
    else:
        mine = [one for one in mine if one.known <= known_at and (one.gone is None or one.gone > known_at)]
    own = [one for one in mine if one.known > START]
    return max(own or mine, key=lambda one: one.known).usd if mine else None


def check_book(draw: Random, book: pl.DataFrame, added: list[Added], known_at: datetime | None) -> None:
    """At every moment each layer has at most one row in force, and the best layer's is the one believed."""
    intervals = defaultdict(list)
    for row in book.to_dicts():
        span = (row["valid_from"], row["valid_to"])
        intervals[row["model"], row["component"]].append((*span, row["layer_rank"], row["price_usd"]))
    moments = [START + draw.randrange(200) * timedelta(days=1) for _ in range(10)]
    for key in KEYS:
        edges = [edge for start, end, *_ in intervals[key] for edge in (start, end) if edge is not None]
        for moment in [*moments, *edges, *(edge - MINUTE for edge in edges)]:
            in_force = [
                (layer, price)
                for start, end, layer, price in intervals[key]
                if start <= moment and (end is None or moment < end)
            ]
            assert len({layer for layer, _ in in_force}) == len(in_force), "two prices of one layer at once"
            expected = believed(added, key, moment, known_at)
            assert (min(in_force)[1] if in_force else None) == expected, (key, moment, known_at)


@many_cases(3)
def test_what_was_believed_at_any_instant_is_believed_of_it_for_ever(
    draw: Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("book")
    shipped = root / "shipped" / "model_prices"
    shipped.mkdir(parents=True)
    known = START
    wrong = [
        Added(key, draw.randint(1, 9), START + timedelta(days=draw.randrange(50)), START, START + timedelta(days=9))
        for key in draw.sample(KEYS, 3)
    ]
    (shipped / "lab.csv").write_text(to_csv(one.price() for one in wrong))
    added, books = list(wrong), []
    path = root / "home" / "reference" / "model_prices" / "local.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_tables, "SHIPPED_REFERENCE", shipped.parent)
        for _ in range(24):
            known += timedelta(days=draw.randint(1, 3))
            before = path.read_bytes() if path.exists() else b""
            one = Added(draw.choice(KEYS), draw.randint(1, 9), START + timedelta(days=draw.randrange(200)), known)
            settings = Settings(home=root / "home", fixed_now=known)
            add_price(settings, one.price(), is_reviewed=True)
            added.append(one)
            assert path.read_bytes().startswith(before)
            books.append((known, load_price_book(settings, known)))
        check_book(draw, load_price_book(settings), added, None)
        for instant, then in books:
            again = load_price_book(settings, instant)
            assert again.equals(then)
            check_book(draw, again, added, instant)
