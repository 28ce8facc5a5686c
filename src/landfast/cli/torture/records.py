"""The records of a torture: each follows from its number, so that a judge can make it again and compare every column with it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute

Column = Any
"""An Arrow array. Its stubs do not follow what the compute functions return."""

COLUMNS = {
    "event_id": "string not null",
    "n": "int64 not null",
    "ts": "timestamp",
    "site": "string",
    "ratio": "float64",
    "ok": "boolean",
    "note": "string",
}

_BAD_RUN_EVERY, _BAD_RUN, _BAD_EVERY = 4850, 40, 1009
"""So many in a row are bad of so many, as where a producer has gone mad, and now and then a single one."""
_TOMBSTONE_EVERY = 211
_NOTE_EVERY = 5
_OK_EVERY = 13
_SITES = 7
_DAY_SECONDS = 86_400
_MIDNIGHT = 1_767_312_000_000_000  # 2026-01-02 in microseconds
_NOTE = 'Gr\u00f6\u00dfe "\\'


class Fate(enum.Enum):
    """Where a record has to end."""

    ROW = "row"
    DEAD = "dead"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Lane:
    """A partition that is produced to, with its share of the load. `hot`: there is always something to land."""

    topic: str
    partition: int
    weight: float

    @property
    def hot(self) -> bool:
        """Whether so much comes that a pause in landing is seen at once."""
        return self.weight >= 1


def lanes(topics: Sequence[str], partitions: int) -> tuple[Lane, ...]:
    """The lanes of these topics: each gets half of what the one before it gets, and the last of each topic almost nothing."""
    return tuple(
        Lane(topic, number, 0.02 if number == partitions - 1 else 8.0 / 2 ** min(index + number, 3))
        for index, topic in enumerate(topics)
        for number in range(partitions)
    )


def _is_bad(number: int) -> bool:
    return number % _BAD_RUN_EVERY < _BAD_RUN or number % _BAD_EVERY == 0


def fate_of(number: int) -> Fate:
    """Where the record of this number has to end."""
    if _is_bad(number):
        return Fate.DEAD
    return Fate.SKIP if number % _TOMBSTONE_EVERY == 1 else Fate.ROW


def fates_of(numbers: Column) -> dict[Fate, Column]:
    """The same of many numbers: for each fate, whether it is theirs."""
    dead = pc.or_(pc.less(_remainder(numbers, _BAD_RUN_EVERY), _whole(_BAD_RUN)), pc.equal(_remainder(numbers, _BAD_EVERY), _whole(0)))
    skip = pc.and_not(pc.equal(_remainder(numbers, _TOMBSTONE_EVERY), _whole(1)), dead)
    return {Fate.DEAD: dead, Fate.SKIP: skip, Fate.ROW: pc.invert(pc.or_(dead, skip))}


def value_of(number: int, seed: int) -> bytes | None:
    """The value of the record of this number; None for a tombstone."""
    if _is_bad(number):
        return _bad(number, seed)
    return None if number % _TOMBSTONE_EVERY == 1 else _good(number, seed)


def _good(number: int, seed: int) -> bytes:
    second = number // 1000 % _DAY_SECONDS
    clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{number % 1000 * 1000 + number % _SITES:06d}"
    # A field that is absent and one that is null are the same column; the text has what JSON has to escape.
    note = f',"note":"Gr\\u00f6\\u00dfe \\"\\\\{number}"' if number % _NOTE_EVERY else (',"note":null' if number % 2 else "")
    text = (
        f'{{"event_id":"{seed}-{number}","n":{number},"ts":"2026-01-02T{clock}Z","site":"hall-{number % _SITES}",'
        f'"ratio":{number * 0.1!r},"ok":{"true" if number % _OK_EVERY else "false"}{note}}}'
    )
    return text.encode()


def _bad(number: int, seed: int) -> bytes:
    """What producers really send: cut off, of the wrong type, without its key, not even text."""
    whole = _good(number, seed)
    ways = (
        whole[: len(whole) // 2],
        whole.replace(b'"n":', b'"n":"many","was":'),
        whole.replace(b'"event_id"', b'"eventid"'),
        b"\xff\xfe\x00" + whole,
    )
    return ways[number % len(ways)]


def numbers_of(rows: pa.Table | pa.RecordBatch, seed: int) -> Column:
    """The number of each row that is in every column what its number says; -1 for a row that is not."""
    numbers = _flat(rows.column("n"))
    expected = _expected(numbers, seed)
    alike = pc.is_valid(numbers)
    for name, column in expected.items():
        found = _flat(rows.column(name)).cast(column.type)
        equal = pc.fill_null(pc.equal(found, column), pa.scalar(value=False))
        alike = pc.and_(alike, pc.or_(equal, pc.and_(pc.is_null(found), pc.is_null(column))))
    return pc.if_else(alike, numbers, _whole(-1))


def _expected(numbers: Column, seed: int) -> dict[str, Column]:
    """Every column but the number itself, as the records of these numbers have it."""
    text = numbers.cast(pa.string())
    micros = pc.add(pc.multiply(_remainder(numbers, 1000), _whole(1000)), _remainder(numbers, _SITES))
    seconds = _remainder(pc.divide(numbers, _whole(1000)), _DAY_SECONDS)
    at = pc.add(pc.add(pc.multiply(seconds, _whole(1_000_000)), micros), _whole(_MIDNIGHT))
    has_note = pc.not_equal(_remainder(numbers, _NOTE_EVERY), _whole(0))
    return {
        "event_id": _joined(str(seed), text, "-"),
        "ts": at.cast(pa.timestamp("us", "UTC")),
        "site": _joined("hall", _remainder(numbers, _SITES).cast(pa.string()), "-"),
        "ratio": pc.multiply(numbers.cast(pa.float64()), pa.scalar(0.1)),
        "ok": pc.not_equal(_remainder(numbers, _OK_EVERY), _whole(0)),
        "note": pc.if_else(has_note, _joined(_NOTE, text, ""), pa.scalar(None, pa.string())),
    }


# Numbers and texts go to Arrow as its own: where numpy is missing it looks for it on every disk path each time it is given Python's.


def _whole(number: int) -> pa.Scalar[Any]:
    return pa.scalar(number, pa.int64())


def _joined(before: str, text: Column, between: str) -> Column:
    return pc.binary_join_element_wise(pa.scalar(before), text, pa.scalar(between))


def _remainder(numbers: Column, by: int) -> Column:
    return pc.subtract(numbers, pc.multiply(pc.divide(numbers, _whole(by)), _whole(by)))


def _flat(column: Column) -> Column:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
