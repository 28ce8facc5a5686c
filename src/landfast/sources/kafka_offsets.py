"""The offsets of a group where they are the only memory of how far we got: moved by whoever holds the partition, and by nobody else."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from landfast.errors import Conflict, LandfastError, Unavailable
from landfast.model import Halt, Position, Stream
from landfast.sources.kafka_cluster import NO_TOPIC_ID
from landfast.sources.kafka_columns import Key
from landfast.sources.kafka_errors import kafka_error, raised_at_start, verdict
from landfast.sources.kafka_settings import KafkaSettings, reader_configuration

_WRITTEN = "landfast topic-id="
"""What is written beside an offset, before the topic's id: an offset of a topic that was made anew means another record."""

_READ_BACK_SECONDS_MAX = 2.0
"""The main thread waits for this, between two polls."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """Offsets that are to be kept."""

    positions: Mapping[Stream, Position]
    kept: Future[None] = field(default_factory=Future)


class GroupOffsets:
    """What a group has as its offsets, and the right to move them.

    `positions`, `take`, `check` and `keep` may come from any thread; the rest from the main thread alone, which is also the only one that
    touches the driver: a driver lets no second thread in while it polls, nor while it tells of a rebalance. `keep` waits until the main
    thread has come to `serve`.

    An offset moves only while its partition has been ours ever since `take`. The thread that moves it is the one that hears of
    rebalances, so it is ours when the request leaves, and the broker takes it from a member of that generation, or refuses it.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        # It never joins: it only asks. (The driver's admin client dies of this question where a broker has no group yet.)
        self._asking = threading.Lock()
        self._reader: Consumer | None = None
        self._driver: Consumer | None = None
        self._wishes: queue.SimpleQueue[_Wish] = queue.SimpleQueue()
        self._held: dict[Key, int] = {}
        self._taken: dict[Stream, int | None] = {}
        self._refused: KafkaError | None = None

    # ---- the main thread ----

    def work_with(self, driver: Consumer) -> None:
        """This driver is the member from now on."""
        self._driver = driver

    def rest(self) -> None:
        """There is no member any more: whoever waits hears that."""
        self._driver = None
        self.serve()

    def begin(self, keys: Iterable[Key]) -> None:
        """The group gave us these."""
        with self._lock:
            self._held.update({key: next(self._numbers) for key in keys})

    def end(self, keys: Iterable[Key]) -> None:
        """The group takes these away: from here on no offset of theirs leaves us."""
        with self._lock:
            for key in keys:
                self._held.pop(key, None)

    def heard(self, error: KafkaError | None) -> None:
        """What the broker said of a request."""
        self._refused = error

    def serve(self) -> None:
        """Keep what somebody waits for. Also while a stream is about to go: until `end` it is ours."""
        with suppress(queue.Empty):
            while True:
                wish = self._wishes.get_nowait()
                if not wish.kept.set_running_or_notify_cancel():
                    continue
                try:
                    self._keep(wish.positions)
                except LandfastError as error:
                    wish.kept.set_exception(error)
                else:
                    wish.kept.set_result(None)

    # ---- any thread ----

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """The group's offset of each stream; None where it has none, and a Halt where it is of another topic of that name.

        Raises:
            Unavailable: there is no answer.
        """
        asked = [TopicPartition(*_key(stream)) for stream in streams]
        with self._asking:
            try:
                if self._reader is None:
                    self._reader = Consumer(reader_configuration(self._settings) | {"group.id": self._settings.group, "log_level": 0})
                found = self._reader.committed(asked, self._settings.request_seconds_max) if asked else []
            except KafkaException as error:
                raise _unanswered(error, f"asking for the offsets of the group {self._settings.group}") from error
        refused = next((place.error for place in found if place.error is not None), None)
        if refused is not None:
            raise _unanswered(KafkaException(refused), f"asking for the offsets of the group {self._settings.group}")
        offsets = {(place.topic, place.partition): place for place in found}
        return {stream: _position(stream, offsets.get(_key(stream))) for stream in streams}

    def take(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Begin to move the offsets of these; answers like `positions`, from a question that is later than their assignment.

        Raises:
            Unavailable: there is no answer.
        """
        with self._lock:
            self._taken.update({stream: self._held.get((stream.topic, stream.partition)) for stream in streams})
        return self.positions(streams)

    def check(self, streams: Collection[Stream]) -> None:
        """These have been ours ever since they were taken.

        Raises:
            Conflict: one has not.
        """
        with self._lock:
            self._check(streams)

    def keep(self, positions: Mapping[Stream, Position]) -> None:
        """Move the group's offsets to these, and read them back.

        Raises:
            Conflict: a stream is not ours any more, or somebody has moved its offset beyond.
            Unavailable: the broker is not known to hold them; to keep them again is safe.
        """
        self.check(positions)
        wish = _Wish(positions)
        self._wishes.put(wish)
        try:
            wish.kept.result(2 * self._settings.request_seconds_max)
        except TimeoutError as error:
            # What is not withdrawn could move an offset long after we have gone on to something else.
            if wish.kept.cancel():
                raise self._failed("nobody asked the broker in time") from error
            wish.kept.result()

    def _check(self, streams: Collection[Stream]) -> Consumer:
        driver = self._driver
        for stream in streams:
            number = self._taken.get(stream)
            if driver is None or number is None or number != self._held.get(_key(stream)):
                message = "the group has given the partition away since its records were read; its offset stays where it is"
                step = "Nothing: whoever has it now reads from the group's offset."
                raise Conflict("PARTITION_LOST", message, stream=stream, next_step=step)
        if driver is None:
            raise Conflict("PARTITION_LOST", "there is no member of the group any more")
        return driver

    def _keep(self, positions: Mapping[Stream, Position]) -> None:
        places = [TopicPartition(*_key(stream), position, _written(stream)) for stream, position in positions.items()]
        with self._lock:
            driver = self._check(positions)
        self._refused = None
        try:
            # Sent and read back over one connection, which the broker serves in order.
            driver.commit(offsets=places, asynchronous=True)
            found = driver.committed(places, min(_READ_BACK_SECONDS_MAX, self._settings.request_seconds_max))
        except KafkaException as error:
            raise self._failed("", kafka_error(error)) from error
        there = {(place.topic, place.partition): place.offset for place in found}
        for stream, position in positions.items():
            offset = there.get(_key(stream), -1)
            if offset > position:
                message = f"the group's offset is {offset} already, and {position} was to be kept: another member has moved it"
                raise Conflict("PARTITION_LOST", message, stream=stream, position=position)
            if offset < position:
                raise self._failed("the broker does not hold them", self._refused)

    def _failed(self, words: str, error: KafkaError | None = None) -> Unavailable:
        said = words if error is None else f"{error.name()}: {error.str()}"
        kind = "transient" if error is None else verdict(error).error_class
        step = "Start the brokers, or grant READ on the group; what was handled stays handled while this process lives."
        message = f"the offsets of the group {self._settings.group} could not be kept: {said}"
        return Unavailable("OFFSETS_NOT_KEPT", message, kind=kind, next_step=step)


def _unanswered(error: KafkaException, doing: str) -> Unavailable:
    """Our error for the driver's: while a service runs, a right that is taken away may be given back."""
    made = raised_at_start(error, doing)
    return made if isinstance(made, Unavailable) else Unavailable(made.code, made.message, kind="auth", next_step=made.next_step)


def _key(stream: Stream) -> Key:
    return stream.topic, stream.partition


def _written(stream: Stream) -> str:
    return f"{_WRITTEN}{stream.incarnation}"


def _position(stream: Stream, place: TopicPartition | None) -> Position | Halt | None:
    if place is None or place.offset < 0:
        return None
    written = place.metadata or ""
    if (
        written.startswith(_WRITTEN)
        and NO_TOPIC_ID not in (stream.incarnation, written.removeprefix(_WRITTEN))
        and written != _written(stream)
    ):
        message = f"the group's offset {place.offset} of {stream} is one of the topic {written.removeprefix(_WRITTEN)}, and today the name "
        message += f"belongs to {stream.incarnation}: deleted and created again, its offsets mean other records"
        step = "If the new topic is wanted: stop the service, delete the group's offsets of it (kafka-consumer-groups --delete-offsets)."
        return Halt("TOPIC_REPLACED", message, step)
    return place.offset
