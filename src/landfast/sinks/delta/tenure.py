"""Who may move a stream's position: the take-over, counted in the table itself, that shuts former owners out.

The position alone does not fence an owner that was asleep: its batch still starts where the table stands. If its successor has buried a
record of that batch meanwhile, under other settings, the record would be in two places. So a new owner first makes itself known in the
table, and a commit demands that nobody came after.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from deltalake import DeltaTable, Transaction

from landfast.errors import Unavailable
from landfast.model import Halt, Position, Stream
from landfast.sinks.delta.errors import FATES_TO_RETRY, fate_of
from landfast.sinks.delta.table import HOOKS_OFF, TableHome, commit_properties, owner_app_id

WAIT_SECONDS_FIRST = 0.005
WAIT_SECONDS_MAX = 0.5


class Tenure:
    """Which take-over of each stream is ours. Shared by the thread that takes over and the one that commits.

    A take-over and a commit both carry the stream's owner transaction, so that the table refuses whichever of two comes second on a
    stale snapshot. A stream that this process never took over is committed on its position alone.
    """

    def __init__(self, home: TableHome) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._numbers: dict[Stream, int] = {}

    def number(self, stream: Stream) -> int | None:
        """The number of our take-over of a stream; None where there was none."""
        with self._lock:
            return self._numbers.get(stream)

    def holds(self, handle: DeltaTable, stream: Stream) -> bool:
        """Whether nobody has taken the stream over since we did, by this handle's snapshot."""
        ours = self.number(stream)
        return ours is None or ours == self._home.owner(handle, stream)

    def take(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Take the streams over, then read their positions from a later snapshot.

        A take-over whose outcome is unknown is simply made again, one number higher: the numbers only have to grow.
        """
        home = self._home
        for attempt in range(home.settings.commit_attempts_max):
            if attempt:
                home.clock.sleep(min(WAIT_SECONDS_MAX, WAIT_SECONDS_FIRST * 2**attempt))
            handle = home.open()
            standing = home.positions(handle, streams)
            numbers = {stream: home.owner(handle, stream) + 1 for stream in streams if not isinstance(standing[stream], Halt)}
            if not numbers:
                return standing
            try:
                self._write(handle, numbers)
                handle.update_incremental()
            except Exception as error:
                # deltalake's classes do not tell a lost race from a fault, so the text decides; what is not a race is raised as it was.
                if fate_of(error) in FATES_TO_RETRY:
                    continue
                raise
            home.catch_up(handle)
            with self._lock:
                self._numbers.update(numbers)
            return home.positions(handle, streams)
        message = f"other writers changed the table during each of {home.settings.commit_attempts_max} attempts to take streams over"
        raise Unavailable("COMMIT_CONFLICT", message, next_step="Nothing: it is tried again.")

    def _write(self, handle: DeltaTable, numbers: Mapping[Stream, int]) -> None:
        transactions = [Transaction(owner_app_id(self._home.pipeline_id, stream), number) for stream, number in numbers.items()]
        metadata = {"isBlindAppend": True, "landfast.act": "take over"}
        handle.create_write_transaction(
            [],
            "append",
            handle.schema(),
            partition_by=list(self._home.shape.partition_by) or None,
            commit_properties=commit_properties(self._home.settings, custom_metadata=metadata, app_transactions=transactions),
            post_commithook_properties=HOOKS_OFF,
        )
