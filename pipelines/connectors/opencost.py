"""OpenCost and Kubecost allocations as files: what a cluster's price list says that a deployment cost.

What lives here: `GET /allocation/compute` answers → dollars per window. What does not: spreading a window over hours
(transforms/infrastructure_hours.py), whether they replace a rate (infrastructure_tables.py).

A record is one allocation. `totalCost` already holds its parts, adjustments, shared and external cost: network, load
balancer and volumes (with their adjustments) are network and storage, all the rest of `totalCost` is hardware. Absent,
null or NaN parts are nothing; without `totalCost` the parts are added. The file's first sub-folder is the deployment,
else the allocation's own name. `__idle__` is there only where the query asked for it, and like `__unallocated__`,
`__unmounted__` and `__shared__` it stays under its own name: it is nobody's. Sets may come newest first; `start` and
`end` of the allocation count, not those of the window.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipelines.connectors.base import INFRASTRUCTURE_SCHEMA, REJECT_SCHEMA, Batch, LandedFile, MergeRule, Role
from pipelines.connectors.reading.exact_decimals import rounded_decimal
from pipelines.connectors.reading.strict_documents import MAX_DOCUMENT_BYTES, refuse_half_characters
from pipelines.contracts.fields import DEFAULT_ACCOUNT
from pipelines.errors import FileRejectedError

RESERVED_NAMES = ("__idle__", "__unallocated__", "__unmounted__", "__shared__")
_NETWORK_STORAGE = ("network", "loadBalancer", "pv")
_MACHINES = ("cpu", "ram", "gpu")
_ROUNDING = Decimal("0.0001")
"""The API rounds every amount to five or six decimals, so parts can exceed their sum by a hair."""


class _RefusedError(Exception):
    def __init__(self, code: str, column: str) -> None:
        self.code = code
        self.column = column
        super().__init__(code)


class OpenCost:
    """Connector `opencost`: two rows per allocation, hardware and network with storage."""

    source = "opencost"
    role: Role = "infrastructure"
    merge = MergeRule()

    def count_records(self, file: LandedFile) -> int:
        """Allocations in the file: keys of all sets."""
        return sum(len(one) for one in _document(file).get("data") or [] if isinstance(one, dict))

    def read(self, file: LandedFile) -> Iterator[Batch]:
        """One batch. Raises FileRejectedError `malformed_json`, `too_large`, `query_failed` or `unknown_document`."""
        document = _document(file)
        sets = document.get("data")
        if document.get("code", 200) != 200 or document.get("status", "success") != "success":
            raise _rejection(file, "query_failed", "the query failed and gave no data", "run the query again")
        if not isinstance(sets, list) or not all(one is None or isinstance(one, dict) for one in sets):
            raise _rejection(
                file, "unknown_document", "the JSON is no allocation answer", "export /allocation/compute as it comes"
            )
        rows: list[dict[str, object]] = []
        refused: list[tuple[int, int, str, str, None]] = []
        records = [(key, one) for step in sets if step for key, one in step.items()]
        for number, (key, allocation) in enumerate(records, start=1):
            try:
                rows.extend({**row, "record_number": number} for row in _rows(key, allocation, file.account))
            except _RefusedError as fault:
                refused.append((number, 0, fault.code, fault.column, None))
        rejected = pl.DataFrame(refused, schema=dict(REJECT_SCHEMA), orient="row")
        yield Batch(
            infrastructure=pl.DataFrame(rows, schema=INFRASTRUCTURE_SCHEMA),
            rejected=[rejected] if len(rejected) else [],
        )


def _document(file: LandedFile) -> dict[str, Any]:
    if file.path.stat().st_size > MAX_DOCUMENT_BYTES:
        raise _rejection(file, "too_large", "the JSON file is too large to be read whole", "fetch shorter ranges")
    try:
        text = file.path.read_bytes().decode("utf-8-sig")
        document = json.loads(text, parse_float=Decimal, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise _rejection(file, "malformed_json", "the file is not JSON", "fetch the export again") from None
    refuse_half_characters(file, text, document)
    if not isinstance(document, dict):
        raise _rejection(
            file, "unknown_document", "the JSON is no allocation answer", "export /allocation/compute as it comes"
        )
    return document


def _rejection(file: LandedFile, code: str, what: str, next_move: str) -> FileRejectedError:
    return FileRejectedError(
        what,
        code=code,
        where=file.relative_path,
        expected='{"code": 200, "data": [{"<name>": {"start", "end", "totalCost", …}}]}',
        next_move=next_move,
    )


def _rows(key: str, allocation: Any, folder: str) -> list[dict[str, object]]:
    if not isinstance(allocation, dict):
        raise _RefusedError("type_error", "data")
    start, end = _instant(allocation, "start"), _instant(allocation, "end")
    if start >= end:
        raise _RefusedError("empty_window", "end")
    storage = sum((_cost(allocation, name) for name in _NETWORK_STORAGE), Decimal(0))
    total = _number(allocation, "totalCost")
    if total is None:
        known = [f"{part}Cost" for part in (*_MACHINES, *_NETWORK_STORAGE)]
        if all(allocation.get(name) is None for name in known):
            raise _RefusedError("missing_cost", "totalCost")
        others = ("sharedCost", "externalCost")
        machines = sum((_cost(allocation, name) for name in _MACHINES), Decimal(0))
        total = machines + storage + sum((_number(allocation, name) or Decimal(0) for name in others), Decimal(0))
    if total < storage <= total + _ROUNDING:
        storage = total
    name = key if key in RESERVED_NAMES or folder == DEFAULT_ACCOUNT else folder
    shared = {
        "deployment": name,
        "series": hashlib.sha256(key.encode()).hexdigest()[:16],
        "sampled_at": start,
        "valid_until": end,
        "longest_gap_seconds": max(1, int((end - start).total_seconds())),
        "is_partial": False,
    }
    return [
        {**shared, "measure": "opencost_hardware_usd", "measured_quantity": total - storage},
        {**shared, "measure": "opencost_network_storage_usd", "measured_quantity": storage},
    ]


def _cost(allocation: Mapping[str, Any], part: str) -> Decimal:
    """A part with its adjustment, which comes from the cloud's own bill days later."""
    return (_number(allocation, f"{part}Cost") or Decimal(0)) + (
        _number(allocation, f"{part}CostAdjustment") or Decimal(0)
    )


def _number(allocation: Mapping[str, Any], name: str) -> Decimal | None:
    value = allocation.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise _RefusedError("bad_amount", name)
    try:
        return rounded_decimal(Decimal(value), 12)
    except ValueError as error:
        raise _RefusedError("bad_amount", name) from error


def _instant(allocation: Mapping[str, Any], name: str) -> datetime:
    value = allocation.get(name)
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise _RefusedError("bad_timestamp", name)
    return instant.astimezone(UTC)


CONNECTOR = OpenCost()
