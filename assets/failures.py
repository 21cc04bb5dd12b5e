"""How a step fails: at once and in plain words, or again a little later.

What lives here: the retry policy, telling transient errors from permanent ones. What does not: the errors
(pipelines/errors.py), exit codes (cli.py).
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from assets.listener import listener
from pipelines.errors import TokenMartError
from pipelines.settings import Settings

RETRY_TRANSIENT = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
_TRANSIENT_NUMBERS = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.ENETUNREACH,
    }
)


def is_transient(error: BaseException) -> bool:
    """True when the same step may well succeed a few seconds later."""
    if isinstance(error, TokenMartError):
        return error.transient
    if isinstance(error, sqlite3.OperationalError):
        return "locked" in str(error)
    return isinstance(error, OSError) and error.errno in _TRANSIENT_NUMBERS


@contextmanager
def plain_failures(settings: Settings) -> Iterator[None]:
    """Let transient errors through to the retry policy; turn any other into a Failure that is not retried.

    The Failure says what, where, expected and next move, and never the absolute path of the home.
    """
    try:
        yield
    except Exception as error:
        listener().error = error
        if is_transient(error):
            raise
        raise _failure(error, settings) from _safe_cause(error, settings)


def _failure(error: Exception, settings: Settings) -> dg.Failure:
    if isinstance(error, TokenMartError):
        parts = {"where": error.where, "expected": error.expected, "next": error.next_move}
        metadata = {name: _without_home(text, settings) for name, text in parts.items() if text}
        return dg.Failure(_without_home(error.what, settings), metadata=metadata, allow_retries=False)
    return dg.Failure(_without_home(f"{type(error).__name__}: {error}", settings), allow_retries=False)


def _safe_cause(error: Exception, settings: Settings) -> Exception | None:
    """The cause with its stack trace, unless its words name the home."""
    return None if str(settings.home) in str(error) else error


def _without_home(text: str, settings: Settings) -> str:
    return text.replace(str(settings.home), "<home>")
