"""Where do our streams stand? Asked of the sink on the committer, in order with the commits, so that no slow store holds up the loop."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from landfast.core.lanes import Lane, LaneState
from landfast.core.route import Route
from landfast.model import Halt, Position, Stream
from landfast.ports import Executor


@dataclass(frozen=True, slots=True)
class Standing:
    """What the sink says of one stream: its position, or why it must not be read; and what is buried from there on."""

    position: Position | Halt | None
    buried: frozenset[int]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question under way, and the lanes it was asked for."""

    lanes: Mapping[Stream, Lane]
    answer: Future[Mapping[Stream, Standing]]


class Asking:
    """Asks for the standings of lanes that a flow was given."""

    def __init__(self, route: Route, committer: Executor) -> None:
        self._route = route
        self._committer = committer

    def submit(self, lanes: Mapping[Stream, Lane]) -> Asked:
        """Hand the question to the committer."""
        return Asked(dict(lanes), self._committer.submit(partial(_standings, self._route, dict(lanes))))


def _standings(route: Route, lanes: Mapping[Stream, Lane]) -> Mapping[Stream, Standing]:
    """Claim and take over first: after that no former owner can bury or land, so what is read next stays true.

    The question may have waited behind a slow commit: a stream that went meanwhile is left to its new owner.
    """
    streams = [stream for stream, lane in lanes.items() if lane.state is LaneState.UNPLACED]
    route.dead_letters.claim(streams)
    found: dict[Stream, Standing] = {}
    for stream, position in route.sink.take_over(streams).items():
        buried = frozenset[int]() if isinstance(position, Halt) else frozenset(route.dead_letters.buried(stream, position or 0))
        found[stream] = Standing(position, buried)
    return found
