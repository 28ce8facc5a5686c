"""What the proxies and brokers of this process have done, so that a test run can say how much its tests went through."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping


class Inflicted:
    """Counts by words. Used from any thread."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, what: str, count: int = 1) -> None:
        """It was done so many times more."""
        with self._lock:
            self._counts[what] += count

    def counts(self) -> Mapping[str, int]:
        """How often each was done; what never was is left out."""
        with self._lock:
            return {what: count for what, count in sorted(self._counts.items()) if count}


INFLICTED = Inflicted()
"""Of this process."""
