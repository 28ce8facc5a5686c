"""Columns guessed from sampled JSON records: what `landfast init` writes down for a person to check.

A guess is careful. A field is proposed only with a type that takes every value seen, strictly: a field that is sometimes text and
sometimes a number, or never more than null, is left out, with the reason, and lands in `_rescued` as it is. Only where all but a few
of many records agree are those few taken for bad ones. Texts that are nearly all dates stay texts, which take them all. Nothing is
proposed as `not null`: samples cannot show that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import pyarrow as pa

from landfast.decode.json_rules import JsonLimits, Number, Refused, kind_of
from landfast.decode.json_slow import misfits, parse
from landfast.decode.schema import NESTING_MAX, RESCUED, SYSTEM_COLUMNS

STRUCT_FIELDS_MAX = 200
"""An object with more names than that holds data in its names; as a struct it would grow for ever."""

AGREEING_SHARE_MIN = 0.95
AGREEING_SAMPLES_MIN = 20
"""From so many samples on, a share of so many decides what a field is: the rest are bad records, which dead letters are for."""

_CANDIDATES = {
    bool: (pa.bool_(),),
    Number: (pa.int64(), pa.float64()),
    str: (pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.date32(), pa.string()),
}
"""Per kind of value the types to try, the narrowest first."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """`schema` may be empty. `left_out`: path -> why. `read` records were understood, `refused` were not (reason -> count).

    `odd`: column -> how many samples it refuses, of how many that have the field; only where there are some.
    """

    schema: pa.Schema
    left_out: Mapping[str, str]
    read: int
    refused: Mapping[str, int]
    odd: Mapping[str, tuple[int, int]]


class _LeftOut(Exception):
    """No type takes all values of a field."""


def propose(samples: Sequence[bytes]) -> pa.Schema:
    """The columns that fit the samples; `survey` also says what was left out."""
    return survey(samples).schema


def survey(samples: Sequence[bytes], limits: JsonLimits | None = None) -> Proposal:
    """The columns that fit the samples, what was left out, and how many samples could be read. Never raises for bad input."""
    documents: list[dict[str, Any]] = []
    refused: dict[str, int] = {}
    for sample in samples:
        try:
            documents.append(parse(sample, limits or JsonLimits()))
        except Refused as refusal:
            refused[refusal.reason] = refused.get(refusal.reason, 0) + 1
    left_out: dict[str, str] = {}
    fields: list[pa.Field[Any]] = []
    odd: dict[str, tuple[int, int]] = {}
    for field in _fields(documents, "", left_out, NESTING_MAX, {*SYSTEM_COLUMNS, RESCUED}):
        unfit, seen = _odd(field, documents)
        # Nested parts are guessed one by one: all together may refuse more than each alone.
        if not _agree(seen - unfit, seen):
            left_out[field.name] = f"{unfit:,} of {seen:,} samples would not fit"
            continue
        fields.append(field)
        if unfit:
            odd[field.name] = (unfit, seen)
    return Proposal(pa.schema(fields), left_out, len(documents), refused, odd)


def _odd(field: pa.Field[Any], documents: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """How many values of a field its column would refuse, and how many values there are."""
    values = [value for document in documents if (value := document.get(field.name)) is not None]
    return misfits(field, values), len(values)


def _agree(agreeing: int, seen: int) -> bool:
    """Whether the values that agree say what the field is, so that the others are bad records."""
    return agreeing == seen or (seen >= AGREEING_SAMPLES_MIN and agreeing >= AGREEING_SHARE_MIN * seen)


def _fields(documents: Sequence[dict[str, Any]], prefix: str, left_out: dict[str, str], depth: int, taken: set[str]) -> list[pa.Field[Any]]:
    """One field per name that has a type, in the order of first sight. `taken` holds lower-case names that are not free."""
    values: dict[str, list[Any]] = {}
    for document in documents:
        for name, value in document.items():
            values.setdefault(name, []).append(value)
    taken = set(taken)
    fields: list[pa.Field[Any]] = []
    for name, seen in values.items():
        path = prefix + name
        if not name.strip() or name.lower() in taken or not name.isprintable():
            left_out[path] = "the name is empty, reserved, not printable, or differs from another only by case"
            continue
        try:
            fields.append(pa.field(name, _type(seen, path, left_out, depth)))
            taken.add(name.lower())
        except _LeftOut as reason:
            left_out[path] = str(reason)
    return fields


def _type(values: Sequence[Any], path: str, left_out: dict[str, str], depth: int) -> pa.DataType:
    present = [value for value in values if value is not None]
    if not present:
        raise _LeftOut("only null was seen")
    kinds = Counter(map(kind_of, present))
    usual, agreeing = kinds.most_common(1)[0]
    if not _agree(agreeing, len(present)):
        raise _LeftOut(f"the samples differ: {', '.join(sorted(kinds))}")
    if depth == 0:
        raise _LeftOut("it is nested too deep")
    present = [value for value in present if kind_of(value) == usual]
    first = present[0]
    if isinstance(first, list):
        elements = [element for value in present for element in value]
        return pa.list_(pa.field("element", _type(elements, f"{path}[]", left_out, depth - 1)))
    if isinstance(first, dict):
        fields = _fields(present, f"{path}.", left_out, depth - 1, set())
        if not fields or len(fields) > STRUCT_FIELDS_MAX:
            raise _LeftOut("the object has no fields with a type, or too many names")
        return pa.struct(fields)
    # The narrowest of those that refuse the fewest.
    unfit, kind = min(((misfits(pa.field("", kind), present), kind) for kind in _CANDIDATES[type(first)]), key=itemgetter(0))
    if not _agree(len(present) - unfit, len(present)):
        raise _LeftOut("no type takes all of the numbers exactly")
    return kind
