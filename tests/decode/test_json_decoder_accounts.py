"""The JSON decoder accounts for every record, in order, whatever the mixture; its limits and policies do what they say."""

from __future__ import annotations

import json
import random
from typing import Any

import pyarrow as pa
import pytest

from landfast.decode.json import PIECE_BYTES_MAX, PIECE_RECORDS_MAX, SCREENED_RECORDS_MIN, JsonDecoder
from landfast.decode.json_doubt import Doubts
from landfast.decode.json_fast import FastReader
from landfast.decode.json_rules import REASONS, JsonLimits
from landfast.decode.schema import RESCUED, parse_columns
from tests.decode.decode_cases import chunk_of, decode_all, verdicts

COLUMNS = {"n": "int64 not null", "s": "string", "t": "timestamp"}
SCHEMA = parse_columns(COLUMNS)


def good(number: int) -> bytes:
    return b'{"n":%d,"s":"x","t":"2024-01-02T03:04:05Z"}' % number


def bad(number: int) -> bytes:
    """Every kind of badness in turn: some are found by Arrow, some by the vectorised checks, some only by the reference."""
    kinds = [
        b"",
        b"nope",
        b'{"n":1.5}',
        b'{"s":"x"}',
        b'{"n":1,"t":"2024-01-02"}',
        b'{"n":1,"s":"\xff"}',
        b'{"n":1,"n":2}',
        b'{"n":99999999999999999999}',
    ]
    return kinds[number % len(kinds)]


def test_an_empty_chunk_has_no_rows_and_the_right_columns() -> None:
    """A chunk without records, which only moves over a gap, decodes to nothing."""
    decoded = decode_all(COLUMNS, [])
    assert decoded.rows.num_rows == 0
    assert decoded.rows.schema.names == ["n", "s", "t", RESCUED]
    assert (decoded.kept, decoded.rejects, decoded.skips) == (None, (), {})


def test_kept_is_none_when_every_record_became_a_row() -> None:
    """Good records and rescued ones are rows, so nothing needs to say which."""
    decoded = decode_all(COLUMNS, [good(1), b'{"n":2,"z":1}', good(3)])
    assert decoded.kept is None
    assert decoded.rows.column("n").to_pylist() == [1, 2, 3]
    assert decoded.rows.column(RESCUED).to_pylist() == [None, '{"z":1}', None]


@pytest.mark.parametrize("bad_share", [0.0, 0.0001, 0.01, 0.3, 1.0])
def test_rows_rejects_and_skips_are_the_records_in_order(bad_share: float) -> None:
    """Over several pieces, with bad records and tombstones anywhere, each record has one fate and rows keep their order."""
    draw = random.Random(bad_share)
    count = PIECE_RECORDS_MAX + 5_000
    fates = ["bad" if draw.random() < bad_share else "none" if draw.random() < 0.001 else "good" for _ in range(count)]
    makers: dict[str, Any] = {"bad": bad, "none": lambda _: None, "good": good}
    decoded = decode_all(COLUMNS, [makers[fate](number) for number, fate in enumerate(fates)])
    places = {fate: [number for number, its in enumerate(fates) if its == fate] for fate in makers}
    assert decoded.rows.column("n").to_pylist() == places["good"]
    assert decoded.kept is not None
    assert list(decoded.kept) == places["good"]
    assert [reject.index for reject in decoded.rejects] == places["bad"]
    assert list(decoded.skips.get("tombstone", ())) == places["none"]


def test_tombstones_are_refused_where_that_is_the_policy() -> None:
    """With `tombstones = "dead"` a null value is a reject in its place among the others."""
    decoded = JsonDecoder(SCHEMA, tombstones="dead").decode(chunk_of([None, b"nope", good(1), None]))
    assert [(reject.index, reject.reason) for reject in decoded.rejects] == [(0, "tombstone"), (1, "not_json"), (3, "tombstone")]
    assert decoded.kept == [2]
    assert not decoded.skips


def test_every_reason_is_documented_and_no_message_shows_a_value() -> None:
    """Reasons come from the one table; messages name columns and kinds, never what the record says."""
    secret = "hunter2"
    columns = {"b": "binary", "d": "date", "m": "decimal(3,1)", "t": "timestamp", "i": "int8", "o": "boolean"}
    documents = [json.dumps({name: value}).encode() for name in columns for value in (secret, [secret], {secret: secret})]
    documents += [secret.encode(), b'"%s"' % secret.encode(), b'{"i":31337}', b'{"%s 1":1}' % secret.encode()]
    for unknown_fields in ("rescue", "dead"):
        rejects = decode_all(columns, documents, unknown_fields).rejects
        assert len(rejects) >= len(documents) - 1
        assert {reject.reason for reject in rejects} <= set(REASONS)
        assert not [reject for reject in rejects if secret in reject.message or "31337" in reject.message]


