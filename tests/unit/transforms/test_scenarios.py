"""What-if scenarios: levers work on what the last one left, and a file that is off is named."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipelines.errors import UsageError
from pipelines.transforms.scenarios import Inference, Scenario, play, read_scenarios

TODAY = Inference(Decimal(2), Decimal(1000), Decimal("0.5"), Decimal("0.4"), Decimal(1), Decimal("0.2"), Decimal("1.5"))
"""$2 + $0.40 + 1 kWh × 1.5 × $0.20 = $2.70 an hour for 1,000 × 0.5 × 3,600 = 1.8 M tokens: $1.50 a million."""


def played(*levers: dict[str, object]) -> list[Decimal | None]:
    """Cost per million tokens after each lever."""
    numbers = [{name: v if name in ("kind", "name") else Decimal(str(v)) for name, v in one.items()} for one in levers]
    return [step.after_usd_per_mtok for step in play(TODAY, Scenario("s", tuple(numbers))).steps]


def test_today_is_the_all_in_cost_over_served_tokens() -> None:
    assert TODAY.cost_per_mtok_usd == Decimal("1.5")


@pytest.mark.parametrize(
    ("lever", "dollars"),
    [
        ({"kind": "utilisation", "to": "0.75"}, "1"),  # 2.70 / 2.7 M
        ({"kind": "batch", "throughput_factor": 2}, "0.75"),
        ({"kind": "speculative_decoding", "throughput_factor": "1.5"}, "1"),
        ({"kind": "quantised", "throughput_factor": 2, "quality_ratio": "0.9"}, "0.75"),
        ({"kind": "reserved", "usd_per_gpu_hour": "1.1"}, "1"),  # 1.80 / 1.8 M
        ({"kind": "gpu", "name": "Rubin", "usd_per_gpu_hour": "4.7", "throughput_factor": 3}, "1"),  # 5.40 / 5.4 M
        ({"kind": "tariff", "usd_per_kwh": "0.08"}, "1.4"),  # energy 0.12: 2.52 / 1.8 M
        ({"kind": "pue", "pue": "1.05"}, "1.45"),  # energy 0.21: 2.61 / 1.8 M
    ],
)
def test_each_lever_moves_what_it_says(lever: dict[str, object], dollars: str) -> None:
    assert played(lever) == [Decimal(dollars)]


def test_levers_are_composed_and_never_added() -> None:
    # twice the throughput saves 50%; half the hardware then saves $1 of $2.70, 37.0% of what was left: 68.5%, not 87%
    outcome = play(
        TODAY,
        Scenario(
            "both",
            (
                {"kind": "batch", "throughput_factor": Decimal(2)},
                {"kind": "reserved", "usd_per_gpu_hour": Decimal(1)},
            ),
        ),
    )
    saved = [step.saved_share for step in outcome.steps]
    assert saved[0] == Decimal("0.5")
    assert saved[1] is not None
    assert round(saved[1], 4) == Decimal("0.3704")
    cost = outcome.result.cost_per_mtok_usd
    assert cost is not None
    assert round(1 - cost / Decimal("1.5"), 4) == Decimal("0.6852")


def test_quality_lost_is_paid_by_good_tokens() -> None:
    outcome = play(
        TODAY,
        Scenario("q", ({"kind": "quantised", "throughput_factor": Decimal(2), "quality_ratio": Decimal("0.75")},)),
    )
    assert outcome.result.cost_per_good_mtok_usd == Decimal(1)


LEVER = '[[scenario]]\nname = "s"\n[[scenario.lever]]\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("deployment = ", "not TOML"),
        (LEVER + 'kind = "utilisation"\nto = 0.5', "deployment or today"),
        ('deployment = "d"', "no scenario"),
        ('deployment = "d"\n[[scenario]]\nname = "s"', "no lever"),
        ('deployment = "d"\n' + LEVER + 'kind = "magic"', "no lever"),
        ('deployment = "d"\n' + LEVER + 'kind = "gpu"', "lacks"),
        ('deployment = "d"\n' + LEVER + 'kind = "utilisation"\nto = 1.5', "out of range"),
        ('deployment = "d"\n' + LEVER + 'kind = "pue"\npue = 0.9', "out of range"),
        ('deployment = "d"\n' + LEVER + 'kind = "pue"\npue = true', "no number"),
        ('deployment = "d"\nhome = "x"\n' + LEVER + 'kind = "pue"\npue = 1', "nobody knows home"),
        ("[today]\nutilisation = 0.5\n" + LEVER + 'kind = "pue"\npue = 1', "today lacks"),
    ],
)
def test_a_file_that_is_off_is_named(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        read_scenarios(text, "file.toml")
