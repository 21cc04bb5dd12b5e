"""Pages of buckets, as the usage and cost APIs of OpenAI and Anthropic give them: results with time, account and
coverage.

What lives here: pages → numbered results, the account rule, which buckets a file covers, exact numbers out of JSON.
What does not: fields and prices of one provider (its own connector), JSON itself (strict_documents.py).

`limit` of these APIs counts buckets, never results: a page with `has_more` holds whole buckets, so the last bucket
of a page is as complete as the others, even where the next page never came; the days of the next page are then
missing, which is not the same as zero. A first bucket that the API clipped to the asked start covers what its own
edges say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipelines.connectors.base import BUCKET_SCHEMA, REJECT_SCHEMA, Batch, LandedFile
from pipelines.connectors.reading.exact_decimals import rounded_decimal
from pipelines.connectors.reading.strict_documents import read_json_documents
from pipelines.contracts.fields import DEFAULT_ACCOUNT, UNSPECIFIED_REGION
from pipelines.errors import FileRejectedError
from pipelines.quantities import parse_decimal

ANY = "*"
"""Account or model of an export that was not grouped by it."""

RESULT_LISTS = ("results", "result")
"""Where a bucket keeps its results; old specifications wrote `result`."""

MAX_COUNT = 2**63 - 1
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_CURRENCY = re.compile(r"[A-Z]{3}\Z")


class UnreadableResultError(Exception):
    """One result cannot be a row. `code` is the quarantine's reason; `column` the field to blame."""

    def __init__(self, code: str, column: str | None = None, rule: str | None = None) -> None:
        self.code = code
        self.column = column
        self.rule = rule
        super().__init__(code)


@dataclass(frozen=True)
class Bucket:
    """One bucket of one page: `start`/`end` NULL where unreadable, `kind` NULL where nothing tells the endpoint."""

    start: datetime | None
    end: datetime | None
    kind: str | None


@dataclass(frozen=True)
class Result:
    """One result. `fields` is its JSON object; `account` follows the account rule; `record_number` counts from 1."""

    record_number: int
    fields: Mapping[str, Any]
    bucket: Bucket
    account: str


@dataclass(frozen=True)
class Refusal:
    """One result that is no row. `spoils` says that its bucket's sum is now unknown for `account` (`*` for all)."""

    record_number: int
    fault: UnreadableResultError
    bucket: Bucket
    account: str
    spoils: bool = True


@dataclass
class Page:
    """Everything a file holds: readable results in document order, buckets, and results that are already refused."""

    results: list[Result] = field(default_factory=list)
    buckets: list[Bucket] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


RowMaker = Callable[[Result, datetime, datetime], Iterable[Mapping[str, object]]]
"""Rows of one result, given its bucket's start and end. Raises UnreadableResultError."""


def read_page(
    file: LandedFile,
    *,
    times: tuple[str, str],
    account_field: str,
    kind_of: Callable[[Mapping[str, Any]], str | None],
    measures: Collection[str],
) -> Page:
    """All results of a file's pages.

    `times` names a bucket's start and end (Unix seconds or ISO 8601), `account_field` the result's account,
    `kind_of` tells the endpoint from a result, `measures` are the fields that are not dimensions. Where a file holds
    the same bucket and dimensions again (an appended re-fetch), the last one counts and the earlier is refused as
    `superseded_in_file`. Raises FileRejectedError `unknown_document` when a page is no page.
    """
    raw: list[tuple[int, Any, int]] = []
    spans: list[tuple[datetime | None, datetime | None]] = []
    kinds: list[str | None] = []
    for number, document in enumerate(read_json_documents(file), start=1):
        items = _list(document, ("data",), file, f"page {number}")
        page_kinds: set[str] = set()
        first = len(spans)
        for bucket in items:
            results = _list(bucket, RESULT_LISTS, file, f"a bucket of page {number}")
            spans.append((_instant(bucket.get(times[0])), _instant(bucket.get(times[1]))))
            for result in results:
                raw.append((len(raw) + 1, result, len(spans) - 1))
                kind = kind_of(result) if isinstance(result, dict) else None
                page_kinds |= {kind} if kind else set()
        kinds.extend([page_kinds.pop() if len(page_kinds) == 1 else None] * (len(spans) - first))
    only = {kind for kind in kinds if kind}
    shared = only.pop() if len(only) == 1 else None
    buckets = [Bucket(*span, kind or shared) for span, kind in zip(spans, kinds, strict=True)]
    return _assemble(file, raw, buckets, account_field, kind_of, measures)


def to_batch(
    page: Page, make_rows: RowMaker, *, provider: str, unknown_kind: str
) -> tuple[list[dict[str, object]], Batch]:
    """Rows of all results, and a Batch that holds the rejects and the covered buckets (for the caller to add the
    rows to).

    A bucket is covered once per account of the file, empty ones included; it is not complete for an account where
    one of its results was refused: an unreadable line must not become a smaller bill. `unknown_kind` names buckets
    of a file that nowhere says which endpoint it is.
    """
    rows: list[dict[str, object]] = []
    refused = list(page.refused)
    for result in page.results:
        try:
            start, end = result.bucket.start, result.bucket.end
            if start is None or end is None or not start < end:
                raise UnreadableResultError("bad_timestamp", "bucket_start")
            made = [{**row, "record_number": result.record_number} for row in make_rows(result, start, end)]
        except UnreadableResultError as fault:
            refused.append(Refusal(result.record_number, fault, result.bucket, result.account))
        else:
            rows.extend(made)
    covered = _coverage(page, {(one.bucket, one.account) for one in refused if one.spoils}, unknown_kind)
    buckets = pl.DataFrame(
        [(provider, *key, complete) for key, complete in covered.items()],
        schema={name: BUCKET_SCHEMA[name] for name in _BUCKET_COLUMNS},
        orient="row",
    )
    rejected = pl.DataFrame(
        [(one.record_number, 0, one.fault.code, one.fault.column, one.fault.rule) for one in refused],
        schema=dict(REJECT_SCHEMA),
        orient="row",
    )
    return rows, Batch(
        fetched_buckets=buckets.select(list(BUCKET_SCHEMA)), rejected=[rejected] if len(rejected) else []
    )


