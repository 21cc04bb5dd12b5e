"""Equations of self-hosted inference and of the comparisons with APIs, one plain function each.

What lives here: arithmetic on Decimals, with units and sources. What does not: tables (infrastructure_tables.py),
sharing out in whole pico-dollars (allocation.py), break-even and payback (break_even.py), what-if scenarios
(scenarios.py). Every ratio names its denominator; a ratio over nothing is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, localcontext

HOURS_PER_YEAR = Decimal(8760)
SECONDS_PER_HOUR = Decimal(3600)
TOKENS_PER_MTOK = Decimal(10**6)
MACRS_5_YEAR_PERCENT: tuple[Decimal, ...] = tuple(map(Decimal, ("20", "32", "19.2", "11.52", "11.52", "5.76")))
"""Half-year convention, for tax only. Source: IRS Publication 946, table A-1."""

PRECISION = Context(prec=50)
"""Digits of every division here; money is rounded to 10⁻¹² dollars once, by the caller."""


def ratio(above: Decimal, below: Decimal) -> Decimal | None:
    """`above` ÷ `below`; None where there is nothing below the line."""
    with localcontext(PRECISION):
        return above / below if below else None


def cost_per_mtok(usd_per_gpu_hour: Decimal, tokens_per_second_per_gpu: Decimal) -> Decimal | None:
    """Dollars per million tokens of one GPU; None at zero throughput.

    usd_per_gpu_hour × 10⁶ / (3600 × tokens_per_second_per_gpu). Source: NVIDIA, "lowest token cost", 2026-04-15.
    """
    return ratio(usd_per_gpu_hour * TOKENS_PER_MTOK, SECONDS_PER_HOUR * tokens_per_second_per_gpu)


def tokens_per_second_at(usd_per_gpu_hour: Decimal, usd_per_mtok: Decimal) -> Decimal | None:
    """Tokens per second and GPU that a cost per million tokens implies: the inverse of `cost_per_mtok`."""
    return ratio(usd_per_gpu_hour * TOKENS_PER_MTOK, SECONDS_PER_HOUR * usd_per_mtok)


def joules_per_token(watts: Decimal, tokens_per_second: Decimal) -> Decimal | None:
    """Joules for one token: watts ÷ tokens per second."""
    return ratio(watts, tokens_per_second)


def kwh_per_mtok(joules_for_one_token: Decimal) -> Decimal:
    """Kilowatt-hours per million tokens: one joule per token is 10⁶ J = 1/3.6 kWh per million."""
    with localcontext(PRECISION):
        return joules_for_one_token / Decimal("3.6")


def tokens_per_second_per_mw(tokens_per_second: Decimal, kilowatts: Decimal) -> Decimal | None:
    """Tokens per second that a megawatt buys. Source: NVIDIA, as above; kW per GPU all-in from InferenceX."""
    return ratio(tokens_per_second * 1000, kilowatts)


def blended_price(
    input_share: Decimal, cache_hit_share: Decimal, usd_input: Decimal, usd_cached: Decimal, usd_output: Decimal
) -> Decimal:
    """Dollars per million tokens of a mix: s_in·[h·p_cached + (1−h)·p_in] + s_out·p_out.

    Shares are of 0 to 1: `input_share` of all tokens, `cache_hit_share` of the input tokens. Source: InferenceX white
    paper.
    """
    with localcontext(PRECISION):
        of_input = cache_hit_share * usd_cached + (1 - cache_hit_share) * usd_input
        return input_share * of_input + (1 - input_share) * usd_output


def revenue_per_gpu_hour(
    tokens_per_second: Decimal, usd_per_mtok: Decimal, utilisation: Decimal = Decimal(1)
) -> Decimal:
    """Dollars that a GPU's tokens sell for in an hour."""
    with localcontext(PRECISION):
        return tokens_per_second * utilisation * SECONDS_PER_HOUR / TOKENS_PER_MTOK * usd_per_mtok


def profit_per_gpu_hour(revenue_usd: Decimal, hardware_usd: Decimal, licence_share: Decimal) -> Decimal:
    """Revenue less the GPU-hour and a licence fee that is a share of revenue. Source: InferenceX profit estimator."""
    return revenue_usd - hardware_usd - revenue_usd * licence_share


def cost_profit_margin(revenue_usd: Decimal, cost_usd: Decimal) -> Decimal | None:
    """(revenue − cost) ÷ cost. Source: DeepSeek, inference system overview, 2025."""
    return ratio(revenue_usd - cost_usd, cost_usd)


def gross_margin(price_usd: Decimal, cost_usd: Decimal) -> Decimal | None:
    """(price − cost) ÷ price."""
    return ratio(price_usd - cost_usd, price_usd)


def gpu_rent(gpus: Decimal, usd_per_gpu_hour: Decimal, hours: Decimal) -> Decimal:
    """Dollars for `gpus` over `hours`, used or not."""
    with localcontext(PRECISION):
        return gpus * usd_per_gpu_hour * hours


def nodes_needed(tokens: Decimal, tokens_per_second_per_node: Decimal, seconds: Decimal) -> Decimal | None:
    """Nodes kept busy for `seconds` by so many tokens."""
    return ratio(tokens, tokens_per_second_per_node * seconds)


