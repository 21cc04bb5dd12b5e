"""Every known fault of logs and bills, injected into the demo quarter, is named with its exact size; nothing else
moves.

What lives here: the faults on days that do not know each other, and the cause that must move by what the injected files
say. What does not: the quarter as it is (test_demo_reconciles.py), each fault by itself in a month worked by hand
(tests/faults/test_fault_naming.py). Prices by hand, per million tokens: gpt-4o-mini $0.15 for input, less the 12% of
its contract; claude-sonnet-5 $2 input, $0.20 cache reads, $2.50 and $4 cache writes, $10 output.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.intake.landing import Ledger
from pipelines.lake import Lake
from tests.integration.demo_quarter import (
    CAUSES,
    WRITTEN,
    Key,
    Line,
    anthropic_default_usd,
    bucket_of,
    coding_usage,
    daily,
    export,
    features,
    openai_lines,
    openai_tokens_usd,
    rebuild,
    restate,
    rewrite_coding,
    rows_of,
    times,
)
from tests.integration.nights import land

pytestmark = pytest.mark.slow


def september(day: int) -> date:
    return date(2026, 9, day)


STALE, DOLLARS, CENTS, TWICE, BLOCKED, UNKNOWN, CUT = (september(day) for day in (8, 10, 12, 16, 18, 20, 30))
LOST, RESTATED, CACHED, PRIORITY = (september(day) for day in (4, 14, 25, 11))
ZONE = date(2026, 8, 5)
"""In a month without other faults: what a month misses on one day and has too much on another is told by its whole."""
OVERLAP = [date(2026, 8, day) for day in range(10, 21)]
ASSIST, LAB, DEFAULT, APP = (
    ("openai", "proj_assist"),
    ("openai", "proj_lab"),
    ("anthropic", "default"),
    ("anthropic", "wrkspc_app"),
)
TOUCHED = {
    *((day, *ASSIST) for day in (STALE, DOLLARS, CENTS, TWICE, BLOCKED, UNKNOWN, CUT)),
    *((day, *DEFAULT) for day in (LOST, ZONE, ZONE + timedelta(days=1), RESTATED, CACHED)),
    (PRIORITY, *APP),
    (CUT, *LAB),
}
SONNET = {"input_tokens": "2", "cache_read_input_tokens": "0.2", "output_tokens": "10"}
SONNET_WRITES = {"ephemeral_5m_input_tokens": "2.5", "ephemeral_1h_input_tokens": "4"}


@dataclass(frozen=True)
class Story:
    """The quarter before and after all faults: reconciliation and features' costs by day, provider and account."""

    home: Path
    before: dict[Key, Line]
    after: dict[Key, Line]
    costs_before: dict[Key, list[Line]]
    costs_after: dict[Key, list[Line]]

    def moved(self, key: Key) -> dict[str, Decimal]:
        """Causes that moved, by how many dollars."""
        before, after = self.before[key], self.after[key]
        deltas = {cause: after[f"{cause}_usd"] - before[f"{cause}_usd"] for cause in CAUSES}
        return {cause: delta for cause, delta in deltas.items() if delta}

    def headline(self, key: Key) -> tuple[Decimal, Decimal]:
        """By how much all that features cost on that day moved: billed, effective."""
        told = [
            sum((sign * (row[name] or Decimal(0)) for sign, rows in self._sides(key) for row in rows), Decimal(0))
            for name in ("billed_cost_usd", "effective_cost_usd")
        ]
        return told[0], told[1]

    def _sides(self, key: Key) -> tuple[tuple[int, list[Line]], ...]:
        return (1, self.costs_after[key]), (-1, self.costs_before[key])

    def reason(self, key: Key) -> str:
        return str(self.after[key]["reason"])


def call(day: date, name: str, tokens: int, **more: str) -> Line:
    told = {"started_at": f"{day}T12:00:00Z", "provider": "openai", "account": "proj_assist", "model": "gpt-4o-mini"}
    return {**told, "request_id": f"{name}-{day}", "input_uncached_tokens": tokens, "feature_tag": "x", **more}


