"""`tokenmart run` on a home with a log and a features.csv: exact dollars, nothing new, late files, a machine's view.

What lives here: one story of three runs, told once per module, and what each test sees in it. What does not: other
commands, other sources. Prices of gpt-4o-mini in March 2025, per million tokens: input $0.15, cached input $0.075,
output $0.60 (OpenAI's published list).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from assets.cli import app
from tests.integration.small_home import SmallHome, call, use

ROOT = Path(__file__).resolve().parents[2]

# 800 × 0.15 + 200 × 0.075 + 300 × 0.60 = 120 + 15 + 180 = 315 millionths of a dollar.
FIRST_DAY_COST = Decimal("0.000315")
# 2,000 × 0.15 + 100 × 0.60 = 300 + 60 = 360 millionths.
SECOND_DAY_COST = Decimal("0.000360")
# 500 × 0.15 + 50 × 0.60 = 75 + 30 = 105 millionths.
LATE_COST = Decimal("0.000105")

HALF_PRICE = (
    "contract_id,provider,account,model_pattern,service_tier,component,discount_percent,price_usd,per_units,valid_from\n"
    "half,openai,*,*,*,*,50,,,2025-01-01\n"
)


@dataclass
class Story:
    """What each run said, and what readers and the lake held after it."""

    home: SmallHome
    said: list[dict[str, Any]] = field(default_factory=list)
    days: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    lake: list[dict[str, bytes]] = field(default_factory=list)
    snapshots: list[list[str]] = field(default_factory=list)

    def tell(self, command: str = "run") -> None:
        result = CliRunner().invoke(app, [command, "--json"], catch_exceptions=False)
        assert result.exit_code == 0
        self.said.append(json.loads(result.stdout, parse_float=Decimal))
        rows = self.home.mart("mart__feature_cost_daily")
        self.days.append({str(row["usage_date"]): row for row in rows})
        self.lake.append(self.home.lake_bytes("core__usage", "int__usage_rollup"))
        self.snapshots.append(sorted(path.name for path in (self.home.path / "marts" / "snapshots").iterdir()))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as patch:
        home = use(tmp_path_factory.mktemp("home"), patch)
        told = Story(home)
        first_day = call("2025-03-03T09:30:00Z", 1000, 300, cached=200, request_id="r1")
        home.land("response_log/first.jsonl", [first_day, call("2025-03-04T23:59:59.999Z", 2000, 100, request_id="r2")])
        home.rules()
        told.tell()
        told.tell()
        home.land("response_log/late/late.jsonl", [call("2025-03-03T18:00:00Z", 500, 50, request_id="r3"), first_day])
        home.land(
            "response_log/copy of first.jsonl",
            (home.path / "landing/response_log/first.jsonl").read_text().split("\n")[:-1],
        )
        home.land("response_log/empty.jsonl", [])
        home.land("my_logs/x.jsonl", ["{}"])
        told.tell()
        (home.path / "reference" / "contract_prices.csv").write_text(HALF_PRICE)
        home.land("response_log/not looked at.jsonl", [call("2025-03-04T10:00:00Z", 1, 1, request_id="r4")])
        told.tell("reprice")
        yield told


def test_a_dropped_log_and_a_rule_give_the_exact_dollars(story: Story) -> None:
    first, second = story.days[0]["2025-03-03"], story.days[0]["2025-03-04"]
    assert (first["feature"], first["team"], first["cost_center"]) == ("Support assistant", "Care", "CC-100")
    assert (first["requests"], first["input_tokens"], first["cached_input_tokens"], first["output_tokens"]) == (
        1,
        1000,
        200,
        300,
    )
    assert first["list_cost_usd"] == first["contracted_cost_usd"] == first["effective_cost_usd"] == FIRST_DAY_COST
    assert second["effective_cost_usd"] == SECOND_DAY_COST
    # 315 / 1,300 dollars per million tokens, to 12 digits; 360 / 2,100.
    assert first["cost_per_mtok_usd"] == Decimal("0.242307692308")
    assert second["cost_per_mtok_usd"] == Decimal("0.171428571429")
    assert first["billed_cost_usd"] is None, "no bill: unknown, not zero"
    assert first["cost_status"] == "estimated"


def test_the_first_run_tells_what_it_did(story: Story) -> None:
    said = story.said[0]
    assert said["outcome"] == "published"
    assert said["is_new"] is True
    assert said["snapshot_id"] == story.snapshots[0][0]
    assert said["files"]["ingested"] == ["response_log/first.jsonl"]
    assert said["records"] == {
        "records": 2, "accepted": 2, "quarantined": 0, "duplicate": 0, "superseded": 0, "not_usage": 0,
    }  # fmt: skip
    assert said["days"]["requests"] == ["2025-03-03", "2025-03-04"]


def test_running_again_writes_no_snapshot_and_says_nothing_new(story: Story) -> None:
    assert story.said[1]["outcome"] == "nothing_new"
    assert story.said[1]["is_new"] is False
    assert story.said[1]["run_id"] is None, "nothing was started"
    assert story.said[1]["snapshot_id"] == story.said[0]["snapshot_id"]
    assert story.snapshots[1] == story.snapshots[0]
    assert set(story.said[1]) == set(story.said[0]), "machines find the same fields"


def test_a_late_file_changes_its_day_and_no_other(story: Story) -> None:
    assert story.said[2]["days"]["requests"] == ["2025-03-03"]
    assert story.days[2]["2025-03-03"]["effective_cost_usd"] == FIRST_DAY_COST + LATE_COST
    assert story.days[2]["2025-03-03"]["requests"] == 2, "the call that both files tell counts once"
    assert story.days[2]["2025-03-04"] == story.days[1]["2025-03-04"]
    before, after = story.lake[1], story.lake[2]
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed == {"core__usage/2025-03-03.parquet", "int__usage_rollup/2025-03-03.parquet"}
    assert len(story.snapshots[2]) == 2


def test_bad_files_copies_and_strange_folders_are_told_and_stop_nothing(story: Story) -> None:
    files = story.said[2]["files"]
    assert files["ingested"] == ["response_log/late/late.jsonl"]
    assert files["duplicates"] == ["response_log/copy of first.jsonl"]
    [rejected] = files["rejected"]
    assert rejected["file"] == "response_log/empty.jsonl"
    assert "the file is empty" in rejected["reason"]
    assert story.said[2]["unknown_folders"] == {"my_logs": 1}
    records = story.said[2]["records"]
    assert records["records"] == records["accepted"] + records["duplicate"] == 2, (
        "which of two equal tellings counts is told elsewhere"
    )


def test_a_contract_reprices_history_without_a_look_at_landing(story: Story) -> None:
    """Half of 315 + 105 and of 360 millionths: 210 and 180. The list price stays what it was."""
    said, days = story.said[3], story.days[3]
    assert days["2025-03-03"]["effective_cost_usd"] == Decimal("0.000210")
    assert days["2025-03-04"]["effective_cost_usd"] == Decimal("0.000180")
    assert days["2025-03-03"]["list_cost_usd"] == FIRST_DAY_COST + LATE_COST
    [change] = said["changes"]
    assert (change["month"], change["feature"]) == ("2025-03", "Support assistant")
    assert change["effective_cost_usd_before"] == Decimal("0.000780")
    assert change["effective_cost_usd_after"] == Decimal("0.000390")
    assert change["delta_usd"] == Decimal("-0.000390")
    assert said["outcome"] == "published"
    assert said["files"]["ingested"] == [], "a new file in landing waits for the next run"
    core = {name for name in story.lake[3] if name.startswith("core__")}
    assert all(story.lake[3][name] == story.lake[2][name] for name in core)


def test_dagster_knows_the_days_that_a_run_wrote_outside_its_range(story: Story) -> None:
    """The clock stands at 10 March: the run answers for 9 March and wrote 3 and 4 March."""
    import dagster as dg

    with dg.DagsterInstance.from_config(str(story.home.path / "dagster")) as instance:
        days = instance.get_materialized_partitions(dg.AssetKey("core__usage"))
        rolled = instance.get_materialized_partitions(dg.AssetKey("int__usage_rollup"))
    assert days == {"2025-03-03", "2025-03-04", "2025-03-09"}
    assert rolled == days


def test_what_dagster_keeps_names_neither_the_home_nor_the_key(story: Story) -> None:
    import dagster as dg

    with dg.DagsterInstance.from_config(str(story.home.path / "dagster")) as instance:
        runs = instance.get_runs()
        told = "\n".join(str(entry) for run in runs for entry in instance.all_logs(run.run_id))
    assert len(runs) == 4, "two of run, and two of reprice: the marts, then the publish"
    assert "core__landed_files" in told
    assert str(story.home.path) not in told
    assert "a key of the tests" not in told


def test_the_manifest_says_from_what_the_numbers_were_made(story: Story) -> None:
    manifest = json.loads((story.home.path / "marts" / "CURRENT" / "MANIFEST.json").read_text())
    facts = manifest["facts"]
    assert facts["clock"] == "2025-03-10T03:00:00Z"
    by_source = {(row["source"], row["account"]): row["data_through"] for row in facts["sources"]}
    assert by_source["response_log", "default"] == "2025-03-04"
    assert {"landed_files_digest", "reference_digest", "price_book_digest", "sql_digest", "code_version"} <= set(facts)


def test_people_read_where_to_look_next(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    from assets.run_summary import tell

    use(story.home.path, monkeypatch)
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(typer_that(lambda: tell(story.said[2])), [], catch_exceptions=False)
    assert f"published snapshot {story.said[2]['snapshot_id']}: marts/CURRENT/marts.duckdb" in result.stdout
    assert "files: 1 ingested, 1 duplicates, 1 rejected" in result.stdout
    assert "tokenmart query" in result.stdout
    assert "landing/my_logs (1 files): not read" in result.stderr
    assert "rejected landing/response_log/empty.jsonl" in result.stderr


def typer_that(does: Callable[[], None]) -> typer.Typer:
    """A command line whose only command does this, so that both of its streams can be read."""
    made = typer.Typer()
    made.command()(does)
    return made


def test_a_day_that_is_none_ends_with_its_own_code_and_four_plain_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "assets.cli", "--home", str(tmp_path), "run", "--date", "2025-02-30"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "tokenmart: '2025-02-30' is not a day",
        "  where: --date",
        "  expected: YYYY-MM-DD, a UTC day",
        "  next: correct --date",
    ]


def test_help_answers_without_loading_dagster_polars_or_duckdb() -> None:
    program = (
        "import sys; sys.argv = ['tokenmart', '--help']\n"
        "from assets.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'dagster', 'polars', 'duckdb', 'pandera', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "backfill" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_empty_home_says_where_to_drop_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path / "new", monkeypatch)
    result = CliRunner().invoke(app, ["run"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "landing/ holds no file yet" in result.stdout
    assert not (tmp_path / "new").exists(), "looking makes nothing"
