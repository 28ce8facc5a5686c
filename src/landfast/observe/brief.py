"""Log lines for a person at a terminal: the time of day, how grave, the code, where, and words. Pipes get every field: see `logs`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

from rich.text import Text

from landfast import events
from landfast.errors import with_next
from landfast.observe.logs import Line, Redactor, clean_fields, escaped, line, plain
from landfast.ports import Clock

LENGTH_MAX = 600
"""Characters of one entry: a few rows of a terminal. What is longer is cut; the lines of a pipe have it whole."""

_LEVELS = ("debug", "info", "warning", "error")
_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "bold red"}
_TOLD_IN_WORDS = frozenset({"flow", "topic", "partition", "position", "code", "message", "next_step", "severity", "kind"})


class Speaker(Protocol):
    """Where lines are said."""

    def say(self, text: Text) -> None:
        """Show whole lines."""


class BriefLog:
    """An observer that says each event from a level on in a short form. May block on its terminal: put it behind a `Queued`."""

    def __init__(self, speaker: Speaker, *, redact: Redactor, clock: Clock, level: str = "warning") -> None:
        self._speaker = speaker
        self._redact = redact
        self._clock = clock
        self._level = _LEVELS.index(level)

    def notice(self, event: events.Event) -> None:
        """Say the event, if it is grave enough."""
        written = line(event)
        if _LEVELS.index(written.level) < self._level:
            return
        at = datetime.fromtimestamp(self._clock.now(), UTC)
        words = brief(event, written, self._redact)
        self._speaker.say(Text.assemble(f"{at:%H:%M:%S}Z ", (f"{written.level:<7} ", _STYLES[written.level]), words, overflow="fold"))


def brief(event: events.Event, written: Line, redact: Redactor) -> str:
    """An event on one line: its code or name, the place, and what is to be said of it. Redacted, escaped, at most `LENGTH_MAX` long."""
    fields = clean_fields(written.fields, redact)
    stream = f"{fields['topic']}[{fields['partition']}]" if "partition" in fields else ""
    offset = f"offset {fields['position']}" if isinstance(fields.get("position"), int) else ""
    head = " ".join(str(part) for part in (fields.get("code") or written.name, fields.get("flow"), stream, offset) if part)
    text = escaped(f"{head}: {_words(event, fields)}".removesuffix(": "))
    return text if len(text) <= LENGTH_MAX else f"{text[:LENGTH_MAX]}… ({len(text):,} characters)"


def _words(event: events.Event, fields: dict[str, Any]) -> str:
    message = fields.get("message", "")
    match event:
        case events.RetryScheduled():
            return f"{message} (attempt {event.attempt}, again in {event.wait_seconds:.1f} s)"
        case events.LaneHalted():
            return with_next(message, fields["next_step"])
        case events.Notice() | events.ConflictMet() | events.OutcomeResolved():
            return str(message)
        case _:
            return " ".join(f"{name}={plain(value)}" for name, value in fields.items() if name not in _TOLD_IN_WORDS)
