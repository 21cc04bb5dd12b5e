"""The sentences of sql/checks as asset checks: those that must be true stop what follows, the others warn.

What lives here: on which asset a sentence is asked, and how its answer is shown. What does not: the sentences
(sql/checks), asking (pipelines/inspection/check_run.py), contracts, which are kept inside every write.
A sentence is asked by the step that builds its asset, once all tables of that step stand. A false one of severity
`fail` fails the step: tables that the same step built stay in the lake, where no reader looks, and no later step runs.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache

import dagster as dg

from pipelines.build.graph import build_order
from pipelines.inspection.check_run import CheckOutcome, checks_on_lake
from pipelines.settings import Settings
from pipelines.sqlmodel import SqlCheck, shipped_checks

_ASKED_ON = {"core__landed_files": "core__usage", "core__quarantine": "core__usage"}
"""The ledger has its counts once the days are merged."""
_LONGEST_SAMPLE = 2000


@cache
def home_of(check: SqlCheck) -> str:
    """The asset that a check belongs to: of the tables it reads, the one that is built last."""
    order = {name: number for number, name in enumerate(build_order(), start=1)}
    early = {"int__usage_rollup": 0, "int__meter_rollup": 0}
    last = max(sorted(check.inputs), key=lambda name: order.get(name, early.get(name, -1)))
    return _ASKED_ON.get(last, last)


def check_specs(tables: Iterable[str]) -> list[dg.AssetCheckSpec]:
    """The checks that a step with these tables asks."""
    homes = set(tables)
    return [
        dg.AssetCheckSpec(
            check.name,
            asset=home_of(check),
            description=f"{check.title}.",
            blocking=check.severity == "fail",
            metadata={"file": f"sql/checks/{check.name}.sql", "severity": check.severity},
        )
        for check in shipped_checks().values()
        if home_of(check) in homes
    ]


def answers(context: dg.AssetExecutionContext, settings: Settings) -> Mapping[dg.AssetKey, list[dg.AssetCheckResult]]:
    """Ask the checks that this step was started with, and give the answers by asset."""
    wanted = {key.name: key.asset_key for key in context.selected_asset_check_keys}
    checks = {name: check for name, check in shipped_checks().items() if name in wanted}
    found: dict[dg.AssetKey, list[dg.AssetCheckResult]] = defaultdict(list)
    if checks:
        for outcome in checks_on_lake(settings, checks):
            found[wanted[outcome.name]].append(_result(outcome, wanted[outcome.name]))
    return found


def _result(outcome: CheckOutcome, asset: dg.AssetKey) -> dg.AssetCheckResult:
    sample = "\n".join(str(dict(row)) for row in outcome.sample)[:_LONGEST_SAMPLE]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=outcome.name,
        passed=outcome.is_true,
        severity=dg.AssetCheckSeverity.ERROR if outcome.severity == "fail" else dg.AssetCheckSeverity.WARN,
        description=None if outcome.is_true else f"not true: {outcome.title} ({outcome.failed_rows} rows)",
        metadata={"rows": outcome.failed_rows, "first rows": sample or "none"},
    )
