"""What the demo quarter holds, read from data/demo/scenario.toml: traffic, prices, charges, reference rows, nights.

What lives here: typed views of that file and how busy a day is. What does not: random draws of calls (traffic.py),
files.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pipelines.demo.random_streams import Stream
from pipelines.errors import ReferenceTableError
from pipelines.settings import PROJECT_ROOT

SCENARIO_FILE = PROJECT_ROOT / "data" / "demo" / "scenario.toml"

DEMO_NIGHTS: tuple[tuple[int, str], ...] = ((1, "2026-09-30T02:00:00Z"), (2, "2026-10-02T02:00:00Z"))
"""Night and recorded clock (TOKENMART_NOW): what `write_demo(night=…)` lands is what was known then."""

DEMO_SEED = 20260701

SELF_HOSTED = "self_hosted"
"""Provider of calls to the demo's own machines: they have no list price, and no provider bills them."""

Row = Mapping[str, Any]
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Quarter:
    """The frame of the quarter: its days, and what goes wrong when. Field meanings: comments of scenario.toml."""

    first_day: date
    last_day: date
    users: int
    weekend_permille: int
    duplicate_permille: int
    cross_logged_permille: int
    late_day: date
    missing_usage_day: date
    restated_from: date
    restated_to: date
    credit_day: date
    credit_usd: str
    misbilled_model: str
    misbilled_permille: int
    bill_lag_days: int

    @property
    def days(self) -> list[date]:
        """All UTC days of the quarter, in order."""
        return [self.first_day + timedelta(days=n) for n in range((self.last_day - self.first_day).days + 1)]


@dataclass(frozen=True)
class Route:
    """One stream of calls: who calls which model, how often, with prompts of which size, logged where."""

    key: str
    source: str
    feature: str
    provider: str
    account: str
    model: str
    per_day: int
    prompt: tuple[int, int]
    output: tuple[int, int]
    logged_feature: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    api_key_id: str | None = None
    service_tier: str = "standard"
    active_from: date = date.min
    active_to: date = date.max
    hours: str = "office"
    growth_permille_per_month: int = 0
    weekend_permille: int | None = None
    long_permille: int = 0
    reasoning_permille: int = 0
    cached: tuple[int, int] = (0, 0)
    written: tuple[int, int, str] = (0, 0, "5m")
    searches_permille: int = 0
    failed_permille: int = 0
    has_request_id: bool = True

    def calls_on(self, day: date, quarter: Quarter, *, seed: int, scale_millionths: int) -> int:
        """Calls on one day: working-day rate × weekend × growth × noise (90–110%) × scale, rounded by a draw."""
        if not self.active_from <= day < self.active_to:
            return 0
        number = (day - quarter.first_day).days
        weekend = quarter.weekend_permille if self.weekend_permille is None else self.weekend_permille
        weekday_permille = weekend if day.weekday() >= 5 else 1000
        growth_permille = 1000 + self.growth_permille_per_month * number // 30
        draws = Stream(seed, f"{self.key}.volume")
        noise_permille = 900 + draws.below_at(2 * number, 201)
        millionths = self.per_day * weekday_permille * growth_permille * noise_permille * scale_millionths // 10**9
        return (millionths + draws.below_at(2 * number + 1, 10**6)) // 10**6


@dataclass(frozen=True)
class PricePeriod:
    """Prices of one model and tier over [valid_from, valid_to), as decimal text: USD per million tokens."""

    provider: str
    model: str
    components: Mapping[str, str]
    service_tier: str = "standard"
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    above: int = 0
    list_known: bool = True
    billed: bool = True
    peak_factor: int = 1


@dataclass(frozen=True)
class Peak:
    """Hours (UTC) of dearer prices, from Monday to Friday, holidays excluded."""

    hours: tuple[int, ...]
    holidays: tuple[date, ...]


