"""Which partitions are ours, where each starts, and what of them the driver was given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet

from confluent_kafka import Consumer, TopicPartition

from landfast.errors import Misconfigured, Unavailable
from landfast.model import Assignment, Halt, Position, Stream
from landfast.ports import Membership
from landfast.sources.kafka_cluster import Extents, KafkaCluster
from landfast.sources.kafka_columns import Key
from landfast.sources.kafka_errors import expired, truncated
from landfast.sources.kafka_identity import Findings, IdentityCheck
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_readers import Mark, Reader, State, current, marks
from landfast.sources.kafka_settings import KafkaSettings

_PLACE_AGAIN_SECONDS = 0.5
_PARTING_CHECK_SECONDS_MAX = 1.0


class Ownership:
    """What is ours between the group's word and the engine's.

    A partition of ours is first `claimed`, then known as a stream (its topic id was asked), then started where the engine says, if the
    log still holds that place. Only then does the driver get it, so that nothing is ever read from anywhere else.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        driver: Consumer,
        cluster: KafkaCluster,
        identity: IdentityCheck,
        membership: Membership,
        notices: Notices,
    ) -> None:
        self.readers: dict[Key, Reader] = {}
        self.paused: set[Key] = set()
        self._settings = settings
        self._driver = driver
        self._cluster = cluster
        self._identity = identity
        self._membership = membership
        self._notices = notices
        self._unplaced: set[Key] = set()
        self._assigned: set[Key] = set()
        self._orphans: dict[Stream, Reader] = {}
        self._halted: dict[Stream, Halt] = {}
        self._place_at = 0.0

    # ---- what is asked of it ----

    def reading(self, key: Key) -> Reader | None:
        """The reader of a partition that is being read."""
        reader = self.readers.get(key)
        return reader if reader is not None and reader.state is State.READING else None

    def ours(self, stream: Stream) -> Reader | None:
        """The reader of a stream of ours, in whatever state."""
        reader = self.readers.get((stream.topic, stream.partition))
        return reader if reader is not None and reader.stream == stream else None

    def at_rest(self) -> bool:
        """Whether the driver has nothing that it may read."""
        return self._assigned <= self.paused

    def standing(self) -> tuple[Mark, ...]:
        """How far everything was read that belongs to a topic we can ask about."""
        return marks([*self.readers.values(), *self._orphans.values()])

    def unheld(self) -> tuple[Mark, ...]:
        """How far the streams were read that nobody holds back."""
        return marks([reader for key, reader in self.readers.items() if key not in self.paused])

    def behind(self) -> bool:
        """Whether something waits for a topic-id check."""
        return bool(self._orphans) or any(
            reader.confirmed < reader.position for reader in self.readers.values() if reader.state is State.READING
        )

    def newly_halted(self) -> dict[Stream, Halt]:
        """Streams that were halted since this was asked last."""
        halted, self._halted = self._halted, {}
        return halted

    def newly_confirmed(self) -> dict[Stream, Position]:
        """Positions that were confirmed since this was asked last."""
        fresh = [reader for reader in self.readers.values() if reader.confirmed > reader.told]
        for reader in fresh:
            reader.told = reader.confirmed
        return {reader.stream: reader.confirmed for reader in fresh}

    # ---- streams that come ----

    def claim(self, keys: Collection[Key]) -> None:
        """The group gave us these; the driver does not get them yet."""
        self._unplaced |= set(keys)
        self._place_at = 0.0

    def ask(self, assignments: Mapping[Stream, Assignment]) -> None:
        """Stop reading these at once; they start again, as told, at the next `place`. Streams that are not ours are left alone."""
        ours = [reader for stream in assignments if (reader := self.ours(stream)) is not None]
        self._unassign(reader.key for reader in ours)
        for reader in ours:
            reader.ask(assignments[reader.stream])
        self._place_at = 0.0

    def again(self, readers: Collection[Reader]) -> None:
        """Compare where these stand with what the log holds, and start them there again or halt them."""
        self.ask({reader.stream: Assignment(reader.position, reader.epoch) for reader in readers})

    def place(self, now: float) -> None:
        """Ask the engine where to start what is new, and start what it has answered for; later, if no broker answers."""
        waiting = bool(self._unplaced) or any(reader.state is State.ASKED for reader in self.readers.values())
        if not waiting or now < self._place_at:
            return
        self._place_at = now + _PLACE_AGAIN_SECONDS
        gained = self._introduced()
        if gained:
            assignments = self._membership.gained(gained)
            for stream in gained:
                reader = self.readers[stream.topic, stream.partition] = Reader(stream)
                self._unplaced.discard(reader.key)
                if stream in assignments:
                    reader.ask(assignments[stream])
        self._start([reader for reader in self.readers.values() if reader.state is State.ASKED])

    def _introduced(self) -> list[Stream]:
        """What is unplaced, as streams."""
        try:
            topics = self._cluster.describe({topic for topic, _ in self._unplaced})
        except (Misconfigured, Unavailable) as error:
            self._put_off(error)
            return []
        gained: list[Stream] = []
        for name, partition in sorted(self._unplaced):
            topic = topics[name]
            if topic is None:
                self._notices.say("TOPIC_GONE", f"{name}[{partition}] is ours, and the broker knows no such topic", about=name)
                continue
            stream = Stream(name, topic.incarnation, partition)
            self._end_orphan(stream)
            gained.append(stream)
        return gained

    def _start(self, asked: Collection[Reader]) -> None:
        try:
            extents = self._cluster.extents([reader.key for reader in asked])
            firsts = self._first_positions([reader.key for reader in asked if reader.asked and reader.asked.position is None], extents)
        except (Misconfigured, Unavailable) as error:
            self._put_off(error)
            return
        starting: list[Reader] = []
        for reader in asked:
            extent = extents.get(reader.key)
            if extent is None or reader.asked is None:
                continue
            position = firsts[reader.key] if reader.asked.position is None else reader.asked.position
            reader.start(position)
            if position < extent.first:
                self.halt(reader, expired(reader.stream, position, extent.first))
            elif position > extent.high:
                self.halt(reader, truncated(reader.stream, position, extent.high))
            else:
                starting.append(reader)
        self._assign(starting)

    def _put_off(self, error: Misconfigured | Unavailable) -> None:
        self._notices.say(error.code, f"streams that are ours cannot start yet: {error.message}", about="place")

    def _first_positions(self, fresh: Collection[Key], extents: Mapping[Key, Extents]) -> dict[Key, Position]:
        start = self._settings.start
        keys = [key for key in fresh if key in extents]
        if start == "earliest":
            return {key: extents[key].first for key in keys}
        if start == "latest":
            return {key: extents[key].end for key in keys}
        since = self._cluster.since(keys, start)
        return {key: extents[key].end if (at := since.get(key)) is None else at for key in keys}

    # ---- streams that go ----

    def part(self, keys: Collection[Key], deadline_seconds: float, now: float) -> None:
        """The group takes these away: the engine lands what it can, then the driver lets go of exactly what it was given."""
        try:
            self._give_up(keys, deadline_seconds, now)
        finally:
            held = [key for key in keys if key in self._assigned]
            self._assigned.difference_update(held)
            self.paused.difference_update(held)
            # Also where nothing is held: otherwise the driver would take back all of `keys`, and fail on what it never had.
            self._driver.incremental_unassign(partitions(held))

    def abandon(self, now: float) -> None:
        """Everything goes; there is no driver any more."""
        self._give_up(list(self.readers), 0.0, now)
        for stream in list(self._orphans):
            self._end_orphan(stream)

    def _give_up(self, keys: Collection[Key], deadline_seconds: float, now: float) -> None:
        self._unplaced.difference_update(keys)
        going = [reader for key in keys if (reader := self.readers.get(key)) is not None]
        if not going:
            return
        if deadline_seconds > 0:
            self._check_before_parting(now)
        confirmed = {mark.stream: self.readers[mark.stream.topic, mark.stream.partition].confirmed for mark in marks(self.readers.values())}
        lost: list[Stream] = []
        for reader in going:
            del self.readers[reader.key]
            # A topic that seems to be gone takes its streams from us, but not silently: they stay until it is certain, then halt.
            if reader.state is State.READING and self._identity.missing(reader.stream.topic):
                self._orphans[reader.stream] = reader
            else:
                lost.append(reader.stream)
        if lost:
            self._membership.lost(lost, deadline_seconds, confirmed)

    def _check_before_parting(self, now: float) -> None:
        """Everything that is read is asked about, not only what goes: a batch lands whole or not at all, and it spans streams."""
        wait = min(_PARTING_CHECK_SECONDS_MAX, self._settings.request_seconds_max)
        self.apply(self._identity.ask_and_wait(marks(self.readers.values()), wait, now))

    def _end_orphan(self, stream: Stream) -> None:
        if self._orphans.pop(stream, None) is not None:
            self._membership.lost([stream], 0.0, {})

    # ---- streams that stop ----

    def apply(self, findings: Findings) -> None:
        """Take in what a topic-id check found."""
        for mark in findings.confirmed:
            reader = current(mark, self.readers)
            if reader is None:
                self._end_orphan(mark.stream)
            else:
                reader.confirmed = max(reader.confirmed, mark.position)
        self.halt_marked(findings.halted)

    def halt_marked(self, halts: Mapping[Mark, Halt]) -> None:
        """Halt streams if they are still read under the marks' epochs."""
        for mark, halt in halts.items():
            reader = current(mark, self.readers)
            if reader is not None:
                self.halt(reader, halt)
            elif self._orphans.pop(mark.stream, None) is not None:
                self._halted[mark.stream] = halt

    def halt(self, reader: Reader, halt: Halt) -> None:
        """Stop reading a stream, for a reason that the next `poll` tells."""
        self._unassign([reader.key])
        reader.state = State.HALTED
        self._halted[reader.stream] = halt

    # ---- the driver ----

    def hold(self, streams: AbstractSet[Stream]) -> None:
        """Have the driver read exactly what is not in `streams`."""
        wanted = {(stream.topic, stream.partition) for stream in streams} & self._assigned
        pause = wanted - self.paused
        resume = self.paused - wanted
        if pause:
            self._driver.pause(partitions(pause))
            self.paused |= pause
        if resume:
            # Assigning it anew at its own position brings a lone partition back in milliseconds; a resume can take a second.
            readers = [self.readers[key] for key in sorted(resume)]
            self._unassign(resume)
            self._assign(readers)

    def _assign(self, readers: Collection[Reader]) -> None:
        if not readers:
            return
        places = [TopicPartition(*reader.key, reader.position) for reader in readers]
        self._driver.incremental_assign(places)
        # A partition that was paused when it went is still paused when it comes back.
        self._driver.resume(places)
        keys = {reader.key for reader in readers}
        self._assigned |= keys
        self.paused -= keys

    def _unassign(self, keys: Iterable[Key]) -> None:
        held = [key for key in keys if key in self._assigned]
        if held:
            self._driver.incremental_unassign(partitions(held))
            self._assigned.difference_update(held)
            self.paused.difference_update(held)


def partitions(keys: Iterable[Key]) -> list[TopicPartition]:
    """These partitions as the driver names them."""
    return [TopicPartition(topic, partition) for topic, partition in keys]
