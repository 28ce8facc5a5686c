"""An observer that blocks or raises costs telemetry, never records, and the loss of telemetry is counted."""

from __future__ import annotations

import io
import json
import threading

import pytest
from rich.console import Console

from landfast import events
from landfast.events import Event
from landfast.model import Halt, Receipt, Span, Stream
from landfast.observe.fanout import Fanout, Queued, Watch
from landfast.observe.observation import Observation, ObserveSettings
from landfast.observe.progress import Lines, Milestone, Progress, Rates, Terminal, figures, milestone, panel
from landfast.observe.state import State
from landfast.testing.clock import ManualClock
from landfast.testing.wait import wait_until

STREAM = Stream("sensors", "id", 0)
READ = events.RecordsRead("sensors", STREAM, 10, 100, 10)
HALTED = events.LaneHalted("sensors", STREAM, 10, Halt("DATA_EXPIRED", "m", "n"))
SPAN = Span(STREAM, 0, 10, 10, 9, 1, {}, "d")
LANDED = events.BatchLanded("sensors", Receipt((SPAN,), 9, 1, 100, 1, 1, already=False, seconds=0.01), 1)


SECONDS_MAX = 20.0


class Stuck:
    """An observer that hangs until it is let go, and remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def notice(self, event: Event) -> None:
        """Hang, then hear."""
        self.entered.set()
        assert self.let_go.wait(20)
        self.heard.append(event)


class Raising:
    """An observer that breaks its contract."""

    def __init__(self) -> None:
        self.asked = 0

    def notice(self, event: Event) -> None:
        """Raise."""
        self.asked += 1
        raise RuntimeError(type(event).__name__)


def test_an_observer_that_raises_is_switched_off_and_the_others_hear_on() -> None:
    """A defect in telemetry is no reason to stop landing."""
    raising, watch = Raising(), Watch(ManualClock())
    fanout = Fanout([raising, watch])
    fanout.notice(READ)
    fanout.notice(READ)
    assert raising.asked == 1
    assert fanout.failures == ("Raising: RuntimeError",)
    assert watch.state.flows["sensors"].lanes[STREAM].read == 20


def test_a_hanging_observer_blocks_nobody_and_what_it_missed_is_counted() -> None:
    """The queue is bounded: frequent events are given up first, a halt is still heard, and the count is told when there is room."""
    stuck = Stuck()
    queued = Queued(stuck, events_max=5)
    queued.notice(READ)
    assert stuck.entered.wait(20)
    for _ in range(100):
        queued.notice(READ)
    queued.notice(HALTED)
    assert queued.dropped == 95
    stuck.let_go.set()
    wait_until(lambda: any(isinstance(event, events.Notice) for event in stuck.heard), SECONDS_MAX)
    queued.close()
    assert HALTED in stuck.heard
    told = [event for event in stuck.heard if isinstance(event, events.Notice)]
    assert [(notice.code, "95" in notice.message) for notice in told] == [("TELEMETRY_DROPPED", True)]


def test_closing_gives_up_on_an_observer_that_hangs() -> None:
    """The end of a run does not wait for a stuck pipe, and what comes after the end is counted, not queued."""
    stuck = Stuck()
    queued = Queued(stuck)
    queued.notice(READ)
    assert stuck.entered.wait(20)
    queued.close(seconds_max=0.01)
    queued.notice(READ)
    assert queued.dropped == 1
    stuck.let_go.set()


def test_closing_lets_a_working_observer_hear_everything() -> None:
    """Nothing of an orderly end is missing from the log."""
    stuck = Stuck()
    stuck.let_go.set()
    queued = Queued(stuck)
    for _ in range(1_000):
        queued.notice(READ)
    queued.close(seconds_max=20)
    assert len(stuck.heard) == 1_000


def test_events_from_many_threads_are_all_counted() -> None:
    """The state loses no event to a race: notices come from the main thread, the pool and the committer."""
    watch = Watch(ManualClock())
    threads = [threading.Thread(target=lambda: [watch.notice(READ) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watch.state.flows["sensors"].lanes[STREAM].read == 20_000


def test_the_rate_is_taken_over_the_window() -> None:
    """Records per second over the last ten seconds, not since the start."""
    rates = Rates(Milestone(0.0, {"f": 0}))
    assert rates.since(Milestone(5.0, {"f": 500})).at == 0.0
    assert rates.since(Milestone(12.0, {"f": 900})).at == 0.0
    assert rates.since(Milestone(16.0, {"f": 1_000})).at == 5.0


def progressed() -> State:
    """A state of a run that is under way, with a halted lane."""
    watch = Watch(ManualClock())
    gained = events.StreamGained("sensors", STREAM, 0, 1)
    for event in (gained, READ, LANDED, events.LaneProgress("sensors", STREAM, 10, 40, held=False), HALTED):
        watch.notice(event)
    return watch.state


def test_figures_come_from_the_state() -> None:
    """Read, landed, rate, lag and dead, as documented."""
    (shown,) = figures(progressed(), Milestone(0.0, {}), 2.0)
    assert (shown.read, shown.landed, shown.dead, shown.rate, shown.lag, shown.share, shown.halted) == (10, 10, 1, 5.0, 30, 0.25, 1)
    assert milestone(progressed(), 7.0) == Milestone(7.0, {"sensors": 10})
    assert figures(State(), Milestone(0.0, {}), 2.0) == ()


def test_the_bars_show_figures_and_what_is_wrong() -> None:
    """A person at a terminal sees the same numbers, and the code of a halt."""
    console = Console(file=io.StringIO(), width=160, force_terminal=False)
    console.print(panel(progressed(), figures(progressed(), Milestone(0.0, {}), 2.0)))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("sensors", "records/s", "30", "DATA_EXPIRED", "sensors[0] offset 10"):
        assert part in shown


def test_before_the_first_assignment_the_bars_say_what_is_waited_for() -> None:
    """Joining a group takes seconds: an empty screen would look like a hang."""
    console = Console(file=io.StringIO(), width=80)
    console.print(panel(State(), ()))
    assert "waiting for partitions" in console.file.getvalue()  # type: ignore[attr-defined]


class Logged:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    def info(self, event: str, **fields: object) -> None:
        """Remember."""
        self.lines.append({"event": event, **fields})


def test_without_a_terminal_progress_is_lines() -> None:
    """Pipes and files get structured lines instead of bars."""
    log = Logged()
    progress = Progress(progressed, Lines(log), ManualClock(), every_seconds=0.001)
    wait_until(lambda: len(log.lines) > 0, SECONDS_MAX)
    progress.close()
    assert log.lines[0]["landed"] == 10
    assert log.lines[0]["status"] == "halted"


def test_bars_are_put_away_at_the_end() -> None:
    """Closing leaves the terminal usable."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    progress = Progress(progressed, Terminal(console), ManualClock(), every_seconds=0.001)
    wait_until(lambda: "sensors" in console.file.getvalue(), SECONDS_MAX)  # type: ignore[attr-defined]
    progress.close(seconds_max=20)
    assert console.file.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in console.file.getvalue()  # type: ignore[attr-defined]


class Terminalish(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminalish()])
def test_an_observation_puts_everything_together(stream: io.StringIO) -> None:
    """Log, state and metrics hear the same events; closing twice is fine."""
    observation = Observation(ObserveSettings(metrics_port=0, secrets=("hunter2",)), ManualClock(), stream)
    assert observation.metrics_port
    for event in (READ, LANDED, HALTED, events.Notice("", "SINK_AUTH", "hunter2")):
        observation.notice(event)
    assert observation.state.totals.written == 9
    observation.close()
    observation.close()
    assert "DATA_EXPIRED" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
    assert "hunter2" not in repr(ObserveSettings(secrets=("hunter2",)))


def test_json_is_json_also_on_a_terminal() -> None:
    """Whoever asks for JSON gets nothing else."""
    stream = Terminalish()
    observation = Observation(ObserveSettings(as_json=True), ManualClock(), stream)
    observation.notice(LANDED)
    observation.close()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["batch_landed"]
