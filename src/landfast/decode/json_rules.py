"""What a JSON document may say for each column type: the one place that states the rules, and their reference implementation.

    string         a string; no lone surrogate
    binary         a string in base64 (RFC 4648: standard alphabet, padded, canonical)
    boolean        true or false
    int8 to int64  a number without fraction or exponent, in range
    float64        a number; its value is the nearest double. An integer must be exact (9007199254740993 is not); overflow is refused
    float32        as float64, with the nearest single
    decimal(p,s)   a number, or a string that holds a decimal number; exact within p digits and s decimals
    date           a string `YYYY-MM-DD`, years 0001 to 9999
    timestamp      a string `YYYY-MM-DDThh:mm:ss[.fraction](Z|+hh:mm|-hh:mm)`, years 0001 to 9999 in UTC; decimals beyond the
                   sixth must be zero; no leap second
    timestamp_ntz  the same without zone
    array<T>       an array
    struct<…>      an object
    map<string,T>  an object
    any nullable   null; an absent field is null

A document is one object in UTF-8 without a byte-order mark, each key once in its object, no NaN and no Infinity anywhere, also in
fields that no column takes. Names match exactly, case and all.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from landfast.decode.schema import to_text

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "bad_base64": "A binary column holds a string that is not canonical base64.",
        "bad_date": "A date column holds a string that is not a day written as YYYY-MM-DD.",
        "bad_decimal": "A decimal column holds text that is not a decimal number, or has more decimals than the column keeps.",
        "bad_timestamp": "A timestamp column holds a string that is not a time of the required form, with or without zone.",
        "bad_utf8": "The record is not valid UTF-8.",
        "duplicate_key": "An object has the same key twice, so one of the two values would be lost.",
        "empty_value": "The record's value is empty.",
        "inexact": "A float column holds an integer that the type cannot represent exactly.",
        "lone_surrogate": "A string holds half of a surrogate pair, which is no character.",
        "missing_field": "A field that must not be null is absent.",
        "not_an_object": "The record is JSON but not an object.",
        "not_finite": "The record holds NaN or Infinity, which JSON does not have.",
        "not_json": "The record is not JSON.",
        "null_field": "A field that must not be null is null.",
        "out_of_range": "A number or a time lies beyond the range of its column.",
        "too_deep": "The record is nested deeper than the limit.",
        "too_large": "The record has more bytes, or more fields and elements, than the limit.",
        "tombstone": "The record has no value (null), and tombstones are refused.",
        "unknown_field": "The record has a field that no column takes, and unknown fields are refused.",
        "wrong_type": "A field holds another kind of value than its column takes.",
    }
)
"""Every reason a decoder gives for refusing a record, with what it means."""


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """What one record may cost. `depth` counts nested objects and arrays, the record itself included.

    `parts` counts commas, opening braces and opening brackets outside strings, at least one for each field and element: a parsed part
    costs some hundred bytes of memory, however few it takes as text.
    """

    record_bytes: int = 64 * 1024 * 1024
    depth: int = 64
    parts: int = 200_000


class Refused(Exception):
    """A record breaks a rule. `message` names the column and the kind of value, never the value."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


class Number(str):
    """A JSON number as it was written: nothing is lost before its column is known."""

    __slots__ = ()


Convert = Callable[[Any], Any]
"""From a parsed JSON value that is not null to what `pyarrow.array` takes for the column; raises Refused."""

_YEAR = r"(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DAY_OF_YEAR = r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_ZONE = r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_FRACTION = r"(?:\.[0-9]{1,6})?"

DATE = rf"(?:{_YEAR}-{_DAY_OF_YEAR}|{_LEAP_YEAR}-02-29)"
"""Exactly the days from 0001-01-01 to 9999-12-31: whatever matches, converts."""
TIMESTAMP = rf"{DATE}T{_TIME}{_FRACTION}{_ZONE}"
TIMESTAMP_NTZ = rf"{DATE}T{_TIME}{_FRACTION}"
ZEROS_BEYOND_MICROSECONDS = r"(\.[0-9]{6})0+"

