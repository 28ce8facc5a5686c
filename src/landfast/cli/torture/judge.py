"""The judge: what the producers know was acknowledged, against what lies in the files of the table and of its dead letters.

It shares no code with the engine, the sink or `verify`. Every record is counted, in memory for one window of one partition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
from pyarrow.fs import FileSystem

from landfast.cli.torture.buckets import Bucket, Buckets, buckets_in, read
from landfast.cli.torture.landed import batches, contents, per_lane
from landfast.cli.torture.records import COLUMNS, Column, Fate, Lane, fates_of, numbers_of, value_of
from landfast.errors import check

pc: Any = pyarrow.compute

OFFENDERS_MAX = 100
"""Places that are named of each kind of wrong; the counts are exact all the same."""

WRONGS: Mapping[str, str] = {
    "lost": "acknowledged, and nowhere",
    "doubled": "found more often than once, dead letters included",
    "changed": "found, with other content than was sent",
    "misplaced": "a row that should be dead, or the other way round",
    "aborted": "found, although their transaction was aborted",
    "phantom": "found, and acknowledged to nobody",
    "out_of_order": "landed after a later record of their partition",
}

_ABORTED = 1
"""The lowest bit of a label in the ledger; the number of the record stands above it."""


def label_of(number: int, *, aborted: bool) -> int:
    """What the ledger says of a record beside its offset."""
    return number << 1 | aborted


@dataclass(slots=True)
class Count:
    """What the judge counted. `wrong` has a count for each of `WRONGS`, `places` the first of them as topic, partition and offset."""

    acknowledged: int = 0
    rows: int = 0
    letters: int = 0
    skipped: int = 0
    aborted: int = 0
    wrong: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WRONGS, 0))
    places: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        """Whether every record is in exactly one place, where it belongs, as it was sent, in order."""
        return not any(self.wrong.values())

    def found(self, wrong: str, lane: Lane, offsets: Column) -> None:
        """Count these offsets as wrong."""
        if not len(offsets):
            return
        self.wrong[wrong] += len(offsets)
        known = self.places.setdefault(wrong, [])
        room = OFFENDERS_MAX - len(known)
        known.extend((lane.topic, lane.partition, offset) for offset in offsets.slice(0, room).to_pylist())


@dataclass(frozen=True, slots=True)
class Case:
    """What there is to judge.

    ledger    what was acknowledged
    table, letters    what lies below the roots of the table and of its dead letters
    doubtful  numbers of records of which no producer knows whether they are in the log: they may have landed once, or not at all
    """

    ledger: Path
    table: FileSystem
    letters: FileSystem
    lanes: Sequence[Lane]
    seed: int
    doubtful: frozenset[int] = frozenset()


def judge(case: Case, scratch: Path) -> Count:
    """Count everything. `scratch` is an empty folder to work in."""
    count = Count()
    found = contents(case.table)
    _order(case, found.appended, count)
    _sort_rows(case, found.active, Buckets(scratch / "rows", "judge"), count)
    _sort_letters(case, contents(case.letters).active, Buckets(scratch / "letters", "judge"), count)
    for bucket in sorted(buckets_in(case.ledger) | buckets_in(scratch / "rows") | buckets_in(scratch / "letters")):
        _compare(case, case.lanes[bucket[0]], _Window(case.ledger, scratch, bucket), count)
    return count


def _order(case: Case, appended: Sequence[str], count: Count) -> None:
    """See that the offsets of each partition only grow, from row to row and from commit to commit."""
    known = {(lane.topic, lane.partition): lane for lane in case.lanes}
    reached = dict.fromkeys(known, -1)
    for batch in batches(case.table, appended, ("_topic", "_partition", "_offset")):
        for place, rows in per_lane(batch, "_topic", "_partition"):
            if place not in known:
                continue
            offsets = rows.column("_offset")
            before = pa.concat_arrays([pa.array([reached[place]], pa.int64()), offsets.slice(0, len(offsets) - 1)])
            # What counts is the highest so far: one late row must not excuse the next.
            count.found("out_of_order", known[place], offsets.filter(pc.less_equal(offsets, pc.cumulative_max(before))))
            reached[place] = max(reached[place], pc.max(offsets).as_py())


def _sort_rows(case: Case, active: Sequence[str], into: Buckets, count: Count) -> None:
    names = ("_topic", "_partition", "_offset")
    for batch in batches(case.table, active, (*names, *COLUMNS)):
        found = pa.record_batch([*(batch.column(name) for name in names), numbers_of(batch, case.seed)], names=[*names, "number"])
        for index, rows in _known(found, names, case.lanes, count):
            into.extend(index, rows.column("_offset"), rows.column("number"))


def _sort_letters(case: Case, active: Sequence[str], into: Buckets, count: Count) -> None:
    for batch in batches(case.letters, active, ("topic", "partition", "offset", "value")):
        for index, rows in _known(batch, ("topic", "partition", "offset"), case.lanes, count):
            digests = pa.array([digest_of(value) for value in rows.column("value").to_pylist()], pa.int64())
            into.extend(index, rows.column("offset").cast(pa.int64()), digests)


def _known(batch: pa.RecordBatch, names: tuple[str, str, str], lanes: Sequence[Lane], count: Count) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of each lane, by the lane's index. Rows of any other partition come from nowhere."""
    topic, partition, offset = names
    places = {(lane.topic, lane.partition): index for index, lane in enumerate(lanes)}
    for place, rows in per_lane(batch, topic, partition):
        if place in places:
            yield places[place], rows
        else:
            count.found("phantom", Lane(*place, weight=0), rows.column(offset))


