"""Retries grow, spread, and end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from landfast.core.retry import Backoff, RetryPolicy, wait_seconds


@given(st.integers(1, 100), st.floats(0, 0.999), st.floats(0, 1000))
def test_no_wait_is_longer_than_allowed(attempt: int, jitter: float, elapsed: float) -> None:
    """Each wait lies within the longest single wait, and the total stays within its cap."""
    policy = RetryPolicy(attempts_max=50, wait_seconds_max=15, total_seconds_max=300)
    wait = wait_seconds(policy, attempt, elapsed, jitter)
    if wait is not None:
        assert 0 < wait <= 15
        assert elapsed + wait <= 300
        assert attempt < 50


def test_waits_double_up_to_the_longest() -> None:
    """Without jitter's spread the waits are 0.1, 0.2, 0.4 and so on, halved."""
    policy = RetryPolicy(attempts_max=100, wait_seconds_first=0.1, wait_seconds_max=1.0, total_seconds_max=1e9)
    assert [wait_seconds(policy, attempt, 0, 0.0) for attempt in (1, 2, 3, 5, 99)] == [0.05, 0.1, 0.2, 0.5, 0.5]


def test_either_cap_ends_the_retries() -> None:
    """Attempts or seconds, whichever comes first."""
    assert wait_seconds(RetryPolicy(attempts_max=3), 3, 0, 0.5) is None
    assert wait_seconds(RetryPolicy(total_seconds_max=10), 2, 9.99, 0.5) is None


def test_a_backoff_measures_from_its_first_failure() -> None:
    """The clock of the total starts at the first failure and is forgotten by a success."""
    backoff = Backoff(RetryPolicy(attempts_max=100, wait_seconds_first=1, wait_seconds_max=1, total_seconds_max=5))
    assert not backoff.waiting(0)
    assert backoff.failed(100, 0.5) == 0.75
    assert backoff.waiting(100.7)
    assert not backoff.waiting(100.75)
    assert backoff.failed(104.9, 0.5) is None
    backoff.succeeded()
    assert not backoff.waiting(104.9)
    assert backoff.failed(200, 0.5) == 0.75
