"""`python -m landfast.testing.world`: a campaign, or one schedule again. Exits 1 where something is wrong or a rare state was missed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from landfast.testing.world.campaign import Upshot, campaign, problem_of, smallest
from landfast.testing.world.every_call import EveryCall, every_call
from landfast.testing.world.families import FAMILIES, PLAIN
from landfast.testing.world.schedule import Schedule


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m landfast.testing.world", description=__doc__)
    parser.add_argument("--schedules", type=int, help="how many schedules to play (default: as many as meet every rare state)")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="how many at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="play the schedule of this seed alone, and print it; where it fails, make it smaller")
    parser.add_argument("--schedule", help="play this schedule, as a failing campaign printed it")
    parser.add_argument(
        "--every-call", action="store_true", help="fail every call of a port once in every way, then all pairs on the commit path"
    )
    parser.add_argument("--pairs-apart", type=int, default=1, help="play every so many-th pair only (default: all)")
    parser.add_argument(
        "--family", choices=tuple(FAMILIES), default=PLAIN.name, help="plain, or later: letters are tried again (default: %(default)s)"
    )
    chosen = parser.parse_args(arguments)
    family = FAMILIES[chosen.family]
    if chosen.every_call:
        return _failed_one_by_one(every_call(chosen.pairs_apart, workload=family.workload))
    if chosen.schedule is not None:
        return _one(Schedule.from_json(chosen.schedule))
    if chosen.seed is not None:
        return _one(family.draw(chosen.seed))
    return _told(campaign(chosen.first, chosen.schedules or family.schedules_min, chosen.processes, family.name))


def _one(schedule: Schedule) -> int:
    print(schedule.to_json())
    problem = problem_of(schedule)
    if not problem:
        print("nothing lost, nothing doubled, not stuck")
        return 0
    print(problem)
    print(f"the smallest that still fails:\n{smallest(schedule).to_json()}")
    return 1


def _told(upshot: Upshot) -> int:
    rate = upshot.schedules / upshot.cpu_seconds
    hours = upshot.virtual_seconds / 3600
    print(f"{upshot.schedules:,} schedules in {upshot.seconds:.0f} s, {rate:.0f} per second of one core; {hours:.0f} virtual hours")
    print(f"{upshot.records:,} records, {upshot.commits:,} commits, {upshot.crashes:,} crashes, {upshot.steps:,} steps")
    print("faults: " + ", ".join(f"{kind} {count:,}" for kind, count in upshot.faults.most_common()))
    expected = FAMILIES[upshot.family].expected()
    print(f"rare states: {len(expected) - len(upshot.missed)} of {len(expected)} reached")
    for state in expected:
        print(f"  {upshot.states[state]:>9,}  {state}" if upshot.states[state] else f"  missed: {state}")
    for seed, problem in sorted(upshot.problems.items())[:20]:
        print(f"  seed {seed}: {problem}")
    stuck = sum(problem.startswith("stuck") for problem in upshot.problems.values())
    wrong = len(upshot.problems) - stuck
    print(f"trace {upshot.trace}")
    print(f"{wrong} with something lost, doubled or wrong, {stuck} stuck" if upshot.problems else "0 lost, 0 doubled, 0 stuck")
    if upshot.missed:
        enough = FAMILIES[upshot.family].schedules_min
        print(f"no valid campaign: {len(upshot.missed)} rare states were never met; {enough:,} schedules meet all")
    return 1 if upshot.problems or upshot.missed else 0


def _failed_one_by_one(whole: EveryCall) -> int:
    print(f"{whole.calls} calls of ports, {whole.calls_on_path} of them on the commit path, in {whole.cpu_seconds:.0f} s of one core")
    print(f"{whole.singles:,} single faults, {whole.pairs:,} pairs, {len(whole.failures)} failures")
    for schedule, problem in whole.failures[:20]:
        print(f"  {problem}\n    {schedule.to_json()}")
    return 1 if whole.failures else 0


if __name__ == "__main__":
    sys.exit(main())
