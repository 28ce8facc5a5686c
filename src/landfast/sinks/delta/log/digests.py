"""Digests of data files, kept in the table's log: in the tags of the action that adds a file, which checkpoints and restores carry on.

Whoever replaces a file in its place, under its own name, has to change the log as well to stay unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import IO, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from landfast.sinks.delta.files.names import LOG, checkpoints_among, log_name, versions_of
from landfast.sinks.delta.files.storage import Files

TAG = "landfast.sha256"
"""Under which name a file's digest stands among the tags of its add action."""
BATCH_ROWS = 16_384
PIECE_BYTES = 8 * 1024 * 1024
"""What is read at once: in a store, each piece is a request."""
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException)


def digests_of(files: Files, newest: int, paths: Collection[str]) -> dict[str, str]:
    """The digest of each of these files of which the log has one, at a version of the table.

    Reads the newest checkpoint up to that version and the entries after it. Of two digests of one file the older one counts.
    """
    wanted = set(paths)
    found: dict[str, str] = {}
    names = files.sizes(LOG)
    forms = [one for one in checkpoints_among(names) if one[0] <= newest and one[1].endswith("parquet") and names[one[2]]]
    base = max((version for version, _, _ in forms), default=-1)
    for adds in (
        *(_checkpointed(files, f"{LOG}/{name}") for version, _, name in forms if version == base),
        _added(files, names, base, newest),
    ):
        for path, digest in adds:
            if path in wanted:
                found.setdefault(path, digest)
    return found


def digest_of(stored: IO[bytes]) -> str:
    """The digest of what is left to read, a piece in memory at a time."""
    found = hashlib.sha256()
    while piece := stored.read(PIECE_BYTES):
        found.update(piece)
    return found.hexdigest()


def _added(files: Files, names: Mapping[str, int], base: int, newest: int) -> Iterator[tuple[str, str]]:
    """What the entries after `base` say, in order."""
    for version in sorted(version for version in versions_of(names) if base < version <= newest):
        for line in (files.read(log_name(version)) or b"").splitlines():
            if TAG.encode() in line and isinstance(add := json.loads(line).get("add"), dict):
                yield from _tagged(add["path"], add.get("tags"))


def _checkpointed(files: Files, name: str) -> Iterator[tuple[str, str]]:
    """What a file of a checkpoint says. Nothing where it cannot be read: then the files in it count as having no digest."""
    with suppress(*_UNREADABLE), files.open(name) as stored:
        for batch in pq.ParquetFile(stored).iter_batches(batch_size=BATCH_ROWS, columns=["add.path", "add.tags"]):
            for add in batch.column("add").to_pylist():
                if add is not None:
                    yield from _tagged(add["path"], dict(add.get("tags") or ()))


def _tagged(path: str, tags: Any) -> Iterator[tuple[str, str]]:
    digest = tags.get(TAG) if isinstance(tags, dict) else None
    if isinstance(digest, str):
        yield unquote(path), digest
