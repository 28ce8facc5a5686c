"""When the sink may tidy up: on the committer, between landings where they leave a gap, and otherwise in line with them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from landfast import events
from landfast.errors import Conflict, Unavailable
from landfast.ports import Executor, Observer, Sink

OVERDUE_TIMES = 2


@dataclass(frozen=True, slots=True)
class UpkeepLimits:
    """How often, and how long.

    landings_between   commits between two calls of `Sink.maintain`; twice as many where landings leave no gap
    seconds_max        the budget of one call
    """

    landings_between: int = 10
    seconds_max: float = 2.0


class Upkeep:
    """Calls `Sink.maintain` now and then. What the sink cannot do today it says, and does another day: no promise rests on it."""

    def __init__(self, name: str, sink: Sink, committer: Executor, observer: Observer, limits: UpkeepLimits) -> None:
        self._name = name
        self._sink = sink
        self._committer = committer
        self._observer = observer
        self._limits = limits
        # The first landing is followed by upkeep: many runs are too short for a second chance, and the sink knows what is due.
        self._landings = limits.landings_between - 1
        self._under_way: Future[None] | None = None

    @property
    def under_way(self) -> bool:
        """Whether the sink is tidying up."""
        return self._under_way is not None and not self._under_way.done()

    def landed(self) -> None:
        """Count one commit."""
        self._landings += 1

    def turn(self, *, landing: bool) -> None:
        """Look whether maintenance has ended, and start it when it is due and nothing is being landed, or in line when it is overdue.

        Raises:
            Broken: the sink found damage.
        """
        if self._under_way is not None:
            if not self._under_way.done():
                return
            ended, self._under_way = self._under_way, None
            try:
                ended.result()
            except (Unavailable, Conflict) as error:
                self._observer.notice(events.Notice(self._name, error.code, f"maintenance is put off: {error.message}"))
        # Where each landing is followed by the next at once there is never a gap, and a sink that is never tidied up grows slower.
        overdue = self._landings >= OVERDUE_TIMES * self._limits.landings_between
        if overdue or (self._landings >= self._limits.landings_between and not landing):
            self._landings = 0
            self._under_way = self._committer.submit(partial(self._sink.maintain, self._limits.seconds_max))
