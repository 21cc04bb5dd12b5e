"""Who pays how much of a bill: transforms/matching.py and allocation.py against an oracle in plain whole numbers.

What lives here: the rules of shares, worked by hand and by an oracle of its own. What does not: finding keys and
claimants (tests/sql), marts. The oracle counts in Python ints and Fractions and shares no code with the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import floor

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts.fields import polars_schema
from pipelines.contracts.matched import IntSharedClaims, IntTokenClaims
from pipelines.errors import ContractError
from pipelines.quantities import largest_remainder
from pipelines.transforms.allocation import share_out
from pipelines.transforms.matching import share_other_charges, share_token_charges

PICO = 10**12
DAY = date(2026, 11, 1)


@dataclass(frozen=True)
class Claimant:
    """A feature's usage under a key: tokens, how many of them lack a price, cost of the others in pico-dollars."""

    feature: str
    tokens: int = 0
    cost: int | None = None
    unpriced_tokens: int = 0
    team: str | None = None
    model: str = "gpt-4o"

    @property
    def names(self) -> tuple[str, str, str, str]:
        return (self.feature, self.team or "", self.model, "")


@dataclass(frozen=True)
class Key:
    """A billed key: amounts in pico-dollars, what the provider counted, who claims."""

    name: str
    billed: int
    effective: int
    claimants: Sequence[Claimant] = field(default_factory=tuple)
    has_usage: bool = False
    provider_tokens: int | None = None
    provider_cost: int | None = None


def usd(pico: int | None) -> Decimal | None:
    return None if pico is None else Decimal(pico).scaleb(-12)


def frame_of(keys: Sequence[Key]) -> pl.DataFrame:
    rows = []
    for key in keys:
        shared = {
            "key_id": key.name,
            "usage_date": DAY,
            "provider": "openai",
            "key_account": "*",
            "key_model": "*",
            "key_tier": "*",
            "key_component": "*",
            "match_level": 5,
            "billed_cost_usd": usd(key.billed),
            "effective_cost_usd": usd(key.effective),
            "billed_cost_at_invoice_rate_usd": usd(key.billed),
            "has_provider_usage": key.has_usage,
            "provider_tokens": key.provider_tokens,
            "provider_cost_usd": usd(key.provider_cost),
        }
        rows += [
            {
                **shared,
                "feature": mine.feature,
                "team": mine.team,
                "account": "default",
                "model": mine.model,
                "service_tier": "standard",
                "component": "output",
                "tokens": mine.tokens,
                "unpriced_tokens": mine.unpriced_tokens,
                "contracted_cost_usd": usd(mine.cost),
            }
            for mine in key.claimants
        ] or [shared]
    return pl.DataFrame(rows, schema=polars_schema(IntTokenClaims))


def oracle(key: Key) -> dict[tuple[str, str | None, str], tuple[int, int]]:
    """(feature, team, model) → billed and effective share in pico-dollars, by the rules of three-way matching."""
    known = sum(mine.cost for mine in key.claimants if mine.cost is not None)
    is_by_tokens = known <= 0 or (key.has_usage and key.provider_tokens is not None and key.provider_cost is None)
    priced = sum(mine.tokens - mine.unpriced_tokens for mine in key.claimants)
    claims: list[tuple[tuple[str, str | None, str], int]] = []
    for mine in key.claimants:
        if is_by_tokens:
            weight = mine.tokens
        else:
            weight = (mine.cost or 0) + floor(Fraction(mine.unpriced_tokens * known, max(priced, 1)))
        claims.append(((mine.feature, mine.team, mine.model), weight))
    logged = sum(weight for _, weight in claims)
    witness = key.provider_tokens if is_by_tokens else key.provider_cost
    bill = key.billed or key.effective
    if logged == 0:
        whole = 1
    elif key.has_usage:
        whole = max(witness or 0, logged)
    elif is_by_tokens or Fraction(bill, logged) <= Fraction(102, 100):
        whole = logged
    else:
        whole = bill
    claims.append((("__unlogged__", None, "*"), whole - logged))
    paid = sorted(((names, weight) for names, weight in claims if weight > 0), key=lambda claim: _by_name(claim[0]))
    billed, effective = (_shares(amount, [weight for _, weight in paid]) for amount in (key.billed, key.effective))
    return {names: (b, e) for (names, _), b, e in zip(paid, billed, effective, strict=True)}


