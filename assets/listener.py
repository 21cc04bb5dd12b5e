"""Who listens to a run in this process: the command line, which draws progress bars and prints a summary.

What lives here: the listener and how an asset finds it. What does not: drawing (cli_console.py), what assets do.
Runs of the daemon have no listener; what they did is in the events and metadata that Dagster keeps.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field

from pipelines.build.graph import BuildReport
from pipelines.build.rollup_days import RollupReport
from pipelines.core.merge import CoreReport
from pipelines.intake.staging import IntakeReport, Progress
from pipelines.publish.snapshot import Published


def _silence(what: str, done: int, of: int) -> None:
    """No progress bar."""


@dataclass
class Listener:
    """Collects what the assets of one run report. `error` is the exception behind a failed step."""

    progress: Progress = _silence
    intake: IntakeReport | None = None
    core: CoreReport | None = None
    rollup: RollupReport | None = None
    built: dict[str, BuildReport] = field(default_factory=dict)
    published: Published | None = None
    error: Exception | None = None


_LISTENER: ContextVar[Listener | None] = ContextVar("tokenmart_listener", default=None)


def listener() -> Listener:
    """The listener of this run; one that nobody reads where there is none."""
    return _LISTENER.get() or Listener()


def listen(new: Listener | None) -> None:
    """Make `new` the listener of what this thread runs from now on."""
    _LISTENER.set(new)
