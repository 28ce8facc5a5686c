"""Reads the files of a table for a proof: is each there, are its bytes as they were written, and which coordinates does it hold.

Every column of every page is read, with its checksum verified, but only coordinates are kept. A page checksum covers the values, not the
footer; the footer is checked against what the table's log says of the file: its size, its rows, its columns. All of this tells what is
wrong, and where; that the file is the one that was written is told by the digest of its bytes that stands in the log.
"""

from __future__ import annotations

import enum
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from landfast.audit import Finding, Kind
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.files.names import is_own
from landfast.sinks.delta.files.paths import local_path
from landfast.sinks.delta.files.plain import plain
from landfast.sinks.delta.files.storage import Files, files_of
from landfast.sinks.delta.log.active import ActiveFile, active_files
from landfast.sinks.delta.log.digests import digests_of
from landfast.sinks.delta.proof.offsets import COORDINATES, Offsets, TopicPartition, ascending, by_partition, grouped, ranges_of
from landfast.sinks.delta.table.place import shape_of

BATCH_ROWS = 131_072
UNREADABLE = (OSError, ValueError, KeyError, pa.ArrowException)
"""What pyarrow raises on bytes that are not what they should be. The bytes are in memory by then, so this is no fault of a store."""


class Depth(enum.StrEnum):
    """How much of each file is read."""

    EVERY_PAGE = "every_page"
    """All bytes, compared with their digest, and all columns, checksums verified."""
    COORDINATES = "coordinates"
    """The footer and the coordinates only: counts are proved, other columns are not looked at."""


@dataclass(frozen=True, slots=True)
class Content:
    """One file's bytes, opened."""

    file: ActiveFile
    parquet: pq.ParquetFile
    buffer: pa.Buffer


