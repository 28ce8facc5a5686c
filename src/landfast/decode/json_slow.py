"""One JSON record at a time: slow, exact, and the source of every refusal's reason.

Whatever a faster path accepts, this path accepts with the same row; whatever this path refuses, no path accepts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import pyarrow as pa

from landfast.decode.json_rules import Convert, JsonLimits, Number, Refused, kind_of, scalar

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_STRUCTURE = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_STRING_OR_PART = re.compile(_STRING + rb"|[,\[{]", re.DOTALL)
_WHERE = re.compile(r"(?: starting)? at$|: .*", re.DOTALL)
_SHOWN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_QUOTE = ord('"')
_BYTE_ORDER_MARK = "\ufeff"

Rescued = dict[str, Any]
"""Path of an unknown field -> its parsed value."""


class Reference:
    """The rules applied to single records of one schema. Safe to share between threads.

    A value that does not fit one of the columns in `guessed` is no fault of its record: it is kept among the unknown fields.
    """

    def __init__(self, schema: pa.Schema, *, refuse_unknown: bool, limits: JsonLimits, guessed: AbstractSet[str] = frozenset()) -> None:
        self._limits = limits
        self._refuse_unknown = refuse_unknown
        self._columns = _columns(list(schema), "", guessed)
        self._names = frozenset(schema.names)

    def row(self, value: bytes) -> tuple[list[Any], str | None]:
        """The values of one record in column order, as `pyarrow.array` takes them, and the text of its unknown fields.

        Raises:
            Refused: with the reason.
        """
        document = parse(value, self._limits)
        rescued: Rescued = {}
        row = _cells(document, self._columns, self._names, "", rescued)
        if not rescued:
            return row, None
        if self._refuse_unknown:
            raise Refused("unknown_field", f"The record has {_shown(rescued)} that no column takes.")
        return row, _object_text(rescued)


def misfits(field: pa.Field[Any], values: Iterable[Any]) -> int:
    """How many of these parsed values a column would refuse."""
    column = _Column(field, field.name)
    refused = 0
    for value in values:
        try:
            _cell(column, value, "", {})
        except Refused:
            refused += 1
    return refused


def parse(value: bytes, limits: JsonLimits) -> dict[str, Any]:
    """The object in `value`, with each number as it was written.

    Raises:
        Refused: the document itself breaks a rule, whatever the columns are.
    """
    if not value:
        raise Refused("empty_value", "The record's value is empty.")
    if len(value) > limits.record_bytes:
        raise Refused("too_large", f"The record has {len(value):,} bytes; the limit is {limits.record_bytes:,}.")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("bad_utf8", f"The record is not UTF-8 at byte {error.start}.") from None
    if has_more_parts(value, limits.parts):
        raise Refused("too_large", f"The record has more than {limits.parts:,} parts (fields and elements).")
    _check_depth(value, limits.depth)
    if text.startswith(_BYTE_ORDER_MARK):
        raise Refused("not_json", "The record begins with a byte-order mark.")
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Refused("not_json", f"The record is not JSON at character {error.pos}: {_WHERE.sub('', error.msg)}.") from None
    except RecursionError:
        raise Refused("too_deep", f"The record is nested deeper than {limits.depth}.") from None
    if type(document) is not dict:
        raise Refused("not_an_object", f"The record is {kind_of(document)}, not an object.")
    if _SURROGATE.search(text) is not None:
        _check_surrogates(document)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise Refused("duplicate_key", "An object has the same key twice.")
    return document


def _constant(_name: str) -> Any:
    raise Refused("not_finite", "The record holds NaN or Infinity.")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=_constant)


def has_more_parts(value: bytes, limit: int) -> bool:
    """Whether the text has more parts than the limit (see `JsonLimits`), in little memory: nothing is parsed for it.

    Where the text is not JSON this is only a count of marks, but the same for every path.
    """
    if len(value) <= limit or value.count(b",") + value.count(b"{") + value.count(b"[") <= limit:
        return False
    # Marks inside strings are no parts: a long text may hold any number of commas.
    parts = 0
    for match in _STRING_OR_PART.finditer(value):
        parts += value[match.start()] != _QUOTE
        if parts > limit:
            return True
    return False


def _check_depth(value: bytes, limit: int) -> None:
    """Before parsing, so that the verdict does not hang on how deep the parser's own stack happens to be."""
    if value.count(b"{") + value.count(b"[") <= limit:
        return
    depth = 0
    for match in _STRUCTURE.finditer(value):
        mark = match[0]
        if mark in {b"{", b"["}:
            depth += 1
            if depth > limit:
                raise Refused("too_deep", f"The record is nested deeper than {limit}.")
        elif mark in {b"}", b"]"}:
            depth -= 1


def _check_surrogates(part: Any) -> None:
    """Recursive; the depth of `part` is within the limit already."""
    if isinstance(part, str):
        if not part.isascii() and any("\ud800" <= character <= "\udfff" for character in part):
            raise Refused("lone_surrogate", "A string of the record holds half of a surrogate pair.")
    elif isinstance(part, dict):
        for name, value in part.items():
            _check_surrogates(name)
            _check_surrogates(value)
    elif isinstance(part, list):
        for value in part:
            _check_surrogates(value)