def digest_of(value: bytes | None) -> int:
    """63 bits of a digest of a value."""
    return int.from_bytes(hashlib.blake2b(value or b"", digest_size=8).digest()) >> 1


class _Window:
    """All that is known of one window of a partition."""

    def __init__(self, ledger: Path, scratch: Path, bucket: Bucket) -> None:
        self.offsets, labels = read(ledger, bucket)
        self.numbers = pc.shift_right(labels, pa.scalar(1, pa.int64()))
        self.is_aborted = pc.equal(pc.bit_wise_and(labels, pa.scalar(_ABORTED, pa.int64())), pa.scalar(_ABORTED, pa.int64()))
        self.rows, self.row_numbers = read(scratch / "rows", bucket)
        self.letters, self.letter_digests = read(scratch / "letters", bucket)


def _compare(case: Case, lane: Lane, window: _Window, count: Count) -> None:
    offsets = window.offsets
    check(len(pc.unique(offsets)) == len(offsets), f"the broker acknowledged two records at one offset of {lane.topic}[{lane.partition}]")
    stands = pc.invert(window.is_aborted)
    expected = {fate: offsets.filter(pc.and_(chosen, stands)) for fate, chosen in fates_of(window.numbers).items()}
    aborted = offsets.filter(window.is_aborted)
    count.acknowledged += len(offsets) - len(aborted)
    count.aborted += len(aborted)
    count.rows += len(window.rows)
    count.letters += len(window.letters)
    count.skipped += len(expected[Fate.SKIP])
    everywhere = pa.concat_arrays([window.rows, window.letters])
    places = pc.unique(everywhere)
    for fate in (Fate.ROW, Fate.DEAD):
        count.found("lost", lane, _without(expected[fate], places))
    count.found("doubled", lane, _repeated(everywhere))
    count.found("aborted", lane, _within(places, aborted))
    count.found("phantom", lane, _phantoms(window, case.doubtful))
    for landed, fate in ((window.rows, Fate.DEAD), (window.letters, Fate.ROW), (window.rows, Fate.SKIP), (window.letters, Fate.SKIP)):
        count.found("misplaced", lane, _within(landed, expected[fate]))
    count.found("changed", lane, _changed_rows(window, expected[Fate.ROW]))
    count.found("changed", lane, _changed_letters(window, expected[Fate.DEAD], case.seed))


def _changed_rows(window: _Window, expected: Column) -> Column:
    """Rows that are not what the record at their offset says."""
    chosen = pc.is_in(window.rows, value_set=expected)
    rows, found = window.rows.filter(chosen), window.row_numbers.filter(chosen)
    sent = window.numbers.take(pc.index_in(rows, value_set=window.offsets))
    return rows.filter(pc.not_equal(found, sent))


def _changed_letters(window: _Window, expected: Column, seed: int) -> Column:
    chosen = pc.is_in(window.letters, value_set=expected)
    letters, found = window.letters.filter(chosen), window.letter_digests.filter(chosen)
    sent = window.numbers.take(pc.index_in(letters, value_set=window.offsets)).to_pylist()
    return letters.filter(pc.not_equal(found, pa.array([digest_of(value_of(number, seed)) for number in sent], pa.int64())))


def _phantoms(window: _Window, doubtful: frozenset[int]) -> Column:
    """What landed and was acknowledged to nobody, but for what the producers do not know of."""
    strange = pc.invert(pc.is_in(window.rows, value_set=window.offsets))
    if doubtful:
        strange = pc.and_(strange, pc.invert(pc.is_in(window.row_numbers, value_set=pa.array(sorted(doubtful), pa.int64()))))
    return pa.concat_arrays([window.rows.filter(strange), _without(window.letters, window.offsets)])


def _within(offsets: Column, others: Column) -> Column:
    return offsets.filter(pc.is_in(offsets, value_set=others))


def _without(offsets: Column, others: Column) -> Column:
    return offsets.filter(pc.invert(pc.is_in(offsets, value_set=others)))


def _repeated(offsets: Column) -> Column:
    """Each offset as often as it is there too many times."""
    ordered = offsets.take(pc.sort_indices(offsets))
    return ordered[1:].filter(pc.equal(ordered[1:], ordered[:-1])) if len(ordered) > 1 else ordered[:0]
