"""Bugs around dead letters: when they are buried, by whom, how often, and what is in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import replace

import pytest

from landfast.core import flight, landing, pieces
from landfast.core.flow import Flow
from landfast.core.landing import InFlight, Landed
from landfast.core.lanes import Lane
from landfast.core.pieces import Piece, Raw
from landfast.core.verify import check_receipt
from landfast.model import Letter, Position, Stream
from landfast.ports import DeadLetters, Decoder, Sink
from landfast.testing.memory import MemoryDeadLetters, MemoryLetterStore
from tests.simulated.planting import Bed

BED = Bed()
plant = BED.plant

_land, _piece, _letter, _place, _hand_out = landing.land, pieces._piece, pieces._letter, Lane.place, Lane.hand_out  # noqa: SLF001
_put, _append = MemoryDeadLetters.put, MemoryLetterStore.append


@plant
def letters_after_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Dead letters are buried when their position has been passed already."""

    def land(group: Sequence[InFlight], sink: Sink, dead_letters: DeadLetters) -> Landed:
        prepared = [item.prepared for item in group if item.prepared is not None]
        staged = [each.staged for each in prepared]
        letters = [letter for each in prepared for letter in each.letters]
        receipt = sink.commit(staged)
        check_receipt(receipt, staged)
        dead_letters.put(letters)
        return Landed(receipt, tuple(letters))

    patch.setattr(flight, "land", land)


@plant
def letters_forgotten_after_a_failed_commit(patch: pytest.MonkeyPatch) -> None:
    """Letters count as buried before they are."""

    def land(group: Sequence[InFlight], sink: Sink, dead_letters: DeadLetters) -> Landed:
        try:
            return _land(group, sink, dead_letters)
        finally:
            for item in group:
                item.letters_buried = True

    patch.setattr(flight, "land", land)


@plant
def letters_buried_at_each_try(patch: pytest.MonkeyPatch) -> None:
    """A commit that is tried again buries its letters again."""

    def land(group: Sequence[InFlight], sink: Sink, dead_letters: DeadLetters) -> Landed:
        for item in group:
            item.letters_buried = False
        return _land(group, sink, dead_letters)

    patch.setattr(flight, "land", land)


@plant
def letters_of_the_first_batch_only(patch: pytest.MonkeyPatch) -> None:
    """Of several batches that land in one commit, only the first buries its letters."""

    def land(group: Sequence[InFlight], sink: Sink, dead_letters: DeadLetters) -> Landed:
        for item in group[1:]:
            item.letters_buried = True
        return _land(group, sink, dead_letters)

    patch.setattr(flight, "land", land)


@plant
def unknown_taken_for_not_buried(patch: pytest.MonkeyPatch) -> None:
    """Letters whose answer was lost are buried again, without looking whether they are there."""

    def put(letters: MemoryDeadLetters, some: Sequence[Letter]) -> None:
        letters._doubtful = False  # noqa: SLF001 - the doubt is what is lost
        _put(letters, some)

    patch.setattr(MemoryDeadLetters, "put", put)


@plant
def each_try_is_another_put(patch: pytest.MonkeyPatch) -> None:
    """The token that makes a put count once is new at each try."""
    numbers = iter(range(10**9))

    def append(store: MemoryLetterStore, letters: Sequence[Letter], owner: str, token: str) -> Stream | None:
        return _append(store, letters, owner, f"{token} {next(numbers)}")

    patch.setattr(MemoryLetterStore, "append", append)


@plant
def buried_letters_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What was buried before a crash is buried again."""

    def buried(letters: MemoryDeadLetters, stream: Stream, start: Position) -> Set[int]:
        return frozenset()

    patch.setattr(MemoryDeadLetters, "buried", buried)


@plant
def buried_asked_from_the_next_one(patch: pytest.MonkeyPatch) -> None:
    """What is buried is asked from one above the position, so that the first record of all is forgotten."""
    asked = MemoryLetterStore.buried
    patch.setattr(MemoryLetterStore, "buried", lambda store, stream, start: asked(store, stream, start + 1))


@plant
def buried_set_of_the_first_placement(patch: pytest.MonkeyPatch) -> None:
    """A lane that is placed anew keeps the set of buried offsets that it began with."""

    def place(lane: Lane, epoch: int, position: Position | None, buried: frozenset[int]) -> None:
        _place(lane, epoch, position, lane.buried if lane.epoch else buried)

    patch.setattr(Lane, "place", place)


@plant
def nothing_claimed(patch: pytest.MonkeyPatch) -> None:
    """The store of dead letters is never told who owns a stream, and refuses everybody."""

    def claim(letters: MemoryDeadLetters, streams: Collection[Stream]) -> None:
        return None

    patch.setattr(MemoryDeadLetters, "claim", claim)


@plant
def refused_row_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A row that the sink refused is read again as if nothing had been said of it."""

    def place(lane: Lane, epoch: int, position: Position | None, buried: frozenset[int]) -> None:
        _place(lane, epoch, position, buried)
        lane.refused = {}

    patch.setattr(Lane, "place", place)


@plant
def refused_row_remembered_for_the_next_one(patch: pytest.MonkeyPatch) -> None:
    """What the sink refused is one offset off when it is read again."""

    def hand_out(lane: Lane, records_max: int, bytes_max: float, now: float) -> Raw:
        raw = _hand_out(lane, records_max, bytes_max, now)
        return replace(raw, refused={offset + 1: refusal for offset, refusal in raw.refused.items()})

    patch.setattr(Lane, "hand_out", hand_out)


@plant
def refused_row_buried_again(patch: pytest.MonkeyPatch) -> None:
    """That a refused row is buried already is not looked at."""

    def piece(raw: Raw, decoder: Decoder) -> Piece:
        return _piece(replace(raw, buried=raw.buried - raw.refused.keys()), decoder)

    patch.setattr(pieces, "_piece", piece)


@plant
def the_buried_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """A record that was buried before is left out of the count of its span."""

    def piece(raw: Raw, decoder: Decoder) -> Piece:
        made = _piece(raw, decoder)
        return replace(made, dead=len(made.letters), read=made.read - made.dead + len(made.letters))

    patch.setattr(pieces, "_piece", piece)


@plant
def a_letter_without_its_key(patch: pytest.MonkeyPatch) -> None:
    """A letter keeps the value of its record and loses its key."""
    patch.setattr(pieces, "_letter", lambda *given: replace(_letter(*given), key=None))


@plant
def a_letter_for_the_record_before(patch: pytest.MonkeyPatch) -> None:
    """A letter names the offset before its own."""

    def letter(*given: object) -> Letter:
        made: Letter = _letter(*given)  # type: ignore[arg-type]
        return replace(made, offset=max(made.offset - 1, 0))

    patch.setattr(pieces, "_letter", letter)


@plant
def refused_rows_not_remembered_at_all(patch: pytest.MonkeyPatch) -> None:
    """A batch that the sink refused is forgotten, and its lanes are placed behind it by nobody."""
    patch.setattr(Flow, "_refuse", lambda _flow, _error, _group=(): None)
