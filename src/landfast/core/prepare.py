"""From a cut to a staged batch, on a worker thread: decode what is left, account, stage. No state outlives the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from landfast.core.isolate import isolated
from landfast.core.lanes import Cut
from landfast.core.pieces import Decoding, Piece, Raw, decoded, size_of_letter
from landfast.core.verify import check_spans, check_staged
from landfast.errors import Unavailable
from landfast.model import Batch, Letter, Span, Staged, Stream
from landfast.ports import Decoder, Sink


@dataclass(frozen=True, slots=True)
class Work:
    """A batch to prepare: its cuts, the pieces of them that are being decoded, in order per stream, and behind those the raw rest."""

    number: int
    cuts: tuple[Cut, ...]
    decoding: tuple[Decoding, ...]
    rest: tuple[Raw, ...]

    @property
    def ready(self) -> bool:
        """Whether all that was decoded elsewhere is there."""
        return all(part.done for part in self.decoding)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(part.nbytes for part in self.decoding) + sum(raw.nbytes for raw in self.rest)


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


def prepare(work: Work, decoder: Decoder, sink: Sink) -> Prepared:
    """Decode the rest, check the equation, stage. `work` must be ready.

    Raises:
        Rejected: rows that the sink cannot hold, also where it could not say which; read again, they are letters.
        Unavailable, Conflict, Broken: as the sink does.
    """
    pieces: dict[Stream, list[Piece]] = {cut.stream: [] for cut in work.cuts}
    for part in work.decoding:
        for piece in part.pieces.result():
            pieces[piece.stream].append(piece)
    for piece in decoded(work.rest, decoder):
        pieces[piece.stream].append(piece)
    spans = tuple(_span(cut, pieces[cut.stream]) for cut in work.cuts)
    check_spans(spans)
    in_order = [piece for cut in work.cuts for piece in pieces[cut.stream]]
    epochs = {cut.stream: cut.epoch for cut in work.cuts}
    batch = Batch(work.number, spans, epochs, tuple(piece.decoded for piece in in_order))
    try:
        staged = sink.stage(batch)
    except Unavailable as error:
        raise isolated(batch, sink, error) from error
    check_staged(staged, spans)
    letters = tuple(letter for piece in in_order for letter in piece.letters)
    deaths = tuple(_deaths(cut.stream, pieces[cut.stream]) for cut in work.cuts)
    return Prepared(staged, letters, deaths, staged.nbytes + sum(map(size_of_letter, letters)))


def _span(cut: Cut, pieces: Sequence[Piece]) -> Span:
    skipped: dict[str, int] = {}
    for piece in pieces:
        for reason, indices in piece.decoded.skips.items():
            skipped[reason] = skipped.get(reason, 0) + len(indices)
    read = sum(piece.read for piece in pieces)
    written = sum(piece.decoded.rows.num_rows for piece in pieces)
    dead = sum(piece.dead for piece in pieces)
    return Span(cut.stream, cut.start, cut.end, read, written, dead, skipped, cut.digest, cut.first)


def _deaths(stream: Stream, pieces: Sequence[Piece]) -> Deaths:
    ordinals: list[int] = []
    base = 0
    for piece in pieces:
        ordinals += [base + ordinal for ordinal in piece.dying]
        base += piece.read
    return Deaths(stream, base, tuple(ordinals))
