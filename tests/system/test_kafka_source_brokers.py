"""Brokers that die, hang and come back; records of every shape; streams that bring nothing."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import TopicPartition

from landfast.errors import Unavailable
from landfast.events import Notice
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, create_topic, produce
from tests.sources.kafka_world import Member, member, refusal, settings, unique

pytestmark = pytest.mark.system


def test_a_killed_broker_is_waited_for(fragile_kafka: RealKafka) -> None:
    """While no broker answers each source says so at a bearable rate and raises nothing; afterwards it goes on without a gap."""
    broker, topic = fragile_kafka, unique()
    create_topic(broker.servers, topic)
    produce(broker.servers, (Record(topic, b"x", 0) for _ in range(100)))
    one, other = (
        member(settings(broker.servers, topic, protocol=protocol, notice_seconds=30.0, request_seconds_max=2.0))
        for protocol in ("classic", "consumer")
    )
    one.until(lambda: one.end() == other.end() == 100, other)
    broker.kill()
    one.until(lambda: "BROKER_UNREACHABLE" in one.noted.codes() & other.noted.codes(), other)
    for reader in (one, other):
        assert isinstance(refusal(reader.source.bounds), Unavailable)
        assert len(told(reader, "BROKER_UNREACHABLE")) <= 3
    broker.start()
    produce(broker.servers, (Record(topic, b"y", 0) for _ in range(100)))
    one.until(lambda: one.end() == other.end() == 200, other)
    for reader in (one, other):
        assert reader.tiles()
        assert reader.offsets()[-100:] == list(range(100, 200))
        assert reader.halted == {}
        reader.source.close()


def told(reader: Member, code: str) -> list[str]:
    """The notices of a code."""
    return [event.message for event in reader.noted.events if isinstance(event, Notice) and event.code == code]


def test_b4_a_broker_that_hangs_makes_nobody_stuck(fragile_kafka: RealKafka) -> None:
    """A stopped broker brings nothing, and that is no stall of a stream: nothing halts, and reading goes on afterwards."""
    broker, topic = fragile_kafka, unique()
    create_topic(broker.servers, topic)
    produce(broker.servers, (Record(topic, b"x", 0) for _ in range(10)))
    chosen = settings(broker.servers, topic, stall_seconds=4.0, request_seconds_max=1.0, options={"socket.timeout.ms": "2000"})
    reader = member(chosen)
    reader.until(lambda: reader.end() == 10)
    broker.pause()
    longer = time.monotonic() + 5.0
    reader.until(lambda: "BROKER_UNREACHABLE" in reader.noted.codes() and time.monotonic() > longer)
    broker.resume()
    produce(broker.servers, (Record(topic, b"y", 0) for _ in range(10)))
    reader.until(lambda: reader.end() == 20)
    assert reader.offsets() == list(range(20))
    assert reader.halted == {}
    reader.source.close()


@pytest.mark.museum(19)
def test_b16_a_stream_with_lag_that_brings_nothing_is_told_and_then_halted(kafka: RealKafka) -> None:
    """Silence is never taken for the end: a stuck stream halts with its offset, and the others go on."""
    topic = unique()
    create_topic(kafka.servers, topic, 2)
    produce(kafka.servers, (Record(topic, b"x", number % 2) for number in range(20)))
    reader = member(settings(kafka.servers, topic, stall_seconds=4.0))
    reader.until(lambda: reader.end(0) == reader.end(1) == 10)
    stuck = reader.stream(0)
    # The driver stops fetching behind the source's back: what a batch that it cannot take looks like from here.
    reader.source._session._driver.pause([TopicPartition(topic, 0)])  # type: ignore[union-attr]  # noqa: SLF001 — no other way to be stuck
    produce(kafka.servers, (Record(topic, b"y", number % 2) for number in range(20)))
    reader.until(lambda: reader.halted and reader.end(1) == 20)
    assert set(reader.halted) == {stuck}
    assert reader.halted[stuck].code == "STUCK_AT"
    assert "offset 10" in reader.halted[stuck].message
    assert "STUCK_AT" in reader.noted.codes()
    reader.source.close()


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_records_of_every_codec_and_size_arrive_whole(codec: str, kafka: RealKafka) -> None:
    """Compressed with checksums verified, from nothing to 12 MB, in the order written."""
    topic = unique()
    create_topic(kafka.servers, topic, 1, {"max.message.bytes": "20000000"})
    values = [None, b"", b"\x00\xff", b"a" * 100_000, bytes(range(256)) * 47_000, b"end"]
    options = {"compression.type": codec, "message.max.bytes": 20_000_000}
    produce(kafka.servers, [Record(topic, value, 0) for value in values], options=options)
    reader = member(settings(kafka.servers, topic))
    reader.until(lambda: reader.end() == len(values))
    assert [value for chunk in reader.chunks for value in chunk.values] == values
    reader.source.close()


def test_keys_headers_and_times_arrive_as_they_were_written(kafka: RealKafka) -> None:
    """Null and empty are told apart, headers keep order and repeats, and times are the producer's, the broker's, or none at all (-1)."""
    topic, appended = unique(), unique()
    create_topic(kafka.servers, topic)
    create_topic(kafka.servers, appended, 1, {"message.timestamp.type": "LogAppendTime"})
    headers = (("b", b"1"), ("a", None), ("b", b""))
    written = [
        Record(topic, b"v", 0, key=b"k", headers=headers, timestamp=1_700_000_000_123),
        Record(topic, None, 0, key=b"", timestamp=1),
        Record(topic, b"", 0, timestamp=1_700_000_000_124),
        Record(topic, b"t", 0, timestamp=-1),
    ]
    produce(kafka.servers, written)
    produce(kafka.servers, [Record(appended, b"v", 0, timestamp=5)])
    reader = member(settings(kafka.servers, topic, appended))
    reader.until(lambda: sorted(reader.reached.values()) == [1, 4])
    chunks = [chunk for chunk in reader.chunks if chunk.stream.topic == topic]
    assert [value for chunk in chunks for value in chunk.values] == [b"v", None, b"", b"t"]
    assert [key for chunk in chunks for key in chunk.keys] == [b"k", b"", None, None]
    assert [moment for chunk in chunks for moment in chunk.timestamps] == [1_700_000_000_123, 1, 1_700_000_000_124, -1]
    assert [list(given) for chunk in chunks for given in chunk.headers or [()] * len(chunk)] == [list(headers), [], [], []]
    assert next(chunk for chunk in reader.chunks if chunk.stream.topic == appended).timestamps[0] > 1_700_000_000_000
    assert sum(chunk.nbytes for chunk in chunks) == len(b"v" + b"k" + b"b1" + b"a" + b"b" + b"t")
    reader.source.close()
