"""Cutting and joining columns never loses, doubles or moves a record."""

from __future__ import annotations

from array import array
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from landfast.core.batching import BatchLimits, below, full, joined, part, size_of, without
from landfast.core.verify import digest
from landfast.model import Chunk
from tests.core.strategies import STREAM, chunks, records_of


@given(chunks(), st.data())
def test_parts_of_a_chunk_tile_it(chunk: Chunk, data: st.DataObject) -> None:
    """Two parts hold the chunk's records and its range, and meet."""
    assume(len(chunk) > 1)
    middle = data.draw(st.integers(1, len(chunk) - 1))
    left, right = part(chunk, 0, middle), part(chunk, middle, len(chunk))
    assert (left.start, right.end) == (chunk.start, chunk.end)
    assert left.end == right.start
    assert records_of(left, right) == records_of(chunk)
    assert left.nbytes + right.nbytes == chunk.nbytes


@given(chunks(), st.integers(0, 1100))
def test_nothing_at_or_above_the_end_of_a_bounded_run_is_kept(chunk: Chunk, end: int) -> None:
    """Below the end every record stays; from it on none does."""
    kept = below(chunk, end)
    assert records_of(kept) == [record for record in records_of(chunk) if record[0] < end]
    assert kept.start == chunk.start
    assert kept.end == max(chunk.start, min(chunk.end, end))


@given(chunks(), st.sets(st.integers(0, 1100), max_size=20))
def test_records_left_out_are_exactly_those_named(chunk: Chunk, offsets: set[int]) -> None:
    """The rest stays in order, with the range of the whole."""
    rest = without(chunk, offsets)
    assert records_of(rest) == [record for record in records_of(chunk) if record[0] not in offsets]
    assert (rest.start, rest.end) == (chunk.start, chunk.end)


@given(chunks(), st.lists(st.integers(0, 30), max_size=6))
def test_joining_undoes_cutting(chunk: Chunk, places: list[int]) -> None:
    """However a chunk was cut, joined it has the same records, range and digest."""
    cuts = sorted({min(place, len(chunk)) for place in places} | {0, len(chunk)})
    parts = [part(chunk, start, stop) for start, stop in pairwise(cuts)] or [chunk]
    together = joined(parts)
    assert records_of(together) == records_of(chunk)
    assert (together.start, together.end) == (chunk.start, chunk.end)
    assert digest([together]) == digest(parts) == digest([chunk])
    assert together.nbytes == size_of(chunk.values, chunk.keys, chunk.headers)


def test_joining_keeps_headers_beside_chunks_without() -> None:
    """A chunk without headers beside one with some gets empty ones."""
    plain = _chunk(0, headers=None)
    some = _chunk(2, headers=[(("name", b"value"),), ()])
    both = joined([plain, some])
    assert both.headers == [(), (), (("name", b"value"),), ()]


def test_a_batch_is_full_by_records_or_by_bytes() -> None:
    """Either limit alone suffices."""
    limits = BatchLimits(records_max=10, bytes_max=100)
    assert not full(limits, 9, 99)
    assert full(limits, 10, 0)
    assert full(limits, 1, 100)


def _chunk(start: int, headers: list[tuple[tuple[str, bytes], ...]] | None) -> Chunk:
    return Chunk(STREAM, 1, start, start + 2, [b"a", b"b"], [None, None], headers, array("q", [start, start + 1]), array("q", [0, 0]), 2)