@dataclass(frozen=True)
class Bill:
    """Charges beside tokens and the identities on the FOCUS bill."""

    aws_account: str
    aws_billing_account: str
    aws_support_usd: str
    aws_tax_permille: int
    google_project: str
    google_billing_account: str
    google_currency: str
    google_credit_day: date
    google_credit: str
    openai_search_account: str
    openai_searches_per_day: int
    openai_search_usd_per_thousand: str


@dataclass(frozen=True)
class Fleet:
    """What Prometheus tells of one self-hosted deployment. Field meanings: comments of scenario.toml."""

    deployment: str
    engines: int
    gpus: tuple[str, ...]
    pods: tuple[str, ...]
    watts: str
    idle_watts: int
    max_watts: int
    tokens_per_step: int
    restarted_at: datetime | None = None
    unmeasured_at: datetime | None = None


@dataclass(frozen=True)
class Telemetry:
    """Since when, and how often, the self-hosted deployments are measured."""

    first_day: date
    step_minutes: int
    fleets: tuple[Fleet, ...]


@dataclass(frozen=True)
class Scenario:
    """The whole of scenario.toml. Reference rows (`feature_rules` and so on) are rows of the CSV files they become.

    `machines` holds those of self-hosting, by table name.
    """

    quarter: Quarter
    routes: tuple[Route, ...]
    invalid: tuple[tuple[date, str], ...]
    prices: tuple[PricePeriod, ...]
    peak: Peak
    bill: Bill
    feature_rules: tuple[Row, ...]
    contracts: tuple[Row, ...]
    shared_costs: tuple[Row, ...]
    machines: Mapping[str, tuple[Row, ...]]
    telemetry: Telemetry

    def discount_percent(self, provider: str, account: str) -> str:
        """Percent off list for one account, as decimal text; "0" without a contract."""
        for row in self.contracts:
            if (row["provider"], row["account"]) == (provider, account) and "discount_percent" in row:
                return str(row["discount_percent"])
        return "0"


@cache
def load_scenario(path: Path = SCENARIO_FILE) -> Scenario:
    """The scenario of a TOML file. Raises ReferenceTableError naming the table or key that does not fit."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        return Scenario(
            quarter=_made(Quarter, document["quarter"], path),
            routes=tuple(_made(Route, _tuples(row), path) for row in document["routes"]),
            invalid=tuple((day, kind) for day, kind in document["invalid"]["lines"]),
            prices=tuple(_price(row, path) for row in document["prices"]),
            peak=_made(Peak, _tuples(document["peak"]), path),
            bill=_made(Bill, document["bill"], path),
            feature_rules=tuple(document["feature_rules"]),
            contracts=tuple(document["contracts"]),
            shared_costs=tuple(document["shared_costs"]),
            machines={table: tuple(rows) for table, rows in document["machines"].items()},
            telemetry=_telemetry(document["telemetry"], path),
        )
    except KeyError as absent:
        raise ReferenceTableError(
            f"the demo scenario has no table {absent}",
            where=path.name,
            expected="the tables of the shipped scenario.toml",
            next_move="restore the file from version control",
        ) from absent


def _tuples(row: Row) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def _made(kind: type[_Made], row: Row, path: Path) -> _Made:
    try:
        return kind(**row)
    except TypeError as error:
        raise ReferenceTableError(
            f"a row of the demo scenario does not fit {kind.__name__}: {error}",
            where=f"{path.name}, {row.get('key', 'unnamed row')}",
            expected=", ".join(part.name for part in fields(kind)),  # type: ignore[arg-type]
            next_move="correct the key",
        ) from error


def _telemetry(table: Row, path: Path) -> Telemetry:
    fleets = tuple(_made(Fleet, _tuples(row), path) for row in table["fleets"])
    return _made(Telemetry, {**table, "fleets": fleets}, path)


def _price(row: Row, path: Path) -> PricePeriod:
    known = {part.name for part in fields(PricePeriod)}
    components = {key: value for key, value in row.items() if key not in known}
    rest = {key: value for key, value in row.items() if key in known}
    return _made(PricePeriod, {**rest, "components": components}, path)
