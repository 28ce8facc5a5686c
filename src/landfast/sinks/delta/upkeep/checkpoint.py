"""A checkpoint that is durable before any reader can see it.

deltalake writes a checkpoint under its name and syncs nothing. Its pages bear no checksums, so of one that a power cut has left with a
hole readers may take zeros for the names of files or for positions, in silence. On a local disk ours is therefore made beside the log, in
a folder of its own with the entries that it sums up under second names, synced, and then given its name in the log.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deltalake import DeltaTable

from landfast.errors import check
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.names import (
    CHECKPOINT_IN_ONE_FILE,
    ENTRY_NAME,
    LAST_CHECKPOINT,
    LOG,
    WORKSHOP,
    checkpoint_name,
    checkpoints_among,
)
from landfast.sinks.delta.files.paths import local_path


def write_checkpoint(path: str, disk: Disk, handle: DeltaTable) -> None:
    """Write a checkpoint of the handle's version; nothing happens where a local table has it already.

    Raises what deltalake and the operating system raise; Broken where a sync failed. Then there is none, or a whole one.
    """
    root = local_path(path)
    if root is None:
        handle.create_checkpoint()
        return
    name = checkpoint_name(handle.version())
    if (root / LOG / name).exists():
        return
    needed = entries_needed(root / LOG, handle.version())
    if needed is None:
        handle.create_checkpoint()
        _sync_what_was_written(root / LOG, handle.version(), disk)
        return
    _make_beside(root, name, needed, handle.version(), disk)


def _make_beside(root: Path, checkpoint: str, needed: Sequence[str], version: int, disk: Disk) -> None:
    workshop = root / f"{WORKSHOP}{uuid.uuid4().hex}"
    try:
        (workshop / LOG).mkdir(parents=True)
        for name in needed:
            os.link(root / LOG / name, workshop / LOG / name)
        copy = DeltaTable(str(workshop))
        check(copy.version() == version, "the entries of a checkpoint do not lead to its version")
        copy.create_checkpoint()
        _publish(workshop / LOG, root / LOG, checkpoint, disk)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def remove_workshop(path: str, name: str) -> None:
    """Remove what a process that was killed has left of its work on a checkpoint."""
    root = local_path(path)
    if root is not None:
        shutil.rmtree(root / name, ignore_errors=True)


def entries_needed(log: Path, version: int) -> list[str] | None:
    """The newest checkpoint up to this version and the entries after it; None where the checkpoint is not one file."""
    names = sorted(entry.name for entry in os.scandir(log))
    checkpoints = [one for one in checkpoints_among(names) if one[0] <= version]
    newest = max((number for number, _, _ in checkpoints), default=-1)
    bases = [(form, name) for number, form, name in checkpoints if number == newest]
    if any(form != CHECKPOINT_IN_ONE_FILE for form, _ in bases):
        return None
    entries = [name for name in names if (match := ENTRY_NAME.fullmatch(name)) and newest < int(match[1]) <= version]
    return [*(name for _, name in bases), *entries]


def _publish(made: Path, log: Path, checkpoint: str, disk: Disk) -> None:
    disk.sync_file(made / checkpoint)
    # Another process may have written the same one meanwhile.
    with suppress(FileExistsError):
        disk.link(made / checkpoint, log / checkpoint)
    disk.sync_folder(log)
    disk.sync_file(made / LAST_CHECKPOINT)
    disk.rename(made / LAST_CHECKPOINT, log / LAST_CHECKPOINT)
    disk.sync_folder(log)


def _sync_what_was_written(log: Path, version: int, disk: Disk) -> None:
    names = [entry.name for entry in os.scandir(log)]
    written = [name for number, _, name in checkpoints_among(names) if number == version]
    for name in (*written, LAST_CHECKPOINT):
        disk.sync_file(log / name)
    disk.sync_folder(log)
