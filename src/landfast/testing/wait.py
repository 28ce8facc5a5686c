"""Waiting for something real: on a condition, with a deadline, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], seconds_max: float, *, tick_seconds: float = 0.05) -> None:
    """Return as soon as `condition()` is true.

    Raises:
        TimeoutError: it was not true within `seconds_max`.
    """
    deadline = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"a condition did not come true within {seconds_max} s")
        time.sleep(tick_seconds)