def _coverage(
    page: Page, spoiled: Collection[tuple[Bucket, str]], unknown_kind: str
) -> dict[tuple[str, str, datetime, datetime], bool]:
    covered: dict[tuple[str, str, datetime, datetime], bool] = {}
    for bucket in page.buckets:
        if bucket.start is None or bucket.end is None or not bucket.start < bucket.end:
            continue
        for account in page.accounts:
            key = (account, bucket.kind or unknown_kind, bucket.start, bucket.end)
            whole = (bucket, account) not in spoiled and (bucket, ANY) not in spoiled
            covered[key] = covered.get(key, True) and whole
    return covered


_BUCKET_COLUMNS = ("provider", "account", "result_kind", "bucket_start", "bucket_end", "is_complete")


def count_of(fields: Mapping[str, Any], name: str) -> int | None:
    """A count that may be absent: NULL stays None. Raises UnreadableResultError `bad_token_count` for anything else
    than a whole number below 2^63; a negative one is left for the contract to name."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, Decimal) and value.is_finite() and -MAX_COUNT <= value <= MAX_COUNT and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_COUNT:
        raise UnreadableResultError("bad_token_count", name)
    return value


def text_of(fields: Mapping[str, Any], name: str) -> str | None:
    """A text that may be absent; empty text is None. Raises UnreadableResultError `type_error` for other types."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise UnreadableResultError("type_error", name)
    return value.strip() or None


def exact_amount(value: object, column: str, *, shift: int = 0, places: int = 12) -> Decimal:
    """A JSON number or decimal string × 10^shift (−2 for cents), at `places` digits, half to even beyond them.

    Raises UnreadableResultError `bad_amount` for NULL, other types, text that is no decimal, or more digits than fit.
    """
    try:
        if isinstance(value, str):
            return rounded_decimal(parse_decimal(value), places, shift=shift)
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return rounded_decimal(Decimal(value), places, shift=shift)
    except ValueError as error:
        raise UnreadableResultError("bad_amount", column) from error
    raise UnreadableResultError("bad_amount", column)


def currency_of(value: object, column: str) -> str:
    """An ISO 4217 code in capitals. Raises UnreadableResultError `bad_currency`."""
    code = value.strip().upper() if isinstance(value, str) else ""
    if not _CURRENCY.match(code):
        raise UnreadableResultError("bad_currency", column)
    return code


def region_of(geo: str | None) -> str | None:
    """Region of an `inference_geo`: `us` bills a premium; `global` and `not_available` are no region; NULL stays
    NULL."""
    if geo is None:
        return None
    return UNSPECIFIED_REGION if geo.lower() in ("global", "not_available") else geo.lower()


def _list(value: Any, names: Sequence[str], file: LandedFile, place: str) -> list[Any]:
    found = next((value[name] for name in names if name in value), None) if isinstance(value, dict) else None
    if isinstance(found, list) and (names[0] != "data" or all(isinstance(item, dict) for item in found)):
        return found
    raise FileRejectedError(
        f"{place} has no list {names[0]!r}",
        code="unknown_document",
        where=f"{file.relative_path}, {place}",
        expected='pages {"data": [{… "results": […]}], "has_more": …} as the API gives them',
        next_move="check that the file lies in the landing folder of its source and is a 200 response",
    )


def _instant(value: object) -> datetime | None:
    try:
        if isinstance(value, bool):
            return None
        if isinstance(value, int):
            instant = datetime.fromtimestamp(value, tz=UTC)
        elif isinstance(value, str):
            instant = datetime.fromisoformat(value.strip())
            instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return instant if instant >= _EARLIEST else None


def _assemble(
    file: LandedFile,
    raw: list[tuple[int, Any, int]],
    buckets: list[Bucket],
    account_field: str,
    kind_of: Callable[[Mapping[str, Any]], str | None],
    measures: Collection[str],
) -> Page:
    given = [result.get(account_field) for _, result, _ in raw if isinstance(result, dict)]
    whole = file.account if file.account != DEFAULT_ACCOUNT else ANY
    grouped = any(isinstance(account, str) and account for account in given)
    page = Page(buckets=buckets)
    last: dict[object, int] = {}
    keys: list[object] = []
    for _, result, place in raw:
        key: object = None
        if isinstance(result, dict):
            dimensions = tuple(sorted((n, repr(v)) for n, v in result.items() if n not in measures))
            key = (kind_of(result), buckets[place].start, buckets[place].end, dimensions)
            last[key] = place
        keys.append(key)
    for (number, result, place), key in zip(raw, keys, strict=True):
        account = whole
        fault: UnreadableResultError | None = None
        if not isinstance(result, dict):
            fault = UnreadableResultError("type_error", "results")
        else:
            named = result.get(account_field)
            if named is not None and not isinstance(named, str):
                fault = UnreadableResultError("type_error", account_field)
            elif grouped:
                account = named or DEFAULT_ACCOUNT
            if fault is None and last[key] != place:
                fault = UnreadableResultError("superseded_in_file")
        if fault is None:
            page.results.append(Result(number, result, buckets[place], account))
        else:
            replaced = fault.code == "superseded_in_file"
            page.refused.append(Refusal(number, fault, buckets[place], ANY, spoils=not replaced))
    page.accounts = sorted({result.account for result in page.results}) or [whole]
    return page
