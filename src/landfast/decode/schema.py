"""Column types as text and as Arrow types: what `[decode.columns]` may say, and which columns a table may have.

    string  binary  boolean  int8  int16  int32  int64  float32  float64  decimal(p,s)  date  timestamp  timestamp_ntz
    array<T>  struct<name: T, ...>  map<string, T>

Each may be followed by `not null`, inside arrays, structs and maps too. `timestamp` is a point in time (microseconds, UTC);
`timestamp_ntz` is a wall-clock reading without a zone. A struct field whose name holds other characters is put in back-quotes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from landfast.errors import Misconfigured

RESCUED = "_rescued"
"""The column that keeps the fields no column was made for, as the text of a JSON object."""

SYSTEM_COLUMNS = ("_topic", "_partition", "_offset", "_timestamp")
"""Appended by the sink to every row."""

_PLACE = "decode.columns"
NESTING_MAX = 32
DECIMAL_PRECISION_MAX = 38
COLUMNS_MAX = 10_000

_SIMPLE: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "binary": pa.binary(),
    "boolean": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}
_NAMES = {kind: name for name, kind in _SIMPLE.items()}
_KNOWN = (*_SIMPLE, "decimal", "array", "struct", "map")
_ELSEWHERE = {
    "bigint": "int64",
    "bool": "boolean",
    "byte": "int8",
    "bytes": "binary",
    "datetime": "timestamp",
    "double": "float64",
    "float": "float32",
    "int": "int32",
    "integer": "int32",
    "list": "array",
    "long": "int64",
    "numeric": "decimal",
    "object": "struct",
    "real": "float32",
    "short": "int16",
    "smallint": "int16",
    "str": "string",
    "text": "string",
    "tinyint": "int8",
    "varchar": "string",
}
"""What other systems call our types: only for the hint in an error."""

_TOKEN = re.compile(r"\s*(?:`((?:[^`]|``)+)`|([<>(),:])|([^\s<>(),:`]+))")
_PLAIN_NAME = re.compile(r"[^\s<>(),:`]+")


class _Wrong(Exception):
    """The text of a type is wrong; the caller knows the column."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    quoted: bool = False


