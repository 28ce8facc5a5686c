"""Files of a table read and written again, a part at a time, in the columns that the table has now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from landfast.errors import check
from landfast.sinks.delta.files.own_columns import SYSTEM_COLUMNS
from landfast.sinks.delta.files.parquet import DataFile, new_file, read_back
from landfast.sinks.delta.files.stats import stats_json
from landfast.sinks.delta.files.storage import Files

BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Form:
    """How a file is written again.

    stored           the columns that files of the table have now: those of its partitions are in its log
    known            the columns that a file may have
    bounded          columns whose bounds the log is told, beside the first ones
    row_group_rows   rows in a row group, at most
    row_group_bytes  and decoded bytes, about
    """

    stored: pa.Schema
    known: frozenset[str]
    compression_level: int
    row_group_rows: int
    row_group_bytes: int
    bounded: Sequence[str] = SYSTEM_COLUMNS


def form_of(
    schema: pa.Schema, partition_by: Sequence[str], *, compression_level: int, rows: int, nbytes: int, bounded: Sequence[str] = ()
) -> Form:
    """The form for files of a table with these columns."""
    stored = pa.schema([field for field in schema if field.name not in partition_by])
    bounds = (*SYSTEM_COLUMNS, *bounded)
    return Form(stored, frozenset(schema.names), compression_level, rows, nbytes, bounds)


def rows_of(files: Files, paths: Sequence[str], form: Form) -> Iterator[pa.Table]:
    """The rows of these files in the table's columns as they are now; a column that a file is too old to have is null."""
    for path in paths:
        with files.open(path) as stored:
            for batch in pq.ParquetFile(stored, page_checksum_verification=True).iter_batches(batch_size=BATCH_ROWS):
                strange = set(batch.schema.names) - form.known
                check(not strange, f"a file has columns that the table does not have: {sorted(strange)}")
                yield _in_columns(batch, form.stored, {})


def columns_of(files: Files, path: str, schema: pa.Schema, given: dict[str, Any]) -> Iterator[pa.Table]:
    """Only these columns of a file, which its log entry may give: `given`, by name."""
    with files.open(path) as stored:
        parquet = pq.ParquetFile(stored, page_checksum_verification=True)
        names = [name for name in schema.names if name in parquet.schema_arrow.names and name not in given]
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS, columns=names):
            yield _in_columns(batch, schema, given)


def _in_columns(batch: pa.RecordBatch, schema: pa.Schema, given: dict[str, Any]) -> pa.Table:
    columns: list[Any] = []
    for field in schema:
        if field.name in given:
            columns.append(pa.repeat(pa.scalar(given[field.name], field.type), batch.num_rows))
        elif field.name in batch.schema.names:
            columns.append(batch.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.table(columns, schema=schema)


def written_again(files: Files, path: str, tables: Iterator[pa.Table], form: Form, values: dict[str, str | None], now: float) -> DataFile:
    """The rows as one durable file of this name: one row group in memory at a time. `values` are those of its partition."""
    schema = form.stored
    groups = _gathered(tables, form.row_group_rows, form.row_group_bytes)
    first = next(groups, pa.table(schema.empty_table()))
    with new_file(files, path, schema, first, form.compression_level) as (writer, stream):
        writer.write_table(first, row_group_size=max(1, first.num_rows))
        for table in groups:
            writer.write_table(table, row_group_size=table.num_rows)
    footer, nbytes = read_back(files, path)
    stats = stats_json(footer, schema, form.bounded, lambda name: _column(files, path, name))
    return DataFile(path, nbytes, footer.num_rows, values, int(now * 1000), stats, stream.digest())


def _column(files: Files, path: str, name: str) -> Iterator[pa.Table]:
    """One column of a file, a part at a time."""
    with files.open(path) as stored:
        for batch in pq.ParquetFile(stored).iter_batches(batch_size=BATCH_ROWS, columns=[name]):
            yield pa.Table.from_batches([batch])


def _gathered(tables: Iterator[pa.Table], rows_max: int, bytes_max: int) -> Iterator[pa.Table]:
    """The same rows in tables as large as the limits allow."""
    held: list[pa.Table] = []
    rows = nbytes = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        nbytes += table.nbytes
        if rows >= rows_max or nbytes >= bytes_max:
            yield pa.concat_tables(held)
            held = []
            rows = nbytes = 0
    if held:
        yield pa.concat_tables(held)
