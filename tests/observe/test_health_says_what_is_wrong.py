"""Health and readiness follow the lanes, and show codes and places only."""

from __future__ import annotations

import json
from functools import reduce as fold

from hypothesis import given

from landfast import events
from landfast.model import Halt, Totals
from landfast.observe.health import health
from landfast.observe.state import State, reduce
from tests.observe.event_strategies import STREAMS, histories

GAINED = events.StreamGained("sensors", STREAMS[0], 5, 1)
HALTED = events.LaneHalted("sensors", STREAMS[0], 5, Halt("DATA_EXPIRED", "offsets 5 to 9 are gone: hunter2", "restore"))


def after(*history: events.Event) -> State:
    """The state after these events."""
    return fold(lambda state, event: reduce(state, event, 0.0), history, State())


def test_a_run_without_streams_is_alive_and_not_ready() -> None:
    """Before the first assignment there is nothing to serve, and no reason to restart either."""
    now = health(after(events.RunStarted("", "r", "exactly-once")))
    assert (now.status, now.alive, now.ready) == ("starting", True, False)


def test_an_assignment_makes_ready() -> None:
    """With a stream assigned and nothing wrong, the run is ready."""
    now = health(after(GAINED))
    assert (now.status, now.alive, now.ready, now.concerns) == ("ok", True, True, ())


def test_a_halted_lane_is_not_ready_and_names_its_place() -> None:
    """A lane that stands still needs an operator: the code, the exact place and the next step are shown, the message is not."""
    now = health(after(GAINED, HALTED))
    assert (now.status, now.alive, now.ready) == ("halted", True, False)
    assert [(one.code, one.flow, one.place) for one in now.concerns] == [("DATA_EXPIRED", "sensors", "a[0] offset 5")]
    assert "hunter2" not in json.dumps(now.to_json())


def test_a_halt_ends_with_a_new_assignment_or_with_losing_the_stream() -> None:
    """What is not ours any more, or was started anew, does not hold readiness back."""
    assert health(after(GAINED, HALTED, events.StreamGained("sensors", STREAMS[0], 9, 2))).ready
    moved = health(
        after(GAINED, events.StreamGained("sensors", STREAMS[1], 0, 1), HALTED, events.StreamLost("sensors", STREAMS[0], 0, drained=True))
    )
    assert moved.ready


def test_retrying_is_degraded_and_stays_ready() -> None:
    """Something that is being retried is shown; the run goes on."""
    now = health(after(GAINED, events.RetryScheduled("sensors", "SINK_DOWN", "transient", 1, 0.1, "secret")))
    assert (now.status, now.ready) == ("degraded", True)
    assert "SINK_DOWN" in {one.code for one in now.concerns}


def test_an_ended_run_is_not_alive() -> None:
    """Only where a restart can help does health say so."""
    now = health(after(GAINED, events.RunEnded("", "r", "broken", Totals(), 1.0)))
    assert (now.status, now.alive, now.ready) == ("ended", False, False)


@given(histories)
def test_health_is_total_and_consistent(history: list[events.Event]) -> None:
    """For every history: ready means alive and nothing halted, and every answer is JSON."""
    now = health(after(*history))
    assert not now.ready or (now.alive and now.status in {"ok", "degraded"})
    assert json.loads(json.dumps(now.to_json()))["status"] == now.status
