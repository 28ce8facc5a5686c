"""Of what the driver hands over, exactly what was not delivered yet is taken: not less, since that would pass for a gap of the log."""

from __future__ import annotations

import pytest
from confluent_kafka import Message

from landfast.model import Stream
from landfast.sources.kafka_columns import chunk, unread


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
