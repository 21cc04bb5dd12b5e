"""A process that takes in and merges one home over and over until it is killed: `python -m
tests.faults.ingesting_process HOME`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.unit.lake_state import home_settings, take_in

if __name__ == "__main__":
    settings = home_settings(Path(sys.argv[1]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    take_in(settings)
