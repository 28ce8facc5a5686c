"""Many schedules, one after the other: how many there were, what befell them, what they met, and every one that failed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from landfast.testing.faults import Stuck
from landfast.testing.world.reached import expected, reached
from landfast.testing.world.schedule import Schedule, drawn, shrunk
from landfast.testing.world.world import World

_SHARE = 250
"""Schedules that a process plays in one go."""


@dataclass(slots=True)
class Tally:
    """What came of some schedules.

    problems  seed -> what was wrong
    faults    kind -> how many happened
    states    rare state -> in how many moments it was met
    """

    schedules: int = 0
    records: int = 0
    commits: int = 0
    crashes: int = 0
    steps: int = 0
    virtual_seconds: float = 0.0
    seconds: float = 0.0
    problems: dict[int, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Take in another tally; its time is not added, since processes work side by side."""
        self.schedules += other.schedules
        self.records += other.records
        self.commits += other.commits
        self.crashes += other.crashes
        self.steps += other.steps
        self.virtual_seconds += other.virtual_seconds
        self.problems |= other.problems
        self.faults.update(other.faults)
        self.states.update(other.states)

    @property
    def missed(self) -> tuple[str, ...]:
        """Rare states that were never met: a campaign that has any proves less than it says."""
        return tuple(state for state in expected() if not self.states[state])


def problem_of(schedule: Schedule, tally: Tally | None = None) -> str:
    """Play one schedule and say what was wrong, or nothing."""
    world = World(schedule)
    try:
        outcomes = world.play()
    except Stuck as error:
        return f"stuck: {error}"
    if tally is not None:
        tally.records += sum(len(records) for records in world.log.truth().values())
        tally.commits += sum(bool(commit.spans) for commit in outcomes.commits)
        tally.crashes += sum(worker.crashed for worker in world.workers)
        tally.steps += outcomes.steps
        tally.virtual_seconds += outcomes.seconds
        tally.faults.update(fault.kind.value for worker in world.workers for fault, _ in worker.plan.fired)
        tally.states.update(reached(world, outcomes))
    return "; ".join(outcomes.problems[:5])


def share(seeds: range) -> Tally:
    """Play the schedules of these seeds."""
    tally = Tally()
    for seed in seeds:
        problem = problem_of(drawn(seed), tally)
        tally.schedules += 1
        if problem:
            tally.problems[seed] = problem
    return tally


def campaign(first: int, schedules: int, processes: int = 1) -> Tally:
    """Play the schedules of so many seeds."""
    began = time.perf_counter()
    whole = Tally()
    for tally in _shares(_portions(first, schedules), processes):
        whole.add(tally)
    whole.seconds = time.perf_counter() - began
    return whole


def _portions(first: int, schedules: int) -> Iterator[range]:
    for start in range(first, first + schedules, _SHARE):
        yield range(start, min(start + _SHARE, first + schedules))


def _shares(portions: Iterable[range], processes: int) -> Iterator[Tally]:
    if processes == 1:
        yield from map(share, portions)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(share, portions)


def smallest(schedule: Schedule) -> Schedule:
    """The smallest schedule that still fails, where this one does."""
    return shrunk(schedule, lambda smaller: bool(problem_of(smaller)))
