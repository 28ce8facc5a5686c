"""Real processes on one table with one row per key: they race and are killed, and the table comes to what a dictionary comes to."""

from __future__ import annotations

import multiprocessing
import random
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.model import Position
from landfast.sinks.delta.log.entries import entries_back
from landfast.sinks.delta.proof.verify import verify_table
from landfast.testing.wait import wait_until
from tests.sinks.delta_workers import upsert
from tests.sinks.delta_world import DeltaWorld, stream
from tests.sinks.entity_world import BY_TIME, before, entities_at, held, newest_of

SPAWN = multiprocessing.get_context("spawn")


def start(folder: Path, run_id: str, partition: int, end: int | None) -> BaseProcess:
    worker = SPAWN.Process(target=upsert, args=(str(folder), run_id, partition, 7, end), daemon=True)
    worker.start()
    return worker


def demand_the_newest(world: DeltaWorld) -> dict[int, Position]:
    """Of each key the newest record below the positions, nothing else; and the proof holds. Gives the positions."""
    lanes = [stream(0), stream(1)]
    ends = {lane.partition: end or 0 for lane, end in world.sink("onlooker").positions(lanes).items() if not hasattr(end, "code")}
    assert held(world.path) == newest_of(before(ends), BY_TIME)
    verdict = verify_table(world.path)
    assert (verdict.findings, str(verdict.outcome)) == ((), "proved")
    return ends


@pytest.mark.long
def test_two_workers_of_different_partitions_both_land_in_the_files_of_each_other(tmp_path: Path) -> None:
    """Each rewrites what the other wrote: whoever loses a race works it out again on the newer version, and both get to their end."""
    world = entities_at(tmp_path, BY_TIME)
    world.sink()
    workers = [start(tmp_path, f"run-{partition}", partition, 140) for partition in range(2)]
    for worker in workers:
        worker.join(240)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert demand_the_newest(world) == {0: 140, 1: 140}
    entries = entries_back(world.home_files(), DeltaTable(world.path).version())
    owners = [one.record.run_id for one in entries if one.record is not None]
    assert sorted(set(owners)) == ["run-0", "run-1"]


@pytest.mark.long
@pytest.mark.parametrize("kills", [8])
def test_workers_that_are_killed_at_any_moment_leave_the_newest_of_each_key(tmp_path: Path, kills: int) -> None:
    """Two workers of two partitions, with upkeep in between, of which one is killed again and again."""
    world = entities_at(tmp_path, BY_TIME)
    sink = world.sink()
    moments = random.Random(11)
    workers = [start(tmp_path, f"run-{partition}", partition, None) for partition in range(2)]
    for kill in range(kills):
        partition = kill % 2
        lane = stream(partition)
        reached = sink.positions([lane])[lane] or 0
        beyond = reached + moments.randrange(1, 30) if isinstance(reached, int) else 0
        wait_until(lambda lane=lane, beyond=beyond: (sink.positions([lane])[lane] or 0) > beyond, 240, tick_seconds=0.005)
        workers[partition].kill()
        workers[partition].join(30)
        assert workers[partition].exitcode == -signal.SIGKILL
        workers[partition] = start(tmp_path, f"run-{kill + 2}", partition, None)
    for worker in workers:
        worker.kill()
        worker.join(30)
    assert min(demand_the_newest(world).values()) > 0
