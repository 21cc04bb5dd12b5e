"""Contract of amortised commitments.

What lives here: int__allocated_commitments. What does not: the table that people keep, ref__commitments (reference.py).
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import Usd


class IntAllocatedCommitments(pa.DataFrameModel):
    """One row per UTC day, commitment and claimant; per day and commitment the shares sum to its amortised cost
    exactly.

    Commitments of commitments.csv, amortised by day and shared out by use, `__unused_commitment__` included.
    """

    usage_date: pl.Date
    commitment_id: str
    kind: str
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    provider: str
    account: str
    model: str
    service_tier: str
    effective_cost_usd: Usd = pa.Field(ge=0)

    class Config:
        strict = True
        ordered = False
