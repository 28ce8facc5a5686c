"""Of what the driver hands over, exactly what was not delivered yet is taken: not less, since that would pass for a gap of the log."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, Message

from landfast.model import Stream
from landfast.sources.kafka_columns import chunk, sort, unread
from landfast.sources.kafka_errors import stops


@pytest.mark.parametrize(
    ("offsets", "taken"),
    [
        ([], []),
        ([10, 11, 12], [10, 11, 12]),
        ([15, 17], [15, 17]),
        ([7, 8, 9], []),
        ([8, 9, 10, 11], [10, 11]),
        ([3, 4, 10, 11], [10, 11]),
        ([50, 51, 10, 11], [10, 11]),
        ([50, 51, 10, 60], [10, 60]),
        ([8, 9, 8, 9, 10], [10]),
        ([50, 51, 5, 6], []),
    ],
)
def test_what_an_older_assignment_left_is_dropped_and_nothing_else(offsets: list[int], taken: list[int]) -> None:
    """Records below the position, and those before a step back, were fetched for an older assignment; all others are new."""
    messages = [Message(topic="t", partition=0, offset=offset, value=b"x") for offset in offsets]
    assert [message.offset() for message in unread(messages, 10)] == taken


def test_each_record_keeps_its_own_key_headers_and_time() -> None:
    """Where some records have headers and some none, nobody gets those of a neighbour; null, empty and absent stay apart."""
    given: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = [
        (b"a", b"x", []),
        (b"", None, [("n", None), ("n", b"")]),
        (None, b"", []),
        (b"d", b"y", [("", b"1")]),
    ]
    messages = [
        Message(topic="t", partition=0, offset=10 + 2 * index, key=key, value=value, headers=headers or None, timestamp=(1, 1000 + index))
        for index, (key, value, headers) in enumerate(given)
    ]
    made = chunk(Stream("t", "id", 0), 3, 10, messages)
    assert [(*record, list(headers)) for *record, headers in zip(made.keys, made.values, made.headers or (), strict=True)] == [
        (key, value, headers) for key, value, headers in given
    ]
    assert (list(made.offsets), list(made.timestamps), made.end) == ([10, 12, 14, 16], [1000, 1001, 1002, 1003], 17)
    assert chunk(Stream("t", "id", 0), 3, 10, [messages[0], messages[2]]).headers is None


@pytest.mark.parametrize(
    ("topic", "partition", "taken"),
    [("t", 0, [[0, 1], [7, 8], [3, 4]]), ("t", -1, [[0, 1], [7], [3, 4]]), (None, -1, [[0, 1], [7], [3]])],
)
def test_nothing_is_taken_behind_what_stops_a_partition(topic: str | None, partition: int, taken: list[list[int]]) -> None:
    """A record behind a damaged batch, taken with those before it, would make the batch a gap of the log. Others are not concerned."""
    places = [("t", 0, 0), ("t", 0, 1), ("t", 1, 7), ("u", 0, 3), None, ("t", 0, 4), ("t", 1, 8), ("u", 0, 4)]
    damage = Message(topic=topic, partition=partition, offset=2, error=KafkaError(KafkaError.INVALID_MSG))
    messages = [damage if place is None else Message(topic=place[0], partition=place[1], offset=place[2], value=b"x") for place in places]
    found = sort(messages, stops)
    assert [[message.offset() for message in found.records[key]] for key in (("t", 0), ("t", 1), ("u", 0))] == taken
    assert found.errors == [damage]


def test_an_error_that_passes_stops_nothing() -> None:
    """What the client tries again by itself comes between records of which none is left out."""
    passing = Message(topic="t", partition=0, offset=2, error=KafkaError(KafkaError.NETWORK_EXCEPTION))
    records = [Message(topic="t", partition=0, offset=offset, value=b"x") for offset in (0, 1, 2)]
    found = sort([records[0], passing, *records[1:]], stops)
    assert [message.offset() for message in found.records["t", 0]] == [0, 1, 2]
