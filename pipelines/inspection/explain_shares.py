"""The bill's side of an explanation: keys and pools that a feature shares in, all shares, the lines behind them.

What lives here: reading one day's claims, shares and bill lines back into something that adds up on a page. What does
not: computing shares (transforms/matching.py), the usage side and the page as a whole (explain.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from pipelines.transforms.matching import UNLOGGED, claim_weights

MOST_LINES = 20
"""Bill lines told one by one; the others are in the totals."""

Day = Callable[[str], pl.DataFrame]
"""Gives the rows of one lake table on the day that is explained."""


@dataclass(frozen=True)
class BillLine:
    """One line of a bill: where it stands and what it says, in dollars (`fx_rate_id` names the rate)."""

    source: str
    path: str
    record_number: int
    account: str
    text: str
    currency: str
    fx_rate_id: str | None
    billed_cost_usd: Decimal | None
    effective_cost_usd: Decimal | None


@dataclass(frozen=True)
class Claim:
    """One claimant's part of a key or a pool. `weight` is in dollars, or in tokens where tokens weigh the key."""

    feature: str
    team: str | None
    account: str
    model: str
    service_tier: str
    component: str
    tokens: int | None
    contracted_cost_usd: Decimal | None
    weight: Decimal
    billed_cost_usd: Decimal
    effective_cost_usd: Decimal
    is_asked_for: bool


@dataclass(frozen=True)
class SharedKey:
    """One billed key or pool, its totals, how it was weighed, all claims and the bill lines (the first MOST_LINES)."""

    key_id: str
    kind: str
    match_level: int | None
    rule: str
    billed_cost_usd: Decimal
    effective_cost_usd: Decimal
    provider_cost_usd: Decimal | None
    provider_tokens: int | None
    claims: tuple[Claim, ...]
    lines: tuple[BillLine, ...]
    line_count: int
    complaints: tuple[str, ...] = ()


def token_keys(day: Day, feature: str, paths: Mapping[str, str], providers: Iterable[str]) -> list[SharedKey]:
    """Every billed token key in which the feature has a share. `paths` maps landed files to source/path."""
    shares = day("int__allocated_tokens").filter(pl.col("provider").is_in(list(providers)))
    mine = shares.filter(pl.col("feature") == feature)["key_id"].unique().sort().to_list()
    if not mine:
        return []
    claims = claim_weights(day("int__token_claims").filter(pl.col("key_id").is_in(mine)))
    lines = _keyed_lines(day("int__bill_lines"), day("int__match_detail"))
    found = []
    for key_id in mine:
        of_key = claims.filter(pl.col("key_id") == key_id)
        head = of_key.row(0, named=True)
        told = _claims(shares.filter(pl.col("key_id") == key_id), of_key, feature, in_tokens=head["by_tokens"])
        key_lines = told_lines(lines.filter(pl.col("key_id") == key_id), paths)
        found.append(
            SharedKey(
                key_id=key_id,
                kind="token",
                match_level=head["match_level"],
                rule=_token_rule(head),
                billed_cost_usd=head["billed_cost_usd"],
                effective_cost_usd=head["effective_cost_usd"],
                provider_cost_usd=head["provider_cost_usd"],
                provider_tokens=head["provider_tokens"],
                claims=told,
                lines=key_lines[:MOST_LINES],
                line_count=len(key_lines),
                complaints=_sums(key_id, head, told, key_lines),
            )
        )
    return found


def other_pools(day: Day, feature: str, paths: Mapping[str, str], providers: Iterable[str]) -> list[SharedKey]:
    """Every pool of credits, fees, taxes and purchases in which the feature has a share."""
    shares = day("int__allocated_shared").filter(pl.col("provider").is_in(list(providers)))
    mine = shares.filter(pl.col("feature") == feature)["key_id"].unique().sort().to_list()
    if not mine:
        return []
    claims = day("int__shared_claims")
    lines = day("int__bill_lines").filter(pl.col("charge_kind") != "token")
    found = []
    for key_id in mine:
        of_pool = claims.filter(pl.col("key_id") == key_id)
        head = of_pool.row(0, named=True)
        scope, kind, method, priority = key_id.rsplit("|", 3)
        _, provider, account = scope.split("|", 2)
        siblings = claims.filter(pl.col("key_id").str.starts_with(f"{scope}|{kind}|"))
        weighted = of_pool.with_columns(pl.col("weight_usd").alias("weight"))
        told = _claims(shares.filter(pl.col("key_id") == key_id), weighted, feature, in_tokens=False)
        of_kind = lines.filter(
            (pl.col("provider") == provider) & (pl.col("account") == account) & (pl.col("charge_kind") == kind)
        )
        pool_lines = told_lines(of_kind, paths)
        is_alone = siblings["key_id"].n_unique() == 1
        rule = f"shared_costs.csv priority {priority}" if priority else f"the habit of kind {kind}"
        found.append(
            SharedKey(
                key_id=key_id,
                kind=kind,
                match_level=None,
                rule=f"{method}, by {rule}" + ("" if is_alone else "; its lines stand among others of the kind"),
                billed_cost_usd=head["billed_cost_usd"],
                effective_cost_usd=head["effective_cost_usd"],
                provider_cost_usd=None,
                provider_tokens=None,
                claims=told,
                lines=pool_lines[:MOST_LINES],
                line_count=len(pool_lines),
                complaints=_sums(key_id, head, told, pool_lines if is_alone else None),
            )
        )
    return found


