"""Batches between their cut and their receipt: a queue in cutting order, and at most one landing under way."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile

from landfast.core.breaker import too_many_dead
from landfast.core.landing import InFlight, Landed, land
from landfast.core.lanes import Lane
from landfast.core.prepare import Prepared, prepare
from landfast.core.route import Route
from landfast.model import Halt, Stream
from landfast.ports import Executor

_GROUP_BATCHES_MAX = 16
"""Batches in one commit: more would make it long, and a long one is lost whole where another owner comes first."""


@dataclass(frozen=True, slots=True)
class Landing:
    """A group of batches being committed, and the generation of the flight that it began in."""

    group: tuple[InFlight, ...]
    generation: int
    future: Future[Landed]


class Flight:
    """What a flow has cut and not landed. Owned by the main thread; nothing here waits."""

    def __init__(self, route: Route, pool: Executor, committer: Executor) -> None:
        self._route = route
        self._pool = pool
        self._committer = committer
        self._queue: deque[InFlight] = deque()
        self._landing: Landing | None = None
        self._generation = 0

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[InFlight]:
        """Every batch, those being landed first."""
        yield from self._landing.group if self._landing else ()
        yield from self._queue

    @property
    def streams(self) -> set[Stream]:
        """Streams with something in flight."""
        return {stream for item in self for stream in item.ends}

    @property
    def landing(self) -> bool:
        """Whether a landing is under way, or its end was not looked at yet."""
        return self._landing is not None

    @property
    def under_way(self) -> bool:
        """Whether a landing, a preparation or a decoding is running."""
        landing = self._landing is not None and not self._landing.future.done()
        return landing or self.undecoded > 0 or any(item.future is not None and not item.future.done() for item in self._queue)

    @property
    def undecoded(self) -> int:
        """Calls of the pool that have still to decode something of batches that are cut."""
        return sum(not part.done for item in self._queue if item.work is not None for part in item.work.decoding)

    def launch(self, item: InFlight) -> None:
        """Take in a batch, and hand it to the pool at once if all of it is decoded that is decoded elsewhere."""
        self._queue.append(item)
        self._prepare(item)

    def go_on_preparing(self) -> None:
        """Hand to the pool what is decoded, not prepared and not under way."""
        for item in self._queue:
            self._prepare(item)

    def _prepare(self, item: InFlight) -> None:
        if item.future is None and item.work is not None and item.work.ready:
            item.future = self._pool.submit(partial(prepare, item.work, self._route.decoder, self._route.sink))

    def take_prepared(self) -> Iterator[tuple[InFlight, Prepared]]:
        """The batches whose preparation has ended since the last look.

        Raises:
            Rejected, Unavailable, Conflict, Broken: what a preparation ended with; that batch is kept and can be prepared again.
        """
        for item in self._queue:
            if item.future is not None and item.future.done():
                future, item.future = item.future, None
                item.prepared = future.result()
                item.work = None
                yield item, item.prepared

    @property
    def stale(self) -> bool:
        """Whether a batch must not land: it, and those behind it, are to be read again."""
        return any(item.stale for item in self._queue)

    @property
    def spent(self) -> bool:
        """Whether only such batches are left, and nothing more can be learned of what they hold."""
        return self._landing is None and len(self._queue) > 0 and self._queue[0].stale and all(item.prepared for item in self._queue)

    def takes(self, batches_max: int) -> bool:
        """Whether there is room for another batch, of so many."""
        return len(self._queue) < batches_max and not self.stale

    def ready(self, confirmed: Callable[[InFlight], bool]) -> tuple[InFlight, ...]:
        """The oldest batches, in cutting order, that can land in one act now."""
        prepared = takewhile(lambda item: item.prepared is not None and not item.stale, self._queue)
        return tuple(islice(takewhile(confirmed, prepared), _GROUP_BATCHES_MAX))

    def land(self, group: Sequence[InFlight]) -> None:
        """Hand the group, which is the head of the queue, to the committer."""
        for _ in group:
            self._queue.popleft()
        call = partial(land, group, self._route.sink, self._route.dead_letters)
        self._landing = Landing(tuple(group), self._generation, self._committer.submit(call))

    def take_landed(self) -> Landing | None:
        """The landing, when it has ended."""
        if self._landing is None or not self._landing.future.done():
            return None
        landing, self._landing = self._landing, None
        return landing

    def current(self, landing: Landing) -> bool:
        """Whether the landing still concerns the lanes as they stand; they may have been placed anew while it was under way."""
        return landing.generation == self._generation

    def put_back(self, landing: Landing) -> None:
        """The landing failed for now: its batches are the head of the queue again."""
        self._queue.extendleft(reversed(landing.group))

    def dissolve(self, group: Sequence[InFlight]) -> Counter[Stream]:
        """Forget every batch, also those being landed; returns how many records of which streams they were of, with those of `group`."""
        forgotten = Counter[Stream]()
        for item in (*group, *self):
            forgotten.update(item.records)
        for item in self._queue:
            for part in item.work.decoding if item.work is not None else ():
                part.drop()
        self._queue.clear()
        self._generation += 1
        return forgotten


def trips(item: InFlight, lanes: Mapping[Stream, Lane]) -> tuple[Stream, Halt] | None:
    """Count a batch's deaths, once: the lane whose breaker they trip, and why it halts."""
    if item.prepared is None or item.counted:
        return None
    item.counted = True
    for deaths in item.prepared.deaths:
        tripped = lanes[deaths.stream].breaker.count(deaths.ordinals, deaths.records)
        if tripped is not None:
            return deaths.stream, too_many_dead(tripped, item.prepared.letters, deaths.stream)
    return None
