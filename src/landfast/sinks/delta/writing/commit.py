"""A staged write, compared and put.

Each attempt opens the table anew, looks whether the writer's version has landed, and if it has not, puts the commit at the version right
after the one it has looked at, if nobody has made that. So nothing can come between the look and the commit, whoever repeats the write,
wherever, at the same moment or a year later. deltalake's own write does not look: it accepts any version again, also a lower one.

An attempt whose answer is lost is followed by another one, and that finds out what has become of the first: all attempts of a call carry
its id, and one that arrives late meets a version that is taken, or is the very commit that was to be made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from deltalake import DeltaTable

from landfast.errors import Conflict, LandfastError, Misconfigured, check
from landfast.ports import Clock
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.files.staged import first_gone
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.log.app_ids import digest_app_id
from landfast.sinks.delta.log.entries import fingerprint
from landfast.sinks.delta.log.entry_text import append_text, overwrite_text, removals
from landfast.sinks.delta.log.mending import make_certain
from landfast.sinks.delta.table.columns import partition_problems
from landfast.sinks.delta.table.features import demands
from landfast.sinks.delta.table.marks import pipelines_of
from landfast.sinks.delta.table.place import Place, Shape, shape_of
from landfast.sinks.delta.upkeep.checkpoint import write_checkpoint
from landfast.sinks.delta.writing.attempts import Journal
from landfast.sinks.delta.writing.persistence import Persistence
from landfast.sinks.delta.writing.record import WriteRecord, digest_number, newest_up_to
from landfast.sinks.delta.writing.replacing import Replaced, Replacement
from landfast.sinks.delta.writing.values import Attempts, DeltaWriteResult, IdempotentWriteOptions, Mode


@dataclass(frozen=True, slots=True)
class Prepared:
    """A write whose files lie in the table, and that no commit names yet: all that a commit needs.

    table_id of the table that the files were written for
    shape    of the table when the files were written
    digest   of the rows in their order
    call     the id of the call that has prepared it
    sealing  for a write to several tables at once: where it is said that all of them have landed
    attempts for such a write: whether what came of each attempt is kept, as in `DeltaWriteOptions`
    """

    identity: IdempotentWriteOptions
    mode: Mode
    table_id: str
    shape: Shape
    files: tuple[DataFile, ...]
    digest: str
    rows: int
    call: str
    sealing: str = ""
    attempts: Attempts = None


@dataclass(frozen=True, slots=True)
class Ways:
    """How a commit is made where it is not the plain one: in the place of a part of the table, with a word of each attempt.

    seen     the table as it was opened for the rows, and what its log ended with: where it still does, it need not be opened again
    certain  up to this version the log is known to be durable
    """

    replacement: Replacement | None = None
    journal: Journal | None = None
    seen: tuple[DeltaTable, str] | None = None
    certain: int = -1


def has_landed(handle: DeltaTable, identity: IdempotentWriteOptions) -> bool:
    """Whether this write, or a later one of the same writer, is in this version of the table."""
    newest = handle.transaction_version(identity.app_id)
    return newest is not None and newest >= identity.version


class Committer:
    """Lands what is prepared for one table; with a replacement, in the place of a part of it."""

    def __init__(self, place: Place, clock: Clock, persistence: Persistence, ways: Ways | None = None) -> None:
        ways = ways or Ways()
        self._replacement, self._journal, self._seen = ways.replacement, ways.journal, ways.seen
        self._place = place
        self._clock = clock
        self._persistence = persistence
        self._certain = ways.certain
        self._replaced = Replaced((), ())

    def land(self, prepared: Prepared) -> DeltaWriteResult:
        """Commit, or find that it has landed.

        Raises:
            Conflict: what has landed under its name and number are other rows.
            Misconfigured: the files do not fit the table any more.
            Unavailable: attempts or time are over; it may have landed.
        """
        return self._persistence.tries("committing the write", lambda attempt: self._noted(prepared, attempt))

    def _noted(self, prepared: Prepared, attempt: int) -> DeltaWriteResult | None:
        if self._journal is None:
            return self._attempt(prepared, attempt)
        with self._journal.failures(attempt):
            done = self._attempt(prepared, attempt)
        self._journal.ended(attempt, done)
        return done

    def already(self, handle: DeltaTable, prepared: Prepared, attempts: int = 0) -> DeltaWriteResult:
        """What a write comes to that has landed: by another call, or by an attempt of this one whose answer was lost.

        Raises:
            Conflict: what has landed under its name and number are other rows.
        """
        identity = prepared.identity
        self._make_certain(handle.version())
        newest = newest_up_to(self._place.files, identity, handle.version())
        found = newest if newest is not None and newest[1].version == identity.version else None
        if found is not None and found[1].call == prepared.call:
            return self._written(prepared, found[0], attempts)
        known = None if found is None else digest_number(found[1].digest)
        if newest is None and handle.transaction_version(identity.app_id) == identity.version:
            known = handle.transaction_version(digest_app_id(identity.app_id))
        if known is not None and known != digest_number(prepared.digest) and identity.other_rows == "refuse":
            raise _differs(identity, found)
        if known is None and prepared.sealing:
            raise _passed_over(identity)
        version, rows = (None, None) if found is None else (found[0], found[1].rows)
        return DeltaWriteResult("already there", identity, version, rows, 0, 0, attempts, self._persistence.seconds)

    def _attempt(self, prepared: Prepared, attempt: int) -> DeltaWriteResult | None:
        """One attempt; None where somebody else came first, who may be another call of this very write."""
        handle, end = self._newest()
        _check_is_the_same(handle, prepared)
        if has_landed(handle, prepared.identity):
            return self.already(handle, prepared, attempt - 1)
        _check_fits(handle, prepared)
        self._make_certain(handle.version())
        version = handle.version() + 1
        if self._replacement is not None:
            made = self._replace(handle, prepared, self._replacement)
        else:
            gone = first_gone(self._place.files, prepared.files)
            check(gone is None, f"a file that was written for this commit is gone: {gone and gone.path}", code="STAGED_FILE_GONE")
            made = self._place.files.put_entry(version, self._text(handle, prepared))
        if not made or not self._stands(prepared, version, end):
            return None
        self._sum_up(version)
        return self._written(prepared, version, attempt)

    def _newest(self) -> tuple[DeltaTable, str]:
        """The newest version of the table, and what its log ends with."""
        files, (seen, self._seen) = self._place.files, (self._seen, None)
        if seen is not None:
            version = seen[0].version()
            if fingerprint(files, version) == seen[1] and files.size(log_name(version + 1)) is None:
                return seen
        handle = self._place.handle()
        return handle, fingerprint(files, handle.version())

    def _replace(self, handle: DeltaTable, prepared: Prepared, replacement: Replacement) -> bool:
        record = self._record(prepared)
        if not self._place.files.local:
            done = replacement.commit(self._place, handle, record.to_metadata(), record.transactions)
            self._replaced = done or self._replaced
            return done is not None
        self._replaced = replacement.replaced(self._place, handle)
        text = overwrite_text(
            record.to_metadata(),
            record.transactions,
            self._replaced.removed,
            self._replaced.files,
            partition_by=prepared.shape.partition_by,
            predicate=replacement.predicate,
            at_milliseconds=record.at,
        )
        return self._place.files.put_entry(handle.version() + 1, text)

    def _stands(self, prepared: Prepared, version: int, end: str) -> bool:
        """Whether the entry that was made continues the log that there is.

        A process that was held for days between its look and its commit may have put an entry where clean-up had taken another's away.
        Clean-up takes the oldest first: as long as the log has the entry before it, nobody had made the one that is ours.
        """
        if fingerprint(self._place.files, version - 1) == end:
            return True
        newest = newest_up_to(self._place.files, prepared.identity, self._place.handle().version())
        return newest is not None and newest[0] == version and newest[1].call == prepared.call

    def _sum_up(self, version: int) -> None:
        """Now and then write a checkpoint, without which a table opens slower with each commit. Nothing hangs on it."""
        settings = self._place.settings
        if version % settings.checkpoint_commits == 0:
            with suppress(LandfastError), mapped("writing a checkpoint"):
                handle = self._place.handle()
                handle.load_as_version(version)
                write_checkpoint(settings.path, self._place.disk, handle)

    def _record(self, prepared: Prepared) -> WriteRecord:
        identity, now = prepared.identity, int(self._clock.now() * 1000)
        named, counted = (identity.app_id, identity.version), (prepared.digest, prepared.rows)
        return WriteRecord(*named, *counted, prepared.call, now, identity.told, prepared.sealing)

    def _text(self, handle: DeltaTable, prepared: Prepared) -> bytes:
        record, partition_by = self._record(prepared), prepared.shape.partition_by
        said, moved, now = record.to_metadata(), record.transactions, record.at
        if prepared.mode == "overwrite":
            old = removals(active_files(handle), now)
            return overwrite_text(said, moved, old, prepared.files, partition_by=partition_by, at_milliseconds=now)
        return append_text(said, moved, prepared.files, partition_by=partition_by, at_milliseconds=now)

    def _written(self, prepared: Prepared, version: int, attempts: int) -> DeltaWriteResult:
        files, seconds = prepared.files or self._replaced.files, self._persistence.seconds
        nbytes = sum(file.nbytes for file in files)
        return DeltaWriteResult("written", prepared.identity, version, prepared.rows, len(files), nbytes, attempts, seconds)

    def _make_certain(self, tip: int) -> None:
        """Make durable what this write stands on, whoever wrote it."""
        with mapped("making the table's log durable"):
            if self._certain < 0:
                make_certain(self._place.files, tip)
            elif tip > self._certain:
                self._place.files.sync_log(range(self._certain + 1, tip + 1))
        self._certain = max(self._certain, tip)


def _differs(identity: IdempotentWriteOptions, found: tuple[int, WriteRecord] | None) -> Conflict:
    where = "" if found is None else f" in version {found[0]} of the table, with {found[1].rows:,} rows"
    known = f"version {identity.version} of {identity.app_id!r}"
    message = f"{known} has landed{where}, and its rows are not the ones given now"
    next_step = (
        'Write other rows under the next version. Where they are the same in another order, say other_rows="skip". '
        "Nothing of this write has landed."
    )
    return Conflict("WRITE_DIFFERS", message, next_step=next_step)


def _passed_over(identity: IdempotentWriteOptions) -> Conflict:
    message = f"the table has a later number of {identity.app_id!r}, and nothing says that number {identity.version} was in it before"
    next_step = "Write the rows of this table under the next number. They still lie in the files that the intent names."
    return Conflict("COMMIT_INCOMPLETE", message, next_step=next_step)


def _check_is_the_same(handle: DeltaTable, prepared: Prepared) -> None:
    if str(handle.metadata().id) != prepared.table_id:
        message = "another table lies at the path: its id is not that of the table that the rows were written for"
        raise Conflict(
            "TABLE_REPLACED", message, next_step="Find out who replaced the table. If the new one is meant, write the rows again."
        )


def _check_fits(handle: DeltaTable, prepared: Prepared) -> None:
    """See that the files still fit the table: somebody may have changed its columns since they were written."""
    now, shape = shape_of(handle), prepared.shape
    kept = (field.name in now.schema.names and now.schema.field(field.name) == field for field in shape.schema)
    added = (field for field in now.schema if field.name not in shape.schema.names)
    if now.partition_by != shape.partition_by or not all(kept) or not all(field.nullable for field in added):
        message = "somebody changed the table's columns while the rows were written"
        raise Misconfigured("SCHEMA_CONFLICT", message, next_step="Write them again, under the same version. Nothing of it has landed.")
    for refusal in refusals(handle, prepared.mode):
        raise refusal


def refusals(handle: DeltaTable, mode: Mode) -> Iterator[Misconfigured]:
    """Why nobody may write to the table like this."""
    yield from demands(handle)
    pipelines = sorted(pipelines_of(handle))
    if pipelines:
        message = f"the table belongs to the pipeline {', '.join(pipelines)}: rows of other origin would end what can be proved of it"
        yield Misconfigured("FOREIGN_PIPELINE", message, next_step="Write to a table of your own. Nothing was written.")
    for said in partition_problems(shape_of(handle).schema, shape_of(handle).partition_by):
        yield Misconfigured("SCHEMA_CONFLICT", said, next_step="Write to a table that is partitioned otherwise. Nothing was written.")
    if mode == "overwrite" and handle.metadata().configuration.get("delta.appendOnly", "").lower() == "true":
        message = "the table is append-only (delta.appendOnly), and mode is overwrite"
        yield Misconfigured("WRITE_INVALID", message, next_step="Append, or remove the property. Nothing was written.")
