"""Small files made into large ones, as one commit of our own that changes no row.

deltalake's `optimize` is never used: two of them at once double every row. Ours is put as the very next entry of the log, so of two that
meet one is refused, and written so that an `optimize` of somebody else that has begun before it is refused as well. Every row of the new
file is compared with the old ones before the commit, and nothing that was written is deleted when a commit fails: its outcome may be
"committed".
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from deltalake import DeltaTable

from landfast.errors import Broken, check
from landfast.sinks.delta.files.names import is_own, new_file_name
from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.files.rewriting import Form, form_of, rows_of, written_again
from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.log.active import ActiveFile, active_files, partition_texts
from landfast.sinks.delta.log.app_ids import COMPACTOR
from landfast.sinks.delta.log.digests import first_changed
from landfast.sinks.delta.log.entries import fingerprint
from landfast.sinks.delta.log.entry_text import rewrite_text
from landfast.sinks.delta.log.record import compaction_metadata
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.place import Shape, shape_of

COMMIT_ATTEMPTS_MAX = 5
GROUP_FILES_MAX = 256
"""However small they are: reading a file has a price of its own, and landing waits while a group is joined."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Which files are worth it, and how much is taken at once.

    file_bytes_small       only files below this are compacted
    files_min              so many of them make it worthwhile
    bytes_max              stored bytes of the files that one commit replaces
    row_group_bytes_max    rows held in memory, decoded
    """

    file_bytes_small: int
    files_min: int
    bytes_max: int
    row_group_bytes_max: int


def due(table: DeltaTable, limits: Limits) -> list[list[ActiveFile]]:
    """Groups of small files of one partition each, oldest first, every group worth a commit and within the limits.

    Foreign files are left alone: a proof goes by a file's name when it asks who has written it.
    """
    by_partition: defaultdict[str, list[ActiveFile]] = defaultdict(list)
    for file in active_files(table):
        if is_own(file.path) and file.nbytes < limits.file_bytes_small and file.rows is not None:
            by_partition[json.dumps(partition_texts(file))].append(file)
    groups: list[list[ActiveFile]] = []
    files_max = max(limits.files_min, GROUP_FILES_MAX)
    for small in by_partition.values():
        group: list[ActiveFile] = []
        nbytes = 0
        for file in small:
            if group and (nbytes + file.nbytes > limits.bytes_max or len(group) >= files_max):
                groups.append(group)
                group, nbytes = [], 0
            group.append(file)
            nbytes += file.nbytes
        groups.append(group)
    return [group for group in groups if len(group) >= limits.files_min]


def compact(
    table: DeltaTable,
    files: Files,
    group: Sequence[ActiveFile],
    digests: Mapping[str, str],
    settings: DeltaSettings,
    limits: Limits,
    now: float,
) -> DataFile | None:
    """Replace the group by one file in one commit; None where somebody else changed one of its files first, or was always quicker.

    Every log entry up to the handle's version is durable. Appends of others do not disturb it. The new file of an attempt that fails stays
    where it is, for the sweep. `digests` are those that the log has of the old files: what is not as it was written is never joined, since
    the digest of the new file would vouch for it.

    Raises:
        Broken: an old file is not as it was written, or the new one does not hold the rows of the old ones; nothing was committed.
    """
    shape = shape_of(table)
    old = [file.path for file in group]
    changed = first_changed(files, {path: digests[path] for path in old if path in digests})
    if changed is not None:
        message = f"the bytes of {changed} are not those that were written, and small files stay as they are beside it"
        next_step = "Run `landfast verify`, which names what else is changed, and put the file back from a copy."
        raise Broken("FILE_CHANGED", message, next_step=next_step)
    form = _form(shape, settings, limits)
    path = f"{group[0].path.rpartition('/')[0]}/{new_file_name('landfast')}".lstrip("/")
    written = written_again(files, path, rows_of(files, old, form), form, partition_texts(group[0]), now)
    rows = sum(file.rows or 0 for file in group)
    check(written.rows == rows, f"a compacted file holds {written.rows} rows instead of {rows}")
    check(_same(rows_of(files, old, form), rows_of(files, [written.path], form)), "a compacted file holds other rows")
    for _ in range(COMMIT_ATTEMPTS_MAX):
        seen = table.version()
        table.update_incremental()
        # What is committed stands on what others have committed, so that has to be durable as well.
        files.sync_log(range(seen + 1, table.version() + 1))
        if not set(old) <= {file.path for file in active_files(table)} or shape_of(table) != shape:
            return None
        if _committed(table, files, group, written):
            table.update_incremental()
            return written
    return None


def _committed(table: DeltaTable, files: Files, group: Sequence[ActiveFile], written: DataFile) -> bool:
    """Commit only if nobody has committed since the handle's snapshot, in which every file of the group was active."""
    version = table.version()
    end = fingerprint(files, version)
    moved = {COMPACTOR: (table.transaction_version(COMPACTOR) or 0) + 1}
    text = rewrite_text(compaction_metadata(len(group), written.rows), moved, table, group, written)
    # Where the log has changed meanwhile, what was made may lie where nobody reads it.
    return files.put_entry(version + 1, text) and fingerprint(files, version) == end


def _form(shape: Shape, settings: DeltaSettings, limits: Limits) -> Form:
    return form_of(
        shape.schema,
        shape.partition_by,
        compression_level=settings.compression_level,
        rows=settings.row_group_rows_max,
        nbytes=limits.row_group_bytes_max,
        bounded=settings.key,
    )


def _same(left: Iterator[pa.Table], right: Iterator[pa.Table]) -> bool:
    """Whether two sequences of tables hold the same rows in the same order, bit for bit, however they are cut."""
    one: pa.Table | None = None
    other: pa.Table | None = None
    while True:
        one = one if one is not None and one.num_rows else next((table for table in left if table.num_rows), None)
        other = other if other is not None and other.num_rows else next((table for table in right if table.num_rows), None)
        if one is None or other is None:
            return one is None and other is None
        rows = min(one.num_rows, other.num_rows)
        if not _bits(one.slice(0, rows)).equals(_bits(other.slice(0, rows))):
            return False
        one, other = one.slice(rows), other.slice(rows)


def _bits(table: pa.Table) -> pa.Table:
    """The table with its floats as integers, so that NaN equals itself and -0.0 is not 0.0."""
    columns = [table.column(field.name).combine_chunks() for field in table.schema]
    return pa.table({field.name: column.view(_integral(field.type)) for field, column in zip(table.schema, columns, strict=True)})


_INTEGERS: dict[int, pa.DataType] = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}


def _integral(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_floating(kind):
        return _INTEGERS[kind.bit_width]
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_integral(field.type)) for field in kind.fields])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_integral(kind.value_type)))
    if pa.types.is_map(kind):
        return pa.map_(_integral(kind.key_type), _integral(kind.item_type))
    return kind
