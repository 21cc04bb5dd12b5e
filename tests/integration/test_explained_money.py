"""Pages that explain add up for everything that costs: bills, controls beside them, commitments, machines.

What lives here: one day of four providers' money, explained by feature and by provider. What does not: the usage side
of a page (tests/unit/inspection/test_explain.py), printing (test_cli_rooms.py).

2 September of small_month.py: OpenAI p1 bills $4.00 (chat 3.00, search 1.00), Anthropic w1 $3.10 (chat). Added to it:
a FOCUS export of the same OpenAI charges, which must not count; seats at Anthropic of $30.00 a month, $1.00 a day; one
GPU at $2.00 an hour, $48.00 a day, busy in one hour: chat works 1,000 × 1 + 100 × 5 = 1,500 units, search 500, so of
$2.00 chat has 1.50 and search 0.50, and 46.00 are idle.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipelines.errors import NotFoundError
from pipelines.inspection.explain import explain
from pipelines.inspection.explain_provider import explain_provider_day
from pipelines.lake import Lake
from pipelines.settings import Settings
from tests.integration.nights import built, home_settings, land, refer
from tests.integration.small_month import DAYS, whole_month

DAY = DAYS[1]
FOCUS = (
    "BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,ChargeCategory,ChargePeriodStart,ChargePeriodEnd,"
    "ServiceName,ProviderName,SubAccountId\n"
    f"4.00,4.00,USD,2026-09-01T00:00:00Z,Usage,{DAY}T00:00:00Z,{DAYS[2]}T00:00:00Z,API,OpenAI,p1\n"
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("explained")
    whole_month(home, [DAY])
    land(home, "focus/openai.csv", FOCUS)
    header = "commitment_id,provider,account,model_pattern,kind,cost_usd,period,capacity_tokens,valid_from,valid_to\n"
    refer(home, "commitments", f"{header}team-plan,anthropic,w1,house-*,seats,30,month,,2026-09-01,\n")
    header = "deployment,model,gpu_type,gpu_count,purchase_type,valid_from,valid_to\n"
    refer(home, "deployments", f"{header}own,m,ONE,1,on_demand,{DAY},{DAYS[2]}\n")
    refer(
        home, "gpu_rates", "gpu_type,purchase_type,usd_per_gpu_hour,valid_from,source\nONE,on_demand,2,2026-09-01,t\n"
    )
    rows = [("chat", 1000, 100), ("search", 500, 0)]
    call = {"started_at": f"{DAY}T10:00:00Z", "provider": "self_hosted", "account": "own", "model": "m"}
    lines = [
        {**call, "feature_tag": feature, "input_uncached_tokens": uncached, "output_tokens": output}
        for feature, uncached, output in rows
    ]
    land(home, "usage_table/own.jsonl", lines)
    settings = home_settings(home)
    built(settings)
    return settings


def test_a_feature_of_three_providers_adds_up_commitments_and_machines_included(settings: Settings) -> None:
    """3.00 at OpenAI, 3.10 and a seat of 1.00 at Anthropic, 1.50 of our own machine: 8.60."""
    page = explain(settings, "chat", DAY)
    assert page.complaints == ()
    assert page.effective_cost_usd == Decimal("8.60")
    parts = {row.provider: [(part.what.split(" (")[0], part.amount_usd) for part in row.parts] for row in page.rows}
    assert parts == {
        "anthropic": [
            ("shares of billed token keys", Decimal("3.10")),
            ("commitment team-plan of commitments.csv", Decimal("1.00")),
        ],
        "openai": [("shares of billed token keys", Decimal("3.00"))],
        "self_hosted": [("share of the machines' busy time", Decimal("1.50"))],
    }
    assert {line.provider for line in page.usage} == {"anthropic", "openai"}


def test_machines_are_traced_to_rates_hours_and_everyone_who_shares(settings: Settings) -> None:
    (ledger,) = explain(settings, "chat", DAY, "self_hosted").ledgers
    assert (ledger.hours, ledger.gpu_hours, ledger.all_in_cost_usd) == (24, 24, 48)
    assert (ledger.busy_cost_usd, ledger.idle_cost_usd) == (2, 46)
    assert [(part.component, part.cost_usd, part.how) for part in ledger.components if part.cost_usd] == [
        ("hardware", Decimal(48), "$2 per GPU-hour, rented")
    ]
    assert [(claim.feature, claim.output_tokens, claim.usage_cost_usd) for claim in ledger.claims] == [
        ("__idle__", 0, Decimal(46)),
        ("chat", 100, Decimal("1.50")),
        ("search", 0, Decimal("0.50")),
    ]
    assert [claim.feature for claim in ledger.claims if claim.is_asked_for] == ["chat"]
    page = explain(settings, "__idle__", DAY)
    assert (page.effective_cost_usd, page.complaints) == (Decimal(46), ())
    assert [part.what for part in page.rows[0].parts] == ["share of their idle time"]


def test_a_provider_day_leads_from_metered_to_billed_and_shows_the_bill_that_does_not_count(settings: Settings) -> None:
    page = explain_provider_day(settings, "openai", DAY)
    assert page.complaints == ()
    (account,) = page.accounts
    assert (account.account, account.metered_cost_usd, account.billed_cost_usd) == ("p1", 4, 4)
    assert account.causes == {}
    assert [(part.feature, part.billed_cost_usd) for part in page.features] == [("chat", 3), ("search", 1)]
    assert [(line.path, line.record_number, line.billed_cost_usd) for line in page.lines] == [
        ("openai_costs/costs.json", 1, 3),
        ("openai_costs/costs.json", 2, 1),
    ]
    (control,) = page.controls
    assert (control.source, control.account, control.lines, control.billed_cost_in_currency) == ("focus", "p1", 1, 4)


def test_a_provider_day_of_our_own_machines_is_their_ledger(settings: Settings) -> None:
    page = explain_provider_day(settings, "self_hosted", DAY)
    assert (page.effective_cost_usd, page.complaints) == (Decimal(48), ())
    assert [ledger.deployment for ledger in page.ledgers] == ["own"]
    assert (page.accounts, page.lines, page.controls) == ((), (), ())


def test_a_provider_without_that_day_is_answered_with_those_that_have_it(settings: Settings) -> None:
    with pytest.raises(NotFoundError) as caught:
        explain_provider_day(settings, "mistral", DAY)
    assert "anthropic, openai, self_hosted" in caught.value.expected


@pytest.mark.parametrize(
    ("table", "column", "complaint"),
    [
        ("int__reconciliation_causes", None, "what unlogged rests on sums to 0, not 4"),
        ("int__infrastructure_shares", "usage_cost_usd", "claims sum to 50.000000000000, its day cost 48"),
        ("int__infrastructure_cost_hourly", "licences_cost_usd", "components sum to 72.000000000000"),
    ],
    ids=["a cause without its evidence", "shares of a machine", "a component of a machine"],
)
def test_a_page_that_does_not_add_up_says_so(
    settings: Settings, tmp_path: Path, table: str, column: str | None, complaint: str
) -> None:
    """Tables are changed behind the pipeline's back: evidence is taken away, 1.00 or 2.00 are added per row."""
    home = home_settings(tmp_path)
    whole_month(tmp_path, [DAY])
    if column is None:
        (tmp_path / "landing" / "response_log" / f"{DAY}.jsonl").unlink()
        built(home)
        asked = ("openai", DAY)
    else:
        home, asked = settings, ("self_hosted", DAY)
    path = Lake(home.lake).path(table, "2026-09")
    before = path.read_bytes()
    rows = pl.read_parquet(path)
    changed = rows.clear() if column is None else rows.with_columns((pl.col(column) + 1).cast(pl.Decimal(38, 12)))
    if table == "int__infrastructure_shares":
        changed = changed.filter(pl.col("feature") != "__idle__").vstack(rows.filter(pl.col("feature") == "__idle__"))
    changed.write_parquet(path)
    try:
        assert any(complaint in text for text in explain_provider_day(home, *asked).complaints)
    finally:
        path.write_bytes(before)
