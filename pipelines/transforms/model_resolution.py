"""What a logged model name means in the price book: exact, dated aliases, recorded normalisers. Never fuzzy.

What lives here: resolve_models and the normalisers, each with the words that are written to every row it prices. What
does not: prices. A name that no rule leads to a priced model stays unresolved: its usage is unpriced and visible. The
next best member of a family is never a candidate (genai-prices#471, litellm PR#36561).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import polars as pl

ANY_MODEL_RANK = 1000
"""Rank of the candidate `*`: fees that a provider bills for any model. It never prices tokens."""

RESOLUTION_SCHEMA: dict[str, pl.DataType] = {
    "provider": pl.String(),
    "model": pl.String(),
    "region": pl.String(),
    "candidate_rank": pl.Int32(),
    "price_provider": pl.String(),
    "price_model": pl.String(),
    "price_region": pl.String(),
    "price_tier_override": pl.String(),
    "normaliser": pl.String(),
    "valid_from": pl.Datetime("us", "UTC"),
    "valid_to": pl.Datetime("us", "UTC"),
}

_PREFIXES = (
    "openai",
    "anthropic",
    "azure",
    "azure_openai",
    "bedrock",
    "converse",
    "google",
    "gemini",
    "vertex_ai",
    "models",
    "deepseek",
    "mistral",
    "mistralai",
    "xai",
    "x-ai",
    "groq",
    "cohere",
)
_GEO = re.compile(r"(us-gov|us|eu|apac|jp|au|ca|in|sa|global)\.(?=[a-z0-9-]+\.)")


@dataclass(frozen=True)
class _Name:
    text: str
    region: str | None = None
    tier: str | None = None
    steps: tuple[str, ...] = ()


def resolve_models(pairs: pl.DataFrame, book: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """Candidates for each distinct (provider, model[, region]) of `pairs`, best first: columns of RESOLUTION_SCHEMA.

    `candidate_rank` 0 is the exact id; `normaliser` says in words how the others came about. `price_region` and
    `price_tier_override` are NULL where the name says nothing of them. Aliases carry their validity; all other rows are
    open. Only models that the book prices are candidates; where the provider bills fees for any model, `*` comes last.
    """
    priced: dict[str, set[str]] = {}
    for provider, model in book.select("provider", "model").unique().iter_rows():
        priced.setdefault(provider, set()).add(model)
    named: dict[tuple[str, str], list[dict[str, object]]] = {}
    for alias in aliases.sort("provider", "alias", "valid_from", nulls_last=False).iter_rows(named=True):
        named.setdefault((alias["provider"], alias["alias"]), []).append(alias)
    keys = ["provider", "model", *(["region"] if "region" in pairs.columns else [])]
    rows: list[dict[str, object]] = []
    for pair in pairs.select(keys).unique().sort(keys).iter_rows(named=True):
        known = priced.get(pair["provider"], set())
        rank = 0
        for candidate in _candidates(pair["provider"], pair["model"], known, named):
            if any(_same_target(candidate, row) for row in rows[len(rows) - rank :]):
                continue
            rows.append({"region": None, **pair, "candidate_rank": rank, **candidate})
            rank += 1
        if "*" in known:
            fee = {"price_provider": pair["provider"], "price_model": "*", "normaliser": "any model"}
            rows.append({"region": None, **pair, "candidate_rank": ANY_MODEL_RANK, **fee})
    return pl.DataFrame(
        [{name: row.get(name) for name in RESOLUTION_SCHEMA} for row in rows], schema=RESOLUTION_SCHEMA, orient="row"
    )


def nearest_ids(provider: str, model: str, book: pl.DataFrame, count: int = 3) -> list[str]:
    """Names of the provider's priced models that look most like `model`: a hint for people, never a price."""
    names = book.filter((pl.col("provider") == provider) & (pl.col("model") != "*")).get_column("model").unique().sort()
    return difflib.get_close_matches(model, names.to_list(), n=count, cutoff=0.5)


