"""Pieces: short runs of records of one stream on their way from bytes to rows, decoded on a pool ahead of the cut that takes them.

Decoding ahead keeps all cores at work while a batch fills, and lets go of the records' bytes early: what waits for a cut waits as columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from landfast.core.batching import RECORD_OVERHEAD_BYTES, bare, joined, size_of, without
from landfast.core.held import WAIT_PHASE, Held
from landfast.core.verify import check_decoded
from landfast.errors import Refusal
from landfast.model import Chunk, Decoded, Letter, Reject, Stream
from landfast.ports import Decoder, Executor

_PLACE_BYTES = 16
"""What a record still takes when it is decoded: its offset and its time."""


@dataclass(frozen=True, slots=True)
class PieceLimits:
    """How much is decoded at a time, and how far the reader may be ahead of the decoders.

    records_max, bytes_max  of one piece: more costs cache misses, fewer cost calls; a chunk is split by records only, so that a piece may
                            exceed its bytes by those of one poll
    waiting_max             calls of the pool that a flow waits for; while there are more, its streams are held
    """

    records_max: int = 8_192
    bytes_max: int = 8 * 1024 * 1024
    waiting_max: int = 8


@dataclass(frozen=True, slots=True)
class Raw:
    """Records of one stream as they were read, and which of them are dead whatever a decoder says.

    buried   dead from before a crash: their letters are there already
    refused  refused by the sink when they were read before: they become letters now
    held     which keys wait, and which letters are to be tried again; None: no letter is, and nothing waits
    """

    stream: Stream
    chunks: tuple[Chunk, ...]
    buried: frozenset[int] = frozenset()
    refused: Mapping[int, Refusal] = field(default_factory=dict)
    failed_at: float = 0.0
    held: Held | None = None

    @property
    def records(self) -> int:
        """How many records."""
        return sum(map(len, self.chunks))

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(chunk.nbytes for chunk in self.chunks) + self.records * RECORD_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Piece:
    """Records of one stream, decoded and accounted for. Their bytes are gone: what they held is in the rows or in a letter.

    read     how many records
    dead     how many of them are dead, now or from before
    letters  for those that die now
    dying    their ordinals in the piece, for the breaker: those buried before do not count again, and those that only wait never do
    nbytes   bytes of memory: asked for in every turn, so it is counted once
    """

    stream: Stream
    read: int
    dead: int
    decoded: Decoded
    letters: tuple[Letter, ...]
    dying: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True, slots=True)
class Decoding:
    """Pieces that one call of a pool decodes, or has decoded.

    raw  holds the records until the call begins
    """

    pieces: Future[tuple[Piece, ...]]
    raw_nbytes: int
    raw: list[tuple[Raw, ...]]

    @property
    def done(self) -> bool:
        """Whether nothing is left to decode."""
        return self.pieces.done()

    def drop(self) -> None:
        """Nobody wants these any more: a call that has not begun never does, and the records are let go at once."""
        if self.pieces.cancel():
            self.raw.clear()

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        if not self.pieces.done() or self.pieces.cancelled() or self.pieces.exception() is not None:
            return self.raw_nbytes
        return sum(piece.nbytes for piece in self.pieces.result())


def decode(raws: tuple[Raw, ...], decoder: Decoder, pool: Executor) -> Decoding:
    """Have a pool decode these."""
    raw = [raws]
    return Decoding(pool.submit(lambda: decoded(raw.pop(), decoder)), sum(each.nbytes for each in raws), raw)


def decoded(raws: Sequence[Raw], decoder: Decoder) -> tuple[Piece, ...]:
    """Decode each of these and account for every record. No state outlives the call.

    Raises:
        Broken: the decoder lost or doubled a record.
    """
    return tuple(_piece(raw, decoder) for raw in raws)


def shared_out(raws: Sequence[Raw], records_max: int) -> Iterator[tuple[Raw, ...]]:
    """The same in order, in groups of at most so many records where one alone does not have more: one group is work for one thread."""
    group: list[Raw] = []
    records = 0
    for raw in raws:
        if group and records + raw.records > records_max:
            yield tuple(group)
            group, records = [], 0
        group.append(raw)
        records += raw.records
    if group:
        yield tuple(group)


def _piece(raw: Raw, decoder: Decoder) -> Piece:
    whole = joined(raw.chunks)
    refused = raw.refused if raw.held is None else {**raw.refused, **raw.held.behind(whole)}
    leave_out = raw.buried | refused.keys()
    chunk = without(whole, leave_out) if leave_out else whole
    made = decoder.decode(chunk)
    check_decoded(made)
    letters = [_letter(chunk, reject.index, reject, raw) for reject in made.rejects]
    if refused:
        letters += [
            _letter(whole, index, refused[offset], raw, refused[offset].attempts)
            for index, offset in enumerate(whole.offsets)
            if offset in refused and offset not in raw.buried
        ]
    dying = {letter.offset for letter in letters if letter.phase != WAIT_PHASE}
    ordinals = tuple(index for index, offset in enumerate(whole.offsets) if offset in dying) if dying else ()
    # Records left out before decoding are dead: they are the difference between the whole chunk and what was decoded.
    dead = len(made.rejects) + len(whole) - len(chunk)
    kept = Decoded(bare(made.chunk), made.rows, made.kept, made.rejects, made.skips)
    return Piece(raw.stream, len(whole), dead, kept, tuple(letters), ordinals, _nbytes(kept, letters))


def _nbytes(made: Decoded, letters: Sequence[Letter]) -> int:
    places = len(made.chunk) * _PLACE_BYTES
    return made.rows.nbytes + places + sum(size_of_letter(letter) for letter in letters)


def size_of_letter(letter: Letter) -> int:
    """Bytes of memory that a letter takes."""
    return size_of([letter.value], [letter.key], [letter.headers]) + RECORD_OVERHEAD_BYTES


def _letter(chunk: Chunk, index: int, refused: Reject | Refusal, raw: Raw, attempts: int = 1) -> Letter:
    return Letter(
        stream=chunk.stream,
        offset=chunk.offsets[index],
        timestamp=chunk.timestamps[index],
        key=chunk.keys[index],
        value=chunk.values[index],
        headers=() if chunk.headers is None else chunk.headers[index],
        phase=refused.phase,
        reason=refused.reason,
        message=refused.message,
        attempts=attempts,
        failed_at=raw.failed_at,
        later=raw.held is not None and raw.held.later(refused.phase, refused.reason),
    )