def _by_name(names: tuple[str, str | None, str]) -> tuple[str, str, str]:
    return names[0], names[1] or "", names[2]


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """Largest remainder: floors of the exact parts, then one more to the largest fractions, earlier names first."""
    exact = [Fraction(abs(total) * weight, sum(weights)) for weight in weights]
    shares = [floor(part) for part in exact]
    order = sorted(range(len(weights)), key=lambda i: (shares[i] - exact[i], i))
    for position in order[: abs(total) - sum(shares)]:
        shares[position] += 1
    return [share if total >= 0 else -share for share in shares]


def shares_of(keys: Sequence[Key]) -> dict[str, dict[tuple[str, str | None, str], tuple[int, int]]]:
    found: dict[str, dict[tuple[str, str | None, str], tuple[int, int]]] = {key.name: {} for key in keys}
    for row in share_token_charges(frame_of(keys)).iter_rows(named=True):
        names = (row["feature"], row["team"], row["model"])
        assert names not in found[row["key_id"]]
        found[row["key_id"]][names] = (
            int(row["billed_cost_usd"].scaleb(12)),
            int(row["effective_cost_usd"].scaleb(12)),
        )
    return found


def billed_of(key: Key) -> dict[str, int]:
    return {names[0]: billed for names, (billed, _) in shares_of([key])[key.name].items()}


def test_with_provider_usage_what_nobody_logged_is_unlogged() -> None:
    """L is 30 and 20, P is 100: shares of a bill of 90 are 27, 18 and 45 for the 50 that no log holds."""
    claimants = (Claimant("chat", cost=30 * PICO), Claimant("search", cost=20 * PICO))
    key = Key("k", 90 * PICO, 90 * PICO, claimants, has_usage=True, provider_tokens=9, provider_cost=100 * PICO)
    assert billed_of(key) == {"__unlogged__": 45 * PICO, "chat": 27 * PICO, "search": 18 * PICO}


def test_logged_more_than_the_provider_counted_shares_the_bill_in_full() -> None:
    """L is 100 and 50 against P of 100: 2/3 and 1/3 of a bill of 90, nothing unlogged."""
    claimants = (Claimant("chat", cost=100 * PICO), Claimant("search", cost=50 * PICO))
    key = Key("k", 90 * PICO, 90 * PICO, claimants, has_usage=True, provider_tokens=1, provider_cost=100 * PICO)
    assert billed_of(key) == {"chat": 60 * PICO, "search": 30 * PICO}