def _candidates(
    provider: str, model: str, known: set[str], named: dict[tuple[str, str], list[dict[str, object]]]
) -> Iterator[dict[str, object]]:
    for name in _names(provider, model):
        target = {
            "price_provider": provider,
            "price_region": name.region,
            "price_tier_override": name.tier,
        }
        words = "; ".join(name.steps) or "exact"
        if name.text in known:
            yield {**target, "price_model": name.text, "normaliser": words}
        for alias in named.get((provider, name.text), []):
            if alias["model"] in known:
                step = f"alias {name.text} of {alias['model']}"
                yield {
                    **target,
                    "price_model": alias["model"],
                    "normaliser": "; ".join((*name.steps, step)),
                    "valid_from": alias["valid_from"],
                    "valid_to": alias["valid_to"],
                }


def _same_target(candidate: dict[str, object], row: dict[str, object]) -> bool:
    what = ("price_model", "price_region", "price_tier_override", "valid_from", "valid_to")
    return all(candidate.get(name) == row.get(name) for name in what)


def _names(provider: str, model: str) -> list[_Name]:
    """The logged name and everything that the normalisers make of it, fewest steps first."""
    found = [_Name(model)]
    for step in _NORMALISERS:
        for name in list(found):
            for made in step(provider, name):
                if made.text and all(made.text != other.text or made.region != other.region for other in found):
                    found.append(made)
    return sorted(found, key=lambda name: len(name.steps))


def _step(name: _Name, text: str, words: str, *, region: str | None = None, tier: str | None = None) -> _Name:
    return replace(name, text=text, steps=(*name.steps, words), region=region or name.region, tier=tier or name.tier)


def _arn(_provider: str, name: _Name) -> Iterator[_Name]:
    if name.text.startswith("arn:"):
        yield _step(name, name.text.rsplit("/", 1)[-1], "resource name of the ARN")


def _publisher_path(_provider: str, name: _Name) -> Iterator[_Name]:
    matched = re.search(r"(?:^|/)publishers/[a-z0-9-]+/models/([^/]+)$", name.text)
    if matched:
        yield _step(name, matched[1], "publisher path stripped")


def _provider_prefix(provider: str, name: _Name) -> Iterator[_Name]:
    prefix, slash, rest = name.text.partition("/")
    if provider != "openrouter" and slash and prefix in (*_PREFIXES, provider):
        yield _step(name, rest, f"provider prefix {prefix}/ stripped")


def _batch_suffix(_provider: str, name: _Name) -> Iterator[_Name]:
    if name.text.endswith(":batch"):
        yield _step(name, name.text.removesuffix(":batch"), ":batch is the batch tier", tier="batch")


def _context_marker(_provider: str, name: _Name) -> Iterator[_Name]:
    matched = re.fullmatch(r"(.+)\[(1m|200k)\]", name.text)
    if matched:
        yield _step(name, matched[1], f"context marker [{matched[2]}] stripped")


def _geo_prefix(provider: str, name: _Name) -> Iterator[_Name]:
    matched = _GEO.match(name.text)
    if provider == "aws_bedrock" and matched:
        yield _step(name, name.text[matched.end() :], f"geo prefix {matched[1]}. is the region", region=matched[1])


def _at_date(_provider: str, name: _Name) -> Iterator[_Name]:
    base, at, version = name.text.partition("@")
    if at and re.fullmatch(r"\d{8}", version):
        yield _step(name, f"{base}-{version}", f"@{version} written as -{version}")
    if at:
        yield _step(name, base, f"@{version} stripped")


def _bedrock_version(provider: str, name: _Name) -> Iterator[_Name]:
    matched = re.fullmatch(r"(.+?)-v\d+(:\d+)?(:\d+k)?", name.text)
    if provider == "aws_bedrock" and matched:
        yield _step(name, matched[1], f"version {name.text[len(matched[1]) :]} stripped")


def _fine_tuned(_provider: str, name: _Name) -> Iterator[_Name]:
    parts = name.text.split(":")
    if parts[0] == "ft" and len(parts) > 2:
        yield _step(name, f"ft:{parts[1]}", "fine-tuned name cut to its base")


_NORMALISERS: tuple[Callable[[str, _Name], Iterator[_Name]], ...] = (
    _arn,
    _publisher_path,
    _provider_prefix,
    _batch_suffix,
    _context_marker,
    _geo_prefix,
    _at_date,
    _bedrock_version,
    _fine_tuned,
)
