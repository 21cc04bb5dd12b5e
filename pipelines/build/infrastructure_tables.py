"""Tables of self-hosting that Python computes: hours, their cost, shares of features, and what an API would have cost.

What lives here: one builder per table, from its inputs to a frame. What does not: the arithmetic (transforms/), tables
that SQL computes (sql/), which partitions are stale (graph.py).
"""

from __future__ import annotations

import polars as pl

from pipelines.build.python_tables import Inputs, PythonTable
from pipelines.settings import Settings
from pipelines.transforms.api_equivalents import PriceTables, api_equivalents
from pipelines.transforms.deployment_hours import deployment_hours
from pipelines.transforms.deployment_ledger import ledger_hours
from pipelines.transforms.deployment_options import break_even_options
from pipelines.transforms.deployment_shares import shares_of_hours

_REFERENCE = ("ref__deployments", "ref__gpu_rates", "ref__overheads", "ref__energy")


def infrastructure_hours(_settings: Settings, month: str, inputs: Inputs) -> pl.DataFrame:
    """int__infrastructure_hours: deployment hours up to the last complete UTC day of the clock."""
    return deployment_hours(month, inputs["ref__clock"]["today"].item(), inputs)


def infrastructure_cost_hourly(_settings: Settings, _month: str, inputs: Inputs) -> pl.DataFrame:
    """int__infrastructure_cost_hourly: the ledger."""
    return ledger_hours(
        inputs["int__infrastructure_hours"], inputs["int__self_hosted_usage"], inputs["core__infrastructure"]
    )


def infrastructure_shares(_settings: Settings, _month: str, inputs: Inputs) -> pl.DataFrame:
    """int__infrastructure_shares: the ledger's hours shared out to features, `__idle__` and `__unlogged__` included."""
    return shares_of_hours(inputs["int__infrastructure_cost_hourly"], inputs["int__self_hosted_usage"])


def equivalents(_settings: Settings, _month: str, inputs: Inputs) -> pl.DataFrame:
    """int__api_equivalents: the same tokens at an API's public price of their day, and of the run's day."""
    prices = PriceTables(
        *(
            inputs[f"ref__{name}"]
            for name in ("price_book", "price_schedules", "model_aliases", "component_equivalents", "contract_prices")
        )
    )
    today = inputs["ref__clock"]["today"].item()
    return api_equivalents(inputs["int__self_hosted_usage"], inputs["ref__model_equivalents"], prices, today)


def break_even(_settings: Settings, month: str, inputs: Inputs) -> pl.DataFrame:
    """int__break_even: volumes from which self-hosting pays, by option."""
    return break_even_options(
        month, inputs["int__infrastructure_cost_hourly"], inputs["int__api_equivalents"], inputs["ref__gpu_rates"]
    )


INFRASTRUCTURE_TABLES: tuple[PythonTable, ...] = (
    PythonTable(
        "int__infrastructure_hours",
        "month",
        (*_REFERENCE, "ref__clock"),
        infrastructure_hours,
        "What runs in every hour, and the rates of that hour",
        "One row per deployment, UTC hour and stretch of it in which no rate changes",
        rows_from=("ref__deployments",),
    ),
    PythonTable(
        "int__infrastructure_cost_hourly",
        "month",
        ("int__infrastructure_hours", "int__self_hosted_usage", "core__infrastructure"),
        infrastructure_cost_hourly,
        "The ledger of self-hosting: five gross components, busy and idle",
        "One row per deployment and UTC hour",
        rows_from=("int__infrastructure_hours",),
    ),
    PythonTable(
        "int__infrastructure_shares",
        "month",
        ("int__infrastructure_cost_hourly", "int__self_hosted_usage"),
        infrastructure_shares,
        "Deployment hours shared out by largest remainder",
        "One row per UTC day, deployment, owner, model and service tier; per day both bases sum to the ledger exactly",
        rows_from=("int__infrastructure_cost_hourly",),
    ),
    PythonTable(
        "int__api_equivalents",
        "month",
        (
            "int__self_hosted_usage",
            "ref__model_equivalents",
            "ref__clock",
            "ref__price_book",
            "ref__price_schedules",
            "ref__model_aliases",
            "ref__component_equivalents",
            "ref__contract_prices",
        ),
        equivalents,
        "Self-hosted tokens at an API's public price",
        "One row per deployment and UTC day with traffic",
        rows_from=("int__self_hosted_usage",),
    ),
    PythonTable(
        "int__break_even",
        "month",
        ("int__infrastructure_cost_hourly", "int__api_equivalents", "ref__gpu_rates"),
        break_even,
        "Volumes from which self-hosting pays",
        "One row per month, deployment and option",
        rows_from=("int__infrastructure_cost_hourly",),
    ),
)
