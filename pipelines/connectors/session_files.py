"""Session files of agent command lines: read whole, and ranked so that copies of one message count once.

What lives here: the size bound, `read_session`, `copy_rank`. What does not: any tool's own records.
"""

from __future__ import annotations

import polars as pl

from pipelines.connectors.base import LandedFile, MergeRule
from pipelines.connectors.reading.json_lines import Shape, read_json_lines
from pipelines.errors import FileRejectedError

MAX_SESSION_BYTES = 512 * 1024 * 1024
"""A session's records refer to earlier ones, so its narrow columns are held at once."""

SESSION_MERGE = MergeRule(window="global", on_conflict="largest_rank")
"""Resumed and forked sessions copy history into new files, days later: the same message counts once anywhere."""

_SECONDS = 10**10
"""Above every Unix second until the year 2286."""
_MOST_TOKENS = 4 * 10**8
"""Totals above this rank alike: the rank stays below 2^63."""


def read_session(file: LandedFile, shape: Shape) -> pl.DataFrame:
    """All records with the columns of `shape` and those of read_json_lines. Raises FileRejectedError `too_large`."""
    size = file.path.stat().st_size
    if size > MAX_SESSION_BYTES:
        raise FileRejectedError(
            f"the session file is too large ({size} bytes)",
            code="too_large",
            where=file.relative_path,
            expected=f"one session of at most {MAX_SESSION_BYTES} bytes a file",
            next_move="land the tool's own session files instead of a concatenation of them",
        )
    chunks = list(read_json_lines(file.path, shape))
    return pl.concat(chunks, how="diagonal") if chunks else pl.DataFrame()


def copy_rank(total_tokens: pl.Expr, started_at: pl.Expr, is_main: pl.Expr) -> pl.Expr:
    """merge_rank of a message: the largest total first, then the main thread before a replay, then the earliest copy.

    Streaming writes a message several times with growing counts; a copy in another file repeats them with the time of
    copying. So the row that stays has the final counts and the first time.
    """
    tokens = pl.min_horizontal(total_tokens.cast(pl.Int64), pl.lit(_MOST_TOKENS, dtype=pl.Int64))
    earliness = _SECONDS - started_at.dt.epoch("s")
    return tokens * (2 * _SECONDS) + is_main.cast(pl.Int64) * _SECONDS + earliness
