"""The log read a second time, for proof: exactly a range, over gaps, and honest about what is not there any more."""

from __future__ import annotations

import itertools

import pytest

from landfast.errors import Unavailable
from landfast.model import Chunk, Stream
from landfast.sources.kafka_reread import KafkaRereader
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, create_topic, delete_records, delete_topic, produce, produce_transactions
from tests.sources.kafka_world import Noted, WallClock, refusal, settings, unique

pytestmark = pytest.mark.system


def reader_of(servers: str, *topics: str) -> KafkaRereader:
    """A reader without a group."""
    return KafkaRereader(settings(servers, *topics), WallClock(), Noted())


def offsets(chunks: list[Chunk]) -> list[int]:
    """All offsets, in order; the chunks must tile."""
    assert all(before.end == after.start for before, after in itertools.pairwise(chunks))
    return [offset for chunk in chunks for offset in chunk.offsets]


def test_exactly_the_range_is_read_over_markers_and_aborted_records(kafka: RealKafka) -> None:
    """Chunks tile from start to end, with committed records only, also where the range ends on a marker or in a gap."""
    topic = unique()
    stream = Stream(topic, create_topic(kafka.servers, topic), 0)
    plan = [(number % 2 == 0, [Record(topic, b"%d" % number, 0) for _ in range(3)]) for number in range(4)]
    committed = [record.offset for record in produce_transactions(kafka.servers, plan, identity=unique("producer"))]
    reader = reader_of(kafka.servers, topic)
    for start, end in [(0, 16), (0, 12), (1, 3), (2, 9), (4, 8), (7, 7), (3, 16)]:
        chunks = list(reader.chunks(stream, start, end))
        assert offsets(chunks) == [offset for offset in committed if start <= offset < end]
        assert not chunks or (chunks[0].start, chunks[-1].end) == (start, end)


def test_what_the_log_no_longer_has_is_said(kafka: RealKafka) -> None:
    """The first position moves with retention; below it, and above the end, nothing is read; a topic that is gone has none."""
    topic = unique()
    stream = Stream(topic, create_topic(kafka.servers, topic), 0)
    produce(kafka.servers, (Record(topic, b"x", 0) for _ in range(100)))
    delete_records(kafka.servers, topic, 0, 30)
    reader = reader_of(kafka.servers, topic)
    assert reader.first(stream) == 30
    assert list(reader.chunks(stream, 10, 20)) == []
    assert offsets(list(reader.chunks(stream, 90, 150))) == list(range(90, 100))
    assert reader.first(Stream(topic, "another", 0)) is None
    delete_topic(kafka.servers, topic)
    assert reader.first(stream) is None


def test_a_topic_that_is_replaced_while_it_is_read_proves_nothing(kafka: RealKafka) -> None:
    """What was read may be of another topic: the end says so."""
    topic = unique()
    stream = Stream(topic, create_topic(kafka.servers, topic), 0)
    produce(kafka.servers, (Record(topic, b"x", 0) for _ in range(10)))
    reader = reader_of(kafka.servers, topic)
    chunks = reader.chunks(stream, 0, 10)
    assert len(next(chunks)) == 10
    delete_topic(kafka.servers, topic)
    create_topic(kafka.servers, topic)
    error = refusal(lambda: list(chunks))
    assert (type(error), error.code) == (Unavailable, "TOPIC_REPLACED")


def test_compaction_is_told_from_the_topic_itself(kafka: RealKafka) -> None:
    """Only a compacted topic may lack single records."""
    plain, compacted = unique(), unique()
    streams = [Stream(plain, create_topic(kafka.servers, plain), 0)]
    streams.append(Stream(compacted, create_topic(kafka.servers, compacted, 1, {"cleanup.policy": "compact"}), 0))
    reader = reader_of(kafka.servers, plain, compacted)
    assert [reader.compacted(stream) for stream in streams] == [False, True]


def test_a_sample_holds_old_and_new_values_of_every_topic(kafka: RealKafka) -> None:
    """Some of the oldest and some of the newest, tombstones left out, no more than asked for."""
    one, two = unique(), unique()
    create_topic(kafka.servers, one, 2)
    create_topic(kafka.servers, two)
    produce(kafka.servers, (Record(one, b"%d" % number, number % 2) for number in range(1000)))
    produce(kafka.servers, [Record(two, b"a", 0), Record(two, None, 0)])
    found = reader_of(kafka.servers, one, two).sample(100)
    assert found[two] == [b"a"]
    assert len(found[one]) == 100
    assert {b"0", b"1", b"998", b"999"} <= set(found[one])
