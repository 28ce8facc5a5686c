"""A lane: what the engine holds for one stream between reading a record and cutting it into a batch."""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from landfast.core.batching import RECORD_OVERHEAD_BYTES, below, part
from landfast.core.breaker import Breaker
from landfast.core.held import Held
from landfast.core.pieces import Decoding, Raw
from landfast.core.verify import Digest
from landfast.errors import Refusal, check
from landfast.model import Bounds, Chunk, Halt, Position, Stream


class LaneState(enum.Enum):
    """What a lane does.

    UNPLACED: it is ours, and the position to read from has still to be asked of the sink. HALTING: it takes no more, and halts once what it
    took has landed. RELEASED: it is not ours any more.
    """

    UNPLACED = "unplaced"
    RUNNING = "running"
    HALTING = "halting"
    HALTED = "halted"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Cut:
    """A range of one stream taken out of its lane, with the digest of all its records.

    first     as in `Span`
    decoding  pieces of it that were handed out before, in order
    rest      the records behind those
    """

    stream: Stream
    epoch: int
    start: Position
    end: Position
    first: bool
    records: int
    nbytes: int
    digest: str
    decoding: tuple[Decoding, ...]
    rest: Raw


@dataclass(slots=True)
class Lane:
    """One stream of one assignment; owned by the main thread.

    epoch      of the last placement; what carries another one is stale
    fresh      the sink has no position, and nothing was cut yet
    began      where the source began it, of a stream that the sink has never seen: read again, it begins there, and nowhere later
    read_to    where the reader stands: the end of the last chunk, or beyond it over a gap; None until the source said
    cut_to     where the next cut starts
    confirmed  below this, the source vouches for the incarnation
    again_to   up to here it had been read when it was unplaced, and `forgotten` are the records that had not landed then
    stop_at    the end of a bounded run, or None; `nothing_below`: the stream held nothing when it began
    buried     offsets that are dead already, from before a crash
    refused    offsets that the sink refused, to be dead letters when they are read again
    held       which keys wait, where letters are tried again; what is in flight and handed out was cut under the same, or one alike
    learned    keys that wait by what was read of them and has not landed, and from where
    waits      letters that wait to be tried again
    chunks     read and not handed out: `loose` records of `loose_nbytes`
    decoding   handed out to be decoded since the last cut, up to `handed_to`; `digest` covers them
    records    all that was read and not cut, handed out or loose; `nbytes` as it was read
    """

    stream: Stream
    breaker: Breaker
    epoch: int = 0
    state: LaneState = LaneState.UNPLACED
    fresh: bool = False
    began: Position | None = None
    read_to: Position | None = None
    cut_to: Position | None = None
    confirmed: Position = -1
    again_to: Position | None = None
    forgotten: int = 0
    stop_at: Position | None = None
    nothing_below: bool = False
    halt: Halt | None = None
    buried: frozenset[int] = frozenset()
    refused: Mapping[int, Refusal] = field(default_factory=dict)
    held: Held | None = None
    learned: Mapping[bytes, Position] = field(default_factory=dict)
    waits: int = 0
    chunks: deque[Chunk] = field(default_factory=deque)
    decoding: list[Decoding] = field(default_factory=list)
    handed_to: Position | None = None
    digest: Digest = field(default_factory=Digest)
    loose: int = 0
    loose_nbytes: int = 0
    records: int = 0
    nbytes: int = 0
    waiting_since: float = 0.0

    def place(self, epoch: int, position: Position | None, buried: frozenset[int]) -> None:
        """Begin at the sink's position under a new epoch; whatever was held is forgotten."""
        self.forget()
        self.epoch = epoch
        self.state = LaneState.RUNNING
        self.fresh = position is None
        self.read_to = self.cut_to = self.began if self.fresh else position
        self.confirmed = -1
        self.buried = buried
        self.refused = {offset: refusal for offset, refusal in self.refused.items() if position is None or offset >= position}
        self.learned = {key: offset for key, offset in self.learned.items() if position is None or offset >= position}
        self.breaker = Breaker(self.breaker.limits)  # What is read again must not count twice.

    def bound(self, bounds: Bounds) -> None:
        """Stop at the end of these bounds."""
        self.stop_at = bounds.end
        self.nothing_below = bounds.first >= bounds.end

    def forget(self) -> None:
        """Drop what was read and not cut."""
        for pieces in self.decoding:
            pieces.drop()
        self.chunks.clear()
        self._begin_cut(None)
        self.loose = self.loose_nbytes = self.records = self.nbytes = 0

    def unplace(self, in_flight: int = 0) -> None:
        """The position is not known any more: ask the sink, then `place`. So many records in flight are forgotten with what was not cut."""
        if self.read_to is not None:
            self.forgotten = self.unlanded(in_flight)
            self.again_to = max(self.read_to, self.again_to or 0)
        self.forget()
        self.state = LaneState.UNPLACED
        self.halt = None
        self.read_to = None

    def end(self, halt: Halt) -> None:
        """Take no more, and halt when what was taken has landed."""
        self.state = LaneState.HALTING
        self.halt = halt

    def stop(self, halt: Halt) -> None:
        """Halt: forget what was not cut and take no more."""
        self.unplace()
        self.state = LaneState.HALTED
        self.halt = halt

    def admit(self, chunk: Chunk, now: float) -> None:
        """Take in a chunk of the current epoch.

        Raises:
            Broken: it does not continue where the last one ended, or its offsets do not grow inside its range.
        """
        if self.read_whole:
            return
        self._begin_waiting(now)
        if self.read_to is None:
            self.began = self.read_to = self.cut_to = chunk.start
        check(chunk.start == self.read_to, f"a chunk starts at {chunk.start}", stream=self.stream, position=self.read_to)
        inside = len(chunk) == 0 or chunk.start <= chunk.offsets[0] <= chunk.offsets[-1] < chunk.end
        check(inside, f"offsets leave the chunk's range {chunk.start} to {chunk.end}", stream=self.stream, position=chunk.start)
        if self.stop_at is not None:
            chunk = below(chunk, self.stop_at)
        self.chunks.append(chunk)
        self.loose += len(chunk)
        self.loose_nbytes += chunk.nbytes
        self.records += len(chunk)
        self.nbytes += chunk.nbytes
        self.read_to = chunk.end

    def reach(self, position: Position, now: float) -> None:
        """The source stands at `position` with nothing more to read: a gap behind the last record, or an empty stream."""
        if self.stop_at is not None:
            position = min(position, self.stop_at)
        if self.read_to is None:
            self._begin_waiting(now)
            self.began = self.read_to = self.cut_to = position
        elif position > self.read_to:
            self._begin_waiting(now)
            self.read_to = position

    @property
    def reading_again(self) -> bool:
        """Whether it was read further than it is now: what lies between was ours to land."""
        going = self.state is LaneState.UNPLACED or self.state is LaneState.RUNNING
        return going and self.again_to is not None and (self.read_to is None or self.read_to < self.again_to)

    def unlanded(self, in_flight: int) -> int:
        """Records that were read and have not landed, with those of it that are in flight."""
        return max(self.records + in_flight, self.forgotten if self.reading_again or self.state is LaneState.HALTED else 0)

    def _begin_waiting(self, now: float) -> None:
        if not self.uncut:
            self.waiting_since = now

    @property
    def going(self) -> bool:
        """Whether it takes records, or has still to land some that it took."""
        return self.state is LaneState.RUNNING or self.state is LaneState.HALTING

    @property
    def reads(self) -> bool:
        """Whether it wants records."""
        return self.state is LaneState.RUNNING and not self.read_whole

    @property
    def uncut(self) -> bool:
        """Whether anything was read and not cut: records, a gap, or the place where a stream begins that the sink has never seen.

        That place is landed too, without a record: a run that starts at the latest record and dies must not start at a later one.
        """
        return self.read_to is not None and (self.fresh or self.read_to != self.cut_to)

    @property
    def read_whole(self) -> bool:
        """Whether a bounded run has read this lane to its end."""
        if self.stop_at is None or self.state is LaneState.UNPLACED:
            return False
        return self.nothing_below if self.read_to is None else self.read_to >= self.stop_at

    @property
    def held_nbytes(self) -> int:
        """Bytes of memory that its records take, as they were read or decoded, with what the columns cost beside the records' own bytes."""
        loose = self.loose_nbytes + self.loose * RECORD_OVERHEAD_BYTES
        return loose + sum(part.nbytes for part in self.decoding) if self.decoding else loose

    @property
    def handed(self) -> int:
        """Records handed out to be decoded and not cut."""
        return self.records - self.loose

    def hand_out(self, records_max: int, bytes_max: float, now: float) -> Raw:
        """Take out the oldest records to be decoded: at most `records_max`, and not much more than `bytes_max`."""
        taken: list[Chunk] = []
        records = nbytes = 0
        while self.chunks and nbytes < bytes_max and records + len(self.chunks[0]) <= records_max:
            taken.append(self.chunks.popleft())
            records += len(taken[-1])
            nbytes += taken[-1].nbytes
        if self.chunks and nbytes < bytes_max and records < records_max:
            chunk, room = self.chunks.popleft(), records_max - records
            taken.append(part(chunk, 0, room))
            self.chunks.appendleft(part(chunk, room, len(chunk)))
            records = records_max
        if taken:
            self.handed_to = taken[-1].end
        with_records = tuple(chunk for chunk in taken if len(chunk))
        for chunk in with_records:
            self.digest.update(chunk)
        self.loose -= records
        self.loose_nbytes -= sum(chunk.nbytes for chunk in taken)
        return Raw(self.stream, with_records, self.buried, self.refused, now, self.held)

    def cut(self, room: int, now: float) -> Cut | None:
        """Take out what was handed out, and of the records behind it at most `room`; None where nothing waits, or there is no room."""
        if not self.uncut or self.cut_to is None or self.read_to is None:
            return None
        rest = self.hand_out(room, math.inf, now)
        # Where nothing stays behind, the cut also takes the gap that the reader has stepped over.
        end = self.handed_to if self.chunks else self.read_to
        if end is None:
            return None
        cut = Cut(
            stream=self.stream,
            epoch=self.epoch,
            start=self.cut_to,
            end=end,
            first=self.fresh,
            records=self.handed,
            nbytes=self.nbytes - self.loose_nbytes,
            digest=self.digest.text(),
            decoding=tuple(self.decoding),
            rest=rest,
        )
        # Only the batch that starts from nothing is `first`; those behind it start from that one's end.
        self.fresh = False
        self._begin_cut(end)
        self.records, self.nbytes = self.loose, self.loose_nbytes
        return cut

    def _begin_cut(self, position: Position | None) -> None:
        """What is handed out from here on is of the next cut."""
        self.cut_to, self.handed_to = position, None
        self.decoding = []
        self.digest = Digest()