class Scan:
    """Reads the files of one table, in the order of their commits. Collects findings instead of raising."""

    def __init__(
        self,
        path: str,
        storage_options: Mapping[str, str],
        table: DeltaTable,
        *,
        keys: Sequence[str],
        depth: Depth,
        beside: Sequence[str] = (),
    ) -> None:
        self.files: Files = files_of(path, storage_options)
        self._root: Path | None = local_path(path)
        self.key_names = tuple(keys)
        self._names = (*keys, *beside)
        self._depth = depth
        self._schema = shape_of(table).schema
        with mapped("listing the files of the table"):
            self.active = active_files(table)
            self._digests = digests_of(self.files, table.version(), [file.path for file in self.active]) if self._every_page else {}
        self.findings: list[Finding] = []
        self.nbytes = self.digested = 0

    @property
    def undigested(self) -> int:
        """How many files of ours have no digest in the table's log, where it was looked for. Those of others never have one."""
        return sum(is_own(file.path) and file.path not in self._digests for file in self.active) if self._every_page else 0

    @property
    def _every_page(self) -> bool:
        return self._depth is Depth.EVERY_PAGE

    def keys(self, progress: Callable[[int], None]) -> Iterator[pa.Table]:
        """The key columns of every file, and those beside, checking each on the way. One that cannot be read yields what it can."""
        for file in self.active:
            said = len(self.findings)
            content = self._open(file)
            if content is None:
                continue
            self.nbytes += content.buffer.size
            yield from self._key_tables(content, self.findings)
            if self._every_page:
                self._read_rest(content)
                # What has been said of the file already says more exactly what is wrong with it.
                if not self._as_written(content) and len(self.findings) == said:
                    self.findings.extend(self._changed(file))
            progress(content.parquet.metadata.num_rows)

    def keys_again(self, files: Sequence[ActiveFile] | None = None) -> Iterator[pa.Table]:
        """The key columns once more, of these files or of all; what is wrong with a file has been said before."""
        for file in self.active if files is None else files:
            content = self._open(file, said := list[Finding]())
            if content is not None:
                yield from self._key_tables(content, said)

    def held(self, file: ActiveFile) -> dict[TopicPartition, Offsets]:
        """The offsets of the file's rows by topic and partition; rows without coordinates are none of ours."""
        found: defaultdict[TopicPartition, list[Offsets]] = defaultdict(list)
        *names, offset_name = self.key_names
        for keys in self.keys_again([file]):
            for values, offsets in grouped(keys, names, offset_name):
                if None not in values and not offsets.null_count:
                    found[values[0], values[-1]].append(offsets)
        return {partition: ascending(pa.concat_arrays(parts)) for partition, parts in found.items()}

    def _as_written(self, content: Content) -> bool:
        """Whether the file's bytes are those whose digest is in the log, as far as it has one."""
        digest = self._digests.get(content.file.path)
        if digest is None:
            return True
        self.digested += 1
        return hashlib.sha256(content.buffer).hexdigest() == digest

    def _changed(self, file: ActiveFile) -> Iterator[Finding]:
        """One finding for each partition with rows in the file; its coordinates are not those that were written either, maybe."""
        right = f"any value in it may be another, and a copy with the SHA-256 {self._digests[file.path]} is the right one"
        held = self.held(file)
        if not held:
            words = f"this file is sound, but not the one that was written: {right}"
            yield Finding(Kind.FILE_CHANGED, words, count=file.rows or 0, file=file.path)
        for (topic, number), offsets in sorted(held.items()):
            words = f"this file, with rows of {topic}[{number}], is sound, but not the one that was written: {right}"
            yield Finding(Kind.FILE_CHANGED, words, None, tuple(ranges_of(offsets)), len(offsets), file.path)

    def _open(self, file: ActiveFile, findings: list[Finding] | None = None) -> Content | None:
        found = self.findings if findings is None else findings
        buffer = self._content(file.path)
        if buffer is None:
            rows = "" if file.rows is None else f" with its {file.rows} rows"
            found.append(Finding(Kind.FILE_MISSING, f"the table's log names this file{rows}, and it is not there", file=file.path))
            return None
        if buffer.size != file.nbytes:
            words = f"the file has {buffer.size} bytes, and the table's log says {file.nbytes}"
            found.append(Finding(Kind.FILE_CORRUPT, words, file=file.path))
        try:
            parquet = pq.ParquetFile(pa.BufferReader(buffer), page_checksum_verification=True)
        except UNREADABLE as error:
            found.append(Finding(Kind.FILE_CORRUPT, f"the file's footer cannot be read ({type(error).__name__})", file=file.path))
            return None
        rows_stored = parquet.metadata.num_rows
        if file.rows is not None and rows_stored != file.rows:
            words = f"the file's footer says {rows_stored} rows, and the table's log says {file.rows}"
            found.append(Finding(Kind.FILE_COUNT_MISMATCH, words, count=abs(rows_stored - file.rows), file=file.path))
        strange = self._strange_columns(file, parquet.schema_arrow)
        if strange:
            words = f"the file's footer and the table disagree on the columns {', '.join(strange)}"
            found.append(Finding(Kind.FILE_CORRUPT, words, count=len(strange), file=file.path))
        return Content(file, parquet, buffer)

    def _strange_columns(self, file: ActiveFile, stored: pa.Schema) -> list[str]:
        """Columns of a file that its table does not have; or, where the file is ours, has otherwise, and not only made optional since."""
        known = {field.name: field for field in self._schema}
        return sorted(
            repr(field.name) for field in stored if field.name not in known or (is_own(file.path) and not _fits(field, known[field.name]))
        )

    def _content(self, path: str) -> pa.Buffer | None:
        with mapped("reading a file of the table"):
            if self._root is None:
                stored = self.files.read(path)
                return None if stored is None else pa.py_buffer(stored)
            try:
                with pa.memory_map(str(self._root / path)) as mapped_file:
                    return mapped_file.read_buffer()
            except FileNotFoundError:
                return None

    def _key_tables(self, content: Content, findings: list[Finding]) -> Iterator[pa.Table]:
        stored = [name for name in self._names if name in content.parquet.schema_arrow.names]
        given = {name: content.file.partition_values[name] for name in self._names if name in content.file.partition_values}
        absent = [name for name in self._names if name not in stored and name not in given]
        try:
            for batch in content.parquet.iter_batches(batch_size=BATCH_ROWS, columns=stored):
                found = plain(batch)
                columns = {name: found.column(name) for name in stored}
                for name in (*given, *absent):
                    kind = self._schema.field(name).type if name in self._schema.names else pa.null()
                    columns[name] = pa.repeat(pa.scalar(given.get(name), kind), batch.num_rows)
                yield pa.table({name: columns[name] for name in self._names})  # refuses columns of unequal length
        except UNREADABLE as error:
            words = f"the file's coordinates cannot be read ({type(error).__name__}); rows that it held count as lost"
            findings.append(Finding(Kind.FILE_CORRUPT, words, file=content.file.path))

    def _read_rest(self, content: Content) -> None:
        rest = [name for name in content.parquet.schema_arrow.names if name not in self.key_names]
        for group in range(content.parquet.metadata.num_row_groups):
            if rest and not _readable(content.parquet, group, rest):
                bad = [name for name in rest if not _readable(content.parquet, group, [name])]
                self.findings.extend(self._corrupt(content, group, bad))

    def _corrupt(self, content: Content, group: int, columns: Sequence[str]) -> list[Finding]:
        words = f"the values of {', '.join(columns) or 'a column'} do not match their checksum"
        if self.key_names != COORDINATES:
            return [Finding(Kind.FILE_CORRUPT, words, count=content.parquet.metadata.row_group(group).num_rows, file=content.file.path)]
        try:
            coordinates = content.parquet.read_row_group(group, columns=list(self.key_names))
            return [
                Finding(
                    Kind.FILE_CORRUPT,
                    f"{words} {_partition_words(partition)}",
                    None,
                    tuple(ranges_of(offsets)),
                    len(offsets),
                    content.file.path,
                )
                for partition, offsets in by_partition(coordinates)
            ]
        except UNREADABLE:
            return [Finding(Kind.FILE_CORRUPT, words, file=content.file.path)]


def _fits(stored: pa.Field[Any], known: pa.Field[Any]) -> bool:
    return stored.type.equals(known.type) and (known.nullable or not stored.nullable)


def _partition_words(partition: TopicPartition | None) -> str:
    return "in rows without coordinates" if partition is None else f"in rows of {partition[0]}[{partition[1]}]"


def _readable(parquet: pq.ParquetFile, group: int, columns: Sequence[str]) -> bool:
    """Whether all values of these columns can be read, with their checksums, and are as many as there are rows."""
    rows = 0
    try:
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], columns=list(columns)):
            rows += batch.num_rows
            if any(len(column) != batch.num_rows for column in batch.columns):
                return False
    except UNREADABLE:
        return False
    return rows == parquet.metadata.row_group(group).num_rows
