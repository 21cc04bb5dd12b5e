"""A publisher that a test can kill: `python publisher_process.py HOME STEP publish|rollback [ID]`.

Publishes what stands in the home's lake, or rolls back, and sends itself SIGKILL right after STEP.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines.publish.commit import Request, publish_in_steps, roll_back
from pipelines.settings import Settings


def main(home: str, step: str, action: str, target: str = "") -> None:
    settings = Settings(Path(home), datetime(2026, 3, 1, tzinfo=UTC), threads=1, memory_limit="1GB")

    def die_at(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    if action == "rollback":
        roll_back(settings, target, patience_seconds=10, at_step=die_at)
    else:
        tables = {folder.name: sorted(folder.glob("*.parquet")) for folder in sorted(settings.lake.glob("mart__*"))}
        publish_in_steps(settings, Request(tables, {}, lambda _: []), patience_seconds=10, at_step=die_at)


if __name__ == "__main__":
    main(*sys.argv[1:])
