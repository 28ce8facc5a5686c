"""The rows of a batch for a table with one row per key: deletions marked, and refused where nobody can tell their key or order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute

from landfast.errors import Refusal, check
from landfast.model import Decoded, Span, Staged
from landfast.sinks.delta.files.own_columns import DELETED
from landfast.sinks.delta.files.staged import StagedNames
from landfast.sinks.delta.landing.rows import rejected
from landfast.sinks.delta.settings import UpsertSettings
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.upserting.order import newest, order_columns
from landfast.sinks.delta.upserting.upsert import Upsert

# The stubs of pyarrow do not know all that its functions take.
pc: Any = pyarrow.compute


@dataclass(frozen=True, slots=True)
class StagedRows:
    """The newest row of each key of a batch, in memory: what becomes of them depends on the table that they are committed to."""

    rows: pa.Table


def marked(rows: pa.Table, upsert: UpsertSettings) -> pa.Table:
    """The decoded rows with the column that says which of them delete: by their marker, or since a decoder has said so."""
    deleted: Any = pa.repeat(pa.scalar(False), rows.num_rows)
    if DELETED in rows.column_names:
        deleted = pc.fill_null(rows.column(DELETED).combine_chunks(), False)
        rows = rows.drop_columns([DELETED])
    if upsert.delete_when is not None and upsert.delete_when in rows.column_names:
        deleted = pc.or_(deleted, pc.fill_null(rows.column(upsert.delete_when).combine_chunks(), False))
    return rows.append_column(pa.field(DELETED, pa.bool_()), deleted)


def staged_rows(rows: pa.Table, decoded: Sequence[Decoded], upsert: UpsertSettings) -> StagedRows:
    """The newest row of each key.

    Raises:
        Rejected: rows whose key or order holds a null.
    """
    streams = {(one.chunk.stream.topic, one.chunk.stream.partition): one.chunk.stream for one in decoded}
    refusals: list[Refusal] = []
    checked = [(name, "key_null", "of the key") for name in upsert.key]
    checked += [] if upsert.order_by is None else [(upsert.order_by, "order_null", "that says which row is the newer")]
    for name, reason, role in checked:
        missing = rows.filter(pc.is_null(rows.column(name))).select(["_topic", "_partition", "_offset"])
        for topic, partition, offset in zip(*(missing.column(index).to_pylist() for index in range(3)), strict=True):
            refusals.append(Refusal(streams[topic, partition], offset, reason, f"column {name}, {role}, is null"))
    if refusals:
        raise rejected(refusals)
    return StagedRows(newest(rows, upsert.key, order_columns(upsert.order_by)))


def upsert_of(home: TableHome, names: StagedNames, upsert: UpsertSettings, spans: Sequence[Span], staged: Sequence[Staged]) -> Upsert:
    """One upsert of all these batches."""
    parts = [rows_of(one) for one in staged]
    filled = [part for part in parts if part.num_rows] or parts[:1]
    return Upsert(home.place, home.clock, names, upsert, spans, pa.concat_tables(filled, promote_options="default"))


def rows_of(staged: Staged) -> pa.Table:
    """The rows of a staged batch."""
    content = staged.content
    check(isinstance(content, StagedRows), "a staged batch that this sink did not make")
    return content.rows if isinstance(content, StagedRows) else pa.table({})
