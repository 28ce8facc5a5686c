"""Looks beyond our own lanes: at the ends of the source, and at what other members of the group have landed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from landfast import events
from landfast.core.flow import Flow
from landfast.core.lanes import Lane, LaneState
from landfast.errors import Unavailable
from landfast.model import Bounds, Halt, Position, Stream
from landfast.ports import Executor, Extent, Observer, Sink

_ASK_SECONDS = 1.0
_GONE = Halt(
    "TOPIC_GONE",
    "the log that this bounded run was to read to its end is gone: the topic was deleted, or created again",
    "Start again: the topic of today is read, or halts with its own code.",
)


@dataclass(frozen=True, slots=True)
class Others:
    """How the streams of other members stand: whether all have landed to their ends, but for those that the sink says must not be read."""

    landed: bool
    halts: Mapping[Stream, Halt] = field(default_factory=dict)


class Outlook:
    """Asks the source for its ends on the pool, now and then, and tells how each lane stands."""

    def __init__(self, extent: Extent, pool: Executor, observer: Observer, *, every_seconds: float, short_seconds_max: float) -> None:
        self._extent = extent
        self._pool = pool
        self._observer = observer
        self._every_seconds = every_seconds
        self._short_seconds_max = short_seconds_max
        self._looking: Future[Mapping[Stream, Bounds]] | None = None
        self._look_at = 0.0
        self._ask_at: dict[int, float] = {}
        self._asked: dict[int, Future[Mapping[Stream, Position | Halt | None]]] = {}
        self._seen: Mapping[Stream, Bounds] | None = None
        self._short_since: dict[Stream, float] = {}

    def look(self, flows: Sequence[Flow], ends: Collection[Stream], now: float) -> None:
        """Start a look when it is due, at our lanes and at `ends`, and tell what the last one saw. Never waits."""
        if self._looking is not None and self._looking.done():
            looked, self._looking = self._looking, None
            self._look_at = now + self._every_seconds
            try:
                self._seen = looked.result()
            except Unavailable as error:
                self._observer.notice(events.Notice("", error.code, error.message))
            else:
                self._tell(flows, self._seen, now)
        streams = {stream for flow in flows for stream in flow.lanes}.union(ends)
        if self._looking is None and streams and now >= self._look_at:
            self._looking = self._pool.submit(lambda: self._extent.bounds(streams))

    def _tell(self, flows: Sequence[Flow], bounds: Mapping[Stream, Bounds], now: float) -> None:
        for flow in flows:
            held = flow.held()
            for stream, lane in flow.lanes.items():
                end = bounds[stream].end if stream in bounds else None
                standing = lane.state is not LaneState.RUNNING or stream in held
                self._observer.notice(events.LaneProgress(flow.route.name, stream, flow.ledger.safe(stream), end, standing))
                if end is not None and self._stays_short(lane, end, now):
                    message = f"the log ends at {end}, and ended at {lane.stop_at} when this bounded run began"
                    flow.halt(stream, Halt("LOG_TRUNCATED", message, "Find out what cut the log short, then start again."))

    def _stays_short(self, lane: Lane, end: int, now: float) -> bool:
        """Whether a log has been shorter than a bounded run must read for too long; a new leader may be behind for a moment."""
        if lane.stop_at is None or end >= lane.stop_at or lane.state is LaneState.HALTED:
            self._short_since.pop(lane.stream, None)
            return False
        return now - self._short_since.setdefault(lane.stream, now) >= self._short_seconds_max

    def gone(self, streams: Collection[Stream]) -> dict[Stream, Halt]:
        """Those of the streams that the log does not hold any more, by the last look: nobody will ever land them."""
        seen = self._seen
        return {} if seen is None else {stream: _GONE for stream in streams if stream not in seen}

    def others(self, sink: Sink, streams: Collection[Stream], ends: Mapping[Stream, Bounds], now: float) -> Others:
        """Whether the sink holds these streams up to their ends, whoever landed them. Asked on the pool, once a second."""
        asked = self._asked.get(id(sink))
        if asked is None:
            if now >= self._ask_at.get(id(sink), 0.0):
                self._ask_at[id(sink)] = now + _ASK_SECONDS
                self._asked[id(sink)] = self._pool.submit(lambda: sink.positions(tuple(streams)))
            return Others(landed=False)
        if not asked.done():
            return Others(landed=False)
        del self._asked[id(sink)]
        try:
            positions = asked.result()
        except Unavailable as error:
            self._observer.notice(events.Notice("", error.code, error.message))
            return Others(landed=False)
        halts = {stream: position for stream, position in positions.items() if isinstance(position, Halt)}
        reached = {
            stream for stream, position in positions.items() if not isinstance(position, Halt) and (position or 0) >= ends[stream].end
        }
        return Others(landed=reached.union(halts) >= set(streams), halts=halts)
