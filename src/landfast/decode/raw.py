"""The decoder that does not decode: key and value as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa

from landfast.decode.json_rules import REASONS
from landfast.decode.tombstones import DELETED
from landfast.model import Chunk, Decoded, Reject

RAW_SCHEMA = pa.schema([pa.field("key", pa.binary()), pa.field("value", pa.binary())])
"""The columns of `format = "raw"`."""


class RawDecoder:
    """Two columns, `key` and `value`, byte for byte. A null value is skipped, refused, or deletes its key, by `tombstones`."""

    def __init__(self, *, tombstones: Literal["skip", "dead", "delete"] = "skip") -> None:
        self._tombstones = tombstones

    @property
    def schema(self) -> pa.Schema:
        """The columns of the rows."""
        return RAW_SCHEMA

    def decode(self, chunk: Chunk) -> Decoded:
        """See `ports.Decoder`."""
        values, keys = chunk.values, chunk.keys
        absent = [index for index, value in enumerate(values) if value is None]
        if not absent:
            return Decoded(chunk, _table(keys, values))
        if self._tombstones == "delete":
            deleted = pa.array([value is None for value in values], pa.bool_())
            return Decoded(chunk, _table(keys, values).append_column(DELETED, deleted))
        kept = [index for index, value in enumerate(values) if value is not None]
        rows = _table([keys[index] for index in kept], [values[index] for index in kept])
        if self._tombstones == "skip":
            return Decoded(chunk, rows, kept, skips={"tombstone": absent})
        return Decoded(chunk, rows, kept, tuple(Reject(index, "tombstone", REASONS["tombstone"]) for index in absent))


def _table(keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> pa.Table:
    return pa.Table.from_arrays([pa.array(keys, pa.binary()), pa.array(values, pa.binary())], schema=RAW_SCHEMA)
