"""From decoded rows to Arrow tables of exactly the table's schema: system columns, lossless casts, refusals, partitions.

Nothing is cast lossily. What does not fit the table is a refusal with the column and the kinds of type, never the value.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute

from landfast.errors import Broken, Halted, Refusal, Rejected, check
from landfast.model import TIMESTAMP_ABSENT, Decoded

# The stubs of pyarrow know neither Python values as operands nor the newer functions.
pc: Any = pyarrow.compute

RESCUED = "_rescued"
_SYSTEM_FIELDS: list[pa.Field[Any]] = [
    pa.field("_topic", pa.string()),
    pa.field("_partition", pa.int32()),
    pa.field("_offset", pa.int64()),
    pa.field("_timestamp", pa.timestamp("us", "UTC")),
]
SYSTEM_SCHEMA = pa.schema(_SYSTEM_FIELDS)
SYSTEM_COLUMNS: tuple[str, ...] = tuple(SYSTEM_SCHEMA.names)
MICROSECONDS = 1000
_MILLISECONDS_MAX = (2**63 - 1) // MICROSECONDS
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
PATH_PIECE_BYTES_MAX = 240
"""Of `column=value` in a path, encoded: a local disk takes 255 bytes for a name."""


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
    beyond = pc.or_(pc.greater(milliseconds, _MILLISECONDS_MAX), pc.less(milliseconds, -_MILLISECONDS_MAX))
    if pc.any(beyond).as_py():
        message = "the record's timestamp lies beyond what the column _timestamp can hold"
        raise _rejected([Refusal(chunk.stream, offset.as_py(), "timestamp_out_of_range", message) for offset in offsets.filter(beyond)])
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
        raise _rejected(refusals)
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
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            bad = [(index, "does_not_fit") for index in _misfits(column, field.type, 0)]
            return column, bad
    if not field.nullable and column.null_count:
        bad = [(index.as_py(), "null_in_required_column") for index in pc.indices_nonzero(pc.is_null(column))]
    return column, bad


def _misfits(column: Any, kind: pa.DataType, start: int) -> Iterator[int]:
    """Indices of the values that cannot be cast, by halving: one bad value among many is found in few casts."""
    try:
        column.cast(kind, safe=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        if len(column) == 1:
            yield start
            return
        half = len(column) // 2
        yield from _misfits(column.slice(0, half), kind, start)
        yield from _misfits(column.slice(half), kind, start + half)


def _refusal(decoded: Decoded, offsets: pa.Array[Any], index: int, field: pa.Field[Any], reason: str) -> Refusal:
    said = "holds a null, which the table forbids" if reason == "null_in_required_column" else f"does not fit the table's type {field.type}"
    return Refusal(decoded.chunk.stream, offsets[index].as_py(), reason, f"column {field.name} {said}")


def _rejected(refusals: Sequence[Refusal]) -> Rejected:
    by_place = {(refusal.stream, refusal.offset): refusal for refusal in reversed(refusals)}
    kept = tuple(by_place[place] for place in sorted(by_place))
    return Rejected("ROWS_REFUSED", f"{len(kept)} rows cannot land in the table", refusals=kept, next_step="Look at the dead letters.")


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one partition of the table: the folder for their file and the values for the log."""

    folder: str
    values: dict[str, str | None]
    rows: pa.Table

    def cut(self, rows_max: int) -> Iterator[Part]:
        """The same in shares of at most so many rows: what goes into one file."""
        for start in range(0, self.rows.num_rows, rows_max):
            yield Part(self.folder, self.values, self.rows.slice(start, rows_max))


