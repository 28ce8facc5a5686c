"""A lane against a model of it: whatever is admitted, reached, handed out, cut, forgotten and placed, in any order."""

from __future__ import annotations

from array import array
from concurrent.futures import Future

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from landfast.core.batching import size_of
from landfast.core.breaker import Breaker, BreakerLimits
from landfast.core.lanes import Cut, Lane, LaneState
from landfast.core.pieces import Decoding, Raw
from landfast.core.verify import digest
from landfast.errors import Broken
from landfast.model import Bounds, Chunk, Halt, Position
from tests.core.strategies import STREAM

GAPS = st.lists(st.integers(0, 3), max_size=6)
LOG_END = 10_000


class LaneMachine(RuleBasedStateMachine):
    """The model knows which offsets wait, which of them were handed out, where the reader stands, and where the next cut must start."""

    @initialize(position=st.none() | st.integers(0, 20), stop_at=st.none() | st.integers(0, 60))
    def begin(self, position: Position | None, stop_at: Position | None) -> None:
        """A lane that is placed, in a bounded run or not."""
        self.lane = Lane(STREAM, Breaker(BreakerLimits()))
        self.stop_at = stop_at
        self.epoch = 0
        self.began: Position | None = None
        self.place(position)
        if stop_at is not None:
            self.lane.bound(Bounds(0, stop_at))

    @rule(position=st.none() | st.integers(0, 20))
    def place(self, position: Position | None) -> None:
        """Placed anew: whatever waited is forgotten; where nothing was ever landed the next cut is the first, and begins where it began."""
        self.epoch += 1
        self.lane.place(self.epoch, position, frozenset())
        self.placed, self.fresh = True, position is None
        self.waiting: list[int] = []
        self.handed: list[int] = []
        self.read_to = self.cut_to = self.began if position is None else position

    @rule()
    def unplace(self) -> None:
        """The position is not known any more."""
        self.lane.unplace()
        self.placed, self.waiting, self.handed = False, [], []
        self.read_to = self.cut_to = None

    @precondition(lambda self: self.placed)
    @rule(gaps=GAPS, behind=st.integers(0, 3), first=st.integers(0, 20))
    def admit(self, gaps: list[int], behind: int, first: int) -> None:
        """A chunk that goes on where the reader stands; what lies at or above the end of a bounded run is not taken."""
        start = first if self.read_to is None else self.read_to
        chunk = chunk_at(start, gaps, behind, self.epoch)
        whole = self.read_whole()
        self.lane.admit(chunk, 0.0)
        if whole:
            return
        end = chunk.end if self.stop_at is None else max(start, min(chunk.end, self.stop_at))
        self.began = start if self.read_to is None else self.began
        self.cut_to = start if self.cut_to is None else self.cut_to
        self.read_to = end
        self.waiting += [offset for offset in chunk.offsets if self.stop_at is None or offset < self.stop_at]

    @precondition(lambda self: self.placed and self.read_to is not None and not self.read_whole())
    @rule(off=st.sampled_from([-1, 1]))
    def refuse_what_does_not_tile(self, off: int) -> None:
        """A chunk that overlaps or leaves a hole breaks the run, and leaves the lane as it was."""
        assert self.read_to is not None
        with pytest.raises(Broken):
            self.lane.admit(chunk_at(self.read_to + off, [0], 0, self.epoch), 0.0)

    @precondition(lambda self: self.placed)
    @rule(over=st.integers(0, 5), first=st.integers(0, 20))
    def reach(self, over: int, first: int) -> None:
        """The reader stands behind a gap, or where it stood."""
        position = first if self.read_to is None else self.read_to + over
        self.lane.reach(position, 0.0)
        if self.stop_at is not None:
            position = min(position, self.stop_at)
        self.cut_to = position if self.cut_to is None else self.cut_to
        self.began = position if self.read_to is None else self.began
        self.read_to = position if self.read_to is None else max(self.read_to, position)

    @precondition(lambda self: self.placed)
    @rule(records=st.integers(1, 8), nbytes=st.integers(1, 12))
    def hand_out(self, records: int, nbytes: int) -> None:
        """What is handed out are the oldest records, in order; it stays in the lane's account until it is cut."""
        raw = self.lane.hand_out(records, nbytes, 0.0)
        taken = offsets_of(raw)
        assert taken == self.waiting[: len(taken)]
        assert len(taken) <= records
        # The bound in bytes is looked at before each chunk: a chunk has at most 6 records of at most 5 bytes.
        assert raw.nbytes - raw.records * 80 < nbytes + 30
        self.waiting = self.waiting[len(taken) :]
        self.handed += taken
        if taken:
            self.lane.decoding.append(Decoding(Future(), raw.nbytes, [(raw,)]))

    @precondition(lambda self: self.placed)
    @rule(room=st.integers(0, 8))
    def cut(self, room: int) -> None:
        """A cut starts where the last one ended, holds all that was handed out and the oldest records behind it, and no more than asked."""
        decoding = tuple(self.lane.decoding)
        cut = self.lane.cut(room, 0.0)
        if cut is None:
            assert self.handed == []
            assert self.waiting == [] or room == 0
            assert self.waiting or self.read_to is None or (self.read_to == self.cut_to and not self.fresh)
            return
        assert cut.decoding == decoding
        self.check_cut(cut, room)
        self.cut_to, self.fresh = cut.end, False
        self.waiting, self.handed = self.waiting[room:], []

    def check_cut(self, cut: Cut, room: int) -> None:
        """What a cut is, by the model."""
        rest = offsets_of(cut.rest)
        assert rest == self.waiting[:room]
        whole = self.handed + rest
        assert cut.records == len(whole)
        assert cut.digest == digest([chunk_at(0, [], 0, 0), *(chunk_of(offset) for offset in whole)])
        assert (cut.start, cut.first, cut.epoch) == (self.cut_to, self.fresh, self.epoch)
        assert all(cut.start <= offset < cut.end for offset in whole)
        behind = self.waiting[room:]
        assert cut.end <= behind[0] if behind else cut.end == self.read_to

    @rule()
    def halt(self) -> None:
        """A halted lane holds nothing."""
        self.lane.stop(Halt("CODE", "a reason", "a step"))
        assert self.lane.state is LaneState.HALTED
        self.placed, self.waiting, self.handed = False, [], []
        self.read_to = self.cut_to = None

    def read_whole(self) -> bool:
        """Whether a bounded run has read everything."""
        if self.stop_at is None:
            return False
        return self.lane.nothing_below if self.read_to is None else self.read_to >= self.stop_at

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        """Counts, bytes and places are those of the model, after every step."""
        if not hasattr(self, "lane"):
            return
        lane = self.lane
        assert [offset for chunk in lane.chunks for offset in chunk.offsets] == self.waiting
        assert (lane.loose, lane.records) == (len(self.waiting), len(self.handed) + len(self.waiting))
        assert lane.loose_nbytes == sum(len(b"%d" % offset) for offset in self.waiting)
        assert lane.nbytes == sum(len(b"%d" % offset) for offset in self.handed + self.waiting)
        assert (lane.read_to, lane.cut_to) == (self.read_to, self.cut_to)


def chunk_at(start: Position, gaps: list[int], behind: int, epoch: int) -> Chunk:
    """A chunk from `start` on, with so many missing offsets before each record and behind the last."""
    offsets = array("q")
    place = start
    for gap in gaps:
        offsets.append(place + gap)
        place += gap + 1
    values = [b"%d" % offset for offset in offsets]
    keys: list[bytes | None] = [None] * len(offsets)
    return Chunk(
        STREAM, epoch, start, place + behind, values, keys, None, offsets, array("q", [0] * len(offsets)), size_of(values, keys, None)
    )


def chunk_of(offset: int) -> Chunk:
    """The one record at this offset."""
    return chunk_at(offset, [0], 0, 0)


def offsets_of(raw: Raw) -> list[int]:
    """Where these records are."""
    return [offset for chunk in raw.chunks for offset in chunk.offsets]


LaneMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_a_lane_does_what_its_model_does = LaneMachine.TestCase
