"""The code location: everything that Dagster is to know. What lives here: the list. What does not: any of its items."""

import dagster as dg

from assets.automation import JOBS, SCHEDULES, SENSORS
from assets.core import core_days
from assets.ingest import landed_files
from assets.models import CLOSED, derived_tables
from assets.publish import publishing
from assets.reference import reference_tables
from assets.resources import Home
from assets.rollup import rollup_days

defs = dg.Definitions(
    assets=[landed_files, reference_tables, core_days, rollup_days, derived_tables, publishing, *CLOSED],
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=SENSORS,
    resources={"home": Home()},
    executor=dg.in_process_executor,
)
