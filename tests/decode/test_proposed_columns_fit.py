"""Columns proposed from samples take those samples: strictly, with nothing lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landfast.decode.proposal import propose, survey
from landfast.decode.schema import to_columns
from tests.decode.decode_cases import decode_all

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
    | st.just("2024-01-02"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "A", "", "x.y"]), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "A", "_offset", "c d"]), JSON, max_size=4), min_size=1, max_size=5))
def test_every_sample_decodes_under_the_proposal(samples: list[dict[str, object]]) -> None:
    """Whatever objects were sampled, the proposed columns refuse none of them."""
    documents = [json.dumps(sample).encode() for sample in samples]
    proposal = survey(documents)
    assert proposal.read == len(documents)
    if proposal.schema.names:
        decoded = decode_all(proposal.schema, documents)
        assert not decoded.rejects


def test_types_are_the_narrowest_that_take_all_samples() -> None:
    """Integers, floats, times, days, text, objects and arrays are told apart; what differs is left out with a reason."""
    samples = [
        b'{"i":1,"f":1,"t":"2024-01-02T03:04:05Z","n":"2024-01-02T03:04:05","d":"2024-01-02","s":"x","o":{"x":1},"l":[1],"m":1,"b":true}',
        b'{"i":-2,"f":1.5,"t":"2024-01-02T03:04:05+01:00","s":"2024-01-02","o":{"y":"q"},"l":[],"m":"1","z":null,"I":1,"_offset":1,"e":[]}',
        b"nope",
        b"[]",
    ]
    proposal = survey(samples)
    assert to_columns(proposal.schema) == {
        "i": "int64",
        "f": "float64",
        "t": "timestamp",
        "n": "timestamp_ntz",
        "d": "date",
        "s": "string",
        "o": "struct<x: int64, y: string>",
        "l": "array<int64>",
        "b": "boolean",
    }
    assert set(proposal.left_out) == {"m", "z", "I", "_offset", "e"}
    assert (proposal.read, proposal.refused) == (2, {"not_json": 1, "not_an_object": 1})
    assert propose(samples) == proposal.schema


def test_numbers_that_no_type_takes_exactly_are_left_out() -> None:
    """Integers beyond int64 would be rounded as floats, so no column is proposed for them."""
    assert survey([b'{"a":123456789012345678901}']).left_out.keys() == {"a"}


def test_objects_with_data_in_their_names_are_left_out() -> None:
    """An object with hundreds of names is no struct."""
    wide = json.dumps({"a": {f"user{number}": 1 for number in range(500)}}).encode()
    assert survey([wide]).left_out.keys() == {"a"}


def test_a_few_bad_records_among_many_do_not_decide() -> None:
    """One text among hundreds of numbers is a bad record; among a handful, or where more differ, nobody can tell."""
    numbers = [b'{"v":1.5}'] * 99
    found = survey([*numbers, b'{"v":"a lot"}'])
    assert (to_columns(found.schema), found.odd, found.left_out) == ({"v": "float64"}, {"v": (1, 100)}, {})
    assert survey([*numbers, *[b'{"v":"a lot"}'] * 6]).left_out.keys() == {"v"}
    assert survey([b'{"v":1.5}'] * 18 + [b'{"v":"a lot"}']).left_out.keys() == {"v"}


@pytest.mark.parametrize(
    ("good", "bad", "columns"),
    [
        (b'{"v":1}', b'{"v":123456789012345678901}', {"v": "int64"}),
        (b'{"v":1}', b'{"v":0.5}', {"v": "float64"}),
        (b'{"v":"2026-01-31"}', b'{"v":"soon"}', {"v": "string"}),
        (b'{"v":{"x":1}}', b'{"v":{"x":"one"}}', {"v": "struct<x: int64>"}),
        (b'{"v":[1]}', b'{"v":["one"]}', {"v": "array<int64>"}),
    ],
)
def test_the_column_refuses_as_many_samples_as_is_said(good: bytes, bad: bytes, columns: dict[str, str]) -> None:
    """The type is the one that refuses the fewest, and those are counted, inside objects and arrays too."""
    samples = [*[good] * 60, bad, bad]
    found = survey(samples)
    assert to_columns(found.schema) == columns
    assert found.odd.get("v", (0, 62)) == (len(decode_all(found.schema, samples).rejects), 62)


def test_bad_elements_spread_over_all_samples_leave_the_column_out() -> None:
    """One bad element in twenty is few, but where every sample holds one, every record would be refused."""
    found = survey([b'{"v":[%s"one"]}' % (b"1," * 30)] * 50)
    assert (found.schema.names, found.left_out.keys()) == ([], {"v"})


def test_names_that_no_column_can_have_are_left_out() -> None:
    """A control character in a name would end it for some readers."""
    assert survey([b'{"a\\u0000b":1,"c":1}']).schema.names == ["c"]
