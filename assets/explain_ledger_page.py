"""The parts of a page of `tokenmart explain` that tell of machines and of a whole provider-day.

What lives here: words and tables. What does not: finding out (pipelines/inspection/explain_ledger.py,
explain_provider.py), the page of one feature (explain_page.py).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from assets.cli_options import visible
from assets.explain_tables import add, grid, heading, last_word, usd
from pipelines.inspection.explain_ledger import LedgerDay
from pipelines.inspection.explain_provider import AccountDay, ProviderDay

if TYPE_CHECKING:
    from rich.console import Console

_MOST_LINES = 40


def print_provider_page(console: "Console", page: ProviderDay) -> None:
    """Write the page of a provider-day, top down: accounts, causes, features, lines, machines."""
    title = f"{visible(page.provider)} on {page.usage_date} (UTC): {usd(page.effective_cost_usd)} effective"
    console.print(Text(title, style="bold"))
    for account in page.accounts:
        _account(console, page, account)
    heading(console, "Who it belongs to")
    table = grid("feature, account", "tokens", "contracted", "billed", "effective")
    for part in page.features:
        amounts = (usd(part.contracted_cost_usd), usd(part.billed_cost_usd), usd(part.effective_cost_usd))
        add(table, f"{part.feature} {part.account}", f"{part.total_tokens:,}", *amounts)
    console.print(table)
    _lines(console, page)
    print_ledgers(console, page.ledgers)
    last_word(console, page.complaints)


def _account(console: "Console", page: ProviderDay, account: AccountDay) -> None:
    heading(console, f"Account {visible(account.account)}: {account.status}")
    table = grid("", "amount", "rests on")
    add(table, f"metered: {account.logged_tokens:,} logged tokens", usd(account.metered_cost_usd), "")
    for cause, amount in account.causes.items():
        told = [
            line for line in page.causes if (line.account, line.cause.partition(":")[0]) == (account.account, cause)
        ]
        add(table, f"+ {cause}", usd(amount), f"{len(told)} amounts" if len(told) > 1 else told[0].evidence)
        for line in told[:_MOST_LINES] if len(told) > 1 else ():
            add(table, "", "", f"{usd(line.amount_usd)} {line.evidence}")
        if len(told) > _MOST_LINES:
            add(table, "", "", f"and {len(told) - _MOST_LINES:,} more")
    add(table, "= billed", "no bill yet" if account.billed_cost_usd is None else usd(account.billed_cost_usd), "")
    console.print(table)
    if account.provider_tokens is not None:
        counted = f"  provider counted {account.provider_tokens:,} tokens = {usd(account.provider_cost_usd)}"
        console.print(Text(counted))
    if account.reason:
        console.print(Text(f"  {account.reason}"))


def _lines(console: "Console", page: ProviderDay) -> None:
    if page.lines:
        heading(console, f"The bill: {len(page.lines):,} lines")
        for line in page.lines[:_MOST_LINES]:
            rate = "" if line.fx_rate_id in {None, "USD"} else f" at {line.fx_rate_id}"
            said = f"  line {line.record_number} of {line.path}: {line.text}, {usd(line.billed_cost_usd)}{rate}"
            console.print(Text(visible(said)))
        if len(page.lines) > _MOST_LINES:
            console.print(Text(f"  and {len(page.lines) - _MOST_LINES:,} more lines"))
    if page.controls:
        heading(console, "Other bills of the same charges, which do not count (sources.csv)")
        table = grid("source, account", "lines", "billed")
        for control in page.controls:
            amount = f"{control.billed_cost_in_currency.normalize():f} {control.billing_currency}"
            add(table, f"{control.source} {control.account}", f"{control.lines:,}", amount)
        console.print(table)


def print_ledgers(console: "Console", ledgers: Sequence[LedgerDay]) -> None:
    """Write what each deployment cost, at which rates, and who shares in it."""
    for ledger in ledgers:
        heading(console, f"Machines of {visible(ledger.deployment)}: {usd(ledger.all_in_cost_usd)} that day")
        table = grid("component", "cost", "how")
        for part in ledger.components:
            add(table, part.component, usd(part.cost_usd), part.how)
        console.print(table)
        rest = f", {ledger.hours_without_rate} of them without a rate" if ledger.hours_without_rate else ""
        console.print(
            Text(
                f"  {ledger.hours} hours{rest}, {ledger.gpu_hours.normalize():f} GPU-hours: busy"
                f" {usd(ledger.busy_cost_usd)} + idle {usd(ledger.idle_cost_usd)};"
                f" load by {ledger.load_basis}, idle policy {ledger.idle_policy}"
            )
        )
        console.print(Text(f"  work weighs uncached / cached / output tokens {ledger.weights}"))
        table = grid("", "claimant", "uncached", "cached", "output", "busy", "idle", "effective")
        for claim in ledger.claims:
            counts = (f"{claim.uncached_tokens:,}", f"{claim.cached_tokens:,}", f"{claim.output_tokens:,}")
            money = (usd(claim.busy_cost_usd), usd(claim.idle_cost_usd), usd(claim.usage_cost_usd))
            add(table, "→" if claim.is_asked_for else "", claim.feature, *counts, *money)
        console.print(table)
