"""Where a run stands, live: bars on a terminal, a line now and then elsewhere. Both are made from the same pure figures."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from landfast.observe.health import Concern, health
from landfast.observe.logs import escaped
from landfast.observe.state import FlowState, State
from landfast.ports import Clock

WINDOW_SECONDS = 10.0
"""The rate shown is the mean over this long."""

CONCERNS_MAX = 5
"""How many things that are wrong stand below the bars; each is in the log as well."""

_TOLD_ABOVE = frozenset({"KAFKA_CLIENT"})
# Its next step is to read the message, and that stands above the bars.


@dataclass(frozen=True, slots=True)
class Milestone:
    """How many records had landed, per flow, at a moment of the monotonic clock."""

    at: float
    landed: dict[str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """What is shown of one flow. `lag` is a distance in offsets; `share` is how much of what the log holds has landed, 0 to 1."""

    flow: str
    read: int
    landed: int
    dead: int
    skipped: int
    rate: float
    lag: int | None
    share: float | None
    lanes: int
    halted: int


def milestone(state: State, at: float) -> Milestone:
    """The milestone of this state."""
    return Milestone(at, {name: flow.totals.read for name, flow in state.flows.items()})


def figures(state: State, since: Milestone, at: float) -> tuple[Figures, ...]:
    """The figures of every flow that has lanes, with the rate since a milestone."""
    return tuple(_of_flow(name, flow, since, at) for name, flow in sorted(state.flows.items()) if flow.lanes)


def _of_flow(name: str, flow: FlowState, since: Milestone, at: float) -> Figures:
    totals = flow.totals
    lanes = [lane for lane in flow.lanes.values() if lane.assigned]
    lags = [lane.lag for lane in lanes if lane.lag is not None]
    seconds = at - since.at
    lag = sum(lags) if lags else None
    return Figures(
        flow=name,
        read=sum(lane.read for lane in flow.lanes.values()),
        landed=totals.read,
        dead=totals.dead,
        skipped=sum(totals.skipped.values()),
        rate=(totals.read - since.landed.get(name, 0)) / seconds if seconds > 0 else 0.0,
        lag=lag,
        share=None if lag is None or totals.read + lag == 0 else totals.read / (totals.read + lag),
        lanes=len(lanes),
        halted=sum(lane.halt is not None for lane in lanes),
    )


class Rates:
    """Remembers milestones for `WINDOW_SECONDS`, at most `milestones_max` of them, and says which one a rate is taken from."""

    def __init__(self, first: Milestone, *, milestones_max: int = 100) -> None:
        self._milestones = deque([first], maxlen=milestones_max)

    def since(self, now: Milestone) -> Milestone:
        """The oldest milestone inside the window; `now` is remembered."""
        while len(self._milestones) > 1 and now.at - self._milestones[1].at >= WINDOW_SECONDS:
            self._milestones.popleft()
        oldest = self._milestones[0]
        self._milestones.append(now)
        return oldest


class Display(Protocol):
    """Where figures are shown."""

    def show(self, state: State, shown: Sequence[Figures]) -> None:
        """Show these figures."""

    def close(self) -> None:
        """Leave the screen as it is."""


class Terminal:
    """One bar per flow, redrawn in place; what is wrong stands below, and what is said scrolls away above.

    Both go through one console, which counts the rows that it has drawn, and one at a time: otherwise a redraw takes away rows of the
    log, or leaves old bars behind. The console must wrap by itself, or it counts a long line as one row.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawing = threading.Lock()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def show(self, state: State, shown: Sequence[Figures]) -> None:
        """Redraw."""
        with self._drawing:
            self._live.start()
            self._live.update(panel(state, shown), refresh=True)

    def say(self, text: Text) -> None:
        """Let whole lines scroll away above the bars."""
        with self._drawing:
            self._console.print(text)

    def close(self) -> None:
        """Take the bars away: the report of the run follows."""
        self._live.stop()


class Lines:
    """One log line per flow, for pipes and files."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def show(self, state: State, shown: Sequence[Figures]) -> None:
        """Write the lines."""
        status = health(state).status
        for one in shown:
            named = {"flow": one.flow} if one.flow else {}
            counts = {"read": one.read, "landed": one.landed, "dead": one.dead, "skipped": one.skipped}
            self._log.info(
                "progress", **named, **counts, rate=round(one.rate), lag=one.lag, lanes=one.lanes, halted=one.halted, status=status
            )

    def close(self) -> None:
        """Nothing to put away."""


def panel(state: State, shown: Sequence[Figures]) -> RenderableType:
    """What the terminal shows."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("", "read", "landed", "records/s", "lag", "dead"):
        table.add_column(heading, justify="left" if not heading else "right", style="dim" if not heading else "")
    table.add_column("", width=24)
    for one in shown:
        numbers = (f"{one.read:,}", f"{one.landed:,}", f"{one.rate:,.0f}", "?" if one.lag is None else f"{one.lag:,}", f"{one.dead:,}")
        bar = ProgressBar(total=1.0, completed=one.share or 0.0, width=24)
        table.add_row(Text(escaped(one.flow)), *numbers, bar)
    first: RenderableType = table if shown else Text(escaped(_waiting(state)), style="dim", overflow="fold")
    concerns = [one for one in health(state).concerns if one.code not in _TOLD_ABOVE]
    lines = [Text(escaped(_concern(one)), style="yellow", overflow="fold") for one in concerns[:CONCERNS_MAX]]
    if state.stop_seconds_max is not None:
        words = f"stopping: landing what was read, up to {state.stop_seconds_max:g} s; Ctrl-C again stops at once"
        lines.append(Text(words, style="bold", overflow="fold"))
    return Group(first, *lines)


def _waiting(state: State) -> str:
    if state.opening is None:
        return "waiting for partitions"
    return f"waiting for {state.opening.target}, up to {state.opening.seconds_max:g} s (engine.open_wait_seconds)"


def _concern(one: Concern) -> str:
    place = " ".join(filter(None, (one.code, one.flow, one.place)))
    return f"{place} — {one.next_step}" if one.next_step else place


class Progress:
    """Shows the state every `every_seconds`, from a thread of its own, so that a slow terminal holds nothing up."""

    def __init__(self, state: Callable[[], State], display: Display, clock: Clock, *, every_seconds: float) -> None:
        self._state = state
        self._display = display
        self._clock = clock
        self._every_seconds = every_seconds
        self._rates = Rates(milestone(state(), clock.monotonic()))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="landfast-progress", daemon=True)
        self._thread.start()

    def close(self, seconds_max: float = 2.0) -> None:
        """Stop showing. Idempotent."""
        self._over.set()
        self._thread.join(seconds_max)

    def _run(self) -> None:
        try:
            while not self._over.wait(self._every_seconds):
                self._show()
            self._display.close()
        except OSError:
            return  # the terminal went away; the run goes on without bars

    def _show(self) -> None:
        state = self._state()
        now = milestone(state, self._clock.monotonic())
        self._display.show(state, figures(state, self._rates.since(now), now.at))
