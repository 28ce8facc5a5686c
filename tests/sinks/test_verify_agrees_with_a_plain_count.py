"""The proof counts whole columns at a time; a plain count, offset by offset, must agree with it on anything."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from landfast.audit import Kind, tiling
from landfast.model import Span
from landfast.sinks.delta.proof.offsets import complement, ranges_of, within
from landfast.sinks.delta.proof.tally import Tally, regions_of
from tests.sinks.delta_world import stream

LANE = stream(0)
OFFSETS = st.lists(st.integers(0, 40), max_size=60)
BOUNDS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=8)


def span(start: int, length: int, written: int = 0) -> Span:
    return Span(LANE, start, start + length, written, written, 0, {}, "", start == 0)


def flat(ranges: list[tuple[int, int]] | tuple[tuple[int, int], ...]) -> list[int]:
    return [offset for start, end in ranges for offset in range(start, end)]


def table(offsets: list[int]) -> pa.Table:
    columns = {"_topic": [LANE.topic] * len(offsets), "_partition": [0] * len(offsets), "_offset": offsets}
    return pa.table(columns, schema=pa.schema([("_topic", pa.string()), ("_partition", pa.int32()), ("_offset", pa.int64())]))


@settings(deadline=None)
@given(BOUNDS)
def test_holes_and_overlaps_are_exactly_what_is_covered_never_or_twice(bounds: list[tuple[int, int]]) -> None:
    """Whatever spans there are, an offset is in a hole when no span covers it and in an overlap when two do."""
    spans = [span(start, length) for start, length in bounds]
    covered = Counter(offset for one in spans for offset in range(one.start, one.end))
    first, end = min(covered), max(covered) + 1
    findings = {finding.kind: finding for finding in tiling(LANE, [replace(one, first=True) for one in spans], end)}
    holes, overlaps = findings.get(Kind.HOLE), findings.get(Kind.OVERLAP)
    assert (flat(holes.ranges) if holes else []) == [offset for offset in range(first, end) if not covered[offset]]
    assert sorted(set(flat(overlaps.ranges) if overlaps else [])) == sorted(offset for offset, times in covered.items() if times > 1)


@settings(max_examples=300, deadline=None)
@given(OFFSETS, st.integers(1, 5), st.integers(1, 10), st.sampled_from([0, 64, 10_000]))
def test_a_region_is_suspect_exactly_when_a_plain_count_differs(
    offsets: list[int], spans_count: int, rows_per_batch: int, held: int
) -> None:
    """However the rows are cut into batches and however little may be held, no difference is missed and rows outside are all found."""
    length = 6
    rows = Counter(offset // length for offset in offsets)
    spans = [span(number * length, length, rows[number]) for number in range(spans_count)]
    spans = [replace(one, written=min(one.written, length)) for one in spans]
    tally = Tally(regions_of(spans), {}, held)
    for at in range(0, len(offsets), rows_per_batch):
        tally.add(table(offsets[at : at + rows_per_batch]))
    suspects = {(region.start, region.end) for region in tally.close()}
    for one in spans:
        inside = [offset for offset in offsets if one.start <= offset < one.end]
        wrong = len(inside) != one.written or len(set(inside)) != len(inside)
        assert not wrong or (one.start, one.end) in suspects
        if held == 10_000:
            assert wrong == ((one.start, one.end) in suspects)
    outside = [offset for offset in offsets if offset >= spans_count * length]
    assert sum(tally.outside_rows.values()) == len(outside)
    assert tally.rows == len(offsets)


@settings(deadline=None)
@given(OFFSETS, st.integers(0, 20), st.integers(0, 20), st.integers(1, 100))
def test_ranges_and_complements_are_exact(offsets: list[int], start: int, length: int, ranges_max: int) -> None:
    """Ranges hold exactly the offsets, complements exactly the others, and a limit cuts the end off and nothing else."""
    ordered = pa.array(sorted(offsets), pa.int64())
    whole = ranges_of(ordered)
    assert flat(whole) == sorted(set(offsets))
    assert ranges_of(ordered, ranges_max) == whole[:ranges_max]
    inside = within(ordered, start, start + length)
    assert inside.to_pylist() == [offset for offset in sorted(offsets) if start <= offset < start + length]
    free, count = complement(inside, start, start + length)
    assert flat(free) == [offset for offset in range(start, start + length) if offset not in offsets]
    assert count == len(flat(free))
