"""A route that is broken before the first read is named and left alone, and the others run."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from landfast import events
from landfast.core.report import Outcome
from landfast.core.route import Route
from landfast.errors import Broken, LandfastError, Misconfigured, Unavailable
from landfast.model import Halt, Position, Stream
from landfast.testing.memory import LineDecoder, MemoryDeadLetters, MemorySink, MemoryTable
from tests.core.rig import Rig


class Untouchable(MemorySink):
    """A sink that nobody may ask for anything."""

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Fail."""
        raise AssertionError(streams)

    take_over = positions


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Misconfigured("SCHEMA_CONFLICT", "m", next_step="n"), Outcome.REFUSED),
        (Unavailable("SINK_DOWN", "m", next_step="n"), Outcome.HALTED),
        (Broken("LOG_CORRUPT", "m", next_step="n"), Outcome.BROKEN),
    ],
)
def test_the_others_land_and_the_report_says_what_was_wrong(error: LandfastError, outcome: Outcome) -> None:
    """Nothing is asked of its sink, its streams are named with its code, and that is so as well when the others have nothing left to do."""
    rig = Rig(topics=("a", "b"), partitions=2)
    rig.produce(20, topic="a")
    rig.produce(20, topic="b")
    well = MemoryTable()
    for landed in (20, 0):
        routes = (
            Route("broken", lambda topic: topic == "a", LineDecoder(), Untouchable(rig.table), MemoryDeadLetters(rig.store)),
            Route("well", lambda topic: topic == "b", LineDecoder(), MemorySink(well), MemoryDeadLetters(rig.store)),
        )
        runner = rig.runner(*routes)
        runner.flows[0].fail(error)
        report = runner.run(until_end=True)
        assert (report.outcome, report.error, report.totals.written) == (outcome, error, landed)
        if landed:
            assert report.halts == {stream: Halt(error.code, "m", "n") for stream in rig.streams if stream.topic == "a"}
            assert {event.stream for event in rig.observer.of(events.LaneHalted)} == set(report.halts)
    assert len(well.rows) == 20
    assert not rig.table.rows


def test_a_run_is_reported_by_the_gravest_of_what_broke() -> None:
    """Whichever route comes first: damage before an outage before a wrong setting."""
    errors = (Misconfigured("SCHEMA_CONFLICT", "m"), Unavailable("SINK_DOWN", "m"), Broken("LOG_CORRUPT", "m"))
    for count, outcome in ((1, Outcome.REFUSED), (2, Outcome.HALTED), (3, Outcome.BROKEN)):
        rig = Rig(topics=("a", "b", "c"), partitions=1)
        routes = [
            Route(name, lambda topic, name=name: topic == name, LineDecoder(), MemorySink(rig.table), MemoryDeadLetters(rig.store))  # type: ignore[misc]
            for name in rig.topics
        ]
        runner = rig.runner(*routes)
        for flow, error in zip(runner.flows, errors[:count], strict=False):
            flow.fail(error)
        report = runner.run(until_end=True)
        assert (report.outcome, report.error) == (outcome, errors[count - 1])
