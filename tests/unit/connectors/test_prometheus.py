"""The prometheus connector: range queries as they come, with every value that is no measurement."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.connectors.prometheus import CONNECTOR
from pipelines.errors import FileRejectedError
from tests.unit.connectors.machine_reading import MachineReading, read_machines
from tests.unit.connectors.money_reading import land_bytes

T0 = 1793491200  # 2026-11-01T00:00:00Z


def series(name: str, *values: tuple[float, str], **labels: str) -> dict[str, Any]:
    return {"metric": {"__name__": name, **labels}, "values": [[at, value] for at, value in values]}


def answer(*result: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": list(result)}, **more}


def read(tmp_path: Path, *documents: Any, account: str = "chat") -> MachineReading:
    text = "\n".join(json.dumps(document) for document in documents)
    return read_machines(CONNECTOR, land_bytes(tmp_path, "prometheus", text, account=account, name="q.json"))


def test_a_counter_becomes_one_row_per_sample(tmp_path: Path) -> None:
    found = read(tmp_path, answer(series("vllm:prompt_tokens_total", (T0, "10"), (T0 + 15.5, "1.25e+03"), engine="0")))
    assert found.rows.select("deployment", "measure", "measured_quantity").rows() == [
        ("chat", "input_tokens", Decimal(10)),
        ("chat", "input_tokens", Decimal(1250)),
    ]
    assert found.rows["sampled_at"].to_list() == [
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 11, 1, 0, 0, 15, 500000, tzinfo=UTC),
    ]
    assert found.rows["longest_gap_seconds"].unique().to_list() == [300]
    assert not found.rows["is_partial"].any()


def test_a_coarse_query_has_gaps_as_long_as_its_own_step(tmp_path: Path) -> None:
    points = [(T0 + 3600 * hour, str(hour)) for hour in range(3)]
    found = read(tmp_path, answer(series("vllm:generation_tokens_total", *points)))
    assert found.rows["longest_gap_seconds"].unique().to_list() == [3600]


def test_values_that_are_no_measurement_are_refused_one_by_one(tmp_path: Path) -> None:
    blank = "9223372036854775794"
    values = [(T0, "NaN"), (T0 + 60, "+Inf"), (T0 + 120, blank), (T0 + 180, "9.223372036854776e+18"), (T0 + 240, "x")]
    found = read(tmp_path, answer(series("DCGM_FI_DEV_POWER_USAGE", *values, (T0 + 300, "412.5"), UUID="GPU-1")))
    assert found.reasons == [
        (1, "not_a_number"),
        (2, "infinite_value"),
        (3, "blank_value"),
        (4, "blank_value"),
        (5, "bad_value"),
    ]
    assert found.rows["measured_quantity"].to_list() == [Decimal("412.5")]


def test_a_sample_that_is_no_pair_is_refused(tmp_path: Path) -> None:
    broken = {"metric": {"__name__": "vllm:prompt_tokens_total"}, "values": [[T0], "x", [T0, 5], [T0, "5"]]}
    found = read(tmp_path, answer(broken))
    assert found.reasons == [(1, "malformed_sample"), (2, "malformed_sample"), (3, "malformed_sample")]
    assert len(found.rows) == 1


def test_histograms_and_other_metrics_carry_no_usage(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        answer(
            series("vllm:iteration_tokens_total_sum", (T0, "5"), (T0 + 15, "9")),
            series("vllm:request_prompt_tokens_bucket", (T0, "5"), le="10"),
            series("DCGM_FI_DEV_GPU_UTIL", (T0, "88"), UUID="GPU-1"),
        ),
    )
    assert (len(found.rows), found.not_usage) == (0, 4)


def test_the_sum_row_of_sglang_is_not_added(tmp_path: Path) -> None:
    name = "sglang:cached_tokens_total"
    found = read(
        tmp_path,
        answer(*(series(name, (T0, "7"), cache_source=source) for source in ("device", "host", "total"))),
    )
    assert found.rows["measured_quantity"].to_list() == [Decimal(7), Decimal(7)]
    assert found.rows["series"].n_unique() == 2
    assert found.not_usage == 1


def test_a_gpu_is_its_uuid_whatever_pod_reports_it(tmp_path: Path) -> None:
    name = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
    found = read(
        tmp_path,
        answer(
            series(name, (T0, "5000"), UUID="GPU-1", pod="a", GPU_I_ID="1"),
            series(name, (T0, "5000"), UUID="GPU-1", pod="b", GPU_I_ID="2"),
            series(name, (T0, "5000"), UUID="GPU-2", pod="a"),
            series(name, (T0, "5000"), Hostname="n", gpu="0"),
            series(name, (T0, "5000"), hostname="n", gpu="0"),
        ),
    )
    assert found.rows["series"].n_unique() == 3


def test_two_servers_of_one_prometheus_pair_are_one_series(tmp_path: Path) -> None:
    name = "vllm:prompt_tokens_total"
    found = read(
        tmp_path,
        answer(*(series(name, (T0, "1"), pod="p", prometheus_replica=replica) for replica in ("a", "b"))),
        answer(series(name, (T0, "1"), pod="q")),
    )
    assert found.rows["series"].n_unique() == 2


def test_a_deprecated_name_beside_its_successor_is_one_series(tmp_path: Path) -> None:
    names = ("vllm:gpu_prefix_cache_hits_total", "vllm:prefix_cache_hits_total")
    found = read(tmp_path, answer(*(series(name, (T0, "7"), engine="0") for name in names)))
    assert found.rows["series"].n_unique() == 1


def test_an_expression_has_no_name_and_is_refused(tmp_path: Path) -> None:
    nameless = {"metric": {"pod": "p"}, "values": [[T0, "3.7"]]}
    assert read(tmp_path, answer(nameless)).reasons == [(1, "missing_metric_name")]


def test_warnings_mark_every_sample_as_partial(tmp_path: Path) -> None:
    found = read(tmp_path, answer(series("vllm:prompt_tokens_total", (T0, "1")), warnings=["partial response"]))
    assert found.rows["is_partial"].to_list() == [True]


def test_an_instant_query_is_one_sample(tmp_path: Path) -> None:
    document = answer({"metric": {"__name__": "vllm:prompt_tokens_total"}, "value": [T0, "3"]})
    assert len(read(tmp_path, document).rows) == 1


@pytest.mark.parametrize(
    ("document", "account", "code"),
    [
        ({"status": "error", "errorType": "timeout", "error": "x"}, "chat", "query_failed"),
        ({"status": "success"}, "chat", "unknown_document"),
        (answer(), "default", "missing_deployment"),
    ],
)
def test_files_that_are_no_answer_are_refused_whole(tmp_path: Path, document: Any, account: str, code: str) -> None:
    with pytest.raises(FileRejectedError) as caught:
        read(tmp_path, document, account=account)
    assert caught.value.code == code


def test_labels_never_leave_the_file(tmp_path: Path) -> None:
    labels = {"pod": "CANARY-pod", "Hostname": "CANARY-host", "UUID": "GPU-CANARY", "model_name": "CANARY-model"}
    found = read(
        tmp_path,
        answer(
            series("vllm:prompt_tokens_total", (T0, "1"), **labels),
            series("DCGM_FI_DEV_POWER_USAGE", (T0, "NaN"), (T0 + 60, "300"), **labels),
        ),
    )
    assert "CANARY" not in found.text()
