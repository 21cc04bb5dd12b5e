"""The commands that look and ask: what goes to stdout, what an error is, what machines get."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from assets import cli_inspect, cli_prices, cli_query
from pipelines.errors import CheckFailedError, NotFoundError, PriceBookError, QueryError, UsageError
from pipelines.lake import Lake
from pipelines.settings import Settings

DAILY = "SELECT feature, effective_cost_usd, billed_cost_usd FROM mart__feature_cost_daily ORDER BY usage_date, feature"


@pytest.fixture
def app() -> typer.Typer:
    rooms = typer.Typer()
    for room in (cli_query, cli_prices, cli_inspect):
        room.register(rooms)
    return rooms


@pytest.fixture
def ask(app: typer.Typer, built_home: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOKENMART_HOME", str(built_home.home))
    monkeypatch.setenv("TOKENMART_NOW", "2026-11-22T00:00:00Z")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, words)

    return run


@pytest.fixture
def own_home(built_home: Settings, tmp_path: Path, ask, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the home, for commands that write; `ask` then speaks of it."""
    shutil.copytree(built_home.home, tmp_path / "home", symlinks=True)
    monkeypatch.setenv("TOKENMART_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_query_json_is_one_array_of_exact_numbers(ask) -> None:
    answer = ask("query", DAILY, "--format", "json")
    assert answer.exit_code == 0
    assert json.loads(answer.stdout, parse_float=Decimal) == [
        {"feature": "__unlogged__", "effective_cost_usd": Decimal("0.0052"), "billed_cost_usd": Decimal("0.0052")},
        {"feature": "chat", "effective_cost_usd": Decimal("0.0028"), "billed_cost_usd": Decimal("0.0028")},
        {"feature": "search", "effective_cost_usd": Decimal("0.012"), "billed_cost_usd": Decimal("0.012")},
        {"feature": "__unattributed__", "effective_cost_usd": Decimal("0.0014"), "billed_cost_usd": None},
    ]


def test_query_limits_rows_and_reads_stdin(app: typer.Typer, ask) -> None:
    answer = CliRunner().invoke(app, ["query", "-", "--format", "csv", "--limit", "1"], input=DAILY)
    assert answer.stdout.splitlines() == [
        "feature,effective_cost_usd,billed_cost_usd",
        "__unlogged__,0.005200000000,0.005200000000",
    ]


@pytest.mark.parametrize(
    ("words", "kind", "exit_code"),
    [
        (["query", "DROP TABLE mart__data_status"], QueryError, 10),
        (["query", "SELECT 1 AS x", "--format", "xml"], UsageError, 2),
        (["query", "SELECT 1 AS x", "--as-of", "yesterday"], UsageError, 2),
        (["query", "SELECT 1 AS x", "--as-of", "2026-11-22T00:00:00"], UsageError, 2),
        (["query", "SELECT 1 AS x", "--as-of", "2026-11-21"], NotFoundError, 11),
        (["snapshots", "rollback", "99"], NotFoundError, 11),
        (["explain", "chat", "--date", "1.11.2026"], UsageError, 2),
        (["explain", "chat", "--date", "2026-11-03"], NotFoundError, 11),
        (["quarantine", "show", "other.jsonl"], NotFoundError, 11),
        (["quarantine", "show", "calls.jsonl", "--record", "1"], NotFoundError, 11),
        (["prices", "show", "house-model-9"], NotFoundError, 11),
        (["prices", "show", "house-model", "--provider", "anthropic"], NotFoundError, 11),
        (["prices", "refresh", "no-such-feed"], UsageError, 2),
    ],
)
def test_each_kind_of_error_has_its_exit_code(ask, words: list[str], kind: type[Exception], exit_code: int) -> None:
    answer = ask(*words)
    assert isinstance(answer.exception, kind), answer.output
    assert answer.exception.exit_code == exit_code
    assert answer.exception.next_move
    assert answer.stdout == ""


def test_snapshots_are_listed_and_the_live_one_is_marked(ask) -> None:
    (snapshot,) = json.loads(ask("snapshots", "list", "--json").stdout)["snapshots"]
    assert (snapshot["is_current"], snapshot["published_at"], snapshot["last_made_live_by"]) == (
        True, "2026-11-22T00:00:00Z", "publish",
    )  # fmt: skip
    assert "CURRENT" in ask("snapshots", "list").stdout


def test_rolling_back_to_what_is_live_changes_nothing(ask) -> None:
    record = json.loads(ask("snapshots", "rollback", "1", "--json").stdout)
    assert (record["moved"], record["snapshot_id"]) == (False, record["was"])


def test_explain_prints_a_page_that_adds_up(ask) -> None:
    page = ask("explain", "chat", "--date", "2026-11-01").stdout
    assert "chat on 2026-11-01 (UTC): $0.0028 effective" in page
    assert "house-out · from 2026-01-01 (documented) · price sheet" in page
    assert "line 1 of openai_costs/costs.json" in page
    assert "The page adds up, to the last digit." in page


def test_explain_json_keeps_every_digit(ask) -> None:
    answer = ask("explain", "search", "--date", "2026-11-01", "--provider", "openai", "--json")
    page = json.loads(answer.stdout, parse_float=Decimal)
    assert (page["effective_cost_usd"], page["complaints"]) == (Decimal("0.012"), [])
    assert "0.012000000000" in answer.stdout


def test_check_says_every_sentence_and_warns_without_failing(ask) -> None:
    answer = ask("check")
    assert answer.exit_code == 0
    assert "warn  lake      No landed file is rejected as a whole (1 rows)" in answer.stdout
    told = json.loads(ask("check", "--json").stdout)["checks"]
    assert {check["is_true"] for check in told if check["severity"] == "fail"} == {True}


def test_check_fails_when_a_sentence_that_must_be_true_is_false(ask, own_home: Path) -> None:
    path = Lake(own_home / "lake").path("mart__data_status", "all")
    path.write_bytes(path.read_bytes() + b" ")
    answer = ask("check", "--json")
    assert isinstance(answer.exception, CheckFailedError)
    assert answer.exception.exit_code == 8
    assert "every_partition_is_the_file_that_the_index_knows" in str(answer.exception)


def test_quarantine_is_listed_and_shown_without_the_records(ask) -> None:
    listed = ask("quarantine", "list").stdout
    assert "response_log/calls.jsonl" in listed
    assert "malformed_json" in listed
    shown = ask("quarantine", "show", "calls.jsonl", "--record", "3", "--json").stdout
    assert [entry["record_number"] for entry in json.loads(shown)["entries"]] == [3]
    assert "this is no JSON" not in shown + ask("quarantine", "show", "calls.jsonl").stdout


def test_quarantine_replay_reports_files_and_days(ask, own_home: Path) -> None:
    report = json.loads(ask("quarantine", "replay", "--json").stdout)
    assert [(file["relative_path"], file["before"], file["released"]) for file in report["files"]] == [
        ("calls.jsonl", 2, 0), ("nothing.jsonl", 0, 0),
    ]  # fmt: skip
    assert report["days"] == ["2026-11-01", "2026-11-02"]


def test_doctor_gives_a_line_for_each_subject(ask) -> None:
    findings = json.loads(ask("doctor", "--json").stdout)["findings"]
    assert {"python", "disk", "price book", "lake", "published marts"} <= {finding["subject"] for finding in findings}


def test_prices_are_shown_as_they_are_in_force(ask) -> None:
    prices = json.loads(ask("prices", "show", "house-model", "--json").stdout, parse_float=Decimal)["prices"]
    assert {(price["component"], price["price_usd"]) for price in prices} == {
        ("input_uncached", 2), ("cache_read", 1), ("output", 8),
    }  # fmt: skip
    assert ask("prices", "show", "house-model", "--at", "2025-12-31").exception is not None


ADD = ["prices", "add", "house-model", "--provider", "openai", "--component", "output", "--source", "sheet of December"]


def test_an_added_price_counts_from_its_first_day_and_the_old_one_before(ask, own_home: Path) -> None:
    answer = ask(*ADD, "--price", "9.5", "--from", "2026-12-01", "--json")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["file"] == "reference/model_prices/local.csv"
    for day, price in (("2026-11-30", Decimal(8)), ("2026-12-01", Decimal("9.5"))):
        shown = json.loads(ask("prices", "show", "house-model", "--at", day, "--json").stdout, parse_float=Decimal)
        assert [row["price_usd"] for row in shown["prices"] if row["component"] == "output"] == [price]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--price", "80.1", "--from", "2026-12-01"], "would go from"),
        (["--price", "9000", "--from", "2026-12-01", "--reviewed"], "cannot be right"),
        (["--price", "9", "--from", "2026-12-01", "--provider", "Open AI"], "provider = 'Open AI'"),
        (["--price", "9", "--from", "2026-12-01", "--component", "words"], "nobody meters 'words'"),
        (["--price", "-9", "--from", "2026-12-01", "--reviewed"], "price_usd = "),
        (["--price", "9", "--from", "2026-12-01", "--basis", "guessed"], "valid_from_basis = 'guessed'"),
    ],
)
def test_a_price_that_would_spoil_the_book_is_refused(ask, own_home: Path, more: list[str], complaint: str) -> None:
    answer = ask(*ADD, *more)
    assert isinstance(answer.exception, PriceBookError), answer.output
    assert complaint in answer.exception.what
    assert not (own_home / "reference" / "model_prices" / "local.csv").exists()


