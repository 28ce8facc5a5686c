"""One write, once: its rows become files that nobody sees, and then one commit, or none."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
from deltalake import DeltaTable

from landfast.errors import Misconfigured
from landfast.ports import Clock, Observer
from landfast.sinks.delta.errors import looked
from landfast.sinks.delta.files import parquet
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.names import new_write_name
from landfast.sinks.delta.files.parquet import DataFile, Part
from landfast.sinks.delta.files.paths import check_way, shown
from landfast.sinks.delta.log.entries import fingerprint, has_table
from landfast.sinks.delta.log.mending import mend
from landfast.sinks.delta.log.tail import lost_tail
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.columns import add_columns, creation_problems
from landfast.sinks.delta.table.creation import create_or_open
from landfast.sinks.delta.table.place import Place, Shape, place_of, shape_of
from landfast.sinks.delta.writing import fitting
from landfast.sinks.delta.writing.attempts import Journal
from landfast.sinks.delta.writing.commit import Committer, Prepared, Ways, has_landed, refusals
from landfast.sinks.delta.writing.digest import RowsDigest
from landfast.sinks.delta.writing.fitting import Fitting
from landfast.sinks.delta.writing.persistence import Persistence
from landfast.sinks.delta.writing.replacing import Replacement, Spill
from landfast.sinks.delta.writing.staging import Staging
from landfast.sinks.delta.writing.values import (
    DeltaWriteOptions,
    DeltaWriteResult,
    DeltaWriteRetryPolicy,
    IdempotentWriteOptions,
    Mode,
)


@dataclass(frozen=True, slots=True)
class Target:
    """A table to write to, and how to reach it."""

    place: Place
    clock: Clock
    observer: Observer


def target_of(
    path: str,
    storage_options: Mapping[str, str],
    options: DeltaWriteOptions,
    clock: Clock,
    observer: Observer,
    disk: Disk | None = None,
) -> Target:
    """The table at `path`. `disk` is for tests."""
    settings = DeltaSettings(
        path,
        storage_options,
        options.partition_by,
        compression_level=options.compression_level,
        row_group_rows_max=options.row_group_rows_max,
        file_bytes_target=options.target_file_bytes,
    )
    return Target(place_of(settings, disk), clock, observer)


def write(
    target: Target, data: object, identity: IdempotentWriteOptions, options: DeltaWriteOptions, policy: DeltaWriteRetryPolicy
) -> DeltaWriteResult:
    """See `landfast.write_idempotent`."""
    call = uuid.uuid4().hex
    if options.attempts is None:
        return _write(Preparation(target, identity, options, Persistence(policy, target.clock), call), data, None)
    journal = Journal(identity, call, target.clock)
    settings = target.place.settings
    with journal.kept(settings.path, settings.storage_options):
        return _write(Preparation(target, identity, options, Persistence(policy, target.clock), call), data, journal)


def _write(preparation: Preparation, data: object, journal: Journal | None) -> DeltaWriteResult:
    reader = fitting.read(data)
    handle = preparation.opened(reader.schema)
    if has_landed(handle, preparation.identity):
        done = preparation.committer(Ways()).already(handle, preparation.looked_through(reader, handle))
        if journal is not None:
            journal.ended(0, done)
        return done
    predicate = preparation.options.predicate
    if predicate is None:
        return preparation.committer(Ways(journal=journal)).land(preparation.prepared(reader, handle))
    with contextlib.closing(Spill(shape_of(handle).schema)) as rows:
        spilled = preparation.spilled(reader, handle, rows)
        return preparation.committer(Ways(Replacement(predicate, rows, preparation.options), journal)).land(spilled)


class Preparation:
    """Makes files of the rows of one write, in a table that is there and has their columns."""

    def __init__(
        self, target: Target, identity: IdempotentWriteOptions, options: DeltaWriteOptions, persistence: Persistence, call: str
    ) -> None:
        self._place = target.place
        self._clock = target.clock
        self._observer = target.observer
        self.identity = identity
        self.options = options
        self._persistence = persistence
        self._call = call
        self._seen: tuple[DeltaTable, str] | None = None
        self._certain = -1

    def committer(self, ways: Ways) -> Committer:
        """What lands the write."""
        return Committer(self._place, self._clock, self._persistence, replace(ways, seen=self._seen, certain=self._certain))

    def opened(self, schema: pa.Schema) -> DeltaTable:
        """The table, made sound after a power cut, created where it is missing, with all columns that rows of this schema need.

        Raises:
            Misconfigured: the table is not what the write needs.
        """
        return self._persistence.tries("opening the table", lambda _: self._opened(schema))

    def prepared(self, reader: pa.RecordBatchReader, handle: DeltaTable, sealing: str = "") -> Prepared:
        """All rows of the reader as files, durable, that no commit names yet."""
        shape = shape_of(handle)
        with contextlib.closing(Staging(shape.partition_by, self.options, self._make_file)) as staging:
            digest = self._digested(reader, shape, staging.add)
            return self._made(handle, digest, staging.finish(), sealing)

    def spilled(self, reader: pa.RecordBatchReader, handle: DeltaTable, rows: Spill) -> Prepared:
        """All rows of the reader spilled, to take the place of a part of the table."""
        digest = self._digested(reader, shape_of(handle), rows.add)
        rows.finish()
        return self._made(handle, digest)

    def looked_through(self, reader: pa.RecordBatchReader, handle: DeltaTable) -> Prepared:
        """The same without files: to see whether the rows are those that have landed."""
        return self._made(handle, self._digested(reader, shape_of(handle), lambda _: None))

    def _made(self, handle: DeltaTable, digest: RowsDigest, files: tuple[DataFile, ...] = (), sealing: str = "") -> Prepared:
        counted = (digest.hexdigest(), digest.rows)
        return Prepared(self.identity, self._mode, str(handle.metadata().id), shape_of(handle), files, *counted, self._call, sealing)

    @property
    def _mode(self) -> Mode:
        return "overwrite" if self.options.mode == "overwrite" else "append"

    def _digested(self, reader: pa.RecordBatchReader, shape: Shape, take: Callable[[pa.RecordBatch], None]) -> RowsDigest:
        """The digest of all rows, each of which is fitted to the table and taken."""
        # Of their own columns, by name: the table may be given more before the write is repeated.
        named = sorted(reader.schema.names)
        fitter = Fitting(reader.schema, shape.schema)
        digest = RowsDigest(pa.schema([shape.schema.field(name) for name in named]))
        for batch in fitting.batches_of(reader, fitter):
            digest.add(batch.select(named))
            take(batch)
        return digest

    def _opened(self, schema: pa.Schema) -> DeltaTable:
        """The table, made sound after a power cut, created where it is missing, with all columns that the rows need."""
        place, options, path = self._place, self.options, self._place.settings.path
        with looked("opening the table"):
            check_way(path)
            self._certain = mend(path, place.disk, self._observer)
            if not place.files.local:
                lost_tail(path, place.files)
            columns = None
            if not has_table(place.files):
                columns = fitting.new_columns(schema)
                for said in creation_problems(columns, options.partition_by):
                    raise Misconfigured("SCHEMA_CONFLICT", said, next_step="Correct the rows or partition_by. Nothing was written.")
            elif options.mode == "error":
                self._check_free(place.handle())
            handle = create_or_open(place, columns, options.configuration)
            for refusal in refusals(handle, self._mode):
                raise refusal
            self._check_partitions(handle)
            if options.predicate is not None and handle.metadata().configuration.get("delta.enableChangeDataFeed", "").lower() == "true":
                message = "the table keeps a change data feed, which an overwrite with a predicate would have to tell of"
                raise Misconfigured("PROTOCOL_UNSUPPORTED", message, next_step="Overwrite without a predicate. Nothing was written.")
            if options.schema_mode == "merge" and not has_landed(handle, self.identity):
                known = shape_of(handle).schema.names
                lacking = fitting.new_columns(pa.schema([field for field in schema if field.name not in known]))
                add_columns(place, pa.schema([field.with_nullable(nullable=True) for field in lacking]))
                handle = place.handle()
            self._seen = handle, fingerprint(place.files, handle.version())
            return handle

    def _check_free(self, handle: DeltaTable) -> None:
        """See that a table that is there was made by this write: it has landed in it, or ended before it could."""
        if (handle.version() > 0 or handle.file_uris()) and not has_landed(handle, self.identity):
            message = f"there is a table at {shown(self._place.settings.path)} already, and mode is error"
            raise Misconfigured("WRITE_INVALID", message, next_step='Choose another path, or mode="append". Nothing was written.')

    def _check_partitions(self, handle: DeltaTable) -> None:
        partition_by, wanted = shape_of(handle).partition_by, self.options.partition_by
        if wanted and wanted != partition_by:
            message = f"the table is partitioned by {list(partition_by)}, the write says {list(wanted)}"
            raise Misconfigured(
                "SCHEMA_CONFLICT", message, next_step="Leave partition_by out for a table that is there. Nothing was written."
            )

    def _make_file(self, part: Part) -> DataFile:
        """One file of a part, durable, in as many attempts as the policy allows, each under a name of its own."""
        place = self._place

        def make(_attempt: int) -> DataFile:
            return parquet.write(place.files, new_write_name(), part, place.settings, now=self._clock.now())

        return self._persistence.tries("writing a data file", make)
