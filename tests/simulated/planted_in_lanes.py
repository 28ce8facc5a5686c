"""Bugs between reading a record and staging it: positions, epochs, pieces, cuts, counts and digests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from landfast.core import lanes, pieces, prepare, verify
from landfast.core.lanes import Cut, Lane
from landfast.core.pieces import Piece
from landfast.core.verify import Digest
from landfast.model import Bounds, Chunk, Decoded, Position, Span
from landfast.testing.memory import LineDecoder
from tests.simulated.planting import Bed

BED = Bed()
plant = BED.plant

_place, _bound, _cut, _reach = Lane.place, Lane.bound, Lane.cut, Lane.reach
_begin_cut, _forget = Lane._begin_cut, Lane.forget  # noqa: SLF001 - what the plants change
_part, _below, _joined, _without, _update = lanes.part, lanes.below, pieces.joined, pieces.without, Digest.update
_decode, _span = LineDecoder.decode, prepare._span  # noqa: SLF001 - what the plants change


@plant
def last_for_next(patch: pytest.MonkeyPatch) -> None:
    """Reading starts behind the position instead of at it."""

    def place(lane: Lane, epoch: int, position: Position | None, buried: frozenset[int]) -> None:
        _place(lane, epoch, None if position is None else position + 1, buried)

    patch.setattr(Lane, "place", place)


@plant
def first_said_never(patch: pytest.MonkeyPatch) -> None:
    """The batch that starts a stream does not say that the sink has no position yet."""

    def cut(lane: Lane, room: int, now: float) -> Cut | None:
        made = _cut(lane, room, now)
        return made and replace(made, first=False)

    patch.setattr(Lane, "cut", cut)


@plant
def first_said_twice(patch: pytest.MonkeyPatch) -> None:
    """Every batch until the first has landed says that the sink has no position yet."""

    def cut(lane: Lane, room: int, now: float) -> Cut | None:
        fresh = lane.fresh
        made = _cut(lane, room, now)
        lane.fresh = fresh
        return made

    patch.setattr(Lane, "cut", cut)


@plant
def gap_at_the_end_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A bounded run waits for a last record where the log ends in a gap."""
    patch.setattr(Lane, "reach", lambda _lane, _position, _now: None)


@plant
def gap_landed_before_its_records(patch: pytest.MonkeyPatch) -> None:
    """Where the reader has got to counts as cut, whatever waits in between."""

    def reach(lane: Lane, position: Position, now: float) -> None:
        _reach(lane, position, now)
        if lane.cut_to is not None and lane.chunks:
            lane.cut_to = lane.read_to

    patch.setattr(Lane, "reach", reach)


@plant
def bounded_end_one_early(patch: pytest.MonkeyPatch) -> None:
    """A bounded run stops before the last record."""
    patch.setattr(Lane, "bound", lambda lane, bounds: _bound(lane, Bounds(bounds.first, max(bounds.first, bounds.end - 1))))


@plant
def bounded_end_leaves_one_out(patch: pytest.MonkeyPatch) -> None:
    """The chunk in which a bounded run stops loses its last record, and the position passes it."""
    patch.setattr(lanes, "below", lambda chunk, end: _below(chunk, end) if chunk.end <= end else replace(_below(chunk, end - 1), end=end))


@plant
def record_doubled_where_a_chunk_is_split(patch: pytest.MonkeyPatch) -> None:
    """The second half of a chunk starts with the last record of the first."""
    patch.setattr(lanes, "part", lambda chunk, start, stop: _part(chunk, max(start - 1, 0), stop))


@plant
def piece_decoded_twice(patch: pytest.MonkeyPatch) -> None:
    """A piece that was decoded ahead is taken into its batch twice."""

    def cut(lane: Lane, room: int, now: float) -> Cut | None:
        made = _cut(lane, room, now)
        return made and replace(made, decoding=(*made.decoding, *made.decoding[-1:]))

    patch.setattr(Lane, "cut", cut)


@plant
def piece_dropped_at_the_cut(patch: pytest.MonkeyPatch) -> None:
    """The last piece that was decoded ahead is left out of its batch."""

    def cut(lane: Lane, room: int, now: float) -> Cut | None:
        made = _cut(lane, room, now)
        return made and replace(made, decoding=made.decoding[:-1])

    patch.setattr(Lane, "cut", cut)


@plant
def pieces_out_of_order(patch: pytest.MonkeyPatch) -> None:
    """Pieces come into their batch in the order in which they happen to be listed last."""

    def cut(lane: Lane, room: int, now: float) -> Cut | None:
        made = _cut(lane, room, now)
        return made and replace(made, decoding=tuple(reversed(made.decoding)))

    patch.setattr(Lane, "cut", cut)


