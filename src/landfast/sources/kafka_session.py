"""One membership of a group, from joining to leaving."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, ThrottleEvent, TopicPartition

from landfast.events import Notice, StaleDropped
from landfast.model import Assignment, Chunk, Poll, Position, Stream
from landfast.ports import Clock, Membership, Observer
from landfast.sources import kafka_errors
from landfast.sources.kafka_callbacks import Callbacks
from landfast.sources.kafka_cluster import KafkaCluster
from landfast.sources.kafka_columns import Key, chunk, gap, sort, unread
from landfast.sources.kafka_errors import Act, verdict
from landfast.sources.kafka_feed import Feed
from landfast.sources.kafka_identity import IdentityCheck
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_offsets import GroupOffsets
from landfast.sources.kafka_ownership import Ownership
from landfast.sources.kafka_readers import Reader, State
from landfast.sources.kafka_roster import Roster
from landfast.sources.kafka_settings import KafkaSettings, consumer_configuration
from landfast.sources.kafka_stall import StallWatch
from landfast.sources.kafka_subscription import Subscription
from landfast.sources.kafka_waiting import Absence, GroupWait, NameWait

_CONSUME_SECONDS_MAX = 0.1  # consume() waits this out unless it is full; longer waits only delay what is there.
_HELD_SECONDS_MAX = 0.05
_LEAVE_SECONDS_MAX = 10.0
"""For leaving the group, beside what `Membership.lost` takes: brokers that answer need less than one."""
_RECORD_BYTES_GUESS = 16_384.0
_RECORD_BYTES_WEIGHT = 0.3


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """No garbage collection inside: it would walk ten thousand messages again and again, which costs more than reading them.

    None of them is part of a cycle, so nothing is left for the collector.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _joining() -> Iterator[None]:
    """What the driver raises inside becomes an error of ours."""
    try:
        yield
    except (KafkaException, ValueError) as error:
        raise kafka_errors.raised_at_start(error, "joining the group") from error


@dataclass(frozen=True, slots=True)
class Around:
    """What a source is given to live with: the time, whom to tell, and who keeps the group's offsets."""

    clock: Clock
    observer: Observer
    notices: Notices
    offsets: GroupOffsets


