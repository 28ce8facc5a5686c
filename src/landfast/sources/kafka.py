"""A Kafka consumer group as a Source: it starts where the sink says, and vouches for what it read."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet

from landfast.errors import Broken, Misconfigured, Unavailable, check
from landfast.model import Assignment, Bounds, Poll, Position, Stream
from landfast.ports import Clock, Membership, Observer
from landfast.sources.kafka_cluster import KafkaCluster
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_offsets import GroupOffsets
from landfast.sources.kafka_session import Around, Session
from landfast.sources.kafka_settings import KafkaSettings, check_settings

_OF_PARENTS: list[Session] = []
"""Sessions that a forked process has a copy of."""


class KafkaSource:
    """One member of a consumer group: a `Source` and an `Extent`.

    Nothing is connected before `open` or `bounds`. `bounds` may be called from any thread, everything else from one. Nothing that was
    read is `confirmed` before a topic-id check that began after the read. `offsets` are those of the group, for whom they are the memory.

    Raises:
        Misconfigured: settings or options that are unknown, impossible or unsafe.
    """

    def __init__(self, settings: KafkaSettings, clock: Clock, observer: Observer) -> None:
        check_settings(settings)
        self._settings = settings
        self._clock = clock
        self._observer = observer
        self._notices = Notices(observer, clock, settings.notice_seconds, settings.options)
        self._lock = threading.Lock()
        self._cluster: KafkaCluster | None = None
        self._session: Session | None = None
        self._process = 0
        self._begun: frozenset[Stream] = frozenset()
        self.offsets = GroupOffsets(settings)

    def continues(self, begun: Collection[Stream]) -> None:
        """Say, before `open`, of streams that a sink holds them already: whatever their topics got since then was written since then.

        So a partition that was added while nobody ran is read from its first record, whatever `start` says.
        """
        self._begun |= frozenset(begun)

    def open(self, membership: Membership) -> None:
        """Check topics and access, then join the group; streams arrive through `poll`."""
        check(self._session is None, "a source is opened once")
        names = self._named()
        around = Around(self._clock, self._observer, self._notices, self.offsets)
        self._session = Session(self._settings, self._asking(), names, self._begun, membership, around)
        self._process = os.getpid()

    def poll(self, limit: int, timeout_seconds: float, hold: AbstractSet[Stream]) -> Poll:
        """Read for a moment. Rebalances, checks and new placements happen in here."""
        check(limit > 0, "a poll asks for at least one record")
        return self._open_session().poll(limit, timeout_seconds, hold)

    def rewind(self, assignments: Mapping[Stream, Assignment]) -> None:
        """Stop reading these streams at once; they start again, from there, in the next `poll`. Others' streams are left alone."""
        self._open_session().rewind(assignments)

    def acknowledge(self, positions: Mapping[Stream, Position]) -> None:
        """Tell the group, without waiting and without relying on it."""
        if self._session is not None:
            self._open_session().acknowledge(positions)

    def close(self) -> None:
        """Give up what is ours, within `revoke_seconds`, and leave the group. Idempotent."""
        session, self._session = self._session, None
        if session is None:
            return
        if self._is_forked():
            # The threads that would close it are the parent's: here even to let go of it would hang.
            _OF_PARENTS.append(session)
        else:
            session.close()

    def bounds(self, streams: Collection[Stream] | None = None) -> Mapping[Stream, Bounds]:
        """What the log has of these streams; one whose topic is gone, or another by now, is left out."""
        try:
            return self._bounds(streams)
        except Misconfigured as error:
            # Before the first read this is a wrong setting; later it is a right that was taken away, and may be given back.
            if self._session is None:
                raise
            raise Unavailable(error.code, error.message, kind="auth", next_step=error.next_step) from error

    def preflight(self) -> None:
        """Look at what reading will take besides the topics: the right to read them, and to join the group. Joins nothing.

        Raises:
            Misconfigured: SOURCE_AUTH, with everything that is lacking.
            Unavailable: there is no answer.
        """
        lacking = self._asking().unreadable(self._named(), self._settings.group)
        if lacking:
            step = f"Grant READ on {' and '.join(lacking)} to the user of these credentials."
            raise Misconfigured("SOURCE_AUTH", f"these credentials lack the right READ on {', '.join(lacking)}", next_step=step)

    def missing(self, names: Collection[str]) -> list[str]:
        """Those of these topics that no broker knows, whether they are read or not.

        Raises:
            Misconfigured: one may not be described.
            Unavailable: there is no answer.
        """
        return sorted(name for name, topic in self._asking().describe(names).items() if topic is None)

    def _bounds(self, streams: Collection[Stream] | None) -> Mapping[Stream, Bounds]:
        cluster = self._asking()
        names = self._named() if streams is None else {stream.topic for stream in streams}
        today = {name: topic for name, topic in cluster.describe(names).items() if topic is not None}
        here = {Stream(name, topic.incarnation, partition) for name, topic in today.items() for partition in topic.partitions}
        wanted = here if streams is None else here.intersection(streams)
        extents = cluster.extents([(stream.topic, stream.partition) for stream in wanted])
        leaderless = sorted(str(stream) for stream in wanted if (stream.topic, stream.partition) not in extents)
        if leaderless:
            raise Unavailable("SOURCE_DOWN", f"no broker answers for {', '.join(leaderless)}", next_step="Wait for a leader.")
        found = {stream: extents[stream.topic, stream.partition] for stream in sorted(wanted)}
        return {stream: Bounds(extent.first, extent.end) for stream, extent in found.items()}

    def _asking(self) -> KafkaCluster:
        with self._lock:
            if self._cluster is None:
                self._cluster = KafkaCluster(self._settings, self._clock, self._notices)
            return self._cluster

    def _named(self) -> tuple[str, ...]:
        """The topics that the settings stand for today, each of which exists and may be described."""
        cluster = self._asking()
        names = cluster.subscribed()
        if not names:
            message = f"no topic matches the pattern {self._settings.topic_pattern}"
            raise Misconfigured("TOPIC_MISSING", message, next_step="Create a topic that matches, or correct source.topic_pattern.")
        missing = self.missing(names)
        if missing:
            raise Misconfigured("TOPIC_MISSING", f"no such topic: {', '.join(missing)}", next_step="Create it, or correct source.topics.")
        return names

    def _open_session(self) -> Session:
        if self._session is None:
            raise Unavailable("SOURCE_DOWN", "the source is not open")
        if self._is_forked():
            message = f"this process was forked from process {self._process}, whose Kafka client it cannot go on with"
            raise Broken("UNSAFE_FORK", message, next_step="Fork before a pipeline runs, or start other processes by spawn or forkserver.")
        return self._session

    def _is_forked(self) -> bool:
        return os.getpid() != self._process
