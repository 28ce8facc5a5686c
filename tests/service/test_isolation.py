from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from landfast.sinks.service.isolation import Answer, Refused, isolate


class Function:
    """Refuses a call that holds a bad number, and does not say which; `named` bad numbers it does say."""

    def __init__(self, bad: set[int], named: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.bad, self.named = bad, named
        self.passed: list[int] = []

    def __call__(self, numbers: Sequence[int]) -> Answer[int]:
        if self.bad.intersection(numbers):
            return Answer(doubt=Refused(tuple(numbers), "bad", "one of them"))
        refused = [number for number in numbers if number in self.named]
        self.passed += [number for number in numbers if number not in self.named]
        return Answer(tuple(Refused(number, "named", "it") for number in refused))


@given(st.integers(1, 300), st.data())
def test_halving_finds_what_cannot_pass_and_passes_the_rest_once_and_in_order(count: int, data: st.DataObject) -> None:
    """Each record is either alone refused or handled in a call that passed, once, the earlier before the later."""
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=8))
    named = data.draw(st.sets(st.integers(0, count - 1), max_size=8)) - bad
    function = Function(bad, named)
    found = isolate(range(count), function, calls_max=10_000)
    assert found.in_doubt is None
    assert {one.record for one in found.refused} == bad | named
    assert function.passed == [number for number in range(count) if number not in bad | named]
    assert found.calls <= 1 + max(1, len(bad)) * 2 * math.ceil(math.log2(max(2, count)))


@given(st.integers(2, 300), st.integers(0, 40))
def test_halving_stops_at_its_bound(count: int, calls_max: int) -> None:
    """Where everything is bad the calls stay within the bound, and what is open is said."""
    found = isolate(range(count), Function(set(range(count))), calls_max)
    assert found.calls <= max(1, calls_max)
    assert (found.in_doubt is None) == (found.calls == 2 * count - 1)
