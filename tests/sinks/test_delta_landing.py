"""Landing in a real table: rows and positions together, once."""

from __future__ import annotations

import pytest
from deltalake import DeltaTable

from landfast.errors import Conflict
from tests.sinks.delta_world import DeltaWorld, stream


def test_rows_and_the_position_land_together(world: DeltaWorld) -> None:
    """After a commit the table holds the rows in order, with their coordinates, and the stream's position is the batch's end."""
    lane = stream(0)
    sink = world.sink()
    assert sink.positions([lane]) == {lane: None}

    receipt = sink.commit([sink.stage(world.batch(lane, 0, 10, first=True))])

    assert (receipt.rows, receipt.files, receipt.already) == (10, 1, False)
    assert sink.positions([lane]) == {lane: 10}
    assert world.landed() == [("events", 0, offset) for offset in range(10)]
    assert DeltaTable(world.path).version() == receipt.version


def test_a_second_commit_of_the_same_batch_is_a_conflict(world: DeltaWorld) -> None:
    """A batch whose start is not the position lands nothing."""
    lane = stream(0)
    sink = world.sink()
    staged = sink.stage(world.batch(lane, 0, 10, first=True))
    sink.commit([staged])
    other = world.sink(run_id="another")
    with pytest.raises(Conflict):
        other.commit([other.stage(world.batch(lane, 0, 10, first=True))])
    assert len(world.landed()) == 10
