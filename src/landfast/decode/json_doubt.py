"""Which records of a piece made Arrow's reader fail? A guess, so that a bad record costs itself and not its neighbours the fast path.

Only a guess: doubted records are judged by the reference, the others are read again. A wrong guess costs time, never a verdict, so
this may lean on the words of Arrow's messages and on a pattern over the raw text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_BLAMED_MAX_SHARE = 1 / 12
"""Where more records are bad than that, having the parser name one after the other costs more than judging all."""
_BLAMED_ANYWAY = 8


def blamed_max(passed: int) -> int:
    """How many records the parser may have blamed among so many without being asked in vain."""
    return _BLAMED_ANYWAY + int(passed * _BLAMED_MAX_SHARE)


_ROW = re.compile(r" in row ([0-9]+)")


def failing_row(error: Exception) -> int | None:
    """The row that Arrow's message blames, if it names one. It does for syntax and kinds, not for unknown fields and conversions."""
    match = _ROW.search(str(error))
    return None if match is None else int(match[1])


class Doubts:
    """Finds the odd records of one schema: all in one pass, whose time grows with the bytes and nothing else."""

    def __init__(self, schema: pa.Schema) -> None:
        pattern = rf"\A{_SPACE}{_object(schema)}{_SPACE}\z"
        self._well = pattern if _is_usable(pattern) else None

    def odd(self, values: Sequence[bytes]) -> set[int]:
        """Indices of the records that do not look like an object of the columns; none where the columns are too many for a pattern."""
        if self._well is None:
            return set()
        well = pc.match_substring_regex(pa.array(values, pa.binary()), self._well)
        odd: Any = pc.indices_nonzero(pc.invert(well)).to_pylist()
        return set(odd)


def _is_usable(pattern: str) -> bool:
    try:
        pc.match_substring_regex(pa.array([b""], pa.binary()), pattern)
    except pa.ArrowInvalid:
        return False
    return True


# What follows is written for RE2 over bytes: no look-around, no possessive repeats, and time that no text can blow up.
_SPACE = r"[ \t\r\n]*"
_HEX = "[0-9a-fA-F]"
_PLAIN = (
    r"[\x20\x21\x23-\x5b\x5d-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    r"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
"""A character in UTF-8 that a string may hold as it is."""
_PAIR = rf"[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}"
_ESCAPED = rf'\\(?:["\\/bfnrt]|u(?:[0-9abcefABCEF]{_HEX}{{3}}|[dD][0-7]{_HEX}{{2}}|{_PAIR}))'
_STRING = rf'"(?:{_PLAIN}|{_ESCAPED})*"'
_FRACTION = r"(?:\.[0-9]+)?"


def _object(fields: Iterable[pa.Field[Any]]) -> str:
    """An object of these fields in any order. Whether each comma is there and no field comes twice is left to the parser."""
    names: dict[str, list[str]] = {}
    for field in fields:
        names.setdefault(_value(field.type), []).extend(sorted({_text(field.name, ascii_only=True), _text(field.name, ascii_only=False)}))
    # One pattern for all columns of a type: with one for each column the time would grow with the columns.
    members = "|".join(rf'(?:{"|".join(alike)})"{_SPACE}:{_SPACE}(?:{value}|null)' for value, alike in names.items())
    return rf'\{{(?:{_SPACE},?{_SPACE}"(?:{members}))*{_SPACE}\}}'


def _text(name: str, *, ascii_only: bool) -> str:
    return re.escape(json.dumps(name, ensure_ascii=ascii_only)[1:-1])


def _value(kind: Any) -> str:
    """What Arrow's reader surely converts to this type, but for null."""
    if pa.types.is_struct(kind):
        return _object(kind)
    if pa.types.is_list(kind):
        return rf"\[(?:{_SPACE},?{_SPACE}(?:{_value(kind.value_type)}|null))*{_SPACE}\]"
    if pa.types.is_integer(kind):
        return f"-?(?:{_up_to(str((1 << (kind.bit_width - 1)) - 1))})"
    if pa.types.is_decimal(kind):
        number = _decimal(kind.precision - kind.scale, kind.scale)
        return f'(?:{number}|"{number}")'
    if pa.types.is_floating(kind):
        # At most 20 digits before the point, so that no exponent of these takes the number out of the range.
        exponents = "[0-9]{1,2}|[12][0-7][0-9]" if kind == pa.float64() else "0?[0-9]|1[0-7]"
        return rf"-?(?:0|[1-9][0-9]{{0,19}}){_FRACTION}(?:[eE](?:\+?(?:{exponents})|-[0-9]+))?"
    return "(?:true|false)" if kind == pa.bool_() else _STRING


def _decimal(whole_digits: int, scale: int) -> str:
    whole = f"(?:0|[1-9][0-9]{{0,{whole_digits - 1}}})" if whole_digits else "0"
    return f"-?{whole}" + (rf"(?:\.[0-9]{{1,{scale}}})?" if scale else "")


def _up_to(largest: str) -> str:
    """The numbers up to this one. The bound is exact to three digits: more would make long patterns for little."""
    count = len(largest)
    ways = ["0", f"[1-9][0-9]{{0,{count - 2}}}"]
    for place, digit in enumerate(largest[:3]):
        first = 0 if place else 1
        if int(digit) > first:
            ways.append(f"{largest[:place]}[{first}-{int(digit) - 1}][0-9]{{{count - place - 1}}}")
    return "|".join([*ways, largest])
