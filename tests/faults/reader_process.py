"""A BI tool that reads all the time: `python reader_process.py HOME STOP_FILE REPORT`.

Until STOP_FILE exists: resolve CURRENT, open it read-only, compare two marts with each other and with the
snapshot's id, and see that the sequence never falls. REPORT gets `{"reads": n, "snapshots": m, "errors": [...]}`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import duckdb

QUERY = """
    SELECT
        (SELECT sum(effective_cost_usd) FROM mart__feature_cost_daily) AS by_feature,
        (SELECT sum(effective_cost_usd) FROM mart__feature_cost_monthly) AS by_month,
        (SELECT max(_snapshot_id) FROM mart__feature_cost_daily) AS id_by_feature,
        (SELECT min(_snapshot_id) FROM mart__feature_cost_monthly) AS id_by_month
"""


def main(home: str, stop_file: str, report: str) -> None:
    marts = Path(home) / "marts"
    reads, last, seen, errors = 0, "", set(), []
    while not Path(stop_file).exists():
        try:
            directory = (marts / "CURRENT").resolve(strict=True)
            with duckdb.connect(str(directory / "marts.duckdb"), read_only=True) as connection:
                by_feature, by_month, first_id, second_id = connection.execute(QUERY).fetchall()[0]
            if by_feature != by_month or {first_id, second_id} != {directory.name}:
                errors.append(f"{directory.name}: {by_feature} and {by_month}, {first_id} and {second_id}")
            if directory.name < last:
                errors.append(f"{directory.name} after {last}")
            last = directory.name
            seen.add(last)
        except (duckdb.Error, OSError) as error:
            errors.append(repr(error))
        reads += 1
        time.sleep(0.01)
    Path(report).write_text(json.dumps({"reads": reads, "snapshots": len(seen), "errors": errors}))


if __name__ == "__main__":
    main(*sys.argv[1:])
