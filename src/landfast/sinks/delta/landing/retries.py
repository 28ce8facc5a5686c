"""What all share who put an entry into a table's log: the wait before they try again, and a look at what became of a lost answer."""

from __future__ import annotations

import random

from landfast.errors import Unavailable
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.view import View

_WAIT_SECONDS_FIRST = 0.005
_WAIT_SECONDS_MAX = 0.5


def wait_seconds(attempt: int) -> float:
    """How long to wait before this attempt to come first: longer each time, and never the same for two who race."""
    return random.uniform(0, min(_WAIT_SECONDS_MAX, _WAIT_SECONDS_FIRST * 2**attempt))  # noqa: S311 — nothing secret about a wait


def followed(home: TableHome, view: View) -> View:
    """The view at the newest version, or another where it is worn."""
    return view if not view.worn and home.follow(view) else home.open()


def open_patiently(home: TableHome, error: BaseException) -> View:
    """A fresh view to read an unknown outcome back with, in several attempts.

    Raises:
        Unavailable: the table cannot be read. Trying the same act again is safe: its compare finds out what has landed.
    """
    for attempt in range(home.settings.resolve_attempts_max):
        if attempt:
            home.clock.sleep(home.settings.resolve_wait_seconds * 2 ** (attempt - 1))
        try:
            return home.open()
        except Unavailable:
            continue
    message = "a commit ended without an answer, and the table cannot be read back"
    raise Unavailable("OUTCOME_UNKNOWN", message, kind="unknown", next_step="Nothing: it is resolved when the store answers.") from error


def outcome_words(landed: bool) -> str:  # noqa: FBT001 — a value to put into words, not a mode
    """How a read-back outcome is told."""
    return "had landed" if landed else "had not landed"
