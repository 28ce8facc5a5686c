"""How long a route tries again depends on what went wrong; whatever it is, what has not landed is there for the next run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pytest

from landfast import events
from landfast.core.report import Outcome
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits
from landfast.errors import Conflict, ErrorClass, LandfastError, Unavailable
from landfast.model import Decoded, Halt, Position, Receipt, Staged, Stream
from landfast.testing.memory import MemorySink
from tests.core.rig import Rig

GENERAL = RetryPolicy(attempts_max=7, wait_seconds_first=0.01, wait_seconds_max=0.01, total_seconds_max=100)
TWICE = RetryPolicy(attempts_max=2, wait_seconds_first=0.01, wait_seconds_max=0.01, total_seconds_max=100)
ACTS = ("take_over", "stage", "commit")


class Failing(MemorySink):
    """A sink of which one act fails, with these errors one after another, and then no more."""

    def __init__(self, rig: Rig, act: str, errors: Sequence[LandfastError]) -> None:
        super().__init__(rig.table)
        self._act = act
        self._errors = list(errors)

    def _meet(self, act: str) -> None:
        if act == self._act and self._errors:
            raise self._errors.pop(0)

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Fail, or take over."""
        self._meet("take_over")
        return super().take_over(streams)

    def stage(self, batch: Sequence[Decoded]) -> Staged:
        """Fail, or stage."""
        self._meet("stage")
        return super().stage(batch)

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Fail, or commit."""
        self._meet("commit")
        return super().commit(staged)


def error_of(kind: str) -> LandfastError:
    """What a store says that is not there, in one of the kinds that there are."""
    return Unavailable("SINK_DOWN", "not now", kind=kind)


def rig_with(**by_class: RetryPolicy) -> Rig:
    """A world of two partitions with forty records whose classes of errors have these policies."""
    limits = FlowLimits(retry=GENERAL, retry_by_class={ErrorClass(name): policy for name, policy in by_class.items()})
    rig = Rig(partitions=2, limits=limits)
    for partition in (0, 1):
        rig.produce(20, partition=partition)
    return rig


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kind", [*ErrorClass, "disk", "a kind of somebody's own"])
def test_a_failure_that_passes_costs_nothing(act: str, kind: str) -> None:
    """Three times it fails, with whatever class, then it works: every row once, no letter, each attempt told with its class."""
    rig = rig_with()
    report = rig.land(rig.route(sink=Failing(rig, act, [error_of(kind)] * 3)))
    assert report.outcome is Outcome.FINISHED
    assert [rig.landed(stream) for stream in rig.streams] == [list(range(20))] * 2
    assert not rig.store.letters
    told = rig.observer.of(events.RetryScheduled)
    # Where the data is to blame a part is asked for at once, so the same failures are over sooner.
    attempts = 1 if (act, kind) == ("stage", ErrorClass.DATA) else 3
    assert [(event.kind, event.attempt) for event in told] == [(kind, attempt + 1) for attempt in range(attempts)]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(("kind", "tries"), [("auth", 2), ("transient", 7), ("unknown", 7), ("disk", 7), ("throttled", 7)])
def test_when_its_patience_ends_the_lanes_halt_with_everything_intact(act: str, kind: str, tries: int) -> None:
    """A class of its own ends when its own policy says; nothing has landed, nothing is dead, and the next run lands all of it once."""
    rig = rig_with(auth=TWICE)
    report = rig.land(rig.route(sink=Failing(rig, act, [error_of(kind)] * 99)))
    assert report.outcome is Outcome.HALTED
    assert {halt.code for halt in report.halts.values()} == {"SINK_DOWN"}
    assert len(rig.observer.of(events.RetryScheduled)) == tries - 1
    assert not rig.table.rows
    assert not rig.store.letters
    assert rig.land().outcome is Outcome.FINISHED
    assert [rig.landed(stream) for stream in rig.streams] == [list(range(20))] * 2


def test_a_single_attempt_halts_at_the_first_failure_and_drops_nothing() -> None:
    """Also for what is unknown: the setting says how long to wait, never what to throw away."""
    once = RetryPolicy(attempts_max=1)
    rig = rig_with(unknown=once)
    report = rig.land(rig.route(sink=Failing(rig, "commit", [error_of("unknown")])))
    assert report.outcome is Outcome.HALTED
    assert not rig.observer.of(events.RetryScheduled)
    assert rig.land().totals.written == 40
    assert not rig.store.letters


def test_classes_that_take_turns_do_not_wear_each_other_out() -> None:
    """A refused credential between outages has the attempts that its policy gives it."""
    rig = rig_with(auth=RetryPolicy(attempts_max=4, wait_seconds_first=0.01, wait_seconds_max=0.01, total_seconds_max=100))
    errors = [error_of(kind) for kind in ("transient", "auth", "unknown", "auth", "transient", "auth", "disk", "throttled", "data")]
    report = rig.land(rig.route(sink=Failing(rig, "commit", errors)))
    assert report.outcome is Outcome.FINISHED
    assert rig.observer.of(events.RetryScheduled)[-1].attempt == 9
    assert len(rig.table.rows) == 40


def test_a_position_that_is_lost_while_it_is_asked_for_is_a_conflict() -> None:
    """Its policy is that of conflicts."""
    rig = rig_with(conflict=TWICE)
    report = rig.land(rig.route(sink=Failing(rig, "take_over", [Conflict("PIPELINE_CONFLICT", "m")] * 9)))
    assert {halt.code for halt in report.halts.values()} == {"PIPELINE_CONFLICT"}
    assert [event.kind for event in rig.observer.of(events.RetryScheduled)] == ["conflict"]
    assert rig.land().totals.written == 40
