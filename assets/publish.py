"""The last asset: the snapshot that readers see.

What lives here: published_snapshot, and mart__restatements, which is written with it. What does not: the publish
protocol (pipelines/publish).
One publish at a time: a pool of one across processes, and the protocol's own lock below it.
"""

from collections.abc import Iterator

import dagster as dg

from assets.failures import RETRY_TRANSIENT, plain_failures
from assets.listener import listener
from assets.resources import Home
from assets.table_metadata import OWNERS, Shown, table_spec
from pipelines.history.publication import publish_marts
from pipelines.history.restatement import JOURNAL
from pipelines.inspection.check_run import false_sentences_about_marts
from pipelines.publish.facts import mart_files, mart_names, remember_inputs
from pipelines.publish.snapshot import Published
from pipelines.settings import CODE_VERSION

PUBLISH_POOL = "publish"


_SNAPSHOT = dg.AssetSpec(
    "published_snapshot",
    deps=mart_names(),
    description=(
        "The marts as one snapshot that goes live at once: `marts/CURRENT`.\n\n"
        "Built aside, checked there, and made current by one rename. Equal to what is live: nothing is written."
    ),
    group_name="publish",
    owners=OWNERS,
    kinds={"duckdb", "parquet"},
    code_version=CODE_VERSION,
)
_JOURNAL = table_spec(JOURNAL, deps=mart_names())


@dg.multi_asset(
    name="publishing",
    specs=[_JOURNAL, _SNAPSHOT],
    pool=PUBLISH_POOL,
    retry_policy=RETRY_TRANSIENT,
)
def publishing(context: dg.AssetExecutionContext, home: Home) -> Iterator[dg.MaterializeResult[None]]:
    """Publish all marts of the lake with the journal of what they restate, unless nothing ever landed."""
    settings = home.settings()
    listener().progress("publishing", 0, 1)
    published = None
    with plain_failures(settings):
        if all(mart_files(settings).values()):
            published = publish_marts(settings, false_sentences_about_marts)
            remember_inputs(settings, published.snapshot_id)
    listener().published = published
    if published is None:
        context.log.warning("nothing has landed yet: there is nothing to publish")
        yield dg.MaterializeResult(asset_key=_JOURNAL.key, metadata={"dagster/row_count": 0})
        yield dg.MaterializeResult(asset_key=_SNAPSHOT.key, metadata={"snapshot": "none"})
        return
    yield dg.MaterializeResult(
        asset_key=_JOURNAL.key, metadata={"dagster/row_count": published.manifest.tables[JOURNAL].rows}
    )
    yield dg.MaterializeResult(
        asset_key=_SNAPSHOT.key, metadata=_metadata(published), data_version=dg.DataVersion(published.manifest.digest)
    )


def _metadata(published: Published) -> Shown:
    sums = {
        f"{table}: {column}": total
        for table, facts in published.manifest.tables.items()
        for column, total in facts.money_sums.items()
        if column == "effective_cost_usd" and total is not None
    }
    return {
        "snapshot": published.snapshot_id,
        "is new": published.is_new,
        "parent": published.parent or "none",
        "rows": sum(facts.rows for facts in published.manifest.tables.values()),
        **sums,
    }
