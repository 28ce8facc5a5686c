"""Real processes on one table: they race, they are killed, and every record is there once."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.sinks.delta.log.entries import entries_back
from landfast.testing.wait import wait_until
from tests.sinks.delta_workers import land_forever, race
from tests.sinks.delta_world import DeltaWorld, stream

SPAWN = multiprocessing.get_context("spawn")
RACERS = 6


def test_processes_that_race_for_one_stream_land_every_record_once(world: DeltaWorld) -> None:
    """Six owners of one stream at once: the fence lets one through each time, and the spans tile."""
    racers = [SPAWN.Process(target=race, args=(world.path, f"run-{number}", 120, 5 + number)) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0] * RACERS
    assert world.landed() == [("events", 0, offset) for offset in range(120)]
    demand_tiling(world, 120)


@pytest.mark.parametrize("kills", [12])
def test_processes_that_are_killed_at_any_moment_lose_and_double_nothing(world: DeltaWorld, kills: int) -> None:
    """Two writers of one stream, of which one is killed again and again, with checkpoints and fsyncs in between."""
    world.sink().close()
    moments = random.Random(7)
    workers = [start(world, number) for number in range(2)]
    reached = 0
    for kill in range(kills):
        reached = wait_beyond(world, reached + moments.randrange(1, 40), workers)
        index = kill % 2
        workers[index].kill()
        workers[index].join(30)
        assert workers[index].exitcode == -signal.SIGKILL
        workers[index] = start(world, kill + 2)
    wait_beyond(world, reached + 20, workers)
    for worker in workers:
        worker.kill()
        worker.join(30)
    lane = stream(0)
    end = world.sink("last").positions([lane])[lane]
    assert isinstance(end, int)
    assert world.landed() == [("events", 0, offset) for offset in range(end)]
    demand_tiling(world, end)


def start(world: DeltaWorld, number: int) -> BaseProcess:
    worker = SPAWN.Process(target=land_forever, args=(world.path, f"run-{number}", 0, 3), daemon=True)
    worker.start()
    return worker


def wait_beyond(world: DeltaWorld, position: int, workers: list[BaseProcess]) -> int:
    """The position as soon as it is beyond this one, found by looking at the table."""
    lane = stream(0)
    home = world.home("onlooker")
    found = position

    def moved() -> bool:
        nonlocal found
        assert all(worker.is_alive() for worker in workers)
        here = home.positions(home.open(), [lane])[lane] or 0
        assert isinstance(here, int)
        found = here
        return found > position

    wait_until(moved, 240, tick_seconds=0.005)
    return found


def demand_tiling(world: DeltaWorld, end: int) -> None:
    """The spans of all commits cover the stream from its start to its end, each place once; no file is named twice."""
    version = DeltaTable(world.path).version()
    records = [entry.record for entry in entries_back(world.home_files(), version) if entry.record is not None]
    spans = sorted((span.start, span.end) for record in records for span in record.spans)
    assert spans[0][0] == 0
    assert spans[-1][1] == end
    assert all(one[1] == two[0] for one, two in itertools.pairwise(spans))
    paths = [Path(path).name for path in DeltaTable(world.path).file_uris()]
    assert len(paths) == len(set(paths)) <= len(spans)  # compaction makes them fewer
