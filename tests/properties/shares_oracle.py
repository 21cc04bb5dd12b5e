"""Who pays how much of each bill line of one provider-day, told again in integers and dictionaries.

What lives here: the weights of docs/methodology.md and largest remainder, without a line of SQL or Polars. What does
not: causes (reconciliation_oracle.py), the cases (test_shares.py). Amounts are whole pico-dollars.
"""

from __future__ import annotations

from collections import defaultdict

from tests.properties.reconciliation_oracle import (
    ANY,
    FAILED,
    Day,
    Key,
    Line,
    Logged,
    finest,
    is_left_out,
    key_of_line,
    knows_accounts,
)

Owner = tuple[str, str, str, str, str]
"""Feature, account, model, tier, component."""
Shares = dict[Owner, list[int]]
"""Owner → billed and effective share."""


def shares_of(day: Day) -> tuple[Shares, Shares]:
    """Shares of token charges, and of all other charges, by owner."""
    tokens = _token_shares(day)
    return tokens, _other_shares(day, tokens)


def _token_shares(day: Day) -> Shares:
    lines: dict[Key, list[Line]] = defaultdict(list)
    for line in day.lines:
        if line.kind == "token":
            lines[key_of_line(day, line)].append(line)
    has_accounts = knows_accounts(day)

    def place(account: str) -> str:
        return account if has_accounts else ANY

    logged: dict[Key, list[Logged]] = defaultdict(list)
    for row in day.logged:
        if row.status not in FAILED and not row.is_meter and not is_left_out(day, row.tier):
            key = finest(lines, place(row.account), row.model, row.tier, row.component)
            if key is not None:
                logged[key].append(row)
    counted: dict[Key, list[tuple[int, int | None]]] = defaultdict(list)
    witnessed = set()
    for told in day.provided:
        if not is_left_out(day, told.tier):
            witnessed.add(place(told.account))
            key = finest(lines, place(told.account), told.model, told.tier, told.component)
            if key is not None:
                counted[key].append((told.tokens, told.cost))
    shares: Shares = defaultdict(lambda: [0, 0])
    for key, mine in lines.items():
        billed, effective = sum(line.billed for line in mine), sum(line.effective for line in mine)
        weights = _weights(logged[key], counted[key], key[0] in witnessed, billed or effective)
        unlogged = weights.pop(("__unlogged__", "", "", "", ""), 0)
        if unlogged:
            weights["__unlogged__", *key] = unlogged
        _give(shares, weights, billed, effective)
    return shares


def _weights(
    logged: list[Logged], counted: list[tuple[int, int | None]], has_usage: bool, charged: int
) -> dict[Owner, int]:
    """Dollars where the key has any price, else tokens; a token without a price weighs what the priced ones do."""
    rows: dict[Owner, tuple[int, int, int]] = {}
    for row in logged:
        owner = (row.feature, row.account, row.model, row.tier, row.component)
        tokens, cost, unpriced = rows.get(owner, (0, 0, 0))
        unpriced += row.tokens if row.cost is None else 0
        rows[owner] = (tokens + row.tokens, cost + (row.cost or 0), unpriced)
    cost = sum(row[1] for row in rows.values())
    priced = sum(row[0] - row[2] for row in rows.values())
    usage_lacks_price = has_usage and any(price is None for _, price in counted)
    by_tokens = cost <= 0 or usage_lacks_price
    weights = {
        owner: tokens if by_tokens else own + unpriced * cost // max(priced, 1)
        for owner, (tokens, own, unpriced) in rows.items()
    }
    whole = sum(weights.values())
    if whole == 0:
        return {("__unlogged__", "", "", "", ""): 1}
    if has_usage:
        witness = sum(tokens if by_tokens else (price or 0) for tokens, price in counted)
        rest = max(witness, whole) - whole
    elif by_tokens or 100 * charged <= 102 * whole:
        rest = 0
    else:
        rest = charged - whole
    return {**{owner: weight for owner, weight in weights.items() if weight}, ("__unlogged__", "", "", "", ""): rest}


def _other_shares(day: Day, tokens: Shares) -> Shares:
    """Credits follow token charges, fees follow logged meters, the rest is kept; what nobody can claim is shared."""
    pools: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in day.lines:
        if line.kind != "token":
            pools[line.account, line.kind].append(line)
    shares: Shares = defaultdict(lambda: [0, 0])
    for (account, kind), lines in pools.items():
        weights: dict[Owner, int] = defaultdict(int)
        if kind == "credit":
            charges: dict[Owner, list[int]] = defaultdict(lambda: [0, 0])
            for (feature, own, model, tier, _), (billed, effective) in tokens.items():
                if account in (own, ANY):
                    charges[feature, own, model, tier, ANY][0] += billed
                    charges[feature, own, model, tier, ANY][1] += effective
            weights |= {owner: billed if billed > 0 else effective for owner, (billed, effective) in charges.items()}
        elif kind == "non_token":
            for row in day.logged:
                if row.is_meter and (account in (row.account, ANY) or row.account == "default"):
                    weights[row.feature, row.account, row.model, row.tier, ANY] += row.cost or 0
        weights = {owner: weight for owner, weight in weights.items() if weight > 0}
        if not weights:
            weights = {("__shared__", account, ANY, ANY, ANY): 1}
        _give(shares, weights, sum(line.billed for line in lines), sum(line.effective for line in lines))
    return shares


def _give(shares: Shares, weights: dict[Owner, int], billed: int, effective: int) -> None:
    for place, amount in enumerate((billed, effective)):
        for owner, share in largest_remainder(amount, weights).items():
            shares[owner][place] += share


def largest_remainder(amount: int, weights: dict[Owner, int]) -> dict[Owner, int]:
    """Whole parts by weight; what the floors leave goes one each to the largest remainders, ties by name."""
    whole, sign = sum(weights.values()), -1 if amount < 0 else 1
    shares = {owner: abs(amount) * weight // whole for owner, weight in weights.items()}
    left = abs(amount) - sum(shares.values())
    ranked = sorted(weights, key=lambda owner: (-(abs(amount) * weights[owner] % whole), owner))
    for owner in ranked[:left]:
        shares[owner] += 1
    return {owner: sign * share for owner, share in shares.items()}
