"""Columns guessed from sampled JSON records: what `landfast init` writes down for a person to check.

A guess is careful. A field is proposed only with a type that takes every value seen, strictly: a field that is sometimes text and
sometimes a number, or never more than null, is left out, with the reason, and lands in `_rescued` as it is. Only where all but a few
of many records agree are those few taken for bad ones. Nothing is proposed as `not null`: samples cannot show that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from landfast.decode.json_rules import JsonLimits, Number, Refused, kind_of, scalar
from landfast.decode.json_slow import parse
from landfast.decode.schema import NESTING_MAX, RESCUED, SYSTEM_COLUMNS

STRUCT_FIELDS_MAX = 200
"""An object with more names than that holds data in its names; as a struct it would grow for ever."""

AGREEING_SHARE_MIN = 0.98
AGREEING_SAMPLES_MIN = 50
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

    `odd`: column -> how many of the samples it refuses.
    """

    schema: pa.Schema
    left_out: Mapping[str, str]
    read: int
    refused: Mapping[str, int]
    odd: Mapping[str, int] = field(default_factory=dict)


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
    kept, odd = _without_the_odd(documents)
    fields = _fields(kept, "", left_out, NESTING_MAX, {*SYSTEM_COLUMNS, RESCUED})
    return Proposal(pa.schema(fields), left_out, len(documents), refused, odd)


def _without_the_odd(documents: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The documents less those values at the top that are of another kind than nearly all others of their name, and their counts."""
    kinds: dict[str, Counter[str]] = {}
    for document in documents:
        for name, value in document.items():
            if value is not None:
                kinds.setdefault(name, Counter())[kind_of(value)] += 1
    usual = {name: counts.most_common(1)[0] for name, counts in kinds.items() if len(counts) > 1}
    odd: dict[str, int] = {}
    for name, (_, agreeing) in usual.items():
        seen = kinds[name].total()
        if seen >= AGREEING_SAMPLES_MIN and agreeing >= AGREEING_SHARE_MIN * seen:
            odd[name] = seen - agreeing
    kept = [
        {name: value for name, value in document.items() if name not in odd or value is None or kind_of(value) == usual[name][0]}
        for document in documents
    ]
    return kept, odd


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
        if not name.strip() or name.lower() in taken:
            left_out[path] = "the name is empty, reserved, or differs from another only by case"
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
    kinds = {kind_of(value) for value in present}
    if len(kinds) > 1:
        raise _LeftOut(f"the samples differ: {', '.join(sorted(kinds))}")
    if depth == 0:
        raise _LeftOut("it is nested too deep")
    first = present[0]
    if isinstance(first, list):
        elements = [element for value in present for element in value]
        return pa.list_(pa.field("element", _type(elements, f"{path}[]", left_out, depth - 1)))
    if isinstance(first, dict):
        fields = _fields(present, f"{path}.", left_out, depth - 1, set())
        if not fields or len(fields) > STRUCT_FIELDS_MAX:
            raise _LeftOut("the object has no fields with a type, or too many names")
        return pa.struct(fields)
    for kind in _CANDIDATES[type(first)]:
        if all(_takes(kind, value) for value in present):
            return kind
    raise _LeftOut("no type takes all of the numbers exactly")


def _takes(kind: pa.DataType, value: Any) -> bool:
    try:
        scalar(kind, "")(value)
    except Refused:
        return False
    return True
