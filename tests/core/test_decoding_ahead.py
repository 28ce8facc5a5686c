"""Pieces are decoded while their batch fills: what that may cost, and what it must never change."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import pytest

from landfast.core.batching import BatchLimits, size_of
from landfast.core.flow import Flow
from landfast.core.pieces import PieceLimits, Raw, decode, shared_out
from landfast.core.report import Outcome
from landfast.core.route import FlowLimits, Surroundings
from landfast.errors import Broken, Refusal, Rejected
from landfast.model import Batch, Chunk, Decoded, Poll, Staged, Stream
from landfast.ports import Decoder
from landfast.testing.clock import ManualClock
from landfast.testing.executor import InlineExecutor, SteppedExecutor
from landfast.testing.memory import CountingDecoder, LineDecoder, ListRows, MemorySink, RecordingObserver
from tests.core.rig import Rig

BATCH = 20
PIECE = 4
PIECES_MAX = 3


class Desk:
    """One flow over a table in memory, whose lanes are placed, with a pool that works only when it is told to."""

    def __init__(
        self, decoder: Decoder | None = None, piece: PieceLimits | None = None, partitions: int = 2, memory_bytes_max: int = 1_000_000
    ) -> None:
        pieces = piece or PieceLimits(records_max=PIECE, waiting_max=PIECES_MAX)
        self.rig = Rig(partitions=partitions, limits=FlowLimits(batch=BatchLimits(records_max=BATCH), piece=pieces))
        self.pool = SteppedExecutor()
        self.counted = CountingDecoder(decoder or LineDecoder())
        epochs = iter(range(1, 100))
        around = Surroundings(
            ManualClock(), self.pool, InlineExecutor(), RecordingObserver(), lambda: 0.5, lambda: next(epochs), memory_bytes_max
        )
        self.flow = Flow(self.rig.route(decoder=self.counted), around)
        self.flow.gain(self.rig.streams)
        self.flow.place(0.0)
        self.epochs = {stream: one.epoch for stream, one in self.flow.place(0.0).items()}
        self._read = dict.fromkeys(self.rig.streams, 0)

    def read(self, count: int, partition: int = 0, size: int = 10) -> None:
        """One poll that brings so many records of one stream."""
        stream = self.rig.streams[partition]
        start = self._read[stream]
        self._read[stream] += count
        chunk = chunk_of(stream, self.epochs[stream], start, count, size)
        self.flow.take(Poll([chunk], confirmed={stream: chunk.end}), 0.0)

    def work(self) -> None:
        """Let the pool do all that it was given, and the flow look at it, until nothing is left to do."""
        while self.pool.waiting or self.flow.at_work:
            self.pool.run_all()
            self.flow.turn(0.0)


def chunk_of(stream: Stream, epoch: int, start: int, count: int, size: int = 10) -> Chunk:
    """Numbered lines of so many bytes."""
    offsets = array("q", range(start, start + count))
    values = [b"%d" % offset + b"." * (size - len(str(offset))) for offset in offsets]
    keys: list[bytes | None] = [None] * count
    times = array("q", [0] * count)
    return Chunk(stream, epoch, start, start + count, values, keys, None, offsets, times, size_of(values, keys, None))


def test_a_piece_is_decoded_before_its_batch_is_full() -> None:
    """The cores do not wait for the cut; what does not fill a piece waits for more."""
    desk = Desk()
    desk.read(2 * PIECE + 1)
    desk.work()
    assert desk.counted.records == 2 * PIECE
    assert not desk.rig.table.rows


def test_nothing_is_decoded_twice_and_all_of_it_lands_in_order() -> None:
    """The batch takes what was decoded, and decodes only what is left."""
    desk = Desk()
    for _ in range(5):
        desk.read(3, partition=0)
        desk.read(5, partition=1)
        desk.flow.turn(0.0)
    desk.flow.turn(0.0, drain=True)
    desk.work()
    desk.flow.turn(0.0)
    assert desk.counted.records == 40
    assert desk.rig.landed(desk.rig.streams[0]) == list(range(15))
    assert desk.rig.landed(desk.rig.streams[1]) == list(range(25))
    assert not desk.flow.busy()


def test_no_more_is_handed_out_than_fits_the_batch() -> None:
    """A batch takes all that was handed out for it, so that must never be more than a batch may hold."""
    desk = Desk(piece=PieceLimits(records_max=15, waiting_max=PIECES_MAX))
    desk.read(19, partition=0)
    desk.read(19, partition=1)
    desk.work()
    assert desk.counted.records <= BATCH
    desk.flow.turn(0.0)
    desk.work()
    assert len(desk.rig.table.rows) == BATCH


def test_the_reader_waits_for_the_decoders() -> None:
    """Records that nobody has decoded are what costs memory: their number is bounded, and one decoded piece lets the reader go on."""
    desk = Desk()
    desk.read(PIECE * (PIECES_MAX - 1))
    assert desk.flow.held() == set()
    desk.read(PIECE)
    assert desk.flow.held() == set(desk.rig.streams)
    desk.pool.step(0)
    desk.pool.step(0)
    assert desk.flow.held() == set()


def test_large_records_make_small_pieces() -> None:
    """A piece is bounded in bytes as well; the bound is looked at between the chunks that came in."""
    desk = Desk(piece=PieceLimits(records_max=BATCH, bytes_max=100, waiting_max=PIECES_MAX))
    desk.read(2, size=60)
    desk.read(1, size=60)
    desk.pool.run_all()
    assert desk.counted.records == 2


def test_decoded_records_take_no_more_memory_than_their_rows() -> None:
    """The bytes are let go as soon as they are decoded, long before the batch lands."""
    desk = Desk(decoder=Forgetful())
    desk.read(3 * PIECE, size=1000)
    before = desk.flow.nbytes
    desk.pool.run_all()
    assert before > 3 * PIECE * 1000
    assert desk.flow.nbytes < before / 10


def test_memory_of_what_cannot_be_decoded_is_counted_as_it_was_read() -> None:
    """A piece that failed, or was called off, still holds its records."""
    stream = Stream("t", "id", 0)
    raw = Raw(stream, (chunk_of(stream, 1, 0, 3),))
    failed, dropped, pool = SteppedExecutor(), SteppedExecutor(), SteppedExecutor()
    parts = [decode((raw,), Losing(), one) for one in (failed, dropped, pool)]
    failed.run_all()
    dropped.close()
    assert [part.nbytes for part in parts] == [raw.nbytes] * 3
    assert [part.done for part in parts] == [True, True, False]


def test_a_decoder_that_loses_a_record_breaks_the_flow() -> None:
    """What was decoded ahead is checked like the rest."""
    desk = Desk(decoder=Losing())
    desk.read(BATCH)
    desk.flow.turn(0.0)
    with pytest.raises(Broken, match="a decoder made"):
        desk.work()


def test_a_lane_that_goes_takes_what_was_decoded_of_it_along() -> None:
    """Its successor reads it again; nothing of it lands here."""
    desk = Desk()
    desk.read(PIECE)
    desk.read(PIECE, partition=1)
    desk.pool.run_all()
    assert desk.flow.release([desk.rig.streams[0]]) == PIECE
    desk.flow.turn(0.0, drain=True)
    desk.work()
    desk.flow.turn(0.0)
    assert desk.rig.landed(desk.rig.streams[0]) == []
    assert desk.rig.landed(desk.rig.streams[1]) == list(range(PIECE))


@pytest.mark.parametrize("records", [PIECE, BATCH])
def test_pieces_that_nobody_wants_any_more_are_called_off(records: int) -> None:
    """Lanes that go, before their batch is cut or after it, leave no work and no records behind in the pool."""
    desk = Desk()
    desk.read(records)
    parts = list(desk.flow.lanes[desk.rig.streams[0]].decoding)
    desk.flow.turn(0.0)
    desk.flow.release(desk.rig.streams)
    assert parts
    assert all(part.pieces.cancelled() and not part.raw for part in parts)
    desk.pool.run_all()
    assert desk.counted.records == 0


def test_a_piece_that_is_being_decoded_is_let_be() -> None:
    """It cannot be called off any more, and nobody looks at it."""
    desk = Desk(decoder=Dropping(lambda: desk.flow.release(desk.rig.streams)))
    desk.read(PIECE)
    desk.pool.run_all()
    assert desk.counted.records == PIECE
    assert not desk.flow.busy()


def test_many_small_lanes_share_the_work_of_a_few_calls() -> None:
    """What is left of each lane at a cut is decoded in groups, and the last group where the batch is staged."""
    desk = Desk(partitions=6)
    for partition in range(6):
        desk.read(PIECE - 1, partition=partition)
    desk.flow.turn(0.0, drain=True)
    assert desk.pool.waiting == 5
    assert desk.flow.at_work
    desk.work()
    desk.flow.turn(0.0)
    assert len(desk.rig.table.rows) == 6 * (PIECE - 1)


def test_groups_are_as_large_as_they_may_be() -> None:
    """In order, whole, and one that is too large by itself stays as it is."""
    stream = Stream("t", "id", 0)
    raws = [Raw(stream, (chunk_of(stream, 1, 0, count),)) for count in (2, 2, 3, 9, 1)]
    assert [[raw.records for raw in group] for group in shared_out(raws, 5)] == [[2, 2], [3], [9], [1]]
    assert list(shared_out([], 5)) == []


def test_a_sink_that_refuses_the_same_rows_again_is_stopped() -> None:
    """What was refused is left out when it is read again: a sink that still names it would have us read for ever."""
    rig = Rig(partitions=1)
    rig.produce(BATCH)
    report = rig.land(rig.route(sink=Stubborn(rig.table)))
    assert report.outcome is Outcome.BROKEN
    assert report.error is not None
    assert "without naming a new row" in report.error.message
    assert not rig.table.rows


class Forgetful:
    """A decoder whose rows take nearly nothing."""

    def decode(self, chunk: Chunk) -> Decoded:
        """One small row per record."""
        return Decoded(chunk, ListRows((None,) * len(chunk)))


class Dropping:
    """A decoder in the middle of which something happens."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self._happens = happens

    def decode(self, chunk: Chunk) -> Decoded:
        """Let it happen, then decode."""
        self._happens()
        return LineDecoder().decode(chunk)


class Losing:
    """A decoder that loses the last record."""

    def decode(self, chunk: Chunk) -> Decoded:
        """One row too few."""
        return Decoded(chunk, ListRows((None,) * (len(chunk) - 1)))


class Stubborn(MemorySink):
    """A sink that refuses the first record whatever it is given."""

    def stage(self, batch: Batch) -> Staged:
        """Refuse."""
        refusal = Refusal(batch.spans[0].stream, 0, "odd", "the sink does not like it")
        raise Rejected("ROWS_REFUSED", "1 row cannot land", refusals=[refusal], next_step="Look at the dead letters.")
