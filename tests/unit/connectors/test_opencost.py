"""The opencost connector: windows of cost, parts that are in the total already, and names that are nobody's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors.opencost import CONNECTOR
from pipelines.errors import FileRejectedError
from tests.unit.connectors.machine_reading import MachineReading, read_machines
from tests.unit.connectors.money_reading import land_bytes

WINDOW = {"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"}


def allocation(name: str = "chat", **costs: Any) -> dict[str, Any]:
    return {name: {"name": name, "window": WINDOW, **WINDOW, "minutes": 1440, **costs}}


def read(tmp_path: Path, *sets: Any, account: str = "default", text: str | None = None) -> MachineReading:
    content = json.dumps({"code": 200, "status": "success", "data": list(sets)}) if text is None else text
    return read_machines(CONNECTOR, land_bytes(tmp_path, "opencost", content, account=account, name="a.json"))


def dollars(found: MachineReading) -> dict[tuple[str, str], Decimal]:
    return {
        (row["deployment"], row["measure"].removeprefix("opencost_").removesuffix("_usd")): row["measured_quantity"]
        for row in found.rows.iter_rows(named=True)
    }


def test_the_total_holds_its_parts_and_is_counted_once(tmp_path: Path) -> None:
    costs = {"cpuCost": 1.5, "ramCost": 0.5, "gpuCost": 64.0, "gpuCostAdjustment": -4.0, "pvCost": 2.0}
    found = read(tmp_path, allocation(**costs, networkCost=0.25, sharedCost=1.0, externalCost=0.75, totalCost=66.0))
    # 66 in all, of which volumes and network 2.25
    assert dollars(found) == {("chat", "hardware"): Decimal("63.75"), ("chat", "network_storage"): Decimal("2.25")}
    assert found.rows["sampled_at"].unique().to_list() == [datetime(2026, 11, 1, tzinfo=UTC)]
    assert found.rows["valid_until"].unique().to_list() == [datetime(2026, 11, 2, tzinfo=UTC)]


def test_without_a_total_the_parts_are_added(tmp_path: Path) -> None:
    found = read(tmp_path, allocation(gpuCost=10, gpuCostAdjustment=1, loadBalancerCost=3, pvs=None))
    assert dollars(found) == {("chat", "hardware"): Decimal(11), ("chat", "network_storage"): Decimal(3)}


def test_nan_is_nothing(tmp_path: Path) -> None:
    text = json.dumps({"code": 200, "data": [allocation(gpuCost="@", totalCost=5)]}).replace('"@"', "NaN")
    assert dollars(read(tmp_path, text=text))["chat", "hardware"] == Decimal(5)


def test_the_folder_names_the_deployment_but_idle_stays_nobodys(tmp_path: Path) -> None:
    found = read(
        tmp_path, {**allocation("pod-1", totalCost=1), **allocation("__idle__", totalCost=7)}, account="chat-70b"
    )
    assert dollars(found)["chat-70b", "hardware"] == Decimal(1)
    assert dollars(found)["__idle__", "hardware"] == Decimal(7)


def test_sets_may_come_newest_first_and_hold_nothing(tmp_path: Path) -> None:
    later = {"chat": {"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z", "totalCost": 2}}
    found = read(tmp_path, later, None, allocation(totalCost=1))
    assert found.rows.filter(found.rows["measure"] == "opencost_hardware_usd")["measured_quantity"].to_list() == [2, 1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"start": None}, "bad_timestamp"),
        ({"start": "2026-11-01 00:00"}, "bad_timestamp"),
        ({"end": "2026-11-01T00:00:00Z"}, "empty_window"),
        ({"totalCost": "12"}, "bad_amount"),
        ({"totalCost": None}, "missing_cost"),
    ],
)
def test_an_allocation_that_cannot_be_read_is_refused_alone(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    broken = allocation(totalCost=1)
    broken["chat"] |= change
    found = read(tmp_path, {**broken, **allocation("other", totalCost=2)})
    assert found.reasons == [(1, reason)]
    assert ("other", "hardware") in dollars(found)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"code": 500, "status": "error", "data": null}', "query_failed"),
        ('{"code": 200, "data": {"sets": []}}', "unknown_document"),
        ('{"code": 200, "data": [', "malformed_json"),
        ("[]", "unknown_document"),
    ],
)
def test_files_that_are_no_allocation_are_refused_whole(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(FileRejectedError) as caught:
        read(tmp_path, text=text)
    assert caught.value.code == code


def test_properties_and_labels_never_leave_the_file(tmp_path: Path) -> None:
    found = read(tmp_path, allocation(totalCost=1, properties={"pod": "CANARY", "labels": {"owner": "CANARY"}}))
    assert "CANARY" not in found.text()


@pytest.mark.real_data
def test_a_published_answer_keeps_its_totals(tmp_path: Path, shared_data: Path) -> None:
    """The three totals of the OpenCost documentation's example: 1.52743, 0.10937 and 0.14136."""
    text = (shared_data / "formats" / "selfhosted" / "opencost_allocation_example.json").read_text()
    found = read(tmp_path, text=text)
    totals = {
        name: sum(usd for (owner, _), usd in dollars(found).items() if owner == name)
        for name in ("kube-system", "opencost", "prometheus")
    }
    assert totals == {
        "kube-system": Decimal("1.52743"),
        "opencost": Decimal("0.10937"),
        "prometheus": Decimal("0.14136"),
    }
