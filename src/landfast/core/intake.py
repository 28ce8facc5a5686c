"""The intake of a flow: what was read and not cut. It decodes ahead of the cut, and says when a batch is due and what is in it."""

from __future__ import annotations

from itertools import chain

from landfast import events
from landfast.core.batching import full
from landfast.core.lanes import Cut, Lane, LaneState
from landfast.core.pieces import Decoding, Raw, decode, shared_out
from landfast.core.prepare import Work
from landfast.core.route import Route, Surroundings
from landfast.model import Chunk, Stream


class Intake:
    """The lanes of a flow and what they hold. Owned by the main thread; nothing here waits."""

    def __init__(self, route: Route, surroundings: Surroundings) -> None:
        self.lanes: dict[Stream, Lane] = {}
        self._route = route
        self._limits = route.limits
        self._around = surroundings
        self._batches = 0
        self._records_max = route.limits.batch.records_max

    def admit(self, chunk: Chunk, now: float) -> None:
        """Take in a chunk; one of an older epoch, or of a lane that is not running, is dropped and counted."""
        lane = self.lanes.get(chunk.stream)
        if lane is None or lane.epoch != chunk.epoch or lane.state is not LaneState.RUNNING:
            self._around.observer.notice(events.StaleDropped(self._route.name, chunk.stream, len(chunk)))
            return
        lane.admit(chunk, now)
        self._around.observer.notice(events.RecordsRead(self._route.name, chunk.stream, len(chunk), chunk.nbytes, chunk.end))

    def narrow(self) -> None:
        """Cut half as much from now on: where records fail by chance, the more are read, the surer another one fails at each reading."""
        self._records_max = max(1, self._records_max // 2)

    def widen(self) -> None:
        """Something has landed: cut twice as much again, up to the limit."""
        self._records_max = min(2 * self._records_max, self._limits.batch.records_max)

    def decode_ahead(self) -> None:
        """Hand to the pool what makes whole pieces, as far as the next batch has room for them."""
        limits, records_max = self._limits.piece, self._records_max
        loose = [lane for lane in self.lanes.values() if lane.loose]
        room = records_max - sum(lane.handed for lane in self.lanes.values()) if loose else 0
        for lane in loose:
            while room > 0 and self._makes_a_piece(lane, room):
                raw = lane.hand_out(min(limits.records_max, room), limits.bytes_max, self._around.clock.now())
                lane.decoding.append(self._submit((raw,)))
                room -= raw.records

    def _makes_a_piece(self, lane: Lane, room: int) -> bool:
        """Whether a lane has enough that decoding it now, and not with what is still to come, costs nothing more."""
        limits = self._limits.piece
        return lane.loose >= min(limits.records_max, room) or (lane.loose > 0 and lane.loose_nbytes >= limits.bytes_max)

    def _submit(self, raws: tuple[Raw, ...]) -> Decoding:
        return decode(raws, self._route.decoder, self._around.pool)

    def due(self, now: float, *, drain: bool) -> bool:
        """Whether a batch should be cut: it is full, or old, or nothing more will come for a lane; `drain` says that it must not wait."""
        waiting = [lane for lane in self.lanes.values() if lane.uncut]
        if not waiting:
            return False
        return (
            drain
            or now - min(lane.waiting_since for lane in waiting) >= self._limits.batch.seconds_max
            or any(lane.state is LaneState.HALTING for lane in waiting)
            # Until it has landed, a start at the latest record would be a later one.
            or any(lane.fresh and not lane.records for lane in waiting)
            or all(lane.read_whole for lane in self.lanes.values() if lane.state is LaneState.RUNNING)
            or self.full
        )

    def cut(self) -> Work:
        """Cut one batch: all pieces that were handed out, and what else there is room for, the lane that has waited longest first."""
        now = self._around.clock.now()
        waiting = sorted((lane for lane in self.lanes.values() if lane.uncut), key=lambda lane: lane.waiting_since)
        # What was handed out is of this batch; `decode_ahead` sees to it that it never is too much.
        room = self._records_max - sum(lane.handed for lane in waiting)
        cuts: list[Cut] = []
        for lane in waiting:
            cut = lane.cut(room, now)
            if cut is not None:
                cuts.append(cut)
                room -= cut.rest.records
        groups = list(shared_out([cut.rest for cut in cuts if cut.rest.chunks], self._limits.piece.records_max))
        # The last group is decoded where the batch is staged: a small batch takes one turn, not two.
        elsewhere = [self._submit(group) for group in groups[:-1]]
        self._batches += 1
        decoding = (*chain.from_iterable(cut.decoding for cut in cuts), *elsewhere)
        return Work(self._batches, tuple(cuts), decoding, groups[-1] if groups else ())

    @property
    def full(self) -> bool:
        """Whether what waits fills a batch."""
        lanes = self.lanes.values()
        records, nbytes = sum(lane.records for lane in lanes), sum(lane.nbytes for lane in lanes)
        return records >= self._records_max or full(self._limits.batch, records, nbytes)

    @property
    def undecoded(self) -> int:
        """Calls of the pool that have still to decode something."""
        return sum(not part.done for lane in self.lanes.values() if lane.decoding for part in lane.decoding)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that all records take."""
        return sum(lane.held_nbytes for lane in self.lanes.values())