MICROSECONDS_FIRST = -62_135_596_800_000_000
MICROSECONDS_LAST = 253_402_300_799_999_999
"""0001-01-01T00:00:00 and 9999-12-31T23:59:59.999999: what Delta's readers agree on."""

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_INTEGER = re.compile(r"-?[0-9]+")
_INTEGER_DIGITS_MAX = 20
_EXPONENT_DIGITS_MAX = 18
_DATE = re.compile(DATE)
_DECIMAL = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?")
_ZEROS = re.compile(ZEROS_BEYOND_MICROSECONDS)
_DIGITS_BEYOND = re.compile(r"(\.[0-9]{6})[0-9]+")
_CLOCK = {True: re.compile(TIMESTAMP), False: re.compile(TIMESTAMP_NTZ)}
_CLOCK_WORDS = {True: "a time YYYY-MM-DDThh:mm:ss with a zone", False: "a time YYYY-MM-DDThh:mm:ss without a zone"}


def kind_of(value: object) -> str:
    """The kind of a parsed JSON value, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, Number):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def _wrong_type(path: str, expected: str, value: object) -> Refused:
    return Refused("wrong_type", f"Column {path!r} takes {expected}; the record has {kind_of(value)}.")


def _text(path: str, expected: str) -> Convert:
    def convert(value: Any) -> str:
        if type(value) is str:
            return value
        raise _wrong_type(path, expected, value)

    return convert


def _boolean(path: str) -> Convert:
    def convert(value: Any) -> bool:
        if value is True or value is False:
            return bool(value)
        raise _wrong_type(path, "true or false", value)

    return convert


def _integer(path: str, kind: pa.DataType) -> Convert:
    name = to_text(kind)
    half = 1 << (kind.bit_width - 1)

    def convert(value: Any) -> int:
        if type(value) is not Number:
            raise _wrong_type(path, name, value)
        if _INTEGER.fullmatch(value) is None:
            raise Refused("wrong_type", f"Column {path!r} takes {name}; the record has a number with a fraction or an exponent.")
        number = int(value) if len(value) <= _INTEGER_DIGITS_MAX else half
        if not -half <= number < half:
            raise Refused("out_of_range", f"Column {path!r} takes {name}; the record has an integer beyond its range.")
        return number

    return convert


def _float(path: str, kind: pa.DataType) -> Convert:
    name = to_text(kind)
    single = kind == pa.float32()

    def convert(value: Any) -> float:
        if type(value) is not Number:
            raise _wrong_type(path, name, value)
        number = float(value)
        if single and math.isfinite(number):
            # Not through the double: rounding twice can miss the nearest single.
            number = pc.cast(pa.scalar(str(value)), kind).as_py()
        if not math.isfinite(number):
            raise Refused("out_of_range", f"Column {path!r} takes {name}; the record has a number beyond its range.")
        # Below 2**24 every integer is exact in both types.
        if abs(number) >= EXACT_INTEGERS[kind] and _INTEGER.fullmatch(value) and Decimal(value) != Decimal(number):
            raise Refused("inexact", f"Column {path!r} takes {name}; the record has an integer that it cannot represent exactly.")
        return number

    return convert


EXACT_INTEGERS: Mapping[pa.DataType, float] = MappingProxyType({pa.float32(): 2.0**24, pa.float64(): 2.0**53})
"""Below this, each integer has its own float; from here on, an integer may have been rounded."""


def _decimal(path: str, kind: Any) -> Convert:
    name = to_text(kind)

    def convert(value: Any) -> Decimal:
        if not isinstance(value, str):
            raise _wrong_type(path, name, value)
        match = _DECIMAL.fullmatch(value)
        if match is None:
            raise Refused("bad_decimal", f"Column {path!r} takes {name}; the record has a string that is no decimal number.")
        # By hand: `decimal` raises for exponents beyond its own limits, and its context could round.
        sign, whole, fraction, power = match.groups(default="")
        digits = (whole + fraction).lstrip("0")
        if not digits:
            return Decimal(0)
        kept = digits.rstrip("0")
        exponent = _exponent(power) - len(fraction) + len(digits) - len(kept)
        if len(kept) + exponent > kind.precision - kind.scale:
            raise Refused("out_of_range", f"Column {path!r} takes {name}; the record has a number beyond its range.")
        if exponent < -kind.scale:
            raise Refused("bad_decimal", f"Column {path!r} takes {name}; the record has a number with more decimals.")
        return Decimal(f"{sign}{kept}e{exponent}")

    return convert


def _exponent(power: str) -> int:
    """The exponent, held to what no record is long enough to balance."""
    digits = power.lstrip("+-").lstrip("0")
    size = int(digits or "0") if len(digits) <= _EXPONENT_DIGITS_MAX else 10**_EXPONENT_DIGITS_MAX
    return -size if power.startswith("-") else size


def _binary(path: str) -> Convert:
    text = _text(path, "a string in base64")

    def convert(value: Any) -> bytes:
        decoded = from_base64(text(value))
        if decoded is None:
            raise Refused("bad_base64", f"Column {path!r} takes base64; the record has a string that is not canonical base64.")
        return decoded

    return convert


def from_base64(text: str) -> bytes | None:
    """The bytes of canonical base64, or None: what decodes and encodes back to the very same text."""
    try:
        decoded = binascii.a2b_base64(text)
    except ValueError:
        return None
    return decoded if binascii.b2a_base64(decoded, newline=False).decode("ascii") == text else None


def _date(path: str) -> Convert:
    text = _text(path, "a string YYYY-MM-DD")

    def convert(value: Any) -> int:
        if _DATE.fullmatch(text(value)) is None:
            raise Refused("bad_date", f"Column {path!r} takes a day YYYY-MM-DD; the record has another string.")
        return date.fromisoformat(value).toordinal() - _EPOCH_DAY

    return convert


def _timestamp(path: str, *, zoned: bool) -> Convert:
    words = _CLOCK_WORDS[zoned]
    text = _text(path, words)
    form = _CLOCK[zoned]

    def convert(value: Any) -> int:
        written = text(value)
        if form.fullmatch(written) is None:
            written = _ZEROS.sub(r"\1", written, count=1)
            if form.fullmatch(written) is None:
                raise Refused("bad_timestamp", f"Column {path!r} takes {words}; the record has {_other_time(written, zoned=zoned)}.")
        day, clock = written[:10], written[11:]
        ends_utc = clock.endswith("Z")
        offset = 0 if ends_utc or not zoned else _minutes(clock[-6:])
        clock = clock[:-1] if ends_utc else clock[:-6] if zoned else clock
        seconds = (date.fromisoformat(day).toordinal() - _EPOCH_DAY) * 86_400 + _seconds(clock) - offset * 60
        moment = seconds * 1_000_000 + int(clock[9:].ljust(6, "0"))
        if not MICROSECONDS_FIRST <= moment <= MICROSECONDS_LAST:
            raise Refused("out_of_range", f"Column {path!r} takes times of the years 0001 to 9999 in UTC.")
        return moment

    return convert


def _other_time(written: str, *, zoned: bool) -> str:
    """What is not the time that was wanted, as exactly as can be said without showing it."""
    if _CLOCK[not zoned].fullmatch(written):
        return "one without a zone" if zoned else "one with a zone"
    if _CLOCK[zoned].fullmatch(_DIGITS_BEYOND.sub(r"\1", written, count=1)):
        return "one finer than microseconds"
    return "another string"


def _minutes(zone: str) -> int:
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return -minutes if zone[0] == "-" else minutes


def _seconds(clock: str) -> int:
    return int(clock[0:2]) * 3600 + int(clock[3:5]) * 60 + int(clock[6:8])


def scalar(kind: pa.DataType, path: str) -> Convert:
    """The conversion for a type that has no parts."""
    if kind == pa.string():
        return _text(path, "a string")
    if kind == pa.binary():
        return _binary(path)
    if kind == pa.bool_():
        return _boolean(path)
    if kind == pa.date32():
        return _date(path)
    if pa.types.is_timestamp(kind):
        return _timestamp(path, zoned=kind.tz is not None)
    if pa.types.is_decimal(kind):
        return _decimal(path, kind)
    return _integer(path, kind) if pa.types.is_integer(kind) else _float(path, kind)
