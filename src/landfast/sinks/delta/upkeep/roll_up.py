"""Copies the spans out of a table's log before its entries are cleaned up."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.transaction import AddAction, RemoveAction

from landfast.errors import Unavailable, check
from landfast.sinks.delta.errors import translated
from landfast.sinks.delta.fates import Fate, fate_of
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.names import new_file_name
from landfast.sinks.delta.files.parquet import Part, write
from landfast.sinks.delta.files.paths import spans_path
from landfast.sinks.delta.files.storage import files_of
from landfast.sinks.delta.log.app_ids import ROLLED_UP
from landfast.sinks.delta.log.mending import make_certain
from landfast.sinks.delta.log.spans import SCHEMA, as_rows, columns_needed, read_log
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.columns import add_columns
from landfast.sinks.delta.table.creation import create_or_open
from landfast.sinks.delta.table.place import HOOKS_OFF, Place, place_of, shape_of

ROLL_UP_ATTEMPTS_MAX = 20


def roll_up(table: DeltaTable, path: str, storage_options: Mapping[str, str], now: float, disk: Disk | None = None) -> int:
    """Copy the spans of the handle's log into the spans table, durably; how many were copied.

    Safe to repeat and to race: when it returns, every span up to the handle's version is in the spans table exactly once, durable.

    Raises:
        Broken: a commit's record is damaged; nothing was copied, and the log must be kept.
        Unavailable: the store does not answer, or others were faster each time.
    """
    place = place_of(DeltaSettings(path=spans_path(path), storage_options=storage_options), disk)
    version = table.version()
    failure: BaseException | None = None
    for _ in range(ROLL_UP_ATTEMPTS_MAX):
        target = create_or_open(place, SCHEMA, {})
        done = target.transaction_version(ROLLED_UP)
        after = -1 if done is None else done
        if after >= version:
            # Whoever got so far may have been killed before the sync, and the log is cleaned up on the strength of this.
            make_certain(place.files, target.version())
            return 0
        log = read_log(files_of(path, storage_options), version, after)
        check(not log.damaged, f"commits {sorted(log.damaged)[:10]} of the table carry damaged records", code="LOG_CORRUPT")
        there = shape_of(target).schema
        lacking = [column for column in columns_needed(log) if column.name not in there.names]
        if lacking:
            add_columns(place, pa.schema(lacking))
            continue
        try:
            _append(target, place, as_rows(log, [column for column in there if column.name not in SCHEMA.names]), version, now)
        except Exception as error:
            failure = error
            # Somebody else has rolled up meanwhile, or our own answer was lost: the position says how far that went.
            if fate_of(error) is Fate.INTERFERENCE:
                continue
            raise translated(error, "rolling spans up") from error
        return len(log.records)
    message = f"other processes rolled the spans up during each of {ROLL_UP_ATTEMPTS_MAX} attempts"
    raise Unavailable("COMMIT_CONFLICT", message, kind="conflict", next_step="Nothing: it is tried again.") from failure


def _append(target: DeltaTable, place: Place, rows: pa.Table, version: int, now: float) -> None:
    """Land the rows and the version they reach in one durable commit."""
    files = place.files
    adds: list[AddAction | RemoveAction] = []
    if rows.num_rows:
        file = write(files, new_file_name("spans"), Part("", {}, rows), place.settings, now=now)
        adds.append(AddAction(file.path, file.nbytes, file.partition_values, file.modified_at, data_change=True, stats=file.stats))
    target.create_write_transaction(
        adds,
        "append",
        rows.schema,
        commit_properties=CommitProperties(app_transactions=[Transaction(ROLLED_UP, version)]),
        post_commithook_properties=HOOKS_OFF,
    )
    target.update_incremental()
    make_certain(files, target.version())
