"""The end of a table's log as a power cut may leave it: looked at before deltalake does, since it takes an empty entry for an empty commit.

An empty last entry is a commit whose rows and positions both never became durable: the positions stand where they stood before, and the
records are read again. It is given a content of fixed bytes. That is safe whoever else does it at the same moment, and it changes the
meaning for no reader: nothing before, nothing now. An entry must never be removed instead: another process may commit under its number.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from landfast.errors import Broken
from landfast.events import Notice
from landfast.ports import Observer
from landfast.sinks.delta.files import LOG, Disk, Files, local_path, log_name

_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint.*parquet")
_FILLING = b'{"commitInfo":{"operation":"LANDFAST EMPTY TAIL","operationParameters":{}}}\n'


def versions_of(names: Mapping[str, int]) -> dict[int, int]:
    """The versions of the log entries among these names, with their sizes."""
    return {int(match[1]): size for name, size in names.items() if (match := _ENTRY.fullmatch(name))}


def has_table(files: Files) -> bool:
    """Whether the log holds a first entry or a checkpoint: an empty log folder is no table yet."""
    return any(_ENTRY.fullmatch(name) or _CHECKPOINT.fullmatch(name) for name in files.names(LOG))


def empty_tail(files: Files) -> range:
    """The versions at the end of the log whose entries are empty.

    Raises:
        Broken: an entry is damaged, or an empty one has been built upon.
    """
    names = files.sizes(LOG)
    sizes = versions_of(names)
    newest = tail = max(sizes, default=-1)
    while sizes.get(tail) == 0:
        tail -= 1
    covered = max((int(match[1]) for name, size in names.items() if size and (match := _CHECKPOINT.fullmatch(name))), default=-1)
    hollow = [version for version, size in sizes.items() if size == 0 and covered < version < tail]
    if hollow:
        raise _damaged(hollow[0], "is empty, and later commits were built upon it")
    if tail in sizes and tail > covered:
        _check_entry(files, tail)
    if tail < newest and tail not in sizes and covered < 0:
        raise _damaged(newest, "is empty, and nothing was before it")
    return range(tail + 1, newest + 1)


def hollow_entries(path: str, versions: range) -> tuple[Path, ...]:
    """The files of these empty entries, on a local disk.

    Raises:
        Broken: the table is in an object store, which never leaves an empty entry by itself.
    """
    root = local_path(path)
    if root is None and versions:
        raise _damaged(versions[0], "is empty")
    return () if root is None else tuple(root / log_name(version) for version in versions)


def fill(path: str, versions: range, disk: Disk, observer: Observer) -> None:
    """Give these empty entries a content that means nothing, on a local disk.

    Raises:
        Broken: the table is in an object store, which never leaves an empty entry by itself.
    """
    for entry in hollow_entries(path, versions):
        _fill_one(entry, disk)
        message = f"the log entry {LOG}/{entry.name} was empty, as a power cut leaves it; its records are read again"
        observer.notice(Notice("", "TAIL_EMPTY", message))


def _fill_one(entry: Path, disk: Disk) -> None:
    # Neither created nor truncated: whoever fills it writes the same bytes to the same place.
    descriptor = os.open(entry, os.O_WRONLY)
    try:
        if os.fstat(descriptor).st_size == 0:
            os.pwrite(descriptor, _FILLING, 0)
    finally:
        os.close(descriptor)
    disk.sync_file(entry)


def _check_entry(files: Files, version: int) -> None:
    content = files.read(log_name(version)) or b""
    if not content.strip(b"\x00"):
        raise _damaged(version, "holds nothing but zero bytes")
    try:
        for line in content.splitlines():
            if line.strip():
                json.loads(line)
    except ValueError as error:
        raise _damaged(version, "is cut off or garbled") from error


def _damaged(version: int, how: str) -> Broken:
    message = f"the log entry {log_name(version)} {how}"
    next_step = (
        "Keep a copy of _delta_log. If no later entry exists and the entry was never readable, move it away by hand while nothing writes; "
        "its records are then read again. Otherwise restore it from a backup."
    )
    return Broken("LOG_CORRUPT", message, next_step=next_step)
