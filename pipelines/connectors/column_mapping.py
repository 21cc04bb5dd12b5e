"""mapping.toml: how a user tells TokenMart what the columns of a foreign usage table mean.

What lives here: the words of mapping.toml, their checks, paths into JSON. What does not: reading files
(usage_files.py), conversion of values (usage_columns.py).

All tables and keys are optional; a key that is not listed here is an error.

    [columns]                                  # our column = "their column"
    started_at = "timestamp"
    input_tokens = "input_length"              # or input_uncached_tokens, cache_read_tokens, output_tokens, ...
    output_tokens = "output_length"
    feature_tag = "hash_ids.sys_prompt[0]"     # JSON lines and Parquet structs: a path; [n] counts from 0
    session_id = '"session.id"'                # a name that itself holds a dot is quoted inside the string

    [constants]                                # the same value on every row; wins over a column of the same name
    provider = "self_hosted"
    model = "llama-3-70b"                      # also account, service_tier, region, feature_tag, user_group, ...

    [tags]                                     # tag key = "their column"
    team = "team_name"

    [time]
    unit = "seconds"                           # of numbers: nanoseconds, microseconds, milliseconds, seconds, minutes,
                                               # hours or days
    origin = "2025-09-10T00:00:00Z"            # where those numbers start; the Unix epoch when absent
    format = "%d/%m/%Y %H:%M:%S"               # text that is not ISO 8601 (strftime words)
    timezone = "Europe/Berlin"                 # of text without zone; UTC when absent

    [tokens]
    input_includes_cache = true                # input_tokens counts cache reads and writes too; they are taken off
    output_excludes_reasoning = true           # reasoning_tokens stand beside output_tokens; they are added

    [csv]
    delimiter = ";"                            # guessed from the header when absent

`input_tokens` is the whole input: give it or `input_uncached_tokens`, never both. When a file has `input_tokens` and a
cache column, `input_includes_cache` must be said, because both habits exist.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipelines.connectors.base import LandedFile
from pipelines.connectors.reading.instants import UNITS
from pipelines.errors import FileRejectedError
from pipelines.quantities import CACHE_READ_LEAVES, CACHE_WRITE_LEAVES, METERS, TOKEN_COLUMNS

INPUT_TOTAL = "input_tokens"
CACHE_COLUMNS: tuple[str, ...] = tuple(f"{leaf}_tokens" for leaf in (*CACHE_READ_LEAVES, *CACHE_WRITE_LEAVES))
COUNT_COLUMNS: tuple[str, ...] = (INPUT_TOTAL, *TOKEN_COLUMNS)
TEXT_COLUMNS: tuple[str, ...] = (
    "request_id",
    "provider",
    "account",
    "model",
    "service_tier",
    "region",
    "feature_tag",
    "user_id",
    "session_id",
    "api_key_id",
    "user_group",
    "status",
)
KNOWN_COLUMNS: tuple[str, ...] = (
    "started_at",
    *TEXT_COLUMNS,
    *COUNT_COLUMNS,
    "requests",
    "tags",
    "reported_cost_usd",
    *METERS,
)
"""Columns of core__usage that a usage table may bring, and `input_tokens`."""

_CONSTANTS = tuple(name for name in TEXT_COLUMNS if name != "request_id")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "columns": KNOWN_COLUMNS,
    "constants": _CONSTANTS,
    "time": ("unit", "origin", "format", "timezone"),
    "tokens": ("input_includes_cache", "output_excludes_reasoning"),
    "csv": ("delimiter",),
}
_TABLES = (*_KEYS, "tags")

Path = tuple[str | int, ...]
"""Steps into a nested value: names and 0-based positions."""

EXAMPLE = """[columns]
started_at = "<their time column>"
input_tokens = "<their input column>"
output_tokens = "<their output column>"
[constants]
provider = "openai"
model = "gpt-4o"
"""


@dataclass(frozen=True)
class ColumnMapping:
    """A checked mapping.toml. Empty fields mean: the file already uses our names."""

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    unit: str | None = None
    origin: datetime | None = None
    time_format: str | None = None
    timezone: str | None = None
    input_includes_cache: bool | None = None
    output_excludes_reasoning: bool = False
    delimiter: str | None = None

    def wanted(self) -> dict[str, str]:
        """Our column → their name, of all columns that may be in the file; constants leave theirs out."""
        named = {name: name for name in KNOWN_COLUMNS if name not in self.constants}
        return {**named, **self.columns, **{f"tags.{key}": theirs for key, theirs in self.tags.items()}}


def read_mapping(file: LandedFile) -> ColumnMapping:
    """The mapping beside `file`, or an empty one. Raises FileRejectedError `bad_mapping` naming the key and its fix."""
    if file.mapping is None:
        return ColumnMapping()
    try:
        document = tomllib.loads(file.mapping)
    except tomllib.TOMLDecodeError as error:
        raise _bad(file, f"mapping.toml is not valid TOML: {error}", "TOML 1.0", "correct that line") from error
    _refuse_unknown(file, document, _TABLES, "a table of mapping.toml")
    for table, content in document.items():
        if not isinstance(content, dict):
            raise _bad(
                file, f"{table!r} is not a table", f"[{table}] with keys below it", f"write [{table}] on its own line"
            )
        if table in _KEYS:
            _refuse_unknown(file, content, _KEYS[table], f"a key of [{table}]")
    columns = _texts(file, document, "columns")
    constants = _texts(file, document, "constants")
    twice = sorted(set(columns) & set(constants))
    if twice:
        raise _bad(file, f"{twice[0]!r} is in [columns] and in [constants]", "one of the two", "remove one of them")
    time, tokens, csv = (document.get(table, {}) for table in ("time", "tokens", "csv"))
    return ColumnMapping(
        columns=columns,
        constants=constants,
        tags=_texts(file, document, "tags"),
        unit=_unit(file, time),
        origin=_origin(file, time),
        time_format=_text(file, time, "time", "format"),
        timezone=_timezone(file, time),
        input_includes_cache=_flag(file, tokens, "input_includes_cache"),
        output_excludes_reasoning=bool(_flag(file, tokens, "output_excludes_reasoning")),
        delimiter=_delimiter(file, csv),
    )


_STEP = re.compile(r'"([^"]+)"|\[(\d{1,6})\]|([^.\[\]"]+)')


def parse_path(text: str) -> Path:
    """`hash_ids.sys_prompt[0]` → ("hash_ids", "sys_prompt", 0). Raises ValueError for text that is no path."""
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        if steps and text[position] == ".":
            position += 1
        found = _STEP.match(text, position)
        if found is None:
            raise ValueError(f"not a path: {text!r}")
        quoted, index, name = found.groups()
        steps.append(int(index) if index is not None else quoted or name.strip())
        position = found.end()
    if not steps or not isinstance(steps[0], str):
        raise ValueError(f"not a path: {text!r}")
    return tuple(steps)


def check_columns(file: LandedFile, mapping: ColumnMapping, present: Iterable[str], found: Iterable[str]) -> None:
    """Refuse a file that cannot give usage rows. `present` are our columns that it has, `found` its own column names.

    Raises FileRejectedError `no_known_columns`, `missing_columns` or `ambiguous_input_tokens`.
    """
    have = set(present)
    theirs = ", ".join(sorted(found)[:30]) or "none"
    missing = [n for n in ("started_at", "provider", "model") if n not in have and n not in mapping.constants]
    counts = have & {*COUNT_COLUMNS, *METERS}
    if missing or not counts:
        lacking = [*missing, *([] if counts else ["a token column (input_tokens, output_tokens, ...)"])]
        raise FileRejectedError(
            f"the usage table lacks {', '.join(lacking)}",
            code="missing_columns" if have else "no_known_columns",
            where=f"{file.relative_path}; its columns: {theirs}",
            expected="started_at, provider, model and one token column, by these names or through mapping.toml",
            next_move=f"put a mapping.toml beside the file, for example:\n{EXAMPLE}",
        )
    if INPUT_TOTAL in have and "input_uncached_tokens" in have:
        raise FileRejectedError(
            "the usage table has input_tokens and input_uncached_tokens",
            code="ambiguous_input_tokens",
            where=file.relative_path,
            expected="one of the two",
            next_move="name only one of them in [columns] of mapping.toml and give the other column another name",
        )
    if INPUT_TOTAL in have and have & set(CACHE_COLUMNS) and mapping.input_includes_cache is None:
        raise FileRejectedError(
            "input_tokens may or may not include the cache columns of this file",
            code="ambiguous_input_tokens",
            where=f"{file.relative_path}; its cache columns: {', '.join(sorted(have & set(CACHE_COLUMNS)))}",
            expected="[tokens] input_includes_cache in mapping.toml",
            next_move="write input_includes_cache = true (OpenAI's way) or false (Anthropic's way) under [tokens]",
        )


def _bad(file: LandedFile, what: str, expected: str, next_move: str) -> FileRejectedError:
    where = f"mapping.toml of {file.relative_path}"
    return FileRejectedError(what, code="bad_mapping", where=where, expected=expected, next_move=next_move)


def _refuse_unknown(file: LandedFile, content: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "remove it"
            raise _bad(file, f"{key!r} is not {what}", f"one of: {', '.join(known)}", hint)


def _texts(file: LandedFile, document: Mapping[str, Any], table: str) -> dict[str, str]:
    content = document.get(table, {})
    for key in content:
        _text(file, content, table, key)
    return {key: str(value) for key, value in content.items()}


def _text(file: LandedFile, content: Mapping[str, Any], table: str, key: str) -> str | None:
    value = content.get(key)
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise _bad(file, f"[{table}] {key} is not a text", 'a text in quotes, such as "abc"', "put the value in quotes")
    return value


def _flag(file: LandedFile, content: Mapping[str, Any], key: str) -> bool | None:
    value = content.get(key)
    if value is not None and not isinstance(value, bool):
        raise _bad(file, f"[tokens] {key} is not a truth value", "true or false", "write true or false without quotes")
    return value


def _unit(file: LandedFile, time: Mapping[str, Any]) -> str | None:
    unit = time.get("unit")
    if unit is not None and unit not in UNITS:
        raise _bad(file, "[time] unit is not a known unit", f"one of: {', '.join(UNITS)}", "use the full plural word")
    return unit


def _origin(file: LandedFile, time: Mapping[str, Any]) -> datetime | None:
    origin = time.get("origin")
    if isinstance(origin, str):
        try:
            origin = datetime.fromisoformat(origin)
        except ValueError:
            origin = ""
    if origin is not None and not isinstance(origin, datetime):
        raise _bad(file, "[time] origin is not an instant", 'such as "2025-09-10T00:00:00Z"', "write it in ISO 8601")
    if origin is not None and "unit" not in time:
        raise _bad(
            file, "[time] origin needs a unit", f"unit, one of: {', '.join(UNITS)}", "say in which unit time counts"
        )
    if origin is not None and origin.tzinfo is None:
        origin = origin.replace(tzinfo=UTC)
    return origin


def _timezone(file: LandedFile, time: Mapping[str, Any]) -> str | None:
    name = _text(file, time, "time", "timezone")
    if name is not None and name not in zoneinfo.available_timezones():
        raise _bad(
            file, "[time] timezone is not a known zone", 'an IANA name such as "Europe/Berlin"', "correct the name"
        )
    return name


def _delimiter(file: LandedFile, csv: Mapping[str, Any]) -> str | None:
    delimiter = csv.get("delimiter")
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n'):
        raise _bad(
            file, "[csv] delimiter is not one character", 'such as ";" or "\\t"', "write one character in quotes"
        )
    return delimiter
