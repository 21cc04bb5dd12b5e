"""Prepaid amounts: drawn by use at contracted price or by tokens, never overdrawn, what expires is named."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipelines.contracts.commitments import IntPrepaidDrawn, IntPrepaidUse
from pipelines.lake import enforce
from pipelines.transforms.commitments import share_commitments
from pipelines.transforms.prepaid import draw_down, prepaid_use
from tests.sql.cases import input_frame

CREDITS = {
    "commitment_id": "credits",
    "provider": "openai",
    "account": "*",
    "model_pattern": "*",
    "kind": "prepaid",
    "cost_usd": 10,
    "period": "once",
    "valid_from": datetime(2026, 8, 1, tzinfo=UTC),
    "valid_to": datetime(2026, 11, 1, tzinfo=UTC),
}
LATER = date(2026, 12, 31)
Told = list[tuple[str, str, str, Decimal]]


def used(
    usage: list[dict[str, Any]], allocated: list[dict[str, Any]] = (), lines: list[dict[str, Any]] = ()
) -> pl.DataFrame:  # type: ignore[assignment]
    frames = (
        input_frame("ref__commitments", [CREDITS]),
        input_frame("int__usage_cost", [{"tokens": 1000, **one} for one in usage]),
        input_frame("int__allocated_tokens", list(allocated)),
        input_frame("int__bill_lines", list(lines)),
    )
    found = prepaid_use(*frames)
    enforce(IntPrepaidUse, found, "use")
    return found


def drawn(use: pl.DataFrame, *amounts: dict[str, Any], last_day: date = LATER) -> Told:
    found = draw_down(input_frame("ref__commitments", list(amounts or [CREDITS])), use, last_day)
    enforce(IntPrepaidDrawn, found, "drawn")
    rows = found.select("usage_date", "commitment_id", "feature", "effective_cost_usd").rows()
    return [(f"{day:%m-%d}", name, feature, usd) for day, name, feature, usd in rows]


def use(day: date, feature: str, usd: str, tokens: int = 1000, **more: str) -> dict[str, Any]:
    return {"usage_date": day, "feature": feature, "contracted_cost_usd": Decimal(usd), "tokens": tokens, **more}


def test_use_of_any_month_draws_its_contracted_cost_until_the_amount_expires() -> None:
    """$10 from August to October: 3.00 and 1.50 drawn, 5.50 expire on 31 October, its last day."""
    found = used([use(date(2026, 8, 5), "chat", "3"), use(date(2026, 9, 5), "search", "1.50")])
    assert drawn(found) == [
        ("08-05", "credits", "chat", Decimal("3.00")),
        ("09-05", "credits", "search", Decimal("1.50")),
        ("10-31", "credits", "__unused_commitment__", Decimal("5.50")),
    ]


def test_nothing_expires_before_its_day() -> None:
    found = used([use(date(2026, 8, 5), "chat", "3")])
    assert drawn(found, last_day=date(2026, 10, 30)) == [("08-05", "credits", "chat", Decimal(3))]


def test_where_the_amount_runs_out_the_days_users_share_what_was_left() -> None:
    """9.00 are drawn, 1.00 is left; 3.00 and 1.00 are asked for on the next day: 0.75 and 0.25. Then nothing is."""
    found = used(
        [
            use(date(2026, 8, 5), "chat", "9"),
            use(date(2026, 8, 6), "chat", "3"),
            use(date(2026, 8, 6), "search", "1"),
            use(date(2026, 8, 7), "chat", "5"),
        ]
    )
    assert drawn(found) == [
        ("08-05", "credits", "chat", Decimal(9)),
        ("08-06", "credits", "chat", Decimal("0.75")),
        ("08-06", "credits", "search", Decimal("0.25")),
    ]


def test_what_the_bill_charges_all_the_same_is_not_drawn() -> None:
    """3.00 at contracted price, 1.00 of it on the bill: 2.00 are drawn. Refused requests draw nothing."""
    day = date(2026, 8, 5)
    found = used(
        [use(day, "chat", "3"), use(day, "chat", "7", status="failure")],
        [{"usage_date": day, "feature": "chat", "billed_cost_usd": 1, "effective_cost_usd": 1}],
    )
    assert drawn(found)[0] == ("08-05", "credits", "chat", Decimal(2))


def test_an_account_whose_bill_amortises_by_itself_draws_nothing() -> None:
    day = date(2026, 8, 5)
    line = {"usage_date": day, "account": "p1", "billed_cost_usd": 0, "effective_cost_usd": 2}
    found = used([use(day, "chat", "3", account="p1"), use(day, "chat", "4", account="p2")], lines=[line])
    assert drawn(found)[0] == ("08-05", "credits", "chat", Decimal(4))


def test_a_capacity_in_tokens_is_drawn_by_the_token() -> None:
    """$10 for 4,000 tokens: 1,000 draw 2.50, and the 5,000 of the next day the 7.50 that are left."""
    bundle = {**CREDITS, "capacity_tokens": 4000}
    found = used([use(date(2026, 8, 5), "chat", "1"), use(date(2026, 8, 6), "chat", "1", 5000)])
    assert drawn(found, bundle) == [
        ("08-05", "credits", "chat", Decimal("2.50")),
        ("08-06", "credits", "chat", Decimal("7.50")),
    ]


def test_the_amount_that_expires_first_is_drawn_first_and_no_use_is_paid_twice() -> None:
    """12.00 of use: 10.00 from the credits that end in October, 2.00 from those without an end, which never expire."""
    lasting = {**CREDITS, "commitment_id": "a-lasting", "valid_to": None}
    found = used([use(date(2026, 8, 5), "chat", "12")])
    assert drawn(found, lasting, CREDITS) == [
        ("08-05", "a-lasting", "chat", Decimal(2)),
        ("08-05", "credits", "chat", Decimal(10)),
    ]


def test_days_before_the_first_and_models_outside_the_pattern_draw_nothing() -> None:
    mini = {**CREDITS, "model_pattern": "gpt-4o-*"}
    found = used([use(date(2026, 7, 31), "chat", "1", model="gpt-4o-mini"), use(date(2026, 8, 1), "chat", "1")])
    assert drawn(found, mini) == [("10-31", "credits", "__unused_commitment__", Decimal(10))]


def test_a_prepaid_amount_is_no_cost_of_time() -> None:
    frames = [
        input_frame("ref__commitments", [CREDITS]),
        input_frame("int__usage_cost", []),
        input_frame("int__bill_lines", []),
    ]
    assert share_commitments("2026-09", *frames).is_empty()
