"""What the driver was given to read, and what of it is held back for a while."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet

from confluent_kafka import Consumer, Message, TopicPartition

from landfast.errors import check
from landfast.model import Position
from landfast.sources.kafka_columns import Key, key_of

_MESSAGE_OVERHEAD_BYTES = 512


class Feed:
    """The partitions that the driver reads for us.

    A hold is short as a rule, once per batch. Pausing for it would cost more than it saves: the driver throws away what it has fetched,
    and a partition that comes back may wait for its next look at the broker, a second later. So what arrives for a held stream is kept
    here, and only a hold of more than `hold_seconds_max`, or of more than `kept_bytes_max` in all, becomes a pause, which forgets what
    was kept: it is read again.
    """

    def __init__(self, driver: Consumer, hold_seconds_max: float, kept_bytes_max: int) -> None:
        self._driver = driver
        self._hold_seconds_max = hold_seconds_max
        self._kept_bytes_max = kept_bytes_max
        self._given: set[Key] = set()
        self._held_since: dict[Key, float] = {}
        self._paused: set[Key] = set()
        self._kept: dict[Key, list[Message]] = {}
        self._kept_bytes = 0
        self._ready: list[Message] = []

    def serve(self, driver: Consumer) -> None:
        """Go on with another driver, before anything was given to the first."""
        check(not self._given, "a driver is replaced that reads for us")
        self._driver = driver

    @property
    def held(self) -> AbstractSet[Key]:
        """What is given and must not be delivered now."""
        return self._held_since.keys()

    @property
    def paused(self) -> AbstractSet[Key]:
        """What of that the driver does not fetch."""
        return self._paused

    @property
    def kept(self) -> int:
        """How many messages of held streams wait here."""
        return sum(map(len, self._kept.values()))

    @property
    def ready(self) -> int:
        """How many messages were let go and wait to be delivered."""
        return len(self._ready)

    @property
    def at_rest(self) -> bool:
        """Whether nothing that the driver has may be delivered."""
        return not self._ready and self._held_since.keys() == self._given

    def give(self, places: Mapping[Key, Position]) -> None:
        """Have the driver read these partitions from these positions on."""
        if not places:
            return
        assigned = [TopicPartition(*key, position) for key, position in places.items()]
        self._driver.incremental_assign(assigned)
        # A partition that was paused when it went is still paused when it comes back.
        self._driver.resume(assigned)
        self._given |= places.keys()

    def take_back(self, keys: Iterable[Key]) -> None:
        """Have the driver read these no more, and forget what of them was not delivered."""
        given = self._forgotten(keys)
        if given:
            self._driver.incremental_unassign(partitions(given))

    def hand_over(self, keys: Iterable[Key]) -> None:
        """The answer to a revoke: the driver lets go of exactly what it was given.

        It is told also where that is nothing: otherwise it would take back all of `keys`, and fail on what it never had.
        """
        self._driver.incremental_unassign(partitions(self._forgotten(keys)))

    def hold(self, keys: Collection[Key], position_of: Callable[[Key], Position], now: float) -> None:
        """Deliver exactly what is not among `keys`. What comes back after a pause goes on where its delivery stands."""
        held = self._given.intersection(keys)
        free = self._held_since.keys() - held
        fresh = held - self._held_since.keys()
        self._let_go(free, position_of)
        self._held_since.update(dict.fromkeys(fresh, now))
        if fresh and self._ready:
            self._ready = self._kept_back(self._ready)
        self._pause(key for key in held - self._paused if now - self._held_since[key] >= self._hold_seconds_max)

    def sifted(self, messages: list[Message], limit: int) -> list[Message]:
        """What of these, and of what was kept, may be delivered now: at most `limit` records where more were let go."""
        if self._held_since:
            messages = self._kept_back(messages)
        if self._ready:
            messages = self._ready + messages
            self._ready = messages[limit:]
            messages = messages[:limit]
        return messages

    def _kept_back(self, messages: list[Message]) -> list[Message]:
        free: list[Message] = []
        for message in messages:
            key = key_of(message)
            # An error of a held partition waits like its records, whose end it is.
            if key not in self._held_since:
                free.append(message)
            elif key not in self._paused:
                self._kept.setdefault(key, []).append(message)
                self._kept_bytes += _size(message)
        if self._kept_bytes > self._kept_bytes_max:
            self._pause(list(self._kept))
        return free

    def _let_go(self, keys: Collection[Key], position_of: Callable[[Key], Position]) -> None:
        again = {key: position_of(key) for key in keys if key in self._paused}
        for key in keys - again.keys():
            del self._held_since[key]
            self._ready += self._unkept(key)
        # Assigned anew at its own position a partition is mostly back in milliseconds; a resume takes a second.
        self.take_back(again)
        self.give(again)

    def _pause(self, keys: Iterable[Key]) -> None:
        paused = list(keys)
        if paused:
            self._driver.pause(partitions(paused))
            self._paused.update(paused)
            for key in paused:
                self._unkept(key)

    def _unkept(self, key: Key) -> list[Message]:
        kept = self._kept.pop(key, [])
        self._kept_bytes -= sum(map(_size, kept))
        return kept

    def _forgotten(self, keys: Iterable[Key]) -> list[Key]:
        given = [key for key in keys if key in self._given]
        self._given.difference_update(given)
        self._paused.difference_update(given)
        for key in given:
            self._held_since.pop(key, None)
            self._unkept(key)
        if self._ready and given:
            gone = set(given)
            self._ready = [message for message in self._ready if key_of(message) not in gone]
        return given


def partitions(keys: Iterable[Key]) -> list[TopicPartition]:
    """These partitions as the driver names them."""
    return [TopicPartition(topic, partition) for topic, partition in keys]


def _size(message: Message) -> int:
    return len(message) + _MESSAGE_OVERHEAD_BYTES
