"""The proof of a table with one row per key: what the commits say became of each row adds up to the rows that are there.

A row that made way for a newer one is gone, so a count of offsets cannot be had. What is proved instead: the written rows of each span were
kept, superseded or older than the table; at most as many rows of a span are there as were kept; all rows together are those that were kept
less those that were replaced; and no key has two rows. That the row of a key is the newest that was ever read cannot be told from
the table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute

from landfast.audit import RANGES_MAX, Finding, Kind
from landfast.model import OnePerKey, Stream
from landfast.sinks.delta.log.record import Effect
from landfast.sinks.delta.log.spans import History
from landfast.sinks.delta.proof.offsets import COORDINATES, Offsets, TopicPartition, by_partition, ranges_of, within
from landfast.sinks.delta.proof.scan import Scan
from landfast.sinks.delta.proof.tally import Region, Tally, regions_of

# The stubs of pyarrow do not know all that its functions take.
pc: Any = pyarrow.compute

SAMPLES_PER_TABLE = 64


@dataclass(frozen=True, slots=True)
class Counted:
    """What the coordinates of all rows come to."""

    tally: Tally
    regions: Sequence[Region]
    totals: OnePerKey
    buried_as_well: Mapping[TopicPartition, Offsets]


def effect_findings(history: History) -> Iterator[Finding]:
    """Spans, and replays of dead letters, whose written rows are not all accounted for."""
    for record in history.records:
        span = record.span
        words = _unaccounted(record.effect, span.written)
        if words is not None:
            yield Finding(Kind.EQUATION_BROKEN, words, span.stream, ((span.start, span.end),), span.end - span.start)
    for told in (one.told for one in history.replays):
        words = _unaccounted(told.effect, told.letters)
        if words is not None:
            yield Finding(Kind.EQUATION_BROKEN, words, told.stream, told.ranges[:RANGES_MAX], told.letters)


def _unaccounted(effect: Effect | None, written: int) -> str | None:
    """Why the effect does not account for so many written rows; None where it does."""
    if effect is None:
        return "this commit does not say what became of its rows, as every commit to a table with one row per key does"
    if min(effect.kept, effect.superseded, effect.older, effect.replaced, effect.deleted) < 0 or effect.deleted > effect.kept:
        return "this commit says what cannot be of what became of its rows"
    if effect.kept + effect.superseded + effect.older != written:
        return f"written {written} is not kept {effect.kept} + superseded {effect.superseded} + older {effect.older}"
    return None


def counted(scan: Scan, history: History, letters: Mapping[Stream, Offsets], replayed: Mapping[Stream, Offsets], progress: Any) -> Counted:
    """Count all rows by the spans that they belong to, in one pass.

    `letters` are those that have not landed, and `replayed` those that have: each of them was at most one row.
    """
    records = history.records
    regions = regions_of(replace(one.span, written=0 if one.effect is None else one.effect.kept) for one in records)
    for region in regions:
        # Rows that were kept may be gone since: a region is never complete, so nothing of it is held.
        region.suspect = True
        landed = sum(len(within(replayed.get(stream), region.start, region.end)) for stream in region.streams)
        region.written += landed
        region.dead -= landed
    buried: defaultdict[TopicPartition, list[Offsets]] = defaultdict(list)
    for stream, offsets in letters.items():
        buried[stream.topic, stream.partition].append(offsets)
    tally = Tally(regions, {}, 0)
    both: defaultdict[TopicPartition, list[Offsets]] = defaultdict(list)
    for coordinates in scan.keys(progress):
        tally.add(coordinates.select(list(COORDINATES)))
        for partition, offsets in by_partition(coordinates) if buried else ():
            for known in buried.get(partition, ()) if partition is not None else ():
                found = offsets.filter(pc.is_in(offsets, value_set=known))
                if partition is not None and len(found):
                    both[partition].append(found)
    said = [*(one.effect for one in records), *(one.told.effect for one in history.replays)]
    effects = [effect for effect in said if effect is not None]
    totals = OnePerKey(
        kept=sum(one.kept for one in effects),
        superseded=sum(one.superseded for one in effects),
        older=sum(one.older for one in effects),
        replaced=sum(one.replaced for one in effects),
    )
    return Counted(tally, regions, totals, {place: pa.concat_arrays(parts) for place, parts in both.items()})


def row_findings(found: Counted, letters: Mapping[Stream, Offsets]) -> Iterator[Finding]:
    """What is wrong with the rows that were counted."""
    for (topic, partition), offsets in sorted(found.buried_as_well.items()):
        regions = [region for region in found.regions if region.partition == (topic, partition) and len(region.streams) > 1]
        if not regions:
            words = f"these offsets of {topic}[{partition}] are in the table and among the dead letters"
            yield Finding(Kind.ROW_AND_LETTER, words, None, tuple(ranges_of(offsets)), len(offsets))
    for region in found.regions:
        place = ((region.start, region.end),)
        if region.seen > region.written:
            words = f"the commits kept {region.written} rows of these offsets, and the table holds {region.seen}"
            yield Finding(Kind.PHANTOM_ROW, words, region.streams[0], place, region.seen - region.written)
        buried = sum(len(pc.unique(within(letters.get(stream), region.start, region.end))) for stream in region.streams)
        if buried != region.dead:
            kind = Kind.LETTER_MISSING if buried < region.dead else Kind.LETTER_PHANTOM
            words = f"the commits count {region.dead} dead letters here, and there are {buried}"
            yield Finding(kind, words, region.streams[0], place, abs(region.dead - buried))
    there, totals = found.tally.rows - found.tally.foreign_rows, found.totals
    if there != totals.rows:
        kind = Kind.LOST_ROW if there < totals.rows else Kind.PHANTOM_ROW
        words = f"the commits kept {totals.kept} rows and replaced {totals.replaced} of them, and the table holds {there}"
        yield Finding(kind, words, count=abs(there - totals.rows))


def key_findings(scan: Scan, schema: pa.Schema, held_bytes_max: int) -> Iterator[Finding]:
    """Keys with more rows than one. `scan` reads the key columns of a table of this schema; what is wrong with a file is said elsewhere."""
    kinds = pa.schema([schema.field(name) for name in scan.key_names])
    doubled = sum(_doubled(part, scan.key_names) for part in _parts(scan, kinds, held_bytes_max))
    if doubled:
        words = f"keys ({', '.join(scan.key_names)}) that have more rows than one"
        yield Finding(Kind.KEY_DOUBLED, words, count=doubled)


def _keys(scan: Scan, kinds: pa.Schema) -> Iterator[pa.Table]:
    """The keys of all files in the columns' own types: another writer may have stored them in others that mean the same."""
    for table in scan.keys(lambda _rows: None):
        yield table.cast(kinds)


