"""Of what the driver hands over, exactly what was not delivered yet is taken: not less, since that would pass for a gap of the log."""

from __future__ import annotations

import pytest
from confluent_kafka import Message

from landfast.sources.kafka_columns import unread


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
