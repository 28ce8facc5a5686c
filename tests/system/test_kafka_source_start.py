"""Reading starts exactly where it is told, and nowhere else, whatever the driver would do by itself."""

from __future__ import annotations

import random
import time

import pytest

from landfast.errors import Broken
from landfast.events import Notice
from landfast.model import Stream
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, create_topic, delete_records, produce
from tests.sources.kafka_world import Engine, member, refusal, settings, unique

pytestmark = [pytest.mark.system, pytest.mark.parametrize("protocol", ["classic", "consumer"])]


def filled(servers: str, partitions: int, records: int) -> tuple[str, list[Stream]]:
    """A topic with this many records in each partition."""
    topic = unique()
    incarnation = create_topic(servers, topic, partitions)
    produce(servers, (Record(topic, b"%d" % number, number % partitions) for number in range(partitions * records)))
    return topic, [Stream(topic, incarnation, partition) for partition in range(partitions)]


@pytest.mark.museum(18)
def test_r9_v6_every_assignment_starts_at_its_own_position(protocol: str, kafka: RealKafka) -> None:
    """Members come and go under load, each assignment at a random offset: the first record is that one, and no offset is missing."""
    chance = random.Random(7)
    topic, streams = filled(kafka.servers, 4, 3000)
    engine = Engine()
    chosen = settings(kafka.servers, topic, protocol=protocol)
    first = member(chosen, engine)
    for _ in range(3):
        engine.positions = {stream: chance.randrange(3000) for stream in streams}
        first.until(lambda: engine.owned)
        other_engine = Engine({stream: chance.randrange(3000) for stream in streams})
        second = member(chosen, other_engine)
        first.until(second.has_begun, second)
        second.source.close()
        began = {(chunk.stream, chunk.epoch): chunk for chunk in reversed(second.chunks)}
        for (stream, _), chunk in began.items():
            assert chunk.start == other_engine.positions[stream] == chunk.offsets[0]
        assert second.tiles()
    first.until(lambda: len(engine.owned) == 4 and set(first.reached) == set(streams))
    first.source.close()
    assert first.tiles()
    assert all(list(chunk.offsets) == list(range(chunk.start, chunk.end)) for chunk in first.chunks)


def test_an_engine_that_fails_is_heard_and_nothing_is_read(protocol: str, kafka: RealKafka) -> None:
    """What `gained` raises comes out of `poll`, and the driver does not assign the partitions by itself."""
    topic, _ = filled(kafka.servers, 1, 10)
    broken = member(settings(kafka.servers, topic, protocol=protocol), Engine(failure=Broken("INVARIANT_BROKEN", "no")))
    assert refusal(lambda: broken.until(lambda: broken.chunks)).code == "INVARIANT_BROKEN"
    broken.engine.left_out.add(topic)
    assert broken.source.poll(100, 0.1, frozenset()).chunks == []
    broken.source.close()


def test_u1_what_the_group_remembers_is_only_a_hint(protocol: str, kafka: RealKafka) -> None:
    """Offsets that were acknowledged to the group do not decide where the next member starts."""
    topic, streams = filled(kafka.servers, 1, 100)
    chosen = settings(kafka.servers, topic, protocol=protocol)
    first = member(chosen)
    first.until(lambda: first.end() == 100)
    first.source.acknowledge({streams[0]: 60})
    first.source.close()
    second = member(chosen, Engine({streams[0]: 20}))
    second.until(lambda: second.end() == 100)
    assert second.offsets() == list(range(20, 100))
    second.source.close()


def test_latest_starts_behind_what_is_there(protocol: str, kafka: RealKafka) -> None:
    """With start = latest a stream that the sink has never seen begins at the end as it was at the assignment."""
    topic, _ = filled(kafka.servers, 1, 100)
    late = member(settings(kafka.servers, topic, protocol=protocol, start="latest"))
    late.until(lambda: late.end() == 100)
    produce(kafka.servers, [Record(topic, b"new", 0)])
    late.until(late.offsets)
    assert late.offsets() == [100]
    assert late.chunks[0].start == 100
    late.source.close()


