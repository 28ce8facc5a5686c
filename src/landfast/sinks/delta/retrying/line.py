"""Who waits to be tried again, and who is due. In memory; the tables are what is true."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from landfast.model import Position, Stream, Waiting
from landfast.sinks.delta.proof.coordinates import Coordinates, coordinates_of
from landfast.sinks.delta.proof.letters import Row


@dataclass(slots=True)
class Waiter:
    """A letter that waits.

    row        of its columns those that tell which it is, and what was known when it was buried
    key        its record's key; None holds nobody up
    failures   how often the record has failed, the first time included
    due_at     when it is tried again, by the clock that nobody sets
    """

    row: Row
    key: bytes | None
    failures: int
    due_at: float

    @property
    def place(self) -> Coordinates:
        """Where it comes from."""
        return coordinates_of(self.row)


class Line:
    """The letters of some streams that wait. Changed by one thread; any may ask when the next one is due."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_stream: dict[Stream, dict[int, Waiter]] = {}
        self._next_due_at: float | None = None

    def __contains__(self, stream: Stream) -> bool:
        return stream in self._by_stream

    def begin(self, stream: Stream, waiters: Iterable[Waiter]) -> None:
        """Look after a stream, whose letters that wait are these. One that was known before is due no later than it was."""
        known = self._by_stream.get(stream, {})
        found = {waiter.place.offset: waiter for waiter in sorted(waiters, key=lambda one: one.place.offset)}
        for offset, waiter in found.items():
            before = known.get(offset)
            if before is not None and before.failures == waiter.failures:
                waiter.due_at = min(waiter.due_at, before.due_at)
        self._by_stream[stream] = found
        self.settle()

    def add(self, waiters: Iterable[Waiter]) -> None:
        """Letters that wait from now on, of streams that are looked after; others are left out."""
        unsorted: set[Stream] = set()
        for waiter in waiters:
            stream, offset = waiter.place.stream, waiter.place.offset
            held = self._by_stream.get(stream)
            if held is not None:
                if offset < next(reversed(held), offset):
                    unsorted.add(stream)
                held.setdefault(offset, waiter)
        for stream in unsorted:
            self._by_stream[stream] = dict(sorted(self._by_stream[stream].items()))
        self.settle()

    def remove(self, waiter: Waiter) -> None:
        """It waits no more."""
        self._by_stream.get(waiter.place.stream, {}).pop(waiter.place.offset, None)

    def keep(self, streams: Collection[Stream]) -> None:
        """Look after no other streams than these."""
        self._by_stream = {stream: held for stream, held in self._by_stream.items() if stream in streams}
        self.settle()

    def forget(self, streams: Collection[Stream]) -> None:
        """Look after these streams no more."""
        self._by_stream = {stream: held for stream, held in self._by_stream.items() if stream not in streams}
        self.settle()

    def each(self) -> list[Waiter]:
        """All that wait, in the order of their places."""
        return sorted((waiter for held in self._by_stream.values() for waiter in held.values()), key=lambda one: one.place)

    def due(self, now: float, most: int) -> list[Waiter]:
        """Those that may be tried now, in order, at most so many: of each key the first that are due, up to one that is not."""
        due = [waiter for held in self._by_stream.values() for waiter in _unobstructed(held, now)]
        return sorted(due, key=lambda one: one.place)[:most]

    def waiting(self, stream: Stream) -> Waiting:
        """As the port tells it."""
        held = self._by_stream.get(stream, {})
        keys: dict[bytes, Position] = {}
        for offset, waiter in held.items():
            if waiter.key is not None:
                keys.setdefault(waiter.key, offset)
        return Waiting(keys, len(held))

    def settle(self) -> None:
        """Work out when the next one is due, after any change."""
        found = min((waiter.due_at for held in self._by_stream.values() for waiter in _heads(held)), default=None)
        with self._lock:
            self._next_due_at = found

    @property
    def next_due_at(self) -> float | None:
        """When the first one is due that no other of its key stands before; None where none waits. Any thread may ask."""
        with self._lock:
            return self._next_due_at


def _heads(held: dict[int, Waiter]) -> Iterator[Waiter]:
    """Those of a stream that no other of their key stands before."""
    seen: set[bytes] = set()
    for waiter in held.values():
        if waiter.key is None:
            yield waiter
        elif waiter.key not in seen:
            seen.add(waiter.key)
            yield waiter


def _unobstructed(held: dict[int, Waiter], now: float) -> Iterator[Waiter]:
    blocked: set[bytes] = set()
    for waiter in held.values():
        if waiter.key in blocked:
            continue
        if waiter.due_at <= now:
            yield waiter
        elif waiter.key is not None:
            blocked.add(waiter.key)
