"""What a person may ask of the published marts: one SELECT, read-only, locked down.

What lives here: judging the statement, running it, turning DuckDB's errors into ours. What does not: opening and
locking (readers.py, warehouse.py), writing the answer (result_formats.py).
"""

from __future__ import annotations

import re
from datetime import datetime

import duckdb
import pyarrow as pa

from pipelines.errors import QueryError
from pipelines.publish.readers import open_snapshot
from pipelines.publish.result_formats import FORMATS, write_result
from pipelines.settings import Settings

__all__ = ["FORMATS", "run_query", "write_result"]

_BATCH_ROWS = 16_384
_NOT_WRITABLE = {"BIGNUM", "BIT", "TIME WITH TIME ZONE", "INTERVAL", "UNION", "GEOMETRY", "VARIANT"}
"""DuckDB types without an exact counterpart in CSV, JSON and Parquet; a person casts them to say what is meant."""

_LEADING_COMMENTS = re.compile(r"(\s|\(|--[^\n]*(\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_READING_WORDS = ("select", "with", "from", "pivot", "values", "table", "unpivot")
_ONE_SELECT = "one SELECT (also WITH, FROM, VALUES, PIVOT, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN)"
_WHERE = re.compile(r"\n\s*(?P<head>LINE (?P<line>\d+): )(?P<text>[^\n]*)\n(?P<caret>[ ^]*)\Z")
_UNPLACED = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)


def run_query(settings: Settings, sql: str, as_of: datetime | None = None, limit: int | None = None) -> pa.Table:
    """The rows that one SELECT gives on CURRENT, or on what was CURRENT at `as_of`; at most `limit` of them.

    Columns keep their exact types: DECIMAL as decimal128, sums of integers as decimal128(38, 0), instants in UTC. A
    name that comes twice gets `_1`, `_2` … Raises QueryError with the position for what DuckDB refuses, and for any
    statement that is no SELECT; NotFoundError when nothing was published.
    """
    with open_snapshot(settings, as_of) as connection:
        _judge(connection, sql, settings)
        try:
            relation = connection.sql(sql)
            if relation is None:
                raise _not_a_select("this statement")
            _writable(relation)
            return _collect(relation, limit)
        except _UNPLACED as error:
            raise _query_error(_placed(connection, sql, error), settings) from error
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _query_error(str(error), settings) from error


def _judge(connection: duckdb.DuckDBPyConnection, sql: str, settings: Settings) -> None:
    """Let exactly one reading statement pass. The lock would stop the others too; this says so in plain words."""
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise _query_error(str(error), settings) from error
    if len(statements) != 1:
        raise QueryError(
            "the query is empty" if not statements else f"{len(statements)} statements were given",
            where="SQL",
            expected=_ONE_SELECT,
            next_move="ask one question at a time" if statements else "try `SELECT * FROM mart__feature_cost_monthly`",
        )
    kind = statements[0].type
    if kind in {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}:
        return
    start = _LEADING_COMMENTS.match(sql)
    first_word = sql[start.end() if start else 0 :].split(None, 1)[0].lower()
    if kind == duckdb.StatementType.MULTI and first_word in _READING_WORDS:
        return
    raise _not_a_select(first_word.upper()[:20])


def _not_a_select(what: str) -> QueryError:
    return QueryError(
        f"{what} is not allowed here: queries read and change nothing",
        where="SQL",
        expected=_ONE_SELECT,
        next_move="rewrite it as a SELECT; `--format csv|json|parquet` writes the answer to a file by redirection",
    )


def _writable(relation: duckdb.DuckDBPyRelation) -> None:
    for name, kind in zip(relation.columns, relation.types, strict=True):
        bare = str(kind).split("(")[0]
        if bare in _NOT_WRITABLE:
            raise QueryError(
                f"column {name} is of type {bare}, which no output format holds exactly",
                where=f"column {name}",
                expected="numbers, decimals, text, dates, instants, lists or structs",
                next_move="CAST it to what is meant, for example `CAST(… AS VARCHAR) AS name`",
            )


def _collect(relation: duckdb.DuckDBPyRelation, limit: int | None) -> pa.Table:
    """Read batches until the answer or `limit` ends. The SQL is not wrapped, so error positions stay true."""
    reader = relation.to_arrow_reader(_BATCH_ROWS)
    batches: list[pa.RecordBatch] = []
    left = limit
    for batch in reader:
        batches.append(batch if left is None else batch.slice(0, left))
        if left is not None:
            left -= batches[-1].num_rows
            if left <= 0:
                break
    table = pa.Table.from_batches(batches, schema=reader.schema)
    return table.rename_columns(_distinct(table.column_names))


def _distinct(names: list[str]) -> list[str]:
    taken = set(names)
    seen: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 0
        while candidate in seen or (number and candidate in taken):
            number += 1
            candidate = f"{name}_{number}"
        seen.add(candidate)
        result.append(candidate)
    return result


def _placed(connection: duckdb.DuckDBPyConnection, sql: str, error: duckdb.Error) -> str:
    """The message with its position. DuckDB drops it for relations; asking again fails at once, with it."""
    if "LINE " in str(error):
        return str(error)
    try:
        connection.execute(sql)
    except duckdb.Error as again:
        return str(again)
    return str(error)


def _query_error(message: str, settings: Settings) -> QueryError:
    text = message.strip().replace(str(settings.home), "<home>")
    place = _WHERE.search(text)
    what = text[: place.start()].strip() if place else text
    refused = "disabled by configuration" in what or "has been locked" in what
    if refused:
        next_move = "queries see the published marts only; SHOW TABLES lists them"
    elif what.startswith("Out of Memory"):
        what = what.splitlines()[0]
        next_move = "ask for fewer rows or columns, or raise TOKENMART_MEMORY"
    elif what.startswith("Catalog Error: Table"):
        next_move = "SHOW TABLES lists the marts"
    elif "not found in FROM" in what:
        next_move = "DESCRIBE <mart> lists its columns"
    else:
        next_move = "correct the SQL (DuckDB's dialect) and ask again"
    return QueryError(
        what,
        where="SQL" if place is None else _position(place),
        expected="only the published marts" if refused else _ONE_SELECT,
        next_move=next_move,
    )


def _position(place: re.Match[str]) -> str:
    """The line of the person's SQL and a caret below the spot, without DuckDB's prefix."""
    caret = place["caret"][len(place["head"]) :]
    return f"line {place['line']} of the SQL\n    {place['text']}\n    {caret}"
