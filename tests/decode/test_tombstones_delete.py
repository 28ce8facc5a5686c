"""Records without a value that delete: which key, as the Kafka key says, and what becomes of those whose key says nothing."""

from __future__ import annotations

from array import array

import pyarrow as pa
import pytest

from landfast.config import DecodeSettings
from landfast.decode.json import JsonDecoder
from landfast.decode.raw import RawDecoder
from landfast.decode.tombstones import DeletingDecoder, KeyFormat
from landfast.errors import Misconfigured
from landfast.model import Chunk, Decoded, Stream
from landfast.wiring.parts import decoder_of

COLUMNS = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("name", pa.string())])
NAMED = pa.schema([pa.field("name", pa.string()), pa.field("count", pa.int64())])


def chunk_of(*records: tuple[bytes | None, bytes | None]) -> Chunk:
    """Keys and values."""
    keys, values = [key for key, _ in records], [value for _, value in records]
    offsets = array("q", range(5, 5 + len(records)))
    return Chunk(Stream("topic", "id", 0), 1, 5, 5 + len(records), values, keys, None, offsets, offsets, 1)


def decoded(
    *records: tuple[bytes | None, bytes | None], key_format: KeyFormat = "json", schema: pa.Schema = COLUMNS, key: str = "id"
) -> Decoded:
    decoder = DeletingDecoder(JsonDecoder(schema), lambda: schema, [key], key_format)
    found = decoder.decode(chunk_of(*records))
    kept = range(len(records)) if found.kept is None else found.kept
    assert sorted([*kept, *(reject.index for reject in found.rejects)]) == list(range(len(records)))
    assert found.rows.num_rows == len(kept)
    return found


def test_a_record_without_a_value_becomes_a_row_that_deletes_in_its_place() -> None:
    """Between the rows of the others, with the key's columns alone; what else the Kafka key says is left out."""
    found = decoded((b"1", b'{"id": 1, "name": "a"}'), (b'{"id": 1, "tenant": 3}', None), (b"2", b'{"id": 2}'), (b'{"id": 7}', None))
    assert found.kept == [0, 1, 2, 3]
    assert found.skips == {}
    rows = [(row["id"], row["name"], row["_deleted"]) for row in found.rows.to_pylist()]
    assert rows == [(1, "a", False), (1, None, True), (2, None, False), (7, None, True)]


@pytest.mark.parametrize("key", [None, b"", b"7", b'{"other": 7}', b'{"id": "7"}', b'{"id": null}', b"\xff", b"[7]", b'{"id": 7.5}'])
def test_a_kafka_key_that_does_not_give_the_key_is_refused_under_its_own_reason(key: bytes | None) -> None:
    """No guess: the text 7 is not the number 7, and a key that lacks a column says nothing. No value is shown."""
    found = decoded((key, None), (b"1", b'{"id": 1}'), (b"2", b"no json"))
    assert [(reject.index, reject.reason) for reject in found.rejects] == [(0, "tombstone_key"), (2, "not_json")]
    assert found.rows.column("_deleted").to_pylist() == [False]
    assert "7" not in found.rejects[0].message


def test_a_chunk_without_such_records_is_as_it_was() -> None:
    """Nothing is added to the rows of others."""
    found = decoded((b"1", b'{"id": 1}'))
    assert "_deleted" not in found.rows.column_names


@pytest.mark.parametrize(
    ("key", "column", "expected"),
    [
        (b"7", "count", 7),
        (b"-12", "count", -12),
        (b"007", "count", None),
        (b"7.0", "count", None),
        (b"1" * 30, "count", None),
        (b"x", "count", None),
        (b"7", "name", "7"),
        (b'a "quoted" name', "name", 'a "quoted" name'),
        (b"", "name", ""),
        (b'\xff", "x": "', "name", None),
        (None, "name", None),
    ],
)
def test_a_kafka_key_as_text_is_the_one_column(key: bytes | None, column: str, expected: object) -> None:
    """As it is written, or not at all: a number with a leading zero is another text and no number."""
    found = decoded((key, None), key_format="text", schema=NAMED, key=column)
    assert found.rows.column(column).to_pylist() == ([] if expected is None else [expected])
    assert [reject.reason for reject in found.rejects] == (["tombstone_key"] if expected is None else [])


def test_bytes_as_they_are_delete_by_the_kafka_key() -> None:
    """With `format = "raw"` the record's key is a column, so nothing has to be read out of it."""
    found = RawDecoder(tombstones="delete").decode(chunk_of((b"a", b"1"), (b"b", None), (None, None)))
    assert [tuple(row.values()) for row in found.rows.to_pylist()] == [(b"a", b"1", False), (b"b", None, True), (None, None, True)]


def test_settings_make_such_a_decoder_and_refuse_keys_that_no_text_can_give() -> None:
    """Before anything is read."""
    columns = {"id": "int64", "day": "date"}
    made = decoder_of(DecodeSettings(columns=columns, tombstones="delete"), lambda: COLUMNS, ["id"])
    assert made.decode(chunk_of((b'{"id": 3}', None))).rows.column("_deleted").to_pylist() == [True]
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("day", pa.date32())])
    for key in (["id", "day"], ["day"]):
        with pytest.raises(Misconfigured) as caught:
            decoder_of(DecodeSettings(columns=columns, tombstones="delete", key_format="text"), lambda: schema, key)
        assert caught.value.code == "KEY_UNUSABLE"
    assert decoder_of(DecodeSettings(columns=columns, tombstones="delete", key_format="text"), lambda: schema, ["id"])
