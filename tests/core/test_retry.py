"""Retries grow, spread, and end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from landfast.core.retry import Backoff, RetryPolicy, wait_seconds
from landfast.errors import ErrorClass


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


def test_a_class_with_a_policy_of_its_own_counts_by_itself() -> None:
    """Many failures of one class use up nothing of another's attempts, nor does its time begin before its own first failure."""
    general = RetryPolicy(attempts_max=4, wait_seconds_first=1, wait_seconds_max=1, total_seconds_max=1000)
    auth = RetryPolicy(attempts_max=2, wait_seconds_first=8, wait_seconds_max=8, total_seconds_max=20)
    backoff = Backoff(general, {ErrorClass.AUTH: auth})
    assert [backoff.failed(now, 0.5, ErrorClass.TRANSIENT) for now in (0, 50)] == [0.75, 0.75]
    assert backoff.failed(100, 0.5, ErrorClass.AUTH) == 6
    assert (backoff.attempt, backoff.waiting(105.9), backoff.waiting(106)) == (3, True, False)
    assert backoff.failed(101, 0.5, ErrorClass.UNKNOWN) == 0.75
    assert backoff.failed(102, 0.5, ErrorClass.AUTH) is None
    assert backoff.failed(103, 0.5, ErrorClass.THROTTLED) is None
    backoff.succeeded()
    assert (backoff.attempt, backoff.waiting(103)) == (0, False)
    assert backoff.failed(200, 0.5, ErrorClass.AUTH) == 6


def test_unknown_is_as_patient_as_what_may_pass() -> None:
    """Nobody knows what it is, so it is tried as often and as long."""
    policy = RetryPolicy(attempts_max=3)
    unknown, transient = Backoff(policy), Backoff(policy)
    for now in (0, 1, 2):
        assert unknown.failed(now, 0.5, ErrorClass.UNKNOWN) == transient.failed(now, 0.5, ErrorClass.TRANSIENT)


_POLICIES = st.builds(
    RetryPolicy, st.integers(1, 3), st.floats(0.01, 1), wait_seconds_max=st.floats(1, 5), total_seconds_max=st.floats(5, 50)
)


@given(
    _POLICIES,
    st.dictionaries(st.sampled_from(ErrorClass), _POLICIES),
    st.lists(st.tuples(st.sampled_from(ErrorClass), st.floats(0, 10), st.floats(0, 0.999)), min_size=28, max_size=28),
)
def test_in_whatever_order_classes_fail_the_retries_end(
    general: RetryPolicy, by_class: dict[ErrorClass, RetryPolicy], failures: list[tuple[ErrorClass, float, float]]
) -> None:
    """No mix of classes renews a patience: the tries are at most those of all policies together."""
    backoff = Backoff(general, by_class)
    now, tries = 0.0, 0
    for error_class, later, jitter in failures:
        wait = backoff.failed(now, jitter, error_class)
        tries += 1
        if wait is None:
            break
        own = by_class.get(error_class, general)
        assert 0 < wait <= own.wait_seconds_max
        now += wait + later
    assert wait is None
    assert tries <= sum(policy.attempts_max for policy in (general, *by_class.values()))
