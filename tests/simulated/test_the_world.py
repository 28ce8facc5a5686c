"""The simulated world is what it claims to be: decided by its schedule, replayed exactly, made smaller, never stuck in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module

import pytest

from landfast.core.flow import Flow
from landfast.testing.faults import Fault, Kind, Stuck, When
from landfast.testing.memory import MemoryTable
from landfast.testing.world import (
    Act,
    Deed,
    Schedule,
    Sizes,
    World,
    campaign,
    drawn,
    drawn_later,
    every_call,
    problem_of,
    reached_later,
    smallest,
)
from landfast.testing.world.__main__ import main
from landfast.testing.world.families import LATER
from landfast.testing.world.scheduler import Scheduler, TaskExecutor

SCHEDULES = 20_000
"""As many as `make simulate` plays: enough for every rare state."""

PAIRS_APART = 500
"""`make simulate SIMULATE=--every-call` plays all pairs."""

HASHES = "from landfast.testing.world import World, drawn; print(*(World(drawn(seed)).play().trace_hash for seed in range(20)))"


def nothing_put(_table: MemoryTable, _version: int, _commit: object) -> None:
    """A table that says it took a commit, and did not."""


@pytest.mark.long
@pytest.mark.usefixtures("unmeasured")
def test_schedules_of_whole_worlds_lose_double_and_stop_nothing() -> None:
    """Whatever befalls several workers, every record ends in exactly one place, once, and the world comes to rest."""
    upshot = campaign(0, SCHEDULES)
    assert upshot.problems == {}
    assert upshot.schedules == SCHEDULES
    assert min(upshot.records, upshot.commits, upshot.crashes, upshot.steps, len(upshot.faults)) > 0
    assert not upshot.missed


LATER_SCHEDULES = 400
"""`make simulate SIMULATE="--family later"` plays more of those in which letters are tried again."""


@pytest.mark.long
@pytest.mark.usefixtures("unmeasured")
def test_letters_that_are_tried_again_are_nowhere_twice_and_in_order() -> None:
    """Records that fail for a while, keys, people who replay and discard: each record ends in one place, each key in order, none waits."""
    upshot = campaign(0, LATER_SCHEDULES, family="later")
    assert upshot.problems == {}
    assert not [state for state in reached_later.STATES if not upshot.states[state]]


FAILED_ONCE = {
    "a worker was let into a group that it had never joined": (15417,),
    "a truncated log kept the end of its open transaction": (15689,),
    "two incarnations of one partition in one commit": (20120280,),
    "a memory sink that let another incarnation land where one had landed": (
        20085373,
        20091134,
        20148966,
        2058046,
        5000580,
        8020463,
        8096613,
    ),
    "a memory source that vouched for the place where a stream begins": (20078203, 5027438),
    "a worker that had left was let into its group again": (20018364, 20122076, 2091297),
    "a bounded run that took expired records of another member's stream for nothing to land": (400065923,),
    "a world that blamed a bounded run for what another worker had in hands": (500007670,),
    "a record that lies where another lay before a truncation": (20037499, 20113550, 5058800, 5075262),
}
"""What was wrong, and seeds that showed it."""


@pytest.mark.parametrize("seed", [seed for seeds in FAILED_ONCE.values() for seed in seeds])
def test_a_schedule_that_failed_before_stays_mended(seed: int) -> None:
    """What a campaign has once found is not there any more."""
    assert problem_of(drawn(seed)) == ""


@pytest.mark.long
@pytest.mark.usefixtures("unmeasured")
def test_every_call_of_a_port_may_fail_in_every_way() -> None:
    """Each call of a small workload fails once in each way that it can, and a spread sample of all pairs on the commit path does."""
    whole = every_call(pairs_apart=PAIRS_APART)
    assert [(problem, schedule.to_json()) for schedule, problem in whole.failures] == []
    assert whole.calls > 2 * whole.calls_on_path > 50
    assert whole.singles > 6 * whole.calls
    assert whole.pairs > 50


def test_every_call_fails_from_the_command_line_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how many calls there are and how many were failed, and each failure with the schedule that replays it."""
    monkeypatch.setattr(import_module("landfast.testing.world.every_call"), "_WAYS", ((Kind.CRASH, When.AFTER),))
    assert main(["--every-call", "--pairs-apart", "100"]) == 0
    assert " pairs, 0 failures" in capsys.readouterr().out
    monkeypatch.setattr(import_module("landfast.testing.world.every_call"), "WORKLOAD", Schedule(1, acts=(Act(0.0, Deed.PRODUCE),)))
    put_as_asked = MemoryTable.put
    monkeypatch.setattr(MemoryTable, "put", lambda table, version, commit: put_as_asked(table, version, replace(commit, rows=())))
    assert main(["--every-call", "--pairs-apart", "100"]) == 1
    assert '{"seed": 1, ' in capsys.readouterr().out


