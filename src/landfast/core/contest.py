"""Whether another owner keeps moving our positions: told while it goes on, although each record lands once all the same."""

from __future__ import annotations

from collections import deque

from landfast.errors import Conflict
from landfast.events import ConflictMet, Notice
from landfast.ports import Observer

CONFLICTS_MIN = 5
WINDOW_SECONDS = 60.0
"""A rebalance leaves a conflict or two behind. So many within so long come of a second owner that does not go away."""


class Contest:
    """The conflicts that a flow has met lately, and those in a row, without a landing between."""

    def __init__(self, flow: str, observer: Observer, conflicts_max: int) -> None:
        self._flow = flow
        self._observer = observer
        self._conflicts_max = conflicts_max
        self._in_a_row = 0
        self._met: deque[float] = deque(maxlen=CONFLICTS_MIN)
        self._alarmed = False

    def told(self, error: Conflict) -> None:
        """Say that the fence held."""
        self._observer.notice(ConflictMet(self._flow, error.code, error.message))

    def landed(self) -> None:
        """Something of ours has landed."""
        self._in_a_row = 0

    def met(self, error: Conflict, now: float) -> Conflict | None:
        """Take note of a conflict; why the flow must not go on, where there were too many in a row."""
        self.told(error)
        self._in_a_row += 1
        if error.code == "PIPELINE_CONFLICT":
            self._met_over_positions(now)
        if self._in_a_row < self._conflicts_max:
            return None
        message = f"{self._in_a_row} conflicts in a row without one landing: another copy of this pipeline moves the same positions"
        return Conflict("PIPELINE_DUPLICATE", message, next_step="Stop the other copy, or give it another name and table.")

    def _met_over_positions(self, now: float) -> None:
        self._met.append(now)
        if len(self._met) == CONFLICTS_MIN and now - self._met[0] <= WINDOW_SECONDS and not self._alarmed:
            self._alarmed = True
            words = (
                f"{CONFLICTS_MIN} conflicts within {now - self._met[0]:.0f} s: another owner moves the same positions, "
                "be it a copy of this pipeline, or a member of a group that does not come to rest"
            )
            self._observer.notice(Notice(self._flow, "PIPELINE_DUPLICATE", words))

    def turn(self, now: float) -> None:
        """Take it back when it is over."""
        if self._alarmed and now - self._met[-1] > WINDOW_SECONDS:
            self._alarmed = False
            words = f"no conflict with another owner for {WINDOW_SECONDS:.0f} s"
            self._observer.notice(Notice(self._flow, "PIPELINE_DUPLICATE", words, "cleared"))
