"""Work that finishes in any order, with faults in between: schedules drawn from seeds, each with the ledger checked at the end.

A failing schedule names its seed; `test_a_schedule_that_failed_before` keeps those that found something.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from landfast.core.report import Outcome
from landfast.testing.faults import Call, Crashed, Fault, Kind, When
from tests.core.world import Process, Sizes, World

SCHEDULES = 400
CALLS_MAX = 160
RUNS_MAX = 12
KINDS = (Kind.CRASH, Kind.UNAVAILABLE, Kind.CONFLICT, Kind.ANSWER_LOST)


@dataclass(frozen=True, slots=True)
class Schedule:
    """All that chance decides about one world: drawn from the seed, so that the seed is enough to see it again."""

    seed: int
    sizes: Sizes
    faults: tuple[tuple[Fault, ...], ...]
    rebalances: tuple[dict[int, str], ...]


def drawn(seed: int) -> Schedule:
    """The schedule of a seed: half of the kinds of faults are switched off in each."""
    chance = random.Random(seed)
    sizes = Sizes(
        batch_records=chance.choice([1, 2, 3, 5, 100]),
        flight_batches=chance.choice([1, 2, 3, 8]),
        poll_records=chance.choice([1, 3, 5, 100]),
        chunk_records=chance.choice([1, 2, 100]),
        checks_apart=chance.choice([1, 2, 5]),
        maintain_landings=chance.choice([1, 3]),
        checks=chance.choice(["before", "after"]),
        piece_records=chance.choice([1, 2, 100]),
    )
    kinds = chance.sample(KINDS, k=2)
    faults = tuple(
        tuple(
            Fault(chance.randint(1, CALLS_MAX), chance.choice(list(When)), chance.choice(kinds), lasting=chance.choice([1, 1, 2, 7]))
            for _ in range(chance.randint(0, 4))
        )
        for _ in range(RUNS_MAX)
    )
    moves = chance.sample(["lose", "revoke", "zombie", "balance"], k=2)
    rebalances = tuple(
        {chance.randint(1, CALLS_MAX): chance.choice(moves) for _ in range(chance.randint(0, 3))} if chance.random() < 1 / 2 else {}
        for _ in range(RUNS_MAX)
    )
    return Schedule(seed, sizes, faults, rebalances)


def play(schedule: Schedule) -> World:
    """Run processes, one after the other, until one finishes; then the ledger."""
    world = World(schedule.sizes)
    chance = random.Random(schedule.seed)
    for faults, rebalances in zip(schedule.faults, schedule.rebalances, strict=True):
        process = started(world, faults, rebalances, chance, schedule.seed)
        try:
            report = process.run()
        except Crashed:
            continue
        world.check_safe()
        assert report.totals.holds
        assert report.outcome is not Outcome.BROKEN, report
        if report.outcome is Outcome.FINISHED:
            break
    world.run_to_the_end()
    world.check_end()
    return world


def started(world: World, faults: tuple[Fault, ...], rebalances: dict[int, str], chance: random.Random, seed: int) -> Process:
    """A process with faults, and with rebalances before its calls of these numbers."""

    def between(number: int, call: Call) -> None:
        move = rebalances.get(number)
        streams = chance.sample(world.streams, k=2)
        if move == "lose":
            world.group.lose(streams)
        elif move == "revoke":
            world.group.revoke(streams)
        elif move == "zombie":
            another_takes_over(world, process.member)
        # Nothing stays without an owner for long, or a bounded run would rightly wait for ever.
        if move == "balance" or number % 50 == 0:
            world.group.balance()

    process = world.process(*faults, between=between, seed=seed)
    return process


def another_takes_over(world: World, zombie: str) -> None:
    """The zombie's session expires, another process lands a part, crashes, and the zombie is let in again."""
    world.group.leave(zombie)
    world.process(Fault(50, When.AFTER, Kind.CRASH)).survives()
    world.group.join(zombie)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("hundred", range(SCHEDULES // 100))
def test_schedules_of_work_and_faults_lose_and_double_nothing(hundred: int) -> None:
    """Whatever order work finishes in, and whatever fails meanwhile, every record ends in exactly one place, once."""
    for seed in range(hundred * 100, hundred * 100 + 100):
        try:
            play(drawn(seed))
        except BaseException as error:
            error.add_note(f"the schedule of seed {seed}: {drawn(seed)}")
            raise


def test_a_seed_is_all_that_a_schedule_depends_on() -> None:
    """Played again, a schedule makes the same commits: what a seed has found can be found again."""
    for seed in (3, 33, 333):
        first, second = play(drawn(seed)), play(drawn(seed))
        assert [commit.spans for commit in first.table.commits] == [commit.spans for commit in second.table.commits]
        assert [letter.offset for letter in first.store.letters] == [letter.offset for letter in second.store.letters]


@pytest.mark.parametrize("seed", [2320, 2673])
def test_a_schedule_that_failed_before_stays_mended(seed: int) -> None:
    """2320 and 2673: what the reader of an older epoch reached was taken for the progress of a lane placed anew in the same poll."""
    play(drawn(seed))
