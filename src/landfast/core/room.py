"""Whether a flow may read more: its share of memory, its decoders, and its batches in flight."""

from __future__ import annotations

from landfast import events
from landfast.core.flight import Flight
from landfast.core.intake import Intake
from landfast.core.route import Route, Surroundings


class Room:
    """What a flow holds, against what it may hold.

    crowded  it holds more than its share, and reads nothing until half of it is free again
    """

    def __init__(self, route: Route, surroundings: Surroundings, intake: Intake, flight: Flight) -> None:
        self.crowded = False
        self._route = route
        self._around = surroundings
        self._intake = intake
        self._flight = flight
        self._told = (0, 0, 0)

    def look(self, *, busy: bool) -> None:
        """See whether it is crowded, and tell what it holds, if that has changed."""
        most = self._around.memory_bytes_max
        # What is neither uncut nor in flight is nowhere: a flow that waits for records has nothing to add up.
        held = (self.nbytes, len(self._flight), self.undecoded) if busy else (0, 0, 0)
        self.crowded = held[0] > (most // 2 if self.crowded else most)
        if held != self._told:
            self._told = held
            self._around.observer.notice(events.MemoryHeld(self._route.name, *held, most))

    @property
    def taken(self) -> bool:
        """Whether the decoders are behind, or another batch waits where no more may be in flight."""
        limits = self._route.limits
        behind = self.undecoded >= limits.piece.waiting_max
        return behind or (len(self._flight) >= limits.flight_batches_max and self._intake.full)

    @property
    def undecoded(self) -> int:
        """Calls of the pool that have still to decode something."""
        return self._intake.undecoded + self._flight.undecoded

    @property
    def nbytes(self) -> int:
        """Bytes of memory that records and staged rows take."""
        return self._intake.nbytes + sum(item.nbytes for item in self._flight)
