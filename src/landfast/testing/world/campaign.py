"""Many schedules, one after the other: how many there were, what befell them, what they met, and every one that failed."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import FrameType

from landfast.testing.faults import Stuck
from landfast.testing.world.families import FAMILIES, PLAIN
from landfast.testing.world.reached import reached
from landfast.testing.world.schedule import Schedule, shrunk
from landfast.testing.world.world import World

_SHARE = 250
"""Schedules that a process plays in one go."""

CPU_SECONDS_MAX = 30.0
"""Processor time of one schedule: a thousand times what one takes. A task that never waits for anything uses it up."""


@dataclass(slots=True)
class Upshot:
    """What came of some schedules of one family.

    problems     seed -> what was wrong
    faults       kind -> how many happened
    states       rare state -> in how many moments it was met
    cpu_seconds  processor time of all processes
    trace        a digest of everything that happened in all of them, in order
    """

    family: str = PLAIN.name
    schedules: int = 0
    records: int = 0
    commits: int = 0
    crashes: int = 0
    steps: int = 0
    virtual_seconds: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    problems: dict[int, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    trace: str = ""

    def add(self, other: Upshot) -> None:
        """Take in another; its time is not added, since processes work side by side."""
        self.schedules += other.schedules
        self.records += other.records
        self.commits += other.commits
        self.crashes += other.crashes
        self.steps += other.steps
        self.virtual_seconds += other.virtual_seconds
        self.cpu_seconds += other.cpu_seconds
        self.problems |= other.problems
        self.faults.update(other.faults)
        self.states.update(other.states)
        self.follow(other.trace)

    def follow(self, trace: str) -> None:
        """Something happened next."""
        self.trace = hashlib.sha256(f"{self.trace} {trace}".encode()).hexdigest()[:16]

    @property
    def missed(self) -> tuple[str, ...]:
        """Rare states that were never met: a campaign that has any proves less than it says."""
        return tuple(state for state in FAMILIES[self.family].expected() if not self.states[state])


def problem_of(schedule: Schedule, upshot: Upshot | None = None) -> str:
    """Play one schedule and say what was wrong, or nothing."""
    world = World(schedule)
    try:
        with guarded(CPU_SECONDS_MAX):
            outcomes = world.play()
    except Stuck as error:
        return f"stuck: {error}"
    if upshot is not None:
        upshot.records += sum(len(records) for records in world.log.truth().values())
        upshot.commits += sum(bool(commit.spans) for commit in outcomes.commits)
        upshot.crashes += sum(worker.crashed for worker in world.workers)
        upshot.steps += outcomes.steps
        upshot.virtual_seconds += outcomes.seconds
        upshot.faults.update(fault.kind.value for worker in world.workers for fault, _ in worker.plan.fired)
        upshot.faults.update(act.deed.value for act in schedule.acts if act.deed.disturbs)
        upshot.states.update(reached(world, outcomes))
        upshot.follow(outcomes.trace_hash)
    return "; ".join(outcomes.problems[:5])


@contextlib.contextmanager
def guarded(cpu_seconds_max: float) -> Iterator[None]:
    """End what uses more processor time than that without ever waiting; only a main thread can be so guarded.

    Raises:
        Stuck: out of wherever the loop is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, frame: FrameType | None) -> None:
        where = "" if frame is None else f", in {frame.f_code.co_name} of {frame.f_globals.get('__name__')}, line {frame.f_lineno}"
        message = f"a task used {cpu_seconds_max:g} s of processor time and did not end{where}"
        raise Stuck(message)

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds_max)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def share(seeds: range, family: str = PLAIN.name) -> Upshot:
    """Play the schedules of these seeds."""
    upshot = Upshot(family)
    began = time.process_time()
    with _collected_between():
        for seed in seeds:
            problem = problem_of(FAMILIES[family].draw(seed), upshot)
            upshot.schedules += 1
            if problem:
                upshot.problems[seed] = problem
                upshot.follow(problem)
            gc.collect(0)
    upshot.cpu_seconds = time.process_time() - began
    return upshot


@contextlib.contextmanager
def _collected_between() -> Iterator[None]:
    """Look for garbage between two worlds only: each is a heap of circles, all of it young, and all of it goes at once."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def campaign(first: int, schedules: int, processes: int = 1, family: str = PLAIN.name) -> Upshot:
    """Play the schedules of so many seeds."""
    began = time.perf_counter()
    whole = Upshot(family)
    for upshot in _shares(partial(share, family=family), _portions(first, schedules), processes):
        whole.add(upshot)
    whole.seconds = time.perf_counter() - began
    return whole


def _portions(first: int, schedules: int) -> Iterator[range]:
    for start in range(first, first + schedules, _SHARE):
        yield range(start, min(start + _SHARE, first + schedules))


def _shares(play: Callable[[range], Upshot], portions: Iterable[range], processes: int) -> Iterator[Upshot]:
    if processes == 1:
        yield from map(play, portions)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(play, portions)


def smallest(schedule: Schedule) -> Schedule:
    """The smallest schedule that still fails, where this one does."""
    return shrunk(schedule, lambda smaller: bool(problem_of(smaller)))
