"""Whether another owner keeps moving our positions: told while it goes on, although each record lands once all the same."""

from __future__ import annotations

from collections import deque

from landfast.events import Notice
from landfast.ports import Observer

CONFLICTS_MIN = 5
WINDOW_SECONDS = 60.0
"""A rebalance leaves a conflict or two behind. So many within so long come of a second owner that does not go away."""


class Contest:
    """The conflicts over positions that a flow has met lately."""

    def __init__(self, flow: str, observer: Observer) -> None:
        self._flow = flow
        self._observer = observer
        self._met: deque[float] = deque(maxlen=CONFLICTS_MIN)
        self._told = False

    def met(self, now: float) -> None:
        """Take note of a conflict."""
        self._met.append(now)
        if len(self._met) == CONFLICTS_MIN and now - self._met[0] <= WINDOW_SECONDS and not self._told:
            self._told = True
            words = (
                f"{CONFLICTS_MIN} conflicts within {now - self._met[0]:.0f} s: another owner moves the same positions, "
                "be it a copy of this pipeline, or a member of a group that does not come to rest"
            )
            self._observer.notice(Notice(self._flow, "PIPELINE_DUPLICATE", words))

    def turn(self, now: float) -> None:
        """Take it back when it is over."""
        if self._told and now - self._met[-1] > WINDOW_SECONDS:
            self._told = False
            words = f"no conflict with another owner for {WINDOW_SECONDS:.0f} s"
            self._observer.notice(Notice(self._flow, "PIPELINE_DUPLICATE", words, "cleared"))