def bills(home: Path) -> None:
    """Amounts times 100 and by 100, a price that rose by a fifth, a bucket restated by a tenth, an unknown model, and
    a fetch that lost its last page."""
    restate(home, "openai_costs", DOLLARS, times(openai_lines(home, DOLLARS), "100"))
    restate(home, "openai_costs", CENTS, times(openai_lines(home, CENTS), "0.01"))
    restate(home, "openai_costs", STALE, times(openai_lines(home, STALE), "1.2"))
    lower = [
        line if line["workspace_id"] else {**line, "amount": str(Decimal(line["amount"]) * Decimal("0.9"))}
        for line in bucket_of(home, "anthropic_costs", RESTATED)["results"]
    ]
    restate(home, "anthropic_costs", RESTATED, lower)
    lines = openai_lines(home, UNKNOWN)
    new = {**lines[0], "line_item": "gpt-next, input", "amount": {"value": "5.00", "currency": "usd"}}
    restate(home, "openai_costs", UNKNOWN, [*lines, new])
    last = home / "landing/openai_costs/costs_2026-09-29_2026-09-30.json"
    page = json.loads(last.read_text())
    last.write_text(json.dumps({**page, "data": page["data"][:1], "has_more": True, "next_page": "page_2"}))
    os.utime(last, (WRITTEN, WRITTEN))


def logs(home: Path) -> None:
    """A batch again under other ids, a refused request, a call of the unknown model, one of the priority tier; in
    Claude Code's logs a lost day, a day of local time, and a day whose cached tokens are input as well."""
    priority = {"provider": "anthropic", "account": "wrkspc_app", "model": "claude-haiku-4-5-20251001"}
    lines = [
        call(TWICE, "again", 1_000_000),
        call(BLOCKED, "refused", 500_000, status="blocked"),
        call(UNKNOWN, "next", 1_000, model="gpt-next"),
        call(PRIORITY, "urgent", 1_000_000, service_tier="priority", **priority),
    ]
    land(home, "usage_table/faults.jsonl", lines)

    def later(line: Line) -> Line:
        return {**line, "timestamp": line["timestamp"].replace(str(ZONE), str(ZONE + timedelta(days=1)))}

    def twice(line: Line) -> Line:
        usage = line["message"]["usage"]
        wrong = {**usage, "input_tokens": usage["input_tokens"] + usage["cache_read_input_tokens"]}
        return {**line, "message": {**line["message"], "usage": wrong}}

    rewrite_coding(home, LOST, lambda _: None)
    rewrite_coding(home, ZONE, later)
    rewrite_coding(home, CACHED, twice)


def duplicates(home: Path) -> list[str]:
    """Exports and logs a second time, and newer exports over days that others tell as well. Paths below landing/."""
    landing = home / "landing"
    made = []
    for name in (
        "openai_costs/costs_2026-07-01_2026-07-31.json",
        "anthropic_usage/messages_2026-07-01_2026-07-31.json",
        "focus/2026-08.csv",
        "litellm/spend_logs_2026-08.jsonl",
        "response_log/gateway/2026-09/week-2026-09-07.jsonl.gz",
    ):
        copy = (landing / name).with_name(f"copy-{Path(name).name}")
        shutil.copy2(landing / name, copy)
        made.append(str(copy.relative_to(landing)))
    for source in ("openai_costs", "anthropic_costs"):
        export(home, source, "overlap", [bucket_of(home, source, day) for day in OVERLAP])
        made.append(f"{source}/overlap.json")
    return made


