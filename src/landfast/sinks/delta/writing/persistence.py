"""Trying again: what is tried, how long, and with which waits between."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from landfast.errors import ErrorClass, Unavailable, class_of
from landfast.ports import Clock
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.writing.values import DeltaWriteRetryPolicy

T = TypeVar("T")


class Persistence:
    """The time and the attempts that one call has, by its policy. The time begins when this is made."""

    def __init__(self, policy: DeltaWriteRetryPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._began = clock.monotonic()

    @property
    def seconds(self) -> float:
        """Since the call began."""
        return self._clock.monotonic() - self._began

    def tries(self, action: str, act: Callable[[int], T | None]) -> T:
        """What `act` returns at its first attempt that returns something; it is given the number of the attempt, from 1.

        Returning None means: not yet. Errors that waiting may mend are tried again.

        Raises:
            Unavailable: the last error, or COMMIT_CONFLICT, when attempts or time are over.
            LandfastError: what no waiting would mend, at once.
        """
        attempt = 0
        while True:
            attempt += 1
            error: Unavailable | None = None
            try:
                with mapped(action):
                    done = act(attempt)
                if done is not None:
                    return done
            except Unavailable as unavailable:
                if not self._mendable(unavailable):
                    raise
                error = unavailable
            wait = self._wait_seconds(attempt)
            if attempt >= self._policy.attempts_max or self.seconds + wait > self._policy.seconds_max:
                raise error or self._given_up(action, attempt)
            self._clock.sleep(wait)

    def _mendable(self, error: Unavailable) -> bool:
        error_class = class_of(error)
        if error_class is ErrorClass.AUTH:
            return self._policy.auth == "retry"
        return error_class not in {ErrorClass.DATA, ErrorClass.SCHEMA, ErrorClass.PERMANENT}

    def _wait_seconds(self, attempt: int) -> float:
        longest = min(self._policy.wait_seconds_max, self._policy.wait_seconds_first * 2 ** min(attempt - 1, 60))
        return random.uniform(0, longest)  # noqa: S311 — nothing secret about a wait

    def _given_up(self, action: str, attempts: int) -> Unavailable:
        message = f"{action}: other writers changed the table during each of {attempts} attempts, in {self.seconds:.1f} s"
        next_step = "Write it again, under the same version: it lands once. A longer DeltaWriteRetryPolicy, or fewer writers, help."
        return Unavailable("COMMIT_CONFLICT", message, kind="conflict", next_step=next_step)
