"""Strict CSV: text first, then values, and an error that names file, line and column.

What lives here: reading a CSV as text, casting one column, globs as regular expressions. What does not: which tables or
columns there are (reference_tables.py). Nothing is inferred and nothing is rounded.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl

from pipelines.errors import ReferenceTableError
from pipelines.quantities import parse_decimal


@dataclass(frozen=True)
class TextTable:
    """CSVs as text: column → cells (NULL for an empty cell or an absent column), and each row's file and line."""

    columns: dict[str, pl.Series]
    places: pl.Series

    @classmethod
    def of_all(cls, tables: Sequence[TextTable]) -> TextTable:
        """The rows of several tables with the same columns; at least one is given."""
        columns = {name: pl.concat([table.columns[name] for table in tables]) for name in tables[0].columns}
        return cls(columns, pl.concat([table.places for table in tables]))


def read_text_table(path: Path, known: Iterable[str], *, label: str) -> TextTable:
    """The rows of a UTF-8 CSV with a header, as text. BOM and CRLF are fine, blank lines are skipped.

    Absent columns and absent trailing cells are NULL. Raises ReferenceTableError for a file without header, an unknown
    or repeated column, a row with more cells than the header, an unclosed quote, or bytes that are no UTF-8.
    """
    names = list(known)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReferenceTableError(
            "the file is not UTF-8",
            where=f"{label}, byte {error.start}",
            expected="CSV in UTF-8",
            next_move="save it again as UTF-8",
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, names, label)
        width = len(header)
        first_line = reader.line_num + 1
        for row in reader:
            line, first_line = first_line, reader.line_num + 1
            if len(row) != width:
                if not "".join(row).strip():
                    continue
                if len(row) > width:
                    raise ReferenceTableError(
                        f"{len(row)} cells under {width} columns",
                        where=f"{label}, line {line}",
                        expected=", ".join(header),
                        next_move="put text that holds commas into double quotes",
                    )
                row.extend([""] * (width - len(row)))
            rows.append(row)
            lines.append(line)
    except csv.Error as error:
        raise ReferenceTableError(
            f"the CSV cannot be read: {error}",
            where=f"{label}, line {reader.line_num}",
            expected="comma-separated cells, double quotes closed",
            next_move="correct the quotes",
        ) from None
    cells = pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row")
    cells = cells.with_columns(pl.all().str.strip_chars()).with_columns(pl.when(pl.all() != "").then(pl.all()))
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name in names if name not in header]
    numbers = pl.Series("", lines, dtype=pl.Int64)
    told = cells.with_columns(*absent, pl.format("{}, line {}", pl.lit(label), numbers).alias("")).filter(
        ~pl.all_horizontal(pl.col(header).is_null())
    )
    return TextTable({name: told[name] for name in names}, told[""])


def _check_header(header: Sequence[str], known: Sequence[str], label: str) -> None:
    unknown = [name for name in header if name not in known]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if not header or unknown or repeated:
        what = (
            f"unknown column {unknown[0]!r}"
            if unknown
            else (f"column {repeated[0]!r} stands twice" if repeated else "the file has no header")
        )
        raise ReferenceTableError(
            what,
            where=f"{label}, line 1",
            expected="columns among " + ", ".join(known),
            next_move="rename or delete the column",
        )


def typed_column(name: str, cells: pl.Series, dtype: pl.DataType, places: pl.Series) -> pl.Series:
    """Text cells as a column of `dtype`; NULL stays NULL. Each distinct text is cast once.

    Raises ReferenceTableError with the place of the first cell that is no such value, or has more decimals than fit.
    """
    if dtype == pl.String:
        return cells.alias(name)
    cast, expected = _cast(dtype)
    texts = cells.drop_nulls().unique(maintain_order=True)
    values = []
    for text in texts:
        try:
            values.append(cast(text))
        except ValueError:
            raise ReferenceTableError(
                f"{name} = {text!r} is not usable",
                where=f"{places[(cells == text).arg_max() or 0]}, column {name}",
                expected=expected,
                next_move="correct the cell",
            ) from None
    if not values:
        return pl.Series(name, [None] * len(cells), dtype=dtype)
    number = cells.replace_strict(texts, pl.int_range(len(texts), dtype=pl.UInt32, eager=True), default=None)
    return pl.Series(name, values, dtype=dtype).gather(number)


def with_default(cells: pl.Series, default: str | None) -> pl.Series:
    """The cells with a text for those that are empty."""
    return cells if default is None else cells.fill_null(default)


def _cast(dtype: pl.DataType) -> tuple[Callable[[str], object], str]:
    if isinstance(dtype, pl.Decimal):
        return _decimal(dtype), f"a plain decimal number with at most {dtype.scale} decimals"
    casts: dict[type[pl.DataType], tuple[Callable[[str], object], str]] = {
        pl.Int64: (_whole, "a whole number"),
        pl.Boolean: (_boolean, "true or false"),
        pl.Date: (_day, "a day such as 2026-11-01"),
        pl.Datetime: (instant, "a day such as 2026-11-01 or a UTC instant such as 2026-11-01T16:00:00Z"),
    }
    return casts[dtype.base_type()]


def _decimal(dtype: pl.Decimal) -> Callable[[str], Decimal]:
    limit = Decimal(10) ** ((dtype.precision or 38) - dtype.scale)

    def cast(text: str) -> Decimal:
        value = parse_decimal(text)
        digits = "".join(str(digit) for digit in value.as_tuple().digits)
        decimals = -int(value.as_tuple().exponent) - (len(digits) - len(digits.rstrip("0")))
        if abs(value) >= limit or (value and decimals > dtype.scale):
            raise ValueError(text)
        return value

    return cast


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def _boolean(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _day(text: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(text)
    return date.fromisoformat(text)


def instant(text: str) -> datetime:
    """A day (its UTC midnight) or an ISO 8601 instant with a zone, as UTC. Raises ValueError for anything else."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment.astimezone(UTC)


def glob_regex(glob: str) -> str:
    """A case-sensitive glob (`*`, `?`, `[a-z]`, `[!a-z]`) as an anchored expression for Rust's regex and RE2.

    Same meaning as Python's fnmatchcase over the whole value; a `[` that is never closed is itself.
    """
    out = []
    at = 0
    while at < len(glob):
        char = glob[at]
        at += 1
        if char == "*":
            out.append(".*")
        elif char == "?":
            out.append(".")
        elif char == "[":
            close = glob.find("]", at + (2 if glob[at : at + 1] == "!" else 1))
            if close < 0:
                out.append(r"\[")
                continue
            body = glob[at:close]
            at = close + 1
            negated = body.startswith("!")
            inside = re.sub(r"([\\\[\]&~^])", r"\\\1", body[1:] if negated else body)
            out.append(f"[{'^' if negated else ''}{inside}]")
        else:
            out.append(re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", char))
    return f"^(?s:{''.join(out)})$"
