"""Rows in the place of those that a predicate finds: files made by deltalake's own overwrite, on exactly the version that was compared.

Which files hold such rows, and what stays of them, takes an engine that knows SQL, and deltalake has one. But it makes a commit visible
before any of it is durable. So on a local disk it works in a folder beside the log, where the table is at that version under second names:
new files go to the table's own folders, the commit is read there, made durable, and put into the log by us. In a store, what is
acknowledged is durable, and deltalake commits itself, if nobody has made that version: with no retry of its own, since a retry compares
files and not the writer's number.

The rows come from a file that is gone with the process, so that they can be given as often as it takes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.ipc
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake

from landfast.errors import Misconfigured, Rejected, Unavailable, check
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.fates import Fate, fate_of, text_of
from landfast.sinks.delta.files.names import LOG, OVERWRITING, OWN_PREFIX, log_name
from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.files.paths import local_path
from landfast.sinks.delta.log.digests import digest_of
from landfast.sinks.delta.table.place import HOOKS_OFF, Place, shape_of
from landfast.sinks.delta.upkeep.checkpoint import entries_needed
from landfast.sinks.delta.writing.fitting import Fitting, batches_of
from landfast.sinks.delta.writing.values import DeltaWriteOptions

_OUTSIDE = re.compile(r"Invalid data found")
_NO_CONDITION = re.compile(
    r"(No field named|Schema error|SQL error|[Pp]arser ?[Ee]rror|Error during planning|[Uu]nsupported|cannot be|coerc)"
)


class Spill:
    """Rows on disk, in a file without a name, that can be read again and again."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._file: Any = tempfile.TemporaryFile(prefix="landfast-")  # noqa: SIM115 — lives as long as the write
        options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pyarrow.ipc.new_stream(pa.PythonFile(self._file, "w"), schema, options=options)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in the next rows.

        Raises:
            Unavailable: no space is left for them.
        """
        with mapped("spilling rows to a temporary file"):
            self._writer.write_batch(batch)

    def finish(self) -> None:
        """No more rows come."""
        self._writer.close()

    def reader(self) -> pa.RecordBatchReader:
        """All rows, from the first."""
        self._file.seek(0)
        return pyarrow.ipc.open_stream(pa.PythonFile(self._file, "r"))

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class Replaced:
    """What an overwrite of a part takes out of the table, as actions of its log, and the files that it puts there."""

    removed: tuple[Mapping[str, Any], ...]
    files: tuple[DataFile, ...]


@dataclass(frozen=True, slots=True)
class Replacement:
    """The rows that take the place of those that a predicate finds."""

    predicate: str
    rows: Spill
    options: DeltaWriteOptions

    def replaced(self, place: Place, handle: DeltaTable) -> Replaced:
        """On a local disk: the files of the overwrite of this version, durable, that no commit names yet."""
        root = local_path(place.settings.path)
        check(root is not None, "the overwrite of a part is made beside the log only on a local disk")
        with _copy(root or Path(), handle.version()) as copy:
            table = DeltaTable(str(copy))
            if table.version() != handle.version():
                message = "the log was cleaned up while a part of the table was overwritten"
                raise Unavailable("COMMIT_CONFLICT", message, next_step="Write it again, under the same version.")
            self._write(table, CommitProperties(max_commit_retries=0))
            made = _read(((copy / log_name(handle.version() + 1)).read_bytes()), copy)
            for file in made.files:
                _publish(place, copy, root or Path(), file.path)
        return made

    def commit(self, place: Place, handle: DeltaTable, said: Mapping[str, str], transactions: Mapping[str, int]) -> Replaced | None:
        """In a store: the overwrite committed at the version after the handle's; None where somebody else has made that."""
        version = handle.version() + 1
        moved = [Transaction(app_id, number) for app_id, number in transactions.items()]
        try:
            self._write(handle, CommitProperties(custom_metadata=dict(said), max_commit_retries=0, app_transactions=moved))
        except Exception as error:
            if fate_of(error) is Fate.INTERFERENCE:
                return None
            raise
        return _read(place.files.read(log_name(version)) or b"", None)

    def _rows_for(self, table: DeltaTable) -> pa.RecordBatchReader:
        """The rows in the table's columns: it may have been given some since they were spilled."""
        reader, schema = self.rows.reader(), shape_of(table).schema
        return pa.RecordBatchReader.from_batches(schema, batches_of(reader, Fitting(reader.schema, schema)))

    def _write(self, table: DeltaTable, properties: CommitProperties) -> None:
        options = self.options
        writing = WriterProperties(
            compression="ZSTD", compression_level=options.compression_level, max_row_group_size=options.row_group_rows_max
        )
        try:
            write_deltalake(
                table,
                self._rows_for(table),
                mode="overwrite",
                predicate=self.predicate,
                target_file_size=options.target_file_bytes,
                writer_properties=writing,
                commit_properties=properties,
                post_commithook_properties=HOOKS_OFF,
            )
        except Exception as error:
            refusal = _refusal(error)
            if refusal is None:
                raise
            # Not chained: the text of the driver shows rows.
            raise refusal from None


