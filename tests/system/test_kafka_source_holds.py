"""Holding streams back: short holds cost nothing, long ones are pauses, and neither loses a record or reads one twice."""

from __future__ import annotations

import random

import pytest

from landfast.sources.kafka_feed import Feed
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, create_topic, produce
from tests.sources.kafka_world import Member, member, settings, unique

pytestmark = pytest.mark.system


def topic_of(servers: str, partitions: int, records: int) -> str:
    """A topic with this many records in each partition."""
    topic = unique()
    create_topic(servers, topic, partitions)
    produce(servers, (Record(topic, b"x" * 100, number % partitions) for number in range(partitions * records)))
    return topic


def feed_of(reader: Member) -> Feed:
    """What its driver was given."""
    return reader.source._session._feed  # type: ignore[union-attr]  # noqa: SLF001 — whether the driver is paused shows nowhere else


def hold_all(reader: Member) -> None:
    """Hold back everything that is read."""
    reader.hold = set(reader.engine.owned)
    reader.poll()


def test_what_arrives_during_a_short_hold_is_delivered_by_the_first_poll_after_it(kafka: RealKafka) -> None:
    """A hold as there is one after every batch neither pauses the driver nor waits for the broker afterwards."""
    reader = member(settings(kafka.servers, topic_of(kafka.servers, 2, 5000), hold_seconds_max=3600.0))
    reader.limit = 100
    reader.until(reader.has_begun)
    for _ in range(10):
        hold_all(reader)
        before = len(reader.chunks)
        reader.until(lambda: feed_of(reader).kept)
        assert len(reader.chunks) == before
        assert not feed_of(reader).paused
        reader.hold = set()
        reader.poll()
        assert len(reader.chunks) > before
    assert reader.tiles()
    reader.source.close()


def test_a_long_hold_becomes_a_pause_that_keeps_nothing(kafka: RealKafka) -> None:
    """Held for longer than `hold_seconds_max`, a stream costs neither memory nor fetches, and goes on exactly where it stood."""
    reader = member(settings(kafka.servers, topic_of(kafka.servers, 2, 1000), hold_seconds_max=0.2))
    reader.limit = 100
    reader.until(reader.has_begun)
    hold_all(reader)
    reader.until(lambda: len(feed_of(reader).paused) == 2)
    assert feed_of(reader).kept == 0
    reader.hold = set()
    reader.until(lambda: reader.end(0) == reader.end(1) == 1000)
    assert reader.offsets(0) == reader.offsets(1) == list(range(1000))
    reader.source.close()


def test_a_held_stream_beside_a_busy_one_keeps_no_more_than_its_share(kafka: RealKafka) -> None:
    """What is kept of held streams is bounded in bytes: above that they are paused, and the others go on."""
    reader = member(settings(kafka.servers, topic_of(kafka.servers, 2, 5000), hold_seconds_max=3600.0, poll_bytes_max=50_000))
    reader.until(lambda: len(reader.engine.owned) == 2)
    reader.hold = {reader.stream(0)}
    reader.until(lambda: reader.end(1) == 5000 and len(feed_of(reader).paused) == 1)
    held = len(reader.offsets(0))
    reader.hold = set()
    reader.until(lambda: reader.end(0) == 5000)
    assert reader.offsets(0) == reader.offsets(1) == list(range(5000))
    assert held < 5000
    reader.source.close()


@pytest.mark.parametrize("hold_seconds_max", [0.0, 0.1, 3600.0])
def test_no_order_of_holds_loses_or_repeats_a_record(hold_seconds_max: float, kafka: RealKafka) -> None:
    """Streams held and let go at random, with rewinds in between: every record once and in order, no poll beyond its limit."""
    chance = random.Random(11)
    topic = topic_of(kafka.servers, 3, 2000)
    reader = member(settings(kafka.servers, topic, hold_seconds_max=hold_seconds_max, poll_bytes_max=100_000))
    reader.limit = 70
    reader.until(lambda: len(reader.engine.owned) == 3)
    streams = sorted(reader.engine.owned)
    for turn in range(150):
        reader.hold = {stream for stream in streams if chance.random() < 0.6}
        for _ in range(chance.randrange(1, 4)):
            before = sum(map(len, reader.chunks))
            reader.poll(0.01)
            assert sum(map(len, reader.chunks)) - before <= reader.limit
        if turn % 50 == 49:
            stream = chance.choice(streams)
            reader.source.rewind({stream: reader.engine.next(stream, 5)})
            reader.reached.pop(stream, None)  # Where it had been read to the end before, that end says nothing of the new epoch.
    reader.hold = set()
    reader.until(lambda: all(reader.end(partition) == 2000 for partition in range(3)))
    assert reader.tiles()
    for stream in streams:
        last = max(chunk.epoch for chunk in reader.chunks if chunk.stream == stream)
        offsets = [offset for chunk in reader.chunks if (chunk.stream, chunk.epoch) == (stream, last) for offset in chunk.offsets]
        assert offsets == list(range(offsets[0], 2000))
        assert offsets[0] in {0, 5}
    assert "StaleDropped" not in {type(event).__name__ for event in reader.noted.events}
    reader.source.close()