class Session:
    """A member at work. The driver's callbacks only take notes or give up streams; what they raise is raised by `poll`."""

    def __init__(
        self,
        settings: KafkaSettings,
        cluster: KafkaCluster,
        names: tuple[str, ...],
        begun: Collection[Stream],
        membership: Membership,
        around: Around,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._clock, self._observer, self._notices, self._offsets = around.clock, around.observer, around.notices, around.offsets
        self._callbacks = Callbacks(around.clock)
        self._uncommitted = False
        self._record_bytes = _RECORD_BYTES_GUESS
        self._confirm_at = 0.0
        self._identity = IdentityCheck(cluster, self._notices, settings.gone_seconds)
        self._group_wait = GroupWait(settings, self._notices)
        self._name_wait = NameWait(settings, self._notices)
        self._absence = Absence(settings, self._notices)
        self._stall = StallWatch(cluster, self._notices, settings.stall_seconds)
        with _joining():
            self._driver = self._client()
            self._offsets.work_with(self._driver)
            self._feed = Feed(self._driver, settings.hold_seconds_max, settings.poll_bytes_max)
            self._roster = Roster(self._feed, membership)
            self._streams = Ownership(settings, self._roster, self._feed, cluster, self._identity, membership, self._notices, self._offsets)
            self._streams.look_round(names, begun)
            self._subscription = Subscription(settings, cluster, self._notices, names)
            self._subscribe(names)

    # ---- the port's calls ----

    def poll(self, limit: int, timeout_seconds: float, hold: AbstractSet[Stream]) -> Poll:
        """See `ports.Source`."""
        now = self._clock.monotonic()
        self._absence.polled(now)
        if self._name_wait.waiting and not self._joined_again(now):
            self._clock.sleep(min(timeout_seconds, _CONSUME_SECONDS_MAX))
            return Poll()
        self._offsets.serve()
        self._feed.hold([(stream.topic, stream.partition) for stream in hold], self._roster.position, now)
        self._streams.place(now)
        changed = self._subscription.changed(now)
        if changed is not None:
            self._subscribe(changed)
        self._cluster.serve()
        with _collector_at_rest():
            messages = self._feed.sifted(self._consume(limit, timeout_seconds), limit)
            self._callbacks.raise_failure()
            chunks, reached = self._take(messages)
            # Message objects are many and large: they go before anything else is made.
            del messages
        now = self._clock.monotonic()
        self._streams.place(now)
        self._group_wait.turn(now, self._streams.count)
        self._look_after_identity(now)
        self._roster.begin_halts(self._stall.turn(now, self._roster.unheld(), self._roster.readers))
        return Poll(chunks, reached, *self._roster.news())

    def rewind(self, assignments: Mapping[Stream, Assignment]) -> None:
        """See `ports.Source`."""
        self._streams.ask(assignments)

    def acknowledge(self, positions: Mapping[Stream, Position]) -> None:
        """See `ports.Source`."""
        hinted = positions if self._settings.offsets == "hint" else {}
        offsets = [
            TopicPartition(stream.topic, stream.partition, position)
            for stream, position in hinted.items()
            if self._roster.ours(stream) is not None
        ]
        if not offsets:
            return
        try:
            self._driver.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._say_uncommitted(kafka_errors.kafka_error(error), str(error))

    def close(self) -> None:
        """Give up what is ours and leave the group."""
        self._offsets.rest()
        try:
            # The driver calls `on_revoke` from inside.
            if not self._callbacks.close(self._driver, _LEAVE_SECONDS_MAX):
                message = f"the group has not answered for {_LEAVE_SECONDS_MAX:.0f} s, and was left without a word"
                self._notices.say("GROUP_NOT_LEFT", message)
        finally:
            self._subscription.close()
            self._streams.abandon(self._clock.monotonic())
        self._callbacks.raise_failure()

    # ---- joining, and what the driver calls ----

    def _client(self) -> Consumer:
        heard: dict[str, Any] = {
            "log_level": 4,
            "logger": self._notices.logger(),
            "error_cb": self._callbacks.guarded(self._on_error),
            "on_commit": self._callbacks.guarded(self._on_commit),
            "throttle_cb": self._callbacks.guarded(self._on_throttle),
        }
        return Consumer(consumer_configuration(self._settings) | heard)

    def _joined_again(self, now: float) -> bool:
        """Ask the group again, when that is due; with another client, since one that was refused never asks again."""
        if not self._name_wait.due(now):
            return False
        with _joining():
            self._streams.part(list(self._roster.readers), 0.0, now)
            self._offsets.rest()
            self._driver.close()
            self._driver = self._client()
            self._offsets.work_with(self._driver)
            self._feed.serve(self._driver)
            self._subscribe(self._subscription.names)
        self._name_wait.asked()
        return True

    def _stop(self, error: KafkaError) -> None:
        """The client cannot go on, and neither can we, unless another client may: see `NameWait` and `Absence`."""
        now = self._clock.monotonic()
        if kafka_errors.is_fenced(error):
            # It is told twice, by a callback and in place of a record.
            if self._name_wait.waiting or self._absence.excuses(now):
                self._name_wait.fenced(now)
                return
        elif kafka_errors.is_name_held(error) and not self._streams.count and self._name_wait.refused(now):
            return
        raise kafka_errors.fatal(error)

    def _subscribe(self, names: tuple[str, ...]) -> None:
        self._driver.subscribe(
            list(names),
            on_assign=self._callbacks.guarded(lambda _, places: self._on_assign(_keys(places))),
            on_revoke=self._callbacks.guarded(lambda _, places: self._on_revoke(_keys(places))),
            on_lost=self._callbacks.guarded(lambda _, places: self._on_lost(_keys(places))),
        )

    def _on_assign(self, keys: list[Key]) -> None:
        # An empty answer is an answer: without one the driver would assign everything by itself.
        self._driver.incremental_assign([])
        self._name_wait.over()
        self._streams.claim(keys)

    def _on_revoke(self, keys: list[Key]) -> None:
        self._streams.part(keys, self._settings.revoke_seconds, self._clock.monotonic())

    def _on_lost(self, keys: list[Key]) -> None:
        self._streams.part(keys, 0.0, self._clock.monotonic())

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._stop(error)
            return
        judged = verdict(error)
        code = "BROKER_UNREACHABLE" if judged.act is Act.STOP else judged.code
        self._notices.say(code, f"{error.name()}: {error.str()}", about=str(error.code()))

    def _on_throttle(self, event: ThrottleEvent) -> None:
        if event.throttle_time > 0:
            words = f"broker {event.broker_id} held back an answer for {event.throttle_time:.1f} s: a quota"
            self._notices.say("SOURCE_THROTTLED", words, about=str(event.broker_id), severity="info")

    def _on_commit(self, error: KafkaError | None, _: list[TopicPartition]) -> None:
        if self._settings.offsets == "kept":
            # Whoever keeps them reads back what came of it.
            self._offsets.heard(error)
        elif error is not None:
            self._say_uncommitted(error, error.str())
        elif self._uncommitted:
            self._uncommitted = False
            # Not held back as a repetition: what is not told to be over stays an alarm.
            self._observer.notice(Notice("", "GROUP_COMMIT_FAILED", "the group's offsets are written again", "cleared"))

    def _say_uncommitted(self, error: KafkaError | None, why: str) -> None:
        # Every rebalance refuses a commit or two; the next one tells the same positions again. Only what stays is worth a warning.
        severity = "info" if error is not None and verdict(error).act is Act.RETRY else "warning"
        self._uncommitted = self._uncommitted or severity == "warning"
        words = f"the group's offsets, which are a hint only, could not be written: {why}"
        self._notices.say("GROUP_COMMIT_FAILED", words, about=severity, severity=severity)

    # ---- reading ----

    def _consume(self, limit: int, timeout_seconds: float) -> list[Message]:
        # consume() knows no bound in bytes, and asked for no record at all it serves nothing, not even the group.
        count = max(1, min(limit - self._feed.ready, int(self._settings.poll_bytes_max / self._record_bytes)))
        wait = 0.0 if self._feed.ready else min(timeout_seconds, _CONSUME_SECONDS_MAX)
        if self._feed.at_rest:
            # What has been fetched stays where it is, so the wait is ours.
            self._clock.sleep(min(wait, _HELD_SECONDS_MAX))
            count, wait = 1, 0.0
        try:
            return self._driver.consume(count, wait)
        except KafkaException as error:
            inside = kafka_errors.kafka_error(error)
            if inside is None or verdict(inside).act is Act.STOP:
                raise kafka_errors.raised_at_start(error, "reading") from error
            self._notices.say(verdict(inside).code, f"{inside.name()}: {inside.str()}", about=str(inside.code()))
            return []

    def _take(self, messages: list[Message]) -> tuple[list[Chunk], dict[Stream, Position]]:
        found = sort(messages, kafka_errors.stops)
        taken = [self._taken(key, records) for key, records in found.records.items()]
        chunks = [part for part in taken if part is not None]
        reached: dict[Stream, Position] = {}
        for key, end in found.ends.items():
            reader = self._roster.reading(key)
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
        reader = self._roster.reading(key)
        fresh = [] if reader is None else _fresh(reader, records)
        if len(fresh) < len(records):
            stream = Stream(key[0], "", key[1]) if reader is None else reader.stream
            self._observer.notice(StaleDropped("", stream, len(records) - len(fresh)))
        if reader is None or not fresh:
            return None
        taken = chunk(reader.stream, reader.epoch, reader.position, fresh)
        reader.position = taken.end
        reader.untouched = False
        size = taken.nbytes / len(fresh)
        # Quick to believe in larger records, slow to believe in smaller ones.
        self._record_bytes = max(1.0, size, self._record_bytes + _RECORD_BYTES_WEIGHT * (size - self._record_bytes))
        return taken

    def _meet(self, message: Message) -> None:
        """An error in place of a record: told, halts its streams, or ends the run."""
        error = message.error()
        if error is None:
            return
        judged = kafka_errors.verdict_in_place_of_a_record(error)
        if judged.act is Act.STOP:
            self._stop(error)
            return
        concerned = self._concerned(message)
        if judged.act is Act.RETRY:
            self._notices.say(judged.code, f"{error.name()}: {error.str()}", about=str(error.code()))
        elif judged.code == "DATA_EXPIRED":
            # Out of range on which side? Starting again compares the position with what the log holds, and halts.
            self._streams.again(concerned)
        elif concerned:
            for reader in concerned:
                self._roster.begin_halt(reader, kafka_errors.refused(reader.stream, reader.position, error))
        elif not message.topic() or message.partition() is None or (message.partition() or 0) < 0:
            # Without a topic the driver's partition is no partition: it speaks of the group, or of all.
            raise kafka_errors.raised_at_start(KafkaException(error), "reading")
        # Otherwise it speaks of a partition that stands still already, or is ours no more.

    def _concerned(self, message: Message) -> list[Reader]:
        """The readers that an error speaks of: one, those of a topic, or all."""
        topic, partition = message.topic(), message.partition()
        return [
            reader
            for (name, number), reader in self._roster.readers.items()
            if reader.state is State.READING
            and (not topic or name == topic)
            and (partition is None or partition < 0 or number == partition)
        ]

    def _look_after_identity(self, now: float) -> None:
        self._roster.apply(self._identity.answered(now))
        standings = self._roster.standings()
        if self._identity.asking or not standings:
            return
        pause = self._settings.confirm_seconds if self._roster.behind() else self._settings.topic_check_seconds
        if now >= self._confirm_at + pause:
            self._confirm_at = now
            self._identity.ask(standings)


def _keys(places: list[TopicPartition]) -> list[Key]:
    return [(place.topic, place.partition) for place in places]


def _fresh(reader: Reader, records: list[Message]) -> list[Message]:
    """What of these was not delivered yet.

    As `unread` says, the driver discards what an older assignment fetched. Should it let some through, then in the first polls of the new
    one: they are sifted until a record is taken. Later only a poll that begins below the position is; to look at each record would cost.
    """
    if reader.untouched or (records[0].offset() or 0) < reader.position:
        return unread(records, reader.position)
    return records
