"""The end of a table's log as a power cut may leave it: looked at before deltalake does, since it takes an empty entry for an empty commit.

A last entry that is empty or torn is a commit that never became durable: nobody was told of it and nothing was built on it, since both
wait for that. The positions stand where they stood before, and the records are read again. It is given a content of fixed bytes. That is
safe whoever else does it at the same moment, and it leaves the meaning that an empty entry has to every reader: nothing. An entry must
never be removed instead: another process may commit under its number. What was left of a torn one is kept beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landfast.errors import Broken
from landfast.events import Notice
from landfast.ports import Observer
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.names import LOG, checkpoints_among, log_name, versions_of
from landfast.sinks.delta.files.paths import shown
from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.log.app_ids import position_app_id
from landfast.sinks.delta.log.entries import is_action
from landfast.sinks.delta.log.record import from_commit_info, told_by_compaction
from landfast.sinks.delta.log.replays import Actions, actions_of_replay

_FILLING = b'{"commitInfo":{"operation":"LANDFAST EMPTY TAIL","operationParameters":{}}}\n'


def lost_tail(path: str, files: Files) -> range:
    """The versions at the end of the table's log whose entries a power cut has emptied or torn.

    Raises:
        Broken: an entry is damaged in another way, or one that is lost has been built upon; or the table is in an object store, which
            never leaves an empty entry by itself.
    """
    names = files.sizes(LOG)
    sizes = versions_of(names)
    newest = tail = max(sizes, default=-1)
    while tail in sizes and (sizes[tail] == 0 or (files.local and _is_torn(files.read(log_name(tail)) or b""))):
        tail -= 1
    covered = max((version for version, form, name in checkpoints_among(names) if names[name] and form.endswith("parquet")), default=-1)
    hollow = [version for version, size in sizes.items() if size == 0 and covered < version < tail]
    if hollow:
        raise _damaged(path, hollow[0], "is empty, and later commits were built upon it")
    if tail in sizes and tail > covered:
        _check_entry(path, files, tail)
    if tail < newest and tail not in sizes and covered < 0:
        raise _damaged(path, newest, "is empty or torn, and nothing was before it")
    if tail < newest and not files.local:
        raise _damaged(path, tail + 1, "is empty")
    return range(tail + 1, newest + 1)


def fill(path: str, root: Path, versions: range, disk: Disk, observer: Observer) -> None:
    """Give these lost entries of a table, whose root is a local folder, a content that means nothing."""
    for entry in (root / log_name(version) for version in versions):
        kept = _fill_one(entry, disk)
        how = "empty" if kept is None else "torn"
        message = f"the log entry {LOG}/{entry.name} of {shown(path)} was {how}, as a power cut leaves it; its records are read again"
        message += "" if kept is None else f"; what was left of it is in {LOG}/{kept.name}"
        observer.notice(Notice("", "TAIL_EMPTY" if kept is None else "TAIL_TORN", message))


def _fill_one(entry: Path, disk: Disk) -> Path | None:
    """Fill one entry; where the remains of a torn one are kept, or None."""
    left = entry.read_bytes()
    kept = None if left in (b"", _FILLING) else entry.with_name(f".{entry.name}.torn")
    if kept is not None:
        kept.write_bytes(left)
        disk.sync_file(kept)
        disk.sync_folder(kept.parent)
    # Neither created nor replaced: whoever fills it writes the same bytes to the same place.
    descriptor = os.open(entry, os.O_RDWR)
    try:
        if os.pread(descriptor, len(_FILLING) + 1, 0) != _FILLING:
            # First to nothing: of a cut of the power in between, too, an empty or a torn entry is left.
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _FILLING, 0)
    finally:
        os.close(descriptor)
    disk.sync_file(entry)
    return kept


def _is_torn(content: bytes) -> bool:
    """Whether an entry was cut off, or has holes. Bytes that were never written read as zeros, and no entry holds a zero byte."""
    if b"\x00" in content:
        return True
    *before, last = content.splitlines() or [b""]
    return all(is_action(line) for line in before if line.strip()) and last.startswith(b"{") and not is_action(last)


def _check_entry(path: str, files: Files, version: int) -> None:
    actions = [line for line in (files.read(log_name(version)) or b"").splitlines() if line.strip()]
    if not all(map(is_action, actions)):
        raise _damaged(path, version, "is cut off or garbled")
    found = [json.loads(line) for line in actions]
    if not _is_complete(found) or (version == 0 and not _begins_a_table(found)):
        raise _damaged(path, version, "holds less than the commit that it tells of")


def _begins_a_table(actions: Sequence[Mapping[str, Any]]) -> bool:
    return {"protocol", "metaData"} <= {name for action in actions for name in action}


def _is_complete(actions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the entry of a commit of ours has the rows and positions that its record names: a cut between two lines reads well."""
    info = next((said for action in actions if isinstance(said := action.get("commitInfo"), dict)), {})
    told = told_by_compaction(info)
    if told is not None:
        files, rows = told
        return sum("remove" in action for action in actions) == files and _rows_added(actions) >= rows
    replay = actions_of_replay(info)
    if replay is not None:
        return replay == Actions(*(sum(name in action for action in actions) for name in ("txn", "remove", "add")))
    record = from_commit_info(info)
    if record is None:
        return True
    moved = {str(action["txn"].get("appId")) for action in actions if isinstance(action.get("txn"), dict)}
    if record.effects:
        whole = (sum("remove" in action for action in actions), sum("add" in action for action in actions)) == record.exchanged
    else:
        whole = _rows_added(actions) >= record.rows
    return whole and {position_app_id(record.pipeline_id, span.stream) for span in record.spans} <= moved


def _rows_added(actions: Sequence[Mapping[str, Any]]) -> int:
    """The rows of all files that are added, by their statistics; none where these are not as we write them."""
    try:
        return sum(int(json.loads(action["add"]["stats"])["numRecords"]) for action in actions if "add" in action)
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0


def _damaged(path: str, version: int, how: str) -> Broken:
    message = f"the log entry {log_name(version)} of {shown(path)} {how}"
    next_step = (
        "Keep a copy of _delta_log. If no later entry exists and the entry was never readable, move it away by hand while nothing writes; "
        "its records are then read again. Otherwise restore it from a backup."
    )
    return Broken("LOG_CORRUPT", message, next_step=next_step)
