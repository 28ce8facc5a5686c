"""The end of a stream is known for what it is: markers, holes, open transactions, nothing at all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from landfast.model import Stream
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, create_topic, produce, produce_transactions
from landfast.testing.tcp_proxy import TcpProxy
from tests.sources.kafka_world import Engine, member, settings, unique

pytestmark = pytest.mark.system
both = pytest.mark.parametrize("protocol", ["classic", "consumer"])


@contextlib.contextmanager
def open_transaction(servers: str, topic: str, values: int) -> Iterator[Any]:
    """A producer with records on the broker whose fate is open."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "transactional.id": unique("producer"), "log_level": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(values):
        producer.produce(topic, b"%d" % number, partition=0)
    producer.flush(30)
    yield producer


@both
def test_aborted_records_are_never_delivered(protocol: str, kafka: RealKafka) -> None:
    """Committed and aborted transactions in turn: exactly the committed records arrive, and the end lies behind the last marker."""
    topic = unique()
    create_topic(kafka.servers, topic)
    plan = [(number % 3 != 1, [Record(topic, b"%d-%d" % (number, index), 0) for index in range(5)]) for number in range(9)]
    committed = produce_transactions(kafka.servers, plan, identity=unique("producer"))
    reader = member(settings(kafka.servers, topic, protocol=protocol))
    reader.until(lambda: reader.end() == 9 * 6)
    assert reader.offsets() == [record.offset for record in committed]
    reader.until(lambda: reader.confirmed.get(reader.stream()) == 9 * 6)
    reader.source.close()


@both
@pytest.mark.museum(17)
def test_an_open_transaction_is_waited_for(protocol: str, kafka: RealKafka) -> None:
    """The end is the last stable offset while a transaction is open; its records follow when it commits."""
    topic = unique()
    create_topic(kafka.servers, topic)
    produce(kafka.servers, [Record(topic, b"before", 0)])
    reader = member(settings(kafka.servers, topic, protocol=protocol))
    with open_transaction(kafka.servers, topic, 3) as producer:
        reader.until(lambda: reader.end() == 1)
        assert reader.source.bounds()[reader.stream()].end == 1
        producer.commit_transaction(30)
    reader.until(lambda: reader.end() == 5)
    assert reader.offsets() == [0, 1, 2, 3]
    assert reader.tiles()
    reader.source.close()


@both
def test_b12_a_position_behind_the_last_stable_offset_is_no_truncation(protocol: str, kafka: RealKafka) -> None:
    """A start between the last stable offset and the end of the log is neither halted nor stuck: it waits, says what for, and goes on."""
    topic = unique()
    incarnation = create_topic(kafka.servers, topic)
    with open_transaction(kafka.servers, topic, 3) as producer:
        stream = Stream(topic, incarnation, 0)
        chosen = settings(kafka.servers, topic, protocol=protocol, stall_seconds=3.0)
        reader = member(chosen, Engine({stream: 2}))
        reader.until(lambda: reader.engine.owned)
        reader.until(lambda: "LSO_STUCK" in reader.noted.codes())
        assert reader.halted == {}
        assert reader.chunks == []
        producer.commit_transaction(30)
    reader.until(lambda: reader.end() == 4)
    assert reader.offsets() == [2]
    reader.source.close()


def test_a_compacted_tail_has_an_end(kafka: RealKafka) -> None:
    """Offsets that compaction took, also the last before the end, leave gaps that chunks pass over."""
    topic = unique()
    config = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.001",
        "segment.ms": "100",
        "delete.retention.ms": "0",
        "max.compaction.lag.ms": "100",
    }
    incarnation = create_topic(kafka.servers, topic, 1, config)
    for round_number in range(6):
        produce(kafka.servers, [Record(topic, b"%d" % round_number, 0, key=b"k%d" % (index % 5)) for index in range(20)])
    stream = Stream(topic, incarnation, 0)
    deadline = time.monotonic() + 60
    while True:
        produce(kafka.servers, [Record(topic, b"last", 0, key=b"tail")])
        reader = member(settings(kafka.servers, topic), Engine({stream: 1}))
        end = reader.source.bounds()[stream].end
        reader.until(lambda end=end, reader=reader: reader.end() == end)
        reader.source.close()
        assert reader.tiles()
        if len(reader.offsets()) < end - 1:
            break
        assert time.monotonic() < deadline, "the broker did not compact"
    assert reader.chunks[0].start == 1
    assert reader.offsets() == sorted(set(reader.offsets()))


@both
def test_empty_streams_have_an_end(protocol: str, kafka: RealKafka) -> None:
    """One full stream among nine empty ones: every end is reached."""
    topic = unique()
    create_topic(kafka.servers, topic, 10)
    produce(kafka.servers, (Record(topic, b"x", 4) for _ in range(1000)))
    reader = member(settings(kafka.servers, topic, protocol=protocol))
    reader.until(lambda: len(reader.reached) == 10)
    assert sorted(reader.reached.values()) == [0] * 9 + [1000]
    reader.source.close()


@both
@pytest.mark.long
def test_a_source_whose_brokers_are_gone_closes_all_the_same(protocol: str, kafka: RealKafka, line: TcpProxy) -> None:
    """The group cannot be left, and nobody waits for that longer than ten seconds: the client alone would take up to minutes."""
    topic = unique()
    create_topic(kafka.servers, topic, 2)
    produce(kafka.servers, [Record(topic, b"%d" % number, number % 2) for number in range(100)])
    reader = member(settings(kafka.line_servers, topic, protocol=protocol, session_seconds=6.0))
    reader.until(lambda: reader.end(0) == reader.end(1) == 50)
    streams = set(reader.engine.owned)
    line.cut()
    reader.until(lambda: "BROKER_UNREACHABLE" in reader.noted.codes())
    began = time.monotonic()
    reader.source.close()
    assert time.monotonic() - began < 15.0
    assert reader.engine.lost_with.keys() == streams
