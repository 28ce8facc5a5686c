"""Dead letters in a Kafka topic: the record as it was, with what became of it in headers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from landfast.errors import ErrorClass, Halted, LandfastError, Unavailable
from landfast.model import TIMESTAMP_ABSENT, Letter, Position, Stream
from landfast.ports import Clock
from landfast.sources.kafka_errors import kafka_error, verdict

PREFIX = "landfast-"
"""What the names of our headers begin with; the record's own come before them."""

_SERVE_SECONDS = 0.1
_MESSAGE_BYTES_MAX = 1_000_000_000
_RETRIED = frozenset({ErrorClass.TRANSIENT, ErrorClass.THROTTLED, ErrorClass.AUTH, ErrorClass.CONFLICT, ErrorClass.UNKNOWN})


class TopicLetters:
    """Almost a `ports.DeadLetters`: a letter is durable when `put` returns, on all replicas in sync, and may be there more than once.

    A topic knows no claims. So that a former owner buries nothing, `put` asks `still_ours` first, which raises Conflict; and what was
    buried before a crash is not looked up: the record is read again, refused again and buried again. Whoever reads the topic tells such
    letters by their coordinates.
    """

    def __init__(
        self,
        topic: str,
        configuration: Mapping[str, Any],
        still_ours: Callable[[Collection[Stream]], None],
        clock: Clock,
        *,
        put_seconds_max: float = 30.0,
    ) -> None:
        self._topic = topic
        self._still_ours = still_ours
        self._clock = clock
        self._put_seconds_max = put_seconds_max
        self._configuration = {
            **configuration,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "message.timeout.ms": int(put_seconds_max * 1000),
            # The broker says what is too large for the topic.
            "message.max.bytes": _MESSAGE_BYTES_MAX,
            "log_level": 0,
        }
        self._producer: Producer | None = None

    def claim(self, streams: Collection[Stream]) -> None:
        """Nothing to do."""

    def buried(self, stream: Stream, start: Position) -> AbstractSet[int]:
        """Not looked up: none."""
        return frozenset()

    def close(self) -> None:
        """Let go. Idempotent."""
        self._producer = None

    def put(self, letters: Sequence[Letter]) -> None:
        """See `ports.DeadLetters.put`, but that some may be there although others could not be written: they are put again.

        Raises:
            Conflict: a stream is not ours any more.
            Unavailable: not all are known to be durable.
            Halted: the topic cannot take one of them, ever.
        """
        self._still_ours({letter.stream for letter in letters})
        failed: list[KafkaError] = []
        waiting = len(letters)

        def delivered(error: KafkaError | None, _: object) -> None:
            nonlocal waiting
            waiting -= 1
            if error is not None:
                failed.append(error)

        try:
            producer = self._open()
            for letter in letters:
                self._send(producer, letter, delivered)
            deadline = self._clock.monotonic() + self._put_seconds_max
            while waiting and self._clock.monotonic() < deadline:
                producer.poll(_SERVE_SECONDS)
        except (KafkaException, BufferError, ValueError) as error:
            raise self._refused(kafka_error(error), f"{type(error).__name__} at the first of {len(letters)}") from error
        if failed or waiting:
            # A producer that could not send may hold what is not to be sent again by itself.
            self._producer = None
            raise self._refused(failed[0] if failed else None, f"{len(failed) + waiting} of {len(letters)}")

    def _open(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(self._configuration)
        return self._producer

    def _send(self, producer: Producer, letter: Letter, delivered: Callable[[KafkaError | None, object], None]) -> None:
        deadline = self._clock.monotonic() + self._put_seconds_max
        while True:
            try:
                producer.produce(self._topic, letter.value, letter.key, headers=headers_of(letter), on_delivery=delivered)
            except BufferError:
                if self._clock.monotonic() >= deadline:
                    raise
                producer.poll(_SERVE_SECONDS)
            else:
                return

    def _refused(self, error: KafkaError | None, what: str) -> LandfastError:
        words = "no answer in time" if error is None else f"{error.name()}: {error.str()}"
        kind = ErrorClass.TRANSIENT if error is None else verdict(error).error_class
        message = f"dead letters were not taken by the topic {self._topic}: {what}: {words}"
        if kind in _RETRIED:
            return Unavailable("DLQ_DOWN", message, kind=kind, next_step=f"Make the topic {self._topic} writable.")
        step = f"Let the topic {self._topic} take records of this size (max.message.bytes), then start again."
        return Halted("DLQ_DOWN", message, next_step=step)


def headers_of(letter: Letter) -> list[tuple[str, str | bytes | None]]:
    """The record's own headers, then where it lay and what became of it."""
    told: dict[str, object] = {
        "topic": letter.stream.topic,
        "topic-id": letter.stream.incarnation,
        "partition": letter.stream.partition,
        "offset": letter.offset,
        "timestamp": "" if letter.timestamp == TIMESTAMP_ABSENT else letter.timestamp,
        "phase": letter.phase,
        "reason": letter.reason,
        "message": letter.message,
        "attempts": letter.attempts,
        "failed-at": round(letter.failed_at * 1000),
    }
    ours: list[tuple[str, str | bytes | None]] = [
        (PREFIX + name, str(value).encode("utf-8", "backslashreplace")) for name, value in told.items()
    ]
    return [*letter.headers, *ours]


class NoLetters:
    """A `ports.DeadLetters` for who has no place for them: the lane halts in front of the record."""

    def claim(self, streams: Collection[Stream]) -> None:
        """Nothing to do."""

    def buried(self, stream: Stream, start: Position) -> AbstractSet[int]:
        """None."""
        return frozenset()

    def close(self) -> None:
        """Nothing to let go of."""

    def put(self, letters: Sequence[Letter]) -> None:
        """Refuse.

        Raises:
            Halted: always.
        """
        first = letters[0]
        message = f"{len(letters)} records are refused, the first at {first.stream} offset {first.offset}: {first.message}"
        step = "Mend the decoder or the producer, or give dead_letters a topic for such records. Nothing of the batch was marked as done."
        raise Halted("RECORDS_REFUSED", message, next_step=step, stream=first.stream, position=first.offset)