class _Column:
    """One field: its name, whether null is allowed, how to convert it."""

    __slots__ = ("convert", "guessed", "name", "nullable", "parts", "path")

    def __init__(self, field: pa.Field[Any], path: str, *, guessed: bool = False) -> None:
        self.guessed = guessed
        self.name = field.name
        self.path = path
        self.nullable = field.nullable
        self.parts = _Parts(field.type, path) if pa.types.is_nested(field.type) else None
        self.convert: Convert | None = None if self.parts else scalar(field.type, path)


class _Parts:
    """A type with parts: array, struct or map. Its cells may hold unknown fields, so it takes the place where to put them."""

    __slots__ = ("columns", "element", "is_list", "is_map", "names", "path")

    def __init__(self, kind: Any, path: str) -> None:
        self.path = path
        self.is_list = pa.types.is_list(kind)
        self.is_map = pa.types.is_map(kind)
        self.element: _Column | None = None
        self.columns: Sequence[_Column] = ()
        self.names: frozenset[str] = frozenset()
        if self.is_list:
            self.element = _Column(kind.value_field, f"{path}[]")
        elif self.is_map:
            self.element = _Column(kind.item_field, f"{path}{{}}")
        else:
            self.columns = _columns(list(kind), f"{path}.")
            self.names = frozenset(field.name for field in kind)

    def convert(self, value: Any, place: str, rescued: Rescued) -> Any:
        """What `pyarrow.array` takes. `place` is the path of `value` in this very record, with indices."""
        element = self.element
        if self.is_list and element is not None and isinstance(value, list):
            return [_cell(element, item, f"{place}[{index}]", rescued) for index, item in enumerate(value)]
        if self.is_list or not isinstance(value, dict):
            what = "an array" if self.is_list else "an object"
            raise Refused("wrong_type", f"Column {self.path!r} takes {what}; the record has {kind_of(value)}.")
        if element is not None:
            return [(name, _cell(element, item, f"{place}.{_quoted(name)}", rescued)) for name, item in value.items()]
        row = _cells(value, self.columns, self.names, f"{place}.", rescued)
        return dict(zip((column.name for column in self.columns), row, strict=True))


def _columns(fields: Sequence[pa.Field[Any]], prefix: str, guessed: AbstractSet[str] = frozenset()) -> tuple[_Column, ...]:
    return tuple(_Column(field, prefix + field.name, guessed=field.name in guessed) for field in fields)


_ABSENT = object()


def _cells(document: Mapping[str, Any], columns: Sequence[_Column], names: frozenset[str], prefix: str, rescued: Rescued) -> list[Any]:
    """One cell per column; what no column takes goes into `rescued`."""
    row: list[Any] = []
    found = 0
    for column in columns:
        value = document.get(column.name, _ABSENT)
        if value is _ABSENT:
            if not column.nullable:
                raise Refused("missing_field", f"Column {column.path!r} must not be null; the record has no such field.")
            row.append(None)
            continue
        found += 1
        place = prefix + _quoted(column.name) if column.parts else ""
        row.append(_guessed_cell(column, value, place, rescued) if column.guessed else _cell(column, value, place, rescued))
    if found != len(document):
        for name, value in document.items():
            if name not in names:
                rescued[prefix + _quoted(name)] = value
    return row


def _guessed_cell(column: _Column, value: Any, place: str, rescued: Rescued) -> Any:
    """Like `_cell`, but a value that does not fit is rescued whole, and the cell is null."""
    inside: Rescued = {}
    try:
        cell = _cell(column, value, place, inside)
    except Refused:
        rescued[_quoted(column.name)] = value
        return None
    rescued.update(inside)
    return cell


def _cell(column: _Column, value: Any, place: str, rescued: Rescued) -> Any:
    if value is None:
        if not column.nullable:
            raise Refused("null_field", f"Column {column.path!r} must not be null; the record has null.")
        return None
    if column.parts is not None:
        return column.parts.convert(value, place, rescued)
    return column.convert(value) if column.convert else None


def _quoted(name: str) -> str:
    """A name as part of a path: in back-quotes where it holds what a path is made of, so that no two paths are alike."""
    if name and not any(mark in name for mark in ".[]`"):
        return name
    return "`" + name.replace("`", "``") + "`"


def _shown(rescued: Rescued) -> str:
    """The first unknown field by name, if the name looks like one: a key may itself be data."""
    path = next(iter(rescued))
    shown = _SHOWN_NAME.fullmatch(path.rsplit(".", 1)[-1]) is not None and len(path) <= 256  # noqa: PLR2004 — longer is no name
    return f"a field {path!r}" if shown else "a field (its name is not shown)"


def _object_text(rescued: Rescued) -> str:
    parts: list[str] = []
    _write(rescued, parts)
    return "".join(parts)


def _write(value: Any, parts: list[str]) -> None:
    """JSON text without spaces, numbers as they were written. One call per level: the depth limit may be half the interpreter's."""
    if isinstance(value, Number):
        parts.append(str(value))
    elif isinstance(value, str):
        parts.append(_string_text(value))
    elif isinstance(value, dict):
        mark = "{"
        for name, item in value.items():
            parts.append(f"{mark}{_string_text(name)}:")
            _write(item, parts)
            mark = ","
        parts.append("}" if value else "{}")
    elif isinstance(value, list):
        mark = "["
        for item in value:
            parts.append(mark)
            _write(item, parts)
            mark = ","
        parts.append("]" if value else "[]")
    else:
        parts.append("null" if value is None else "true" if value else "false")


_string_text = json.JSONEncoder(ensure_ascii=False).encode
