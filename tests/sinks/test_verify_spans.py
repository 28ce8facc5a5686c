"""Spans outlive the log they were committed in, each once, whoever rolls them up and whenever it is interrupted."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.errors import Broken
from landfast.sinks.delta.files.paths import spans_path
from landfast.sinks.delta.log.spans import NO_OPTIONS, read_spans
from landfast.sinks.delta.proof.runs import runs_of
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.upkeep.roll_up import roll_up
from tests.sinks.delta_proof import LANE, edit_record, land, made, proved_table
from tests.sinks.delta_world import DeltaWorld


def rolled(world: DeltaWorld) -> int:
    return roll_up(DeltaTable(world.path), world.path, NO_OPTIONS, 0.0)


def without_log(world: DeltaWorld) -> None:
    """Take the log away as clean-up does: all that a checkpoint has made dispensable."""
    table = DeltaTable(world.path)
    table.create_checkpoint()
    for file in (Path(world.path) / "_delta_log").glob("*.json"):
        if int(file.stem) < table.version():
            file.unlink()


def test_spans_outlive_the_log(world: DeltaWorld) -> None:
    """What was rolled up is read in place of commits whose log entries are gone, and the proof still holds."""
    sink = proved_table(world)
    before = read_spans(world.path)
    assert rolled(world) == len(before) == 6
    without_log(world)
    assert read_spans(world.path) == before
    land(sink, made(LANE, range(40, 44), 44))
    assert [record.span.start for record in read_spans(world.path)][-1] == 40
    assert verify_table(world.path).proved


def test_spans_lost_with_the_log_are_a_hole(world: DeltaWorld) -> None:
    """Without the roll-up the same clean-up would be noticed: the proof says which range nobody accounts for."""
    proved_table(world)
    without_log(world)
    assert not verify_table(world.path).proved


def test_rolling_up_again_copies_nothing_twice(world: DeltaWorld) -> None:
    """A second roll-up copies only what came since the first."""
    sink = proved_table(world)
    assert rolled(world) == 6
    assert rolled(world) == 0
    land(sink, made(LANE, range(40, 44), 44))
    assert rolled(world) == 1
    versions = [record.version for record in read_spans(world.path)]
    assert len(versions) == 7


def test_racing_roll_ups_copy_each_span_once(world: DeltaWorld) -> None:
    """Workers of one table maintain it side by side: one of them wins, and no span comes twice."""
    proved_table(world)
    threads = [threading.Thread(target=rolled, args=(world,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    without_log(world)
    records = read_spans(world.path)
    assert len(records) == len({(record.version, record.span.stream) for record in records}) == 6


def test_a_damaged_record_keeps_the_log(world: DeltaWorld) -> None:
    """A record that was edited is not copied as if it were the truth: rolling up refuses, so that nobody cleans the log."""
    proved_table(world)
    edit_record(world, DeltaTable(world.path).version() - 1, '"rows":100', '"rows":101')
    with pytest.raises(Broken, match="damaged records"):
        rolled(world)
    assert not Path(spans_path(world.path)).exists() or DeltaTable(spans_path(world.path)).transaction_version("landfast/spans") is None


def test_runs_tell_gaps_and_repeats(world: DeltaWorld) -> None:
    """Each run is listed with its commits and the exact sequence numbers that are missing."""
    proved_table(world)
    sink = world.sink("run-2")
    land(sink, made(LANE, range(40, 44), 44))
    first, second = runs_of(read_spans(world.path))
    assert (first.run_id, first.commits, first.read, first.written, first.dead, first.skipped) == ("run-1", 4, 183, 179, 2, 2)
    assert (first.missing, first.repeated) == ((), ())
    assert (second.run_id, second.commits, second.read) == ("run-2", 1, 4)
    records = [record for record in read_spans(world.path) if record.sequence != second_of_four(world)]
    assert runs_of(records)[0].missing == (second_of_four(world),)


def second_of_four(world: DeltaWorld) -> int:
    return sorted({record.sequence for record in read_spans(world.path) if record.run_id == "run-1"})[1]
