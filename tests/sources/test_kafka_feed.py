"""What the driver fetched for a held stream is delivered later, once and in order, or forgotten and read again: never passed over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from landfast.sources.kafka_columns import Key
from landfast.sources.kafka_feed import Feed

HELD, FREE = ("t", 0), ("t", 1)
POSITION = 100


class Driver:
    """What a consumer is told of its partitions."""

    def __init__(self) -> None:
        self.assigned: dict[Key, int] = {}
        self.paused: set[Key] = set()

    def incremental_assign(self, places: Iterable[TopicPartition]) -> None:
        self.assigned |= {(place.topic, place.partition): place.offset for place in places}

    def incremental_unassign(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            del self.assigned[place.topic, place.partition]

    def pause(self, places: Iterable[TopicPartition]) -> None:
        self.paused |= {(place.topic, place.partition) for place in places}

    def resume(self, places: Iterable[TopicPartition]) -> None:
        self.paused -= {(place.topic, place.partition) for place in places}


@pytest.fixture
def driver() -> Driver:
    """A driver that reads nothing yet."""
    return Driver()


def feed_with(driver: Driver, kept_bytes_max: int = 10**6) -> Feed:
    """A feed that has two partitions, of which one is held."""
    feed = Feed(cast("Consumer", driver), 3600.0, kept_bytes_max)
    feed.give({HELD: 0, FREE: 0})
    hold(feed, HELD)
    return feed


def hold(feed: Feed, *keys: Key) -> None:
    feed.hold(keys, lambda _: POSITION, 0.0)


def fetched(key: Key, *offsets: int) -> list[Message]:
    return [Message(topic=key[0], partition=key[1], offset=offset, value=b"x") for offset in offsets]


def told(messages: list[Message]) -> list[tuple[Any, ...]]:
    return [(message.partition(), message.offset()) for message in messages]


def test_what_came_for_a_held_stream_is_delivered_first_and_within_the_limit(driver: Driver) -> None:
    """In the order in which it came, no more at a time than was asked for, and what is fetched meanwhile behind it."""
    feed = feed_with(driver)
    assert told(feed.sifted([*fetched(HELD, 0, 1), *fetched(FREE, 7), *fetched(HELD, 2)], 10)) == [(1, 7)]
    hold(feed)
    assert told(feed.sifted(fetched(HELD, 3), 2)) == [(0, 0), (0, 1)]
    assert told(feed.sifted([], 10)) == [(0, 2), (0, 3)]


def test_what_was_let_go_and_not_delivered_is_kept_back_by_the_next_hold(driver: Driver) -> None:
    """A stream that is held again before its turn delivers nothing, and later everything."""
    feed = feed_with(driver)
    feed.sifted(fetched(HELD, 0, 1, 2), 10)
    hold(feed)
    assert told(feed.sifted([], 1)) == [(0, 0)]
    hold(feed, HELD)
    assert told(feed.sifted(fetched(HELD, 3), 10)) == []
    hold(feed)
    assert told(feed.sifted([], 10)) == [(0, 1), (0, 2), (0, 3)]


@pytest.mark.parametrize("let_go", [False, True], ids=["held", "let go"])
@pytest.mark.parametrize("end", [Feed.take_back, Feed.hand_over], ids=["taken back", "handed over"])
def test_what_was_not_delivered_of_a_stream_that_goes_is_forgotten(driver: Driver, end: Any, *, let_go: bool) -> None:
    """It is read again from where its delivery stands: delivered after that, records would pass for those behind a gap."""
    feed = feed_with(driver)
    feed.sifted(fetched(HELD, 5, 6), 10)
    if let_go:
        hold(feed)
    end(feed, [HELD])
    assert (feed.kept, feed.ready, driver.assigned) == (0, 0, {FREE: 0})
    feed.give({HELD: 5})
    hold(feed)
    assert told(feed.sifted(fetched(HELD, 5), 10)) == [(0, 5)]


def test_more_than_may_be_kept_is_forgotten_and_read_again_from_where_delivery_stands(driver: Driver) -> None:
    """A pause keeps nothing, what the driver still hands over is not delivered, and reading goes on at the stream's own position."""
    feed = feed_with(driver, kept_bytes_max=600)
    feed.sifted(fetched(HELD, POSITION, POSITION + 1), 10)
    assert (driver.paused, feed.kept) == ({HELD}, 0)
    assert told(feed.sifted(fetched(HELD, POSITION + 2), 10)) == []
    hold(feed)
    assert (driver.paused, driver.assigned[HELD], feed.ready) == (set(), POSITION, 0)
