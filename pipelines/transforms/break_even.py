"""When self-hosting pays: break-even volumes, fleets that grow in steps, and months to pay a purchase back.

What lives here: arithmetic on Decimals. What does not: where prices and costs come from (infrastructure_tables.py).
Volumes are millions of tokens a month, prices dollars per million tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Literal

from pipelines.transforms.economics import PRECISION, ratio

Direction = Literal["cheaper", "dearer"]


@dataclass(frozen=True)
class Crossing:
    """A volume from which self-hosting is cheaper than the API, or dearer again (where one more machine is needed)."""

    mtok: Decimal
    becomes: Direction


def break_even_mtok(fixed_usd: Decimal, api_usd_per_mtok: Decimal, own_usd_per_mtok: Decimal) -> Decimal | None:
    """V* = F / (p − v): millions of tokens a month; None where the API is no dearer than the variable cost."""
    if api_usd_per_mtok <= own_usd_per_mtok:
        return None
    return ratio(fixed_usd, api_usd_per_mtok - own_usd_per_mtok)


def self_hosted_usd(mtok: Decimal, fixed_usd: Decimal, own_usd_per_mtok: Decimal) -> Decimal:
    """What a month costs at a volume: F + v·V."""
    return fixed_usd + own_usd_per_mtok * mtok


def saving_share(
    mtok: Decimal, fixed_usd: Decimal, own_usd_per_mtok: Decimal, api_usd_per_mtok: Decimal
) -> Decimal | None:
    """Share of the API bill that self-hosting saves; negative where it costs more."""
    cost = ratio(self_hosted_usd(mtok, fixed_usd, own_usd_per_mtok), api_usd_per_mtok * mtok)
    return None if cost is None else 1 - cost


@dataclass(frozen=True)
class SteppedFleet:
    """A fleet of equal machines. `fixed_usd` per machine and month, `capacity_mtok` per machine and month at full load,
    `peak` the busiest hour over the average hour, `least` machines that run whatever the volume."""

    fixed_usd: Decimal
    own_usd_per_mtok: Decimal
    capacity_mtok: Decimal
    peak: Decimal = Decimal(1)
    least: int = 1

    def machines(self, mtok: Decimal) -> int:
        """n(V) = max(least, ⌈V × peak ÷ capacity⌉)."""
        with localcontext(PRECISION):
            needed = (mtok * self.peak / self.capacity_mtok).to_integral_value(rounding=ROUND_CEILING)
        return max(self.least, int(needed))

    def usd(self, mtok: Decimal) -> Decimal:
        """What a month costs at a volume."""
        with localcontext(PRECISION):
            return self.machines(mtok) * self.fixed_usd + self.own_usd_per_mtok * mtok

    def crossings(self, api_usd_per_mtok: Decimal, most_machines: int = 1000) -> list[Crossing]:
        """Every volume at which the cheaper side changes, up to `most_machines`, in order.

        On the step of n machines self-hosting is cheaper from nF/(p−v) on; where the next machine starts it may lose
        again. At equal cost the API is kept. Empty where no volume pays.
        """
        margin = api_usd_per_mtok - self.own_usd_per_mtok
        if margin <= 0:
            return []
        found: list[Crossing] = []
        is_cheaper = False
        start = Decimal(0)
        with localcontext(PRECISION):
            for machines in range(self.least, most_machines + 1):
                end = machines * self.capacity_mtok / self.peak
                pays_from = machines * self.fixed_usd / margin
                if is_cheaper and pays_from > start:
                    found.append(Crossing(start, "dearer"))
                    is_cheaper = False
                if not is_cheaper and pays_from < end:
                    found.append(Crossing(max(pays_from, start), "cheaper"))
                    is_cheaper = True
                start = end
        return found


def payback_months(purchase_usd: Decimal, api_usd_per_month: Decimal, running_usd_per_month: Decimal) -> Decimal | None:
    """Months until a purchase is paid back by what it saves: purchase ÷ (API bill − running cost without amortisation).

    None where nothing is saved.
    """
    saved = api_usd_per_month - running_usd_per_month
    return ratio(purchase_usd, saved) if saved > 0 else None
