"""An observer that remembers."""

from __future__ import annotations

import threading
from typing import TypeVar

from landfast.events import Event

E = TypeVar("E", bound=Event)


class RecordingObserver:
    """A `ports.Observer` that keeps every event in the order heard. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything heard so far."""
        with self._lock:
            return tuple(self._events)

    def notice(self, event: Event) -> None:
        """Keep one event."""
        with self._lock:
            self._events.append(event)

    def of(self, kind: type[E]) -> tuple[E, ...]:
        """The events of one kind, in order."""
        return tuple(event for event in self.events if isinstance(event, kind))
