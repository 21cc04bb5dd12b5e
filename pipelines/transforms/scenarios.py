"""What-if scenarios of self-hosted inference: levers applied one after the other, each to what the last one left.

What lives here: the state of a deployment per GPU-hour, the levers, reading a scenario file. What does not: where
today's numbers come from (publish/deployment_today.py), printing (assets). Nothing here is written anywhere.

    deployment = "chat-70b"              # today's numbers from the marts; month = "2026-11" picks one, else the latest
    [today]                              # or by hand: the fields of Inference
    usd_per_gpu_hour = 2.69
    tokens_per_second_per_gpu = 900
    utilisation = 0.35

    [[scenario]]
    name = "FP8 on reserved machines, fuller"
    [[scenario.lever]]
    kind = "quantised"                   # throughput_factor, quality_ratio
    throughput_factor = 1.6
    quality_ratio = 0.98
    [[scenario.lever]]
    kind = "reserved"                    # usd_per_gpu_hour
    usd_per_gpu_hour = 1.30
    [[scenario.lever]]
    kind = "utilisation"                 # to
    to = 0.6

Other kinds: `batch` and `speculative_decoding` (throughput_factor), `gpu` (name, usd_per_gpu_hour, throughput_factor,
kwh_per_gpu_hour: any hardware, also such as exists in a scenario only), `tariff` (usd_per_kwh), `pue` (pue).
Savings are composed, never added: what a lever saves is a share of what the levers before it left.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal, localcontext
from typing import Any

from pipelines.errors import UsageError
from pipelines.transforms import economics


@dataclass(frozen=True)
class Inference:
    """A deployment per GPU-hour. `other_usd_per_gpu_hour` is licences, engineering, network and storage.

    `tokens_per_second_per_gpu` is at full load; `kwh_per_gpu_hour` without cooling, paid for only where `usd_per_kwh`
    is not 0. `quality_ratio` is quality against today's model: 1 = equally good.
    """

    usd_per_gpu_hour: Decimal
    tokens_per_second_per_gpu: Decimal
    utilisation: Decimal
    other_usd_per_gpu_hour: Decimal = Decimal(0)
    kwh_per_gpu_hour: Decimal = Decimal(0)
    usd_per_kwh: Decimal = Decimal(0)
    pue: Decimal = Decimal(1)
    quality_ratio: Decimal = Decimal(1)

    @property
    def energy_usd_per_gpu_hour(self) -> Decimal:
        """Dollars of power and cooling."""
        return economics.energy_cost(self.kwh_per_gpu_hour, self.usd_per_kwh, self.pue)

    @property
    def all_in_usd_per_gpu_hour(self) -> Decimal:
        """Dollars of a GPU-hour, everything included."""
        return self.usd_per_gpu_hour + self.other_usd_per_gpu_hour + self.energy_usd_per_gpu_hour

    @property
    def cost_per_mtok_usd(self) -> Decimal | None:
        """All-in dollars per million tokens; None without tokens."""
        return economics.cost_per_mtok(self.all_in_usd_per_gpu_hour, self.tokens_per_second_per_gpu * self.utilisation)

    @property
    def cost_per_good_mtok_usd(self) -> Decimal | None:
        """The same per million tokens of today's quality."""
        cost = self.cost_per_mtok_usd
        return None if cost is None else economics.ratio(cost, self.quality_ratio)


@dataclass(frozen=True)
class Step:
    """One lever's part: cost per million tokens before and after, and the share of what was left that it saved."""

    lever: str
    before_usd_per_mtok: Decimal | None
    after_usd_per_mtok: Decimal | None
    saved_share: Decimal | None


@dataclass(frozen=True)
class Outcome:
    """A scenario: where it ends, step by step."""

    name: str
    result: Inference
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Scenario:
    """A name and its levers, in order."""

    name: str
    levers: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class ScenarioFile:
    """What a file asks: a deployment (and month) of the marts, or today's numbers by hand; and scenarios."""

    deployment: str | None
    month: str | None
    today: Inference | None
    scenarios: tuple[Scenario, ...]


_THROUGHPUT = ("throughput_factor",)
LEVERS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "utilisation": (("to",), ()),
    "batch": (_THROUGHPUT, ()),
    "speculative_decoding": (_THROUGHPUT, ()),
    "quantised": (_THROUGHPUT, ("quality_ratio",)),
    "gpu": (("usd_per_gpu_hour", "throughput_factor"), ("name", "kwh_per_gpu_hour")),
    "reserved": (("usd_per_gpu_hour",), ()),
    "tariff": (("usd_per_kwh",), ()),
    "pue": (("pue",), ()),
}
"""Kind of lever → fields that it needs, and fields that it may have."""

_SHARES = ("to", "utilisation")
_POSITIVE = ("throughput_factor", "quality_ratio", "tokens_per_second_per_gpu", "to", "utilisation")


