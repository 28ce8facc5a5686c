"""Who may move a stream's position: the take-over, counted in the table itself, that shuts former owners out.

The position alone does not fence an owner that was asleep: its batch still starts where the table stands. If its successor has buried a
record of that batch meanwhile, under other settings, the record would be in two places. So a new owner first makes itself known in the
table, and a commit demands that nobody came after.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from landfast.errors import Unavailable
from landfast.model import Halt, Position, Stream
from landfast.sinks.delta.landing.retries import followed, wait_seconds
from landfast.sinks.delta.log.app_ids import owner_app_id
from landfast.sinks.delta.log.record import TAKE_OVER
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.view import View


class Tenure:
    """Which take-over of each stream is ours. Shared by the thread that takes over and the one that commits.

    A take-over and a commit are both put at the version right after the one that was compared, so that whichever of two comes second
    compares again. A stream that this process never took over is committed on its position alone.
    """

    def __init__(self, home: TableHome) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._numbers: dict[Stream, int] = {}

    def number(self, stream: Stream) -> int | None:
        """The number of our take-over of a stream; None where there was none."""
        with self._lock:
            return self._numbers.get(stream)

    def holds(self, view: View, stream: Stream) -> bool:
        """Whether nobody has taken the stream over since we did, by this view."""
        ours = self.number(stream)
        return ours is None or ours == self._home.owner(view, stream)

    def take(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Take the streams over, then read their positions from a later snapshot.

        A take-over whose outcome is unknown is simply made again, one number higher: the numbers only have to grow.
        """
        home = self._home
        view = home.open()
        for attempt in range(home.settings.commit_attempts_max):
            if attempt:
                home.clock.sleep(wait_seconds(attempt))
                view = followed(home, view)
            standing = home.positions(view, streams)
            numbers = {stream: home.owner(view, stream) + 1 for stream in streams if not isinstance(standing[stream], Halt)}
            if not numbers:
                return standing
            owners = {owner_app_id(home.pipeline_id, stream): number for stream, number in numbers.items()}
            if home.put(view, TAKE_OVER, owners):
                with self._lock:
                    self._numbers.update(numbers)
                return home.positions(view, streams)
        message = f"other writers changed the table during each of {home.settings.commit_attempts_max} attempts to take streams over"
        raise Unavailable("COMMIT_CONFLICT", message, kind="conflict", next_step="Nothing: it is tried again.")
