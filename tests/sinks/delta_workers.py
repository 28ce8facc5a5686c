"""Processes of their own for the tests that race and kill: each opens the table anew and lands what it can."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from deltalake import DeltaTable  # noqa: F401 — loaded in the child, never before a fork

from landfast.errors import Conflict
from landfast.model import Halt
from landfast.sinks.delta import DeltaSink
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings
from tests.sinks.delta_world import DeltaWorld, stream
from tests.sinks.entity_world import BY_TIME, batch, entities_at, event_at


def race(path: str, run_id: str, end: int, step: int) -> None:
    """Land one stream up to `end` against others that do the same; a conflict is read again and gone on from."""
    sink = DeltaWorld(path).sink(run_id)
    lane = stream(0)
    world = DeltaWorld(path)
    while True:
        position = sink.positions([lane])[lane]
        if isinstance(position, Halt):
            sys.exit(3)
        start = position or 0
        if start >= end:
            return
        with contextlib.suppress(Conflict):
            sink.commit([sink.stage(world.batch(lane, start, min(end, start + step), first=position is None))])


def land_forever(path: str, run_id: str, partition: int, step: int) -> None:
    """Land one stream without an end, with upkeep; something else ends this process."""
    world = DeltaWorld(path)
    sink = world.sink(run_id, checkpoint_commits=5)
    lane = stream(partition)
    while True:
        position = sink.positions([lane])[lane]
        if isinstance(position, Halt):
            os._exit(3)
        start = position or 0
        with contextlib.suppress(Conflict):
            sink.commit([sink.stage(world.batch(lane, start, start + step, first=position is None))])
            sink.maintain(1.0)


def upsert(folder: str, run_id: str, partition: int, step: int, end: int | None) -> None:
    """Land one partition of a table with one row per key, up to `end` or without one, with upkeep that joins and sweeps often."""
    world = entities_at(Path(folder), BY_TIME, checkpoint_commits=5)
    home = world.home(run_id)
    often = MaintenanceSettings(checkpoint_commits=5, compaction_interval_seconds=0.0, compaction_files_min=3)
    sink = DeltaSink(home, Maintenance(often, home.settings, world.clock, world.ears))
    lane = stream(partition)
    sink.take_over([lane])
    while True:
        position = sink.positions([lane])[lane]
        if isinstance(position, Halt):
            os._exit(3)
        start = position or 0
        if end is not None and start >= end:
            return
        with contextlib.suppress(Conflict):
            sink.commit([sink.stage(batch([event_at(partition, offset) for offset in range(start, start + step)]))])
            sink.maintain(1.0)
