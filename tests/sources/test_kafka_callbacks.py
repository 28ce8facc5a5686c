"""What a driver calls back, and how a driver is let go that does not come back from its own end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from landfast.sources.kafka_callbacks import Callbacks
from landfast.system import SystemClock

SHORT_SECONDS = 0.05


class Driver:
    """Closes as it is told to."""

    def __init__(self, close: Callable[[], Any]) -> None:
        self.close = close


def test_a_driver_that_does_not_come_back_is_left_to_itself() -> None:
    """Its end is not waited for, and what it calls back from then on finds nobody."""
    callbacks, released, called = Callbacks(SystemClock()), threading.Event(), list[str]()
    late = callbacks.guarded(called.append)
    ended = threading.Event()

    def close() -> None:
        released.wait(60)
        late("late")
        ended.set()

    assert not callbacks.close(Driver(close), SHORT_SECONDS)  # type: ignore[arg-type]
    released.set()
    assert ended.wait(60)
    assert called == []


def test_the_time_that_a_callback_takes_is_its_own() -> None:
    """A revoke that lands what is in flight for longer than leaving may take is not cut off, and the driver then leaves in order."""
    callbacks, called = Callbacks(SystemClock()), list[float]()

    def revoke(seconds: float) -> None:
        threading.Event().wait(seconds)
        called.append(seconds)

    slow = callbacks.guarded(revoke)
    assert callbacks.close(Driver(lambda: slow(10 * SHORT_SECONDS)), SHORT_SECONDS)  # type: ignore[arg-type]
    assert called == [10 * SHORT_SECONDS]


def test_what_a_callback_raises_while_the_driver_closes_is_raised_by_us() -> None:
    """The driver comes back from its end all the same; the first failure is kept and raised once."""
    callbacks = Callbacks(SystemClock())

    def fail(words: str) -> None:
        raise ValueError(words)

    failing = callbacks.guarded(fail)

    def close() -> None:
        failing("first")
        failing("second")

    assert callbacks.close(Driver(close), 60.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="first"):
        callbacks.raise_failure()
    callbacks.raise_failure()


def test_what_closing_raises_is_raised() -> None:
    """An error of the driver's own does not pass for an end in order."""
    callbacks = Callbacks(SystemClock())
    with pytest.raises(ZeroDivisionError):
        callbacks.close(Driver(lambda: 1 // 0), 60.0)  # type: ignore[arg-type]
