"""The columns that Landfast adds to those of the data: where a row comes from, and what no column took."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute

RESCUED = "_rescued"
DELETED = "_deleted"
"""In a table with one row per key: whether the newest record says that what it is about is deleted."""
_SYSTEM_FIELDS: list[pa.Field[Any]] = [
    pa.field("_topic", pa.string()),
    pa.field("_partition", pa.int32()),
    pa.field("_offset", pa.int64()),
    pa.field("_timestamp", pa.timestamp("us", "UTC")),
]
SYSTEM_SCHEMA = pa.schema(_SYSTEM_FIELDS)
SYSTEM_COLUMNS: tuple[str, ...] = tuple(SYSTEM_SCHEMA.names)
