"""The command `whatif`: scenarios of self-hosted inference beside today. It reads, and changes nothing.

What lives here: its options and how outcomes are shown. What does not: the levers (pipelines/transforms/scenarios.py).
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assets.cli_console import answers, json_text, remarks, say_json

if TYPE_CHECKING:
    from pipelines.transforms.scenarios import Inference, Outcome

_PLACES = Decimal("0.000001")


def register(app: typer.Typer) -> None:
    """Hang the command of this room on the app."""
    app.command()(whatif)


def whatif(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.toml", exists=True, dir_okay=False, help="Scenarios, as shown above.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for machines.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write that JSON object to a file as well.")
    ] = None,
) -> None:
    """What would a million tokens cost if … Fuller machines, FP8, another GPU, a reservation, a cheaper site.

    The file names a deployment, whose numbers come from the published marts (or gives them under `[today]`), and
    scenarios: `[[scenario]]` with a name and `[[scenario.lever]]` tables of kind utilisation (to), batch,
    speculative_decoding, quantised (throughput_factor, quality_ratio), gpu (usd_per_gpu_hour, throughput_factor),
    reserved (usd_per_gpu_hour), tariff (usd_per_kwh) or pue. Levers are composed, never added: each one works on what
    the last one left. Nothing is changed.
    """
    from pipelines.publish.deployment_today import deployment_today
    from pipelines.settings import Settings
    from pipelines.transforms.scenarios import play, read_scenarios

    asked = read_scenarios(file.read_text(encoding="utf-8"), file.name)
    month = asked.month
    today = asked.today
    if today is None:
        month, today = deployment_today(Settings.load(), str(asked.deployment), asked.month)
    outcomes = [play(today, scenario) for scenario in asked.scenarios]
    told = {
        "deployment": asked.deployment,
        "month": month,
        "today": _told(today),
        "scenarios": [_outcome(outcome, today) for outcome in outcomes],
    }
    if out is not None:
        out.write_text(json_text(told) + "\n", encoding="utf-8")
        remarks().print(f"written to {out}", markup=False)
    if as_json:
        say_json(told)
    else:
        _show(asked.deployment or "today", month, today, outcomes)


def _told(state: "Inference") -> Mapping[str, object]:
    return {
        "cost_per_mtok_usd": _rounded(state.cost_per_mtok_usd),
        "cost_per_good_mtok_usd": _rounded(state.cost_per_good_mtok_usd),
        "all_in_usd_per_gpu_hour": _rounded(state.all_in_usd_per_gpu_hour),
        "usd_per_gpu_hour": _rounded(state.usd_per_gpu_hour),
        "tokens_per_second_per_gpu": _rounded(state.tokens_per_second_per_gpu),
        "utilisation": _rounded(state.utilisation),
        "quality_ratio": _rounded(state.quality_ratio),
    }


def _outcome(outcome: "Outcome", today: "Inference") -> Mapping[str, object]:
    return {
        "name": outcome.name,
        **_told(outcome.result),
        "saved_share": _saved(outcome, today),
        "steps": [
            {
                "lever": step.lever,
                "before_usd_per_mtok": _rounded(step.before_usd_per_mtok),
                "after_usd_per_mtok": _rounded(step.after_usd_per_mtok),
                "saved_share_of_what_was_left": _rounded(step.saved_share),
            }
            for step in outcome.steps
        ],
    }


def _saved(outcome: "Outcome", today: "Inference") -> Decimal | None:
    before, after = today.cost_per_mtok_usd, outcome.result.cost_per_mtok_usd
    return None if not before or after is None else _rounded(1 - after / before)


def _rounded(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(_PLACES, rounding=ROUND_HALF_EVEN)


def _show(name: str, month: str | None, today: "Inference", outcomes: "list[Outcome]") -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(f"{name}{f' in {month}' if month else ''}: dollars per million tokens"), title_justify="left"
    )
    for heading in ("scenario", "lever", "$/Mtok", "saves"):
        table.add_column(heading, justify="left" if heading in ("scenario", "lever") else "right")
    table.add_row("today", "", _dollars(today.cost_per_mtok_usd), "")
    for outcome in outcomes:
        table.add_section()
        for place, step in enumerate(outcome.steps):
            label = outcome.name if place == 0 else ""
            table.add_row(
                escape(label), escape(step.lever), _dollars(step.after_usd_per_mtok), _percent(step.saved_share)
            )
        result = outcome.result
        good = "" if result.quality_ratio == 1 else f"{_dollars(result.cost_per_good_mtok_usd)} at today's quality"
        table.add_row(
            "",
            escape(f"all together {good}".strip()),
            _dollars(result.cost_per_mtok_usd),
            _percent(_saved(outcome, today)),
        )
    answers().print(table)


def _dollars(value: Decimal | None) -> str:
    return "unknown" if value is None else f"{value.quantize(Decimal('0.0001'), rounding=ROUND_HALF_EVEN):f}"


def _percent(share: Decimal | None) -> str:
    return "" if share is None else f"{(share * 100).quantize(Decimal('0.1'), rounding=ROUND_HALF_EVEN):f}%"
