"""The log read a second time, without a group and without effect: for proof, and for samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from landfast.errors import Unavailable
from landfast.model import Bounds, Chunk, Position, Stream
from landfast.ports import Clock, Observer
from landfast.sources import kafka_errors
from landfast.sources.kafka import KafkaSource
from landfast.sources.kafka_cluster import KafkaCluster
from landfast.sources.kafka_columns import chunk, gap, sort
from landfast.sources.kafka_errors import Act, verdict
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_readers import BEFORE_ANY_EPOCH
from landfast.sources.kafka_settings import KafkaSettings, check_settings, reader_configuration

_CONSUME_SECONDS = 0.1
_RECORDS_FIRST = 500


class KafkaRereader:
    """Reads any range of any stream again, as a read-committed reader sees it today. One thread at a time.

    Raises:
        Misconfigured: settings or options that are unknown, impossible or unsafe.
        Unavailable: from every call, when no broker answers or nothing arrives for `stall_seconds`.
    """

    def __init__(self, settings: KafkaSettings, clock: Clock, observer: Observer) -> None:
        check_settings(settings)
        self._settings = settings
        self._clock = clock
        self._notices = Notices(observer, clock, settings.notice_seconds, settings.options)
        self._cluster = KafkaCluster(settings, clock, self._notices)
        self._extent = KafkaSource(settings, clock, observer)

    def first(self, stream: Stream) -> Position | None:
        """The oldest position that the log still has, or None where this incarnation of the stream is gone."""
        bounds = self._extent.bounds([stream]).get(stream)
        return None if bounds is None else bounds.first

    def compacted(self, stream: Stream) -> bool:
        """Whether the log may drop single records. Where that may not be asked, the answer is that it may."""
        return "compact" in self._cluster.cleanup_policy(stream.topic)

    def chunks(self, stream: Stream, start: Position, end: Position) -> Iterator[Chunk]:
        """Everything that the log still has in `[start, end)`, in order. Stops early where the log does.

        Raises:
            Unavailable: also when the topic was created again meanwhile, so that what was read may be of another.
        """
        if start < end:
            yield from self._read(stream, start, end)
        if self.first(stream) is None:
            raise Unavailable("TOPIC_REPLACED", f"the topic {stream.topic} went while it was read again", stream=stream, position=start)

    def sample(self, records: int) -> Mapping[str, list[bytes]]:
        """Up to about `records` values of each topic that the settings name, half of them the oldest, half the newest."""
        bounds = self._extent.bounds()
        values: dict[str, list[bytes]] = {stream.topic: [] for stream in bounds}
        partitions = {topic: sum(stream.topic == topic for stream in bounds) for topic in values}
        for stream, extent in bounds.items():
            share = max(1, records // (2 * partitions[stream.topic]))
            for start, end in _ends(extent, share):
                for part in self._read(stream, start, end):
                    values[stream.topic].extend(value for value in part.values if value is not None)
        return {topic: found[:records] for topic, found in values.items()}

    def _read(self, stream: Stream, start: Position, end: Position) -> Iterator[Chunk]:
        heard: dict[str, Any] = {"log_level": 4, "logger": self._notices.logger(), "error_cb": lambda _: None}
        try:
            driver = Consumer(reader_configuration(self._settings) | heard)
        except (KafkaException, ValueError) as error:
            raise kafka_errors.raised_at_start(error, "making a client") from error
        try:
            driver.assign([TopicPartition(stream.topic, stream.partition, start)])
            yield from self._until(driver, stream, start, end)
        except KafkaException as error:
            raise kafka_errors.raised_at_start(error, f"reading {stream} again") from error
        finally:
            driver.close()

    def _until(self, driver: Consumer, stream: Stream, start: Position, end: Position) -> Iterator[Chunk]:
        position, count = start, _RECORDS_FIRST
        heard_at = self._clock.monotonic()
        key = (stream.topic, stream.partition)
        while position < end:
            found = sort(driver.consume(count, _CONSUME_SECONDS))
            records = found.records.get(key, [])
            taken = [message for message in records if _offset(message) < end]
            if taken:
                part = chunk(stream, BEFORE_ANY_EPOCH, position, taken)
                position = part.end
                count = max(1, min(100_000, int(self._settings.poll_bytes_max * len(part) / max(1, part.nbytes))))
                yield part
            beyond = _offset(records[-1]) + 1 if len(records) > len(taken) else found.ends.get(key, position)
            if beyond > position:
                yield gap(stream, BEFORE_ANY_EPOCH, position, min(beyond, end))
                position = beyond
            elif key in found.ends or self._ended(found.errors, stream):
                return
            now = self._clock.monotonic()
            if records or found.ends:
                heard_at = now
            elif now - heard_at > self._settings.stall_seconds:
                raise Unavailable("STUCK_AT", f"nothing arrived for {now - heard_at:.0f} s", stream=stream, position=position)

    def _ended(self, errors: list[Message], stream: Stream) -> bool:
        """Whether the log says that what is wanted is not there; other errors are told or raised."""
        for message in errors:
            error = message.error()
            if error is None:
                continue
            judged = verdict(error)
            if judged.code in {"DATA_EXPIRED", "TOPIC_GONE"}:
                return True
            if judged.act is not Act.RETRY:
                raise kafka_errors.raised_at_start(KafkaException(error), f"reading {stream} again")
            self._notices.say(judged.code, f"{error.name()}: {error.str()}", about=str(error.code()))
        return False


def _offset(message: Message) -> int:
    offset = message.offset()
    return -1 if offset is None else offset


def _ends(extent: Bounds, share: int) -> list[tuple[Position, Position]]:
    """The oldest and the newest `share` places of a stream, once where they meet."""
    if extent.end - extent.first <= 2 * share:
        return [(extent.first, extent.end)]
    return [(extent.first, extent.first + share), (extent.end - share, extent.end)]
