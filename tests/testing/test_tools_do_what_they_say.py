"""The test tools themselves: time that stands still, executors that wait to be told, faults that happen where they were planned."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial

import pytest

from landfast.errors import Broken, Conflict, Unavailable
from landfast.testing.clock import EPOCH_SECONDS, ManualClock
from landfast.testing.executor import InlineExecutor, SteppedExecutor
from landfast.testing.faults import Call, Crashed, Fault, FaultPlan, Kind, Stuck, When
from landfast.testing.memory import AnswerLost


def fail() -> int:
    """A call that fails."""
    raise Unavailable("CODE", "not now")


def crash() -> int:
    """A call that ends the process."""
    raise Crashed


def order_of_work(executor: SteppedExecutor) -> tuple[int, ...]:
    """The order in which six calls, submitted in order, have their effects."""
    effects: list[int] = []
    for number in range(6):
        executor.submit(partial(effects.append, number))
    executor.run_all()
    return tuple(effects)


def test_time_moves_only_when_told() -> None:
    """Sleeping and advancing move the time at once, and nothing else does."""
    heard: list[float] = []
    clock = ManualClock()
    clock.during_sleep = lambda: heard.append(clock.monotonic())
    assert (clock.monotonic(), clock.now()) == (0.0, EPOCH_SECONDS)
    clock.sleep(2.5)
    clock.advance(1.0)
    clock.sleep(-1.0)
    assert (clock.monotonic(), clock.now()) == (3.5, EPOCH_SECONDS + 3.5)
    assert heard == [2.5, 3.5]
    with pytest.raises(Broken):
        clock.advance(-1.0)


def test_inline_work_is_done_when_it_is_submitted() -> None:
    """The future is done, with the result or the error; a crash is not caught; after closing nothing is taken."""
    executor = InlineExecutor()
    assert executor.submit(lambda: 7).result(timeout=0) == 7
    assert isinstance(executor.submit(fail).exception(timeout=0), Unavailable)
    with pytest.raises(Crashed):
        executor.submit(crash)
    executor.close()
    executor.close()
    with pytest.raises(Broken):
        executor.submit(lambda: 7)


def test_stepped_work_has_its_effect_first_and_its_answer_later() -> None:
    """A call goes on only when it is stepped: once for its effect, once more for its answer."""
    effects: list[str] = []
    executor = SteppedExecutor()
    one, two = executor.submit(lambda: effects.append("one")), executor.submit(fail)
    assert executor.step(0)
    assert (effects, one.done(), executor.waiting) == (["one"], False, 2)
    assert executor.step(1)
    assert executor.step(1)
    assert isinstance(two.exception(timeout=0), Unavailable)
    assert not executor.step(1)
    executor.run_all()
    assert one.done()
    assert executor.waiting == 0
    assert not executor.step()


def test_a_committer_works_in_order_whatever_the_seed() -> None:
    """With one call ahead, work is done one after the other, in the order submitted."""
    for seed in range(20):
        assert order_of_work(SteppedExecutor(seed, ahead=1)) == (0, 1, 2, 3, 4, 5)


def test_a_seed_chooses_the_order_and_repeats_it() -> None:
    """The same seed gives the same order, and different seeds give more than one."""
    assert order_of_work(SteppedExecutor(3)) == order_of_work(SteppedExecutor(3))
    assert len({order_of_work(SteppedExecutor(seed)) for seed in range(20)}) > 10


def test_closing_cancels_what_has_not_started() -> None:
    """What had its effect is abandoned without an answer, the rest is cancelled, and a cancelled call is never made."""
    executor = SteppedExecutor()
    effects: list[str] = []
    started, waiting = executor.submit(lambda: effects.append("one")), executor.submit(lambda: effects.append("two"))
    executor.step(0)
    executor.close()
    assert (started.done(), waiting.cancelled(), effects) == (False, True, ["one"])
    with pytest.raises(Broken):
        executor.submit(fail)
    again = SteppedExecutor()
    cancelled: Future[int] = again.submit(fail)
    cancelled.cancel()
    again.run_all()
    assert again.waiting == 0


def test_work_that_never_ends_is_noticed() -> None:
    """A call that submits another for ever is stopped."""
    executor = SteppedExecutor()

    def more() -> None:
        executor.submit(more)

    more()
    with pytest.raises(Broken):
        executor.run_all(steps_max=100)


def test_a_crash_leaves_nothing_alive() -> None:
    """The call at the number dies before or after its effect, and every later call dies without one."""
    for when, expected in ((When.BEFORE, ["one"]), (When.AFTER, ["one", "two"])):
        effects: list[str] = []
        plan = FaultPlan([Fault(2, when, Kind.CRASH)])
        plan.around("sink", "commit", lambda: effects.append("one"))  # noqa: B023 - called at once
        for _ in range(2):
            with pytest.raises(Crashed):
                plan.around("sink", "commit", lambda: effects.append("two"))  # noqa: B023 - called at once
        assert effects == expected
        assert plan.fired == [(Fault(2, when, Kind.CRASH), Call("sink", "commit"))]


def test_a_fault_waits_for_a_call_that_can_show_it() -> None:
    """An outage happens at the next call that may have one, as often as it lasts; calls that promise otherwise are spared."""
    plan = FaultPlan([Fault(1, When.BEFORE, Kind.UNAVAILABLE, lasting=2), Fault(1, When.BEFORE, Kind.CONFLICT)])
    assert plan.around("source", "poll", lambda: 1) == 1
    for _ in range(2):
        with pytest.raises(Unavailable):
            plan.around("sink", "positions", lambda: 1)
    assert plan.around("sink", "positions", lambda: 1) == 1
    with pytest.raises(Conflict):
        plan.around("sink", "commit", lambda: 1)
    assert plan.around("sink", "commit", lambda: 1) == 1


def test_an_answer_is_lost_only_below_a_port() -> None:
    """A port says what happened; a store may not."""
    plan = FaultPlan([Fault(1, When.AFTER, Kind.ANSWER_LOST)])
    effects: list[int] = []
    assert plan.around("sink", "commit", lambda: 1) == 1
    with pytest.raises(AnswerLost):
        plan.around("table", "put", lambda: effects.append(1))
    assert effects == [1]


def test_a_plan_tells_what_happened() -> None:
    """Calls, what the ports raised, and hooks before and after each call."""
    told: list[object] = []
    plan = FaultPlan(between=lambda number, call: told.append((number, call)), after=lambda: told.append("after"), calls_max=3)
    plan.around("sink", "commit", lambda: 1)
    with pytest.raises(Unavailable):
        plan.around("sink", "stage", fail)
    assert told == [(1, Call("sink", "commit")), "after", (2, Call("sink", "stage"))]
    assert [call for call, _ in plan.raised] == [Call("sink", "stage")]
    plan.around("sink", "stage", lambda: 1)
    with pytest.raises(Stuck):
        plan.around("sink", "stage", lambda: 1)
