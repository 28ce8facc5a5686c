"""On a terminal the log scrolls away whole above the bars, in words for a person, whatever the width and however long a line is."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from rich.console import Console
from rich.text import Text

from landfast import events
from landfast.model import Halt, Stream
from landfast.observe.brief import LENGTH_MAX, BriefLog
from landfast.observe.fanout import Watch
from landfast.observe.logs import Redactor
from landfast.observe.observation import Observation, ObserveSettings
from landfast.observe.progress import Milestone, Terminal, figures
from landfast.observe.state import State
from landfast.testing.clock import ManualClock
from landfast.testing.wait import wait_until
from tests.observe.event_strategies import any_event

STREAM = Stream("sensors", "id", 0)
DOWN = events.RetryScheduled("", "SOURCE_DOWN", "transient", 3, 2.14, "no broker answers")
HALTED = events.LaneHalted("numbers", STREAM, 40, Halt("DATA_EXPIRED", "gone below 50", "Accept the gap."))


class Screen:
    """What a terminal of so many columns shows after these bytes: enough of one for what is written here."""

    def __init__(self, width: int, written: str) -> None:
        self._width = width
        self._rows: dict[int, str] = {}
        self._row = self._column = 0
        for part in re.findall(r"\x1b\[\??[\d;]*[a-zA-Z]|[^\x1b]", written):
            self._take(part)

    def _take(self, part: str) -> None:
        if part == "\n":
            self._row, self._column = self._row + 1, 0
        elif part == "\r":
            self._column = 0
        elif part.startswith("\x1b"):
            self._obey(part[2:])
        else:
            if self._column == self._width:
                self._row, self._column = self._row + 1, 0
            row = self._rows.get(self._row, "").ljust(self._column)
            self._rows[self._row] = row[: self._column] + part + row[self._column + 1 :]
            self._column += 1

    def _obey(self, order: str) -> None:
        if order.endswith("A"):
            self._row -= int(order[:-1] or 1)
        elif order == "2K":
            self._rows[self._row] = ""
        else:
            assert order[-1] in "mlh", f"an order that this screen does not know: {order}"

    @property
    def rows(self) -> list[str]:
        """The rows that show something."""
        return [text.rstrip() for _, text in sorted(self._rows.items()) if text.strip()]


def terminal(width: int) -> tuple[Terminal, io.StringIO]:
    """Bars on a terminal of so many columns, and what is written to it."""
    stream = io.StringIO()
    return Terminal(Console(file=stream, force_terminal=True, width=width, height=40, legacy_windows=False)), stream


def busy() -> State:
    """A run with a lane and something wrong whose next step is long."""
    watch = Watch(ManualClock())
    for event in (events.StreamGained("sensors", STREAM, 0, 1), events.Notice("", "BROKER_UNREACHABLE", "m")):
        watch.notice(event)
    return watch.state


@pytest.mark.parametrize("width", [40, 80, 120])
def test_long_lines_and_bars_do_not_overwrite_each_other(width: int) -> None:
    """Every word of every line stands above the bars, in order; of the bars only the last drawing is left, and at the end none."""
    shown, stream = terminal(width)
    state = busy()
    said = []
    for number in range(5):
        shown.show(state, figures(state, Milestone(0.0, {}), 1.0))
        said.append(f"line-{number} " + " ".join(f"word-{number}-{place}" for place in range(30)) + f" end-{number}")
        shown.say(Text(said[-1], overflow="fold"))
    shown.show(state, figures(state, Milestone(0.0, {}), 1.0))
    rows = Screen(width, stream.getvalue()).rows
    words = " ".join(rows).split()
    spoken = " ".join(said).split()
    assert words[: len(spoken)] == spoken
    assert words.count("BROKER_UNREACHABLE") == 1
    shown.close()
    assert " ".join(Screen(width, stream.getvalue()).rows).split() == spoken


class Tty(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_a_run_is_shown_through_one_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log and bars come from threads of their own, and still each long line of the log is on the screen whole."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Tty()
    observation = Observation(ObserveSettings(redraw_seconds=0.001), ManualClock(), stream)
    observation.notice(events.StreamGained("sensors", STREAM, 0, 1))
    for number in range(50):
        observation.notice(events.Notice("", "BROKER_UNREACHABLE", " ".join(f"word-{number}-{place}" for place in range(40))))
        wait_until(lambda number=number: f"word-{number}-39" in stream.getvalue(), 20.0)
    observation.close()
    words = " ".join(Screen(80, stream.getvalue()).rows).split()
    assert [word for word in words if word.startswith("word-")] == [f"word-{number}-{place}" for number in range(50) for place in range(40)]
    assert words.count("BROKER_UNREACHABLE:") == 50
    assert "records/s" not in words


def said_of(*happened: events.Event, known: tuple[str, ...] = (), level: str = "warning") -> list[str]:
    """What a person is told of these events."""
    lines: list[str] = []

    class Listener:
        def say(self, text: Text) -> None:
            lines.append(text.plain)

    log = BriefLog(Listener(), redact=Redactor(known), clock=ManualClock(), level=level)
    for event in happened:
        log.notice(event)
    return lines


def test_a_person_is_told_in_words() -> None:
    """The time of day, how grave, the code, where, the message, and for a halt what to do; what goes well is left to the bars."""
    retry, halt = said_of(DOWN, HALTED, events.StreamGained("numbers", STREAM, 0, 1))
    assert re.fullmatch(r"\d\d:\d\d:\d\dZ warning SOURCE_DOWN: no broker answers \(attempt 3, again in 2.1 s\)", retry)
    assert halt.endswith("Z error   DATA_EXPIRED numbers sensors[0] offset 40: gone below 50. Next: Accept the gap.")
    (gained,) = said_of(events.StreamGained("numbers", STREAM, 7, 1), level="info")
    assert gained.endswith("info    stream_gained numbers sensors[0] offset 7: epoch=1")


@given(any_event)
def test_every_event_can_be_said_on_one_line(event: events.Event) -> None:
    """Whatever texts an event carries, nothing in its line steers the terminal, and it has an end."""
    (text,) = said_of(event, level="debug")
    assert text.isprintable()
    assert len(text) < LENGTH_MAX + 60


def test_what_is_said_hides_secrets_and_has_an_end() -> None:
    """A secret in a driver's words is masked; a driver that quotes a page is cut, and that is said."""
    (text,) = said_of(events.Notice("", "KAFKA_CLIENT", "canary-77 " + "x" * 5_000), known=("canary-77",))
    assert "canary-77" not in text
    assert text.endswith("characters)")


