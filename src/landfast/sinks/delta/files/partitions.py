"""Rows split by the partitions of their table, and which values a partition cannot have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute

from landfast.sinks.delta.files.parquet import Part, partition_text

# The stubs of pyarrow know neither Python values as operands nor the newer functions.
pc: Any = pyarrow.compute

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
PATH_PIECE_BYTES_MAX = 240
"""Of `column=value` in a path, encoded: a local disk takes 255 bytes for a name."""


def codes_of(table: pa.Table, partition_by: Sequence[str]) -> Any:
    """A whole number for each row, the same for rows of the same partition."""
    codes: Any = pa.repeat(pa.scalar(0, pa.int64()), table.num_rows)
    for name in partition_by:
        encoded = table.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        codes = pc.add(pc.multiply(codes, max(1, len(encoded.dictionary))), encoded.indices.cast(pa.int64()))
        # Dense again after each column, so that the product cannot overflow.
        codes = codes.dictionary_encode().indices.cast(pa.int64())
    return codes


def split(table: pa.Table, partition_by: Sequence[str], codes: Any) -> Iterator[Part]:
    """The rows by partition, in their order within each; `codes` are those of `codes_of`."""
    order = pc.sort_indices(codes)  # documented to be stable
    ordered, runs = table.take(order), pc.run_end_encode(codes.take(order), run_end_type=pa.int64())
    start = 0
    for end in runs.run_ends.to_pylist():
        values = {name: partition_text(ordered.column(name)[start].as_py()) for name in partition_by}
        folder = "/".join(f"{_hive(name)}={_hive(value)}" for name, value in values.items())
        yield Part(f"{folder}/", values, ordered.slice(start, end - start).drop_columns(list(partition_by)))
        start = end


def unfit(name: str, value: str) -> tuple[str, str] | None:
    """Why a string cannot be the value of the partition column `name`: a reason and words. None where it can."""
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
