"""One publish of the house: the marts of the lake, the journal of what they restate, and the closed months.

What lives here: what goes into a publish beyond the marts themselves. What does not: the commit (publish/), building
the marts (build/graph.py), why a number changed (restatement.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pipelines.contracts.closing import MartRestatements
from pipelines.contracts.fields import empty
from pipelines.errors import NotFoundError, PublishError
from pipelines.history.closing import closed_months
from pipelines.history.published_inputs import forget_old_generations, keep_inputs
from pipelines.history.restatement import JOURNAL, since_last_publish
from pipelines.lake import Lake
from pipelines.publish.facts import facts_of_build, mart_files
from pipelines.publish.manifest import content_digest
from pipelines.publish.readers import current, list_snapshots
from pipelines.publish.snapshot import Published, publish
from pipelines.publish.staging import Checks, survey
from pipelines.settings import CODE_VERSION, Settings


def publish_marts(
    settings: Settings, checks: Checks | None = None, facts: Mapping[str, object] | None = None
) -> Published:
    """Publish the lake's marts and what they restate, as one snapshot, or change nothing.

    `facts` go on record in the manifest (default: publish.facts.facts_of_build), the closed months with them. The
    journal mart__restatements stands outside the digest. Raises what publish.snapshot.publish raises, and NotFoundError
    where no mart was ever built.
    """
    lake = Lake(settings.lake)
    with lake.writing():
        tables = mart_files(settings)
        if not all(tables.values()):
            raise NotFoundError(
                "there is nothing to publish: no mart was built",
                where="lake",
                expected="marts",
                next_move="land files and `tokenmart run`, or `tokenmart demo` for a sample quarter",
            )
        journal = pl.concat([_journal_so_far(settings), since_last_publish(settings)])
        lake.write(JOURNAL, "all", journal, MartRestatements)
        held = lake.tables(tables)
        digests = {(table, key): part.sha256 for table in held for key, part in held[table].items() if part.signature}
        surveyed = survey(tables, digests=digests)
        keep_inputs(settings, content_digest(surveyed), CODE_VERSION)
        closed = closed_months(lake)
        _refuse_to_lose_a_close(settings, closed)
        recorded = {**(facts_of_build(settings) if facts is None else facts), "closed_periods": closed}
        published = publish(
            settings,
            {**tables, JOURNAL: [lake.path(JOURNAL, "all")]},
            recorded,
            checks,
            journals=[JOURNAL],
            surveyed=surveyed,
        )
        forget_old_generations(settings)
    return published


def _refuse_to_lose_a_close(settings: Settings, closed: list[str]) -> None:
    """What the live snapshot shows as closed stays closed, whatever became of the files."""
    try:
        lost = sorted(current(settings).manifest.closed_periods() - set(closed))
    except NotFoundError:
        return
    if lost:
        raise PublishError(
            f"the live snapshot shows {', '.join(lost)} as closed, and the journal of closes does not know it",
            where="closed/",
            expected=f"closed/{lost[0]}.parquet and closed/{lost[0]}.json",
            next_move="put the folder closed/ back from a backup, or make a snapshot from before the close current:"
            " `tokenmart snapshots rollback`",
        )


def _journal_so_far(settings: Settings) -> pl.DataFrame:
    """The journal as the newest snapshot holds it, also after a rollback: what was once told stays told."""
    snapshots = list_snapshots(settings)
    if not snapshots:
        return empty(MartRestatements)
    newest = snapshots[-1]
    files = [newest.path / file.relative for file in newest.manifest.files_of(JOURNAL)]
    return pl.concat([empty(MartRestatements), *(pl.read_parquet(path) for path in files)])
