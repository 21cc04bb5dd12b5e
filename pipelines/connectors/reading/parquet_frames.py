"""Reading the needed columns of a Parquet file in bounded frames, with repeated texts as the file keeps them.

What lives here: the reader. What does not: what the columns mean (usage_columns.py).
A Parquet file keeps a text that stands in many rows once. To leave it so is several times cheaper than to copy it out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.pieces import numbered

DAMAGED = (pa.ArrowException, pl.exceptions.PolarsError, OSError, UnicodeDecodeError)
"""What reading a damaged file raises."""
_ROWS_PER_WORD = 2
"""A text column with fewer rows per text is not worth its numbers, and is given in full."""


def read_frames(
    path: Path, columns: Sequence[str], repeated: Collection[str], most_rows: int
) -> Iterator[tuple[pl.DataFrame, dict[str, pl.Series]]]:
    """Frames of about `most_rows` rows, each with the words of those columns in which it holds their numbers.

    repeated: text columns that may come as numbers and words; others come in full. Raises what Arrow raises.
    """
    with pq.ParquetFile(path) as file:
        texts = [name for name in repeated if _is_text(file.schema_arrow.field(name).type)]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for table in _tables(file, columns, most_rows):
            yield _frame(table, texts)


def read_together(
    paths: Sequence[Path], columns: Sequence[str], repeated: Collection[str]
) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """The same of several small files with the same columns, one after the other, as one frame."""
    tables, texts = [], list[str]()
    for path in paths:
        with pq.ParquetFile(path) as file:
            texts = [name for name in repeated if _is_text(file.schema_arrow.field(name).type)]
            footer = file.metadata
        with pq.ParquetFile(path, read_dictionary=texts, metadata=footer) as file:
            tables.append(file.read(columns=list(columns), use_threads=False))
    return _frame(pa.concat_tables(tables), texts)


def _frame(table: pa.Table, texts: Collection[str]) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    # Arrow believes what a Parquet file says of its texts and words, and Polars believes Arrow.
    table.validate(full=True)
    columns, words = [], {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column
        if pa.types.is_dictionary(column.type):
            if name in texts:
                whole = pa.chunked_array([column.unify_dictionaries().combine_chunks()]).chunk(0)
                numbers, said = numbered(whole)
                if len(said) * _ROWS_PER_WORD <= len(numbers):
                    columns.append(numbers.alias(name))
                    words[name] = said
                    continue
            values = column.cast(column.type.value_type)
        columns.append(pl.Series(name, values))
    return pl.DataFrame(columns), words


def _is_text(dtype: pa.DataType) -> bool:
    inner = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner))


def _tables(file: pq.ParquetFile, columns: Sequence[str], most_rows: int) -> Iterator[pa.Table]:
    """Some row groups at a time, or parts of one that is too large."""
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    if max(sizes, default=0) > 2 * most_rows:
        for batch in file.iter_batches(batch_size=most_rows, columns=columns):
            yield pa.Table.from_batches([batch])
        return
    waiting: list[int] = []
    for number, size in enumerate(sizes):
        if waiting and sum(sizes[held] for held in waiting) + size > most_rows:
            yield file.read_row_groups(waiting, columns=columns)
            waiting = []
        waiting.append(number)
    if waiting:
        yield file.read_row_groups(waiting, columns=columns)
