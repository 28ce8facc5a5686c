"""A whole pipeline on a real S3-compatible store whose answers are lost, late, wrong or refused: each record lands once."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from landfast.core.report import Outcome
from landfast.events import Event, OutcomeResolved, RecordsRead, RetryScheduled
from landfast.testing.clock import ManualClock
from landfast.testing.fault_proxy import Action, FaultProxy, Kind, Rule
from landfast.testing.memory import RecordingObserver
from landfast.testing.stores import BUCKET, VersityGateway, storage_options
from tests.faults.power_world import IN_ONE_GO, PowerWorld

pytestmark = pytest.mark.system

TIMEOUT_SECONDS = 1
OPTIONS = {"timeout": f"{TIMEOUT_SECONDS}s", "max_retries": "1", "retry_timeout": "20s", "init_backoff": "10ms", "max_backoff": "20ms"}
LATER_SECONDS = 2 * TIMEOUT_SECONDS + 1


def world_behind(proxy: FaultProxy) -> PowerWorld:
    return PowerWorld(records=12, options=storage_options(proxy.port, **OPTIONS))


def place() -> str:
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


ANSWERS = {
    "409, landed": Rule(Action.ANSWER_AFTER, Kind.COMMIT, status=409),
    "409, not landed": Rule(Action.ANSWER_BEFORE, Kind.COMMIT, status=409),
    "412, landed": Rule(Action.ANSWER_AFTER, Kind.COMMIT, status=412),
    "412, not landed": Rule(Action.ANSWER_BEFORE, Kind.COMMIT, status=412),
    "503, landed": Rule(Action.ANSWER_AFTER, Kind.COMMIT, status=503),
    "503, not landed": Rule(Action.ANSWER_BEFORE, Kind.COMMIT, status=503),
    "timeout, landed": Rule(Action.DELAY_REPLY, Kind.COMMIT, seconds=LATER_SECONDS),
    "timeout, not landed": Rule(Action.DROP_REQUEST, Kind.COMMIT, seconds=LATER_SECONDS),
    "timeout, landed later": Rule(Action.DELAY_REQUEST, Kind.COMMIT, seconds=LATER_SECONDS),
}
"""Every wrong answer to the put of a commit, whether or not it has landed; and one that lands after its caller has given up."""


PUTS_BEFORE = {"letters": 4, "rows": 5}
"""Log entries that are put before the one that takes the letters, and the one that takes the rows."""


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("of", PUTS_BEFORE)
@pytest.mark.museum(9)
def test_s3_n3_n4_every_answer_to_a_commit_lands_it_once(store: VersityGateway, proxy: FaultProxy, answer: str, of: str) -> None:
    """Whatever the store says of the put of a commit, and whether or not it has landed: every record is in its place once."""
    world, folder = world_behind(proxy), place()
    proxy.add(*(Rule(Action.DELAY_REPLY, Kind.COMMIT) for _ in range(PUTS_BEFORE[of])), replace(ANSWERS[answer]))
    report = world.run(folder, limits=IN_ONE_GO)
    assert proxy.faults() == PUTS_BEFORE[of] + 1
    assert world.wrong(folder, report, store.storage_options) == []
    # What the store answers is believed or asked again at once; what it does not answer is read back, and said.
    resolved = [event.landed for event in world.observer.of(OutcomeResolved)]
    assert resolved == ([answer == "timeout, landed"] if "timeout" in answer else [])
    assert {event.code for event in world.observer.of(RetryScheduled)} == (
        {"DLQ_DOWN" if of == "letters" else "SINK_DOWN"} if resolved == [False] else set()
    )


class Outage(RecordingObserver):
    """An observer that lets a store refuse everything as soon as something was read, until the work was tried again so often."""

    def __init__(self, proxy: FaultProxy, status: int, retries: int) -> None:
        super().__init__()
        self._proxy, self._status, self._retries = proxy, status, retries
        self.began = False

    def notice(self, event: Event) -> None:
        """See `RecordingObserver`."""
        super().notice(event)
        if isinstance(event, RecordsRead) and not self.began:
            self.began = True
            self._proxy.add(*(Rule(Action.ANSWER_BEFORE, kind, times=1_000_000, status=self._status) for kind in Kind))
        if isinstance(event, RetryScheduled) and len(self.of(RetryScheduled)) == self._retries:
            self._proxy.clear()


@pytest.mark.parametrize(("status", "code"), [(403, "SINK_AUTH"), (401, "SINK_AUTH"), (503, "SINK_THROTTLED"), (429, "SINK_THROTTLED")])
@pytest.mark.museum(12)
def test_s18_s19_a_store_that_refuses_for_a_while_is_waited_for(store: VersityGateway, proxy: FaultProxy, status: int, code: str) -> None:
    """Credentials that do not work for a while, a store that asks to slow down: nothing is dropped, and the run goes on by itself."""
    world, folder = world_behind(proxy), place()
    world.observer = Outage(proxy, status, retries=3)
    report = world.run(folder, limits=IN_ONE_GO)
    assert world.wrong(folder, report, store.storage_options) == []
    assert {event.code for event in world.observer.of(RetryScheduled)} <= {code, "DLQ_DOWN"}
    assert all(code in event.message or event.code == code for event in world.observer.of(RetryScheduled))
    assert len(world.observer.of(RetryScheduled)) >= 3


def test_s19_a_store_that_asks_to_slow_down_for_an_hour_halts_the_lanes_with_all_intact(store: VersityGateway, proxy: FaultProxy) -> None:
    """Waits grow up to their limit; then the lanes halt, say why, and the next run lands what is left."""
    world, folder = world_behind(proxy), place()
    world.observer = outage = Outage(proxy, 503, retries=1_000_000)
    clock = ManualClock()
    report = world.run(folder, limits=IN_ONE_GO, clock=clock)
    assert report.outcome is Outcome.HALTED
    assert {halt.code for halt in report.halts.values()} == {"SINK_THROTTLED"}
    waits = [event.wait_seconds for event in outage.of(RetryScheduled)]
    assert max(waits) <= IN_ONE_GO.retry.wait_seconds_max
    proxy.clear()
    assert world.wrong(folder, world.run(folder, limits=IN_ONE_GO), store.storage_options) == []
