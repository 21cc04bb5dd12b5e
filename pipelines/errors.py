"""The one error family of TokenMart.

What lives here: exceptions that a user may see, each with an exit code. What does not: logging, retries, formatting.
Every error says what happened, where, what was expected and the next move; `str(error)` puts them in that order.
"""

from __future__ import annotations


class TokenMartError(Exception):
    """Base of the family. Subclasses set `exit_code`; `transient` errors may be retried, others never are."""

    exit_code = 1
    transient = False

    def __init__(self, what: str, *, where: str = "", expected: str = "", next_move: str = "") -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.next_move = next_move
        super().__init__(what)

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"  where: {self.where}")
        if self.expected:
            parts.append(f"  expected: {self.expected}")
        if self.next_move:
            parts.append(f"  next: {self.next_move}")
        return "\n".join(parts)


class UsageError(TokenMartError):
    """The command's words are off (a date that is none, an unknown source)."""

    exit_code = 2


class SettingsError(TokenMartError):
    """The environment or the home is unusable."""

    exit_code = 3


class FileRejectedError(TokenMartError):
    """A landed file cannot be read at all; the rest of the run goes on. `code` is the ledger's reason code."""

    exit_code = 4

    def __init__(self, what: str, *, code: str, where: str = "", expected: str = "", next_move: str = "") -> None:
        super().__init__(what, where=where, expected=expected, next_move=next_move)
        self.code = code


class ContractError(TokenMartError):
    """A table breaks its contract in a way that no quarantine can hold (our fault, or a reference table)."""

    exit_code = 5


class ReferenceTableError(ContractError):
    """A reference table (data/reference or <home>/reference) is not usable."""

    exit_code = 6


class PriceBookError(TokenMartError):
    """The price book would become wrong: overlap, unit error, unreviewed step."""

    exit_code = 7


class CheckFailedError(TokenMartError):
    """A failing check stopped a publish."""

    exit_code = 8


class PublishError(TokenMartError):
    """A snapshot could not be built or committed."""

    exit_code = 9


class QueryError(TokenMartError):
    """The SQL that a person typed failed or was not allowed."""

    exit_code = 10


class NotFoundError(TokenMartError):
    """What was asked for does not exist (a snapshot, a feature, a quarantined record)."""

    exit_code = 11


class CloseRefusedError(TokenMartError):
    """A month cannot be closed yet; `reasons` says why, one sentence each."""

    exit_code = 12

    def __init__(self, what: str, *, reasons: tuple[str, ...], where: str = "", next_move: str = "") -> None:
        super().__init__(what, where=where, expected="; ".join(reasons), next_move=next_move)
        self.reasons = reasons

    def __str__(self) -> str:
        lines = [self.what, *(f"  because: {reason}" for reason in self.reasons)]
        return "\n".join([*lines, f"  next: {self.next_move}"] if self.next_move else lines)


class BusyError(TokenMartError):
    """Somebody else holds the lock; trying again later can help."""

    exit_code = 75
    transient = True
