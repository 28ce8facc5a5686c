"""Who comes first, where upserts of several workers write the same files again: one that has lost several times asks for a turn.

Whoever is second in a race has to write again each file that the first has taken out. So one whose files take longer than the others'
commits take to come would never land. It says in the table's log for how long it would like to come first; the others heed that, at most
for that long, and its commit says that the turn is over. That is politeness and nothing rests on it: who does not know of a turn, or has
waited long enough, commits, and what is compared before each commit is the same.
"""

from __future__ import annotations

import math

from landfast.sinks.delta.landing.retries import followed
from landfast.sinks.delta.log.app_ids import turn_app_id
from landfast.sinks.delta.log.record import TURN
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.view import View

LOST_BEFORE_ASKING = 3
"""Attempts of one commit that others have to come before."""
TURN_SECONDS_MAX = 60
"""Nobody is let wait longer than that for a worker that may be gone."""
_ASK_ATTEMPTS = 5
_POLL_SECONDS = 0.05
_SECONDS_BITS = 12


class Turns:
    """The turns of one table, seen by one worker. For one thread.

    The transaction version of its application id tells the newest turn: its number, and the seconds that it is asked for; 0: it is over.
    """

    def __init__(self, home: TableHome) -> None:
        self._home = home
        self._app_id = turn_app_id(home.pipeline_id)
        self._ours: int | None = None
        self._ours_until = 0.0
        self._heeded: int | None = None

    def _told(self, view: View) -> tuple[int, int]:
        return divmod(view.transaction_version(self._app_id) or 0, 1 << _SECONDS_BITS)

    def heed(self, view: View) -> View:
        """The view once nobody else's turn stands in it, or that has lasted as long as it was asked for. Each is heeded once."""
        clock = self._home.clock
        until: dict[int, float] = {}
        while True:
            number, seconds = self._told(view)
            if not seconds or number in {self._ours, self._heeded}:
                return view
            left = until.setdefault(number, clock.monotonic() + min(seconds, TURN_SECONDS_MAX)) - clock.monotonic()
            if left <= 0:
                self._heeded = number
                return view
            clock.sleep(min(_POLL_SECONDS, left))
            view = followed(self._home, view)

    def ask(self, view: View, seconds: float) -> None:
        """Ask the others for a turn, twice as long as an attempt took, unless one lasts. Where they are too fast for that too, not now."""
        clock = self._home.clock
        wanted = max(1, math.ceil(min(TURN_SECONDS_MAX, 2 * seconds)))
        for _ in range(_ASK_ATTEMPTS):
            number, standing = self._told(view)
            if standing and number == self._ours and clock.monotonic() < self._ours_until:
                return
            if self._home.put(view, TURN, {self._app_id: (number + 1) << _SECONDS_BITS | wanted}):
                self._ours, self._ours_until = number + 1, clock.monotonic() + wanted
                return
            view = followed(self._home, view)

    def over(self, view: View) -> dict[str, int]:
        """What a commit after this view moves where the turn in it is ours: nobody has to wait for us any more."""
        number, seconds = self._told(view)
        return {self._app_id: (number + 1) << _SECONDS_BITS} if seconds and number == self._ours else {}
