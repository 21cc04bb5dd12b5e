"""The first asset: what lies in landing/ and what became of each file.

What lives here: core__landed_files. What does not: reading files (pipelines/intake/reading.py), merging their rows
(core.py).
"""

import dagster as dg

from assets.failures import RETRY_TRANSIENT, plain_failures
from assets.listener import listener
from assets.resources import Home
from assets.table_metadata import OWNERS, Shown, table_spec
from pipelines.intake.staging import IntakeReport, ingest
from pipelines.lake import Lake

_LONGEST_LIST = 50
_SPEC = table_spec("core__landed_files", deps=())


@dg.multi_asset(name="landing", specs=[_SPEC], retry_policy=RETRY_TRANSIENT, op_tags={"owner": OWNERS[0]})
def landed_files(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[None]:
    """Take in every new file of landing/. One bad file is rejected, with its reason; the others go on."""
    settings = home.settings()
    with plain_failures(settings):
        report = ingest(settings, listener().progress)
    listener().intake = report
    for file, reason in report.rejected:
        context.log.warning("rejected: %s\n%s", file, reason.replace(str(settings.home), "<home>"))
    for folder, files in report.unknown_sources.items():
        context.log.warning("landing/%s is no source: %s files were not looked at", folder, files)
    partition = Lake(settings.lake).partitions("core__landed_files").get("all")
    return dg.MaterializeResult(
        asset_key=_SPEC.key, metadata={"dagster/row_count": partition.rows if partition else 0, **_counts(report)}
    )


def _counts(report: IntakeReport) -> Shown:
    rejected = "\n".join(f"- {name}" for name, _ in report.rejected[:_LONGEST_LIST])
    return {
        "ingested": len(report.ingested),
        "duplicates": len(report.duplicates),
        "rejected": len(report.rejected),
        "retracted versions": len(report.retracted),
        "still being written": len(report.unsettled),
        "known before": report.known,
        "folders that are no source": ", ".join(sorted(report.unknown_sources)) or "none",
        "rejected files": dg.MetadataValue.md(rejected or "none"),
    }
