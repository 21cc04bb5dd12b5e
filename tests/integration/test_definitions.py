"""The code location: it loads, it holds what the committed list says, and every asset says what it is.

What lives here: the list in definitions.json (written again when something is added on purpose), the graph, the words.
What does not: running anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.checks import home_of
from assets.definitions import defs
from assets.partitions import DAYS, day_before, range_tags, tracked
from pipelines.build.graph import build_order
from pipelines.errors import UsageError
from pipelines.sqlmodel import load_checks
from tests.integration.small_home import use

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = Path(__file__).with_name("definitions.json")


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def listing() -> dict[str, Any]:
    graph = defs.resolve_asset_graph()
    repository = defs.get_repository_def()
    return {
        "assets": sorted(key.to_user_string() for key in graph.get_all_asset_keys()),
        "partitioned by day": sorted(
            key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).partitions_def is not None
        ),
        "checks": {
            key.name: [key.asset_key.to_user_string(), "blocking" if graph.get(key).blocking else "warning"]
            for key in sorted(graph.asset_check_keys, key=lambda key: key.name)
        },
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "schedules": {schedule.name: schedule.cron_schedule for schedule in repository.schedule_defs},
        "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
    }


def test_the_location_holds_what_the_committed_list_says() -> None:
    found = json.loads(json.dumps(listing()))
    assert found == json.loads(COMMITTED.read_text()), (
        "definitions changed; if on purpose, write them to tests/integration/definitions.json:\n"
        + json.dumps(found, indent=1)
    )


def test_dagster_finds_nothing_wrong_with_the_location() -> None:
    dg.Definitions.validate_loadable(defs)


def test_the_graph_runs_one_way_and_checks_come_before_what_they_guard(specs: dict[str, dg.AssetSpec]) -> None:
    """A check waits for all that it reads, and what is built from a guarded asset waits for its checks."""
    steps = {name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in specs.items()}
    for check in load_checks().values():
        if check.severity == "fail":
            guarded = home_of(check)
            for name, spec in specs.items():
                if guarded in {dep.asset_key.to_user_string() for dep in spec.deps}:
                    steps[name].add(check.name)
        steps[check.name] = {home_of(check), *check.inputs}
    order = list(TopologicalSorter(steps).static_order())
    assert len(order) == len(specs) + len(load_checks())
    assert order.index("published_snapshot") > order.index("months_are_the_sum_of_their_days")


def test_every_asset_says_what_it_is_who_owns_it_and_of_what_kind(specs: dict[str, dg.AssetSpec]) -> None:
    assert len(specs) > 40
    silent = [
        name for name, spec in specs.items() if not ((spec.description or "").strip() and spec.owners and spec.kinds)
    ]
    assert not silent


def test_every_derived_table_is_an_asset_that_depends_on_what_it_reads(specs: dict[str, dg.AssetSpec]) -> None:
    from pipelines.build.graph import inputs_of

    for table in build_order():
        upstream = {dep.asset_key.to_user_string() for dep in specs[table].deps}
        assert set(inputs_of(table)) <= upstream, table


def test_publishing_waits_for_every_mart(specs: dict[str, dg.AssetSpec]) -> None:
    upstream = {dep.asset_key.to_user_string() for dep in specs["published_snapshot"].deps}
    written_with_it = {"mart__restatements"}
    assert upstream == {name for name in specs if name.startswith("mart__")} - written_with_it


def test_a_sentence_about_two_floors_is_asked_on_the_upper_one() -> None:
    homes = {name: home_of(check) for name, check in load_checks().items()}
    assert homes["shares_of_a_pool_sum_to_the_pool"] == "int__allocated_shared"
    assert homes["every_core_token_is_rolled_up"] == "int__usage_rollup"
    assert homes["every_landed_record_is_accounted_for"] == "core__usage", "counts are known once days are merged"
    assert homes["price_intervals_do_not_overlap"] == "ref__price_book"


def test_no_metadata_holds_a_path_of_this_machine(specs: dict[str, dg.AssetSpec]) -> None:
    told = " ".join(f"{spec.description} {dict(spec.metadata)}" for spec in specs.values())
    assert str(ROOT) not in told
    assert str(Path.home()) not in told


def test_a_days_range_beyond_today_is_refused_with_the_days_that_would_do() -> None:
    from datetime import date

    with pytest.raises(UsageError, match="not a range of days") as caught:
        range_tags(date(2019, 12, 31), date(2020, 1, 1))
    assert "2020-01-01" in caught.value.expected
    assert range_tags(date(2023, 11, 16), date(2023, 11, 16)) == {
        "dagster/asset_partition_range_start": "2023-11-16",
        "dagster/asset_partition_range_end": "2023-11-16",
    }


def test_a_run_answers_for_the_day_that_is_over() -> None:
    from datetime import date

    assert day_before(date(2025, 3, 1)) == (date(2025, 2, 28), date(2025, 2, 28))
    assert tracked(["2019-12-31", "2025-03-10", "9999-12-31"]) == ["2025-03-10"]
    assert DAYS.timezone == "UTC"


def test_a_night_is_one_run_for_the_day_that_is_over() -> None:
    from datetime import UTC, datetime

    schedule = defs.get_repository_def().get_schedule_def("every_night")
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2025, 3, 10, 3, tzinfo=UTC))
    [request] = schedule.evaluate_tick(context).run_requests
    assert request.run_key == "2025-03-10"
    assert request.tags["dagster/asset_partition_range_start"] == "2025-03-09"
    assert request.tags["dagster/asset_partition_range_end"] == "2025-03-09"


def test_schedules_stand_still_unless_the_deployment_says_so(tmp_path: Path) -> None:
    program = (
        "from assets.automation import every_night, landing_has_news, tell_of_failed_runs as t;"
        "print(every_night.default_status.name, landing_has_news.default_status.name, t.default_status.name)"
    )

    def statuses(**extra: str) -> str:
        environment = {"PATH": "", "HOME": str(tmp_path), "TOKENMART_HOME": str(tmp_path), **extra}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert statuses() == "STOPPED STOPPED STOPPED"
    assert statuses(TOKENMART_DEPLOYMENT="production") == "RUNNING RUNNING RUNNING"


def test_the_sensor_asks_for_one_run_per_set_of_settled_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = use(tmp_path, monkeypatch)
    sensor = defs.get_repository_def().get_sensor_def("landing_has_news")

    def tick(cursor: str | None) -> Any:
        context = dg.build_sensor_context(cursor=cursor, resources=defs.resources)
        return sensor.evaluate_tick(context)

    assert not tick(None).run_requests
    home.land("response_log/a.jsonl", ["{}"])
    first = tick(None)
    assert [request.tags["dagster/asset_partition_range_end"] for request in first.run_requests] == ["2025-03-09"]
    assert not tick(first.cursor).run_requests, "the same files start no second run"
    home.land("response_log/b.jsonl", ["{}"])
    assert tick(first.cursor).run_requests, "a further file does"
    growing = home.path / "landing" / "response_log" / "c.jsonl"
    second = tick(first.cursor)
    growing.write_text("{}")
    assert not tick(second.cursor).run_requests, "a file that may still grow does not"
