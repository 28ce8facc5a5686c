"""The raw decoder keeps keys and values byte for byte and accounts for tombstones."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from landfast.decode.raw import RAW_SCHEMA, RawDecoder
from tests.decode.decode_cases import chunk_of

VALUES = [b"", b"\x00\xff", None, b"{}", None]
CHUNK = dataclasses.replace(chunk_of(VALUES), keys=[b"k", None, b"x", b"", None])


def test_keys_and_values_are_kept_as_they_are() -> None:
    """Bytes, empty bytes and null keys arrive unchanged; null values are skipped under their name."""
    decoded = RawDecoder().decode(CHUNK)
    assert decoded.rows.schema == RAW_SCHEMA
    assert decoded.rows.to_pylist() == [{"key": b"k", "value": b""}, {"key": None, "value": b"\x00\xff"}, {"key": b"", "value": b"{}"}]
    assert decoded.kept == [0, 1, 3]
    assert decoded.skips == {"tombstone": [2, 4]}


def test_tombstones_can_be_refused() -> None:
    """With `tombstones = "dead"` null values are rejects."""
    decoded = RawDecoder(tombstones="dead").decode(CHUNK)
    assert [(reject.index, reject.reason) for reject in decoded.rejects] == [(2, "tombstone"), (4, "tombstone")]
    assert not decoded.skips


@pytest.mark.parametrize("values", [[], [b"a"], [b"a", b"b"]])
def test_kept_is_none_without_tombstones(values: list[Any]) -> None:
    """When every record became a row, nothing needs to say which."""
    decoded = RawDecoder().decode(chunk_of(values))
    assert decoded.kept is None
    assert decoded.rows.num_rows == len(values)
