"""Bugs of what decides: ownership, what is in flight, the order of landings, retries, and what the group is told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import pytest

from landfast.core import flight, landing
from landfast.core.flight import Flight, Landing
from landfast.core.flow import Flow
from landfast.core.landing import InFlight, Landed
from landfast.core.ledger import Ledger
from landfast.core.retry import Backoff
from landfast.core.runner import Runner
from landfast.errors import Conflict, LandfastError, Unavailable
from landfast.model import Assignment, Position, Receipt, Span, Stream
from landfast.ports import DeadLetters, Sink
from landfast.testing.memory import MemoryGroup, MemorySource
from tests.simulated.planting import Bed

BED = Bed()
plant = BED.plant

_land, _safe, _release, _dissolve, _settle = landing.land, Ledger.safe, Flow.release, Flow._dissolve, Ledger.settle  # noqa: SLF001
_rewind, _gain, _place, _flight_land = MemorySource.rewind, Flow.gain, Flow.place, Flight.land


@plant
def acknowledged_too_much(patch: pytest.MonkeyPatch) -> None:
    """The group is told one more than the sink holds."""

    def safe(ledger: Ledger, stream: Stream) -> Position | None:
        position = _safe(ledger, stream)
        return None if position is None else position + 1

    patch.setattr(Ledger, "safe", safe)


@plant
def acknowledged_when_read(patch: pytest.MonkeyPatch) -> None:
    """The group is told what was read, and not what has landed."""

    def acknowledge(runner: Runner) -> None:
        read = {stream: lane.read_to for flow in runner.flows for stream, lane in flow.lanes.items() if lane.read_to is not None}
        if read:
            runner._source.acknowledge(read)  # noqa: SLF001 - as the runner does

    patch.setattr(Runner, "_acknowledge", acknowledge)


@plant
def ledger_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """A span that has landed moves the ledger one too far."""

    def settle(ledger: Ledger, span: Span) -> None:
        _settle(ledger, span)
        ledger._positions[span.stream] = span.end + 1  # noqa: SLF001 - the number that is wrong

    patch.setattr(Ledger, "settle", settle)


@plant
def group_offset_trusted(patch: pytest.MonkeyPatch) -> None:
    """Reading goes on from what was acknowledged to the group, where there is something, and not from the sink's position."""

    def rewind(source: MemorySource, assignments: Mapping[Stream, Assignment]) -> None:
        told = {each.stream: each.position for each in source.group.acknowledged}
        _rewind(source, {stream: Assignment(told.get(stream, each.position), each.epoch) for stream, each in assignments.items()})

    patch.setattr(MemorySource, "rewind", rewind)


@plant
def rewind_unheard(patch: pytest.MonkeyPatch) -> None:
    """A rewind is heard, but the reader stays where it is."""
    patch.setattr(MemorySource, "rewind", lambda _source, _assignments: None)


@plant
def rewind_never_goes_back(patch: pytest.MonkeyPatch) -> None:
    """A reader that is ahead of the position it is sent to stays ahead."""

    def rewind(source: MemorySource, assignments: Mapping[Stream, Assignment]) -> None:
        for stream, each in assignments.items():
            reader = source._readers.get(stream)  # noqa: SLF001 - the reader that should move
            ahead = None if reader is None or each.position is None else max(reader.position, each.position)
            _rewind(source, {stream: Assignment(each.position if ahead is None else ahead, each.epoch)})

    patch.setattr(MemorySource, "rewind", rewind)


@plant
def placed_without_rewinding(patch: pytest.MonkeyPatch) -> None:
    """Every second time lanes are placed, the source does not hear of it."""
    calls = iter(range(10**9))

    def place(flow: Flow, now: float) -> dict[Stream, Assignment]:
        placed = _place(flow, now)
        return {} if placed and next(calls) % 2 else placed

    patch.setattr(Flow, "place", place)


@plant
def in_flight_kept(patch: pytest.MonkeyPatch) -> None:
    """What is in flight of a stream that has gone still lands, and its lane goes on."""
    patch.setattr(Flow, "_dissolve", lambda _flow, _group=(): None)


@plant
def released_without_a_dissolve(patch: pytest.MonkeyPatch) -> None:
    """A stream goes, and the batches that it shares with others stay in flight."""

    def release(flow: Flow, streams: Collection[Stream]) -> int:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Flow, "_dissolve", lambda _flow, _group=(): None)
            return _release(flow, streams)

    patch.setattr(Flow, "release", release)


