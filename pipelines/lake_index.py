"""The lake's index: one SQLite database beside the partitions, and who shares its transactions.

What lives here: opening it, transactions, one commit for many of them. What does not: what its tables say (lake.py,
intake/). Every other reader of the database sees a transaction whole or not at all.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

_TABLES = """
CREATE TABLE IF NOT EXISTS partitions (
    table_name TEXT NOT NULL, key TEXT NOT NULL, rows INTEGER NOT NULL, sha256 TEXT NOT NULL, signature TEXT NOT NULL,
    PRIMARY KEY (table_name, key)
) WITHOUT ROWID;
"""


@contextmanager
def transaction(root: Path) -> Iterator[sqlite3.Connection]:
    """The index of the lake below `root`, inside one transaction that commits when the block ends well.

    While a thread keeps it open, its blocks share one connection, and a block inside another (or inside `one_commit`)
    is part of the outer one's transaction.
    """
    held = _HELD.of.get(root)
    if held is None:
        with closing(_connect(root)) as connection, connection:
            yield connection
    elif held.is_open:
        try:
            yield held.connection
        except BaseException:
            held.is_torn = True
            raise
    else:
        with held.opened(), held.connection as connection:
            yield connection


@contextmanager
def one_commit(root: Path) -> Iterator[None]:
    """What the transactions inside the block tell is committed at its end: a commit waits for the disk, so many small
    ones cost more than what they record. The caller keeps the index open.

    Also when the block fails: then what it has told so far counts, unless it failed in the middle of telling.
    """
    held = _HELD.of[root]
    with held.opened():
        try:
            yield
        finally:
            if held.is_torn:
                held.connection.rollback()
            else:
                held.connection.commit()


@contextmanager
def kept_open(root: Path) -> Iterator[None]:
    """One connection for all transactions of this thread inside the block."""
    with closing(_connect(root)) as connection:
        _HELD.of[root] = _Open(connection)
        try:
            yield
        finally:
            _HELD.of.pop(root, None)


def _connect(root: Path) -> sqlite3.Connection:
    root.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(root / "index.sqlite", timeout=30)
    # A journal that is kept costs half of one that is made and removed each time; both are synced.
    connection.execute("PRAGMA journal_mode=PERSIST")
    connection.executescript(_TABLES)
    return connection


@dataclass
class _Open:
    """A connection. While a transaction `is_open`; it `is_torn` when a block inside it failed."""

    connection: sqlite3.Connection
    is_open: bool = False
    is_torn: bool = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        self.is_open, self.is_torn = True, False
        try:
            yield
        finally:
            self.is_open = False


class _Held(threading.local):
    """What this thread keeps open, by the lake's root."""

    def __init__(self) -> None:
        self.of: dict[Path, _Open] = {}


_HELD = _Held()
