"""A digest of rows in their order, the same however they come in batches: by it a repeated write knows whether its rows are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute

# The stubs of pyarrow do not know all that its functions take.
pc: Any = pyarrow.compute

DIGEST_BYTES = 16


class RowsDigest:
    """Takes in batches of one schema, and digests them piece by piece: what is there, how long it is, and what, each for itself.

    So nothing is held, and batches of any size come to the same. What Arrow leaves open is not digested: where a buffer begins, and what
    lies below a null.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._head = str([(field.name, str(field.type)) for field in schema]).encode()
        self._running: list[Any] = []
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in the next rows."""
        if not batch.num_rows:
            return
        self.rows += batch.num_rows
        found = [piece for column in batch.columns for piece in pieces(column)]
        if not self._running:
            self._running = [hashlib.blake2b(digest_size=DIGEST_BYTES) for _ in found]
        for running, piece in zip(self._running, found, strict=True):
            running.update(piece)

    def hexdigest(self) -> str:
        """The digest of all rows so far."""
        whole = hashlib.blake2b(self._head, digest_size=DIGEST_BYTES)
        whole.update(self.rows.to_bytes(8))
        for running in self._running:
            whole.update(running.digest())
        return whole.hexdigest()


def pieces(array: Any) -> Iterator[memoryview | bytes]:
    """The content of an array as bytes that depend on its values only: which are there, how long, and what; as many for each.

    Put behind one another, the same pieces of several arrays are the piece of all of them together.
    """
    kind = array.type
    yield _bytes_of(array.is_valid().cast(pa.uint8()))
    if pa.types.is_null(kind):
        return
    if pa.types.is_struct(kind):
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
