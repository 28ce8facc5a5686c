"""From the driver's messages to columns: the hot path, a few calls in C per record."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from operator import itemgetter, ne, or_
from typing import Any, cast

from confluent_kafka import KafkaError, Message

from landfast.model import Chunk, Headers, Position, Stream

Key = tuple[str, int]
"""Topic name and partition: what the driver knows a stream by."""

UNREADABLE_HEADERS: Headers = (("landfast: headers unreadable, a name is not UTF-8", None),)
"""Stands in the place of headers that the driver cannot tell."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """Messages by what they are: records per partition in order, then the ends that were met and the errors."""

    records: dict[Key, list[Message]]
    ends: dict[Key, Position]
    errors: list[Message]


def sort(messages: list[Message], stops: Callable[[KafkaError], bool] = lambda _: False) -> Sorted:
    """Tell records from events and gather the records of each partition.

    Messages come in runs of one partition; a run is taken as a slice. An end counts only where no record of its partition follows. Where an
    error of a partition `stops` it, what follows is left out: taken, it would make what the error stands for look like a gap of the log.
    """
    ends: dict[Key, Position] = {}
    errors: list[Message] = []
    if any(map(Message.error, messages)):
        messages = _without_events(messages, ends, errors, stops)
    records: dict[Key, list[Message]] = {}
    if messages:
        partitions = list(map(Message.partition, messages))
        topics = list(map(Message.topic, messages))
        other_partition = map(ne, partitions, islice(partitions, 1, None))
        other_topic = map(ne, topics, islice(topics, 1, None))
        starts = [0, *compress(range(1, len(messages)), map(or_, other_partition, other_topic))]
        for start, end in zip(starts, [*starts[1:], len(messages)], strict=True):
            records.setdefault((str(topics[start]), partitions[start] or 0), []).extend(messages[start:end])
    return Sorted(records, ends, errors)


def _without_events(
    messages: list[Message], ends: dict[Key, Position], errors: list[Message], stops: Callable[[KafkaError], bool]
) -> list[Message]:
    records: list[Message] = []
    stopped: set[Key] = set()
    for message in messages:
        error = message.error()
        if error is None:
            if not stopped or not stopped.intersection(_named_with(message)):
                records.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 — the driver's own name for it
            ends[str(message.topic()), _number(message.partition())] = _number(message.offset())
        else:
            errors.append(message)
            if stops(error):
                stopped.add(key_of(message))
    return records


def _named_with(message: Message) -> tuple[Key, ...]:
    """What an error names that speaks of this record's partition: the partition, its topic, or nothing."""
    topic, partition = key_of(message)
    return (topic, partition), (topic, -1), (str(None), -1)


def key_of(message: Message) -> Key:
    """The partition that a message speaks of."""
    return (str(message.topic()), _number(message.partition()))


def _number(value: int | None) -> int:
    return -1 if value is None else value


def unread(messages: list[Message], position: Position) -> list[Message]:
    """Those of one partition's messages that were not delivered yet: all of them, but for what an older assignment left before them.

    The rest must stay: the next chunk starts where the last one ended, so that what is left out here would pass for a gap of the log.

    This rests on the driver, which discards what it fetched for an older assignment when it gets a new one; it was never seen to hand any
    of it out. What it left is told by its offsets alone: below the position, or before a step back. Left records above the position that
    come without newer ones behind them look like records behind a gap of the log and would be taken for it, so the driver's word counts.
    """
    offsets = [_number(message.offset()) for message in messages]
    # What was fetched for an older assignment comes first, so a step back is where the one of today begins.
    begin = max((index for index in range(1, len(offsets)) if offsets[index] <= offsets[index - 1]), default=0)
    return [message for message, offset in zip(messages[begin:], offsets[begin:], strict=True) if offset >= position]


def chunk(stream: Stream, epoch: int, start: Position, messages: Sequence[Message]) -> Chunk:
    """The records of one stream as columns. `messages` is not empty and begins at or after `start`."""
    values = list(map(Message.value, messages))
    keys = list(map(Message.key, messages))
    # The stubs allow None where a delivered record always has an offset.
    offsets = array("q", cast("Iterator[int]", map(Message.offset, messages)))
    timestamps = array("q", map(itemgetter(1), map(Message.timestamp, messages)))
    # len() of a message is the length of its value, 0 for null.
    nbytes = sum(map(len, messages)) + sum([len(key) for key in keys if key is not None])
    found = _headers(messages)
    headers: list[Headers] | None = None
    if any(found):
        headers = [given or () for given in found]
        nbytes += sum(len(name) + len(value or b"") for given in headers for name, value in given)
    return Chunk(stream, epoch, start, offsets[-1] + 1, values, keys, headers, offsets, timestamps, nbytes)


def gap(stream: Stream, epoch: int, start: Position, end: Position) -> Chunk:
    """No record, and still a way from `start` to `end`: transaction markers, aborted records, a compacted tail."""
    return Chunk(stream, epoch, start, end, (), (), None, array("q"), array("q"), 0)


def _headers(messages: Sequence[Message]) -> list[Any]:
    """The headers of each message, None where it has none.

    The driver cannot tell the headers of a record of which one has a name that is not UTF-8, and raises SystemError: of such a record
    that is said, in their place, and the record itself goes its way. It must not be asked again: its second answer is a null pointer.
    """
    found: list[Any] = []
    rest = iter(messages)
    while len(found) < len(messages):
        try:
            found.extend(map(Message.headers, rest))
        except (SystemError, UnicodeDecodeError):
            found.append(UNREADABLE_HEADERS)
    return found
