"""Where a stream began that the sink has never seen: at that place it is read again, wherever its end may lie by then."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from landfast import events
from landfast.core.batching import BatchLimits
from landfast.core.report import Outcome
from landfast.core.route import FlowLimits
from landfast.errors import Conflict
from landfast.model import Receipt, Staged
from landfast.testing.faults import Crashed
from landfast.testing.memory import MemorySink, MemorySinkSettings, MemorySourceSettings
from tests.core.rig import Rig

OLD, NEW = 10, 20


def latest() -> Rig:
    """A stream that is read from its latest record, with some that are older."""
    limits = FlowLimits(batch=BatchLimits(records_max=100, seconds_max=2.0))
    rig = Rig(partitions=1, limits=limits, source_settings=MemorySourceSettings(start="latest"))
    rig.produce(OLD)
    return rig


def run(rig: Rig, sink: MemorySink) -> None:
    """A run to which new records come as soon as it has a place, before it has landed any."""
    runner = rig.runner(rig.route(sink=sink))
    begun = rig.clock.monotonic()

    def world() -> None:
        bounds = rig.log.bounds("t", 0)
        if rig.observer.of(events.LaneProgress) and bounds is not None and bounds.end == OLD:
            rig.produce(NEW)
        if rig.clock.monotonic() - begun > 20:
            runner.stop()

    rig.clock.__init__(during_sleep=world)  # type: ignore[misc]
    assert runner.run().outcome is Outcome.STOPPED


class Contested(MemorySink):
    """A sink in which somebody else comes first, once."""

    contested = False

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Refuse, then commit."""
        if not self.contested and any(part.rows for part in staged):
            self.contested = True
            raise Conflict("PIPELINE_CONFLICT", "somebody else has moved the position")
        return super().commit(staged)


@pytest.mark.parametrize("refused", [None, OLD + 5])
def test_what_was_read_from_the_latest_record_on_is_read_again_from_there(refused: int | None) -> None:
    """A refused row, or a conflict, in the first batch of a stream: no record that was read is passed over for being old by now."""
    rig = latest()
    refusing = MemorySinkSettings(refuse_at_commit=lambda row: "too_wide" if row.offset == refused else None)
    run(rig, MemorySink(rig.table, settings=refusing) if refused is not None else Contested(rig.table))
    assert sorted(rig.landed(rig.streams[0]) + rig.buried(rig.streams[0])) == list(range(OLD, OLD + NEW))


def test_a_kill_before_the_first_record_has_landed_loses_none_from_the_latest_on() -> None:
    """The place lands as soon as it is known, and does not wait for a batch to fill: who comes after a kill begins there too."""
    rig = latest()
    runner = rig.runner()

    def world() -> None:
        if rig.table.positions:
            rig.produce(NEW)
            raise Crashed

    rig.clock.__init__(during_sleep=world)  # type: ignore[misc]
    with pytest.raises(Crashed):
        runner.run()
    assert rig.clock.monotonic() < 1.0
    rig.clock.__init__()  # type: ignore[misc]
    rig.group.leave("one")
    rig.land()
    assert rig.landed(rig.streams[0]) == list(range(OLD, OLD + NEW))
