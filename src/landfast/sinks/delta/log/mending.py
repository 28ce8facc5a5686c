"""A local table after a cut of the power: made sound, and certain, before anything is built on it.

deltalake syncs nothing. A checkpoint that another tool wrote with it a moment before the cut may be there in part, or not at all while the
hint that names it is; readers do not fall back from either to the entries. Both only repeat what the entries say, so both may go. (Ours
are durable before they are seen: see `checkpoint`.)
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from landfast.errors import Broken
from landfast.events import Notice
from landfast.ports import Observer
from landfast.sinks.delta.files.local import Disk, LocalFiles
from landfast.sinks.delta.files.names import CHECKPOINT_IN_ONE_FILE, LAST_CHECKPOINT, LOG, checkpoints_among, versions_of
from landfast.sinks.delta.files.paths import local_path, shown
from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.log.entries import has_table, hinted_checkpoint
from landfast.sinks.delta.log.tail import fill, lost_tail

_ROWS_AT_ONCE = 10_000
_SYNC_ENTRIES = 200


def mend(path: str, disk: Disk, observer: Observer) -> int:
    """Make a table on a local disk sound and durable; up to which version. Where there is none, or it is in an object store: -1.

    Raises:
        Broken: a part of its log is damaged beyond what a cut of the power does, or what a damaged part held is nowhere else.
    """
    root = local_path(path)
    if root is None:
        return -1
    files = LocalFiles(root, disk)
    if not has_table(files):
        return -1
    _drop_bad_checkpoints(path, files, disk, observer)
    fill(path, root, lost_tail(path, files), disk, observer)
    tip = max(versions_of(files.sizes(LOG)), default=0)
    make_certain(files, tip)
    return tip


def make_certain(files: Files, tip: int) -> None:
    """Make durable what a commit after version `tip` stands on: the table's folders and the newest entries of its log.

    Those are more than come between two checkpoints, which hold what is older.
    """
    files.sync_root()
    files.sync_log(range(max(0, tip - _SYNC_ENTRIES), tip + 1))


def _drop_bad_checkpoints(path: str, files: LocalFiles, disk: Disk, observer: Observer) -> None:
    # The hint first: whoever writes a checkpoint at this moment writes the hint after it.
    hinted = hinted_checkpoint(files)
    sizes = files.sizes(LOG)
    checkpoints = sorted((version, name) for version, form, name in checkpoints_among(sizes) if form == CHECKPOINT_IN_ONE_FILE)
    entries = versions_of(sizes)
    dropped = []
    while checkpoints and not _is_whole(files, f"{LOG}/{checkpoints[-1][1]}"):
        _, name = checkpoints.pop()
        dropped.append(name)
    oldest_needed = checkpoints[-1][0] + 1 if checkpoints else 0
    if dropped and any(version not in entries for version in range(oldest_needed, max(entries, default=0) + 1)):
        message = f"the checkpoint {LOG}/{dropped[0]} of {shown(path)} is damaged, and log entries from before it are gone"
        raise Broken("LOG_CORRUPT", message, next_step="Restore the checkpoint from a backup. Keep a copy of _delta_log.")
    there = {version for version, _, name in checkpoints_among(sizes) if name not in dropped}
    if hinted is not None and hinted not in there:
        dropped.append(LAST_CHECKPOINT)
    for name in dropped:
        files.remove(f"{LOG}/{name}")
        message = f"{LOG}/{name} of {shown(path)} was not whole, as a power cut leaves it, and was removed: the log's entries say the same"
        observer.notice(Notice("", "CHECKPOINT_BAD", message))
    if dropped:
        disk.sync_folder((local_path(path) or Path()) / LOG)


def _is_whole(files: LocalFiles, name: str) -> bool:
    """Whether a checkpoint can be read to its end."""
    content = files.read(name) or b""
    try:
        parquet = pq.ParquetFile(pa.BufferReader(content))
        rows = sum(batch.num_rows for batch in parquet.iter_batches(batch_size=_ROWS_AT_ONCE))
    except MemoryError:
        raise
    except pa.ArrowNotImplementedError:
        # Another tool's, in a form that pyarrow does not read: nothing says that it is damaged.
        return True
    except (pa.ArrowException, OSError):
        return False
    return rows == parquet.metadata.num_rows
