"""Rows of any number as files of a table that no commit names yet, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute

from landfast.errors import Misconfigured, Rejected
from landfast.sinks.delta.files.parquet import DataFile, Part
from landfast.sinks.delta.files.partitions import codes_of, split, unfit
from landfast.sinks.delta.writing.values import DeltaWriteOptions
from landfast.threads import Threads

# The stubs of pyarrow know neither Python values as operands nor the newer functions.
pc: Any = pyarrow.compute


@dataclass(slots=True)
class _Held:
    """Rows of one partition that wait for their file."""

    values: dict[str, str | None]
    rows: list[pa.Table] = field(default_factory=list)
    nbytes: int = 0


class Staging:
    """Takes in rows in their order and makes files of them, each of one partition. `write` makes a file of a part, durable.

    A file is made when the rows of its partition are large enough for one; and of the largest partition, when all rows held together are
    as large as memory allows. One file at a time is made, on a thread of its own, while the next rows are read.
    """

    def __init__(self, partition_by: tuple[str, ...], options: DeltaWriteOptions, write: Callable[[Part], DataFile]) -> None:
        self._partition_by = partition_by
        self._options = options
        self._write = write
        self._held: dict[str, _Held] = {}
        self._held_bytes = 0
        self._folders: set[str] = set()
        self._maker = Threads("landfast-files")
        self._making: tuple[Future[DataFile], int] | None = None
        self._files: list[DataFile] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in the next rows.

        Raises:
            Rejected: a partition value that some reader would take for another.
            Misconfigured: the rows belong to more partitions than allowed.
        """
        for part in self._parts(pa.Table.from_batches([batch])):
            held = self._held.setdefault(part.folder, _Held(part.values))
            # A slice would hold the whole batch in memory.
            rows = part.rows if not self._partition_by else pa.Table.from_batches(part.rows.combine_chunks().to_batches())
            held.rows.append(rows)
            held.nbytes += rows.nbytes
            self._held_bytes += rows.nbytes
            if held.nbytes >= self._options.target_file_bytes:
                self._make_file(part.folder)
        while self._held_bytes >= self._options.memory_bytes_max:
            if self._making is None:
                self._make_file(max(self._held, key=lambda folder: self._held[folder].nbytes))
            self._end_making()

    def finish(self) -> tuple[DataFile, ...]:
        """Make files of all that is held; all files, in the order in which they were made."""
        for folder in list(self._held):
            self._make_file(folder)
        self._end_making()
        return tuple(self._files)

    def close(self) -> None:
        """Make no more files. Idempotent."""
        self._maker.close()

    def _parts(self, table: pa.Table) -> Iterable[Part]:
        if not self._partition_by:
            return [Part("", {}, table)]
        self._refuse_unfit(table)
        parts = list(split(table, self._partition_by, codes_of(table, self._partition_by)))
        self._folders.update(part.folder for part in parts)
        if len(self._folders) > self._options.partitions_max:
            message = f"the rows belong to more than {self._options.partitions_max:,} partitions of the table, each with a file of its own"
            next_step = "Partition the table by something with fewer values, such as a date, or raise partitions_max. Nothing has landed."
            raise Misconfigured("PARTITIONS_TOO_MANY", message, next_step=next_step)
        return parts

    def _refuse_unfit(self, table: pa.Table) -> None:
        for name in self._partition_by:
            if not pa.types.is_string(table.schema.field(name).type):
                continue
            found = next(
                filter(None, (unfit(name, value) for value in pc.unique(table.column(name)).to_pylist() if value is not None)), None
            )
            if found is not None:
                next_step = "Correct the rows and write them again under the same version. Nothing of this write has landed."
                raise Rejected("ROWS_REFUSED", f"column {name} {found[1]}", refusals=(), next_step=next_step)

    def _make_file(self, folder: str) -> None:
        self._end_making()
        held = self._held.pop(folder)
        part = Part(folder, held.values, pa.concat_tables(held.rows))
        self._making = self._maker.submit(partial(self._write, part)), held.nbytes

    def _end_making(self) -> None:
        """Wait for the file that is being made: its rows count as held until it is there."""
        making, self._making = self._making, None
        if making is not None:
            self._files.append(making[0].result())
            self._held_bytes -= making[1]