@plant
def lanes_in_flight_go_on_after_a_dissolve(patch: pytest.MonkeyPatch) -> None:
    """A dissolve forgets what is in flight, and no lane is placed anew."""

    def dissolve(flow: Flow, group: Sequence[InFlight] = ()) -> None:
        flow._flight.dissolve()  # noqa: SLF001 - half of what the flow does

    patch.setattr(Flow, "_dissolve", dissolve)


@plant
def group_forgotten_at_a_conflict(patch: pytest.MonkeyPatch) -> None:
    """After a conflict the lanes of the batches that met it go on as if those had landed."""
    patch.setattr(Flow, "_dissolve", lambda flow, _group=(): _dissolve(flow))


@plant
def generation_ignored(patch: pytest.MonkeyPatch) -> None:
    """A commit that began before the lanes were placed anew is taken for one of theirs."""
    patch.setattr(Flight, "current", lambda _flight, _landing: True)


@plant
def batches_landed_backwards(patch: pytest.MonkeyPatch) -> None:
    """Batches that are ready together land in the wrong order."""

    def land(self: Flight, group: Sequence[InFlight]) -> None:
        _flight_land(self, tuple(reversed(group)))

    patch.setattr(Flight, "land", land)


@plant
def batch_taken_out_of_order(patch: pytest.MonkeyPatch) -> None:
    """A batch lands as soon as it is ready, also in front of an older one, which is forgotten."""

    def ready(self: Flight, landable: Callable[[InFlight], bool]) -> tuple[InFlight, ...]:
        return tuple(item for item in self._queue if landable(item))[:1]

    patch.setattr(Flight, "ready", ready)


@plant
def batch_forgotten_when_the_sink_is_away(patch: pytest.MonkeyPatch) -> None:
    """A batch whose commit failed for now is not tried again."""
    patch.setattr(Flight, "put_back", lambda _flight, _landing: None)


@plant
def batch_kept_twice_when_the_sink_is_away(patch: pytest.MonkeyPatch) -> None:
    """A batch whose commit failed for now is in the queue twice."""

    def put_back(self: Flight, failed: Landing) -> None:
        self._queue.extendleft(reversed(failed.group * 2))

    patch.setattr(Flight, "put_back", put_back)


@plant
def outage_taken_for_success(patch: pytest.MonkeyPatch) -> None:
    """A sink that does not answer is believed to have done what it was asked."""
    patch.setattr(flight, "land", _swallowing(Unavailable))


@plant
def conflict_taken_for_success(patch: pytest.MonkeyPatch) -> None:
    """A batch that somebody else has moved past is believed to be in the table."""
    patch.setattr(flight, "land", _swallowing(Conflict))


def _swallowing(kind: type[LandfastError]) -> Callable[[Sequence[InFlight], Sink, DeadLetters], Landed]:
    def land(group: Sequence[InFlight], sink: Sink, dead_letters: DeadLetters) -> Landed:
        try:
            return _land(group, sink, dead_letters)
        except kind:
            staged = [item.prepared.staged for item in group if item.prepared is not None]
            spans = tuple(span for each in staged for span in each.spans)
            return Landed(Receipt(spans, sum(each.rows for each in staged), 0, 0, 0, 0, already=False, seconds=0.0), ())

    return land


@plant
def wait_without_end(patch: pytest.MonkeyPatch) -> None:
    """Who failed once waits for ever before trying again."""
    patch.setattr(Backoff, "waiting", lambda backoff, _now: backoff.attempt > 0)


@plant
def a_stream_gained_is_not_placed(patch: pytest.MonkeyPatch) -> None:
    """A stream that comes back to the same worker is taken for one that it has."""
    seen: set[tuple[int, Stream]] = set()

    def gain(flow: Flow, streams: Collection[Stream]) -> None:
        _gain(flow, [stream for stream in streams if (id(flow), stream) not in seen])
        seen.update((id(flow), stream) for stream in streams)

    patch.setattr(Flow, "gain", gain)


@plant
def revoked_streams_never_given_up(patch: pytest.MonkeyPatch) -> None:
    """A member that gives a stream up does not tell the group."""

    def released(group: MemoryGroup, member: str, streams: Collection[Stream]) -> None:
        return None

    patch.setattr(MemoryGroup, "released", released)
