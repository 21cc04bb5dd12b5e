"""The demo's files read by the connectors they are meant for: what they find is what the demo's ledger counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from pipelines.connectors.base import Batch, LandedFile
from pipelines.connectors.registry import connector
from pipelines.demo.scenario import load_scenario
from pipelines.demo.traffic import TOKENS, build_calls
from tests.unit.connectors.reading import usage_frame

SCALE, SEED = 0.05, 7
KEYS = ["usage_date", "provider", "account", "model", "service_tier"]


def read(home, source: str, folder: Path) -> tuple[list[Batch], Counter[str]]:
    """All batches of a source's files, and the reasons of rejects; every record of a file must be accounted for."""
    from_plain = home.files(source)
    batches: list[Batch] = []
    reasons: Counter[str] = Counter()
    for number, path in enumerate(from_plain):
        text = home.text(path)
        plain = folder / f"{source}-{number}"
        plain.write_text(text)
        parts = path.relative_to(home.path / "landing" / source).parts
        account = parts[0] if len(parts) > 1 else "default"
        file = LandedFile(source, plain, "/".join((source, *parts)), f"{number:016x}", account)
        mine = list(connector(source).read(file))
        usages = [usage_frame(b.usage) for b in mine if b.usage is not None]
        frames = [*usages, *(f for b in mine for f in (b.provider_usage, b.billing) if f is not None)]
        rows = {n for frame in frames for n in frame["record_number"]}
        rejected = [reject for batch in mine for reject in batch.rejected]
        bad = {n for reject in rejected for n in reject["record_number"]} - rows
        not_usage = sum(batch.not_usage for batch in mine)
        assert connector(source).count_records(file) == len(rows) + len(bad) + not_usage, path.name
        for reject in rejected:
            reasons.update(reject["reason_code"])
        batches += mine
    return batches, reasons


def sums(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.group_by(KEYS).agg(pl.col(TOKENS).sum()).sort(KEYS)


@pytest.fixture(scope="module")
def calls() -> pl.DataFrame:
    return build_calls(load_scenario(), seed=SEED, scale=SCALE)


def test_gateway_log(both_nights, calls, tmp_path):
    batches, reasons = read(both_nights, "response_log", tmp_path)
    assert reasons == {
        "malformed_json": 3,
        "type_error": 1,
        "missing_timestamp": 1,
        "missing_usage": 1,
        "missing_model": 1,
    }
    usage = pl.concat(usage_frame(batch.usage) for batch in batches if batch.usage is not None)
    assert len(usage.filter(pl.col("input_uncached_tokens") < 0)) == 2  # cached above prompt: for the contract to name
    usage = usage.filter(pl.col("input_uncached_tokens") >= 0).with_columns(
        pl.col("started_at").dt.date().alias("usage_date")
    )
    # A reused id has a later time; the earliest row of an id is the call itself.
    each_once = usage.sort("started_at").unique(["provider", "request_id"], keep="first")
    each_once = pl.concat(
        [each_once.filter(pl.col("request_id").is_not_null()), usage.filter(pl.col("request_id").is_null())]
    )
    logged = calls.filter((pl.col("source") == "gateway") | pl.col("is_cross_logged"))
    assert sums(each_once).equals(sums(logged))


def test_litellm_log(both_nights, calls, tmp_path):
    batches, reasons = read(both_nights, "litellm", tmp_path)
    assert not reasons
    usage = pl.concat(usage_frame(batch.usage) for batch in batches if batch.usage is not None)
    logged = calls.filter(pl.col("source") == "litellm")
    assert sums(usage.with_columns(pl.col("started_at").dt.date().alias("usage_date"))).equals(sums(logged))
    assert len(usage.filter(pl.col("status") == "failure")) == len(logged.filter(pl.col("status") == "failure"))


def test_claude_code_sessions(both_nights, calls, tmp_path):
    batches, reasons = read(both_nights, "claude_code", tmp_path)
    assert not reasons
    usage = pl.concat(usage_frame(batch.usage) for batch in batches if batch.usage is not None)
    largest = usage.sort("merge_rank", descending=True).unique("request_id", keep="first", maintain_order=True)
    logged = calls.filter(pl.col("source") == "claude_code")
    assert len(largest) == len(logged)
    assert sums(largest.with_columns(pl.col("started_at").dt.date().alias("usage_date"))).equals(sums(logged))


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_provider_usage(both_nights, calls, tmp_path, provider):
    batches, reasons = read(both_nights, f"{provider}_usage", tmp_path)
    assert not reasons
    usage = pl.concat(batch.provider_usage for batch in batches if batch.provider_usage is not None)
    tokens = usage.filter(pl.col("meter").is_null()).with_columns(pl.col("bucket_start").dt.date().alias("usage_date"))
    billable = calls.filter((pl.col("provider") == provider) & (pl.col("status") == "success"))
    assert sums(tokens.unique(KEYS)).equals(sums(billable))


@pytest.mark.parametrize("source", ["openai_costs", "anthropic_costs", "focus"])
def test_every_bill_line_is_read_and_its_component_known(both_nights, tmp_path, source):
    batches, reasons = read(both_nights, source, tmp_path)
    assert not reasons
    lines = pl.concat(batch.billing for batch in batches if batch.billing is not None)
    tokens = lines.filter("is_token_charge")
    assert tokens["component"].null_count() == 0
    assert set(tokens["component"]) <= {name.removesuffix("_tokens") for name in TOKENS}
    others = lines.filter(~pl.col("is_token_charge"))
    assert (
        set(others["charge_category"])
        == {
            "openai_costs": {"Usage", "Credit"},
            "anthropic_costs": {"Usage"},
            "focus": {"Purchase", "Tax", "Credit"},
        }[source]
    )


def test_bedrock_lines_name_the_model_of_the_log(both_nights, tmp_path):
    batches, _ = read(both_nights, "focus", tmp_path)
    lines = pl.concat(batch.billing for batch in batches if batch.billing is not None)
    bedrock = lines.filter((pl.col("provider") == "aws_bedrock") & pl.col("is_token_charge"))
    assert set(bedrock["model"]) == {
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "global.anthropic.claude-haiku-4-5-20251001-v1:0",
        "amazon.nova-lite-v1:0",
    }
