"""What a table computed by Python is. What lives here: the description of one. What does not: any such table
(derived_tables.py, infrastructure_tables.py), when it is built (graph.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from pipelines.settings import Settings

Inputs = Mapping[str, pl.DataFrame]
"""Input table → its rows: those of the month for a monthly table."""


@dataclass(frozen=True)
class PythonTable:
    """A table that Python computes: `cut` is `month` or `all`; `build(settings, key, inputs)` gives its rows."""

    name: str
    cut: str
    inputs: tuple[str, ...]
    build: Callable[[Settings, str, Inputs], pl.DataFrame]
    title: str
    grain: str
    rows_from: tuple[str, ...] = ()
    """Inputs without any row in which the table has none; empty where nothing is promised."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of a wide input the columns that `build` reads; of the others it gets all."""
