"""A pipeline at work on a thread of this process: everything it tells is at hand, and nobody has to start an interpreter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self, TypeVar

from landfast import Pipeline, RunReport
from landfast.events import ConflictMet, Event, LaneHalted, Notice, RetryScheduled
from landfast.observe.health import Health, health
from landfast.observe.state import State, reduce
from landfast.ports import Clock
from landfast.testing.wait import wait_until

E = TypeVar("E", bound=Event)
# No promise: only a bound, so that what hangs ends the test.
SECONDS_MAX = 60.0


class Inside:
    """Runs the pipeline of a settings file until the block ends or `stop` is called. An observer that remembers, and the state it makes."""

    def __init__(self, file: Path, *, until_end: bool = False, clock: Clock | None = None) -> None:
        self.events: list[Event] = []
        self._state, self._reduced, self._lock = State(), 0, threading.Lock()
        self._pipeline = Pipeline.from_file(file)
        self._report: RunReport | None = None
        self._failure: BaseException | None = None
        self._run = lambda: self._pipeline.run(until_end=until_end, observer=self, clock=clock)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipeline.stop()
        self._thread.join(SECONDS_MAX)

    def notice(self, event: Event) -> None:
        """Remember it. Called from several threads, as an `Observer` is."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of a kind, in order."""
        return [event for event in tuple(self.events) if isinstance(event, kind)]

    @property
    def codes(self) -> set[str]:
        """Every code that the operator was shown."""
        told = (*self.of(Notice), *self.of(RetryScheduled), *self.of(ConflictMet))
        return {event.code for event in told} | {event.halt.code for event in self.of(LaneHalted)}

    @property
    def state(self) -> State:
        """What is known of the run now."""
        with self._lock:
            while self._reduced < len(self.events):
                self._state = reduce(self._state, self.events[self._reduced], 0.0)
                self._reduced += 1
            return self._state

    @property
    def health(self) -> Health:
        """What `/health` says now."""
        return health(self.state)

    @property
    def concerns(self) -> set[str]:
        """The codes that `/health` shows now."""
        return {concern.code for concern in self.health.concerns}

    @property
    def end(self) -> RunReport | BaseException | None:
        """How the run ended, if it has."""
        return None if self._thread.is_alive() else self._failure or self._report

    def until(self, holds: Callable[[], object], *others: Inside) -> None:
        """Wait for something, and no longer once a run has ended by itself."""

        def met() -> bool:
            held = bool(holds())
            ends = [one.end for one in (self, *others) if one.end is not None]
            assert held or not ends, ends
            return held

        try:
            wait_until(met, SECONDS_MAX)
        except TimeoutError:
            raise AssertionError([(one.codes, one.events[-5:]) for one in (self, *others)]) from None

    def until_told(self, *codes: str) -> None:
        """Wait until the operator was shown these codes."""
        self.until(lambda: set(codes) <= self.codes)

    def stop(self) -> RunReport:
        """Ask for a stop, and return the report."""
        self._pipeline.stop()
        return self.ended()

    def ended(self) -> RunReport:
        """Wait for the end, and return the report."""
        self._thread.join(SECONDS_MAX)
        assert not self._thread.is_alive(), self.events[-5:]
        if self._failure is not None:
            raise self._failure
        assert self._report is not None
        return self._report

    def _work(self) -> None:
        try:
            self._report = self._run()
        except BaseException as failure:  # noqa: BLE001 — carried to the test
            self._failure = failure


def land(file: Path) -> RunReport:
    """Land everything that is in the log now, and return the report of a run that finished."""
    with Inside(file, until_end=True) as run:
        report = run.ended()
    assert (str(report.outcome), report.halts, report.error) == ("finished", {}, None), report
    return report


def kinds(events: Iterable[Event]) -> list[str]:
    """The names of events, in order."""
    return [type(event).__name__ for event in events]
