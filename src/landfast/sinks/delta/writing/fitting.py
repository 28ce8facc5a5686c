"""Arrow data of any maker, fitted to the columns of a table without losing anything, batch by batch.

deltalake casts what it is given: 1.9 becomes 1, "5" becomes 5, a moment loses its nanoseconds, and nobody is told. Here a value either is
the same in the table's type, or the write is refused with the column and the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute

from landfast.errors import Misconfigured, Rejected
from landfast.sinks.delta.table.columns import CAST_REFUSALS, misfits

# The stubs of pyarrow know neither Python values as operands nor the newer functions.
pc: Any = pyarrow.compute
types: Any = pa.types

DECIMAL_DIGITS_MAX = 38
"""Of Delta's decimals."""
_WIDER: dict[Any, Any] = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
}
_DIGITS: dict[Any, int] = {
    pa.int8(): 3,
    pa.int16(): 5,
    pa.int32(): 10,
    pa.int64(): 19,
    pa.uint8(): 3,
    pa.uint16(): 5,
    pa.uint32(): 10,
    pa.uint64(): 20,
}
"""How many digits the largest value has."""
_NOTHING_LANDED = "Correct the rows and write them again under the same version. Nothing of this write has landed."


def read(data: object) -> pa.RecordBatchReader:
    """A reader of what was given: anything that can be exported as a stream or an array of Arrow, without making it a table first.

    Raises:
        Misconfigured: it is nothing of that kind.
    """
    if isinstance(data, pa.RecordBatchReader):
        return data
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    if hasattr(data, "__arrow_c_array__"):
        batch = pa.record_batch(data)
        return pa.RecordBatchReader.from_batches(batch.schema, [batch])
    if isinstance(data, list) and data and all(isinstance(one, pa.RecordBatch) for one in data):
        return pa.RecordBatchReader.from_batches(data[0].schema, data)
    message = f"rows have to come as an Arrow stream (pyarrow, Polars, DuckDB, DataFusion, …), not as {type(data).__name__}"
    next_step = "Make a `pyarrow.Table` of them, or a `pyarrow.RecordBatchReader` where they do not fit into memory. Nothing was written."
    raise Misconfigured("WRITE_INVALID", message, next_step=next_step)


def _is_text(kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_bytes(kind: Any) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind) or types.is_fixed_size_binary(kind))


def _is_list(kind: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or types.is_list_view(kind))


def _is_plain(kind: Any) -> bool:
    return bool(types.is_signed_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_date32(kind))


def _is_decimal_of_delta(kind: Any) -> bool:
    return bool(types.is_decimal(kind) and kind.precision <= DECIMAL_DIGITS_MAX and 0 <= kind.scale <= kind.precision)


def column_type(kind: Any) -> Any:
    """The type that a new column for values of this one gets: the same where Delta knows it, else one that holds each of its values.

    Raises:
        Misconfigured: there is none.
    """
    found = next((make(kind) for applies, make in _COLUMN_TYPES if applies(kind)), None)
    if found is None:
        message = f"a Delta table has no type for values of {kind}"
        raise Misconfigured("SCHEMA_CONFLICT", message, next_step="Cast the column before it is written. Nothing was written.")
    return found


def new_columns(schema: pa.Schema) -> pa.Schema:
    """The columns that a table made for rows of this schema gets."""
    return pa.schema([pa.field(field.name, column_type(field.type), field.nullable) for field in schema])


def check_columns(data: pa.Schema, table: pa.Schema) -> None:
    """See that each column of the data has a place in the table that can hold its values, and that none is missing which has to be there.

    Raises:
        Misconfigured: that is not so.
    """
    problems = [f"the rows have two columns {name}" for name in sorted({name for name in data.names if data.names.count(name) > 1})]
    problems += [f"the table has no column {name}" for name in data.names if name not in table.names]
    for field in table:
        if field.name not in data.names:
            if not field.nullable:
                problems.append(f"the table demands the column {field.name}, and the rows do not have it")
        elif data.names.count(field.name) == 1 and not holds(field.type, data.field(field.name).type):
            kind = data.field(field.name).type
            problems.append(f"column {field.name} is {field.type} in the table and {kind} in the rows, which is not the same kind of value")
    if problems:
        next_step = 'Make rows and table agree; schema_mode="merge" gives the table columns that it lacks. Nothing was written.'
        raise Misconfigured("SCHEMA_CONFLICT", "; ".join(problems), next_step=next_step)


def holds(table: Any, data: Any) -> bool:
    """Whether values of the type `data` are the same kind of value as those of `table`: each of them may still be too large for it."""
    if types.is_dictionary(data) or types.is_run_end_encoded(data):
        return holds(table, data.value_type)
    if types.is_null(data) or table == data:
        return True
    return any(is_kind(table) and of_kind(table, data) for is_kind, of_kind in _SAME_KINDS)


