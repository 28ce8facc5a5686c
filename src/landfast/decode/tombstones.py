"""Records without a value that delete: the row says which key, as the record's Kafka key gives it, and that it is deleted."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

import pyarrow as pa

from landfast.decode.json import JsonDecoder
from landfast.errors import Misconfigured
from landfast.model import Chunk, Decoded, Reject
from landfast.ports import Decoder

KeyFormat = Literal["json", "text"]
DELETED = "_deleted"
"""The column that says that a row's key is deleted."""
REASONS: Mapping[str, str] = MappingProxyType(
    {"tombstone_key": "The record has no value (null), which deletes, and its Kafka key does not give the key columns of the table."}
)
_WHOLE = re.compile(rb"-?[0-9]{1,39}")


class DeletingDecoder:
    """What another decoder makes of records, and of each that it skips as a tombstone a row that deletes.

    `decoder` skips tombstones. `schema` gives the columns of the table, as they are now, and `key` names those that its rows are told
    apart by. `key_format` says how a Kafka key gives them: as a JSON object with a field for each, or as the text of the only one.
    Safe to share between threads.
    """

    def __init__(self, decoder: Decoder, schema: Callable[[], pa.Schema], key: Sequence[str], key_format: KeyFormat = "json") -> None:
        self._decoder = decoder
        self._schema = schema
        self._key = tuple(key)
        self._key_format = key_format
        self._keys = JsonDecoder(self._key_schema, tombstones="dead", unknown_fields="rescue")

    def decode(self, chunk: Chunk) -> Decoded:
        """See `ports.Decoder`."""
        decoded = self._decoder.decode(chunk)
        deleting = decoded.skips.get("tombstone", ())
        return self._with_deletions(decoded, deleting) if deleting else decoded

    def _with_deletions(self, decoded: Decoded, deleting: Sequence[int]) -> Decoded:
        keys = self._keys.decode(self._chunk_of_keys(decoded.chunk, deleting))
        rejects = [
            Reject(deleting[one.index], "tombstone_key", f"the record deletes, and its Kafka key does not say what: {one.message}")
            for one in keys.rejects
        ]
        found: Any = keys.rows
        deletions = found.select(list(self._key)).append_column(DELETED, pa.repeat(pa.scalar(True), found.num_rows))
        rows: Any = decoded.rows
        rows = rows.append_column(DELETED, pa.repeat(pa.scalar(False), rows.num_rows))
        kept = [*_kept(decoded, rows.num_rows), *(deleting[index] for index in _kept(keys, found.num_rows))]
        order = sorted(range(len(kept)), key=kept.__getitem__)
        # No column demands a value here: whether a row may lack one is the sink's question.
        whole = pa.concat_tables([_optional(rows), _optional(deletions)], promote_options="default").take(pa.array(order, pa.int64()))
        return replace(
            decoded,
            rows=whole,
            kept=sorted(kept),
            rejects=tuple(sorted((*decoded.rejects, *rejects), key=lambda reject: reject.index)),
            skips={reason: indices for reason, indices in decoded.skips.items() if reason != "tombstone"},
        )

    def _chunk_of_keys(self, chunk: Chunk, deleting: Sequence[int]) -> Chunk:
        """The Kafka keys of the records that delete, as the values of a chunk."""
        values = [self._as_json(chunk.keys[index]) for index in deleting]
        offsets = array("q", [chunk.offsets[index] for index in deleting])
        timestamps = array("q", [chunk.timestamps[index] for index in deleting])
        return replace(chunk, values=values, keys=[None] * len(values), headers=None, offsets=offsets, timestamps=timestamps)

    def _as_json(self, key: bytes | None) -> bytes | None:
        """A Kafka key as the JSON object that has the key columns as its fields."""
        if key is None or self._key_format == "json":
            return key
        name = json.dumps(self._key[0]).encode()
        if pa.types.is_integer(self._schema().field(self._key[0]).type):
            # What is no whole number is refused as text in its place, as in a record.
            return b"{%s:%s}" % (name, key if _WHOLE.fullmatch(key) else b'"?"')
        try:
            return b"{%s:%s}" % (name, json.dumps(key.decode()).encode())
        except UnicodeDecodeError:
            # Bytes that are no text are refused as such, as in a record.
            return b'{%s:"%s"}' % (name, key)

    def _key_schema(self) -> pa.Schema:
        schema = self._schema()
        return pa.schema([schema.field(name).with_nullable(nullable=False) for name in self._key])


def check_key_format(schema: pa.Schema, key: Sequence[str], key_format: KeyFormat) -> None:
    """See that a Kafka key can give these columns.

    Raises:
        Misconfigured: it cannot.
    """
    if key_format == "json":
        return
    kinds = [schema.field(name).type for name in key if name in schema.names]
    if len(key) != 1 or not all(pa.types.is_string(kind) or pa.types.is_integer(kind) for kind in kinds):
        message = 'decode.key_format = "text" takes a Kafka key for the one column of sink.key, a string or an integer'
        raise Misconfigured(
            "KEY_UNUSABLE", message, next_step='Set key_format = "json", for keys that are JSON objects; or correct sink.key.'
        )


def _kept(decoded: Decoded, count: int) -> Sequence[int]:
    return range(count) if decoded.kept is None else decoded.kept


def _optional(rows: pa.Table) -> pa.Table:
    return rows.cast(pa.schema([field.with_nullable(nullable=True) for field in rows.schema]))
