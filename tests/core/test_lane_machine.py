"""A lane against a model of it: whatever is admitted, reached, cut, forgotten and placed, in any order."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from landfast.core.batching import size_of
from landfast.core.breaker import Breaker, BreakerLimits
from landfast.core.lanes import Lane, LaneState
from landfast.errors import Broken
from landfast.model import Bounds, Chunk, Cut, Halt, Position
from tests.core.strategies import STREAM

GAPS = st.lists(st.integers(0, 3), max_size=6)
LOG_END = 10_000


class LaneMachine(RuleBasedStateMachine):
    """The model knows which offsets wait, where the reader stands, and where the next cut must start."""

    @initialize(position=st.none() | st.integers(0, 20), stop_at=st.none() | st.integers(0, 60))
    def begin(self, position: Position | None, stop_at: Position | None) -> None:
        """A lane that is placed, in a bounded run or not."""
        self.lane = Lane(STREAM, Breaker(BreakerLimits()))
        self.stop_at = stop_at
        self.epoch = 0
        self.place(position)
        if stop_at is not None:
            self.lane.bound(Bounds(0, stop_at))

    @rule(position=st.none() | st.integers(0, 20))
    def place(self, position: Position | None) -> None:
        """Placed anew: whatever waited is forgotten, and where nothing was ever landed the next cut is the first."""
        self.epoch += 1
        self.lane.place(self.epoch, position, frozenset())
        self.placed, self.fresh = True, position is None
        self.waiting: list[int] = []
        self.read_to = self.cut_to = position

    @rule()
    def unplace(self) -> None:
        """The position is not known any more."""
        self.lane.unplace()
        self.placed, self.waiting = False, []
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
        self.read_to = position if self.read_to is None else max(self.read_to, position)

    @precondition(lambda self: self.placed)
    @rule(room=st.integers(1, 8))
    def cut(self, room: int) -> None:
        """A cut starts where the last one ended, holds the oldest records in order, and no more than there is room for."""
        cut = self.lane.cut(room)
        if cut is None:
            assert self.waiting == []
            assert self.read_to == self.cut_to
            assert self.read_to is None or not self.fresh
            return
        self.check_cut(cut, room)
        self.cut_to, self.fresh = cut.end, False
        self.waiting = self.waiting[room:]

    def check_cut(self, cut: Cut, room: int) -> None:
        """What a cut is, by the model."""
        taken = [offset for chunk in cut.chunks for offset in chunk.offsets]
        assert taken == self.waiting[:room]
        assert (cut.start, cut.first, cut.epoch) == (self.cut_to, self.fresh, self.epoch)
        assert all(cut.start <= offset < cut.end for offset in taken)
        rest = self.waiting[room:]
        assert cut.end <= rest[0] if rest else cut.end == self.read_to

    @rule()
    def halt(self) -> None:
        """A halted lane holds nothing."""
        self.lane.stop(Halt("CODE", "a reason", "a step"))
        assert self.lane.state is LaneState.HALTED
        self.placed, self.waiting = False, []
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
        assert lane.records == len(self.waiting)
        assert lane.nbytes == sum(size_of(chunk.values, chunk.keys, chunk.headers) for chunk in lane.chunks)
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


LaneMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_a_lane_does_what_its_model_does = LaneMachine.TestCase