@pytest.mark.parametrize(
    ("billed", "expected"),
    [
        (102 * PICO, {"chat": 612 * PICO // 10, "search": 408 * PICO // 10}),
        (102 * PICO + 1, {"chat": 60 * PICO, "search": 40 * PICO, "__unlogged__": 2 * PICO + 1}),
        (80 * PICO, {"chat": 48 * PICO, "search": 32 * PICO}),
    ],
    ids=["at 2% above it is a price difference", "a pico-dollar more is unlogged usage", "below it is a discount"],
)
def test_without_provider_usage_the_step_stands_at_two_percent(billed: int, expected: dict[str, int]) -> None:
    """L is 60 + 40 = 100. 102 is shared as 61.2 and 40.8; above, features get what they logged and no more."""
    claimants = (Claimant("chat", cost=60 * PICO), Claimant("search", cost=40 * PICO))
    assert billed_of(Key("k", billed, billed, claimants)) == expected


def test_a_key_that_nobody_logged_is_unlogged_in_full() -> None:
    assert billed_of(Key("k", 7 * PICO, 7 * PICO)) == {"__unlogged__": 7 * PICO}


def test_usage_that_is_free_and_empty_claims_nothing() -> None:
    key = Key("k", 7 * PICO, 7 * PICO, (Claimant("chat", tokens=0, cost=0),))
    assert billed_of(key) == {"__unlogged__": 7 * PICO}


def test_without_any_price_tokens_share_the_bill() -> None:
    """30 and 10 tokens without a price: 3/4 and 1/4 of 8, however large the bill is."""
    claimants = (Claimant("chat", tokens=30, unpriced_tokens=30), Claimant("search", tokens=10, unpriced_tokens=10))
    assert billed_of(Key("k", 8 * PICO, 8 * PICO, claimants)) == {"chat": 6 * PICO, "search": 2 * PICO}


def test_without_any_price_the_providers_tokens_tell_what_is_unlogged() -> None:
    """The provider counted 100 tokens, 40 are logged: 60% of 10 is unlogged."""
    claimants = (Claimant("chat", tokens=30, unpriced_tokens=30), Claimant("search", tokens=10, unpriced_tokens=10))
    key = Key("k", 10 * PICO, 10 * PICO, claimants, has_usage=True, provider_tokens=100)
    assert billed_of(key) == {"__unlogged__": 6 * PICO, "chat": 3 * PICO, "search": PICO}


def test_a_token_without_a_price_weighs_as_much_as_the_priced_ones_do_on_average() -> None:
    """chat: 10 tokens for 10; search: 20 tokens for 20 and 10 without a price: 30/30 = 1 each, so 10 to 30 of 40."""
    claimants = (
        Claimant("chat", tokens=10, cost=10 * PICO),
        Claimant("search", tokens=30, unpriced_tokens=10, cost=20 * PICO),
    )
    assert billed_of(Key("k", 40 * PICO, 40 * PICO, claimants)) == {"chat": 10 * PICO, "search": 30 * PICO}


def test_equal_remainders_go_to_the_first_names() -> None:
    """2 pico-dollars among three equals: a and b get one each. Without a team comes before any team."""
    claimants = (Claimant("c", cost=PICO), Claimant("b", cost=PICO, team="z"), Claimant("b", cost=PICO))
    found = shares_of([Key("k", 2, 2, claimants)])["k"]
    assert found == {("b", None, "gpt-4o"): (1, 1), ("b", "z", "gpt-4o"): (1, 1), ("c", None, "gpt-4o"): (0, 0)}


def test_a_correction_below_zero_is_shared_by_its_size() -> None:
    """-10 by 2 to 1: the parts are 6.67 and 3.33; floors 6 and 3, the last pico-dollar to the larger remainder."""
    claimants = (Claimant("chat", cost=2 * PICO), Claimant("search", cost=PICO))
    assert billed_of(Key("k", -10, -10, claimants)) == {"chat": -7, "search": -3}


def test_usage_under_a_commitment_is_weighed_by_its_effective_cost() -> None:
    """Billed 0, effective 5, logged 1: the effective cost is far above the log, so 4 of the 5 are unlogged."""
    key = Key("k", 0, 5 * PICO, (Claimant("chat", cost=PICO),))
    assert shares_of([key])["k"] == {("__unlogged__", None, "*"): (0, 4 * PICO), ("chat", None, "gpt-4o"): (0, PICO)}


names = st.tuples(
    st.sampled_from(["a", "b", "chat", "__unattributed__"]), st.sampled_from([None, "t"]), st.sampled_from(["m", "n"])
)
money = st.integers(min_value=0, max_value=10**17)


@st.composite
def claimants(draw: st.DrawFn) -> tuple[Claimant, ...]:
    found = []
    for feature, team, model in draw(st.lists(names, max_size=6, unique=True)):
        tokens = draw(st.integers(min_value=0, max_value=10**10))
        unpriced = draw(st.sampled_from([0, tokens, tokens // 3]))
        cost = None if unpriced == tokens else draw(money)
        found.append(Claimant(feature, tokens, cost, unpriced, team, model))
    return tuple(found)


@st.composite
def keys(draw: st.DrawFn) -> list[Key]:
    found = []
    for number in range(draw(st.integers(min_value=1, max_value=4))):
        billed = draw(st.one_of(st.just(0), st.integers(min_value=-(10**17), max_value=10**17)))
        has_usage = draw(st.booleans())
        tokens = draw(st.one_of(st.none(), st.integers(min_value=0, max_value=10**11))) if has_usage else None
        found.append(
            Key(
                f"k{number}",
                billed,
                draw(st.one_of(st.just(billed), st.integers(min_value=0, max_value=10**17))),
                draw(claimants()),
                has_usage,
                tokens,
                draw(st.one_of(st.none(), money)) if tokens is not None else None,
            )
        )
    return found


@settings(max_examples=150, deadline=None)
@given(keys())
def test_token_shares_are_those_of_the_oracle_and_sum_to_the_bill(given_keys: list[Key]) -> None:
    found = shares_of(given_keys)
    for key in given_keys:
        assert found[key.name] == oracle(key)
        assert sum(billed for billed, _ in found[key.name].values()) == key.billed
        assert sum(effective for _, effective in found[key.name].values()) == key.effective


@settings(max_examples=50, deadline=None)
@given(keys(), st.randoms(use_true_random=False))
def test_shares_do_not_depend_on_the_order_of_the_claims(given_keys: list[Key], chance: object) -> None:
    frame = frame_of(given_keys)
    order = list(range(frame.height))
    chance.shuffle(order)  # type: ignore[attr-defined]
    assert share_token_charges(frame[order]).equals(share_token_charges(frame))


def test_no_claims_give_no_shares() -> None:
    assert share_token_charges(frame_of([])).is_empty()


def other_claims(pools: Sequence[tuple[str, int, int, Sequence[tuple[str, int]]]]) -> pl.DataFrame:
    rows = [
        {
            "key_id": pool,
            "usage_date": DAY,
            "charge_kind": "credit",
            "billed_cost_usd": usd(billed),
            "effective_cost_usd": usd(effective),
            "feature": feature,
            "provider": "openai",
            "account": "p1",
            "model": "*",
            "service_tier": "*",
            "component": "*",
            "weight_usd": usd(weight),
        }
        for pool, billed, effective, shares in pools
        for feature, weight in shares
    ]
    return pl.DataFrame(rows, schema=polars_schema(IntSharedClaims))


def test_a_credit_follows_its_weights_and_keeps_its_sign() -> None:
    """-2 dollars by 3 to 1: -1.5 and -0.5. A weight of zero claims nothing."""
    shared = share_other_charges(other_claims([("p", -2 * PICO, -2 * PICO, [("a", 3), ("b", 1), ("c", 0)])]))
    assert shared.select("feature", "billed_cost_usd", "effective_cost_usd").rows() == [
        ("a", Decimal("-1.5"), Decimal("-1.5")),
        ("b", Decimal("-0.5"), Decimal("-0.5")),
    ]


weights = st.lists(st.integers(min_value=0, max_value=10**15), min_size=1, max_size=7).filter(any)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(min_value=-(10**18), max_value=10**18), weights), min_size=1, max_size=4))
def test_pools_are_shared_exactly_whatever_their_sign(pools: list[tuple[int, list[int]]]) -> None:
    claims = [
        (f"p{number}", total, 0, [(f"f{place}", weight) for place, weight in enumerate(mine)])
        for number, (total, mine) in enumerate(pools)
    ]
    shared = share_other_charges(other_claims(claims))
    for number, (total, mine) in enumerate(pools):
        rows = shared.filter(pl.col("key_id") == f"p{number}")
        expected = _shares(total, [weight for weight in mine if weight])
        assert [int(value.scaleb(12)) for value in rows["billed_cost_usd"]] == expected
        assert sum(expected) == total
        assert set(rows["effective_cost_usd"]) == {Decimal(0)}


@settings(max_examples=100, deadline=None)
@given(st.integers(min_value=-(10**18), max_value=10**18), weights)
def test_one_pool_is_shared_as_by_the_plain_function(total: int, mine: list[int]) -> None:
    """The vectorised share_out and quantities.largest_remainder are two writings of one rule; the oracle is a third."""
    frame = pl.DataFrame(
        {
            "pool": ["p"] * len(mine),
            "total": [total] * len(mine),
            "weight": mine,
            "name": [f"{i:03d}" for i in range(len(mine))],
        }
    )
    found = share_out(frame, pool="pool", amount="total", weight="weight", tie=["name"], share="share")[
        "share"
    ].to_list()
    assert found == largest_remainder(total, mine) == _shares(total, mine)


@pytest.mark.parametrize("mine", [[0, 0], [1, -1], [-1]], ids=["no weight", "weights that cancel", "below zero"])
def test_a_pool_without_positive_weights_is_refused(mine: list[int]) -> None:
    frame = pl.DataFrame(
        {"pool": ["p"] * len(mine), "total": [5] * len(mine), "weight": mine, "name": list(range(len(mine)))}
    )
    with pytest.raises(ContractError, match="no positive weight"):
        share_out(frame, pool="pool", amount="total", weight="weight", tie=["name"], share="share")


def test_amounts_beyond_128_bits_are_shared_exactly() -> None:
    """10^20 pico-dollars (a hundred million dollars) times a weight of 10^19 is 10^39, above 2^127 = 1.7 * 10^38. A
    third is 33,333,333,333,333,333,333 1/3; the missing unit goes to the larger remainder, that of two thirds."""
    frame = pl.DataFrame(
        {"pool": ["p", "p"], "total": [10**20, 10**20], "weight": [10**19, 2 * 10**19], "name": ["a", "b"]},
        schema={"pool": pl.String, "total": pl.Int128, "weight": pl.Int128, "name": pl.String},
    )
    found = share_out(frame, pool="pool", amount="total", weight="weight", tie=["name"], share="share")
    assert found["share"].to_list() == [33_333_333_333_333_333_333, 66_666_666_666_666_666_667]