def _parts(scan: Scan, kinds: pa.Schema, held_bytes_max: int) -> Iterator[pa.Table]:
    """All keys, in parts of about so many bytes, such that all rows of a key are in one part.

    About, as far as one column of the key tells the keys apart.
    """
    held: list[pa.Table] = []
    samples: list[pa.Table] = []
    nbytes = 0
    for table in _keys(scan, kinds):
        nbytes += table.nbytes
        held = [*held, table] if nbytes <= held_bytes_max else []
        samples.append(table.take(list(range(0, table.num_rows, max(1, table.num_rows // SAMPLES_PER_TABLE)))))
    if nbytes <= held_bytes_max:
        yield from [pa.concat_tables(held)] if held else []
        return
    sampled = pa.concat_tables(samples)
    # By the column that tells most keys apart: a tenant or a country may be the same in all rows.
    name = max(sampled.column_names, key=lambda name: pc.count_distinct(sampled.column(name)).as_py())
    sample: Any = sampled.column(name).combine_chunks().drop_null()
    sample = sample.take(pc.sort_indices(sample))
    count = -(-nbytes // held_bytes_max)
    edges = [sample[len(sample) * number // count] for number in range(1, count)]
    for low, high in zip([None, *edges], [*edges, None], strict=True):
        yield pa.concat_tables([table.filter(_inside(table.column(name), low, high)) for table in _keys(scan, kinds)])


def _inside(column: Any, low: Any, high: Any) -> Any:
    inside = pc.is_valid(column)
    if low is not None:
        inside = pc.and_(inside, pc.greater_equal(column, low))
    return inside if high is None else pc.and_(inside, pc.less(column, high))


def _doubled(keys: pa.Table, names: Sequence[str]) -> int:
    """How many keys come more than once. One with a null in it is equal to none."""
    whole: Any = keys.drop_null()
    counts = whole.group_by(list(names)).aggregate([([], "count_all")]).column("count_all")
    return int(pc.sum(pc.greater(counts, 1)).as_py() or 0)