def drawn(*happened: events.Event) -> str:
    """The bars after these events."""
    watch = Watch(ManualClock())
    for event in happened:
        watch.notice(event)
    shown, stream = terminal(120)
    shown.show(watch.state, figures(watch.state, Milestone(0.0, {}), 1.0))
    return "\n".join(Screen(120, stream.getvalue()).rows)


def test_the_start_says_what_it_waits_for_and_how_long() -> None:
    """With a broker that is down nobody has to guess; once the run begins, it is partitions that are waited for."""
    opening = events.OpeningBegan("", "brokers at 127.0.0.1:1", 60.0)
    waiting = drawn(opening, DOWN, events.Notice("", "KAFKA_CLIENT", "FAIL"))
    assert waiting.startswith("waiting for brokers at 127.0.0.1:1, up to 60 s (engine.open_wait_seconds)\nSOURCE_DOWN — ")
    assert "KAFKA_CLIENT" not in waiting
    assert drawn(opening, events.RunStarted("", "r", "g")) == "waiting for partitions"


def test_a_stop_that_was_asked_for_is_seen_at_once() -> None:
    """The first signal is answered on the screen, with the deadline and what a second one does."""
    assert "stopping: landing what was read, up to 30 s; Ctrl-C again stops at once" in drawn(events.StopAsked("", 30.0))