@pytest.mark.usefixtures("unmeasured")
def test_every_call_may_fail_where_letters_are_tried_again() -> None:
    """A spread sample of the calls of a workload with rounds of attempts fails in a spread sample of ways."""
    whole = every_call(pairs_apart=0, singles_apart=7, workload=LATER.workload)
    assert [(problem, schedule.to_json()) for schedule, problem in whole.failures] == []
    assert whole.singles > 50


def test_the_world_is_measured() -> None:
    """Of all the schedules that are played these are the ones that coverage sees."""
    assert campaign(0, 100).problems == {}
    assert campaign(0, 40, family="later").problems == {}


def test_what_was_drawn_once_is_drawn_again() -> None:
    """A seed is enough to have its schedule, and a schedule is enough to have its trace."""
    for seed in range(20):
        assert drawn(seed) == drawn(seed)
        first, second = World(drawn(seed)).play(), World(drawn(seed)).play()
        assert (first.trace_hash, first.verdict, first.steps) == (second.trace_hash, second.verdict, second.steps)
    assert World(drawn(1)).play().trace_hash != World(drawn(2)).play().trace_hash


@pytest.mark.usefixtures("unmeasured")
def test_a_campaign_has_one_trace() -> None:
    """The same seeds leave the same trace, however many processes play them, and others leave another."""
    alone, shared = campaign(0, 260), campaign(0, 260, processes=2)
    assert alone.trace == shared.trace != campaign(1, 260).trace
    assert alone.schedules == shared.schedules == 260


def test_nothing_depends_on_the_order_of_a_set() -> None:
    """Processes with other seeds of hashing see the same traces."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    seen = {
        subprocess.run(
            [sys.executable, "-c", HASHES], env={**plain, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_a_schedule_is_the_same_after_it_was_printed_and_read() -> None:
    """What a failing campaign prints is all that is needed to play it again, elsewhere."""
    for seed in range(200):
        assert Schedule.from_json(drawn(seed).to_json()) == drawn(seed)
        assert Schedule.from_json(drawn_later(seed).to_json()) == drawn_later(seed)


def test_a_world_that_cannot_come_to_rest_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that never lands is found, although nothing was lost: nothing waits for ever in silence."""
    monkeypatch.setattr(MemoryTable, "put", nothing_put)
    schedule = Schedule(1, acts=(Act(0.0, Deed.PRODUCE),))
    with pytest.raises(Stuck, match="not finished"):
        World(schedule).play()
    assert problem_of(schedule).startswith("stuck: ")