@pytest.fixture(scope="module")
def story(coherent: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """One build over all faults, each on a day of its own."""
    home = tmp_path_factory.mktemp("faults") / "home"
    shutil.copytree(coherent, home)
    bills(home)
    logs(home)
    made = duplicates(home)
    rebuild(home)
    ledger = Ledger(Lake(home / "lake")).frame()
    taken = {f"{source}/{path}" for source, path in ledger.select("source", "relative_path").iter_rows()}
    assert set(made) <= taken
    return Story(home, daily(coherent), daily(home), features(coherent), features(home))


def test_nothing_moves_on_any_other_day_or_account(story: Story) -> None:
    """Not a digit, not a status, not a reason: neither in the reconciliation nor in what any feature costs."""
    for before, after in ((story.before, story.after), (story.costs_before, story.costs_after)):
        assert {key: row for key, row in after.items() if key not in TOUCHED} == {
            key: row for key, row in before.items() if key not in TOUCHED
        }


def test_exports_told_twice_and_exports_that_overlap_change_nothing(story: Story) -> None:
    """The copies tell July and August as a whole and a week of September; the overlap tells eleven days of August."""
    told = [key for key in story.before if key[0] < september(1) and key not in TOUCHED]
    assert {key[0] for key in told} >= set(OVERLAP)
    assert {key[1] for key in told} >= {"openai", "anthropic", "aws", "mistral"}
    for key in told:
        assert story.after[key] == story.before[key]
        assert story.costs_after.get(key) == story.costs_before.get(key)


@pytest.mark.parametrize(("day", "factor"), [(DOLLARS, "99"), (CENTS, "-0.99")], ids=["x100", "/100"])
def test_a_unit_error_is_unexplained_with_its_whole_size(story: Story, coherent: Path, day: date, factor: str) -> None:
    """What the export billed for tokens, 99 times more or 99 hundredths less; the day had no gap before."""
    size = openai_tokens_usd(coherent, day) * Decimal(factor)
    assert size
    assert story.moved((day, *ASSIST)) == {"unexplained": size}
    assert story.headline((day, *ASSIST)) == (size, size)
    assert "check cents against dollars" in story.reason((day, *ASSIST))
    assert {row["cost_status"] for row in story.costs_after[day, *ASSIST]} == {"provisional"}


def test_a_stale_price_is_a_price_gap_of_a_fifth(story: Story, coherent: Path) -> None:
    size = openai_tokens_usd(coherent, STALE) / 5
    assert story.moved((STALE, *ASSIST)) == {"price_gap": size}
    assert story.headline((STALE, *ASSIST)) == (size, size)
    assert "stale price" in story.reason((STALE, *ASSIST))


def test_a_restated_day_is_a_price_gap_of_a_tenth(story: Story, coherent: Path) -> None:
    size = -anthropic_default_usd(coherent, RESTATED) / 10
    assert story.moved((RESTATED, *DEFAULT)) == {"price_gap": size}
    assert story.headline((RESTATED, *DEFAULT)) == (size, size)
    assert "discount may be missing" in story.reason((RESTATED, *DEFAULT))


def test_a_fetch_cut_short_is_timing_and_contracted_cost_stands(story: Story, coherent: Path) -> None:
    """All tokens of proj_assist were logged and billed at contract: they cost the same, estimated; its six searches at
    $10 per thousand, which no log holds, are not known any more."""
    key = (CUT, *ASSIST)
    size = openai_tokens_usd(coherent, CUT)
    assert story.moved(key) == {"timing": -size, "non_token_charges": Decimal("-0.06")}
    assert story.headline(key)[1] == Decimal("-0.06")
    assert sum((row["effective_cost_usd"] for row in story.costs_after[key]), Decimal(0)) == size
    assert {row["cost_status"] for row in story.costs_after[key]} == {"estimated"}
    assert "fetch or land it" in story.reason(key)
    assert "fetch or land it" in story.reason((CUT, *LAB))


def test_a_lost_day_of_logs_is_unlogged(story: Story, coherent: Path) -> None:
    """The provider counted and billed it all, and no log says who it was."""
    size = anthropic_default_usd(coherent, LOST)
    assert story.moved((LOST, *DEFAULT)) == {"unlogged": size}
    assert story.headline((LOST, *DEFAULT)) == (0, 0)
    assert [row["feature"] for row in story.costs_after[LOST, *DEFAULT] if row["effective_cost_usd"]] == [
        "__unlogged__"
    ]
    assert "a day of logs is missing" in story.reason((LOST, *DEFAULT))


def test_a_wrong_time_zone_is_unlogged_on_one_day_and_overlogged_on_the_next(story: Story, coherent: Path) -> None:
    usages = coding_usage(coherent, ZONE)
    assert {usage["model"] for usage in usages} == {"claude-sonnet-5"}
    size = sum((usage[name] * Decimal(usd) for usage in usages for name, usd in SONNET.items()), Decimal(0)) + sum(
        (usage["cache_creation"][name] * Decimal(usd) for usage in usages for name, usd in SONNET_WRITES.items()),
        Decimal(0),
    )
    right, wrong = (ZONE, *DEFAULT), (ZONE + timedelta(days=1), *DEFAULT)
    assert story.moved(right) == {"unlogged": size / 1_000_000}
    assert story.moved(wrong) == {"overlogged": -size / 1_000_000}
    assert story.headline(right) == story.headline(wrong) == (0, 0)
    assert "a day of logs is missing" in story.reason(right)
    assert "more was logged than the provider counted" in story.reason(wrong)
    months = rows_of(story.home, "mart__reconciliation_monthly")
    (month,) = (row for row in months if (row["month"], row["provider"], row["account"]) == ("2026-08", *DEFAULT))
    assert "check the time zone of the logs" in month["reason"]


def test_cached_tokens_counted_twice_are_overlogged(story: Story, coherent: Path) -> None:
    """Every cached token is an input token too, at $2 per million."""
    usages = coding_usage(coherent, CACHED)
    assert {usage["model"] for usage in usages} == {"claude-sonnet-5"}
    size = 2 * sum(usage["cache_read_input_tokens"] for usage in usages) * Decimal("0.000001")
    assert story.moved((CACHED, *DEFAULT)) == {"overlogged": -size}
    assert story.headline((CACHED, *DEFAULT)) == (0, 0)
    assert "cached tokens" in story.reason((CACHED, *DEFAULT))


def test_a_batch_counted_twice_is_overlogged(story: Story) -> None:
    """1,000,000 tokens of gpt-4o-mini at $0.15 per million, less the contract's 12%."""
    assert story.moved((TWICE, *ASSIST)) == {"overlogged": Decimal("-0.132")}
    assert story.headline((TWICE, *ASSIST)) == (0, 0)
    assert "a batch counted twice" in story.reason((TWICE, *ASSIST))


def test_a_blocked_request_is_not_billed(story: Story) -> None:
    """500,000 tokens at $0.15 per million, less the contract's 12%."""
    assert story.moved((BLOCKED, *ASSIST)) == {"not_billed": Decimal("-0.066")}
    assert story.headline((BLOCKED, *ASSIST)) == (0, 0)
    assert "failed or blocked requests" in story.reason((BLOCKED, *ASSIST))


def test_an_unknown_model_is_unpriced_with_what_it_was_billed(story: Story) -> None:
    """Its dollars are known from the bill and are its feature's; metered cost does not know it."""
    assert story.moved((UNKNOWN, *ASSIST)) == {"unpriced": Decimal(5)}
    assert story.headline((UNKNOWN, *ASSIST)) == (5, 5)
    (row,) = (row for row in story.costs_after[UNKNOWN, *ASSIST] if row["model"] == "gpt-next")
    assert (row["feature"], row["effective_cost_usd"], row["list_cost_usd"]) == ("x", 5, None)
    assert "mart__unpriced_usage" in story.reason((UNKNOWN, *ASSIST))


def test_the_priority_tier_is_left_out_of_the_cost_api_and_costs_its_contract(story: Story) -> None:
    """1,000,000 tokens at the contract's $1 per million, on no list and in no cost report."""
    assert story.moved((PRIORITY, *APP)) == {"excluded_from_cost_api": Decimal(-1)}
    assert story.headline((PRIORITY, *APP)) == (0, 1)
    assert "leaves out by rule" in story.reason((PRIORITY, *APP))
