"""Owners that change, return, freeze and wake up lose nothing and double nothing, whatever call of the engine they interrupt."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from landfast.core.report import Outcome
from landfast.errors import Conflict
from landfast.testing.faults import Call, Fault, Kind, When
from tests.core.world import Process, Sizes, World

pytestmark = pytest.mark.usefixtures("unmeasured")

CALLS_MAX = 2_000
"""More than any run of this world makes: reached only if a loop does not end."""

Act = Callable[[World, Process], object]


def interrupted(world: World, acts: dict[int, Act]) -> Process:
    """A process, and what happens before its calls with these numbers."""

    def between(number: int, call: Call) -> None:
        if number in acts:
            acts[number](world, process)

    process = world.process(between=between)
    return process


def at_every_call(check: Callable[[int], Process], numbers: Iterable[int] = range(1, CALLS_MAX)) -> list[Process]:
    """Run the check with something happening at each call in turn, until a process ends before that call."""
    processes = []
    for number in numbers:
        processes.append(check(number))
        if len(processes[-1].plan.calls) < number:
            return processes
    pytest.fail("the calls never end")


def finish(world: World, process: Process) -> None:
    """The process finishes, and every record is where it must be."""
    report = process.run()
    assert report.outcome is Outcome.FINISHED, report
    assert report.totals.holds
    world.check_end()


@pytest.mark.parametrize("sizes", [Sizes(), Sizes(1, 2, 2, 1, checks_apart=2)])
@pytest.mark.museum(4)
def test_r6_a_frozen_process_that_wakes_up_as_a_zombie_harms_nothing(sizes: Sizes) -> None:
    """A process frozen at any call loses its streams to another that lands everything; woken up, its late work is refused."""

    def another_takes_over(world: World, zombie: Process) -> None:
        world.group.leave(zombie.member)
        world.run_to_the_end()

    def check(number: int) -> Process:
        world = World(sizes)
        zombie = interrupted(world, {number: another_takes_over})
        finish(world, zombie)
        return zombie

    zombies = at_every_call(check)
    refused = {call.port for zombie in zombies for call, error in zombie.plan.raised if isinstance(error, Conflict)}
    assert refused == {"sink", "letters"}, "no zombie was frozen with a commit and with letters in its hands"


@pytest.mark.parametrize("died_at", [20, 45, 70, 95])
def test_a_zombie_whose_successor_has_crashed_harms_nothing(died_at: int) -> None:
    """A process frozen at any call, its successor crashed in the middle, and the zombie back in the group: everything lands once."""

    def another_takes_over_and_dies(world: World, zombie: Process) -> None:
        world.group.leave(zombie.member)
        world.process(Fault(died_at, When.AFTER, Kind.CRASH)).survives()
        world.group.join(zombie.member)

    def check(number: int) -> Process:
        world = World()
        zombie = interrupted(world, {number: another_takes_over_and_dies})
        finish(world, zombie)
        return zombie

    at_every_call(check, range(1, CALLS_MAX, 2))


@pytest.mark.parametrize(("moved", "checks"), [(slice(0, 1), "before"), (slice(0, 3), "after")])
@pytest.mark.parametrize("away_calls", [1, 7, 40])
@pytest.mark.parametrize("how", ["revoked", "lost", "lost for a while"])
def test_streams_that_go_and_come_back_are_read_from_where_the_sink_stands(how: str, away_calls: int, moved: slice, checks: str) -> None:
    """Revoked or lost at any call, and back later, to the same process: nothing stale of the first time lands."""

    def go(world: World, process: Process) -> None:
        if how != "revoked":
            world.group.lose(world.streams[moved])
        if how != "lost":
            world.group.revoke(world.streams[moved])

    def check(number: int) -> Process:
        world = World(Sizes(checks=checks))
        process = interrupted(world, {number: go, number + away_calls: lambda world, _: world.group.balance()})
        finish(world, process)
        return process

    at_every_call(check, range(1, CALLS_MAX, 3))


@pytest.mark.parametrize("died_at", [35, 60, CALLS_MAX])
def test_r7_a_stream_that_another_owner_moved_on_is_taken_up_where_it_was_left(died_at: int) -> None:
    """A to B to A: gone at any call, moved on by another process, and back: what the first owner still holds does no harm."""

    def to_another_and_back(world: World, process: Process) -> None:
        world.group.leave(process.member)
        another = world.process(Fault(died_at, When.AFTER, Kind.CRASH))
        another.survives()
        world.group.leave(another.member)
        world.group.join(process.member)

    def check(number: int) -> Process:
        world = World()
        process = interrupted(world, {number: to_another_and_back})
        finish(world, process)
        return process

    at_every_call(check, range(1, CALLS_MAX, 2))


def test_p16_a_stop_at_any_call_lands_what_was_read() -> None:
    """A graceful stop lands the remainder: nothing that was read is abandoned, and the next run lands the rest."""

    def check(number: int) -> Process:
        world = World()
        process = interrupted(world, {number: lambda _, process: process.runner.stop()})
        report = process.run()
        world.check_safe()
        assert report.outcome in {Outcome.STOPPED, Outcome.FINISHED}, report
        assert report.abandoned == 0
        world.run_to_the_end()
        world.check_end()
        return process

    at_every_call(check)


def test_a_bounded_run_stops_at_the_ends_of_its_start() -> None:
    """What is written while a bounded run goes on is landed by the next one, whole."""

    def write(world: World, _: Process) -> None:
        for partition in range(3):
            world.log.append("t", partition, b"late")

    def check(number: int) -> Process:
        world = World()
        process = interrupted(world, {number: write})
        report = process.run()
        world.check_safe()
        assert report.outcome is Outcome.FINISHED
        assert report.totals.read in {12, 15}
        world.run_to_the_end()
        world.check_end()
        return process

    at_every_call(check, range(1, CALLS_MAX, 5))
