"""One record is never worth more memory than its limits say, and every path agrees on which are too large."""

from __future__ import annotations

import tracemalloc

import pytest

from landfast.decode.json import SINGLY_RECORDS_MAX, JsonDecoder
from landfast.decode.json_fast import FastReader
from landfast.decode.json_rules import JsonLimits
from landfast.decode.schema import parse_columns
from landfast.model import Decoded
from tests.decode.decode_cases import chunk_of, verdicts

SCHEMA = parse_columns({"a": "int64", "text": "string", "known": "array<int64>"})
MIB = 1024 * 1024


def decoded(values: list[bytes], limits: JsonLimits) -> Decoded:
    return JsonDecoder(SCHEMA, limits=limits).decode(chunk_of(values))


@pytest.mark.parametrize("part", [b"1,", b"[],", b"{},", b'{"a":1},', b'"",', b"[[[["])
def test_a_record_of_many_small_parts_costs_little_memory(part: bytes) -> None:
    """Twenty megabytes of small parts would be gigabytes once parsed; they are refused for less than the text itself takes."""
    value = b'{"unknown":[' + part * (20 * MIB // len(part)) + b"1]}"
    tracemalloc.start()
    try:
        found = decoded([value], JsonLimits())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert verdicts(found) == ["too_large"]
    assert peak < 40 * MIB


def test_a_record_within_the_limit_of_parts_costs_bounded_memory() -> None:
    """The costliest record that is taken, objects of one field, stays within what a batch costs anyway."""
    value = b'{"unknown":[' + b'{"a":1},' * 99_000 + b"1]}"
    tracemalloc.start()
    try:
        found = decoded([value], JsonLimits())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.rows.num_rows == 1
    assert peak < 128 * MIB


@pytest.mark.parametrize("neighbours", [0, 2 * SINGLY_RECORDS_MAX])
@pytest.mark.parametrize(("elements", "verdict"), [(97, 97), (98, "too_large")])
def test_every_path_draws_the_limit_at_the_same_part(neighbours: int, elements: int, verdict: object) -> None:
    """Two braces or brackets and the commas between: the hundredth part is one too many, alone and among others."""
    value = b'{"a":1,"known":[' + b",".join([b"1"] * elements) + b"]}" + b" " * 100
    found = verdicts(decoded([value, *[b'{"a":1}'] * neighbours], JsonLimits(parts=99)))[0]
    assert (found if isinstance(found, str) else len(found["known"])) == verdict
    assert (FastReader(SCHEMA, JsonLimits(parts=99)).read([value]) is None) == (verdict == "too_large")


def test_marks_inside_strings_are_no_parts() -> None:
    """A long text is one part, whatever it holds, quotes and backslashes included."""
    value = b'{"a":1,"text":"' + rb",{[\"\\" * 1000 + b'"}'
    (row,) = verdicts(decoded([value], JsonLimits(parts=10)))
    assert row["text"] == ',{["\\' * 1000
