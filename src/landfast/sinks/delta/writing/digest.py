"""A digest of rows in their order, the same however they come in batches: by it a repeated write knows whether its rows are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute

# The stubs of pyarrow do not know all that its functions take.
pc: Any = pyarrow.compute

WINDOW_ROWS = 65_536
DIGEST_BYTES = 16


class RowsDigest:
    """Takes in batches of one schema, and digests them column by column, in windows of always the same rows.

    What Arrow leaves open is not digested: where a buffer begins, and what lies below a null.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._hash = hashlib.blake2b(str([(field.name, str(field.type)) for field in schema]).encode(), digest_size=DIGEST_BYTES)
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._schema = schema
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in the next rows."""
        self._held.append(batch)
        self._held_rows += batch.num_rows
        self.rows += batch.num_rows
        if self._held_rows >= WINDOW_ROWS:
            table = pa.Table.from_batches(self._held, self._schema)
            whole = self._held_rows - self._held_rows % WINDOW_ROWS
            for start in range(0, whole, WINDOW_ROWS):
                self._take_in(table.slice(start, WINDOW_ROWS))
            self._held = table.slice(whole).to_batches()
            self._held_rows -= whole

    def hexdigest(self) -> str:
        """The digest of all rows. Nothing can be added after it was asked for."""
        if self._held_rows:
            self._take_in(pa.Table.from_batches(self._held, self._schema))
            self._held, self._held_rows = [], 0
        return self._hash.hexdigest()

    def _take_in(self, window: pa.Table) -> None:
        for column in window.columns:
            whole = pa.concat_arrays(column.chunks)
            for piece in pieces(whole):
                self._hash.update(len(piece).to_bytes(8))
                self._hash.update(piece)


def pieces(array: Any) -> Iterator[memoryview | bytes]:
    """The content of an array as bytes that depend on its values only: which are there, how long, and what."""
    kind = array.type
    if array.null_count:
        yield _bytes_of(array.is_valid().cast(pa.uint8()))
    else:
        yield b""
    if pa.types.is_null(kind):
        yield len(array).to_bytes(8)
    elif pa.types.is_struct(kind):
        # `flatten` gives a null in the struct on to its fields.
        for child in array.flatten():
            yield from pieces(child)
    elif pa.types.is_map(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield _bytes_of(_zeroed(pc.list_value_length(_as_list(array))))
        yield from pieces(_as_list(array).flatten())
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        yield _bytes_of(_zeroed(pc.binary_length(array)))
        filled = array.fill_null(b"" if pa.types.is_binary(kind) else "") if array.null_count else array
        offsets = memoryview(filled.buffers()[1]).cast("i")
        first, end = offsets[filled.offset], offsets[filled.offset + len(filled)]
        yield memoryview(filled.buffers()[2])[first:end] if filled.buffers()[2] is not None else b""
    elif pa.types.is_boolean(kind):
        yield _bytes_of(_zeroed(array.cast(pa.uint8())))
    else:
        yield _bytes_of(_zeroed(array))


def _as_list(array: Any) -> Any:
    """A map as the list of its entries."""
    if not pa.types.is_map(array.type):
        return array
    entries = pa.list_(pa.struct([pa.field("key", array.type.key_type, nullable=False), pa.field("value", array.type.item_type)]))
    return array.cast(entries)


def _zeroed(array: Any) -> Any:
    if not array.null_count:
        return array
    zero = pa.Array.from_buffers(array.type, 1, [None, pa.py_buffer(bytes(array.type.bit_width // 8))])
    return array.fill_null(zero[0])


def _bytes_of(array: Any) -> memoryview:
    """The values of an array of fixed width without nulls."""
    if not len(array):
        return memoryview(b"")
    width = array.type.bit_width // 8
    return memoryview(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]


def digest_of_rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> str:
    """The digest of these batches."""
    digest = RowsDigest(schema)
    for batch in batches:
        digest.add(batch)
    return digest.hexdigest()