def parts_of(table: pa.Table, partition_by: Sequence[str], decoded: Sequence[Decoded], partitions_max: int) -> list[Part]:
    """The rows split by partition, in the order of the rows within each.

    Raises:
        Rejected: a partition value that some reader would take for another.
        Halted: the rows belong to more partitions than `partitions_max`.
    """
    if not partition_by:
        return [Part("", {}, table)]
    codes = _codes(table, partition_by)
    partitions = pc.count_distinct(codes).as_py()
    if partitions > partitions_max:
        raise _too_many(partitions, partitions_max, partition_by)
    _refuse_unfit(table, partition_by, decoded)
    order = pc.sort_indices(codes)  # documented to be stable, so the order read stays the order landed
    ordered, runs = table.take(order), pc.run_end_encode(codes.take(order), run_end_type=pa.int64())
    parts: list[Part] = []
    start = 0
    for end in runs.run_ends.to_pylist():
        values = {name: partition_text(ordered.column(name)[start].as_py()) for name in partition_by}
        folder = "/".join(f"{_hive(name)}={_hive(value)}" for name, value in values.items())
        parts.append(Part(f"{folder}/", values, ordered.slice(start, end - start).drop_columns(list(partition_by))))
        start = end
    return parts


def _too_many(partitions: int, partitions_max: int, partition_by: Sequence[str]) -> Halted:
    message = (
        f"a batch has rows for {partitions:,} partitions of the table ({', '.join(partition_by)}), and at most {partitions_max:,} are "
        "allowed, since each takes a file and a folder of its own; nothing of the batch has landed"
    )
    next_step = (
        "Land into a table that is partitioned by something with fewer values, such as a date; "
        "or raise sink.partitions_per_batch_max, or make batches smaller, if so many files are meant."
    )
    return Halted("PARTITIONS_TOO_MANY", message, next_step=next_step)


def _codes(table: pa.Table, partition_by: Sequence[str]) -> Any:
    codes: Any = pa.repeat(pa.scalar(0, pa.int64()), table.num_rows)
    for name in partition_by:
        encoded = table.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        codes = pc.add(pc.multiply(codes, max(1, len(encoded.dictionary))), encoded.indices.cast(pa.int64()))
        # Dense again after each column, so that the product cannot overflow.
        codes = codes.dictionary_encode().indices.cast(pa.int64())
    return codes


def _refuse_unfit(table: pa.Table, partition_by: Sequence[str], decoded: Sequence[Decoded]) -> None:
    """Refuse rows whose partition values would read back as others."""
    streams = {(one.chunk.stream.topic, one.chunk.stream.partition): one.chunk.stream for one in decoded}
    refusals: list[Refusal] = []
    for name in partition_by:
        if not pa.types.is_string(table.schema.field(name).type):
            continue
        for value in pc.unique(table.column(name)).to_pylist():
            unfit = None if value is None else _unfit(name, value)
            if unfit is None:
                continue
            reason, said = unfit
            rows = table.select(["_topic", "_partition", "_offset"]).filter(pc.equal(table.column(name), value))
            for topic, partition, offset in zip(*(rows.column(index).to_pylist() for index in range(3)), strict=True):
                refusals.append(Refusal(streams[topic, partition], offset, reason, f"column {name} {said}"))
    if refusals:
        raise _rejected(refusals)


def _unfit(name: str, value: str) -> tuple[str, str] | None:
    """Why a string cannot be a partition value: a reason and words. None where it can."""
    if value == "":
        return "partition_value_empty", "holds an empty string, which as a partition value reads back as null"
    if value == HIVE_NULL:
        return "partition_value_reserved", "holds the name that stands for null in paths"
    if len(f"{_hive(name)}={_hive(value)}") > PATH_PIECE_BYTES_MAX:
        return "partition_value_too_long", f"makes a path piece longer than {PATH_PIECE_BYTES_MAX} bytes"
    return None


def partition_text(value: object) -> str | None:
    """A partition value as the Delta protocol writes it."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case dt.date():
            return value.isoformat()
        case _:
            message = f"no partition value of type {type(value).__name__}"
            raise Broken("INVARIANT_BROKEN", message)


def _hive(text: str | None) -> str:
    """A piece of a path as Hive writes it. The log holds the value itself, but some readers take it from the path."""
    return HIVE_NULL if text is None else quote(text, safe="")
