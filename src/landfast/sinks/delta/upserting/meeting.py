"""What rows of a batch and rows of a file come to, key by key: the newer of two stays.

What they come to depends on these rows alone. So it holds for as long as the file is part of the table, whatever else is committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute

from landfast.sinks.delta.files.rewriting import columns_of
from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.log.active import ActiveFile
from landfast.sinks.delta.upserting.keys import KeyIndex
from landfast.sinks.delta.upserting.order import later

# The stubs of pyarrow do not know all that its functions take.
pc: Any = pyarrow.compute


@dataclass(frozen=True, slots=True)
class Meeting:
    """What a file and a batch come to.

    outdated    the file's rows that make way, by their number in it, ascending
    replacing   which rows of the batch take the place of rows that came from a log
    older       which rows of the batch are not newer than what the file holds under their key
    """

    outdated: Any
    replacing: Any
    older: Any


def met(files: Files, file: ActiveFile, schema: pa.Schema, rows: pa.Table, index: KeyIndex, order: Sequence[str]) -> Meeting:
    """Let the rows, of which `index` knows the keys, meet those of a file. Reads key and order of the file, a part at a time."""
    outdated: list[Any] = []
    replacing: list[Any] = []
    older: list[Any] = []
    wanted = pa.schema([schema.field(name) for name in dict.fromkeys((*index.key, *order))])
    for first, stored in _numbered(columns_of(files, file.path, wanted, dict(file.partition_values))):
        found: Any = index.find(stored)
        places = pc.indices_nonzero(pc.is_valid(found))
        if not len(places):
            continue
        ours, there = found.take(places), stored.take(places)
        wins = later([rows.column(name).take(ours) for name in order], [there.column(name) for name in order])
        wins = wins.combine_chunks() if isinstance(wins, pa.ChunkedArray) else wins
        outdated.append(pc.add(places.filter(wins).cast(pa.int64()), first))
        of_a_log = pc.is_valid(there.column("_offset").combine_chunks())
        replacing.append(ours.filter(pc.and_(wins, of_a_log)))
        older.append(ours.filter(pc.invert(wins)))
    return Meeting(*(_joined(parts) for parts in (outdated, replacing, older)))


def _numbered(tables: Iterator[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    first = 0
    for table in tables:
        yield first, table
        first += table.num_rows


def _joined(parts: Sequence[Any]) -> Any:
    return pa.concat_arrays([pa.array([], pa.int64()), *(part.cast(pa.int64()) for part in parts)])
