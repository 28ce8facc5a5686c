"""The second look at regions where counts and rows disagree: which offsets exactly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from landfast.audit import Finding, Kind, Range
from landfast.model import Stream
from landfast.sinks.delta.proof.offsets import Offsets, TopicPartition, ascending, by_partition, complement, ranges_of, within
from landfast.sinks.delta.proof.scan import Scan
from landfast.sinks.delta.proof.tally import Region

NONE: Offsets = pa.array([], pa.int64())


def look_closely(scan: Scan, suspects: Sequence[Region], letters: Mapping[Stream, Offsets], rows_max: int) -> Iterator[Finding]:
    """Read the coordinates once more and name what is wrong in each suspect region; a region that turns out well yields nothing.

    Holds about `rows_max` offsets: regions beyond that are reported by their counts alone.
    """
    held = list(_affordable(suspects, rows_max))
    found: defaultdict[int, list[Offsets]] = defaultdict(list)
    by_topic: defaultdict[TopicPartition, list[Region]] = defaultdict(list)
    for region in held:
        by_topic[region.partition].append(region)
    for coordinates in scan.keys_again():
        for partition, offsets in by_partition(coordinates):
            for region in by_topic.get(partition, ()) if partition is not None else ():
                part = within(offsets, region.start, region.end)
                if len(part):
                    found[id(region)].append(part)
    for region in held:
        rows = ascending(pa.concat_arrays([NONE, *found[id(region)]]))
        buried = [within(letters.get(stream), region.start, region.end) for stream in region.streams]
        yield from _findings(region, rows, buried)
    for region in suspects[len(held) :]:
        if region.seen != region.written:
            kind = Kind.LOST_ROW if region.seen < region.written else Kind.PHANTOM_ROW
            words = (
                f"the commits count {region.written} rows here, and the table holds {region.seen}; too much is wrong to name each offset"
            )
            yield _finding(kind, region, words, [(region.start, region.end)], abs(region.seen - region.written))


def _affordable(suspects: Iterable[Region], rows_max: int) -> Iterator[Region]:
    room = rows_max
    for region in suspects:
        room -= max(region.seen, region.written)
        if room < 0:
            return
        yield region


def _findings(region: Region, rows: Offsets, buried: Sequence[Offsets]) -> Iterator[Finding]:
    letters = ascending(pa.concat_arrays([NONE, *(pc.unique(offsets) for offsets in buried)]))
    doubled = _more_often_than(rows, len(region.streams))
    # Where incarnations share coordinates an offset may come once for each, so only the number of rows can be compared.
    rows_counted = len(rows) - (len(rows) - len(pc.unique(rows)) if len(region.streams) == 1 else 0)
    free, free_count = complement(ascending(pa.concat_arrays([rows, letters])), region.start, region.end)
    lost, unburied = region.written - rows_counted, region.dead - len(letters)
    exact = free_count == max(lost, 0) + max(unburied, 0)
    if len(doubled):
        yield _finding(Kind.DOUBLED_ROW, region, "these offsets lie in the table more often than once", ranges_of(doubled), len(doubled))
    if len(region.streams) == 1:
        both = letters.filter(pc.is_in(letters, value_set=rows))
        if len(both):
            yield _finding(
                Kind.ROW_AND_LETTER, region, "these offsets are in the table and among the dead letters", ranges_of(both), len(both)
            )
    if lost > 0:
        words = _missing(lost, "rows that were committed are gone", exact=exact)
        yield _finding(Kind.LOST_ROW, region, words, free, lost)
    if lost < 0:
        words = f"the commits count {region.written} rows here, and the table holds {rows_counted}"
        yield _finding(Kind.PHANTOM_ROW, region, words, [(region.start, region.end)], -lost)
    if unburied > 0:
        yield _finding(
            Kind.LETTER_MISSING, region, _missing(unburied, "dead letters that were counted are not there", exact=exact), free, unburied
        )
    if unburied < 0:
        words = f"the commits count {region.dead} dead letters here, and there are {len(letters)}"
        yield _finding(Kind.LETTER_PHANTOM, region, words, [(region.start, region.end)], -unburied)


def _missing(count: int, words: str, *, exact: bool) -> str:
    return f"{count} {words}, at exactly these offsets" if exact else f"{count} {words}, somewhere in these offsets"


def _more_often_than(rows: Offsets, times: int) -> Offsets:
    """The offsets that come more often than `times`, ascending, each once."""
    if len(rows) <= times:
        return NONE
    return pc.unique(rows[times:].filter(pc.equal(rows[times:], rows[:-times])))


def _finding(kind: Kind, region: Region, words: str, ranges: Sequence[Range], count: int) -> Finding:
    shared = "" if len(region.streams) == 1 else f" ({len(region.streams)} incarnations of the topic share these offsets)"
    return Finding(kind, words + shared, region.streams[0], tuple(ranges), count)
