"""Usage and cost files that were cut, edited or encoded on their way: refused by name, or read alike."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.connectors import anthropic_costs, anthropic_usage, focus, openai_costs, openai_usage
from pipelines.connectors.base import Connector
from pipelines.connectors.reading import strict_documents
from pipelines.errors import FileRejectedError
from tests.unit.connectors.money_reading import land_bytes, read_money

NOV_1 = 1793491200  # 2026-11-01T00:00:00Z
EDGES = {
    "openai": {"start_time": NOV_1, "end_time": NOV_1 + 86400},
    "anthropic": {"starting_at": "2026-11-01T00:00:00Z", "ending_at": "2026-11-02T00:00:00Z"},
}


def page(edges: str, result: dict[str, Any]) -> str:
    return json.dumps({"data": [{**EDGES[edges], "results": [result]}], "has_more": False})


PAGES: dict[str, tuple[Connector, str]] = {
    "openai_usage": (
        openai_usage.CONNECTOR,
        page(
            "openai",
            {
                "object": "organization.usage.completions.result",
                "input_tokens": 10,
                "output_tokens": 5,
                "model": "gpt-4o",
            },
        ),
    ),
    "anthropic_usage": (
        anthropic_usage.CONNECTOR,
        page("anthropic", {"uncached_input_tokens": 10, "output_tokens": 5, "model": "claude-haiku-4-5"}),
    ),
    "openai_costs": (
        openai_costs.CONNECTOR,
        page("openai", {"amount": {"value": 1.25, "currency": "usd"}, "line_item": "gpt-4o, input"}),
    ),
    "anthropic_costs": (
        anthropic_costs.CONNECTOR,
        page("anthropic", {"amount": "125", "currency": "USD", "cost_type": "tokens"}),
    ),
}
FOCUS = (
    "BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,ChargeCategory,ChargePeriodStart,ChargePeriodEnd,"
    "ServiceName,ProviderName,Tags\n"
    "1.25,1.25,USD,2026-11-01,Usage,2026-11-01,2026-11-02,API,OpenAI,\n"
    '2.50,2.50,USD,2026-11-01,Usage,2026-11-02,2026-11-03,API,OpenAI,"{""team"": ""search""}"\n'
)


def rejection(connector: Connector, folder: Path, content: bytes | str) -> FileRejectedError:
    file = land_bytes(folder, connector.source, content)
    with pytest.raises(FileRejectedError) as caught:
        list(connector.read(file))
    assert caught.value.where.startswith(f"{connector.source}/x")
    assert caught.value.expected
    assert caught.value.next_move
    return caught.value


@pytest.mark.parametrize("source", PAGES)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_a_page_that_was_cut_short_is_refused_whole(tmp_path: Path, source: str, share: float) -> None:
    connector, text = PAGES[source]
    error = rejection(connector, tmp_path, text[: int(len(text) * share)])
    assert (error.code, "cut short" in error.what) == ("malformed_json", True)


@pytest.mark.parametrize("source", PAGES)
def test_lines_whose_last_one_is_half_written_are_refused_whole(tmp_path: Path, source: str) -> None:
    connector, text = PAGES[source]
    error = rejection(connector, tmp_path, text + "\n" + text[:-9])
    assert error.code == "malformed_json"
    assert "line 2" in error.where


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_an_amount_that_is_no_number_refuses_the_file(tmp_path: Path, word: str) -> None:
    connector, text = PAGES["openai_costs"]
    error = rejection(connector, tmp_path, text.replace("1.25", word))
    assert (error.code, "NaN or Infinity" in error.what) == ("malformed_json", True)


def test_a_key_that_stands_twice_refuses_the_file(tmp_path: Path) -> None:
    # json.loads would keep the last one in silence, and the bill would be 9 dollars.
    connector, text = PAGES["openai_costs"]
    error = rejection(connector, tmp_path, text.replace('"value": 1.25', '"value": 1.25, "value": 9'))
    assert (error.code, "'value'" in error.what) == ("duplicate_key", True)


@pytest.mark.parametrize("source", PAGES)
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b" \r\n ", "empty_file"),
        (b"<html>502 Bad Gateway</html>", "malformed_json"),
        (b'{"data": []}}', "malformed_json"),
        (b'{"error": {"message": "invalid key", "type": "auth"}}', "unknown_document"),
        (b'{"data": {}}', "unknown_document"),
        (b'{"data": [1]}', "unknown_document"),
        (b'{"data": [{"results": null}]}', "unknown_document"),
        (b"[" * 100_000, "malformed_json"),
        (b'{"data": [' + b"9" * 5000 + b"]}", "malformed_json"),
        ('{"data": []}'.encode("utf-16"), "bad_encoding"),
        (b'{"data": ["\xff"]}', "bad_encoding"),
    ],
)
def test_what_is_no_page_is_refused_with_its_reason(tmp_path: Path, source: str, content: bytes, code: str) -> None:
    assert rejection(PAGES[source][0], tmp_path, content).code == code


def test_an_error_never_quotes_the_file(tmp_path: Path) -> None:
    secret = "canary-d00d"
    connector = PAGES["openai_usage"][0]
    for content in (f'{{"{secret} x": 1, "{secret} x": 2}}', f'{{"data": "{secret}', f'{{"{secret}": []}}'):
        assert secret not in str(rejection(connector, tmp_path, content))


def test_a_document_above_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector, text = PAGES["anthropic_usage"]
    monkeypatch.setattr(strict_documents, "MAX_DOCUMENT_BYTES", len(text) - 1)
    assert rejection(connector, tmp_path, text).code == "too_large"


@pytest.mark.parametrize("source", PAGES)
def test_a_byte_order_mark_and_carriage_returns_change_nothing(tmp_path: Path, source: str) -> None:
    connector, text = PAGES[source]
    plain = read_money(connector, land_bytes(tmp_path, source, text, name="plain"))
    pretty = json.dumps(json.loads(text), indent=2).replace("\n", "\r\n")
    dressed = read_money(connector, land_bytes(tmp_path, source, b"\xef\xbb\xbf" + pretty.encode(), name="dressed"))
    assert len(plain.usage) + len(plain.billing) == 1
    assert dressed.usage.equals(plain.usage)
    assert dressed.billing.equals(plain.billing)


def test_a_focus_file_with_byte_order_mark_and_carriage_returns_is_read_alike(tmp_path: Path) -> None:
    plain = read_money(focus.CONNECTOR, land_bytes(tmp_path, "focus", FOCUS, name="plain"))
    dressed_bytes = b"\xef\xbb\xbf" + FOCUS.replace("\n", "\r\n").encode()
    dressed = read_money(focus.CONNECTOR, land_bytes(tmp_path, "focus", dressed_bytes, name="dressed"))
    assert plain.billing["billed_cost_in_currency"].to_list() == [Decimal("1.25"), Decimal("2.5")]
    assert dressed.billing.equals(plain.billing)


@pytest.mark.parametrize("cut", [3, 24, 30, 70])
def test_a_half_written_focus_line_is_rejected_and_no_day_is_complete(tmp_path: Path, cut: int) -> None:
    reading = read_money(focus.CONNECTOR, land_bytes(tmp_path, "focus", FOCUS[:-cut]))
    assert reading.reasons == [(2, "ragged_row", None)]
    assert reading.billing["billed_cost_in_currency"].to_list() == [Decimal("1.25")]
    assert [complete for _, _, complete in reading.days] == [False]


def test_a_focus_line_in_another_encoding_is_rejected_alone(tmp_path: Path) -> None:
    content = FOCUS.encode().replace(b"API,OpenAI,\n", b"\xdcbung,OpenAI,\n", 1)
    reading = read_money(focus.CONNECTOR, land_bytes(tmp_path, "focus", content))
    assert reading.reasons == [(1, "bad_encoding", None)]
    assert reading.billing["record_number"].to_list() == [2]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"\n\n", "empty_file"),
        (FOCUS.replace(",", ";").encode(), "missing_columns"),
        (FOCUS.replace("Tags", "BilledCost").encode(), "duplicate_column"),
        (FOCUS.encode("utf-16"), "bad_encoding"),
        (b'{"data": []}', "missing_columns"),
        (b"PAR1 and then nothing", "malformed_parquet"),
    ],
)
def test_what_is_no_focus_table_is_refused_with_its_reason(tmp_path: Path, content: bytes, code: str) -> None:
    assert rejection(focus.CONNECTOR, tmp_path, content).code == code


def test_a_parquet_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    header, *_ = FOCUS.splitlines()
    path = tmp_path / "whole.parquet"
    pl.DataFrame({name: ["1"] * 1000 for name in header.split(",")}).write_parquet(path)
    assert rejection(focus.CONNECTOR, tmp_path, path.read_bytes()[:-20]).code == "malformed_parquet"


def test_a_quote_that_never_closes_does_not_eat_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_documents, "MAX_RECORD_BYTES", 1000)
    body = FOCUS + '1,1,USD,2026-11-01,Usage,2026-11-02,2026-11-03,"API,OpenAI,\n' + "x,\n" * 1000
    assert rejection(focus.CONNECTOR, tmp_path, body).code == "malformed_csv"
