"""Offsets as Arrow columns: put in order, taken apart by stream, told as ranges."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from landfast.audit import RANGES_MAX, Range
from landfast.model import Position

TopicPartition = tuple[str, int]
"""A topic and a partition: what a row tells of its stream."""

RUNS_MAX = 256
"""A batch whose rows change streams more often than this is sorted first."""
ONE = pa.scalar(1, pa.int64())
COORDINATES = ("_topic", "_partition", "_offset")
Offsets = Any
"""A pyarrow int64 array; pyarrow's own stubs cannot say so where compute functions are involved."""


def by_partition(coordinates: pa.Table) -> Iterator[tuple[TopicPartition | None, Offsets]]:
    """The offsets of each topic partition, ascending, with None for rows that have no coordinates."""
    for (topic, partition), offsets in grouped(coordinates, ("_topic", "_partition"), "_offset"):
        missing = topic is None or partition is None or offsets.null_count > 0
        yield (None if missing else (topic, partition)), offsets


def grouped(table: pa.Table, keys: Sequence[str], value: str) -> Iterator[tuple[tuple[Any, ...], Offsets]]:
    """One column in runs of equal keys, each ascending; a key may come in several runs."""
    starts = _run_starts(table, keys)
    if not starts:
        return
    if len(starts) > RUNS_MAX:
        table = table.sort_by([(name, "ascending") for name in (*keys, value)])
        starts = _run_starts(table, keys)
    values: Offsets = table.column(value).combine_chunks()
    columns = [table.column(name) for name in keys]
    for first, last in zip(starts, [*starts[1:], table.num_rows], strict=True):
        part = values.slice(first, last - first)
        yield tuple(column[first].as_py() for column in columns), part if part.null_count else ascending(part)


def _run_starts(table: pa.Table, keys: Sequence[str]) -> list[int]:
    """Where a key is another than in the row before."""
    if table.num_rows == 0:
        return []
    changed: Any = None
    for name in keys:
        column: Any = table.column(name).combine_chunks()
        left, right = column[1:], column[:-1]
        differs: Any = pc.fill_null(pc.not_equal(left, right), False)
        if column.null_count:
            differs = pc.or_(differs, pc.not_equal(pc.is_null(left), pc.is_null(right)))
        changed = differs if changed is None else pc.or_(changed, differs)
    return [0, *(index + 1 for index in pc.indices_nonzero(changed).to_pylist())]


def ascending(offsets: Offsets) -> Offsets:
    """The offsets in order; no copy where they are already."""
    if len(offsets) < 2 or pc.all(pc.less_equal(offsets[:-1], offsets[1:])).as_py():  # noqa: PLR2004 — one offset is in order
        return offsets
    return offsets.take(pc.sort_indices(offsets))


def viewed(offsets: Offsets) -> memoryview:
    """The offsets as a sequence that `bisect` can walk without making a Python object of each."""
    if len(offsets) == 0:
        return memoryview(b"").cast("q")
    return memoryview(offsets.buffers()[1]).cast("B").cast("q")[offsets.offset : offsets.offset + len(offsets)]


def within(offsets: Offsets | None, start: Position, end: Position) -> Offsets:
    """The part of ascending offsets that lies in `[start, end)`."""
    if offsets is None:
        return pa.array([], pa.int64())
    view = viewed(offsets)
    first = bisect.bisect_left(view, start)
    return offsets.slice(first, bisect.bisect_left(view, end) - first)


def ranges_of(offsets: Offsets, ranges_max: int = RANGES_MAX) -> list[Range]:
    """Ascending offsets as half-open ranges, the first `ranges_max` of them."""
    if len(offsets) == 0 or ranges_max <= 0:
        return []
    jumps: Any = pc.indices_nonzero(pc.greater(pc.subtract(offsets[1:], offsets[:-1]), ONE))
    lasts = [*jumps[:ranges_max].to_pylist(), len(offsets) - 1][:ranges_max]
    firsts = [0, *(last + 1 for last in lasts)]
    view = viewed(offsets)
    return [(view[first], view[last] + 1) for first, last in zip(firsts, lasts, strict=False)]


def complement(offsets: Offsets, start: Position, end: Position, ranges_max: int = RANGES_MAX) -> tuple[list[Range], int]:
    """What of `[start, end)` the ascending offsets leave free: the first `ranges_max` ranges, and how many offsets in all."""
    distinct = pc.unique(offsets)
    taken: Any = pa.concat_arrays([pa.array([start - 1], pa.int64()), distinct, pa.array([end], pa.int64())])
    jumps: Any = pc.indices_nonzero(pc.greater(pc.subtract(taken[1:], taken[:-1]), ONE))
    view = viewed(taken)
    ranges = [(view[index] + 1, view[index + 1]) for index in jumps[:ranges_max].to_pylist()]
    return ranges, end - start - len(distinct)
