"""Which of two rows is the newer: by a column, and where that is equal, or there is none, by where the records lie in their log.

The order is total, and the same whoever asks, so that what a table comes to depends on the records that have landed and on nothing else:
not on how they were cut into batches, which worker landed first, or how often something was repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

from landfast.sinks.delta.files.partitions import codes_of

# The stubs of pyarrow do not know all that its functions take.
pc: Any = pyarrow.compute

POSITION = ("_topic", "_partition", "_offset")
"""Where a record lies in its log: within one partition, its offset."""


def order_columns(order_by: str | None) -> tuple[str, ...]:
    """The columns that say which row is the newer, the first of them first."""
    return POSITION if order_by is None else (order_by, *POSITION)


def later(ours: Sequence[Any], theirs: Sequence[Any]) -> Any:
    """Whether each of our rows is newer than theirs beside it, by these columns of both.

    A null of theirs is before everything: another writer put that row there, and nobody knows when. A row is not newer than itself.
    """
    verdict: Any = pa.repeat(pa.scalar(False), len(ours[0]))
    for one, other in zip(reversed(ours), reversed(theirs), strict=True):
        verdict = pc.if_else(pc.fill_null(pc.equal(one, other), False), verdict, pc.fill_null(pc.greater(one, other), True))
    return verdict


def newest(rows: pa.Table, key: Sequence[str], order: Sequence[str]) -> pa.Table:
    """Of each key the newest row, in the order of the rows. No value of these columns is null."""
    codes: Any = codes_of(rows, key)
    if rows.num_rows == pc.count_distinct(codes).as_py():
        return rows
    places = [f"order {number}" for number in range(len(order))]
    ordered = pa.table([codes, *(rows.column(name) for name in order)], names=["key", *places])
    indices = pc.sort_indices(ordered, sort_keys=[(name, "ascending") for name in ordered.column_names])
    ends = pc.run_end_encode(codes.take(indices), run_end_type=pa.int64()).run_ends
    lasts = indices.take(pc.subtract(ends, 1))
    return rows.take(lasts.take(pc.sort_indices(lasts)))