def test_a_task_that_never_waits_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop without a call of a port is ended by the processor time that it uses, and the report says where it was."""

    def turn_for_ever(_flow: Flow, _now: float, *, drain: bool = False) -> None:
        while not drain:
            pass

    monkeypatch.setattr(Flow, "turn", turn_for_ever)
    monkeypatch.setattr(import_module("landfast.testing.world.campaign"), "CPU_SECONDS_MAX", 0.3)
    assert problem_of(Schedule(1, acts=(Act(0.0, Deed.PRODUCE),))).startswith("stuck: a task used 0.3 s of processor time")


def test_a_schedule_is_played_in_any_thread() -> None:
    """Only a main thread can be guarded; another plays all the same."""
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(problem_of, Schedule(1, acts=(Act(0.0, Deed.PRODUCE),))).result() == ""


def test_a_failing_schedule_is_made_smaller_and_still_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that the failure does not need are left out; what is left fails by itself."""
    put_as_asked = MemoryTable.put
    monkeypatch.setattr(MemoryTable, "put", lambda table, version, commit: put_as_asked(table, version, replace(commit, rows=())))
    large = next(schedule for schedule in map(drawn, range(100)) if len(schedule.acts) > 5 and problem_of(schedule))
    small = smallest(large)
    assert problem_of(small)
    assert problem_of(Schedule.from_json(small.to_json())) == problem_of(small)
    assert len(small.acts) == 1
    assert not any(small.faults)


def test_one_schedule_can_be_played_from_the_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By its seed or as it was printed; where it fails, the smallest that does is printed as well."""
    schedule = Schedule(3, Sizes(workers=2), (Act(0.0, Deed.PRODUCE), Act(1.0, Deed.KILL)), ((Fault(3, When.AFTER, Kind.CRASH),),))
    assert main(["--seed", "3"]) == 0
    assert main(["--seed", "3", "--family", "later"]) == 0
    assert main(["--schedule", schedule.to_json()]) == 0
    assert "nothing lost" in capsys.readouterr().out
    put_as_asked = MemoryTable.put
    monkeypatch.setattr(MemoryTable, "put", lambda table, version, commit: put_as_asked(table, version, replace(commit, rows=())))
    assert main(["--schedule", schedule.to_json()]) == 1
    told = capsys.readouterr().out
    assert "lost: " in told
    assert problem_of(Schedule.from_json(told.splitlines()[-1]))


def test_a_campaign_says_what_it_played_and_what_it_missed(capsys: pytest.CaptureFixture[str]) -> None:
    """A campaign too small to meet every rare state is no proof, and says so with its exit code."""
    assert main(["--schedules", "3", "--first", "5"]) == 1
    told = capsys.readouterr().out
    assert "3 schedules" in told
    assert "missed: " in told
    assert "0 lost, 0 doubled, 0 stuck" in told


def test_a_campaign_names_the_seeds_that_failed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each can be played again by its seed."""
    put_as_asked = MemoryTable.put
    monkeypatch.setattr(MemoryTable, "put", lambda table, version, commit: put_as_asked(table, version, replace(commit, rows=())))
    assert main(["--schedules", "5"]) == 1
    assert "  seed 0: lost: " in capsys.readouterr().out


def test_only_a_task_can_wait() -> None:
    """Time that passes outside of every task would be nobody's."""
    with pytest.raises(RuntimeError, match="only a task"):
        Scheduler(0, lambda _: None).pause()


def test_what_is_cancelled_before_it_began_never_runs() -> None:
    """An executor with one thread that is closed, or whose call is cancelled, lets go of what waits."""
    scheduler = Scheduler(0, lambda _: None)
    ran: list[str] = []
    executor = TaskExecutor(scheduler, "someone", "work", 1)
    first, cancelled, third = (executor.submit(lambda name=name: ran.append(name)) for name in ("first", "cancelled", "third"))
    cancelled.cancel()
    assert not first.running()
    scheduler.run(lambda: first.done() and third.done(), 1.0, 100)
    assert ran == ["first", "third"]
    waiting = executor.submit(lambda: ran.append("late"))
    executor.close()
    scheduler.run(lambda: False, 1.0, 100)
    assert waiting.cancelled()
    with pytest.raises(CancelledError):
        waiting.result()
    assert ran == ["first", "third"]


def test_without_greenlet_the_world_says_what_is_missing() -> None:
    """The rest of the test tools do without it."""
    code = (
        "import sys; sys.modules['greenlet'] = None; import landfast.testing; import landfast.testing.memory; import landfast.testing.world"
    )
    missing = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert missing.returncode == 1
    assert missing.stderr.strip().endswith("install the package greenlet")
