"""A store that shows a table as it was a while ago: what is compared is old, and the set is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.errors import Conflict
from landfast.sinks.delta import DeltaSettings
from landfast.sinks.delta.proof.verify import verify_table
from tests.sinks.delta_world import DeltaWorld, stream, world_at

LANE = stream(0)


class StaleReads:
    """An opener that shows the table some versions behind, so often; then as it is."""

    def __init__(self, behind: int, times: int) -> None:
        self.behind = behind
        self.times = times

    def __call__(self, settings: DeltaSettings) -> DeltaTable:
        """See `Place.opener`."""
        newest = DeltaTable(settings.path)
        if self.times == 0:
            return newest
        self.times -= 1
        return DeltaTable(settings.path, version=max(1, newest.version() - self.behind))


def landed_twice(world: DeltaWorld) -> None:
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    sink.commit([sink.stage(world.batch(LANE, 10, 20))])


@pytest.mark.parametrize("times", [1, 2, 3])
def test_s5_a_commit_that_was_compared_with_the_past_is_refused(tmp_path: Path, times: int) -> None:
    """The list is late, so the position is that of an older version: nothing lands on it, and the owner goes on from the newest."""
    world = world_at(tmp_path)
    landed_twice(world)
    sink = world.sink("run-2")
    world.opener = stale = StaleReads(1, 0)
    late = world.sink("run-3")
    stale.times = times
    position = late.positions([LANE])[LANE]
    assert position == 10
    with pytest.raises(Conflict) as caught:
        late.commit([late.stage(world.batch(LANE, 10, 20))])
    assert caught.value.code == "PIPELINE_CONFLICT"
    assert sink.positions([LANE]) == {LANE: 20}
    stale.times = 0
    assert late.positions([LANE]) == {LANE: 20}
    late.commit([late.stage(world.batch(LANE, 20, 30))])
    assert world.landed() == [("events", 0, offset) for offset in range(30)]
    assert verify_table(world.path).proved
