"""Many JSON records at once through Arrow's reader, and vectorised checks for what that reader lets pass.

Framing. Each record is wrapped as `{"v":…}` and the wrapped records are joined by newlines. A record cannot swallow its neighbour:
`}`, newline, `{` is never valid inside a JSON value. So a record that splits in two cannot be balanced by one that vanished, and
as many rows as records proves that each row is its record.

What Arrow's reader accepts and the rules do not, and what catches it here:
    bad UTF-8                           the whole text is checked
    NaN, Infinity, Inf, float overflow  floats must be finite
    integers rounded in float columns   floats from 2**53 (2**24) on are suspects
    loose times and dates               read as strings, matched, then cast
    decimals beyond the precision       compared with the bound, read in 256 bits where 128 would wrap around
    decimals too small for its table    such text is kept away from it (it would kill the process)
    base64                              read as strings, then decoded
    null where it is not allowed        everything is read as nullable, then nulls are counted

A row that fails such a check is a *suspect*: the caller asks the reference about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from landfast.decode.json_doubt import blamed_max, failing_row
from landfast.decode.json_rules import (
    DATE,
    EXACT_INTEGERS,
    MICROSECONDS_FIRST,
    MICROSECONDS_LAST,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    ZEROS_BEYOND_MICROSECONDS,
    JsonLimits,
    from_base64,
)
from landfast.decode.json_slow import has_more_parts
from landfast.decode.schema import DECIMAL_PRECISION_MAX

_BETWEEN = b'}\n{"v":'
_LEAD = len(b"}\n")
_TRAIL = len(b'\n{"v":')
_BLOCK_BYTES_MAX = 2**31 - 1
_REFUSALS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowCapacityError)

_EXPONENT = re.compile(rb"[eE]-0*+([0-9]*+)(?![0-9A-Za-z_-])")
_BEFORE_EXPONENT = frozenset(b"%d" % digit for digit in range(10)) | {b"."}
_HIDDEN_NUMBER = re.compile(rb"\\u00(?:2[bBdDeE]|3[0-9]|[46]5)")
"""Escapes of what numbers are written with: a decimal may stand in a string."""

Checked = tuple[Any, Any]
"""An array of the final type, and a boolean array without nulls that marks suspects, or None where there is none."""

Check = Callable[[Any], Checked]


@dataclass(frozen=True, slots=True)
class Piece:
    """Columns in schema order, one row per record, and which rows are suspects (None: not one)."""

    columns: tuple[Any, ...]
    suspects: Any


class FastReader:
    """Reads records of one schema. Safe to share between threads; releases the interpreter lock for most of its work."""

    def __init__(self, schema: pa.Schema, limits: JsonLimits) -> None:
        self._limits = limits
        self._has_decimals = any(_has_decimal(field.type) for field in schema)
        fields = [_read_field(field) for field in schema]
        wrapped = pa.schema([pa.field("v", pa.struct(fields), nullable=False)])
        self._options = pj.ParseOptions(explicit_schema=wrapped, unexpected_field_behavior="error")
        self._checks = [(_check_of(field.type), field.nullable) for field in schema]

    def read(self, values: Sequence[bytes]) -> Piece | None:
        """The records as columns, or None where at least one of them needs a closer look."""
        if self._is_too_large(values):
            return None
        joined = _BETWEEN.join([b"", *values, b""])
        if not self._is_safe(joined):
            return None
        try:
            table = self._parsed(pa.py_buffer(joined).slice(_LEAD, len(joined) - _LEAD - _TRAIL))
            return self._checked(table.column("v")) if table.num_rows == len(values) else None
        except _REFUSALS:
            return None

    def blamed(self, values: Sequence[bytes]) -> list[int]:
        """The records that Arrow may not see, or those its parser objects to, as far as its messages tell; none where they are too many."""
        joined = _BETWEEN.join([b"", *values, b""])
        if self._is_too_large(values) or not self._is_safe(joined):
            return [index for index, value in enumerate(values) if self._is_too_large([value]) or not self._is_safe(value)]
        sizes = list(accumulate(map(len, values), initial=0))
        buffer = pa.py_buffer(joined)
        blamed: list[int] = []
        first = 0
        while first < len(values) and len(blamed) <= blamed_max(first):
            at = sizes[first] + first * len(_BETWEEN) + _LEAD
            try:
                self._parsed(buffer.slice(at, len(joined) - at - _TRAIL))
                return blamed
            except _REFUSALS as error:
                row = failing_row(error)
                if row is None or first + row >= len(values):
                    return blamed
                blamed.append(first + row)
                first += row + 1
        return blamed if first >= len(values) else []

    def _is_too_large(self, values: Sequence[bytes]) -> bool:
        largest = max(map(len, values), default=0)
        if largest <= min(self._limits.record_bytes, self._limits.parts):
            return False
        return largest > self._limits.record_bytes or any(has_more_parts(value, self._limits.parts) for value in values)

    def _is_safe(self, joined: bytes) -> bool:
        """Whether Arrow may see this text at all."""
        if len(joined) > _BLOCK_BYTES_MAX or not _is_text(joined):
            return False
        return not (self._has_decimals and _may_hold_tiny_decimal(joined))

    def _parsed(self, text: Any) -> pa.Table:
        source: Any = pa.BufferReader(text)
        # One block, so that a record is never cut at a newline inside it.
        read_options = pj.ReadOptions(use_threads=False, block_size=text.size + 1)
        return pj.read_json(source, read_options=read_options, parse_options=self._options)

    def _checked(self, wrapped: Any) -> Piece | None:
        if wrapped.num_chunks != 1:
            return None
        rows = wrapped.chunk(0)
        columns: list[Any] = []
        suspects = None
        for index, (check, nullable) in enumerate(self._checks):
            column, marked = check(rows.field(index))
            if not nullable and column.null_count:
                marked = _either(marked, pc.is_null(column))
            columns.append(column)
            suspects = _either(suspects, marked)
        return Piece(tuple(columns), suspects)


def is_readable(schema: pa.Schema, depth_max: int) -> bool:
    """Whether Arrow's reader knows every type of the schema (it does not know maps), and none is nested beyond the limit."""
    return all(_is_readable(field.type, depth_max - 1) for field in schema)


