"""Every dollar between metered and billed cost of one provider-day, told again in integers and dictionaries.

What lives here: the rules of matching and of causes as docs/methodology.md states them, without a line of SQL or
Polars. What does not: the cases (test_reconciliation_causes.py). Amounts are whole pico-dollars.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field

ANY = "*"
FAILED = ("failure", "blocked")


@dataclass(frozen=True)
class Logged:
    feature: str
    account: str
    model: str
    tier: str
    component: str
    status: str
    tokens: int
    cost: int | None
    is_meter: bool = False


@dataclass(frozen=True)
class Provided:
    account: str
    model: str
    tier: str
    component: str
    tokens: int
    cost: int | None


@dataclass(frozen=True)
class Line:
    account: str
    kind: str
    model: str | None
    tier: str | None
    component: str | None
    billed: int
    effective: int
    at_invoice_rate: int


@dataclass(frozen=True)
class Day:
    provider: str
    logged: list[Logged]
    provided: list[Provided]
    lines: list[Line]
    covered: list[str]
    """Accounts whose bill of the day is complete, `*` for all."""


Key = tuple[str, str, str, str]


@dataclass
class Keyed:
    billed: int = 0
    at_invoice_rate: int = 0
    effective: int = 0
    logged: int = 0
    provided: int = 0
    has_unpriced_log: bool = False
    has_provided: bool = False
    has_unpriced_provided: bool = False


@dataclass
class Answer:
    """Per account: cause → pico-dollars, and the two sums that the causes must bridge."""

    causes: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    metered: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    billed: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def reconcile(day: Day) -> Answer:
    answer = Answer()
    token_lines = [line for line in day.lines if line.kind == "token"]
    has_accounts = knows_accounts(day)

    def place(account: str) -> str:
        return account if has_accounts else ANY

    keys: dict[Key, Keyed] = defaultdict(Keyed)
    for line in token_lines:
        key = key_of_line(day, line)
        keys[key].billed += line.billed
        keys[key].at_invoice_rate += line.at_invoice_rate
        keys[key].effective += line.effective
    witnessed = {place(row.account) for row in day.provided if not is_left_out(day, row.tier)}
    for row in day.provided:
        key_of = finest(keys, place(row.account), row.model, row.tier, row.component)
        if is_left_out(day, row.tier) or key_of is None:
            continue
        keys[key_of].has_provided = True
        keys[key_of].has_unpriced_provided |= row.cost is None
        keys[key_of].provided += row.cost or 0
    for row in day.logged:
        account = place(row.account)
        answer.metered[account] += row.cost or 0
        cause = _cause_of_logged(day, row, account)
        key_of = finest(keys, account, row.model, row.tier, row.component) if cause is None else None
        if cause is None and key_of is None:
            cause = "not_billed" if _is_covered(day, account) else "timing"
        if cause is not None:
            answer.causes[account][cause] -= row.cost or 0
        elif key_of is not None:
            keys[key_of].logged += row.cost or 0
            keys[key_of].has_unpriced_log |= row.cost is None and row.tokens > 0
    for key, keyed in keys.items():
        answer.billed[key[0]] += keyed.billed
        answer.causes[key[0]]["fx"] += keyed.billed - keyed.at_invoice_rate
        for cause, amount in _causes_of_key(keyed, key[0] in witnessed).items():
            answer.causes[key[0]][cause] += amount
    words = {"tax": "tax", "credit": "credits", "commitment": "commitment"}
    for line in day.lines:
        if line.kind != "token":
            account = place(line.account)
            answer.billed[account] += line.billed
            answer.causes[account][words.get(line.kind, "non_token_charges")] += line.at_invoice_rate
            answer.causes[account]["fx"] += line.billed - line.at_invoice_rate
    return answer


def key_of_line(day: Day, line: Line) -> Key:
    """The finest key of a token line: details that the line has, and that provider usage does not lack."""
    detailed = line.model is not None and not any(row.model == ANY for row in day.provided)
    return (
        line.account if knows_accounts(day) else ANY,
        line.model or ANY if detailed else ANY,
        line.tier or ANY if detailed else ANY,
        line.component or ANY if detailed else ANY,
    )


def knows_accounts(day: Day) -> bool:
    """Whether all sides tell accounts apart; a day without token lines has nothing to compare."""
    token_lines = [line for line in day.lines if line.kind == "token"]
    if not token_lines:
        return True
    if any(line.account == ANY for line in token_lines) or any(row.account == ANY for row in day.provided):
        return False
    log_is_vague = any(row.account == "default" for row in day.logged)
    return not log_is_vague or any(line.account == "default" for line in token_lines)


def is_left_out(day: Day, tier: str) -> bool:
    return day.provider == "anthropic" and tier == "priority"


def _is_covered(day: Day, account: str) -> bool:
    return bool(day.covered) and (account in day.covered or ANY in day.covered or account in (ANY, "default"))


def _cause_of_logged(day: Day, row: Logged, account: str) -> str | None:
    if row.status in FAILED:
        return "not_billed"
    if row.is_meter:
        return "non_token_charges" if _is_covered(day, account) else "timing"
    return "excluded_from_cost_api" if is_left_out(day, row.tier) else None


def finest(keys: Container[Key], account: str, model: str, tier: str, component: str) -> Key | None:
    for key in (
        (account, model, tier, component),
        (account, model, ANY, component),
        (account, model, tier, ANY),
        (account, model, ANY, ANY),
        (account, ANY, ANY, ANY),
    ):
        if key in keys:
            return key
    return None


def _causes_of_key(key: Keyed, has_usage: bool) -> dict[str, int]:  # noqa: PLR0911 -- one return per rule
    """At the invoice's rate; fx is told apart. `has_usage`: the provider counts this account on this day."""
    billed, logged, provided = key.at_invoice_rate, key.logged, key.provided
    if key.has_unpriced_log or (key.has_provided and key.has_unpriced_provided):
        return {"unpriced": billed - logged}
    between = {"unlogged": max(0, provided - logged), "overlogged": -max(0, logged - provided)}
    reference = provided if has_usage else logged
    if billed == 0 and key.effective > 0:
        return {"commitment": billed - reference, **(between if has_usage else {})}
    if reference > 0 and _is_unit_error(billed, reference):
        return {"unexplained": billed - reference, **(between if has_usage else {})}
    if has_usage:
        if 50 * reference <= 100 * billed <= 125 * reference:
            return {"price_gap": billed - provided, **between}
        if provided == 0 and logged == 0:
            return {"unlogged": billed}
        return {"unexplained": billed - provided, **between}
    if logged == 0 or 100 * billed > 102 * logged:
        return {"unlogged": billed - logged}
    if 100 * billed >= 50 * logged:
        return {"price_gap": billed - logged}
    return {"unexplained": billed - logged}


def _is_unit_error(billed: int, reference: int) -> bool:
    return (
        90 * reference <= billed <= 110 * reference
        or 900 * reference <= billed <= 1100 * reference
        or 9 * reference <= billed * 1000 <= 11 * reference
        or 9 * reference <= billed * 10000 <= 11 * reference
    )
