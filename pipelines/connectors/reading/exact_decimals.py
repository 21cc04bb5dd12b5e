"""Amounts and quantities as exact decimals: text columns at once, single values one by one, one rule for both.

What lives here: text → Decimal with a fixed number of places. What does not: currencies, units, which column holds
money. The rule: digits beyond the last place are rounded half to even; what is no plain decimal (empty, NaN,
thousands separators, a currency sign) or too large for 38 digits is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation, Overflow

import polars as pl

from pipelines.quantities import parse_decimal

WHOLE_DIGITS = 25
"""Digits before the point that every amount may have; a 26th leaves no room for sums in DECIMAL(38,12)."""

_CONTEXT = Context(prec=200, rounding=ROUND_HALF_EVEN)
# [0-9], for \d is every script's digits here.
_PLAIN = r"^([+-]?)0*([0-9]*)\.?([0-9]*)$"
_LEGAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$"
_EXPONENT = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]{1,3}$"


def rounded_decimal(value: Decimal, places: int, *, shift: int = 0) -> Decimal:
    """`value` × 10^shift at `places` digits, half to even. Raises ValueError when it is no finite number or too
    large."""
    try:
        rounded = value.scaleb(shift, _CONTEXT).quantize(Decimal(1).scaleb(-places), context=_CONTEXT)
    except (InvalidOperation, Overflow) as error:
        raise ValueError("not a finite number of usual size") from error
    if not rounded.is_finite() or abs(rounded) >= Decimal(10) ** WHOLE_DIGITS:
        raise ValueError("not a finite number of usual size")
    return rounded


def exact_decimals(texts: pl.Series, places: int) -> pl.Series:
    """A text column as Decimal(38, places); NULL where the text is NULL or refused (compare the NULLs to tell which).

    Blanks around the number are ignored. Exponents are read too: floats write themselves so.
    """
    frame = pl.DataFrame({"text": texts.str.strip_chars()})
    text, dtype = pl.col("text"), pl.Decimal(38, places)
    is_short = frame.select(text.str.contains(rf"^-?[0-9]{{1,{WHOLE_DIGITS}}}(\.[0-9]{{1,{places}}})?$").all())
    if is_short.item():
        return frame.select(text.cast(dtype).alias("number"))["number"]
    is_plain = text.str.contains(_LEGAL)
    whole, fraction = text.str.extract(_PLAIN, 2), text.str.extract(_PLAIN, 3)
    kept = fraction.str.pad_end(places, "0").str.slice(0, places)
    rest = fraction.str.slice(places).str.strip_chars_end("0")
    is_odd = kept.str.slice(-1).is_in(["1", "3", "5", "7", "9"])
    goes_up = (rest > "5") | ((rest == "5") & is_odd)
    step = pl.lit(Decimal(1).scaleb(-places), dtype=dtype)
    down = pl.concat_str(pl.lit("0"), whole, pl.lit("."), kept).cast(dtype, strict=False)
    magnitude = pl.when(goes_up).then(down + step).otherwise(down)
    signed = pl.when(text.str.starts_with("-")).then(-magnitude).otherwise(magnitude)
    limit = pl.lit(Decimal(10) ** WHOLE_DIGITS, dtype=dtype)
    fits = is_plain & (whole.str.len_bytes() <= WHOLE_DIGITS) & (magnitude < limit)
    plain = frame.select(
        pl.when(fits).then(signed).alias("number"),
        (~is_plain & text.str.contains(_EXPONENT)).alias("has_exponent"),
        text,
    )
    if not plain["has_exponent"].any():
        return plain["number"]
    known = _by_value(plain.filter("has_exponent")["text"].unique(), places)
    joined = plain.join(known, on="text", how="left", maintain_order="left")
    return joined.select(pl.coalesce("number", "by_value"))["number"]


def _by_value(texts: Iterable[str], places: int) -> pl.DataFrame:
    found: dict[str, Decimal] = {}
    for text in texts:
        try:
            found[text] = rounded_decimal(parse_decimal(text), places)
        except ValueError:
            continue
    return pl.DataFrame(
        {"text": list(found), "by_value": list(found.values())},
        schema={"text": pl.String, "by_value": pl.Decimal(38, places)},
    )
