"""Where do our streams stand? Asked of the sink on the committer, in order with the commits, so that no slow store holds up the loop."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from landfast.core.lanes import Lane, LaneState
from landfast.core.retry import Backoff
from landfast.core.route import Route
from landfast.model import Halt, Position, Stream, Waiting
from landfast.ports import Executor

_NOTHING_WAITS = Waiting()


@dataclass(frozen=True, slots=True)
class Standing:
    """What the sink says of one stream: its position, or why it must not be read; what is buried from there on, and what waits."""

    position: Position | Halt | None
    buried: frozenset[int]
    waiting: Waiting = _NOTHING_WAITS


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question under way, and the lanes it was asked for."""

    lanes: Mapping[Stream, Lane]
    answer: Future[Mapping[Stream, Standing]]


class Asking:
    """Asks for the standings of lanes that a flow was given, one question at a time.

    backoff  where it stands between its failures
    """

    def __init__(self, route: Route, committer: Executor) -> None:
        self.backoff = Backoff(route.limits.retry, route.limits.retry_by_class)
        self._route = route
        self._committer = committer
        self._asked: _Asked | None = None

    @property
    def open(self) -> bool:
        """Whether a question was asked, and its answer was not taken."""
        return self._asked is not None

    @property
    def under_way(self) -> bool:
        """Whether the sink is being asked."""
        return self._asked is not None and not self._asked.answer.done()

    def ask(self, lanes: Mapping[Stream, Lane], now: float) -> None:
        """Hand a question to the committer, for the lanes that have to be placed, unless there is one, or it is too early."""
        if self._asked is None and not self.backoff.waiting(now):
            unplaced = {stream: lane for stream, lane in lanes.items() if lane.state is LaneState.UNPLACED}
            if unplaced:
                self._asked = _Asked(unplaced, self._committer.submit(partial(_standings, self._route, unplaced)))

    def answered(self, lanes: Mapping[Stream, Lane]) -> dict[Stream, Standing]:
        """What the sink has said, of lanes that wait for it.

        Raises:
            Conflict, Unavailable, Broken: as the sink and the dead letters do.
        """
        if self._asked is None or not self._asked.answer.done():
            return {}
        asked, self._asked = self._asked, None
        standings = asked.answer.result()
        self.backoff.succeeded()
        # A lane that went, or came anew, while the sink was asked is not the one that was asked for.
        return {
            stream: standing
            for stream, standing in standings.items()
            if lanes.get(stream) is asked.lanes[stream] and lanes[stream].state is LaneState.UNPLACED
        }


def _standings(route: Route, lanes: Mapping[Stream, Lane]) -> Mapping[Stream, Standing]:
    """Claim and take over first: after that no former owner can bury or land, so what is read next stays true.

    The question may have waited behind a slow commit: a stream that went meanwhile is left to its new owner.
    """
    streams = [stream for stream, lane in lanes.items() if lane.state is LaneState.UNPLACED]
    route.dead_letters.claim(streams)
    found: dict[Stream, Standing] = {}
    positions = route.sink.take_over(streams)
    ours = [stream for stream, position in positions.items() if not isinstance(position, Halt)]
    waiting = route.retries.waiting(ours) if route.retries is not None else {}
    for stream, position in positions.items():
        buried = frozenset[int]() if isinstance(position, Halt) else frozenset(route.dead_letters.buried(stream, position or 0))
        found[stream] = Standing(position, buried, waiting.get(stream, _NOTHING_WAITS))
    return found
