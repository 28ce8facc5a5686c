"""Time that moves only when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable

from landfast.errors import check

EPOCH_SECONDS = 1_700_000_000.0
"""What `ManualClock.now` says at first: any moment will do, as long as it is always the same."""


class ManualClock:
    """A `ports.Clock` whose time stands still except while somebody sleeps, or when the test advances it.

    `during_sleep` is called on every sleep, after time has moved: a test lets the rest of its world go on there (an executor's next
    step, a producer's next record). Waiting therefore costs nothing, and the order of things does not depend on the machine.
    """

    def __init__(self, during_sleep: Callable[[], object] | None = None) -> None:
        self.during_sleep = during_sleep
        self._seconds = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch; moves together with `monotonic`."""
        return EPOCH_SECONDS + self._seconds

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._seconds

    def sleep(self, seconds: float) -> None:
        """Let this much time pass at once, then let the rest of the world go on."""
        self.advance(max(0.0, seconds))
        if self.during_sleep is not None:
            self.during_sleep()

    def advance(self, seconds: float) -> None:
        """Let this much time pass."""
        check(seconds >= 0, "a clock does not go back")
        with self._lock:
            self._seconds += seconds
