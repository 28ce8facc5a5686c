"""Random schemas, random documents, hostile bytes: the fast path and the reference never disagree."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from landfast.decode.json import SCREENED_RECORDS_MIN, SINGLY_RECORDS_MAX
from landfast.decode.json_fast import FastReader, is_readable
from landfast.decode.json_rules import JsonLimits, Refused
from landfast.decode.json_slow import Reference
from landfast.decode.schema import RESCUED, parse_columns
from tests.decode.decode_cases import decode_all, neighbour, plain_rows, verdicts
from tests.decode.document_strategies import TOKENS, columns, object_texts

SCHEMAS_AND_DOCUMENTS = columns().flatmap(
    lambda chosen: st.tuples(
        st.just(chosen),
        st.lists(object_texts(list(parse_columns(chosen))) | st.sampled_from(TOKENS), min_size=1, max_size=8),
    )
)

# Few records are decoded one by one, some are read at once, and among many a few doubtful ones are looked for.
PADDING = st.sampled_from([0, SINGLY_RECORDS_MAX, SCREENED_RECORDS_MIN])


def reference_verdict(schema: pa.Schema, document: bytes, *, refuse_unknown: bool = False) -> Any:
    """The verdict of the slow path as `verdicts` writes it."""
    try:
        row, rescued = Reference(schema, refuse_unknown=refuse_unknown, limits=JsonLimits()).row(document)
    except Refused as refused:
        return refused.reason
    output = schema.append(pa.field(RESCUED, pa.string()))
    arrays = [pa.array([cell], field.type) for cell, field in zip([*row, rescued], output, strict=True)]
    return plain_rows(pa.Table.from_arrays(arrays, schema=output))[0]


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@settings(max_examples=300, deadline=None)
@given(SCHEMAS_AND_DOCUMENTS, PADDING)
def test_a_chunk_gets_the_verdicts_of_the_reference(drawn: tuple[dict[str, str], list[str]], padding: int) -> None:
    """Whatever the schema and the documents, decoding a chunk equals asking the reference about each record."""
    chosen, texts = drawn
    documents = [encoded(text) for text in texts] + [neighbour(chosen)] * padding
    schema = parse_columns(chosen)
    expected = [reference_verdict(schema, document) for document in documents]
    decoded = decode_all(chosen, documents)
    assert verdicts(decoded) == expected
    decoded.rows.validate(full=True)
    written = io.BytesIO()
    pq.write_table(decoded.rows, written)
    assert plain_rows(pq.read_table(written)) == plain_rows(decoded.rows)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS_AND_DOCUMENTS)
def test_what_the_fast_path_accepts_the_reference_accepts_alike(drawn: tuple[dict[str, str], list[str]]) -> None:
    """A record that the fast path takes without suspicion has the same row in the reference and no unknown field."""
    chosen, texts = drawn
    schema = parse_columns(chosen)
    if not is_readable(schema, 64):
        return
    reader = FastReader(schema, JsonLimits())
    for document in map(encoded, texts):
        piece = reader.read([document])
        if piece is not None and (piece.suspects is None or not piece.suspects[0].as_py()):
            table = pa.Table.from_arrays(list(piece.columns), schema=schema)
            assert plain_rows(table) == [reference_verdict(schema, document)]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(max_size=12) | st.sampled_from([b"}", b"{", b'}\n{"v":', b'{"a":1', b'{"a":1}', b'"', b"\x00", b"\xff", b"}}"]),
        max_size=6,
    ),
    PADDING,
)
def test_hostile_bytes_never_swallow_a_neighbour(hostile: list[bytes], padding: int) -> None:
    """Between and around any bytes, good records keep their own rows, in order."""
    values: list[bytes] = []
    for number, bad in enumerate(hostile):
        values += [b'{"a":%d}' % number, bad]
    found = verdicts(decode_all({"a": "int64"}, [*values, *[b'{"a":7}'] * padding]))
    assert found[len(values) :] == [{"a": 7}] * padding
    found = found[: len(values)]
    assert found[::2] == [{"a": number} for number in range(len(hostile))]
    assert found[1::2] == [reference_verdict(parse_columns({"a": "int64"}), bad) for bad in hostile]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([b"}", b"{", b'"', b'}\n{"v":', b'{"a":1', b",", b'"a":1', b"1", b"\\", b"\n", b"[", b"]"]), max_size=9),
    st.data(),
)
def test_a_record_cut_anywhere_gets_the_verdicts_of_its_parts(parts: list[bytes], data: st.DataObject) -> None:
    """Cutting hostile text into records at any place never makes the decoder see across the cut."""
    text = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
    values = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    values += [b"{}"] * data.draw(PADDING)
    schema = parse_columns({"a": "int64"})
    assert verdicts(decode_all({"a": "int64"}, values)) == [reference_verdict(schema, value) for value in values]
