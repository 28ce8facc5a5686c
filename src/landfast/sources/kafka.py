"""A Kafka consumer group as a Source: it starts where the sink says, and vouches for what it read.

The driver's callbacks only take notes; asking the engine and the broker happens in `poll`, where an error can be raised. A partition
that is ours is not assigned to the driver before the engine has said where to start, so nothing is ever read from anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from landfast.errors import LandfastError, Misconfigured, Unavailable, check
from landfast.events import StaleDropped
from landfast.model import Assignment, Bounds, Chunk, Halt, Poll, Position, Stream
from landfast.ports import Clock, Membership, Observer
from landfast.sources import kafka_errors
from landfast.sources.kafka_cluster import Extents, KafkaCluster
from landfast.sources.kafka_columns import Key, chunk, gap, sort
from landfast.sources.kafka_errors import Act, verdict
from landfast.sources.kafka_identity import Findings, IdentityCheck
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_readers import Reader, State, current, marks
from landfast.sources.kafka_settings import KafkaSettings, check_settings, consumer_configuration
from landfast.sources.kafka_stall import StallWatch

_CONSUME_SECONDS_MAX = 0.1  # consume() waits this out unless it is full; longer waits only delay what is there.
_HELD_SECONDS_MAX = 0.05
_PLACE_AGAIN_SECONDS = 0.5
_PARTING_CHECK_SECONDS_MAX = 1.0
_RECORD_BYTES_GUESS = 16_384.0
_RECORD_BYTES_WEIGHT = 0.3


class KafkaSource:
    """One member of a consumer group: a `Source` and an `Extent`.

    Nothing is connected before `open` or `bounds`. All methods belong to one thread. Nothing that was read is `confirmed` before a
    topic-id check that began after the read.

    Raises:
        Misconfigured: settings or options that are unknown, impossible or unsafe.
    """

    def __init__(self, settings: KafkaSettings, clock: Clock, observer: Observer) -> None:
        check_settings(settings)
        self._settings = settings
        self._clock = clock
        self._observer = observer
        self._notices = Notices(observer, clock, settings.notice_seconds, settings.options)
        self._membership: Membership | None = None
        self._consumer: Consumer | None = None
        self._cluster: KafkaCluster | None = None
        self._identity: IdentityCheck | None = None
        self._stall: StallWatch | None = None
        self._readers: dict[Key, Reader] = {}
        self._unplaced: set[Key] = set()
        self._assigned: set[Key] = set()
        self._paused: set[Key] = set()
        self._orphans: dict[Stream, Reader] = {}
        self._halted: dict[Stream, Halt] = {}
        self._failure: BaseException | None = None
        self._subscription: tuple[str, ...] = ()
        self._record_bytes = _RECORD_BYTES_GUESS
        self._place_at = 0.0
        self._confirm_at = 0.0

    # ---- the port ----

    def open(self, membership: Membership) -> None:
        """Check topics and access, then join the group; streams arrive through `poll`."""
        check(self._consumer is None, "a source is opened once")
        names = self._named()
        configuration = consumer_configuration(self._settings)
        configuration |= {"log_level": 4, "logger": self._notices.logger(), "error_cb": self._on_error, "on_commit": self._on_commit}
        try:
            self._consumer = Consumer(configuration)
            self._membership = membership
            self._subscribe(names)
        except (KafkaException, ValueError) as error:
            self._consumer = None
            raise kafka_errors.raised_at_start(error, "joining the group") from error

    def poll(self, limit: int, timeout_seconds: float, hold: AbstractSet[Stream]) -> Poll:
        """Read for a moment. Rebalances, checks and new placements happen in here."""
        check(limit > 0, "a poll asks for at least one record")
        self._hold(hold)
        self._place()
        messages = self._consume(limit, timeout_seconds)
        self._raise_failure()
        chunks, reached = self._take(messages)
        del messages
        self._place()
        self._look_after_identity()
        self._look_for_stalls()
        return Poll(chunks, reached, self._newly_confirmed(), self._newly_halted())

    def rewind(self, assignments: Mapping[Stream, Assignment]) -> None:
        """Stop reading these streams at once; they start again, from there, in the next `poll`. Others' streams are left alone."""
        ours = [reader for stream, _ in assignments.items() if (reader := self._reader(stream)) is not None]
        self._unassign(reader.key for reader in ours)
        for reader in ours:
            reader.ask(assignments[reader.stream])
        self._place_at = 0.0

    def acknowledge(self, positions: Mapping[Stream, Position]) -> None:
        """Tell the group, without waiting and without relying on it."""
        ours = [(stream, position) for stream, position in positions.items() if self._reader(stream) is not None]
        if not ours or self._consumer is None:
            return
        try:
            offsets = [TopicPartition(stream.topic, stream.partition, position) for stream, position in ours]
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._notices.say("GROUP_COMMIT_FAILED", f"the group's offsets, a hint only, could not be written: {error}")

    def close(self) -> None:
        """Give up what is ours, within `revoke_seconds`, and leave the group. Idempotent."""
        consumer = self._consumer
        if consumer is None:
            return
        # The driver calls `on_revoke` from inside close().
        consumer.close()
        self._consumer = None
        if self._readers or self._orphans:
            self._give_up(list(self._readers), 0.0)
        self._raise_failure()

    def bounds(self, streams: Collection[Stream] | None = None) -> Mapping[Stream, Bounds]:
        """What the log has of these streams; one whose topic is gone or another by now is left out."""
        cluster = self._asking()
        names = cluster.subscribed() if streams is None else {stream.topic for stream in streams}
        today = {name: topic for name, topic in cluster.describe(names).items() if topic is not None}
        here = {Stream(name, topic.incarnation, partition) for name, topic in today.items() for partition in topic.partitions}
        wanted = here if streams is None else here.intersection(streams)
        extents = cluster.extents([(stream.topic, stream.partition) for stream in wanted])
        found = {stream: extents.get((stream.topic, stream.partition)) for stream in sorted(wanted)}
        if any(extent is None for extent in found.values()):
            missing = ", ".join(str(stream) for stream, extent in found.items() if extent is None)
            raise Unavailable("SOURCE_DOWN", f"no leader answers for {missing}")
        return {stream: Bounds(extent.first, extent.end) for stream, extent in found.items() if extent is not None}

    # ---- before reading ----

    def _asking(self) -> KafkaCluster:
        if self._cluster is None:
            self._cluster = KafkaCluster(self._settings, self._notices)
            self._identity = IdentityCheck(self._cluster, self._notices, self._settings.gone_seconds)
            self._stall = StallWatch(self._cluster, self._notices, self._settings.stall_seconds)
        return self._cluster

    def _named(self) -> tuple[str, ...]:
        """The topics to subscribe to, each of which exists and may be described."""
        cluster = self._asking()
        names = cluster.subscribed()
        if not names:
            message = f"no topic matches the pattern {self._settings.topic_pattern}"
            raise Misconfigured("TOPIC_MISSING", message, next_step="Create a topic that matches, or correct source.topic_pattern.")
        missing = sorted(name for name, topic in cluster.describe(names).items() if topic is None)
        if missing:
            raise Misconfigured("TOPIC_MISSING", f"no such topic: {', '.join(missing)}", next_step="Create it, or correct source.topics.")
        return names

    def _subscribe(self, names: tuple[str, ...]) -> None:
        check(self._consumer is not None, "the source is open")
        self._subscription = names
        self._driver.subscribe(
            list(names),
            on_assign=self._guarded(self._on_assign),
            on_revoke=self._guarded(self._on_revoke),
            on_lost=self._guarded(self._on_lost),
        )

    @property
    def _driver(self) -> Consumer:
        if self._consumer is None:
            raise Unavailable("SOURCE_DOWN", "the source is not open")
        return self._consumer

    # ---- the driver's callbacks ----

    def _guarded(self, act: Callable[[list[TopicPartition]], None]) -> Callable[[Any, list[TopicPartition]], None]:
        """An exception that leaves a callback would be followed by the driver's default: everything assigned, from anywhere."""

        def callback(_: Any, partitions: list[TopicPartition]) -> None:
            try:
                act(partitions)
            except BaseException as error:  # noqa: BLE001 — raised again by the `poll` that the callback runs in
                self._failure = self._failure or error

        return callback

    def _on_assign(self, partitions: list[TopicPartition]) -> None:
        self._driver.incremental_assign([])
        self._unplaced |= {(partition.topic, partition.partition) for partition in partitions}
        self._place_at = 0.0

    def _on_revoke(self, partitions: list[TopicPartition]) -> None:
        self._part(partitions, self._settings.revoke_seconds)

    def _on_lost(self, partitions: list[TopicPartition]) -> None:
        self._part(partitions, 0.0)

    def _part(self, partitions: list[TopicPartition], deadline_seconds: float) -> None:
        keys = [(partition.topic, partition.partition) for partition in partitions]
        try:
            self._give_up(keys, deadline_seconds)
        finally:
            # Exactly what the driver holds: it refuses to take back a partition that was never given to it.
            held = [key for key in keys if key in self._assigned]
            self._assigned.difference_update(held)
            self._paused.difference_update(held)
            self._driver.incremental_unassign(_partitions(held))

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._failure = self._failure or kafka_errors.fatal(error)
            return
        judged = verdict(error)
        code = "BROKER_UNREACHABLE" if judged.act is Act.STOP else judged.code
        self._notices.say(code, f"{error.name()}: {error.str()}", about=str(error.code()))

    def _on_commit(self, error: KafkaError | None, _: list[TopicPartition]) -> None:
        if error is not None:
            self._notices.say("GROUP_COMMIT_FAILED", f"the group's offsets, a hint only, could not be written: {error.str()}")

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    # ---- streams that come and go ----

    def _place(self) -> None:
        """Ask the engine where to start what is new, and start what it has answered for."""
        asked = [reader for reader in self._readers.values() if reader.state is State.ASKED]
        now = self._clock.monotonic()
        if not (self._unplaced or asked) or now < self._place_at:
            return
        self._place_at = now + _PLACE_AGAIN_SECONDS
        try:
            self._introduce()
            self._start([reader for reader in self._readers.values() if reader.state is State.ASKED])
        except Unavailable as error:
            self._notices.say(error.code, f"streams that are ours cannot start yet: {error.message}", about="place")

    def _introduce(self) -> None:
        if not self._unplaced or self._membership is None:
            return
        topics = self._asking().describe({topic for topic, _ in self._unplaced})
        gained: list[Stream] = []
        for key in sorted(self._unplaced):
            topic = topics[key[0]]
            if topic is None:
                self._notices.say("TOPIC_GONE", f"{key[0]}[{key[1]}] is ours, and the broker knows no such topic", about=key[0])
                continue
            stream = Stream(key[0], topic.incarnation, key[1])
            self._unplaced.discard(key)
            self._end_orphan(stream)
            self._readers[key] = Reader(stream)
            gained.append(stream)
        if gained:
            for stream, assignment in self._membership.gained(gained).items():
                self._readers[stream.topic, stream.partition].ask(assignment)

    def _start(self, asked: Collection[Reader]) -> None:
        if not asked:
            return
        extents = self._asking().extents([reader.key for reader in asked])
        firsts = self._first_positions([reader for reader in asked if reader.asked and reader.asked.position is None], extents)
        starting: list[Reader] = []
        for reader in asked:
            extent = extents.get(reader.key)
            if extent is None or reader.asked is None:
                continue
            position = firsts[reader.key] if reader.asked.position is None else reader.asked.position
            reader.start(position)
            if position < extent.first:
                self._halt(reader, kafka_errors.expired(reader.stream, position, extent.first))
            elif position > extent.high:
                self._halt(reader, kafka_errors.truncated(reader.stream, position, extent.high))
            else:
                starting.append(reader)
        self._assign(starting)

    def _first_positions(self, fresh: Collection[Reader], extents: Mapping[Key, Extents]) -> dict[Key, Position]:
        start = self._settings.start
        keys = [reader.key for reader in fresh if reader.key in extents]
        if start == "earliest":
            return {key: extents[key].first for key in keys}
        if start == "latest":
            return {key: extents[key].end for key in keys}
        since = self._asking().since(keys, start)
        return {key: extents[key].end if (at := since.get(key)) is None else at for key in keys}

    def _assign(self, readers: Collection[Reader]) -> None:
        if not readers:
            return
        places = [TopicPartition(*reader.key, reader.position) for reader in readers]
        self._driver.incremental_assign(places)
        # A partition that was paused when it went is still paused when it comes back.
        self._driver.resume(places)
        keys = {reader.key for reader in readers}
        self._assigned |= keys
        self._paused -= keys

    def _unassign(self, keys: Iterable[Key]) -> None:
        held = [key for key in keys if key in self._assigned]
        if held:
            self._driver.incremental_unassign(_partitions(held))
            self._assigned.difference_update(held)
            self._paused.difference_update(held)

    def _give_up(self, keys: Collection[Key], deadline_seconds: float) -> None:
        """Tell the engine that streams go; those whose topic seems to be gone stay until that is certain, so that it can be said."""
        self._unplaced.difference_update(keys)
        going = [reader for key in keys if (reader := self._readers.get(key)) is not None]
        self._check_before_parting(going, deadline_seconds)
        confirmed = {reader.stream: reader.confirmed for reader in going if reader.state is State.READING}
        lost: list[Stream] = []
        for reader in going:
            del self._readers[reader.key]
            missing = self._identity is not None and self._identity.missing(reader.stream.topic)
            if missing and reader.state is State.READING:
                self._orphans[reader.stream] = reader
            else:
                lost.append(reader.stream)
        if lost and self._membership is not None:
            told = {stream: position for stream, position in confirmed.items() if stream in lost}
            self._membership.lost(lost, deadline_seconds, told)

    def _check_before_parting(self, going: Collection[Reader], deadline_seconds: float) -> None:
        if self._identity is None or self._settings.topic_ids == "ignored":
            return
        wait = min(_PARTING_CHECK_SECONDS_MAX, self._settings.request_seconds_max)
        try:
            findings = self._identity.ask_and_wait(marks(going), wait, self._clock.monotonic())
        except LandfastError as error:
            self._notices.say(error.code, error.message, about="parting")
            return
        self._apply(findings)

    def _end_orphan(self, stream: Stream) -> None:
        if self._orphans.pop(stream, None) is not None and self._membership is not None:
            self._membership.lost([stream], 0.0, {})

    # ---- reading ----

    def _hold(self, hold: AbstractSet[Stream]) -> None:
        wanted = {(stream.topic, stream.partition) for stream in hold} & self._assigned
        pause = wanted - self._paused
        resume = self._paused - wanted
        if pause:
            self._driver.pause(_partitions(pause))
            self._paused |= pause
        if resume:
            # Assigning it anew at its own position brings a lone partition back in milliseconds; a resume can take a second.
            readers = [self._readers[key] for key in sorted(resume)]
            self._unassign(resume)
            self._assign(readers)

    def _consume(self, limit: int, timeout_seconds: float) -> list[Message]:
        # consume() knows no bound in bytes, and serves nothing at all, not even the group, when it is asked for no record.
        count = max(1, min(limit, int(self._settings.poll_bytes_max / self._record_bytes)))
        wait = min(timeout_seconds, _CONSUME_SECONDS_MAX)
        if self._assigned <= self._paused:
            count, wait = 1, min(wait, _HELD_SECONDS_MAX)
        try:
            return self._driver.consume(count, wait)
        except KafkaException as error:
            inside = kafka_errors.kafka_error(error)
            if inside is None or verdict(inside).act is Act.STOP:
                raise kafka_errors.raised_at_start(error, "reading") from error
            self._notices.say(verdict(inside).code, f"{inside.name()}: {inside.str()}", about=str(inside.code()))
            return []

    def _take(self, messages: list[Message]) -> tuple[list[Chunk], dict[Stream, Position]]:
        found = sort(messages)
        chunks: list[Chunk] = []
        for key, records in found.records.items():
            taken = self._taken(key, records)
            if taken is not None:
                chunks.append(taken)
        reached: dict[Stream, Position] = {}
        for key, end in found.ends.items():
            reader = self._reading(key)
            if reader is None or end < reader.position:
                continue
            if end > reader.position:
                chunks.append(gap(reader.stream, reader.epoch, reader.position, end))
                reader.position = end
            reached[reader.stream] = end
        for message in found.errors:
            self._meet(message)
        return chunks, reached

    def _taken(self, key: Key, records: list[Message]) -> Chunk | None:
        reader = self._reading(key)
        first = records[0].offset()
        if reader is None or first is None or first < reader.position:
            stream = reader.stream if reader is not None else Stream(key[0], "", key[1])
            self._observer.notice(StaleDropped("", stream, len(records)))
            return None
        taken = chunk(reader.stream, reader.epoch, reader.position, records)
        reader.position = taken.end
        size = taken.nbytes / len(records)
        # Quick to believe in larger records, slow to believe in smaller ones.
        self._record_bytes = max(1.0, size, self._record_bytes + _RECORD_BYTES_WEIGHT * (size - self._record_bytes))
        return taken

    def _reading(self, key: Key) -> Reader | None:
        reader = self._readers.get(key)
        return reader if reader is not None and reader.state is State.READING else None

    def _reader(self, stream: Stream) -> Reader | None:
        reader = self._readers.get((stream.topic, stream.partition))
        return reader if reader is not None and reader.stream == stream else None

    def _meet(self, message: Message) -> None:
        """An error in place of a record: told, halts its streams, or ends the run."""
        error = message.error()
        if error is None:
            return
        judged = verdict(error)
        if judged.act is Act.STOP:
            raise kafka_errors.fatal(error)
        concerned = self._concerned(message)
        if judged.act is Act.RETRY:
            self._notices.say(judged.code, f"{error.name()}: {error.str()}", about=str(error.code()))
        elif judged.code == "DATA_EXPIRED":
            # Out of range on which side? Starting again compares the position with what the log holds, and halts.
            self._unassign(reader.key for reader in concerned)
            for reader in concerned:
                reader.ask(Assignment(reader.position, reader.epoch))
        elif concerned:
            for reader in concerned:
                self._halt(reader, kafka_errors.refused(reader.stream, reader.position, error))
        else:
            raise kafka_errors.raised_at_start(KafkaException(error), "reading")

    def _concerned(self, message: Message) -> list[Reader]:
        topic, partition = message.topic(), message.partition()
        return [
            reader
            for (name, number), reader in self._readers.items()
            if reader.state is State.READING
            and (not topic or name == topic)
            and (partition is None or partition < 0 or number == partition)
        ]

    # ---- what is looked after beside reading ----

    def _look_after_identity(self) -> None:
        identity = self._identity
        if identity is None:
            return
        if self._settings.topic_ids == "ignored":
            for reader in self._readers.values():
                reader.confirmed = reader.position
            return
        now = self._clock.monotonic()
        self._apply(identity.answered(now))
        standing = [reader for reader in self._readers.values() if reader.state is State.READING]
        behind = any(reader.confirmed < reader.position for reader in standing) or bool(self._orphans)
        if identity.asking or not (standing or self._orphans):
            return
        pause = self._settings.confirm_seconds if behind else self._settings.topic_check_seconds
        if now >= self._confirm_at + pause:
            self._confirm_at = now
            identity.ask(marks([*standing, *self._orphans.values()]))

    def _apply(self, findings: Findings) -> None:
        for mark in findings.confirmed:
            reader = current(mark, self._readers)
            if reader is not None:
                reader.confirmed = max(reader.confirmed, mark.position)
            else:
                self._end_orphan(mark.stream)
        for mark, halt in findings.halted.items():
            reader = current(mark, self._readers)
            if reader is not None:
                self._halt(reader, halt)
            elif self._orphans.pop(mark.stream, None) is not None:
                self._halted[mark.stream] = halt

    def _look_for_stalls(self) -> None:
        if self._stall is None:
            return
        reading = [reader for key, reader in self._readers.items() if reader.state is State.READING and key not in self._paused]
        for mark, halt in self._stall.turn(self._clock.monotonic(), marks(reading), self._readers).items():
            reader = current(mark, self._readers)
            if reader is not None:
                self._halt(reader, halt)

    def _halt(self, reader: Reader, halt: Halt) -> None:
        self._unassign([reader.key])
        reader.state = State.HALTED
        self._halted[reader.stream] = halt

    def _newly_halted(self) -> dict[Stream, Halt]:
        halted, self._halted = self._halted, {}
        return halted

    def _newly_confirmed(self) -> dict[Stream, Position]:
        fresh = [reader for reader in self._readers.values() if reader.confirmed > reader.told]
        for reader in fresh:
            reader.told = reader.confirmed
        return {reader.stream: reader.confirmed for reader in fresh}


def _partitions(keys: Iterable[Key]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic, partition in keys]
