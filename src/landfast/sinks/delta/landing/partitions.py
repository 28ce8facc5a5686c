"""Rows split by the partitions of their table, and refused where a partition value would read back as another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute

from landfast.errors import Halted, Refusal
from landfast.model import Decoded
from landfast.sinks.delta.files.parquet import Part, partition_text
from landfast.sinks.delta.landing.rows import rejected

# The stubs of pyarrow know neither Python values as operands nor the newer functions.
pc: Any = pyarrow.compute

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
PATH_PIECE_BYTES_MAX = 240
"""Of `column=value` in a path, encoded: a local disk takes 255 bytes for a name."""


def parts_of(table: pa.Table, partition_by: Sequence[str], decoded: Sequence[Decoded], partitions_max: int) -> list[Part]:
    """The rows split by partition, in the order of the rows within each.

    Raises:
        Rejected: a partition value that some reader would take for another.
        Halted: the rows belong to more partitions than `partitions_max`.
    """
    if not partition_by:
        return [Part("", {}, table)]
    codes = _codes(table, partition_by)
    partitions = pc.count_distinct(codes).as_py()
    if partitions > partitions_max:
        raise _too_many(partitions, partitions_max, partition_by)
    _refuse_unfit(table, partition_by, decoded)
    order = pc.sort_indices(codes)  # documented to be stable, so the order read stays the order landed
    ordered, runs = table.take(order), pc.run_end_encode(codes.take(order), run_end_type=pa.int64())
    parts: list[Part] = []
    start = 0
    for end in runs.run_ends.to_pylist():
        values = {name: partition_text(ordered.column(name)[start].as_py()) for name in partition_by}
        folder = "/".join(f"{_hive(name)}={_hive(value)}" for name, value in values.items())
        parts.append(Part(f"{folder}/", values, ordered.slice(start, end - start).drop_columns(list(partition_by))))
        start = end
    return parts


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


def _codes(table: pa.Table, partition_by: Sequence[str]) -> Any:
    codes: Any = pa.repeat(pa.scalar(0, pa.int64()), table.num_rows)
    for name in partition_by:
        encoded = table.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        codes = pc.add(pc.multiply(codes, max(1, len(encoded.dictionary))), encoded.indices.cast(pa.int64()))
        # Dense again after each column, so that the product cannot overflow.
        codes = codes.dictionary_encode().indices.cast(pa.int64())
    return codes


def _refuse_unfit(table: pa.Table, partition_by: Sequence[str], decoded: Sequence[Decoded]) -> None:
    """Refuse rows whose partition values would read back as others."""
    streams = {(one.chunk.stream.topic, one.chunk.stream.partition): one.chunk.stream for one in decoded}
    refusals: list[Refusal] = []
    for name in partition_by:
        if not pa.types.is_string(table.schema.field(name).type):
            continue
        for value in pc.unique(table.column(name)).to_pylist():
            unfit = None if value is None else _unfit(name, value)
            if unfit is None:
                continue
            reason, said = unfit
            rows = table.select(["_topic", "_partition", "_offset"]).filter(pc.equal(table.column(name), value))
            for topic, partition, offset in zip(*(rows.column(index).to_pylist() for index in range(3)), strict=True):
                refusals.append(Refusal(streams[topic, partition], offset, reason, f"column {name} {said}"))
    if refusals:
        raise rejected(refusals)


def _unfit(name: str, value: str) -> tuple[str, str] | None:
    """Why a string cannot be a partition value: a reason and words. None where it can."""
    if value == "":
        return "partition_value_empty", "holds an empty string, which as a partition value reads back as null"
    if value == HIVE_NULL:
        return "partition_value_reserved", "holds the name that stands for null in paths"
    if len(f"{_hive(name)}={_hive(value)}") > PATH_PIECE_BYTES_MAX:
        return "partition_value_too_long", f"makes a path piece longer than {PATH_PIECE_BYTES_MAX} bytes"
    return None


def _hive(text: str | None) -> str:
    """A piece of a path as Hive writes it. The log holds the value itself, but some readers take it from the path."""
    return HIVE_NULL if text is None else quote(text, safe="")