def _token_rule(head: Mapping[str, object]) -> str:
    weighed = "tokens" if head["by_tokens"] else "contracted cost"
    against = "what the provider counted" if head["has_provider_usage"] else "the bill, up to 2% above what was logged"
    return f"by {weighed}, against {against}"


def _claims(shares: pl.DataFrame, weighted: pl.DataFrame, feature: str, *, in_tokens: bool) -> tuple[Claim, ...]:
    """Shares beside their weights; the unlogged share has the weight that its key leaves over."""
    named = ["feature", "team", "cost_center", "account", "model", "service_tier", "component"]
    wanted = [name for name in ("tokens", "contracted_cost_usd", "weight") if name in weighted.columns]
    beside = shares.join(
        weighted.select(*named, *wanted), on=named, how="left", nulls_equal=True, maintain_order="left"
    )
    left_over = weighted["unlogged_weight"][0] if "unlogged_weight" in weighted.columns else 0
    told = []
    for row in beside.iter_rows(named=True):
        weight = row["weight"] if row["weight"] is not None else left_over
        told.append(
            Claim(
                feature=row["feature"],
                team=row["team"],
                account=row["account"],
                model=row["model"],
                service_tier=row["service_tier"],
                component=row["component"],
                tokens=row.get("tokens"),
                contracted_cost_usd=row.get("contracted_cost_usd"),
                weight=weight if isinstance(weight, Decimal) else Decimal(int(weight)).scaleb(0 if in_tokens else -12),
                billed_cost_usd=row["billed_cost_usd"],
                effective_cost_usd=row["effective_cost_usd"],
                is_asked_for=row["feature"] == feature,
            )
        )
    return tuple(sorted(told, key=lambda claim: (not claim.is_asked_for, claim.feature == UNLOGGED, claim.feature)))


def _keyed_lines(lines: pl.DataFrame, detail: pl.DataFrame) -> pl.DataFrame:
    """Token lines with the key that int__billed_keys gave them."""
    known = lines.filter((pl.col("charge_kind") == "token") & pl.col("billed_cost_usd").is_not_null())
    joined = known.join(
        detail.select("usage_date", "provider", "has_account", "has_model"), on=["usage_date", "provider"]
    )
    names_model = pl.col("has_model") & pl.col("match_model").is_not_null()
    parts = [
        pl.col("usage_date").cast(pl.String),
        pl.col("provider"),
        pl.when("has_account").then("account").otherwise(pl.lit("*")),
        *(
            pl.when(names_model).then(pl.col(name).fill_null("*")).otherwise(pl.lit("*"))
            for name in ("match_model", "service_tier", "component")
        ),
    ]
    return joined.with_columns(pl.concat_str(parts, separator="|").alias("key_id"))


def told_lines(lines: pl.DataFrame, paths: Mapping[str, str]) -> tuple[BillLine, ...]:
    """Lines of int__bill_lines with a known cost, by file and record."""
    ordered = lines.filter(pl.col("billed_cost_usd").is_not_null()).sort("landed_file", "record_number")
    return tuple(
        BillLine(
            source=row["source"],
            path=paths.get(row["landed_file"], row["landed_file"]),
            record_number=row["record_number"],
            account=row["account"],
            text=" · ".join(row[name] for name in ("service_name", "sku_id", "charge_description") if row[name]),
            currency=row["billing_currency"],
            fx_rate_id=row["fx_rate_id"],
            billed_cost_usd=row["billed_cost_usd"],
            effective_cost_usd=row["effective_cost_usd"],
        )
        for row in ordered.iter_rows(named=True)
    )


def _sums(
    key_id: str, head: Mapping[str, Decimal], claims: Iterable[Claim], lines: Iterable[BillLine] | None
) -> tuple[str, ...]:
    """What does not add up: shares against the key, lines against the key (None: the lines are not only its own)."""
    complaints = []
    told = list(claims)
    for name in ("billed_cost_usd", "effective_cost_usd"):
        shared = sum((getattr(claim, name) for claim in told), Decimal(0))
        if shared != head[name]:
            complaints.append(f"{key_id}: shares of {name} sum to {shared:f}, the key is {head[name]:f}")
        if lines is not None:
            listed = sum((getattr(line, name) or Decimal(0) for line in lines), Decimal(0))
            if listed != head[name]:
                complaints.append(f"{key_id}: bill lines of {name} sum to {listed:f}, the key is {head[name]:f}")
    return tuple(complaints)