def _is_readable(kind: Any, depth_max: int) -> bool:
    if pa.types.is_map(kind):
        return False
    if not pa.types.is_nested(kind):
        return True
    return depth_max > 0 and all(_is_readable(kind.field(index).type, depth_max - 1) for index in range(kind.num_fields))


def _has_decimal(kind: Any) -> bool:
    if not pa.types.is_nested(kind):
        return bool(pa.types.is_decimal(kind))
    return any(_has_decimal(kind.field(index).type) for index in range(kind.num_fields))


def _may_hold_tiny_decimal(joined: bytes) -> bool:
    """Whether a number has so many decimals, by its exponent, that Arrow's decimal parser reads outside its table of powers.

    It then answers 0, or kills the process: `1e-99999999` does. The table ends at 38; with at most 18 written decimals and an exponent
    above -20 no number gets there, and longer fractions without exponent are refused before.
    """
    if b"\\u00" in joined and _HIDDEN_NUMBER.search(joined) is not None:
        return True
    for mark in (b"e-", b"E-"):
        at = joined.find(mark)
        while at >= 0:
            match = _EXPONENT.match(joined, at)
            if match is not None and joined[at - 1 : at] in _BEFORE_EXPONENT and _is_tiny(match[1], joined[max(at - 19, 0) : at]):
                return True
            at = joined.find(mark, at + 2)
    return False


def _is_tiny(exponent: bytes, before: bytes) -> bool:
    return len(exponent) > 2 or int(exponent or b"0") >= 20 or before.isdigit()  # noqa: PLR2004 — see _may_hold_tiny_decimal


def _is_text(joined: bytes) -> bool:
    """UTF-8 without NUL, at which Arrow's parser would stop reading? As the joints are ASCII, the whole is well only if each part is."""
    if b"\x00" in joined:
        return False
    if joined.isascii():
        return True
    try:
        joined.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read_field(field: pa.Field[Any]) -> pa.Field[Any]:
    return pa.field(field.name, _read_type(field.type))