def test_a_step_of_more_than_ten_times_is_taken_when_it_is_reviewed(ask, own_home: Path) -> None:
    assert ask(*ADD, "--price", "80.1", "--from", "2026-12-01", "--reviewed").exit_code == 0


@pytest.mark.parametrize("price", ["9,5", "nine", "NaN", ""])
def test_a_price_that_is_no_number_is_a_usage_error(ask, own_home: Path, price: str) -> None:
    assert isinstance(ask(*ADD, f"--price={price}", "--from", "2026-12-01").exception, UsageError)


def test_a_refresh_shows_first_and_writes_only_when_asked(ask, own_home: Path, tmp_path: Path) -> None:
    """The file offers output at 9 (a change from 8) and input at 200 (a step of a hundred times, guarded).

    It names no other model of the provider: those are dropped by it, and keep their prices.
    """
    news = tmp_path / "news.csv"
    head = "provider,model,component,price_id,price_usd,per_units,unit,valid_from,valid_from_basis,recorded_at,source"
    tail = "1000000,tokens,2026-11-10,recorded,2026-11-10,list"
    offers = ("output,n1,9", "input_uncached,n2,200")
    news.write_text("\n".join([head, *(f"openai,house-model,{offer},{tail}" for offer in offers)]))
    shown = json.loads(ask("prices", "refresh", str(news), "--json").stdout)
    assert (shown["counts"]["changed"], shown["guarded"], shown["file"]) == (2, 1, None)
    written = json.loads(ask("prices", "refresh", str(news), "--apply", "--json").stdout)
    assert written["file"] == "reference/model_prices/refresh-2026-11-22.csv"
    lines = (own_home / written["file"]).read_text().splitlines()
    assert len(lines) == 2
    assert ",output," in lines[1]
