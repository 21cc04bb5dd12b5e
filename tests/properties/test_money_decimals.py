"""Decimals of money files, whatever digits they have: whole columns equal single values, and nothing is a float."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.connectors.base import LandedFile
from pipelines.connectors.openai_usage import completion_leaves
from pipelines.connectors.reading.exact_decimals import WHOLE_DIGITS, exact_decimals
from pipelines.connectors.reading.meter_words import meter_meaning
from pipelines.connectors.reading.provider_buckets import UnreadableResultError, exact_amount
from pipelines.connectors.reading.strict_documents import count_csv_records, read_csv_chunks
from pipelines.quantities import LEAVES

DIGITS = st.text("0123456789", max_size=30)
NUMBERS = st.builds(
    lambda sign, whole, dot, fraction, exponent: sign + whole + dot + fraction + exponent,
    st.sampled_from(["", "-", "+"]),
    DIGITS,
    st.sampled_from(["", "."]),
    st.text("0459", max_size=20),
    st.sampled_from(["", "", "", "e-7", "E+3", "e-400", "e999"]),
)
ANYTHING = st.one_of(NUMBERS, st.text(max_size=12), st.floats().map(repr), st.sampled_from(["nan", "1,5", "٣", "1_0"]))


def exactly(text: str, places: int) -> Decimal | None:
    """The rule, written the slow way: ASCII digits, at most 25 before the point after rounding half to even."""
    stripped = text.strip(" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0")
    if not stripped.isascii() or not stripped or set(stripped) - set("0123456789.eE+-"):
        return None
    try:
        value = Decimal(stripped)
    except ArithmeticError:
        return None
    if value and value.adjusted() > WHOLE_DIGITS:
        return None
    rounded = value.quantize(Decimal(1).scaleb(-places), context=Context(prec=500, rounding=ROUND_HALF_EVEN))
    return rounded if abs(rounded) < 10**WHOLE_DIGITS else None


@given(st.lists(ANYTHING, max_size=8), st.sampled_from([9, 12]))
def test_a_column_of_texts_is_cast_like_each_text_alone(texts: list[str], places: int) -> None:
    cast = exact_decimals(pl.Series(texts, dtype=pl.String), places)
    assert cast.dtype == pl.Decimal(38, places)
    assert cast.to_list() == [exactly(text, places) for text in texts]


@given(NUMBERS)
def test_a_single_amount_follows_the_same_rule(text: str) -> None:
    expected = exactly(text, 12)
    if expected is None:
        with pytest.raises(UnreadableResultError, match="bad_amount"):
            exact_amount(text, "amount")
    else:
        assert exact_amount(text, "amount") == expected


@given(st.integers(-(10**16), 10**16))
def test_cents_times_a_hundred_are_the_dollars_again(cents: int) -> None:
    assert exact_amount(str(cents), "amount", shift=-2) * 100 == cents


@given(st.decimals(-(10**9), 10**9, places=12))
def test_a_json_number_keeps_its_digits(amount: Decimal) -> None:
    text = f'{{"value": {amount:f}}}'
    assert exact_amount(json.loads(text, parse_float=Decimal)["value"], "value") == amount


counts = st.integers(0, 10**12)


@given(
    st.tuples(counts, counts, counts),
    st.tuples(counts, counts, counts),
    st.tuples(counts, counts, counts),
    st.tuples(counts, counts),
    st.sets(st.sampled_from(["input_uncached_tokens", "input_cached_tokens", "input_cache_write_tokens"]), max_size=1),
)
def test_leaves_of_openai_sum_to_its_totals_whichever_part_is_absent(
    uncached: tuple[int, int, int],
    cached: tuple[int, int, int],
    output: tuple[int, int, int],
    written: tuple[int, int],
    absent: set[str],
) -> None:
    kinds = ("text", "audio", "image")
    fields: dict[str, int] = {
        "input_tokens": sum(uncached) + sum(cached) + sum(written),
        "input_uncached_tokens": sum(uncached),
        "input_cached_tokens": sum(cached),
        "input_cache_write_tokens": sum(written),
        "input_cache_write_30m_tokens": written[0],
        "output_tokens": sum(output),
    }
    for prefix, parts in (("input", uncached), ("input_cached", cached), ("output", output)):
        fields |= {f"{prefix}_{kind}_tokens": part for kind, part in zip(kinds, parts, strict=True)}
    given_fields = {name: value for name, value in fields.items() if name not in absent}
    if absent == {"input_cache_write_tokens"}:
        given_fields["input_cache_write_12h_tokens"] = written[1]
    leaves = completion_leaves(given_fields)
    assert sum(leaves.values()) == fields["input_tokens"] + fields["output_tokens"]
    assert (leaves["input_uncached_tokens"], leaves["input_audio_tokens"], leaves["input_image_tokens"]) == uncached
    assert min(leaves.values()) >= 0


@given(st.text(max_size=80))
def test_no_meter_name_is_too_strange(text: str) -> None:
    assert meter_meaning(text).component in (None, *LEAVES)


FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@given(rows=st.lists(st.tuples(FIELDS, FIELDS), max_size=12), ending=st.sampled_from(["\n", "\r\n"]))
def test_csv_records_are_the_same_for_reader_and_counter(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], ending: str
) -> None:
    quoted = [[field.replace('"', '""') for field in row] for row in rows]
    text = ending.join(["a,b", *(f'"{one}","{two}"' for one, two in quoted)])
    path: Path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_bytes(text.encode())
    file = LandedFile("focus", path, "focus/x.csv", "0123456789abcdef")
    chunks = list(read_csv_chunks(file, chunk_rows=5))
    found = [row for chunk in chunks for row in chunk.frame.select("a", "b").rows()]
    assert [tuple(field or "" for field in row) for row in found] == rows
    assert count_csv_records(file) == len(rows)
