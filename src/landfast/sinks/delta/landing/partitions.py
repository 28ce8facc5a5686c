"""The rows of a batch split by the partitions of their table, and refused where a partition value would read back as another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

from landfast.errors import Halted, Refusal
from landfast.model import Decoded
from landfast.sinks.delta.files.parquet import Part
from landfast.sinks.delta.files.partitions import codes_of, split, unfit
from landfast.sinks.delta.landing.rows import rejected

# The stubs of pyarrow know neither Python values as operands nor the newer functions.
pc: Any = pyarrow.compute


def parts_of(table: pa.Table, partition_by: Sequence[str], decoded: Sequence[Decoded], partitions_max: int) -> list[Part]:
    """The rows split by partition, in the order of the rows within each.

    Raises:
        Rejected: a partition value that some reader would take for another.
        Halted: the rows belong to more partitions than `partitions_max`.
    """
    if not partition_by:
        return [Part("", {}, table)]
    codes = checked_codes(table, partition_by, decoded, partitions_max)
    return list(split(table, partition_by, codes))


def checked_codes(table: pa.Table, partition_by: Sequence[str], decoded: Sequence[Decoded], partitions_max: int) -> Any:
    """A whole number for each row, the same for rows of the same partition. Raises what `parts_of` raises."""
    codes = codes_of(table, partition_by)
    partitions = pc.count_distinct(codes).as_py()
    if partitions > partitions_max:
        raise _too_many(partitions, partitions_max, partition_by)
    _refuse_unfit(table, partition_by, decoded)
    return codes


def _too_many(partitions: int, partitions_max: int, partition_by: Sequence[str]) -> Halted:
    message = (
        f"a batch has rows for {partitions:,} partitions of the table ({', '.join(partition_by)}), and at most {partitions_max:,} are "
        "allowed, since each takes a file and a folder of its own; nothing of the batch has landed"
    )
    next_step = (
        "Land into a table that is partitioned by something with fewer values, such as a date; "
        "or raise sink.partitions_per_batch_max, or make batches smaller, if so many files are meant."
    )
    return Halted("PARTITIONS_TOO_MANY", message, next_step=next_step)


def _refuse_unfit(table: pa.Table, partition_by: Sequence[str], decoded: Sequence[Decoded]) -> None:
    """Refuse rows whose partition values would read back as others."""
    streams = {(one.chunk.stream.topic, one.chunk.stream.partition): one.chunk.stream for one in decoded}
    refusals: list[Refusal] = []
    for name in partition_by:
        if not pa.types.is_string(table.schema.field(name).type):
            continue
        for value in pc.unique(table.column(name)).to_pylist():
            found = None if value is None else unfit(name, value)
            if found is None:
                continue
            reason, said = found
            rows = table.select(["_topic", "_partition", "_offset"]).filter(pc.equal(table.column(name), value))
            for topic, partition, offset in zip(*(rows.column(index).to_pylist() for index in range(3)), strict=True):
                refusals.append(Refusal(streams[topic, partition], offset, reason, f"column {name} {said}"))
    if refusals:
        raise rejected(refusals)
