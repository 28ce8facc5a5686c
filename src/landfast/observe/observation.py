"""All that observes one run, put together: the log, the state, metrics with health, and progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TextIO

from rich.console import Console

from landfast.errors import Misconfigured
from landfast.events import Event
from landfast.observe.brief import BriefLog
from landfast.observe.fanout import Fanout, Queued, Watch
from landfast.observe.logs import LogObserver, Redactor, logger
from landfast.observe.progress import Display, Lines, Progress, Terminal
from landfast.observe.prometheus import MetricsServer
from landfast.observe.state import State
from landfast.ports import Clock, Observer


@dataclass(frozen=True, slots=True)
class ObserveSettings:
    """How a run is shown.

    as_json                  log lines as JSON
    level                    the lowest level that is logged: debug, info, warning or error
    metrics_port             None: no web server; 0: any free port
    metrics_host             loopback unless said otherwise
    display                  auto: bars where there is a terminal; lines: never bars, for programs that print something of their own
    line_seconds             how often a progress line is written where there is no terminal
    redraw_seconds           how often the bars are redrawn where there is one
    queued_events_max        events that wait for the log; more are dropped and counted
    secrets                  texts that never appear in any output
    """

    as_json: bool = False
    level: str = "info"
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    display: Literal["auto", "lines"] = "auto"
    line_seconds: float = 10.0
    redraw_seconds: float = 0.25
    queued_events_max: int = 10_000
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"ObserveSettings(as_json={self.as_json}, level={self.level!r}, metrics_port={self.metrics_port})"


class Observation:
    """An `Observer` that shows a run in every way its settings ask for. `close` lets the log finish, within a bound."""

    def __init__(self, settings: ObserveSettings, clock: Clock, stream: TextIO, *, others: Sequence[Observer] = ()) -> None:
        """Begin to observe; `stream` takes log lines and, where it is a terminal and JSON is not asked for, the bars.

        Raises:
            Misconfigured: the metrics port cannot be listened on.
        """
        self._watch = Watch(clock)
        redact = Redactor(settings.secrets)
        log: Observer
        display: Display
        if stream.isatty() and not settings.as_json and settings.display == "auto":
            # The bars show what goes well.
            level = "warning" if settings.level == "info" else settings.level
            display = terminal = Terminal(Console(file=stream, highlight=False))
            log, every_seconds = BriefLog(terminal, redact=redact, clock=clock, level=level), settings.redraw_seconds
        else:
            lines = logger(stream, as_json=settings.as_json, redact=redact, clock=clock, level=settings.level)
            log, display, every_seconds = LogObserver(lines), Lines(lines), settings.line_seconds
        self._log = Queued(log, events_max=settings.queued_events_max)
        self._observers = Fanout([self._watch, self._log, *others])
        self._server = self._serve(settings)
        self._progress = Progress(lambda: self.state, display, clock, every_seconds=every_seconds)

    def _serve(self, settings: ObserveSettings) -> MetricsServer | None:
        if settings.metrics_port is None:
            return None
        try:
            return MetricsServer(lambda: self.state, port=settings.metrics_port, host=settings.metrics_host)
        except Misconfigured:
            self._log.close()
            raise

    @property
    def state(self) -> State:
        """What is known of the run."""
        return replace(self._watch.state, dropped=self._log.dropped)

    @property
    def metrics_port(self) -> int | None:
        """The port that metrics are served on."""
        return None if self._server is None else self._server.port

    def notice(self, event: Event) -> None:
        """Take note of one event; never raises, never waits."""
        self._observers.notice(event)

    def close(self) -> None:
        """Stop progress, let the log finish, stop serving. Takes a few seconds at most, whatever hangs. Idempotent."""
        self._progress.close()
        self._log.close()
        if self._server is not None:
            self._server.close()
