"""The sentences of sql/checks as asset checks: those that must be true stop what follows, the others warn.

What lives here: on which asset a sentence is asked, and how its answer is shown. What does not: the sentences
(sql/checks), asking (pipelines/inspection/check_run.py), contracts, which are kept inside every write.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import dagster as dg

from assets.failures import plain_failures
from assets.resources import Home
from pipelines.build.graph import build_order
from pipelines.inspection.check_run import CheckOutcome, checks_on_lake
from pipelines.sqlmodel import SqlCheck, load_checks

_ASKED_ON = {"core__landed_files": "core__usage", "core__quarantine": "core__usage"}
"""The ledger has its counts once the days are merged."""
_LONGEST_SAMPLE = 2000


def home_of(check: SqlCheck) -> str:
    """The asset that a check belongs to: of the tables it reads, the one that is built last."""
    order = {name: number for number, name in enumerate(build_order(), start=1)}
    early = {"int__usage_rollup": 0, "int__meter_rollup": 0}
    last = max(sorted(check.inputs), key=lambda name: order.get(name, early.get(name, -1)))
    return _ASKED_ON.get(last, last)


def _step_of(table: str, checks: Sequence[SqlCheck]) -> dg.AssetChecksDefinition:
    others = sorted({_ASKED_ON.get(name, name) for check in checks for name in check.inputs} - {table})
    specs = [
        dg.AssetCheckSpec(
            check.name,
            asset=table,
            description=f"{check.title}.",
            blocking=check.severity == "fail",
            additional_deps=others,
            metadata={"file": f"sql/checks/{check.name}.sql", "severity": check.severity},
        )
        for check in checks
    ]
    by_name = {check.name: check for check in checks}

    @dg.multi_asset_check(name=f"checks_of_{table}", specs=specs)
    def ask(home: Home) -> Iterator[dg.AssetCheckResult]:
        settings = home.settings()
        with plain_failures(settings):
            outcomes = checks_on_lake(settings, by_name)
        for outcome in outcomes:
            yield _result(outcome, table)

    return ask


def _result(outcome: CheckOutcome, table: str) -> dg.AssetCheckResult:
    sample = "\n".join(str(dict(row)) for row in outcome.sample)[:_LONGEST_SAMPLE]
    return dg.AssetCheckResult(
        asset_key=table,
        check_name=outcome.name,
        passed=outcome.is_true,
        severity=dg.AssetCheckSeverity.ERROR if outcome.severity == "fail" else dg.AssetCheckSeverity.WARN,
        description=None if outcome.is_true else f"not true: {outcome.title} ({outcome.failed_rows} rows)",
        metadata={"rows": outcome.failed_rows, "first rows": sample or "none"},
    )


def _steps() -> list[dg.AssetChecksDefinition]:
    by_table: dict[str, list[SqlCheck]] = defaultdict(list)
    for check in load_checks().values():
        by_table[home_of(check)].append(check)
    return [_step_of(table, checks) for table, checks in sorted(by_table.items())]


CHECKS = _steps()
