"""What a driver calls back, and how a driver is let go that does not come back from its own end."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from landfast.sources.kafka_callbacks import Callbacks
from landfast.system import SystemClock
from landfast.testing.wait import wait_until

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


class Touched:
    """What a callback would touch."""

    def touch(self) -> None:
        """Nothing comes of it."""


def test_a_driver_that_was_left_behind_is_kept_until_it_has_closed_and_keeps_nothing_else() -> None:
    """What its callbacks would touch is let go at once, the driver when its end has come."""
    callbacks, released, touched = Callbacks(SystemClock()), threading.Event(), Touched()
    late, alive = callbacks.guarded(touched.touch), weakref.ref(touched)

    def close() -> None:
        released.wait(60)
        late()

    driver = Driver(close)
    kept = weakref.ref(driver)
    assert not callbacks.close(driver, SHORT_SECONDS)  # type: ignore[arg-type]
    del touched, driver
    gc.collect()
    assert (alive() is None, kept() is None) == (True, False)
    released.set()
    wait_until(lambda: kept() is None, 60)


def test_where_no_thread_can_be_started_the_driver_is_closed_on_this_one() -> None:
    """It leaves in order, and its callbacks find us, for as long as that takes."""
    callbacks, called = Callbacks(SystemClock()), list[str]()
    revoked = callbacks.guarded(called.append)
    # No address space has room for such a stack.
    before = threading.stack_size(2**46)
    try:
        assert callbacks.close(Driver(lambda: revoked("here")), 60.0)  # type: ignore[arg-type]
    finally:
        threading.stack_size(before)
    revoked("late")
    assert called == ["here"]