def capital_recovery_factor(yearly_rate: Decimal, years: Decimal) -> Decimal:
    """Yearly payment that repays one dollar with interest over `years`: r / (1 − (1+r)^−n); 1/n without interest."""
    with localcontext(PRECISION):
        return 1 / years if not yearly_rate else yearly_rate / (1 - (1 + yearly_rate) ** -years)


def straight_line_per_hour(purchase_usd: Decimal, salvage_usd: Decimal, life_years: Decimal) -> Decimal:
    """Dollars per calendar hour of an owned GPU: (purchase − salvage) ÷ (years × 8760). Idle hours count too."""
    with localcontext(PRECISION):
        return (purchase_usd - salvage_usd) / (life_years * HOURS_PER_YEAR)


def annuity_per_hour(purchase_usd: Decimal, salvage_usd: Decimal, life_years: Decimal, yearly_rate: Decimal) -> Decimal:
    """Dollars per calendar hour with cost of capital: (purchase − salvage/(1+r)^n) × CRF ÷ 8760.

    The factor holds the interest already: never add it again. With r = 0 this is the straight line.
    """
    with localcontext(PRECISION):
        present = purchase_usd - salvage_usd / (1 + yearly_rate) ** life_years
        return present * capital_recovery_factor(yearly_rate, life_years) / HOURS_PER_YEAR


def macrs_5_year(basis_usd: Decimal) -> list[Decimal]:
    """Tax depreciation of six calendar years. For tax only: no cost per token may come from it."""
    return [basis_usd * percent / 100 for percent in MACRS_5_YEAR_PERCENT]


def naive_to_all_in(
    utilisation: Decimal, all_in_usd: Decimal, hardware_usd: Decimal, delivered_share: Decimal = Decimal(1)
) -> Decimal | None:
    """How many times the naive figure the all-in one is: (1/u) × (C_all_in / C_hardware) × (1/y).

    `delivered_share` is delivered ÷ generated tokens. None where one of them is zero.
    """
    return ratio(all_in_usd, utilisation * hardware_usd * delivered_share)


def modelled_gpu_watts(idle_watts: Decimal, max_watts: Decimal, load: Decimal) -> Decimal:
    """Watts of one GPU between idle and full: P_idle + u (P_max − P_idle)."""
    return idle_watts + load * (max_watts - idle_watts)


def energy_cost(kwh: Decimal, usd_per_kwh: Decimal, pue: Decimal = Decimal(1)) -> Decimal:
    """Dollars for the energy of machines and of their cooling: kWh × PUE × tariff."""
    with localcontext(PRECISION):
        return kwh * pue * usd_per_kwh


def watt_hours_per_query(
    active_params: Decimal,
    output_tokens: Decimal,
    *,
    peak_flops: Decimal,
    utilisation: Decimal,
    watts_per_gpu: Decimal,
    power_share: Decimal,
    pue: Decimal,
) -> Decimal:
    """Watt-hours of one query: 2 FLOP per active parameter and token, at a share of the peak, times drawn power and
    PUE.

    Source: Epoch AI, Gradient Updates, "How much energy does ChatGPT use?".
    """
    with localcontext(PRECISION):
        seconds = 2 * active_params * output_tokens / (peak_flops * utilisation)
        return seconds * watts_per_gpu * power_share * pue / SECONDS_PER_HOUR


def shared_by_cost(amount_usd: Decimal, claims: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Each claimant's own cost plus its share of `amount_usd`, weighted by own cost. Source: OpenCost allocation."""
    whole = sum(claims.values(), Decimal(0))
    with localcontext(PRECISION):
        return {name: own + (amount_usd * own / whole if whole else 0) for name, own in claims.items()}


def shared_by_resource(idle: Mapping[str, Decimal], claims: Mapping[str, Mapping[str, Decimal]]) -> dict[str, Decimal]:
    """Whole cost per claimant once idle is shared, each resource by its own cost (idle CPU by CPU cost, and so on).

    What is in `claims` and not in `idle` (network, volumes) is kept as it is. Source: OpenCost allocation tests.
    """
    totals = {name: sum(parts.values(), Decimal(0)) for name, parts in claims.items()}
    for resource, amount in idle.items():
        own = {name: parts.get(resource, Decimal(0)) for name, parts in claims.items()}
        for name, with_idle in shared_by_cost(amount, own).items():
            totals[name] += with_idle - own[name]
    return totals


def prices_of_node(node_usd: Decimal, base_usd: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Resource prices of a node scaled so that they sum to its bill. Source: OpenCost specification, appendix A."""
    whole = sum(base_usd.values(), Decimal(0))
    with localcontext(PRECISION):
        return {name: node_usd * price / whole for name, price in base_usd.items()}


def metered_minutes(minutes: Decimal, units_per_hour: Decimal, usd_per_unit: Decimal) -> Decimal:
    """Dollars of a metered run: minutes ÷ 60 × units per hour × dollars per unit."""
    with localcontext(PRECISION):
        return minutes / 60 * units_per_hour * usd_per_unit


def tokens_cost(tokens: Decimal, usd_per_mtok: Decimal) -> Decimal:
    """Dollars of tokens at a price per million."""
    with localcontext(PRECISION):
        return tokens * usd_per_mtok / TOKENS_PER_MTOK


def token_budget(counts: Sequence[int]) -> int:
    """Tokens of people × tokens each × days, or any such product."""
    product = 1
    for count in counts:
        product *= count
    return product