def test_a_partition_that_counts_as_added_is_named_with_where_it_begins(protocol: str, kafka: RealKafka) -> None:
    """Of a topic that a table holds, a partition without a position is read from its first record, and that is told: it may be old."""
    topic, streams = filled(kafka.servers, 3, 100)
    delete_records(kafka.servers, topic, 1, 40)
    delete_records(kafka.servers, topic, 2, 100)
    engine = Engine({streams[0]: 90})
    again = member(settings(kafka.servers, topic, protocol=protocol, start="latest"), engine, begun=streams[:1])
    again.until(lambda: all(again.end(partition) == 100 for partition in range(3)))
    assert [again.offsets(partition) for partition in range(3)] == [list(range(90, 100)), list(range(40, 100)), []]
    (said,) = {event.message for event in again.noted.events if isinstance(event, Notice) and event.code == "READ_FROM_FIRST"}
    assert said.startswith(f"{streams[1]} is read from offset 40")
    again.source.close()


def test_a_time_starts_at_its_first_record(protocol: str, kafka: RealKafka) -> None:
    """With start = a time, reading begins at the first record of that time or later, and at the end where there is none."""
    topic = unique()
    create_topic(kafka.servers, topic, 2)
    base = 1_700_000_000_000
    produce(kafka.servers, (Record(topic, b"x", 0, timestamp=base + number * 1000) for number in range(10)))
    produce(kafka.servers, [Record(topic, b"x", 1, timestamp=base)])
    timed = member(settings(kafka.servers, topic, protocol=protocol, start=base + 3500))
    timed.until(lambda: timed.end(0) == 10 and timed.end(1) == 1)
    assert timed.offsets(0) == list(range(4, 10))
    assert timed.offsets(1) == []
    timed.source.close()


def test_earliest_starts_at_the_first_record_that_is_left(protocol: str, kafka: RealKafka) -> None:
    """A stream that the sink has never seen begins where the log begins today: that is no expired range."""
    topic, streams = filled(kafka.servers, 1, 100)
    delete_records(kafka.servers, topic, 0, 40)
    fresh = member(settings(kafka.servers, topic, protocol=protocol))
    fresh.until(lambda: fresh.end() == 100)
    assert fresh.offsets() == list(range(40, 100))
    assert fresh.chunks[0].start == 40
    assert fresh.halted == {}
    assert fresh.source.bounds([streams[0]])[streams[0]].first == 40
    fresh.source.close()


def test_a_stream_that_was_held_when_it_went_is_read_when_it_comes_back(protocol: str, kafka: RealKafka) -> None:
    """The driver keeps a partition paused across a revoke; a new assignment reads all the same."""
    topic, streams = filled(kafka.servers, 2, 10)
    chosen = settings(kafka.servers, topic, protocol=protocol)
    first = member(chosen)
    first.until(lambda: len(first.reached) == 2)
    first.hold = set(streams)
    first.poll()
    second = member(chosen)
    first.until(lambda: len(second.engine.owned) == 1, second)
    second.source.close()
    first.hold = set()
    first.engine.positions = dict.fromkeys(streams, 10)
    first.until(lambda: len(first.engine.owned) == 2)
    produce(kafka.servers, [Record(topic, b"new", partition) for partition in (0, 1)])
    first.until(lambda: first.offsets(0)[-1:] == [10] and first.offsets(1)[-1:] == [10])
    first.source.close()


def test_a_second_member_with_nothing_to_read_says_nothing(protocol: str, kafka: RealKafka) -> None:
    """Empty assignments are frequent: a member without partitions polls on, quietly."""
    topic, _ = filled(kafka.servers, 1, 1)
    chosen = settings(kafka.servers, topic, protocol=protocol)
    first, second = member(chosen), member(chosen)
    first.until(lambda: first.reached or second.reached, second)
    until = time.monotonic() + 2
    first.until(lambda: time.monotonic() > until and len(first.engine.owned) + len(second.engine.owned) == 1, second)
    second.source.close()
    first.source.close()
    assert first.noted.codes() | second.noted.codes() == set()
