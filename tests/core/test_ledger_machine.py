"""The ledger against a model of it: whatever is opened, settled, counted late and closed, in any order."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from landfast.core.ledger import Ledger, total
from landfast.errors import Broken
from landfast.model import Position, Span, Stream

STREAMS = st.sampled_from([Stream("t", "id-1", 0), Stream("t", "id-1", 1), Stream("t", "id-2", 0)])
COUNTS = st.tuples(*[st.integers(0, 4)] * 4)


def span_at(stream: Stream, start: Position, counts: tuple[int, ...], *, first: bool) -> Span:
    """A balanced span; the last count is a gap behind its records."""
    written, dead, skipped, gap = counts
    read = written + dead + skipped
    return Span(stream, start, start + read + gap, read, written, dead, {"tombstone": skipped} if skipped else {}, "digest", first)


class LedgerMachine(RuleBasedStateMachine):
    """The model keeps a position for each open stream, and one equation for all that ever landed."""

    @initialize()
    def begin(self) -> None:
        """An empty ledger."""
        self.ledger = Ledger()
        self.positions: dict[Stream, Position | None] = {}
        self.written = self.dead = self.skipped = 0

    @rule(stream=STREAMS, position=st.none() | st.integers(0, 20))
    def open(self, stream: Stream, position: Position | None) -> None:
        """The sink's word replaces whatever was believed."""
        self.ledger.open(stream, position)
        self.positions[stream] = position

    @rule(stream=STREAMS)
    def close(self, stream: Stream) -> None:
        """The stream is no longer ours."""
        self.ledger.close(stream)
        self.positions.pop(stream, None)

    @rule(stream=STREAMS, counts=COUNTS)
    def settle(self, stream: Stream, counts: tuple[int, ...]) -> None:
        """A span that goes on where the stream stands moves it to its end; of a stream that is not ours it is refused."""
        position = self.positions.get(stream)
        span = span_at(stream, 0 if position is None else position, counts, first=position is None)
        if stream not in self.positions:
            with pytest.raises(Broken):
                self.ledger.settle(span)
            return
        self.ledger.settle(span)
        self.positions[stream] = span.end
        self.add(span)

    @rule(stream=STREAMS, counts=COUNTS, off=st.sampled_from([-1, 1]))
    def settle_elsewhere(self, stream: Stream, counts: tuple[int, ...], off: int) -> None:
        """A span that overlaps or leaves a hole, or is first where it is not, is refused and changes nothing."""
        position = self.positions.get(stream)
        wrong = span_at(stream, 7, counts, first=False) if position is None else span_at(stream, position + off, counts, first=False)
        with pytest.raises(Broken):
            self.ledger.settle(wrong)
        if position is not None:
            with pytest.raises(Broken):
                self.ledger.settle(span_at(stream, position, counts, first=True))

    @rule(stream=STREAMS, counts=COUNTS)
    def count_late(self, stream: Stream, counts: tuple[int, ...]) -> None:
        """What landed after its stream was let go counts, and moves no position."""
        span = span_at(stream, 0, counts, first=True)
        self.ledger.count(span)
        self.add(span)

    def add(self, span: Span) -> None:
        """Add a span to the model's equation."""
        self.written += span.written
        self.dead += span.dead
        self.skipped += sum(span.skipped.values())

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Positions and totals are the model's, and the equation holds, after every step."""
        if not hasattr(self, "ledger"):
            return
        for stream in (Stream("t", "id-1", 0), Stream("t", "id-1", 1), Stream("t", "id-2", 0)):
            assert self.ledger.safe(stream) == self.positions.get(stream)
        sums = total(self.ledger.totals().values())
        assert (sums.written, sums.dead, sum(sums.skipped.values())) == (self.written, self.dead, self.skipped)
        assert sums.holds


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_a_ledger_does_what_its_model_does = LedgerMachine.TestCase
