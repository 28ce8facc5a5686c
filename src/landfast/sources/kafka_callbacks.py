"""What the driver calls back, one call at a time; and letting go of a driver that does not come back from its own end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer

from landfast.errors import Unavailable
from landfast.ports import Clock
from landfast.threads import Threads

_LEFT_BEHIND: list[Consumer] = []
"""Drivers that are still closing, and nothing else. To collect one would wait for it, so it is kept here until it has closed."""


class Callbacks:
    """Guards the callbacks of drivers: what one raises is kept for the main thread, and none runs any more when we are gone.

    The driver would otherwise assign everything, from anywhere, or never come back from `close`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._inside_seconds = 0.0
        self._failure: BaseException | None = None
        # A callback may call the driver, which calls back.
        self._one_at_a_time = threading.RLock()
        self._acts: list[list[Callable[..., None]]] = []

    def guarded(self, act: Callable[..., None]) -> Callable[..., None]:
        """The same act, for a driver to call."""
        # A driver that is left behind holds its callbacks, and must not hold all that these would touch: each act can be taken away.
        held = [act]
        self._acts.append(held)

        def callback(*given: Any) -> None:
            with self._one_at_a_time:
                if not held:
                    return
                begun = self._clock.monotonic()
                try:
                    held[0](*given)
                except BaseException as error:  # noqa: BLE001 — raised again by the call of ours that the callback runs in
                    self._failure = self._failure or error
                self._inside_seconds += self._clock.monotonic() - begun

        return callback

    def raise_failure(self) -> None:
        """Raise what a callback could not."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self, driver: Consumer, seconds_max: float) -> bool:
        """Close the driver, which calls back meanwhile; False where that took longer, callbacks aside, and it was left to itself.

        librdkafka leaves a group in order, and waits for brokers that are gone: 10 to 45 seconds were measured, once more than 180
        (`rd_kafka_consumer_close` knows no limit: confluentinc/librdkafka#4519). So it closes on a thread that keeps nobody, while this
        one waits; its callbacks find the state at rest. Where the system starts no further thread, this one waits for as long as it takes.
        """
        try:
            return self._closed(driver, seconds_max)
        finally:
            with self._one_at_a_time:
                for held in self._acts:
                    held.clear()

    def _closed(self, driver: Consumer, seconds_max: float) -> bool:
        try:
            thread = Threads("landfast-leave")
        except Unavailable:
            driver.close()
            return True
        closed = thread.submit(driver.close)
        deadline = self._clock.monotonic() + seconds_max - self._inside_seconds
        try:
            while (left := deadline + self._inside_seconds - self._clock.monotonic()) > 0:
                with suppress(TimeoutError):
                    closed.result(left)
                    return True
                # What a callback lands takes as long as its own deadline says.
                with self._one_at_a_time:
                    continue
        finally:
            thread.close()
        _LEFT_BEHIND.append(driver)
        # Where it has closed meanwhile, that is called right here.
        closed.add_done_callback(lambda _: _LEFT_BEHIND.remove(driver))
        return False
