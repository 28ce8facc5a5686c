"""Looks beyond our own lanes: at the ends of the source, and at what other members of the group have landed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from landfast import events
from landfast.core.flow import Flow
from landfast.core.lanes import Lane, LaneState
from landfast.core.route import Route
from landfast.errors import Unavailable, halt_of
from landfast.model import Bounds, Halt, Position, Stream
from landfast.ports import Executor, Extent, Observer

_ASK_SECONDS = 1.0
_TELL_SECONDS = 30.0
_NAMED_MAX = 5
_GONE = Halt(
    "TOPIC_GONE",
    "the log that this bounded run was to read to its end is gone: the topic was deleted, or created again",
    "Start again: the topic of today is read, or halts with its own code.",
)


@dataclass(frozen=True, slots=True)
class Others:
    """How the streams of other members stand: whether all have landed to their ends, but for those that nobody lands any more."""

    landed: bool
    halts: Mapping[Stream, Halt] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Question:
    """Where these streams stand, asked of a sink at a moment."""

    streams: frozenset[Stream]
    asked_at: float
    answer: Future[Mapping[Stream, Position | Halt | None]]


class Standstill:
    """Watches streams of other members that have still to land, and gives up on those that have not moved for too long.

    A halted lane of another member cannot be seen from here: a stream that stands still is all there is to see. It is told now and then.
    """

    def __init__(self, observer: Observer, seconds_max: float) -> None:
        self._observer = observer
        self._seconds_max = seconds_max
        self._since: dict[Stream, tuple[Position | None, float]] = {}
        self._told_at: dict[str, float] = {}

    def seen(self, stream: Stream) -> Position | None:
        """Where the stream stood when it was looked at last."""
        return self._since.get(stream, (None, 0.0))[0]

    def judge(
        self, flow: str, positions: Mapping[Stream, Position | None], ends: Mapping[Stream, Bounds], now: float
    ) -> dict[Stream, float]:
        """Take note of where these streams stand at `now`; those that have not moved for too long, with the seconds that it was."""
        for stream, position in positions.items():
            known = self._since.get(stream)
            if known is None or known[0] != position:
                self._since[stream] = (position, now)
        stood = {stream: now - self._since[stream][1] for stream in positions}
        if positions and now - self._told_at.setdefault(flow, now) >= _TELL_SECONDS:
            self._told_at[flow] = now
            named = [f"{_place(stream, positions[stream], ends)}, still for {stood[stream]:.0f} s" for stream in sorted(positions)]
            more = f" and {len(named) - _NAMED_MAX} more" if len(named) > _NAMED_MAX else ""
            message = f"this bounded run waits for what other members of the group have to land: {'; '.join(named[:_NAMED_MAX])}{more}"
            self._observer.notice(events.Notice(flow, "HELD_ELSEWHERE", message))
        return {stream: seconds for stream, seconds in stood.items() if seconds >= self._seconds_max}


def _held(place: str, seconds: float) -> Halt:
    message = f"{place}: it is no stream of ours, and nobody has landed anything of it for {seconds:.0f} s"
    next_step = (
        "Look at the other workers of this group: a halted lane says there why; a pipeline of the same name with another table needs "
        "another name. Then start again."
    )
    return Halt("HELD_ELSEWHERE", message, next_step)


def _is_owed(position: Position | None, bounds: Bounds) -> bool:
    """Whether a stream that stands at `position` has still to land up to its end.

    One that holds nothing has nothing to land, unless records went before they were read: whoever has it must halt, and say so.
    """
    return bounds.first < bounds.end if position is None else position < bounds.end


def _place(stream: Stream, position: Position | None, ends: Mapping[Stream, Bounds]) -> str:
    return f"{stream} at {'its beginning' if position is None else position} of {ends[stream].end}"


class Outlook:
    """Asks the source for its ends on the pool, now and then, and tells how each lane stands."""

    def __init__(
        self,
        extent: Extent,
        pool: Executor,
        observer: Observer,
        *,
        every_seconds: float,
        short_seconds_max: float,
        others_seconds_max: float,
    ) -> None:
        self._extent = extent
        self._pool = pool
        self._observer = observer
        self._every_seconds = every_seconds
        self._short_seconds_max = short_seconds_max
        self._looking: Future[Mapping[Stream, Bounds]] | None = None
        self._look_at = 0.0
        self._ask_at: dict[str, float] = {}
        self._asked: dict[str, _Question] = {}
        self._seen: Mapping[Stream, Bounds] | None = None
        self._short_since: dict[Stream, float] = {}
        self._standstill = Standstill(observer, others_seconds_max)

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
        if self._looking is None and now >= self._look_at:
            streams = {stream for flow in flows for stream in flow.lanes}.union(ends)
            if streams:
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

    def others(self, route: Route, streams: Collection[Stream], ends: Mapping[Stream, Bounds], now: float) -> Others:
        """Whether the sink holds these streams up to their ends, whoever landed them. Asked on the pool, once a second.

        An answer counts for the moment of its question and for the streams that were asked about: what has come to us or gone to others
        since is asked about again.
        """
        asked = self._asked.get(route.name)
        if asked is None:
            if now >= self._ask_at.get(route.name, 0.0):
                self._ask_at[route.name] = now + _ASK_SECONDS
                answer = self._pool.submit(lambda: route.sink.positions(tuple(streams)))
                self._asked[route.name] = _Question(frozenset(streams), now, answer)
            return Others(landed=False)
        if not asked.answer.done():
            return Others(landed=False)
        del self._asked[route.name]
        try:
            answered = asked.answer.result()
        except Unavailable as error:
            return self._unanswered(route, streams, ends, error, now)
        positions = {stream: position for stream, position in answered.items() if stream in streams}
        halts = {stream: position for stream, position in positions.items() if isinstance(position, Halt)}
        known = {stream: position for stream, position in positions.items() if not isinstance(position, Halt)}
        waiting = {stream: position for stream, position in known.items() if _is_owed(position, ends[stream])}
        given_up = self._standstill.judge(route.name, waiting, ends, asked.asked_at)
        halts |= {stream: _held(_place(stream, waiting[stream], ends), seconds) for stream, seconds in given_up.items()}
        return Others(landed=asked.streams.issuperset(streams) and given_up.keys() >= waiting.keys(), halts=halts)

    def _unanswered(
        self, route: Route, streams: Collection[Stream], ends: Mapping[Stream, Bounds], error: Unavailable, now: float
    ) -> Others:
        """The sink does not say: nothing is known to move, and when that was so for too long the sink is the reason."""
        self._observer.notice(events.Notice(route.name, error.code, error.message))
        waiting = {stream: self._standstill.seen(stream) for stream in streams}
        given_up = self._standstill.judge(route.name, waiting, ends, now)
        halts = {stream: halt_of(error) for stream in given_up}
        return Others(landed=given_up.keys() >= waiting.keys(), halts=halts)
