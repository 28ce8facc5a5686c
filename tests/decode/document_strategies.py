"""Hypothesis strategies for schemas and for documents that fit them more or less."""

from __future__ import annotations

import json

import pyarrow as pa
from hypothesis import strategies as st

SIMPLE = ["string", "binary", "boolean", "int8", "int16", "int32", "int64", "float32", "float64", "date", "timestamp", "timestamp_ntz"]

_NUMBERS = [
    *["0", "-0", "1", "-1", "127", "128", "-128", "-129", "32767", "32768", "2147483648", "9223372036854775807", "9223372036854775808"],
    *["-9223372036854775808", "-9223372036854775809", "16777217", "9007199254740993", "1.0", "1.5", "-0.0", "0.1", "1e2", "1e-2", "1E+5"],
    *["1e308", "1e309", "1e400", "1e-400", "3.5e38", "1e37", "1e38", "0e400", "1234.5", "99.99", "100.005", "1" * 38, "1" * 39, "01", "+1"],
    *["1e99999999999999999999", "1e-99999999999999999999", "0e99999999999999999999", "1" + "0" * 50 + "e-49", "1." + "0" * 50],
    *["1.", ".5", "-", "NaN", "Infinity", "-Infinity", "Inf", "1_0"],
]
_STRINGS = [
    *[
        '""',
        '"a"',
        '"é"',
        '"\\u00e9"',
        '"\\ud83d\\ude00"',
        '"\\ud800"',
        '"\\udc00x"',
        '"\\u0000"',
        '"YQ=="',
        '"YQ"',
        '"YR=="',
        '"2024-02-29"',
    ],
    *[
        '"2023-02-29"',
        '"2024-01-02T03:04:05Z"',
        '"2024-01-02T03:04:05"',
        '"2024-01-02T03:04:05.123456789Z"',
        '"2024-01-02T03:04:05.1234560Z"',
    ],
    *[
        '"2024-01-02 03:04:05Z"',
        '"0001-01-01T00:00:00+00:01"',
        '"2024-01-02T03:04:05+02:00"',
        '"2024-01-02T03:04Z"',
        '"1.5"',
        '"+.5"',
        '"1."',
    ],
    *['"1e5"', '"NaN"', '"\\x"', '"a\nb"', '"', "'a'", '"}\\n{"', '"2024-01-02T03:04:05.5"'],
]
_OTHERS = ["null", "true", "false", "[]", "{}", "[1]", '{"z":1}', "", "nul", "TRUE", "[", "}", "}\n{", '}\n{"v":{']
TOKENS = [*_NUMBERS, *_STRINGS, *_OTHERS]


def _number_texts() -> st.SearchStrategy[str]:
    integers = st.integers(-(10**40), 10**40).map(str)
    small = st.integers(-200, 200).map(str)
    floats = st.floats(allow_nan=False, allow_infinity=False).map(repr)
    decimals = st.decimals(-(10**6), 10**6, places=3, allow_nan=False).map(str)
    shapes = st.from_regex(r"-?(0|[1-9][0-9]{0,45})(\.[0-9]{1,45})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
    return small | integers | floats | decimals | shapes


def _moments() -> st.SearchStrategy[str]:
    times = st.datetimes().map(lambda moment: moment.isoformat())
    return st.tuples(times, st.sampled_from(["", "Z", "+00:00", "-05:30", "000Z", "z"])).map(lambda parts: json.dumps("".join(parts)))


def value_texts(kind: pa.DataType) -> st.SearchStrategy[str]:
    """JSON texts that mostly fit the type."""
    if pa.types.is_struct(kind):
        fitting: st.SearchStrategy[str] = object_texts(list(kind))
    elif pa.types.is_list(kind):
        fitting = st.lists(value_texts(kind.value_type), max_size=3).map(lambda items: "[" + ",".join(items) + "]")
    elif pa.types.is_map(kind):
        names = st.sampled_from(['"x"', '"y"', '"\\u0078"', '""'])
        pairs = st.lists(st.tuples(names, value_texts(kind.item_type)), max_size=3)
        fitting = pairs.map(lambda items: "{" + ",".join(f"{name}:{value}" for name, value in items) + "}")
    elif kind == pa.bool_():
        fitting = st.sampled_from(["true", "false"])
    elif pa.types.is_temporal(kind):
        fitting = st.dates().map(lambda day: json.dumps(day.isoformat())) if kind == pa.date32() else _moments()
    elif kind in {pa.string(), pa.binary()}:
        fitting = st.text(max_size=8).map(json.dumps) | st.text(st.characters(codec="utf-8"), max_size=8).map(_unescaped)
    else:
        fitting = _number_texts()
    return st.integers(0, 9).flatmap(lambda dice: fitting if dice < 8 else st.sampled_from(TOKENS))


def _unescaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def object_texts(fields: list[pa.Field]) -> st.SearchStrategy[str]:
    """Objects with most of these fields, in any order, sometimes twice, sometimes with others."""
    named = [st.tuples(st.just(json.dumps(field.name)), value_texts(field.type)) for field in fields]
    odd = st.tuples(st.sampled_from(['"z"', '"A"', '"\\u0061"', '"v"']), st.sampled_from(TOKENS))

    def chosen(dice: int) -> st.SearchStrategy[list[tuple[str, str]]]:
        if dice < 7:
            return st.tuples(*named).map(list)
        return st.lists(st.one_of(*named, odd), max_size=len(fields) + 2)

    pairs = st.integers(0, 9).flatmap(chosen)
    spaces = st.sampled_from(["", "", "", " ", "\n", "\r\n\t"])
    return st.tuples(pairs, spaces).map(
        lambda parts: "{" + ("," + parts[1]).join(f"{name}:{parts[1]}{value}" for name, value in parts[0]) + parts[1] + "}"
    )


def type_texts() -> st.SearchStrategy[str]:
    """Types as `[decode.columns]` writes them."""
    decimals = st.integers(1, 38).flatmap(lambda p: st.integers(0, p).map(lambda s: f"decimal({p},{s})"))
    simple = st.sampled_from(SIMPLE) | decimals
    null = st.sampled_from(["", "", " not null"])

    def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        part = st.tuples(inner, null).map("".join)
        arrays = part.map(lambda text: f"array<{text}>")
        maps = part.map(lambda text: f"map<string,{text}>")
        structs = st.lists(part, min_size=1, max_size=3).map(
            lambda texts: "struct<" + ",".join(f"f{index}: {text}" for index, text in enumerate(texts)) + ">"
        )
        return arrays | structs | structs | arrays | maps

    return st.tuples(st.recursive(simple, nested, max_leaves=4), null).map("".join)


def columns() -> st.SearchStrategy[dict[str, str]]:
    """`[decode.columns]` of one to four columns."""
    return st.dictionaries(st.sampled_from(["a", "b", "c", "d é", "e.f"]), type_texts(), min_size=1, max_size=4)
