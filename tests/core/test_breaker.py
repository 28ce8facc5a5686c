"""The breaker trips exactly at its limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from landfast.core.breaker import WINDOW_RECORDS, Breaker, BreakerLimits


def test_so_many_in_a_row_trip_it() -> None:
    """One fewer does not; a good record between begins again."""
    breaker = Breaker(BreakerLimits(in_a_row_max=5))
    assert breaker.count(range(4), 5) is None
    assert breaker.count(range(4), 4) is None
    assert breaker.count([0], 1) is not None


def test_a_share_of_the_last_records_trips_it() -> None:
    """More than the share of the last 10,000 records; what lies further back does not count."""
    breaker = Breaker(BreakerLimits(share_max=0.01))
    assert breaker.count(range(0, 10_000, 100), 10_000) is None
    assert breaker.count([0], 1) is None
    assert breaker.count([1], 2) is not None


@given(st.lists(st.booleans(), max_size=400), st.integers(1, 400), st.integers(1, 20))
def test_it_does_not_matter_how_records_are_batched(dead: list[bool], cut: int, in_a_row_max: int) -> None:
    """Counted in one piece or in two, the verdict is the same."""
    limits = BreakerLimits(share_max=30 / WINDOW_RECORDS, in_a_row_max=in_a_row_max)
    whole = Breaker(limits).count([place for place, died in enumerate(dead) if died], len(dead))
    parts = Breaker(limits)
    verdicts = [parts.count([place for place, died in enumerate(piece) if died], len(piece)) for piece in (dead[:cut], dead[cut:])]
    assert (whole is None) == (verdicts == [None, None]) or verdicts[0] is not None