def _same_struct(table: Any, data: Any) -> bool:
    if not types.is_struct(data):
        return False
    known, given = {field.name: field for field in table}, {field.name: field for field in data}
    return (
        len(given) == data.num_fields
        and given.keys() <= known.keys()
        and all(holds(known[name].type, field.type) for name, field in given.items())
        and all(field.nullable for name, field in known.items() if name not in given)
    )


def _same_map(table: Any, data: Any) -> bool:
    return bool(types.is_map(data)) and holds(table.key_type, data.key_type) and holds(table.item_type, data.item_type)


def _same_decimal(table: Any, data: Any) -> bool:
    return bool(types.is_decimal(data)) or 0 < _DIGITS.get(data, 0) <= int(table.precision - table.scale)


_COLUMN_TYPES: tuple[tuple[Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    (lambda kind: kind in _WIDER, lambda kind: _WIDER[kind]),
    (lambda kind: types.is_dictionary(kind) or types.is_run_end_encoded(kind), lambda kind: column_type(kind.value_type)),
    (_is_text, lambda _: pa.string()),
    (_is_bytes, lambda _: pa.binary()),
    (types.is_timestamp, lambda kind: pa.timestamp("us", None if kind.tz is None else "UTC")),
    (
        lambda kind: types.is_struct(kind) and kind.num_fields,
        lambda kind: pa.struct([field.with_type(column_type(field.type)) for field in kind]),
    ),
    (types.is_map, lambda kind: pa.map_(column_type(kind.key_type), column_type(kind.item_type))),
    (_is_list, lambda kind: pa.list_(kind.value_field.with_type(column_type(kind.value_type)))),
    (_is_plain, lambda kind: kind),
    (_is_decimal_of_delta, lambda kind: pa.decimal128(kind.precision, kind.scale)),
)
"""Which types become which columns; the first that applies."""

_SAME_KINDS: tuple[tuple[Callable[[Any], Any], Callable[[Any, Any], Any]], ...] = (
    (types.is_struct, _same_struct),
    (
        types.is_map,
        lambda table, data: types.is_map(data) and holds(table.key_type, data.key_type) and holds(table.item_type, data.item_type),
    ),
    (types.is_list, lambda table, data: _is_list(data) and holds(table.value_type, data.value_type)),
    (types.is_floating, lambda table, data: types.is_floating(data) and data.bit_width <= table.bit_width),
    # A moment and a time on the wall are not the same kind of value.
    (types.is_timestamp, lambda table, data: types.is_timestamp(data) and (table.tz is None) == (data.tz is None)),
    (types.is_decimal, _same_decimal),
    (types.is_integer, lambda _, data: types.is_integer(data)),
    (_is_text, lambda _, data: _is_text(data)),
    (_is_bytes, lambda _, data: _is_bytes(data)),
)
"""For each kind of column, which values are of its kind."""


class Fitting:
    """Fits batches to a table's schema, one after the other.

    Raises:
        Misconfigured: at once, where the columns have no place in the table.
    """

    def __init__(self, data: pa.Schema, table: pa.Schema) -> None:
        check_columns(data, table)
        self._table = table
        self._rows = 0

    def fitted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows in exactly the table's columns. Columns that they do not have are null.

        Raises:
            Rejected: a value is not the same in the table's type; nothing of the write has landed.
        """
        columns = []
        for field in self._table:
            if field.name not in batch.schema.names:
                columns.append(pa.nulls(batch.num_rows, field.type))
                continue
            column = _decoded(batch.column(field.name))
            try:
                column = column if column.type == field.type else column.cast(field.type, safe=True)
            except CAST_REFUSALS:
                raise self._refusal(field, next(misfits(column, field.type)), f"does not fit the table's type {field.type}") from None
            if not field.nullable and column.null_count:
                row = pc.index(column.is_null(), value=True).as_py()
                raise self._refusal(field, row, "is null, which the table forbids")
            columns.append(column)
        self._rows += batch.num_rows
        return pa.RecordBatch.from_arrays(columns, schema=self._table)

    def _refusal(self, field: pa.Field[Any], row: int, said: str) -> Rejected:
        message = f"column {field.name} of row {self._rows + row:,} (the first is 0) {said}"
        return Rejected("ROWS_REFUSED", message, refusals=(), next_step=_NOTHING_LANDED)


def _decoded(column: Any) -> Any:
    if types.is_dictionary(column.type):
        return column.dictionary_decode()
    return pc.run_end_decode(column) if types.is_run_end_encoded(column.type) else column


def batches_of(reader: pa.RecordBatchReader, fitting: Fitting) -> Iterator[pa.RecordBatch]:
    """All rows that the reader gives, fitted."""
    for batch in reader:
        if batch.num_rows:
            yield fitting.fitted(batch)