@pytest.mark.parametrize(("length", "expected"), [(99, "row"), (100, "row"), (101, "too_large")])
def test_d13_the_size_limit_is_exact(length: int, expected: str) -> None:
    """A record one byte under, at and over the limit: the edge is where the setting says, alone and among others."""
    record = b'{"s":"' + b"x" * (length - 8) + b'"}'
    assert len(record) == length
    decoder = JsonDecoder(parse_columns({"s": "string"}), limits=JsonLimits(record_bytes=100))
    for values in ([record], [b"{}", record, b"{}"]):
        found = verdicts(decoder.decode(chunk_of(values)))[len(values) // 2]
        assert ("row" if isinstance(found, dict) else found) == expected


@pytest.mark.parametrize("limit", [1, 2, 40, 64, 512])
def test_the_depth_limit_is_exact_for_columns_and_unknown_fields(limit: int) -> None:
    """Nesting up to the limit is taken and one more is refused, in a column, in an unknown field, and deep inside a piece."""

    def verdict(columns: str, document: bytes) -> str:
        decoder = JsonDecoder(parse_columns({"a": columns}), limits=JsonLimits(depth=limit))
        (found,) = verdicts(decoder.decode(chunk_of([document])))
        return "row" if isinstance(found, dict) else str(found)

    for extra, expected in ((0, "row"), (1, "too_deep")):
        levels = limit - 1 + extra
        assert verdict("int64", b'{"z":' + b"[" * levels + b"]" * levels + b"}" if levels else b"{}") == expected
        if 0 < levels < 30:
            nested = "array<" * levels + "int64" + ">" * levels
            assert verdict(nested, b'{"a":' + b"[" * levels + b"]" * levels + b"}") == expected


def test_large_records_are_decoded_in_small_pieces() -> None:
    """A chunk of large records, more than a piece may hold, with one beyond a whole piece, keeps all rows in order."""
    sizes = [PIECE_BYTES_MAX // 3] * 7 + [PIECE_BYTES_MAX + 1] + [10] * 3
    records = [b'{"n":%d,"s":"%s"}' % (number, b"x" * size) for number, size in enumerate(sizes)]
    decoded = decode_all(COLUMNS, records)
    assert decoded.kept is None
    assert decoded.rows.column("n").to_pylist() == list(range(len(sizes)))
    assert [len(text) for text in decoded.rows.column("s").to_pylist()] == sizes


def test_a_wider_schema_counts_from_the_next_chunk() -> None:
    """Where the schema is a function, a column that the sink has added is decoded at once instead of rescued."""
    schema = parse_columns({"a": "int64"})
    decoder = JsonDecoder(lambda: schema, unknown_fields="evolve")
    record = b'{"a":1,"z":"new"}'
    assert verdicts(decoder.decode(chunk_of([record]))) == [{"a": 1, "_rescued": '{"z":"new"}'}]
    schema = schema.append(pa.field("z", pa.string()))
    assert verdicts(decoder.decode(chunk_of([record]))) == [{"a": 1, "z": "new"}]
    assert decoder.schema.names == ["a", "z", RESCUED]


def test_refusing_unknown_fields_leaves_no_rescue_column() -> None:
    """With `unknown_fields = "dead"` the rows have the data columns and nothing else."""
    decoded = decode_all(COLUMNS, [good(1), b'{"n":2,"z":1}'], "dead")
    assert decoded.rows.schema == SCHEMA
    assert [(reject.index, reject.reason) for reject in decoded.rejects] == [(1, "unknown_field")]


@pytest.mark.parametrize(
    "bomb",
    [
        b'{"n":1,"s":' + b"[" * 1_000_000,
        b'{"z":' * 200_000,
        b'{"n":' + b"9" * 2_000_000 + b"}",
        b'{"n":1,"z":' + b"9" * 2_000_000 + b"}",
        b'{"n":1,' + b",".join(b'"k%d":1' % number for number in range(100_000)) + b"}",
        b'{"s":"' + b'\\"' * 500_000,
        b'{"s":"' + b"[" * 1000 + b'\\"' * 500_000,
        b'{"n":1,"z":[' + b"{}," * 200_000 + b"{}]}",
    ],
    ids=["arrays", "objects", "digits", "unknown digits", "keys", "escapes", "escapes behind brackets", "many objects"],
)
def test_d12_a_bomb_harms_only_itself(bomb: bytes) -> None:
    """Deep, wide and long records neither crash the decoder nor touch their neighbours."""
    decoded = decode_all(COLUMNS, [good(1), bomb, good(3)])
    assert [row["n"] for row in decoded.rows.to_pylist() if row["t"] is not None] == [1, 3]
    assert decoded.rows.num_rows + len(decoded.rejects) == 3


WIDE_COLUMNS = {
    "n": "int64 not null",
    "s": "string",
    "t": "timestamp",
    "f": "float64",
    "g": "float32",
    "d": "decimal(6,2)",
    "o": "struct<x: int8, y: array<string>>",
    "é b": "boolean",
}
WIDE_SCHEMA = parse_columns(WIDE_COLUMNS)


def suspected(values: list[bytes]) -> set[int]:
    """The records that are not read with the others, found as the decoder finds them."""
    odd = Doubts(WIDE_SCHEMA).odd(values)
    others = [place for place in range(len(values)) if place not in odd]
    blamed = FastReader(WIDE_SCHEMA, JsonLimits(record_bytes=300)).blamed([values[place] for place in others])
    return odd | {others[index] for index in blamed}


@pytest.mark.parametrize(
    "spoiled",
    [
        b"",
        b"%d",
        b"\x00{%d",
        b'{"n":%d,"n":1}',
        b'{"n":%d.5}',
        b'{"n":%d,"s":',
        b'{"n":%d,}',
        b'{,"n":%d}',
        b'{"n":%d,"s":1}',
        b'{"n":%d,"s":"\xff"}',
        b'{"n":%d,"s":"\xed\xa0\x80"}',
        b'{"n":%d,"s":"\\ud800"}',
        b'{"n":%d,"s":"\t"}',
        b'{"n":%d,"z":1}',
        b'{"n":%d,"z":NaN}',
        b'{"n":99999999999999999999%d}',
        b'{"n":%d,"f":1e400}',
        b'{"n":%d,"g":1e40}',
        b'{"n":%d,"d":12345.5}',
        b'{"n":%d,"d":1.005}',
        b'{"n":%d,"d":1e-99999999}',
        b'{"n":%d,"f":1e-99}',
        b'{"n":%d,"o":{"x":128}}',
        b'{"n":%d,"o":{"w":1}}',
        b'{"n":%d,"o":{"y":["a",1]}}',
        b'{"n":%d,"s":"' + b"x" * 300 + b'"}',
    ],
)
@pytest.mark.parametrize("apart", [100, 20])
def test_bad_records_leave_their_neighbours_on_the_fast_path(spoiled: bytes, apart: int) -> None:
    """Of a thousand records, exactly the bad ones are judged singly: a bad record costs itself, not its piece."""
    bad_places = set(range(50, 1_000, apart))
    values = [spoiled.replace(b"%d", b"%d" % number) if number in bad_places else good(number) for number in range(1_000)]
    assert suspected(values) == bad_places


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("indent", [None, 1])
def test_no_good_record_is_doubted(ascii_only: bool, indent: int | None) -> None:
    """However a record is written, with spaces, with escapes or without, and whatever its values are, nobody doubts it."""
    documents: list[dict[str, Any]] = [{"n": number, "s": None, "t": "2024-01-02T03:04:05Z"} for number in (0, -1, 2**53, 2**62, -(2**62))]
    documents += [
        {"n": 2, "s": text} for text in ('"\\/\b\f\n\r\t', "é ü", "\u07ff\u0800\uffff", "\U0001f600 \U0010ffff", "\x7f", ",}{][:")
    ]
    documents += [{"f": number, "g": None, "n": 3} for number in (0.0, -1.5, 1e300 / 1e30, 5e-324, 1e16, 123456789012)]
    documents += [{"n": 4, "g": number} for number in (0.0, 1e10, 1.5e-30)]
    documents += [{"n": 5, "d": number} for number in (0, -9999, 9999.99, 0.5, "12.50", "-0.01")]
    documents += [{"n": 6, "o": {"x": number, "y": []}} for number in (-127, -100, 0, 9, 99, 100, 119, 120, 126, 127)]
    documents += [{"n": 7, "o": {"y": ["a", None, "b"]}}, {"n": 8, "é b": True}, {"é b": False, "n": 9}, {"n": 10, "o": {}}]
    values = [json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode() for document in documents]
    assert [documents[place] for place in Doubts(WIDE_SCHEMA).odd(values)] == []
    assert verdicts(decode_all(WIDE_COLUMNS, values * 10))[-1]["n"] == 10


def test_too_many_columns_for_a_pattern_make_nothing_doubtful() -> None:
    """Where no pattern can be made the parser alone says which records are bad, and the verdicts are the same."""
    columns = {"n": "int64 not null", **{f"{number}{'x' * 1_000}": "string" for number in range(1_100)}}
    values = [b'{"n":1}', b"nope", b'{"n":1,"z":2}', *[b'{"n":1}'] * SCREENED_RECORDS_MIN]
    assert Doubts(parse_columns(columns)).odd(values) == set()
    found = decode_all(columns, values)
    assert [(reject.index, reject.reason) for reject in found.rejects] == [(1, "not_json")]
    assert found.rows.column(RESCUED).to_pylist()[:2] == [None, '{"z":2}']


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b'{"a":"x\x01"}', "The record is not JSON at character 7: Invalid control character."),
        (b'{"a":"x', "The record is not JSON at character 5: Unterminated string."),
        (b'{"a":"\\q"}', "The record is not JSON at character 6: Invalid \\escape."),
        (b'{"a" 1}', "The record is not JSON at character 5: Expecting ':' delimiter."),
        (b'{"a":secret}', "The record is not JSON at character 5: Expecting value."),
    ],
)
def test_a_record_that_is_not_json_is_told_where_and_what(value: bytes, message: str) -> None:
    """A whole sentence, with no part of the value."""
    (reject,) = decode_all({"a": "string"}, [value]).rejects
    assert (reject.reason, reject.message) == ("not_json", message)