def read_scenarios(text: str, where: str) -> ScenarioFile:
    """A checked scenario file. Raises UsageError naming what is off."""
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise _fault(f"the file is not TOML: {error}", where, "the form that `tokenmart whatif --help` shows") from None
    _known(content, ("deployment", "month", "today", "scenario"), where)
    by_hand = content.get("today")
    if (by_hand is None) == (content.get("deployment") is None):
        raise _fault("either a deployment or today's numbers are needed", where, 'deployment = "…", or a table [today]')
    scenarios = content.get("scenario")
    if not isinstance(scenarios, list) or not scenarios:
        raise _fault("the file has no scenario", where, "[[scenario]] with a name and [[scenario.lever]] tables")
    return ScenarioFile(
        content.get("deployment"),
        content.get("month"),
        None if by_hand is None else _inference(by_hand, f"{where}, [today]"),
        tuple(_scenario(one, number, where) for number, one in enumerate(scenarios, start=1)),
    )


def play(today: Inference, scenario: Scenario) -> Outcome:
    """Apply the levers in order, each to what the last one left."""
    state = today
    steps = []
    for lever in scenario.levers:
        after = _applied(state, lever)
        before_cost, after_cost = state.cost_per_mtok_usd, after.cost_per_mtok_usd
        saved = None
        if before_cost is not None and after_cost is not None:
            share = economics.ratio(after_cost, before_cost)
            saved = None if share is None else 1 - share
        steps.append(Step(_label(lever), before_cost, after_cost, saved))
        state = after
    return Outcome(scenario.name, state, tuple(steps))


def _applied(state: Inference, lever: Mapping[str, Any]) -> Inference:
    kind = lever["kind"]
    changes: dict[str, Decimal] = {
        name: lever[name] for name in ("usd_per_gpu_hour", "usd_per_kwh", "pue", "kwh_per_gpu_hour") if name in lever
    }
    with localcontext(economics.PRECISION):
        if "throughput_factor" in lever:
            changes["tokens_per_second_per_gpu"] = state.tokens_per_second_per_gpu * lever["throughput_factor"]
        if "quality_ratio" in lever:
            changes["quality_ratio"] = state.quality_ratio * lever["quality_ratio"]
    if kind == "utilisation":
        changes["utilisation"] = lever["to"]
    return replace(state, **changes)


def _label(lever: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name} {value}" for name, value in lever.items() if name != "kind")
    return f"{lever['kind']} ({told})"


def _scenario(one: Any, number: int, where: str) -> Scenario:
    place = f"{where}, scenario {number}"
    if not isinstance(one, dict):
        raise _fault("a scenario is no table", place, "[[scenario]]")
    _known(one, ("name", "lever"), place)
    levers = one.get("lever")
    if not isinstance(levers, list) or not levers:
        raise _fault("the scenario has no lever", place, "[[scenario.lever]] tables, applied in their order")
    checked = [_lever(lever, f"{place}, lever {at}") for at, lever in enumerate(levers, start=1)]
    return Scenario(str(one.get("name") or f"scenario {number}"), tuple(checked))


def _lever(lever: Any, where: str) -> Mapping[str, Any]:
    kind = lever.get("kind") if isinstance(lever, dict) else None
    if not isinstance(kind, str) or kind not in LEVERS:
        raise _fault(f"{kind!r} is no lever", where, "kind = one of " + ", ".join(LEVERS))
    needed, optional = LEVERS[kind]
    _known(lever, ("kind", *needed, *optional), where)
    missing = [name for name in needed if name not in lever]
    if missing:
        raise _fault(f"the lever {kind} lacks {', '.join(missing)}", where, ", ".join((*needed, *optional)))
    return {name: value if name in ("kind", "name") else _number(name, value, where) for name, value in lever.items()}


def _inference(table: Any, where: str) -> Inference:
    if not isinstance(table, dict):
        raise _fault("[today] is no table", where, "[today] with the fields of a GPU-hour")
    names = [field.name for field in fields(Inference)]
    _known(table, names, where)
    missing = [name for name in names[:3] if name not in table]
    if missing:
        raise _fault(f"today lacks {', '.join(missing)}", where, ", ".join(names[:3]))
    return Inference(**{name: _number(name, value, where) for name, value in table.items()})


def _number(name: str, value: Any, where: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise _fault(f"{name} = {value!r} is no number", where, f"{name} = a number")
    number = Decimal(value)
    is_fine = number.is_finite() and (number > 0 if name in _POSITIVE else number >= 0)
    if name in _SHARES:
        is_fine = is_fine and number <= 1
    if name == "pue":
        is_fine = is_fine and number >= 1
    if not is_fine:
        limits = "more than 0 and at most 1" if name in _SHARES else "at least 1" if name == "pue" else "positive"
        raise _fault(f"{name} = {value} is out of range", where, limits)
    return number


def _known(table: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    foreign = sorted(table.keys() - set(names))
    if foreign:
        raise _fault(f"nobody knows {', '.join(foreign)}", where, ", ".join(names))


def _fault(what: str, where: str, expected: str) -> UsageError:
    return UsageError(what, where=where, expected=expected, next_move="correct the scenario file")
