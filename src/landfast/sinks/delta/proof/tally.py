"""Counts rows by span without holding them: whole columns at a time, one pass, and memory only for spans that are half seen.

A *region* is a range of one topic partition in which the commits count so many rows; mostly it is one span. The rows of a region arrive
with the files of its commit, so a region is complete soon after it is begun and its offsets are dropped once they are checked.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from landfast.audit import RANGES_MAX, Range
from landfast.model import Position, Span, Stream
from landfast.sinks.delta.proof.offsets import Offsets, TopicPartition, ascending, by_partition, ranges_of, viewed, within

OFFSET_BYTES = 8


@dataclass(slots=True)
class Region:
    """A range of one topic partition and what has been seen of it.

    streams    the streams whose spans it covers: several where incarnations of a topic share coordinates, and an offset may then come
               once for each of them
    written    rows that the commits count here, and `dead` letters
    seen       rows found so far
    suspect    something does not fit, or could not be held: look again, at this region alone
    """

    partition: TopicPartition
    start: Position
    end: Position
    streams: tuple[Stream, ...]
    written: int
    dead: int
    seen: int = 0
    suspect: bool = False
    held: list[Offsets] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Bytes of the offsets held."""
        return sum(map(len, self.held)) * OFFSET_BYTES


def regions_of(spans: Iterable[Span]) -> list[Region]:
    """The regions that these spans make up; spans that overlap, of whatever incarnation, share one."""
    by_partition: defaultdict[TopicPartition, list[Span]] = defaultdict(list)
    for span in spans:
        by_partition[span.stream.topic, span.stream.partition].append(span)
    regions: list[Region] = []
    for partition, group in sorted(by_partition.items()):
        current: Region | None = None
        for span in sorted(group, key=lambda span: (span.start, span.end)):
            if current is not None and span.start < current.end:
                current.end = max(current.end, span.end)
                current.written += span.written
                current.dead += span.dead
                current.streams = tuple(sorted({*current.streams, span.stream}))
                continue
            current = Region(partition, span.start, span.end, (span.stream,), span.written, span.dead)
            regions.append(current)
    return regions


class Tally:
    """Adds rows up by region. `letters` are the sorted offsets that are buried, per partition.

    Holds at most about `held_bytes_max` of offsets: beyond that the largest half-seen region is left to a second look.
    """

    def __init__(self, regions: Sequence[Region], letters: Mapping[TopicPartition, Offsets], held_bytes_max: int) -> None:
        self._by_partition: defaultdict[TopicPartition, list[Region]] = defaultdict(list)
        for region in regions:
            self._by_partition[region.partition].append(region)
        self._starts = {partition: [region.start for region in group] for partition, group in self._by_partition.items()}
        self._letters = letters
        self._held_bytes_max = held_bytes_max
        self._held: dict[int, Region] = {}
        self._held_bytes = 0
        self.rows = 0
        self.foreign_rows = 0
        self.outside: defaultdict[TopicPartition, list[Range]] = defaultdict(list)
        self.outside_rows: defaultdict[TopicPartition, int] = defaultdict(int)

    def add(self, coordinates: pa.Table) -> None:
        """Count these rows: a table with the columns `_topic`, `_partition`, `_offset`."""
        self.rows += coordinates.num_rows
        for partition, offsets in by_partition(coordinates):
            if partition is None:
                self.foreign_rows += len(offsets)
            else:
                self._add_partition(partition, offsets)

    def close(self) -> list[Region]:
        """Regions that need a second look: what was counted and what was found differ, or could not be compared."""
        for group in self._by_partition.values():
            for region in group:
                region.suspect = region.suspect or region.seen != region.written
                region.held.clear()
        return [region for group in self._by_partition.values() for region in group if region.suspect]

    def _add_partition(self, partition: TopicPartition, offsets: Offsets) -> None:
        regions, starts = self._by_partition.get(partition, []), self._starts.get(partition, [])
        view = viewed(offsets)
        first = 0
        while first < len(view):
            index = bisect.bisect_right(starts, view[first]) - 1
            inside = index >= 0 and view[first] < regions[index].end
            limit = regions[index].end if inside else (starts[index + 1] if index + 1 < len(starts) else None)
            last = len(view) if limit is None else bisect.bisect_left(view, limit, first)
            if inside:
                self._add_region(regions[index], offsets.slice(first, last - first))
            else:
                self.outside_rows[partition] += last - first
                room = RANGES_MAX - len(self.outside[partition])
                self.outside[partition].extend(ranges_of(offsets.slice(first, last - first), room))
            first = last

    def _add_region(self, region: Region, offsets: Offsets) -> None:
        complete_before = region.seen >= region.written
        region.seen += len(offsets)
        if complete_before or region.suspect:
            region.suspect = True
            return
        region.held.append(offsets)
        self._held_bytes += len(offsets) * OFFSET_BYTES
        self._held[id(region)] = region
        if region.seen >= region.written:
            region.suspect = region.seen > region.written or self._disagrees(region)
            self._drop(region)
        elif self._held_bytes > self._held_bytes_max:
            largest = max(self._held.values(), key=lambda held: held.nbytes)
            largest.suspect = True
            self._drop(largest)

    def _drop(self, region: Region) -> None:
        self._held_bytes -= region.nbytes
        region.held.clear()
        del self._held[id(region)]

    def _disagrees(self, region: Region) -> bool:
        """Whether an offset comes twice, or is buried as well."""
        offsets = ascending(pa.concat_arrays(region.held))
        if len(region.streams) > 1:
            return False
        repeated = pc.equal(offsets[1:], offsets[:-1])
        buried = within(self._letters.get(region.partition), region.start, region.end)
        return bool(pc.any(repeated).as_py()) or (len(buried) > 0 and bool(pc.any(pc.is_in(buried, value_set=offsets)).as_py()))
