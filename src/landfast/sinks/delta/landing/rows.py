"""From decoded rows to Arrow tables of exactly the table's schema: system columns, lossless casts, refusals.

Nothing is cast lossily. What does not fit the table is a refusal with the column and the kinds of type, never the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

from landfast.errors import Broken, Refusal, Rejected, check
from landfast.model import TIMESTAMP_ABSENT, Decoded
from landfast.sinks.delta.files.own_columns import SYSTEM_SCHEMA
from landfast.sinks.delta.table.columns import CAST_REFUSALS, misfits

# The stubs of pyarrow know neither Python values as operands nor the newer functions.
pc: Any = pyarrow.compute

MICROSECONDS = 1000
MILLISECONDS_MAX = (2**63 - 1) // MICROSECONDS
"""A column of microseconds holds no moment that is further from 1970."""


def system_columns(decoded: Decoded) -> dict[str, Any]:
    """Topic, partition, offset and time of each row.

    Raises:
        Rejected: a record's time lies beyond what a table can hold.
    """
    chunk, count = decoded.chunk, decoded.rows.num_rows
    offsets = pa.Array.from_buffers(pa.int64(), len(chunk), [None, pa.py_buffer(chunk.offsets)])
    milliseconds = pa.Array.from_buffers(pa.int64(), len(chunk), [None, pa.py_buffer(chunk.timestamps)])
    if decoded.kept is not None:
        kept = pa.array(decoded.kept, pa.int64())
        offsets, milliseconds = offsets.take(kept), milliseconds.take(kept)
    check(len(offsets) == count, "a decoder returned another number of rows than it kept", stream=chunk.stream, position=chunk.start)
    # Both bounds, since the absolute value of the smallest integer is itself.
    beyond = pc.or_(pc.greater(milliseconds, MILLISECONDS_MAX), pc.less(milliseconds, -MILLISECONDS_MAX))
    if pc.any(beyond).as_py():
        message = "the record's timestamp lies beyond what the column _timestamp can hold"
        raise rejected([Refusal(chunk.stream, offset.as_py(), "timestamp_out_of_range", message) for offset in offsets.filter(beyond)])
    known = pc.if_else(pc.equal(milliseconds, TIMESTAMP_ABSENT), None, milliseconds)
    return {
        "_topic": pa.repeat(pa.scalar(chunk.stream.topic, pa.string()), count),
        "_partition": pa.repeat(pa.scalar(chunk.stream.partition, pa.int32()), count),
        "_offset": offsets,
        "_timestamp": pc.multiply_checked(known, MICROSECONDS).cast(SYSTEM_SCHEMA.field("_timestamp").type),
    }


def aligned(decoded: Decoded, rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows of one decoded chunk in exactly the table's schema, with the system columns.

    Raises:
        Rejected: rows that the table cannot hold.
        Broken: a column of the rows is unknown to the table, so its values would be lost.
    """
    system = system_columns(decoded)
    strange = [name for name in rows.column_names if name not in schema.names or name in system]
    check(not strange, f"the rows have columns that have no place in the table: {', '.join(strange)}", stream=decoded.chunk.stream)
    columns: list[Any] = []
    column: Any
    refusals: list[Refusal] = []
    for field in schema:
        column = system.get(field.name)
        if column is None:
            column = rows.column(field.name) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        column, bad = _fitted(column, field)
        refusals.extend(_refusal(decoded, system["_offset"], index, field, reason) for index, reason in bad)
        columns.append(column)
    if refusals:
        raise rejected(refusals)
    return pa.table(columns, schema=schema)


def as_table(rows: object) -> pa.Table:
    """The rows as an Arrow table, without a copy."""
    if isinstance(rows, pa.Table):
        return rows
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    code = "INVARIANT_BROKEN"
    message = f"the Delta sink takes Arrow rows, not {type(rows).__name__}"
    raise Broken(code, message, next_step="Use a decoder that makes Arrow rows.")


def _fitted(column: Any, field: pa.Field[Any]) -> tuple[Any, list[tuple[int, str]]]:
    """The column in the field's type, or the rows that do not fit, by index."""
    bad: list[tuple[int, str]] = []
    if column.type != field.type:
        try:
            column = column.cast(field.type, safe=True)
        except CAST_REFUSALS:
            bad = [(index, "does_not_fit") for index in misfits(column, field.type)]
            return column, bad
    if not field.nullable and column.null_count:
        bad = [(index.as_py(), "null_in_required_column") for index in pc.indices_nonzero(pc.is_null(column))]
    return column, bad


def _refusal(decoded: Decoded, offsets: pa.Array[Any], index: int, field: pa.Field[Any], reason: str) -> Refusal:
    said = "holds a null, which the table forbids" if reason == "null_in_required_column" else f"does not fit the table's type {field.type}"
    return Refusal(decoded.chunk.stream, offsets[index].as_py(), reason, f"column {field.name} {said}")


def rejected(refusals: Sequence[Refusal]) -> Rejected:
    """These refusals as an error, one for each record: the first one said."""
    by_place = {(refusal.stream, refusal.offset): refusal for refusal in reversed(refusals)}
    kept = tuple(by_place[place] for place in sorted(by_place))
    return Rejected("ROWS_REFUSED", f"{len(kept)} rows cannot land in the table", refusals=kept, next_step="Look at the dead letters.")
