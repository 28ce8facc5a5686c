"""A crash, an outage, a lost answer or a conflict at any call of any port loses nothing and doubles nothing."""

from __future__ import annotations

import itertools

import pytest

from landfast.core.report import Outcome
from landfast.testing.faults import Fault, Kind, When
from tests.core.world import Sizes, World

CALLS_MAX = 2_000
"""More than any run of this world makes: reached only if a loop does not end."""


def numbers() -> range:
    """The number of each call that a process could make."""
    return range(1, CALLS_MAX)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("when", list(When))
def test_a_crash_at_any_call_loses_and_doubles_nothing(when: When) -> None:
    """Whatever call a process dies at, before or after its effect, the next one lands the rest: every record is once in one place."""
    for number in numbers():
        world = World()
        process = world.process(Fault(number, when, Kind.CRASH))
        report = process.survives()
        world.check_safe()
        world.run_to_the_end()
        world.check_end()
        if report is not None:
            assert process.plan.fired == []
            return
    pytest.fail("the calls never end")


@pytest.mark.usefixtures("unmeasured")
def test_a_crash_in_the_recovery_from_a_crash_loses_and_doubles_nothing() -> None:
    """Two crashes in a row, at a call of the first process and at any call of the second."""
    for number in itertools.count(1, 13):
        first_crashed = False
        for second in itertools.count(number % 5 + 1, 5):
            world = World()
            first_crashed = world.process(Fault(number, When.AFTER, Kind.CRASH)).survives() is None
            second_crashed = world.process(Fault(second, When.AFTER, Kind.CRASH)).survives() is None
            world.run_to_the_end()
            world.check_end()
            if not (first_crashed and second_crashed):
                break
        if not first_crashed:
            return


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("lasting", [1, 3])
@pytest.mark.parametrize(
    ("kind", "when"),
    [(Kind.UNAVAILABLE, When.BEFORE), (Kind.CONFLICT, When.BEFORE), (Kind.ANSWER_LOST, When.BEFORE), (Kind.ANSWER_LOST, When.AFTER)],
)
def test_an_outage_at_any_call_is_survived_without_a_restart(kind: Kind, when: When, lasting: int) -> None:
    """A call that fails a few times, with or without effect, delays what is read, and nothing else."""
    for number in numbers():
        world = World()
        process = world.process(Fault(number, when, kind, lasting))
        report = process.run()
        world.check_safe()
        if not process.plan.fired:
            return
        assert report.outcome is Outcome.FINISHED, (number, process.plan.fired, report)
        world.check_end()
    pytest.fail("the calls never end")


@pytest.mark.parametrize(
    ("kind", "when"), [(Kind.UNAVAILABLE, When.BEFORE), (Kind.ANSWER_LOST, When.BEFORE), (Kind.ANSWER_LOST, When.AFTER)]
)
def test_an_outage_that_outlasts_the_retries_halts_and_loses_nothing(kind: Kind, when: When) -> None:
    """When retries end the lanes halt with everything intact, and the next run lands the rest."""
    for number in range(1, CALLS_MAX, 5):
        # Patience of five minutes would only mean more turns in which nothing happens.
        world = World(Sizes(retry_seconds=10.0))
        process = world.process(Fault(number, when, kind, lasting=10_000))
        report = process.run()
        world.check_safe()
        if process.plan.fired:
            assert report.outcome in {Outcome.HALTED, Outcome.FINISHED, Outcome.BROKEN}
        world.run_to_the_end()
        world.check_end()
        if not process.plan.fired:
            return
    pytest.fail("the calls never end")


def test_conflicts_without_end_halt_as_a_second_copy_of_the_pipeline() -> None:
    """Where commit after commit is refused the lanes halt with that code, everything is intact, and the next run lands the rest."""
    world = World()
    report = world.process(Fault(1, When.BEFORE, Kind.CONFLICT, lasting=10_000)).run()
    assert report.outcome is Outcome.HALTED
    assert {halt.code for halt in report.halts.values()} == {"PIPELINE_DUPLICATE"}
    world.check_safe()
    world.run_to_the_end()
    world.check_end()


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("sizes", [Sizes(1, 1, 1, 1), Sizes(2, 5, 100, 3, checks_apart=3), Sizes(100, 3, 100, 100), Sizes(4, 2, 3, 2)])
def test_a_crash_at_any_call_is_survived_whatever_the_sizes(sizes: Sizes) -> None:
    """The same however finely batches, polls and chunks are cut, and however late a topic's identity is checked."""
    for number in range(1, CALLS_MAX, 2):
        world = World(sizes)
        report = world.process(Fault(number, When.AFTER if number % 4 == 1 else When.BEFORE, Kind.CRASH)).survives()
        world.check_safe()
        world.run_to_the_end()
        world.check_end()
        if report is not None:
            return
    pytest.fail("the calls never end")
