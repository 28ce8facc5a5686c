"""A dead letter as a row of its table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from landfast.model import TIMESTAMP_ABSENT, Letter, Stream
from landfast.sinks.delta.landing.rows import MICROSECONDS, MILLISECONDS_MAX
from landfast.sinks.delta.table.trail import UNTRIED_PHASE

_MOMENT = pa.timestamp("us", "UTC")
_FIELDS: list[pa.Field[Any]] = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("topic", pa.string(), nullable=False),
    pa.field("topic_id", pa.string(), nullable=False),
    pa.field("partition", pa.int32(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("timestamp", _MOMENT),
    pa.field("key", pa.binary()),
    pa.field("value", pa.binary()),
    pa.field("headers", pa.list_(pa.field("element", pa.struct([pa.field("name", pa.string()), pa.field("value", pa.binary())])))),
    pa.field("phase", pa.string(), nullable=False),
    pa.field("reason", pa.string(), nullable=False),
    pa.field("message", pa.string(), nullable=False),
    pa.field("attempts", pa.int32(), nullable=False),
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("first_failed_at", _MOMENT, nullable=False),
    pa.field("last_failed_at", _MOMENT, nullable=False),
    pa.field("not_before", _MOMENT),
]
LETTERS_SCHEMA = pa.schema(_FIELDS)
"""One letter a row.

not_before   of a letter that is to be tried again by itself: when, at the earliest, for the first time; null in all others. A table
             that an earlier version has made gains the column with the first pipeline that tries letters again
"""


def letter_id(pipeline_id: str, of: Letter | Stream) -> str:
    """The id of a letter; of a stream, what the ids of all its letters begin with, up to the slash."""
    stream = of.stream if isinstance(of, Letter) else of
    prefix = f"{pipeline_id}/{stream.topic}/{stream.incarnation}/{stream.partition}"
    return f"{prefix}/{of.offset}" if isinstance(of, Letter) else prefix


def letter_groups(letters: Sequence[Letter], nbytes_max: int) -> Iterator[list[Letter]]:
    """The letters in groups of about so many bytes each: one Arrow column cannot hold more than 2 GiB."""
    group: list[Letter] = []
    nbytes = 0
    for letter in letters:
        size = _nbytes(letter)
        if group and nbytes + size > nbytes_max:
            yield group
            group, nbytes = [], 0
        group.append(letter)
        nbytes += size
    if group:
        yield group


def _nbytes(letter: Letter) -> int:
    return len(letter.value or b"") + len(letter.key or b"") + sum(len(name) + len(value or b"") for name, value in letter.headers)


def not_before(letter: Letter, delay_seconds: float) -> float | None:
    """When a letter is tried again by itself, in seconds since the epoch; None where it is not. One that was not tried need not wait."""
    if not letter.later:
        return None
    return letter.failed_at if letter.phase == UNTRIED_PHASE else letter.failed_at + delay_seconds


def letters_table(pipeline_id: str, run_id: str, letters: Sequence[Letter], delay_seconds: float = 0.0) -> pa.Table:
    """The letters as rows; those that are tried again by themselves not before so much time has passed."""
    return pa.Table.from_pylist([_row(pipeline_id, run_id, letter, delay_seconds) for letter in letters], schema=LETTERS_SCHEMA)


def _row(pipeline_id: str, run_id: str, letter: Letter, delay_seconds: float) -> dict[str, Any]:
    failed_at = round(letter.failed_at * 1_000_000)
    due_at = not_before(letter, delay_seconds)
    held = abs(letter.timestamp) <= MILLISECONDS_MAX
    return {
        "id": letter_id(pipeline_id, letter),
        "topic": letter.stream.topic,
        "topic_id": letter.stream.incarnation,
        "partition": letter.stream.partition,
        "offset": letter.offset,
        "timestamp": letter.timestamp * MICROSECONDS if held and letter.timestamp != TIMESTAMP_ABSENT else None,
        "key": letter.key,
        "value": letter.value,
        "headers": [{"name": _text(name), "value": value} for name, value in letter.headers],
        "phase": letter.phase,
        "reason": letter.reason,
        "message": _text(letter.message if held else f"{letter.message} (its timestamp is {letter.timestamp} ms)"),
        "attempts": letter.attempts,
        "run_id": run_id,
        "first_failed_at": failed_at,
        "last_failed_at": failed_at,
        "not_before": None if due_at is None else round(due_at * 1_000_000),
    }


def _text(text: str) -> str:
    """Text that UTF-8 can hold: a lone surrogate is written as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()