class _Parser:
    """Recursive descent over the tokens of one type."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0

    def whole(self) -> tuple[pa.DataType, bool]:
        """The type and whether it may be null; nothing may follow it."""
        kind, nullable = self._type(NESTING_MAX)
        if self._peek() is not None:
            raise _Wrong(f"unexpected {self._peek()!r} after the type")
        return kind, nullable

    def _type(self, depth: int) -> tuple[pa.DataType, bool]:
        if depth == 0:
            raise _Wrong(f"nested deeper than {NESTING_MAX}")
        name = self._word("a type")
        kind = self._parametrized(name, depth) if name in {"decimal", "array", "struct", "map"} else _simple(name)
        return kind, self._nullable()

    def _nullable(self) -> bool:
        if self._peek() != "not":
            return True
        self._next += 1
        self._expect("null")
        return False

    def _parametrized(self, name: str, depth: int) -> pa.DataType:
        if name == "decimal":
            return self._decimal()
        self._expect("<")
        if name == "struct":
            kind: pa.DataType = self._struct(depth)
        elif name == "array":
            element, nullable = self._type(depth - 1)
            kind = pa.list_(pa.field("element", element, nullable))
        else:
            if self._word("the key type") != "string":
                raise _Wrong("the key of a map is always string")
            self._expect(",")
            value, nullable = self._type(depth - 1)
            kind = _map_of(pa.field("value", value, nullable))
        self._expect(">")
        return kind

    def _decimal(self) -> pa.DataType:
        self._expect("(")
        precision = self._number()
        self._expect(",")
        scale = self._number()
        self._expect(")")
        if not 1 <= precision <= DECIMAL_PRECISION_MAX or scale > precision:
            raise _Wrong(f"decimal(p,s) needs 1 <= p <= {DECIMAL_PRECISION_MAX} and 0 <= s <= p")
        return pa.decimal128(precision, scale)

    def _struct(self, depth: int) -> pa.StructType:
        fields: list[pa.Field[Any]] = []
        while True:
            name = self._word("a field name", quoted=True)
            self._expect(":")
            kind, nullable = self._type(depth - 1)
            fields.append(pa.field(name, kind, nullable))
            if self._peek() != ",":
                break
            self._next += 1
        twin = _twins([field.name for field in fields])
        if twin:
            raise _Wrong(f"the struct has two fields that differ at most by case: {twin}")
        return pa.struct(fields)

    def _peek(self) -> str | None:
        return self._tokens[self._next].text if self._next < len(self._tokens) else None

    def _expect(self, text: str) -> None:
        found = self._peek()
        if found != text or self._tokens[self._next].quoted:
            raise _Wrong(f"expected {text!r}, found {'the end' if found is None else repr(found)}")
        self._next += 1

    def _word(self, what: str, *, quoted: bool = False) -> str:
        found = self._peek()
        if found is None or (found in "<>(),:" and not self._tokens[self._next].quoted):
            raise _Wrong(f"expected {what}, found {'the end' if found is None else repr(found)}")
        if self._tokens[self._next].quoted and not quoted:
            raise _Wrong(f"expected {what}, found a quoted name")
        self._next += 1
        return found

    def _number(self) -> int:
        text = self._word("a number")
        if not re.fullmatch(r"[0-9]{1,3}", text):
            raise _Wrong(f"expected a number, found {text!r}")
        return int(text)


def _map_of(value: Any) -> pa.DataType:
    key: Any = pa.field("key", pa.string(), nullable=False)
    return pa.map_(key, value)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    end = len(text.rstrip())
    at = 0
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise _Wrong(f"cannot be read from character {at + 1} on")
        quoted, mark, word = match.groups()
        tokens.append(_Token(quoted.replace("``", "`"), quoted=True) if quoted is not None else _Token(mark or word))
        at = match.end()
    return tokens


def _simple(name: str) -> pa.DataType:
    kind = _SIMPLE.get(name)
    if kind is not None:
        return kind
    near = _ELSEWHERE.get(name.lower()) or next(iter(difflib.get_close_matches(name.lower(), _KNOWN, n=1, cutoff=0.5)), None)
    hint = f"; did you mean {near}?" if near else f"; known types: {', '.join(_KNOWN)}"
    raise _Wrong(f"there is no type {name!r}{hint}")


def _twins(names: list[str]) -> str:
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            return f"{seen[name.lower()]!r} and {name!r}"
        seen[name.lower()] = name
    return ""


def _misconfigured(message: str) -> Misconfigured:
    return Misconfigured("SCHEMA_INVALID", message, next_step="Correct the column in the settings.")


def _name_faults(names: list[str], place: str) -> list[str]:
    """What is wrong with the names of columns, each fault with its place; none where all is well."""
    if not names:
        return [f"{place}: there are no columns"]
    if len(names) > COLUMNS_MAX:
        return [f"{place}: there are {len(names)} columns, and at most {COLUMNS_MAX} can be"]
    faults = [f"{place}: a column has an empty name" for name in names if not name.strip()]
    faults += [
        f"{place}.{name}: Landfast adds a column of this name itself" for name in names if name.lower() in {*SYSTEM_COLUMNS, RESCUED}
    ]
    twin = _twins(names)
    return [*faults, f"{place}: the columns {twin} differ at most by case, and no table can tell them apart"] if twin else faults


def _refuse(faults: list[str]) -> None:
    if faults:
        raise _misconfigured(faults[0] if len(faults) == 1 else f"{len(faults)} faults\n" + "\n".join(f"  {fault}" for fault in faults))


def parse_columns(columns: Mapping[str, str]) -> pa.Schema:
    """The schema that `[decode.columns]` describes.

    Raises:
        Misconfigured: SCHEMA_INVALID, naming every column that is wrong, and for a type the nearest known one.
    """
    faults = _name_faults(list(columns), _PLACE)
    fields: list[pa.Field[Any]] = []
    for name, text in columns.items():
        try:
            kind, nullable = _Parser(text).whole()
        except _Wrong as wrong:
            faults.append(f"{_PLACE}.{name}: {wrong}")
            continue
        try:
            fields.append(pa.field(name, kind, nullable))
        except UnicodeEncodeError:
            faults.append(f"{_PLACE}: the name {name!r} is no text that UTF-8 can write")
    _refuse(faults)
    return pa.schema(fields)


def to_text(kind: pa.DataType) -> str:
    """The inverse of `parse_columns` for one type, without the outermost `not null`.

    Raises:
        Misconfigured: SCHEMA_INVALID, for an Arrow type that has no text.
    """
    name = _NAMES.get(kind)
    if name is not None:
        return name
    if pa.types.is_decimal128(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_list(kind):
        return f"array<{_field_text(kind.value_field)}>"
    if pa.types.is_map(kind):
        return f"map<{to_text(kind.key_type)}, {_field_text(kind.item_field)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{_quoted(field.name)}: {_field_text(field)}' for field in kind)}>"
    raise _misconfigured(f"the Arrow type {kind} is not supported")


def to_columns(schema: pa.Schema) -> dict[str, str]:
    """The inverse of `parse_columns`."""
    return {field.name: _field_text(field) for field in schema}


def _field_text(field: pa.Field[Any]) -> str:
    return to_text(field.type) + ("" if field.nullable else " not null")


def _quoted(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else "`" + name.replace("`", "``") + "`"


def from_arrow(schema: pa.Schema) -> pa.Schema:
    """The data columns of a table's schema: without the system columns and `_rescued`, in the types that decoding uses.

    Raises:
        Misconfigured: SCHEMA_INVALID, naming the column whose type is not supported.
    """
    fields: list[pa.Field[Any]] = []
    for field in schema:
        if field.name in {*SYSTEM_COLUMNS, RESCUED}:
            continue
        try:
            fields.append(_data_field(field, NESTING_MAX))
        except _Wrong as wrong:
            raise _misconfigured(f"column {field.name} of the table: {wrong}") from wrong
    _refuse(_name_faults([field.name for field in fields], "the table"))
    return pa.schema(fields)


def _data_field(field: pa.Field[Any], depth: int, name: str | None = None) -> pa.Field[Any]:
    return pa.field(name or field.name, _data_type(field.type, depth), field.nullable)


def _data_type(kind: pa.DataType, depth: int) -> pa.DataType:
    if depth == 0:
        raise _Wrong(f"nested deeper than {NESTING_MAX}")
    same: pa.DataType | None = None
    if kind in _NAMES or pa.types.is_decimal128(kind):
        same = kind
    elif pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        same = pa.string()
    elif pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        same = pa.binary()
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        same = pa.list_(_data_field(kind.value_field, depth - 1, "element"))
    elif pa.types.is_map(kind) and _data_type(kind.key_type, depth - 1) == pa.string():
        same = _map_of(_data_field(kind.item_field, depth - 1, "value"))
    elif pa.types.is_struct(kind):
        same = pa.struct([_data_field(field, depth - 1) for field in kind])
    if same is None:
        raise _Wrong(f"the type {kind} is not supported")
    return same