@plant
def rest_of_the_cut_left_out(patch: pytest.MonkeyPatch) -> None:
    """What was not decoded ahead is left out of the batch, though the position passes it."""

    def cut(lane: Lane, room: int, now: float) -> Cut | None:
        made = _cut(lane, room, now)
        return made and replace(made, rest=replace(made.rest, chunks=()))

    patch.setattr(Lane, "cut", cut)


@plant
def stale_piece_used_after_a_new_placement(patch: pytest.MonkeyPatch) -> None:
    """What was decoded for the old placement goes into the first batch of the new one."""

    def forget(lane: Lane) -> None:
        kept = lane.decoding
        lane.decoding = []
        _forget(lane)
        lane.decoding = kept

    patch.setattr(Lane, "forget", forget)


@plant
def chunks_kept_after_a_new_placement(patch: pytest.MonkeyPatch) -> None:
    """What was read under the old placement waits in front of what the new one reads."""

    def forget(lane: Lane) -> None:
        kept = tuple(lane.chunks), lane.loose, lane.records
        _forget(lane)
        lane.chunks.extend(kept[0])
        lane.loose, lane.records = kept[1], kept[1]

    patch.setattr(Lane, "forget", forget)


@plant
def lane_goes_on_after_a_dissolve(patch: pytest.MonkeyPatch) -> None:
    """A lane whose batches were forgotten reads on where it was."""
    patch.setattr(Lane, "unplace", lambda _lane: None)


@plant
def digest_goes_on_over_a_cut(patch: pytest.MonkeyPatch) -> None:
    """The digest of a batch covers the one before as well."""

    def begin_cut(lane: Lane, position: Position | None) -> None:
        kept = lane.digest
        _begin_cut(lane, position)
        lane.digest = kept

    patch.setattr(Lane, "_begin_cut", begin_cut)


@plant
def digest_of_another_order(patch: pytest.MonkeyPatch) -> None:
    """The digest covers the records of each chunk from the last to the first."""

    def update(digest: Digest, chunk: Chunk) -> None:
        # The ledger makes its digests of chunks with no epoch: those stay right.
        _update(digest, chunk if chunk.epoch == 0 else replace(chunk, values=list(reversed(chunk.values))))

    patch.setattr(verify.Digest, "update", update)


@plant
def digest_without_tombstones(patch: pytest.MonkeyPatch) -> None:
    """The digest passes over records without a value."""

    def update(digest: Digest, chunk: Chunk) -> None:
        values = chunk.values if chunk.epoch == 0 else [value for value in chunk.values if value is not None]
        _update(digest, replace(chunk, values=values))

    patch.setattr(verify.Digest, "update", update)


@plant
def chunks_joined_backwards(patch: pytest.MonkeyPatch) -> None:
    """Neighbouring chunks are put together in the wrong order."""
    patch.setattr(pieces, "joined", lambda chunks: _joined(tuple(reversed(chunks))))


@plant
def offsets_not_left_out_with_their_records(patch: pytest.MonkeyPatch) -> None:
    """Where buried records are left out, the offsets behind them move up."""

    def without(chunk: Chunk, offsets: Sequence[int]) -> Chunk:
        made = _without(chunk, offsets)
        return replace(made, offsets=chunk.offsets[: len(made)])

    patch.setattr(pieces, "without", without)


@plant
def skipped_not_counted(patch: pytest.MonkeyPatch) -> None:
    """A span does not say how many of its records were skipped."""
    patch.setattr(prepare, "_span", lambda cut, made: replace(_span(cut, made), skipped={}))


@plant
def span_counts_rows_and_not_records(patch: pytest.MonkeyPatch) -> None:
    """A span says that it read what it wrote: the equation holds, and the dead are gone from it."""

    def span(cut: Cut, made: Sequence[Piece]) -> Span:
        whole = _span(cut, made)
        return replace(whole, read=whole.written, dead=0, skipped={})

    patch.setattr(prepare, "_span", span)


@plant
def decoder_swallows_a_record(patch: pytest.MonkeyPatch) -> None:
    """A decoder makes nothing of the last record of a long chunk: no row, no reject, no skip."""

    def decode(decoder: LineDecoder, chunk: Chunk) -> Decoded:
        return replace(_decode(decoder, _part(chunk, 0, len(chunk) - 1)), chunk=chunk) if len(chunk) > 1 else _decode(decoder, chunk)

    patch.setattr(LineDecoder, "decode", decode)


@plant
def rows_for_the_wrong_records(patch: pytest.MonkeyPatch) -> None:
    """A decoder that keeps some records says that they were the first of the chunk."""

    def decode(decoder: LineDecoder, chunk: Chunk) -> Decoded:
        made = _decode(decoder, chunk)
        return replace(made, kept=list(range(made.rows.num_rows)))

    patch.setattr(LineDecoder, "decode", decode)
