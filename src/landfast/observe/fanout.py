"""One notice to many observers, without ever raising into the engine or making it wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from landfast.events import Event, LaneProgress, LettersWaiting, MemoryHeld, Notice, RecordsRead, StaleDropped
from landfast.model import Stream
from landfast.observe.state import State, reduce
from landfast.ports import Clock, Observer

FREQUENT = (RecordsRead, LaneProgress, StaleDropped, MemoryHeld, LettersWaiting)
"""Events that come with every poll. A full queue gives these up first, so that a halt is still heard."""


class Fanout:
    """Hands each event to every observer. One that raises is switched off and counted: telemetry never stops the work."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self.failures: tuple[str, ...] = ()

    def notice(self, event: Event) -> None:
        """Tell every observer that still works."""
        for observer in self._observers:
            try:
                observer.notice(event)
            except Exception as error:  # noqa: BLE001 — an observer's contract is not to raise; one that does must not end the run
                self._observers = tuple(other for other in self._observers if other is not observer)
                self.failures = (*self.failures, f"{type(observer).__name__}: {type(error).__name__}")


class Watch:
    """Keeps the `State` of the run: an observer that metrics, health and progress read from, each at its own pace.

    Reading is heard of with every chunk, so events of reading are summed up per stream and folded in together: the state is the
    same as if each had been folded in by itself.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state = State()
        self._reading: dict[tuple[str, Stream], RecordsRead] = {}

    @property
    def state(self) -> State:
        """The state as of the last event. Frozen: it may be read from any thread for as long as wanted."""
        with self._lock:
            self._fold_reading()
            return self._state

    def notice(self, event: Event) -> None:
        """Take one event into the state."""
        with self._lock:
            if isinstance(event, RecordsRead):
                key = (event.flow, event.stream)
                self._reading[key] = event if key not in self._reading else _both(self._reading[key], event)
                return
            self._fold_reading()
            self._state = reduce(self._state, event, self._clock.now())

    def _fold_reading(self) -> None:
        if self._reading:
            now = self._clock.now()
            for event in self._reading.values():
                self._state = reduce(self._state, event, now)
            self._reading.clear()


def _both(earlier: RecordsRead, later: RecordsRead) -> RecordsRead:
    return RecordsRead(later.flow, later.stream, earlier.records + later.records, earlier.nbytes + later.nbytes, later.position)


class Queued:
    """Stands before an observer that may block (a log on a full pipe): a bounded queue and a thread of its own.

    What does not fit is dropped and counted, frequent events at `events_max`, the others at twice that. As soon as there is
    room again the observer hears a TELEMETRY_DROPPED notice with the count.
    """

    def __init__(self, observer: Observer, *, events_max: int = 10_000) -> None:
        self._observer = Fanout([observer])
        self._events_max = events_max
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._dropped = 0
        self._untold = 0
        self._thread = threading.Thread(target=self._run, name="landfast-observe", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Events that were dropped so far."""
        return self._dropped

    def notice(self, event: Event) -> None:
        """Queue one event, or drop and count it; never waits for the observer."""
        limit = self._events_max if isinstance(event, FREQUENT) else 2 * self._events_max
        with self._changed:
            if self._closed or len(self._events) >= limit:
                self._dropped += 1
                self._untold += 1
                return
            self._events.append(event)
            self._changed.notify()

    def close(self, seconds_max: float = 2.0) -> None:
        """Let the observer hear what is queued, for at most `seconds_max`; then give up. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds_max)

    def _run(self) -> None:
        while (event := self._next()) is not None:
            self._observer.notice(event)

    def _next(self) -> Event | None:
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._closed)
            if self._untold and len(self._events) < self._events_max:
                count, self._untold = self._untold, 0
                return Notice("", "TELEMETRY_DROPPED", f"{count} events were not reported", "warning")
            return self._events.popleft() if self._events else None
