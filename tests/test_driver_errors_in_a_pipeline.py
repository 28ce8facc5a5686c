"""From what a driver raises to how long a route tries again, and what is left when it gives up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError
from pyarrow import ArrowInvalid

from landfast import Outcome, classify, events
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits
from landfast.errors import ErrorClass
from landfast.model import Receipt, Staged
from landfast.sinks.delta.errors import mapped
from landfast.testing.memory import MemorySink
from tests.core.rig import Rig

ERRORS: list[BaseException] = [
    OSError("Generic S3 error: error sending request: operation timed out"),
    OSError("Generic S3 error: after 10 retries: 503 Service Unavailable"),
    OSError("The operation lacked the necessary privileges: 403 Forbidden"),
    CommitFailedError("Metadata changed since last commit."),
    ArrowInvalid("Float value 1.5 was truncated converting to int64"),
    SchemaMismatchError("column a is missing"),
    OSError("404 Not Found: <Code>NoSuchBucket</Code>"),
    DeltaError("in words that nobody has seen"),
]


class Driven(MemorySink):
    """A sink whose driver fails at committing, so many times."""

    def __init__(self, rig: Rig, error: BaseException, times: int) -> None:
        super().__init__(rig.table)
        self._error = error
        self._times = times

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Fail as an adapter does, or commit."""
        with mapped("committing"):
            if self._times:
                self._times -= 1
                raise self._error
        return super().commit(staged)


def patience(attempts_max: int) -> RetryPolicy:
    """So many attempts, a moment apart."""
    return RetryPolicy(attempts_max, wait_seconds_first=0.01, wait_seconds_max=0.01)


def world() -> Rig:
    """Twenty records, and for each class of errors another number of attempts."""
    by_class = {error_class: patience(2 + number) for number, error_class in enumerate(ErrorClass)}
    rig = Rig(partitions=1, limits=FlowLimits(retry=patience(50), retry_by_class=by_class))
    rig.produce(20)
    return rig


def test_the_errors_are_of_all_classes() -> None:
    """Otherwise what follows would prove less than it says."""
    assert {classify(error).error_class for error in ERRORS} == set(ErrorClass)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error)[:40])
def test_a_driver_that_fails_for_good_is_tried_as_often_as_the_policy_of_its_class_says(error: BaseException) -> None:
    """Then the lane halts with everything intact: nothing has landed, nothing is dead, and the next run lands each record once."""
    rig = world()
    found = classify(error)
    report = rig.land(rig.route(sink=Driven(rig, error, 99)))
    assert (report.outcome, [halt.code for halt in report.halts.values()]) == (Outcome.HALTED, [found.code])
    told = rig.observer.of(events.RetryScheduled)
    assert len(told) + 1 == 2 + list(ErrorClass).index(found.error_class)
    assert {event.kind for event in told} == {found.error_class}
    assert not rig.table.rows
    assert not rig.store.letters
    assert rig.land().outcome is Outcome.FINISHED
    assert rig.landed(rig.streams[0]) == list(range(20))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error)[:40])
def test_a_driver_that_fails_once_costs_nothing(error: BaseException) -> None:
    """Whatever the class, the batch is kept: every record lands once, and none becomes a letter."""
    rig = world()
    assert rig.land(rig.route(sink=Driven(rig, error, 1))).outcome is Outcome.FINISHED
    assert rig.landed(rig.streams[0]) == list(range(20))
    assert not rig.store.letters


@pytest.mark.parametrize("text", ["Json error: Truncated record", "Unsupported table features required: [RowTracking]"])
def test_what_no_waiting_mends_is_tried_once(text: str) -> None:
    """A damaged table, or one of a later protocol, ends the route at once; what was read is still in the log."""
    rig = world()
    report = rig.land(rig.route(sink=Driven(rig, DeltaError(text), 99)))
    assert report.error is not None
    assert not classify(DeltaError(text)).retried
    assert not rig.observer.of(events.RetryScheduled)
    assert rig.land().totals.written == 20
