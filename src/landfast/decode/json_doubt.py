"""Which records of a piece made Arrow's reader fail? A guess, so that a few bad ones do not cost their neighbours the fast path.

Only a guess: doubted records are judged by the reference, the others are read again. A wrong guess costs time, never a verdict, so
this may lean on the words of Arrow's messages and on a pattern over the raw text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa

from landfast.decode.schema import RESCUED

DOUBTS_MAX_SHARE = 1 / 32
"""With more bad records than that, looking for each costs more than judging all."""


def doubts_max(values: Sequence[bytes]) -> int:
    """How many doubtful records are worth looking for."""
    return max(1, int(len(values) * DOUBTS_MAX_SHARE))


_ROW = re.compile(r" in row ([0-9]+)")


def failing_row(error: Exception) -> int | None:
    """The row that Arrow's message blames, if it names one. It does for syntax and kinds, not for unknown fields and conversions."""
    match = _ROW.search(str(error))
    return None if match is None else int(match[1])


class Doubts:
    """Finds the odd records of one schema."""

    def __init__(self, schema: pa.Schema) -> None:
        fields = list(_all_fields(schema))
        self._odd = re.compile(_odd_pattern(fields))

    def odd(self, values: Sequence[bytes]) -> set[int] | None:
        """Indices of records with a name that no column has, or a number that may not fit its column; None where they are too many."""
        text = b"\n".join(values)
        ends = list(accumulate(len(value) + 1 for value in values))
        most = doubts_max(values)
        odd: set[int] = set()
        for match in self._odd.finditer(text):
            odd.add(bisect_right(ends, match.start()))
            if len(odd) > most:
                return None
        return odd


def _all_fields(parts: Any) -> Iterator[pa.Field[Any]]:
    for field in parts:
        yield field
        if pa.types.is_nested(field.type):
            yield from _all_fields([field.type.field(index) for index in range(field.type.num_fields)])


def _odd_pattern(fields: Sequence[pa.Field[Any]]) -> bytes:
    """A name in quotes that is unknown, or one whose number is longer than is surely safe."""
    names = sorted({field.name for field in fields} - {RESCUED}, key=len, reverse=True)
    known = "|".join(map(re.escape, names))
    numbers = [rf"{re.escape(field.name)}\"\s*+:\s*+(?!{safe})" for field in fields if (safe := _safe_number(field.type))]
    unknown = rf"(?!(?:{known})\")[^\"\\]*\"\s*:"
    return rf"[{{,]\s*+\"(?:{'|'.join([*numbers, unknown])})".encode()


def _safe_number(kind: Any) -> str:
    if pa.types.is_integer(kind):
        text = f"-?[0-9]{{1,{len(str(1 << (kind.bit_width - 1))) - 1}}}"
    elif pa.types.is_decimal(kind):
        decimals = f"(?:\\.[0-9]{{1,{kind.scale}}})?" if kind.scale else ""
        text = f'"?-?[0-9]{{1,{max(kind.precision - kind.scale, 1)}}}{decimals}"?'
    else:
        return ""
    return rf"(?:{text}|null)\s*[,}}\]]"
