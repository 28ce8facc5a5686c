"""From a cut to a staged batch, on a worker thread: decode, account, digest, stage. No state outlives the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from landfast.core.batching import joined, without
from landfast.core.verify import check_decoded, check_spans, check_staged, digest
from landfast.errors import Refusal, Rejected, check
from landfast.model import Batch, Chunk, Cut, Decoded, Letter, Span, Staged, Stream
from landfast.ports import Decoder, Sink

Refusals = Mapping[Stream, Mapping[int, Refusal]]


@dataclass(frozen=True, slots=True)
class Work:
    """A batch to prepare: its cuts, and per stream the offsets that are buried already or that the sink refused before."""

    number: int
    cuts: tuple[Cut, ...]
    buried: Mapping[Stream, frozenset[int]] = field(default_factory=dict)
    refused: Refusals = field(default_factory=dict)
    failed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Deaths:
    """Which records of a span die now, by their ordinal in it: what the breaker counts. Those buried before do not count again."""

    stream: Stream
    records: int
    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch of which only the letters and the commit are missing."""

    staged: Staged
    letters: tuple[Letter, ...]
    deaths: tuple[Deaths, ...]
    nbytes: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """A decoded chunk beside the whole chunk it came from, with the letters for what the decoder or the sink refused."""

    whole: Chunk
    decoded: Decoded
    letters: tuple[Letter, ...]


def prepare(work: Work, decoder: Decoder, sink: Sink) -> Prepared:
    """Decode, check the equation, stage; rows that the sink refuses while staging become letters and the rest is staged again.

    Raises:
        Unavailable, Conflict, Broken: as the sink does.
    """
    refused: dict[Stream, dict[int, Refusal]] = {stream: dict(rows) for stream, rows in work.refused.items()}
    while True:
        pieces = {cut.stream: _decode(work, cut, refused.get(cut.stream, {}), decoder) for cut in work.cuts}
        spans = tuple(_span(cut, pieces[cut.stream]) for cut in work.cuts)
        check_spans(spans)
        decoded = tuple(piece.decoded for cut in work.cuts for piece in pieces[cut.stream])
        batch = Batch(work.number, spans, {cut.stream: cut.epoch for cut in work.cuts}, decoded)
        try:
            staged = sink.stage(batch)
        except Rejected as error:
            _add(refused, error.refusals)
            continue
        check_staged(staged, spans)
        letters = tuple(letter for cut in work.cuts for piece in pieces[cut.stream] for letter in piece.letters)
        deaths = tuple(_deaths(cut.stream, pieces[cut.stream]) for cut in work.cuts)
        held = staged.nbytes + sum(len(letter.value or b"") + len(letter.key or b"") for letter in letters)
        return Prepared(staged, letters, deaths, held)


def _add(refused: dict[Stream, dict[int, Refusal]], refusals: Sequence[Refusal]) -> None:
    """Take in new refusals; a sink that refuses nothing new would make us stage for ever."""
    before = sum(len(rows) for rows in refused.values())
    for refusal in refusals:
        refused.setdefault(refusal.stream, {})[refusal.offset] = refusal
    check(sum(len(rows) for rows in refused.values()) > before, "a sink rejected a batch without naming a new row")


def _decode(work: Work, cut: Cut, refused: Mapping[int, Refusal], decoder: Decoder) -> list[_Piece]:
    buried = work.buried.get(cut.stream, frozenset())
    leave_out = buried | refused.keys()
    pieces: list[_Piece] = []
    for whole in joined(cut.chunks):
        if len(whole) == 0:
            continue
        chunk = without(whole, leave_out) if leave_out else whole
        decoded = decoder.decode(chunk)
        check_decoded(decoded)
        letters = [_letter(chunk, reject.index, reject.phase, reject.reason, reject.message, work.failed_at) for reject in decoded.rejects]
        if refused:
            letters += [
                _letter(whole, index, "write", refused[offset].reason, refused[offset].message, work.failed_at)
                for index, offset in enumerate(whole.offsets)
                if offset in refused and offset not in buried
            ]
        pieces.append(_Piece(whole, decoded, tuple(letters)))
    return pieces


def _letter(chunk: Chunk, index: int, phase: str, reason: str, message: str, failed_at: float) -> Letter:
    return Letter(
        stream=chunk.stream,
        offset=chunk.offsets[index],
        timestamp=chunk.timestamps[index],
        key=chunk.keys[index],
        value=chunk.values[index],
        headers=() if chunk.headers is None else chunk.headers[index],
        phase=phase,
        reason=reason,
        message=message,
        attempts=1,
        failed_at=failed_at,
    )


def _span(cut: Cut, pieces: Sequence[_Piece]) -> Span:
    read = sum(len(piece.whole) for piece in pieces)
    written = sum(piece.decoded.rows.num_rows for piece in pieces)
    skipped: dict[str, int] = {}
    for piece in pieces:
        for reason, indices in piece.decoded.skips.items():
            skipped[reason] = skipped.get(reason, 0) + len(indices)
    # Records left out before decoding are dead: they are the difference between the whole chunk and what was decoded.
    dead = sum(len(piece.decoded.rejects) + len(piece.whole) - len(piece.decoded.chunk) for piece in pieces)
    return Span(cut.stream, cut.start, cut.end, read, written, dead, skipped, digest(cut.chunks), cut.first)


def _deaths(stream: Stream, pieces: Sequence[_Piece]) -> Deaths:
    ordinals: list[int] = []
    base = 0
    for piece in pieces:
        if piece.letters:
            dying = {letter.offset for letter in piece.letters}
            ordinals += [base + index for index, offset in enumerate(piece.whole.offsets) if offset in dying]
        base += len(piece.whole)
    return Deaths(stream, base, tuple(ordinals))
