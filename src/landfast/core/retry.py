"""When to try again: pure arithmetic over (attempt, elapsed). Nothing here waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from landfast.errors import ErrorClass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient to be with what may pass. Both caps hold: whichever comes first ends the retries.

    attempts_max        tries in all, the first included
    wait_seconds_first  the first wait; each further wait doubles
    wait_seconds_max    the longest single wait
    total_seconds_max   from the first failure to the last try: by default this decides, not the number of tries
    """

    attempts_max: int = 100
    wait_seconds_first: float = 0.1
    wait_seconds_max: float = 15.0
    total_seconds_max: float = 300.0


def wait_seconds(policy: RetryPolicy, attempt: int, elapsed_seconds: float, jitter: float) -> float | None:
    """How long to wait after failed try number `attempt` (from 1), or None to give up.

    `jitter` in [0, 1) spreads the wait over the upper half of its range, so that workers that failed together do not return together.
    """
    if attempt >= policy.attempts_max:
        return None
    # The exponent is bounded so that the power cannot overflow; 2**32 times any first wait is beyond every maximum.
    full = min(policy.wait_seconds_max, policy.wait_seconds_first * 2 ** min(attempt - 1, 32))
    wait = full * (0.5 + jitter / 2)
    return None if elapsed_seconds + wait > policy.total_seconds_max else wait


@dataclass(slots=True)
class Backoff:
    """Where one act stands between its failures: mutable, owned by whoever retries the act.

    Failures of a class in `by_class` count under its policy, on their own; all others count together under `policy`. So whatever the
    order in which classes fail, the retries end: none can use up, or renew, the patience that another has.
    """

    policy: RetryPolicy
    by_class: Mapping[ErrorClass, RetryPolicy] = field(default_factory=dict)
    attempt: int = 0
    due_at: float = 0.0
    _counted: dict[ErrorClass | None, tuple[int, float]] = field(default_factory=dict)

    def failed(self, now: float, jitter: float, error_class: ErrorClass = ErrorClass.UNKNOWN) -> float | None:
        """Note one more failure; the wait until the next try, or None when retries are over."""
        self.attempt += 1
        counted = error_class if error_class in self.by_class else None
        before, first_failed_at = self._counted.get(counted, (0, now))
        self._counted[counted] = (before + 1, first_failed_at)
        wait = wait_seconds(self.by_class.get(error_class, self.policy), before + 1, now - first_failed_at, jitter)
        if wait is not None:
            self.due_at = now + wait
        return wait

    def waiting(self, now: float) -> bool:
        """Whether the next try is not due yet."""
        return self.attempt > 0 and now < self.due_at

    def succeeded(self) -> None:
        """Forget the failures."""
        self.attempt = 0
        self._counted.clear()
