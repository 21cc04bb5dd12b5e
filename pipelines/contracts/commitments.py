"""Contracts of commitments: amortised, and drawn down.

What lives here: int__allocated_commitments, int__prepaid_use, int__prepaid_drawn. What does not: the table that people
keep, ref__commitments (reference.py).
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipelines.contracts.fields import Usd


class IntAllocatedCommitments(pa.DataFrameModel):
    """One row per UTC day, commitment and claimant; per day and commitment the shares sum to its amortised cost
    exactly.

    Commitments of commitments.csv, amortised by day and shared out by use, `__unused_commitment__` included; prepaid
    amounts as they were drawn.
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


class IntPrepaidUse(pa.DataFrameModel):
    """One row per UTC day and owner at a provider with prepaid amounts.

    Use that prepaid amounts may pay for: its tokens, and its contracted cost as far as no bill line pays for it.
    """

    usage_date: pl.Date
    feature: str
    team: str = pa.Field(nullable=True)
    cost_center: str = pa.Field(nullable=True)
    provider: str
    account: str
    model: str
    service_tier: str
    tokens: pl.Int64 = pa.Field(ge=0)
    unbilled_cost_usd: Usd = pa.Field(ge=0)

    class Config:
        strict = True
        ordered = False


class IntPrepaidDrawn(IntAllocatedCommitments):
    """One row per UTC day, prepaid amount and claimant; per amount they sum to what it cost once it is used up or
    expired.

    Prepaid amounts drawn down by use over all months, what expired as `__unused_commitment__`.
    """
