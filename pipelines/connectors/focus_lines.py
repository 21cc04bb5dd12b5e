"""What one line of a FOCUS export means: who bills, which account, which units, which token leaf.

What lives here: FOCUS text columns → columns of core__billing, and what makes a line unreadable. What does not:
files and coverage (focus.py).

Who bills: the cloud where ProviderName, ServiceProviderName or (for marketplace lines) InvoiceIssuerName is one —
Bedrock is `aws_bedrock`, Azure OpenAI, Foundry and Cognitive Services `azure_openai`, Vertex and Gemini `google`,
everything else of these clouds `aws`, `azure`, `gcp`. Other names go through the table of providers.py.

Token lines: ConsumedUnit says tokens (`Tokens`, `1000 Tokens`, `1K tokens`, `Million Tokens`), or the meter's name
does. In the first case the quantity is brought to single tokens. PricingCurrency and PricingUnit `Token` are a virtual
currency of SaaS vendors and never tokens; a line priced in it bills none.

The token leaf and tier come from SkuPriceDetails (TokenType, ServiceTier), else from the first of SkuMeter,
x_UsageType, SkuId, ChargeDescription that names a direction. The model comes from SkuPriceDetails (Model, ModelName,
ModelId), else from a meter `<model id>, <words>` of a vendor that is no cloud. Clouds abbreviate model names
(`gpt 4o 1120`, `Claude4.6Sonnet`): such a name is nobody's id, so the model is NULL and the line matches without it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal

import polars as pl

from pipelines.connectors.reading.exact_decimals import exact_decimals
from pipelines.connectors.reading.instants import parse_instants
from pipelines.connectors.reading.meter_words import MeterMeaning, meter_meaning
from pipelines.connectors.reading.providers import provider_name
from pipelines.connectors.reading.record_faults import Fault
from pipelines.connectors.reading.tag_text import read_tags

REQUIRED: tuple[tuple[str, ...], ...] = (
    ("BilledCost",),
    ("EffectiveCost",),
    ("BillingCurrency",),
    ("BillingPeriodStart",),
    ("ChargeCategory",),
    ("ChargePeriodStart",),
    ("ChargePeriodEnd",),
    ("ServiceName",),
    ("ProviderName", "ServiceProviderName"),
)
"""Columns that no line can be read without; one of each group. The other mandatory ones may be absent or NULL."""

_METERS = ("SkuMeter", "x_UsageType", "SkuId", "ChargeDescription")
_DESCRIBED = ("SkuPriceDetails", *_METERS)

COLUMNS: tuple[str, ...] = (
    *(name for names in REQUIRED for name in names),
    *_DESCRIBED,
    "AllocatedMethodId",
    "BillingPeriodEnd",
    "ChargeClass",
    "CommitmentDiscountStatus",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCurrency",
    "RegionId",
    "ResourceId",
    "SkuPriceId",
    "SubAccountId",
    "Tags",
    "x_ServiceCode",
)
"""All that is read: an allow-list. Names of accounts, resources and people are not on it."""

_MONEY = {
    "BilledCost": "billed_cost_in_currency",
    "EffectiveCost": "effective_cost_in_currency",
    "ListCost": "list_cost_in_currency",
    "ContractedCost": "contracted_cost_in_currency",
}
_INSTANTS = {
    "ChargePeriodStart": "charge_period_start",
    "ChargePeriodEnd": "charge_period_end",
    "BillingPeriodStart": "billing_period_start",
    "BillingPeriodEnd": "billing_period_end",
}
_CATEGORIES = {name.lower(): name for name in ("Usage", "Purchase", "Tax", "Credit", "Adjustment")}
_CLOUDS = {"aws": r"\b(aws|amazon)\b", "azure": r"\b(microsoft|azure)\b", "gcp": r"\b(google|gcp)\b"}
_AI_SERVICES = {
    "aws": ("aws_bedrock", r"bedrock|(?:input|output|cacheread|cachewrite\w*)tokencount"),
    "azure": ("azure_openai", r"openai|cognitive services|foundry|azure ai\b"),
    "gcp": ("google", r"vertex|gemini|generative language"),
}
_AI_CLOUDS = tuple(name for name, _ in _AI_SERVICES.values())

_COUNTS_TOKENS = r"^(\d{1,3}(?:,?\d{3}){0,2})?\s*(k|thousand|m|million|b|billion)?\s*tokens?$"
_SCALES = {"k": 10**3, "thousand": 10**3, "m": 10**6, "million": 10**6, "b": 10**9, "billion": 10**9}
_US_DATE = r"^(\d{1,2})/(\d{1,2})/(\d{2}|\d{4})(?:\s+(\d{1,2}):(\d{2})(?::(\d{2}))?)?$"
_LEGAL_FORM = r"[,.]?\s+(pbc|inc|llc|ltd|gmbh|corp|sa|sas|ag)\b\.?$"
_MOST_BLOCKS = Decimal(10) ** 10
"""More blocks of tokens than this are no quantity; it also keeps quantity × block size inside 38 digits."""

_MODEL_METER = re.compile(r"(?P<model>(?=[^\s,]*\d)[a-z][\w.]*(?:[-:/@][\w.]+)+)(?:\s*[,|]|\s+-|\s)\s*(?P<words>.+)\Z")


def _missing_or_bad(theirs: str, ours: str, code: str, *, needed: bool) -> Fault:
    bad = pl.col(ours).is_null()
    return Fault(bad if needed else bad & pl.col(theirs).is_not_null(), code, theirs)


LINE_FAULTS: tuple[Fault, ...] = (
    _missing_or_bad("ChargePeriodStart", "charge_period_start", "bad_timestamp", needed=True),
    _missing_or_bad("ChargePeriodEnd", "charge_period_end", "bad_timestamp", needed=True),
    Fault(pl.col("charge_period_end") < pl.col("charge_period_start"), "bad_timestamp", "ChargePeriodEnd"),
    _missing_or_bad("BillingPeriodStart", "billing_period_start", "bad_timestamp", needed=False),
    _missing_or_bad("BillingPeriodEnd", "billing_period_end", "bad_timestamp", needed=False),
    _missing_or_bad("BilledCost", "billed_cost_in_currency", "bad_amount", needed=True),
    _missing_or_bad("EffectiveCost", "effective_cost_in_currency", "bad_amount", needed=True),
    _missing_or_bad("ListCost", "list_cost_in_currency", "bad_amount", needed=False),
    _missing_or_bad("ContractedCost", "contracted_cost_in_currency", "bad_amount", needed=False),
    _missing_or_bad("ConsumedQuantity", "consumed_quantity", "bad_quantity", needed=False),
    _missing_or_bad("BillingCurrency", "billing_currency", "bad_currency", needed=True),
    _missing_or_bad("ChargeCategory", "charge_category", "bad_charge_category", needed=True),
    _missing_or_bad("ChargeClass", "charge_class", "bad_charge_class", needed=False),
    Fault(pl.col("provider").is_null(), "missing_provider", "ProviderName"),
)
"""Why a line is no row, first reason first."""


def canonical_lines(lines: pl.DataFrame, fallback_account: str) -> pl.DataFrame:
    """`lines` (all of COLUMNS, trimmed text or NULL) with the columns of core__billing beside them, NULL where
    unreadable, and `is_in_period`: the charge begins inside its billing period."""
    frame = lines.with_columns(
        *(exact_decimals(lines[theirs], 12).alias(ours) for theirs, ours in _MONEY.items()),
        *(read_instants(lines[theirs]).alias(ours) for theirs, ours in _INSTANTS.items()),
        exact_decimals(lines["ConsumedQuantity"], 9).alias("consumed_quantity"),
        _provider().alias("provider"),
        pl.col("SubAccountId").fill_null(fallback_account).alias("account"),
        pl.col("BillingCurrency").str.to_uppercase().str.extract(r"^([A-Z]{3})$").alias("billing_currency"),
        pl.col("ChargeCategory")
        .str.to_lowercase()
        .replace_strict(_CATEGORIES, default=None, return_dtype=pl.String)
        .alias("charge_category"),
        pl.when(pl.col("ChargeClass").str.to_lowercase() == "correction")
        .then(pl.lit("Correction"))
        .alias("charge_class"),
        pl.col("CommitmentDiscountStatus")
        .str.to_titlecase()
        .str.extract(r"^(Used|Unused)$")
        .alias("commitment_status"),
        pl.col("ChargeDescription").alias("charge_description"),
        pl.col("ServiceName").alias("service_name"),
        pl.col("SkuId").alias("sku_id"),
        pl.col("ResourceId").alias("resource_id"),
        pl.col("InvoiceId").alias("invoice_id"),
        pl.col("RegionId").alias("region"),
        _tags(lines["Tags"]).alias("tags"),
    )
    start, opens, closes = pl.col("charge_period_start"), pl.col("billing_period_start"), pl.col("billing_period_end")
    frame = frame.with_columns(
        opens.dt.strftime("%Y-%m").alias("billing_month"),
        ((start >= opens).fill_null(True) & (start < closes).fill_null(True)).alias("is_in_period"),
    )
    return _with_meaning(_with_token_units(frame))


def read_instants(texts: pl.Series) -> pl.Series:
    """ISO 8601 with or without zone (UTC), a day alone, or M/D/YY and M/D/YYYY with an optional time of day."""
    text = pl.col("text")
    year = text.str.extract(_US_DATE, 3)
    month, day, hour, minute, second = (
        text.str.extract(_US_DATE, group).fill_null("0").str.pad_start(2, "0") for group in (1, 2, 4, 5, 6)
    )
    full_year = pl.when(year.str.len_bytes() == 2).then("20" + year).otherwise(year)
    us_date = pl.format("{}-{}-{}T{}:{}:{}Z", full_year, month, day, hour, minute, second)
    iso = (
        pl.when(text.str.contains(r"^\d{4}-\d{2}-\d{2}$"))
        .then(text + "T00:00:00Z")
        .when(text.str.contains(_US_DATE))
        .then(us_date)
        .otherwise(text)
    )
    return parse_instants(pl.DataFrame({"text": texts}).select(iso.alias("text"))["text"])


def _provider() -> pl.Expr:
    seller = pl.coalesce("ServiceProviderName", "ProviderName", "InvoiceIssuerName")
    service = pl.concat_str(
        "ServiceName", "x_ServiceCode", *_METERS, "ResourceId", separator=" ", ignore_nulls=True
    ).str.to_lowercase()
    # A marketplace line of another vendor is billed by the cloud that issues the invoice.
    issuers = [pl.col("ProviderName"), seller, pl.col("InvoiceIssuerName")]
    cloud = pl.coalesce(
        pl.when(name.str.to_lowercase().str.contains(pattern)).then(pl.lit(key))
        for name in issuers
        for key, pattern in _CLOUDS.items()
    )
    on_cloud = pl.coalesce(
        pl.when((cloud == key) & service.str.contains(pattern)).then(pl.lit(ours))
        for key, (ours, pattern) in _AI_SERVICES.items()
    )
    word = seller.str.to_lowercase()
    maker = pl.coalesce(
        pl.when(word.str.contains(rf"\b{name}\b")).then(pl.lit(name)) for name in ("openai", "anthropic")
    )
    return pl.coalesce(on_cloud, cloud, maker, provider_name(word.str.replace_all(_LEGAL_FORM, "")))


def _with_token_units(frame: pl.DataFrame) -> pl.DataFrame:
    """`bills_token_units`; `consumed_quantity` and `consumed_unit` in single tokens for those lines."""
    unit = pl.col("ConsumedUnit").str.to_lowercase()
    number = unit.str.extract(_COUNTS_TOKENS, 1).str.replace_all(",", "").fill_null("1").cast(pl.Int64, strict=False)
    scale = number * unit.str.extract(_COUNTS_TOKENS, 2).replace_strict(_SCALES, default=1, return_dtype=pl.Int64)
    is_virtual = pl.col("PricingCurrency").str.to_lowercase().str.contains("^tokens?$").fill_null(False)
    bills_tokens = (unit.str.contains(_COUNTS_TOKENS) & ~is_virtual).fill_null(False)
    too_many = pl.col("consumed_quantity").abs() >= pl.lit(_MOST_BLOCKS, dtype=pl.Decimal(38, 9))
    return frame.with_columns(bills_tokens.alias("bills_token_units"), is_virtual.alias("is_virtual")).with_columns(
        pl.when(pl.col("bills_token_units") & too_many & (scale > 1))
        .then(None)
        .when("bills_token_units")
        .then(pl.col("consumed_quantity") * scale.cast(pl.Decimal(38, 0)))
        .otherwise("consumed_quantity")
        .alias("consumed_quantity"),
        pl.when("bills_token_units").then(pl.lit("Tokens")).otherwise("ConsumedUnit").alias("consumed_unit"),
    )


def _with_meaning(frame: pl.DataFrame) -> pl.DataFrame:
    """`model`, `component`, `service_tier`, `is_token_charge`. Each distinct set of descriptions is read once."""
    is_plain_cloud = pl.col("provider").is_in(list(_CLOUDS)) & ~pl.col("bills_token_units")
    keys = ["provider", *_DESCRIBED]
    distinct = frame.filter(~is_plain_cloud).select(keys).unique(maintain_order=True)
    meanings = pl.DataFrame(
        [(*row, *_described(dict(zip(keys, row, strict=True)))) for row in distinct.iter_rows()],
        schema={
            **dict.fromkeys([*keys, "model", "component", "service_tier"], pl.String),
            "says_tokens": pl.Boolean,
        },
        orient="row",
    )
    joined = frame.join(meanings, on=keys, how="left", nulls_equal=True, maintain_order="left")
    by_name = pl.col("says_tokens").fill_null(False) & ~pl.col("is_virtual") & ~is_plain_cloud
    is_token_charge = (pl.col("bills_token_units") | by_name) & ~pl.col("charge_category").is_in(["Purchase", "Tax"])
    return joined.with_columns(is_token_charge.fill_null(False).alias("is_token_charge")).with_columns(
        pl.when("is_token_charge").then(column).alias(column) for column in ("model", "component", "service_tier")
    )


def _described(line: Mapping[str, str | None]) -> tuple[str | None, str | None, str | None, bool]:
    details = _details(line["SkuPriceDetails"])
    model = next((details[key] for key in ("model", "modelname", "modelid") if key in details), None)
    meaning = meter_meaning(details.get("tokentype"))
    tier = meter_meaning(details.get("servicetier")).service_tier
    is_cloud = line["provider"] in (*_AI_CLOUDS, *_CLOUDS)
    for column in _METERS:
        text = line[column] or ""
        named = None if is_cloud else _MODEL_METER.match(text)
        read = meter_meaning(named["words"] if named else text)
        if read.component is None:
            continue
        if line["provider"] == "google" and "gemini" in text.lower():
            read = MeterMeaning(read.component, read.service_tier, says_tokens=True)  # its SKUs never say "token"
        if meaning.component is None:
            meaning = read
        model = model or (named["model"] if named else None)
        tier = tier or read.service_tier
        break
    return model, meaning.component, tier or meaning.service_tier, meaning.says_tokens and meaning.component is not None


def _details(text: str | None) -> dict[str, str]:
    """SkuPriceDetails with lower-case keys, underscores and a leading `x_` removed; text values only."""
    try:
        value = json.loads(text, parse_float=Decimal) if text else {}
    except (ValueError, RecursionError):
        return {}
    if isinstance(value, list):
        value = {pair.get("key"): pair.get("value") for pair in value if isinstance(pair, dict)}  # a Parquet map
    if not isinstance(value, dict):
        return {}
    words = {str(k).lower().removeprefix("x_").replace("_", ""): v for k, v in value.items()}
    return {key: one.strip() for key, one in words.items() if isinstance(one, str) and one.strip()}


def _tags(texts: pl.Series) -> pl.Series:
    """Canonical tags; braces that an exporter left out are put back; text that is no JSON gives NULL."""
    text = pl.col("text")
    bare = text.str.starts_with('"') & text.str.ends_with('"')
    braced = pl.DataFrame({"text": texts}).select(pl.when(bare).then("{" + text + "}").otherwise(text).alias("text"))
    return read_tags(braced["text"])[0]
