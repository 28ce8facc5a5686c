"""Columns as text and as Arrow types: one meaning, both ways, and a clear refusal of everything else."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from deltalake import Schema
from hypothesis import given, settings

from landfast.decode.schema import COLUMNS_MAX, NESTING_MAX, RESCUED, SYSTEM_COLUMNS, from_arrow, parse_columns, to_columns, to_text
from landfast.errors import Misconfigured
from tests.decode.document_strategies import columns


@settings(max_examples=200, deadline=None)
@given(columns())
def test_text_and_type_are_inverse(chosen: dict[str, str]) -> None:
    """A schema written as text and read again is the same schema."""
    schema = parse_columns(chosen)
    assert parse_columns(to_columns(schema)) == schema


@settings(max_examples=100, deadline=None)
@given(columns())
def test_a_table_gives_back_the_columns_it_was_made_with(chosen: dict[str, str]) -> None:
    """What Delta remembers of a schema reads back as the same data columns, with ours around them left out."""
    schema = parse_columns(chosen)
    ours = [pa.field(RESCUED, pa.string()), *(pa.field(name, pa.int64()) for name in SYSTEM_COLUMNS)]
    remembered = pa.schema(Schema.from_arrow(pa.schema([*schema, *ours])).to_arrow())
    assert from_arrow(remembered) == schema


def test_each_type_has_its_arrow_type() -> None:
    """The types of the settings are these Arrow types and no others."""
    written = {
        "string": pa.string(),
        "binary": pa.binary(),
        "boolean": pa.bool_(),
        "int8": pa.int8(),
        "int64": pa.int64(),
        "float32": pa.float32(),
        "decimal( 10 , 2 )": pa.decimal128(10, 2),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
        "timestamp_ntz": pa.timestamp("us"),
        "array<string>": pa.list_(pa.field("element", pa.string())),
        "struct<a:int8,`b c`: string not null>": pa.struct([pa.field("a", pa.int8()), pa.field("b c", pa.string(), nullable=False)]),
    }
    for text, kind in written.items():
        assert parse_columns({"c": text}).field("c").type == kind
    assert not parse_columns({"c": "string  not   null"}).field("c").nullable
    assert parse_columns({"c": "map<string, int8 not null>"}).field("c").type.item_field.nullable is False


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("strng", "string"),
        ("int", "int32"),
        ("bigint", "int64"),
        ("double", "float64"),
        ("STRING", "string"),
        ("text", "string"),
        ("float46", "float64"),
        ("arry<int8>", "array"),
        ("qqqq", "known types"),
        ("", "expected a type"),
        ("not null", "no type 'not'"),
        ("string null", "unexpected 'null'"),
        ("string not", "expected 'null'"),
        ("decimal", "expected '('"),
        ("decimal(39,0)", "38"),
        ("decimal(0,0)", "1 <= p"),
        ("decimal(5,6)", "s <= p"),
        ("decimal(5)", "expected ','"),
        ("decimal(a,b)", "expected a number"),
        ("array", "expected '<'"),
        ("array<int8", "expected '>'"),
        ("array<int8>>", "unexpected '>'"),
        ("array<>", "expected a type"),
        ("map<int8,string>", "always string"),
        ("map<string>", "expected ','"),
        ("struct<>", "expected a field name"),
        ("struct<a>", "expected ':'"),
        ("struct<a: int8, A: int8>", "differ at most by case"),
        ("struct<a: int8, a: int8>", "differ at most by case"),
        ("`string`", "quoted"),
        ("struct<`a: int8>", "cannot be read"),
        ("array<" * (NESTING_MAX + 1) + "int8" + ">" * (NESTING_MAX + 1), "nested deeper"),
        ("array<" * 100_000, "nested deeper"),
    ],
)
def test_a_wrong_type_names_the_column_and_what_is_near(text: str, hint: str) -> None:
    """A type that is none is refused with the column's name and a hint that helps."""
    with pytest.raises(Misconfigured) as raised:
        parse_columns({"fine": "string", "voltage": text})
    assert raised.value.code == "SCHEMA_INVALID"
    assert raised.value.message.startswith("decode.columns.voltage: ")
    assert not raised.value.message.endswith(".")
    assert hint in raised.value.message
    assert pickle.loads(pickle.dumps(raised.value)).message == raised.value.message  # noqa: S301 — our own bytes


def test_all_columns_that_are_wrong_are_named_at_once() -> None:
    """One round of corrections is enough."""
    with pytest.raises(Misconfigured) as raised:
        parse_columns({"a": "strng", "b": "string", "_offset": "int64", "c": "array<"})
    lines = raised.value.message.splitlines()
    assert lines[0] == "3 faults"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["decode.columns._offset", "decode.columns.a", "decode.columns.c"]


@pytest.mark.parametrize(
    "names",
    [[], [""], ["  "], ["_offset"], ["_Topic"], ["_rescued"], ["a", "A"], [f"c{number}" for number in range(COLUMNS_MAX + 1)]],
    ids=["none", "empty", "blank", "system", "system by case", "rescued", "twins", "too many"],
)
def test_d16_names_that_no_table_can_hold_are_refused(names: list[str]) -> None:
    """Empty, reserved and ambiguous names are found before the first read."""
    with pytest.raises(Misconfigured, match="SCHEMA_INVALID"):
        parse_columns(dict.fromkeys(names, "string"))


@pytest.mark.parametrize(
    "kind", [pa.uint8(), pa.float16(), pa.timestamp("ns"), pa.time64("us"), pa.map_(pa.int8(), pa.string()), pa.list_(pa.null())]
)
def test_a_table_of_other_types_is_refused(kind: pa.DataType) -> None:
    """A table column that we could not fill is named, not guessed at."""
    with pytest.raises(Misconfigured, match="odd"):
        from_arrow(pa.schema([pa.field("fine", pa.string()), pa.field("odd", kind)]))


def test_views_and_large_types_of_a_table_are_the_plain_types() -> None:
    """Arrow's other layouts of text, bytes and lists are the same columns to us."""
    kinds = {"a": pa.large_string(), "b": pa.large_binary(), "c": pa.large_list(pa.string_view()), "d": pa.binary_view()}
    assert to_columns(from_arrow(pa.schema(list(kinds.items())))) == {"a": "string", "b": "binary", "c": "array<string>", "d": "binary"}


def test_an_unsupported_type_has_no_text() -> None:
    """Only types that can be read back are written."""
    with pytest.raises(Misconfigured):
        to_text(pa.uint64())