def _read_type(kind: pa.DataType) -> pa.DataType:
    """What Arrow's reader is asked for: text where its own conversion is looser than the rules."""
    if pa.types.is_struct(kind):
        return pa.struct([_read_field(field) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_read_field(kind.value_field))
    if pa.types.is_temporal(kind) or kind == pa.binary():
        return pa.string()
    if pa.types.is_decimal(kind) and kind.precision + kind.scale > DECIMAL_PRECISION_MAX:
        # Arrow's parser bounds the digits before it scales them, and wraps around silently where the result leaves 128 bits.
        return pa.decimal256(kind.precision, kind.scale)
    return kind


def _check_of(kind: pa.DataType) -> Check:
    if pa.types.is_struct(kind):
        return _struct_check(kind)
    if pa.types.is_list(kind):
        return _list_check(kind)
    if pa.types.is_timestamp(kind):
        return _timestamp_check(kind)
    if kind == pa.date32():
        return _date_check
    if kind == pa.binary():
        return _binary_check
    if pa.types.is_floating(kind):
        return _float_check(kind)
    return _decimal_check(kind) if pa.types.is_decimal(kind) else _as_it_is


def _either(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return pc.or_(one, other)


def _unless_all(good: Any) -> Any:
    """Suspects from a check that is null where the value is null; None where all is good."""
    if pc.all(good).as_py() is not False:
        return None
    return pc.fill_null(pc.invert(good), pa.scalar(False))


def _as_it_is(column: Any) -> Checked:
    return column, None


def _float_check(kind: pa.DataType) -> Check:
    bound = pa.scalar(EXACT_INTEGERS[kind], kind)

    def check(column: Any) -> Checked:
        # NaN is not less than anything, so it is a suspect too.
        return column, _unless_all(pc.less(pc.abs(column), bound))

    return check


def _decimal_check(kind: Any) -> Check:
    read = _read_type(kind)
    largest = pa.scalar(Decimal((0, (9,) * kind.precision, -kind.scale)), read)

    def check(column: Any) -> Checked:
        suspects = _unless_all(pc.less_equal(pc.abs(column), largest))
        return (column if read == kind else pc.cast(_blanked(column, suspects), kind)), suspects

    return check


def _timestamp_check(kind: Any) -> Check:
    pattern = f"^(?:{TIMESTAMP if kind.tz else TIMESTAMP_NTZ})$"
    first, last = (pa.scalar(moment, pa.int64()).cast(kind) for moment in (MICROSECONDS_FIRST, MICROSECONDS_LAST))

    def check(column: Any) -> Checked:
        suspects = _unless_all(pc.match_substring_regex(column, pattern))
        if suspects is not None:
            column = pc.replace_substring_regex(column, ZEROS_BEYOND_MICROSECONDS, r"\1", max_replacements=1)
            suspects = _unless_all(pc.match_substring_regex(column, pattern))
        times = pc.cast(_blanked(column, suspects), kind)
        outside = _unless_all(pc.and_(pc.greater_equal(times, first), pc.less_equal(times, last)))
        return times, _either(suspects, outside)

    return check


def _date_check(column: Any) -> Checked:
    suspects = _unless_all(pc.match_substring_regex(column, f"^(?:{DATE})$"))
    return pc.cast(_blanked(column, suspects), pa.date32()), suspects


def _binary_check(column: Any) -> Checked:
    decoded = [None if text is None else from_base64(text) for text in column.to_pylist()]
    result = pa.array(decoded, pa.binary())
    if result.null_count == column.null_count:
        return result, None
    return result, pc.and_(pc.is_null(result), pc.is_valid(column))


def _blanked(column: Any, suspects: Any) -> Any:
    return column if suspects is None else pc.if_else(suspects, pa.scalar(None, column.type), column)


def _struct_check(kind: Any) -> Check:
    fields = list(kind)
    checks = [_check_of(field.type) for field in fields]

    def check(column: Any) -> Checked:
        parts: list[Any] = []
        suspects = None
        for index, (field, part_check) in enumerate(zip(fields, checks, strict=True)):
            part, marked = part_check(column.field(index))
            if not field.nullable and part.null_count > column.null_count:
                marked = _either(marked, pc.and_(pc.is_null(part), pc.is_valid(column)))
            parts.append(part if field.nullable else _without_nulls(part))
            suspects = _either(suspects, marked)
        absent = column.is_null() if column.null_count else None
        return pa.StructArray.from_arrays(parts, fields=fields, mask=absent), suspects

    return check


def _without_nulls(column: Any) -> Any:
    """The same array without its null marks: where the parent is null a required part must not be, or Parquet's writer refuses it."""
    if not column.null_count:
        return column
    kind = column.type
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([column.field(index) for index in range(kind.num_fields)], fields=list(kind))
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(column.offsets, column.values, type=kind)
    return pa.Array.from_buffers(kind, len(column), [None, *column.buffers()[1:]], offset=column.offset)


def _list_check(kind: Any) -> Check:
    element_check = _check_of(kind.value_type)
    element_nullable = kind.value_field.nullable

    def check(column: Any) -> Checked:
        elements, marked = element_check(column.values)
        if not element_nullable and elements.null_count:
            marked = _either(marked, pc.is_null(elements))
        absent = column.is_null() if column.null_count else None
        lists = pa.ListArray.from_arrays(column.offsets, elements, type=kind, mask=absent)
        if marked is None:
            return lists, None
        rows = pc.list_parent_indices(column).filter(marked)
        return lists, pc.is_in(pa.array(range(len(column)), rows.type), value_set=rows)

    return check
