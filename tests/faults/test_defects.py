"""An exception that nobody knows, and memory that cannot be had, at every call of every port and in every thread of the engine."""

from __future__ import annotations

import pytest

from landfast.core.report import Outcome, RunReport
from landfast.testing.faults import Call
from tests.core.world import World

CALLS_MAX = 2_000
"""More than any run of this world makes: reached only if a loop does not end."""

# No exception of an observer comes through to the engine: its own fan-out sees to that.
DEAF = "observer"

MAY_BE_PASSED_OVER = {Call("extent", "bounds"), Call("sink", "positions"), Call("sink", "maintain"), Call("sink", "stage")}
"""Where a run may land all in spite of it: a look ahead, upkeep, and the staging of a batch that was forgotten meanwhile."""


def befallen(number: int, defect: type[Exception]) -> tuple[World, RunReport, list[Call]]:
    """A world whose first process met the defect at this call: its report, and the call, if there was one."""
    world = World()
    met: list[Call] = []

    def between(at: int, call: Call) -> None:
        if at == number and call.port != DEAF:
            met.append(call)
            raise defect

    process = world.process(between=between)
    report = process.run()
    return world, report, met if len(process.plan.calls) >= number else [*met, Call("", "the end")]


@pytest.mark.parametrize(("defect", "code"), [(ZeroDivisionError, "UNEXPECTED"), (MemoryError, "MEMORY_EXHAUSTED")])
def test_p14_p15_a_defect_at_any_call_ends_the_run_and_loses_nothing(defect: type[Exception], code: str) -> None:
    """The run ends, never half alive, and its report names the code; the next process lands every record once."""
    passed_over: set[Call] = set()
    broken: set[Call] = set()
    for number in range(1, CALLS_MAX):
        world, report, met = befallen(number, defect)
        world.check_safe()
        if Call("", "the end") in met:
            break
        if met and report.outcome is not Outcome.BROKEN:
            assert report.outcome is Outcome.FINISHED, (number, met, report)
            world.check_end()
            passed_over.update(met)
        elif met:
            assert report.error is not None
            assert report.error.code == code, (number, met, report.error)
            assert isinstance(report.error.__cause__, defect)
            broken.update(met)
        world.run_to_the_end()
        world.check_end()
    assert passed_over <= MAY_BE_PASSED_OVER
    ports = {call.port for call in broken}
    assert {"source", "sink", "letters", "table", "store"} <= ports, broken
