"""The Kafka source keeps the promises of a Source, on a real broker and under both group protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from landfast.model import Bounds, Position, Stream
from landfast.ports import Clock
from landfast.sources.kafka import KafkaSource
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, create_topic, delete_records, delete_topic, produce, produce_transactions
from landfast.testing.suites import LOG_CHANGE_CHECKS, SOURCE_CHECKS, Draft, SourceHarness, SourceUnderTest
from tests.sources.kafka_world import Noted, WallClock, settings, unique

pytestmark = pytest.mark.system


class KafkaHarness:
    """A topic of two partitions and a group, both of their own."""

    def __init__(self, servers: str, protocol: str) -> None:
        self.clock: Clock = WallClock()
        self.patience_seconds = 180.0
        self._servers = servers
        self._topic = unique("contract")
        self._settings = settings(servers, self._topic, protocol=protocol)
        self._id = create_topic(servers, self._topic, 2)

    def open_source(self) -> SourceUnderTest:
        """Another member."""
        return KafkaSource(self._settings, self.clock, Noted())

    def streams(self) -> tuple[Stream, Stream]:
        """As created last."""
        return Stream(self._topic, self._id, 0), Stream(self._topic, self._id, 1)

    def produce(self, stream: Stream, records: Sequence[Draft]) -> list[int]:
        """In order, by an idempotent producer."""
        sent = produce(
            self._servers,
            [Record(self._topic, draft.value, stream.partition, draft.key, draft.headers, draft.timestamp) for draft in records],
        )
        return [record.offset for record in sent]

    def bounds(self, stream: Stream) -> Bounds:
        """Asked by a source of its own."""
        return self.open_source().bounds([stream])[stream]

    def append_gap(self, stream: Stream) -> Position:
        """An aborted transaction: its record and its marker."""
        end = self.bounds(stream).end + 2
        produce_transactions(self._servers, [(False, [Record(self._topic, b"aborted", stream.partition)])], identity=self._topic)
        assert self.bounds(stream).end == end
        return end

    def expire(self, stream: Stream, first: Position) -> None:
        """As retention does."""
        delete_records(self._servers, self._topic, stream.partition, first)

    def recreate(self) -> None:
        """Under the same name."""
        delete_topic(self._servers, self._topic)
        self._id = create_topic(self._servers, self._topic, 2)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("promise", [*SOURCE_CHECKS, *LOG_CHANGE_CHECKS], ids=lambda promise: promise.__name__)
def test_the_kafka_source_keeps_the_contract(promise: Callable[[SourceHarness], None], protocol: str, kafka: RealKafka) -> None:
    """Every promise of a Source, one by one, under each protocol."""
    promise(KafkaHarness(kafka.servers, protocol))
