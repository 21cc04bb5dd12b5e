"""`tokenmart whatif` on a published home: today beside scenarios, on the screen, as JSON and as a file; nothing is
touched."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from assets import cli_whatif
from tests.integration.nights import home_settings, land, night, refer
from tests.integration.test_self_hosted import DEPLOYMENTS, NOV_3, RATES, usage_lines

SCENARIOS = """
deployment = "chat"

[[scenario]]
name = "fuller and reserved"
[[scenario.lever]]
kind = "utilisation"
to = 1
[[scenario.lever]]
kind = "reserved"
usd_per_gpu_hour = 1
"""


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.callback()(lambda: None)
    cli_whatif.register(app)
    result = CliRunner().invoke(app, ["whatif", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def files_below(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


def test_scenarios_start_from_the_published_month_and_touch_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 h at $2 for 1.2 M tokens in one hour of the day, which is half full: $40 a million at a load of 1/48.

    A full machine makes 48 times as much for the same money: 0.8333; at $1 instead of $2: 0.4167.
    """
    home = tmp_path / "home"
    refer(home, "deployments", f"{DEPLOYMENTS}chat,m,ONE,1,on_demand,2400000,1,0.1,5,2026-11-01,2026-11-02\n")
    refer(home, "gpu_rates", f"{RATES}ONE,on_demand,2,2026-11-01,test\n")
    land(home, "usage_table/log.jsonl", usage_lines([("2026-11-01T00:10:00Z", "chat", 1_200_000, 0)]))
    night(home_settings(home, NOV_3))
    before = files_below(home)
    monkeypatch.setenv("TOKENMART_HOME", str(home))
    scenario, out = tmp_path / "scenario.toml", tmp_path / "answer.json"
    scenario.write_text(SCENARIOS)
    told = json.loads(run(str(scenario), "--json", "--out", str(out)), parse_float=Decimal)
    assert json.loads(out.read_text(), parse_float=Decimal) == told
    assert (told["deployment"], told["month"]) == ("chat", "2026-11")
    assert told["today"]["cost_per_mtok_usd"] == Decimal("40.000000")
    assert told["today"]["utilisation"] == Decimal("0.020833")
    steps = [step["after_usd_per_mtok"] for step in told["scenarios"][0]["steps"]]
    assert steps == [Decimal("0.833333"), Decimal("0.416667")]
    shown = run(str(scenario))
    assert "40.0000" in shown
    assert "0.4167" in shown
    assert files_below(home) == before
