"""Which partitions are ours, and where each starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from landfast.errors import Misconfigured, Unavailable
from landfast.model import Assignment, Bounds, Position, Stream
from landfast.ports import Membership
from landfast.sources.kafka_cluster import Extents, KafkaCluster
from landfast.sources.kafka_columns import Key
from landfast.sources.kafka_errors import expired, loss_accepted, read_from_first, truncated
from landfast.sources.kafka_feed import Feed
from landfast.sources.kafka_identity import IdentityCheck
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_offsets import GroupOffsets
from landfast.sources.kafka_readers import Reader, Standing, State, standings
from landfast.sources.kafka_roster import Roster
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
        roster: Roster,
        feed: Feed,
        cluster: KafkaCluster,
        identity: IdentityCheck,
        membership: Membership,
        notices: Notices,
        offsets: GroupOffsets,
    ) -> None:
        self._settings = settings
        self._roster = roster
        self._feed = feed
        self._cluster = cluster
        self._identity = identity
        self._membership = membership
        self._notices = notices
        self._offsets = offsets
        self._unplaced: set[Key] = set()
        self._place_at = 0.0
        self._there_at_first: frozenset[Stream] = frozenset()
        self._perhaps_older: frozenset[Stream] = frozenset()

    @property
    def count(self) -> int:
        """How many partitions are ours."""
        return len(self._unplaced | self._roster.readers.keys())

    # ---- streams that come ----

    def claim(self, keys: Collection[Key]) -> None:
        """The group gave us these; the driver does not get them yet."""
        self._offsets.begin(keys)
        self._unplaced |= set(keys)
        self._place_at = 0.0

    def ask(self, assignments: Mapping[Stream, Assignment]) -> None:
        """Stop reading these at once; they start again, as told, at the next `place`. Streams that are not ours are left alone."""
        ours = [reader for stream in assignments if (reader := self._roster.ours(stream)) is not None]
        self._feed.take_back([reader.key for reader in ours])
        for reader in ours:
            reader.ask(assignments[reader.stream])
        self._place_at = 0.0

    def again(self, readers: Collection[Reader]) -> None:
        """Compare where these stand with what the log holds, and start them there again or halt them."""
        self.ask({reader.stream: Assignment(reader.position, reader.epoch) for reader in readers})

    def place(self, now: float) -> None:
        """Ask the engine where to start what is new, and start what it has answered for; later, if no broker answers."""
        waiting = bool(self._unplaced) or any(reader.state is State.ASKED for reader in self._roster.readers.values())
        if not waiting or now < self._place_at:
            return
        self._place_at = now + _PLACE_AGAIN_SECONDS
        gained = self._introduced()
        if gained:
            assignments = self._membership.gained(gained)
            for stream in gained:
                reader = self._roster.readers[stream.topic, stream.partition] = Reader(stream)
                self._unplaced.discard(reader.key)
                if stream in assignments:
                    reader.ask(assignments[stream])
        self._start([reader for reader in self._roster.readers.values() if reader.state is State.ASKED], now)

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
            self._roster.drop_lingering(stream)
            gained.append(stream)
        return gained

    def _start(self, asked: Collection[Reader], now: float) -> None:
        try:
            extents = self._cluster.extents([reader.key for reader in asked])
            firsts = self._first_positions([reader.stream for reader in asked if reader.asked and reader.asked.position is None], extents)
        except (Misconfigured, Unavailable) as error:
            self._put_off(error)
            return
        starting: list[Reader] = []
        doubtful: list[tuple[Reader, Position | None]] = []
        for reader in asked:
            extent = extents.get(reader.key)
            position = firsts.get(reader.key) if reader.asked is None or reader.asked.position is None else reader.asked.position
            if extent is None or position is None or position > extent.high or self._unaccepted(reader.stream, position, extent):
                doubtful.append((reader, position))
            else:
                if position < extent.first:
                    words = loss_accepted(reader.stream, position, extent.first)
                    self._notices.say("EXPIRED_ACCEPTED", words, about=str(reader.stream))
                reader.start(position, extent.first)
                starting.append(reader)
        self._feed.give({reader.key: reader.place for reader in starting})
        self._judge(doubtful, extents, now)

    def _unaccepted(self, stream: Stream, position: Position, extent: Extents) -> bool:
        """Whether the log has lost what was to be read next, and the settings do not accept the loss of all that is gone."""
        return position < extent.first and not self._settings.accept_expired.accepts(stream, Bounds(extent.first, extent.end))

    def _judge(self, doubtful: Collection[tuple[Reader, Position | None]], extents: Mapping[Key, Extents], now: float) -> None:
        """Halt what cannot start, once it is certain why: offsets that seem to be out of range may be another topic's by now."""
        if not doubtful:
            return
        asked = {reader.key: Standing(reader.stream, reader.epoch, reader.position) for reader, _ in doubtful}
        findings = self._identity.ask_and_wait(asked.values(), self._settings.request_seconds_max, now)
        for reader, position in doubtful:
            standing = asked[reader.key]
            extent = extents.get(reader.key)
            if standing in findings.halted:
                self._roster.halt(reader, findings.halted[standing])
            elif standing in findings.confirmed and extent is not None and position is not None:
                reader.start(position)
                if position < extent.first:
                    # What was read before is what nobody can read again.
                    self._roster.begin_halt(reader, expired(reader.stream, position, extent.first))
                else:
                    self._roster.halt(reader, truncated(reader.stream, position, extent.high))

    def _put_off(self, error: Misconfigured | Unavailable) -> None:
        self._notices.say(error.code, f"streams that are ours cannot start yet: {error.message}", about="place")

    def _first_positions(self, fresh: Collection[Stream], extents: Mapping[Key, Extents]) -> dict[Key, Position]:
        """Where streams begin that the sink has never seen: as the settings say, but for those that appeared after the pipeline began.

        All that was ever written to such a partition or topic was written after the start, so it is read from its first record. A partition
        that did not land at the first start cannot be told from one that was added: it is read so as well, and the operator hears of it.
        """
        start = self._settings.start
        known = {(stream.topic, stream.partition): stream for stream in fresh if (stream.topic, stream.partition) in extents}
        appeared = {key: extents[key].first for key, stream in known.items() if stream not in self._there_at_first}
        for key, first in appeared.items():
            if start != "earliest" and known[key] in self._perhaps_older and first < extents[key].end:
                self._notices.say("READ_FROM_FIRST", read_from_first(known[key], first, extents[key].end), about=str(known[key]))
        keys = [key for key in known if key not in appeared]
        if start == "earliest":
            return appeared | {key: extents[key].first for key in keys}
        if start == "latest":
            return appeared | {key: extents[key].end for key in keys}
        since = self._cluster.since(keys, start)
        return appeared | {key: extents[key].end if (at := since.get(key)) is None else at for key in keys}

    def look_round(self, names: Collection[str], begun: Collection[Stream]) -> None:
        """Take note of what there is to read when the pipeline begins: nothing of a topic of which the sink holds something already.

        What else such a topic has was added while nobody ran, or was there all the time and never landed.

        Raises:
            Misconfigured, Unavailable: the topics cannot be asked for.
        """
        known = {(stream.topic, stream.incarnation) for stream in begun}
        topics = [(name, topic) for name, topic in self._cluster.describe(names).items() if topic is not None]
        there = {Stream(name, topic.incarnation, partition) for name, topic in topics for partition in topic.partitions}
        self._there_at_first = frozenset(stream for stream in there if (stream.topic, stream.incarnation) not in known)
        self._perhaps_older = frozenset(there - self._there_at_first).difference(begun)

    # ---- streams that go ----

    def part(self, keys: Collection[Key], deadline_seconds: float, now: float) -> None:
        """The group takes these away: the engine lands what it can, then the driver lets go of exactly what it was given."""
        try:
            self._give_up(keys, deadline_seconds, now)
        finally:
            # Before the driver lets go: what is asked of it until then it still does as their owner.
            self._offsets.end(keys)
            self._feed.hand_over(keys)

    def abandon(self, now: float) -> None:
        """Everything goes; there is no driver any more."""
        self._offsets.end(list(self._roster.readers))
        self._give_up(list(self._roster.readers), 0.0, now)
        for stream in list(self._roster.lingering):
            self._roster.drop_lingering(stream)

    def _give_up(self, keys: Collection[Key], deadline_seconds: float, now: float) -> None:
        self._unplaced.difference_update(keys)
        going = [reader for key in keys if (reader := self._roster.readers.get(key)) is not None]
        if not going:
            return
        if deadline_seconds > 0:
            self._check_before_parting(now)
        confirmed = {
            standing.stream: self._roster.readers[standing.stream.topic, standing.stream.partition].confirmed
            for standing in standings(self._roster.readers.values())
        }
        lost: list[Stream] = []
        for reader in going:
            del self._roster.readers[reader.key]
            # A topic that seems to be gone takes its streams from us, but not silently: they stay until it is certain, then halt.
            if reader.began and self._identity.missing(reader.stream.topic):
                reader.state = State.READING
                self._roster.lingering[reader.stream] = reader
            else:
                lost.append(reader.stream)
        if lost:
            self._membership.lost(lost, deadline_seconds, confirmed)

    def _check_before_parting(self, now: float) -> None:
        """Everything that is read is asked about, not only what goes: a batch lands whole or not at all, and it spans streams."""
        wait = min(_PARTING_CHECK_SECONDS_MAX, self._settings.request_seconds_max)
        self._roster.apply(self._identity.ask_and_wait(standings(self._roster.readers.values()), wait, now))
