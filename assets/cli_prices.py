"""Commands about the price book: prices show, add, refresh.

What lives here: their options and how prices are shown. What does not: what a price change may do
(pipelines/transforms/price_changes.py), which price bills what (price_segments.py).
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from assets.cli_console import answers, remarks, say_json
from assets.cli_options import decimal_number, instant, visible

if TYPE_CHECKING:
    import polars as pl

_JSON = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for machines.")]
_MOST_ROWS = 60

prices_app = typer.Typer(no_args_is_help=True, help="The price book: what is known, one more price, a feed's news.")


def register(app: typer.Typer) -> None:
    """Hang the commands of this room on the app."""
    app.add_typer(prices_app, name="prices")


@prices_app.command("show")
def show(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model id as the provider reports it.")],
    provider: Annotated[str | None, typer.Option("--provider", help="Only this provider's prices.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="T", help="In force at this instant (default: now).")
    ] = None,
    as_json: _JSON = False,
) -> None:
    """Every price of a model in force at an instant: of all providers, tiers and regions, the winning layer first."""
    import polars as pl

    from pipelines.errors import NotFoundError
    from pipelines.settings import Settings
    from pipelines.transforms.price_changes import show_prices

    prices = show_prices(Settings.load(), model, instant(at, "--at"))
    if provider is not None:
        sold_by = prices["provider"].unique().sort().to_list()
        prices = prices.filter(pl.col("provider") == provider)
        if prices.is_empty():
            raise NotFoundError(
                f"{provider} has no price of {model} then",
                where="price book",
                expected=f"one of {', '.join(sold_by)}",
                next_move="leave --provider out, or add the price with `tokenmart prices add`",
            )
    if as_json:
        say_json({"model": model, "prices": prices.to_dicts()})
        return
    columns = {
        "provider": "provider", "model": "model", "service_tier": "tier", "region": "region", "component": "component",
        "band": "prompt tokens", "schedule": "schedule", "price": "price", "valid": "valid (UTC)", "layer": "layer",
        "source": "source",
    }  # fmt: skip
    _print([_shown(row) for row in prices.iter_rows(named=True)], columns)


@prices_app.command("add")
def add(  # noqa: PLR0913, PLR0917 -- one option per column of a price
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model id, `*` for any model of the provider.")],
    provider: Annotated[str, typer.Option("--provider", help="Who bills: openai, anthropic, aws_bedrock, …")],
    component: Annotated[str, typer.Option("--component", help="A token leaf (input_uncached, output, …) or a meter.")],
    price: Annotated[str, typer.Option("--price", metavar="USD", help="Dollars per --per-units.")],
    valid_from: Annotated[str, typer.Option("--from", metavar="T", help="First moment, UTC: 2026-11-01.")],
    source: Annotated[str, typer.Option("--source", help="Where you read it: a page, a contract, a mail's date.")],
    per_units: Annotated[int, typer.Option("--per-units", min=1, help="Units that the price buys.")] = 1_000_000,
    unit: Annotated[str, typer.Option("--unit", help="tokens, or what the meter counts.")] = "tokens",
    tier: Annotated[str, typer.Option("--tier", help="standard, batch, flex, priority, …")] = "standard",
    region: Annotated[str, typer.Option("--region", help="`*` for any region.")] = "*",
    prompt_tokens_gt: Annotated[int, typer.Option(min=0, help="Counts for prompts of more tokens than this.")] = 0,
    prompt_tokens_le: Annotated[int | None, typer.Option(min=1, help="And of at most so many.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="A name in price_schedules.csv: only inside its windows.")
    ] = None,
    valid_to: Annotated[str | None, typer.Option("--to", metavar="T", help="First moment no longer in force.")] = None,
    basis: Annotated[
        str, typer.Option("--basis", help="documented, recorded, first_observed or backcast.")
    ] = "documented",
    change_kind: Annotated[str | None, typer.Option(help="Free word for the change, such as promotion.")] = None,
    reviewed: Annotated[bool, typer.Option("--reviewed", help="Yes, a step of more than ten times is right.")] = False,
    as_json: _JSON = False,
) -> None:
    """Append one price to your own book, `reference/model_prices/local.csv` in the home; nothing is edited in place.

    MODEL is the id that the provider reports, or `*` for any model of the provider. An open price of the same key ends
    where this one starts. Refused: more than $1,000 per million tokens, an overlap, an unknown component, and a step of
    more than ten times unless --reviewed says so. `tokenmart reprice` applies it to what is already there.
    """
    from pipelines.settings import Settings
    from pipelines.transforms.price_changes import add_price
    from pipelines.transforms.price_feeds.rows import FeedPrice

    starts = instant(valid_from, "--from")
    assert starts is not None  # noqa: S101 -- --from is required
    row = FeedPrice(
        provider=provider,
        model=model,
        component=component,
        price_usd=decimal_number(price, "--price"),
        valid_from=starts,
        source=source,
        region=region,
        service_tier=tier,
        prompt_tokens_gt=prompt_tokens_gt,
        prompt_tokens_le=prompt_tokens_le,
        schedule=schedule,
        per_units=per_units,
        unit=unit,
        valid_to=instant(valid_to, "--to"),
        valid_from_basis=basis,
        change_kind=change_kind,
    )
    settings = Settings.load()
    path = add_price(settings, row, is_reviewed=reviewed)
    written = path.relative_to(settings.home).as_posix()
    if as_json:
        say_json({"file": written, "provider": provider, "model": model, "component": component})
        return
    answers().print(f"Added to {written}: {model} {component} at ${row.price_usd:f} per {per_units:,} {unit}.")
    remarks().print(f"`tokenmart reprice --from {starts:%Y-%m-%d} --to DAY` applies it to days already computed.")


@prices_app.command("refresh")
def refresh(
    feed: Annotated[str, typer.Argument(metavar="FEED|FILE", help="model-prices, genai-prices, or a price CSV.")],
    apply: Annotated[bool, typer.Option("--apply", help="Write the rows into your book after showing them.")] = False,
    provider: Annotated[str | None, typer.Option("--provider", help="Only this provider.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write the rows as a price CSV to edit.")
    ] = None,
    as_json: _JSON = False,
) -> None:
    """Compare a feed with the book and show what it would change; with --apply, append what is safe.

    To review: `--out news.csv`, take out what you do not believe, then `prices refresh news.csv --apply`. Unit errors
    and steps of more than ten times are never taken over: add those one by one with `prices add --reviewed`. A model
    that the feed dropped keeps its prices, because its history still has to be priced.
    """
    from pathlib import Path

    import polars as pl

    from pipelines.settings import Settings
    from pipelines.transforms.price_changes import apply_refresh, refresh_diff
    from pipelines.transforms.price_feeds.rows import FeedPrice, to_csv

    settings = Settings.load()
    diff = refresh_diff(settings, feed)
    if provider is not None:
        diff = diff.filter(pl.col("provider") == provider)
    safe = diff.filter(pl.col("guard").is_null())
    counts = dict(diff.group_by("change").len().sort("change").iter_rows())
    guarded = diff.height - safe.height
    if out is not None:
        names = FeedPrice.__dataclass_fields__
        rows = safe.filter(pl.col("change") != "dropped_by_feed").select(*names).iter_rows(named=True)
        Path(out).write_text(to_csv(FeedPrice(**row) for row in rows), encoding="utf-8")
    written = apply_refresh(settings, safe) if apply else None
    file = None if written is None else written.relative_to(settings.home).as_posix()
    if as_json:
        say_json({"feed": feed, "counts": counts, "guarded": guarded, "file": file, "rows": diff.to_dicts()})
        return
    _print_diff(diff)
    told = ", ".join(f"{count:,} {change.replace('_', ' ')}" for change, count in counts.items()) or "nothing new"
    answers().print(f"{told}; {guarded:,} guarded and left out." if guarded else f"{told}.")
    if file is not None:
        answers().print(f"Written to {file}. `tokenmart reprice` applies it to days already computed.")
    elif safe.filter(pl.col("change") != "dropped_by_feed").height and not apply:
        remarks().print("Nothing was written: `--apply` appends these rows to your own price files.")


def _print_diff(diff: "pl.DataFrame") -> None:
    rows = [
        {
            **_shown(row),
            "change": row["change"].replace("_", " "),
            "guard": row["guard"] or "",
            "before": _money(row, "current_price_usd"),
        }
        for row in diff.head(_MOST_ROWS).iter_rows(named=True)
    ]
    columns = {
        "change": "change", "guard": "guard", "provider": "provider", "model": "model", "service_tier": "tier",
        "component": "component", "band": "prompt tokens", "before": "now", "price": "then", "valid": "valid (UTC)",
    }  # fmt: skip
    if rows:
        _print(rows, columns)
    if diff.height > _MOST_ROWS:
        remarks().print(f"… and {diff.height - _MOST_ROWS:,} more; --json, or --out, has all of them.")


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """A price row in the words of the table."""
    high, low = row["prompt_tokens_le"], row["prompt_tokens_gt"]
    band = "" if not low and high is None else f"> {low:,}" + (f", ≤ {high:,}" if high is not None else "")
    texts = {name: "" if row.get(name) is None else str(row[name]) for name in row}
    ends = "" if row["valid_to"] is None else f"{row['valid_to']:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    starts = f"{row['valid_from']:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    per = "1M" if row["per_units"] == 1_000_000 else f"{row['per_units']:,}"
    return texts | {
        "band": band,
        "price": f"{_money(row, 'price_usd')} / {per} {row['unit']}",
        "valid": f"{starts} – {ends or 'open'}",
    }


def _money(row: dict[str, Any], name: str) -> str:
    from pipelines.transforms.price_feeds.rows import plain

    return "" if row[name] is None else f"${plain(row[name])}"


def _print(rows: list[dict[str, str]], columns: dict[str, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="dim")
    for name, title in columns.items():
        grid.add_column(title, no_wrap=name in {"price", "valid", "before"}, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(visible(row.get(name, ""))) for name in columns))
    answers().print(grid)
