"""The page of `tokenmart explain`: one feature, one day, from the total down to files, prices and bill lines.

What lives here: words and tables. What does not: finding out (pipelines/inspection/explain.py, explain_shares.py), the
command.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.text import Text

from assets.cli_options import visible
from assets.explain_ledger_page import print_ledgers
from assets.explain_tables import add, grid, heading, last_word, usd
from pipelines.inspection.explain import Explanation, UsageLine
from pipelines.inspection.explain_shares import SharedKey

if TYPE_CHECKING:
    from rich.console import Console

_MOST_CLAIMS = 8
_LEVELS = {
    1: "model, tier and component",
    2: "model and component",
    3: "model and tier",
    4: "model",
    5: "account or provider, and day",
}


def print_page(console: "Console", page: Explanation) -> None:
    """Write the whole page, top down; every table's last column sums to the number above it."""
    console.print(
        Text(
            f"{visible(page.feature)} on {page.usage_date} (UTC): {usd(page.effective_cost_usd)} effective",
            style="bold",
        )
    )
    _rows(console, page)
    _usage(console, page)
    _rules(console, page)
    _shares(console, "Billed token keys it shares in", page.feature, page.keys)
    _shares(console, "Credits, fees, taxes and purchases it shares in", page.feature, page.pools)
    print_ledgers(console, page.ledgers)
    _files(console, page)
    for note in page.notes:
        console.print(Text(f"note: {note}"))
    last_word(console, page.complaints)


def _rows(console: "Console", page: Explanation) -> None:
    heading(console, "Effective cost, row by row")
    table = grid("provider, account, model, tier", "status", "tokens", "contracted", "billed", "effective")
    for row in page.rows:
        named = f"{row.provider} {row.account} {row.model} {row.service_tier}"
        amounts = (usd(row.contracted_cost_usd), usd(row.billed_cost_usd), usd(row.effective_cost_usd))
        add(table, named, row.cost_status, f"{row.total_tokens:,}", *amounts)
        for part in row.parts:
            add(table, f"  {part.what}", "", "", "", "", usd(part.amount_usd))
    console.print(table)


def _usage(console: "Console", page: Explanation) -> None:
    if not page.usage:
        return
    heading(console, "Logged usage at contracted price: quantity × unit price = cost")
    numbers: dict[str, int] = {}
    table = grid("model, tier", "component", "quantity", "× unit price", "= contracted", "price")
    for line in page.usage:
        quantity = f"{line.tokens:,}" if line.meter_quantity is None else f"{line.meter_quantity.normalize():f}"
        component = line.component + (f" (prompt > {line.context_band_gt:,})" if line.context_band_gt else "")
        unit = "" if line.contracted_unit_price_usd is None else usd(line.contracted_unit_price_usd)
        number = numbers.setdefault(_price(line), len(numbers) + 1)
        cost = usd(line.contracted_cost_usd)
        add(table, f"{line.model} {line.service_tier}", component, quantity, unit, cost, f"[{number}]")
    console.print(table)
    for price, number in numbers.items():
        console.print(Text(visible(f"  [{number}] {price}")))


def _price(line: UsageLine) -> str:
    if line.is_unpriced:
        known = line.price_id or line.contract_id
        return "no price in force: the whole row is unpriced" if known is None else f"{known}; row unpriced"
    if line.price_id == "reported":
        return "as the provider reported it"
    words = [line.price_id or "no public price"]
    if line.valid_from is not None:
        words.append(f"from {line.valid_from:%Y-%m-%d} ({line.valid_from_basis})")
    if line.price_source:
        words.append(line.price_source)
    if line.contract_id:
        words.append(f"contract {line.contract_id}, list {usd(line.list_unit_price_usd)}")
    if line.normaliser:
        words.append(f"name: {line.normaliser}")
    if line.is_low_confidence:
        words.append("low confidence")
    return " · ".join(words)


def _rules(console: "Console", page: Explanation) -> None:
    if not page.rules:
        return
    heading(console, "Why the usage is this feature's")
    table = grid("source", "rule", "requests", "tokens")
    for rule in page.rules:
        add(table, rule.source, rule.rule, f"{rule.requests:,}", f"{rule.tokens:,}")
    console.print(table)


def _shares(console: "Console", title: str, feature: str, keys: Sequence[SharedKey]) -> None:
    if not keys:
        return
    heading(console, title)
    for key in keys:
        level = f"; matched by {_LEVELS[key.match_level]}" if key.match_level in _LEVELS else ""
        console.print(
            Text(f"{visible(key.key_id)}: billed {usd(key.billed_cost_usd)}, effective {usd(key.effective_cost_usd)}")
        )
        console.print(Text(f"  shared {key.rule}{level}"))
        if key.provider_tokens is not None:
            console.print(Text(f"  provider counted {key.provider_tokens:,} tokens = {usd(key.provider_cost_usd)}"))
        table = grid("", "claimant", "model", "component", "weight", "billed", "effective")
        others = [claim for claim in key.claims if not claim.is_asked_for]
        for claim in [*(claim for claim in key.claims if claim.is_asked_for), *others[:_MOST_CLAIMS]]:
            mark = "→" if claim.is_asked_for else ""
            add(
                table, mark, claim.feature, claim.model, claim.component, f"{claim.weight.normalize():f}",
                usd(claim.billed_cost_usd), usd(claim.effective_cost_usd),
            )  # fmt: skip
        hidden = others[_MOST_CLAIMS:]
        if hidden:
            billed = sum((claim.billed_cost_usd for claim in hidden), Decimal(0))
            effective = sum((claim.effective_cost_usd for claim in hidden), Decimal(0))
            weight = sum((claim.weight for claim in hidden), Decimal(0))
            add(table, "", f"{len(hidden)} others", "", "", f"{weight.normalize():f}", usd(billed), usd(effective))
        console.print(table)
        for line in key.lines:
            rate = "" if line.fx_rate_id in {None, "USD"} else f" at {line.fx_rate_id}"
            said = f"  line {line.record_number} of {line.path}: {line.text}, {usd(line.billed_cost_usd)}{rate}"
            console.print(Text(visible(said)))
        if key.line_count > len(key.lines):
            console.print(Text(f"  and {key.line_count - len(key.lines):,} more lines"))


def _files(console: "Console", page: Explanation) -> None:
    if not page.files:
        return
    heading(console, "Landed files behind the usage")
    table = grid("file", "records", "between", "tokens")
    for file in page.files:
        between = f"{file.first_record:,} and {file.last_record:,}"
        add(table, file.path, f"{file.records:,}", between, f"{file.tokens:,}")
    console.print(table)