def _refusal(error: Exception) -> Misconfigured | Rejected | None:
    """What no waiting would mend: a row that the predicate does not find, or a predicate that the table does not know."""
    text = text_of(error)
    if _OUTSIDE.search(text):
        next_step = "Give only rows that the predicate finds, or another predicate. Nothing of this write has landed."
        return Rejected("ROWS_REFUSED", "the predicate does not hold for each of the rows given", refusals=(), next_step=next_step)
    if fate_of(error) in (Fate.UNKNOWN, Fate.UNSUPPORTED) and _NO_CONDITION.search(text):
        message = "the predicate is no condition in SQL on the columns of this table"
        return Misconfigured("WRITE_INVALID", message, next_step="Correct the predicate. Nothing of this write has landed.")
    return None


@contextmanager
def _copy(root: Path, version: int) -> Iterator[Path]:
    """The table at this version in a folder of its own: its log under second names, its files and folders by links."""
    needed = entries_needed(root / LOG, version)
    if needed is None:
        message = "the table has a checkpoint in parts, and a predicate needs one in one file"
        raise Misconfigured("PROTOCOL_UNSUPPORTED", message, next_step="Write a new checkpoint: `DeltaTable(path).create_checkpoint()`.")
    copy = root / f"{OVERWRITING}{uuid.uuid4().hex}"
    try:
        (copy / LOG).mkdir(parents=True)
        # deltalake looks for the newest entry also where a checkpoint says what it says.
        for name in {*(f"{LOG}/{one}" for one in needed), log_name(version)}:
            with suppress(FileNotFoundError):
                os.link(root / name, copy / name)
        for entry in os.scandir(root):
            if entry.name != LOG and not entry.name.startswith((OWN_PREFIX, ".")):
                (copy / entry.name).symlink_to(Path("..") / entry.name)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _publish(place: Place, copy: Path, root: Path, path: str) -> None:
    """Give a new file its name in the table, where it does not have that by way of a link, and make it durable."""
    here, there = copy / path, root / path
    if not there.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        place.disk.link(here, there)
    place.disk.sync_file(there)
    for folder in Path(path).parents:
        place.disk.sync_folder(root / folder)


def _read(entry: bytes, copy: Path | None) -> Replaced:
    """What a commit of deltalake's says that it did."""
    actions = [json.loads(line) for line in entry.splitlines() if line.strip()]
    known = {"commitInfo", "txn", "add", "remove"}
    check(all(action.keys() <= known for action in actions), "an overwrite of a part did more than put files in the place of others")
    added = [_file(action["add"], copy) for action in actions if "add" in action]
    return Replaced(tuple(action["remove"] for action in actions if "remove" in action), tuple(added))


def _file(added: Mapping[str, Any], copy: Path | None) -> DataFile:
    path, stats = unquote(added["path"]), str(added["stats"])
    digest = ""
    if copy is not None:
        with (copy / path).open("rb") as stored:
            digest = digest_of(stored)
    rows = int(json.loads(stats)["numRecords"])
    return DataFile(path, added["size"], rows, dict(added["partitionValues"]), added["modificationTime"], stats, digest)
