"""Digests of data files, kept in the table's log: in the tags of the action that adds a file, which checkpoints and restores carry on.

Whoever replaces a file in its place, under its own name, has to write to the log as well to stay unseen.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import IO, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from landfast.sinks.delta.files.names import CHECKPOINT_IN_ONE_FILE, LOG, checkpoints_among, log_name, versions_of
from landfast.sinks.delta.files.storage import Files

TAG = "landfast.sha256"
"""Under which name a file's digest stands among the tags of its add action."""
BATCH_ROWS = 16_384
PIECE_BYTES = 8 * 1024 * 1024
"""What is read at once: in a store, each piece is a request."""
_PART = re.compile(r"(\d{10})\.(\d{10})\.parquet")
"""The form of a file of a checkpoint in several: which it is, and of how many."""
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException)


def digests_of(files: Files, newest: int, paths: Collection[str]) -> dict[str, str]:
    """The digest of each of these files of which the log has one, at a version of the table.

    Reads the newest checkpoint up to that version that is all there and can be read, and the entries after it. Of two digests of one file
    the older one counts, as far back as these go.
    """
    wanted = set(paths)
    found: dict[str, str] = {}
    names = files.sizes(LOG)
    base, adds = _checkpointed(files, names, newest)
    for path, digest in chain(adds, _added(files, names, base, newest)):
        if path in wanted:
            found.setdefault(path, digest)
    return found


def digest_of(stored: IO[bytes]) -> str:
    """The digest of what is left to read, a piece in memory at a time."""
    found = hashlib.sha256()
    while piece := stored.read(PIECE_BYTES):
        found.update(piece)
    return found.hexdigest()


def first_changed(files: Files, digests: Mapping[str, str]) -> str | None:
    """The first of these files whose bytes have another digest than is given; None where there is none."""
    for path, digest in digests.items():
        with files.open(path) as stored:
            if digest_of(stored) != digest:
                return path
    return None


def _added(files: Files, names: Mapping[str, int], base: int, newest: int) -> Iterator[tuple[str, str]]:
    """What the entries after `base` say, in order."""
    for version in sorted(version for version in versions_of(names) if base < version <= newest):
        for line in (files.read(log_name(version)) or b"").splitlines():
            if TAG.encode() in line and isinstance(add := json.loads(line).get("add"), dict):
                yield from _tagged(add["path"], add.get("tags"))


def _checkpointed(files: Files, names: Mapping[str, int], newest: int) -> tuple[int, list[tuple[str, str]]]:
    """The version of the newest checkpoint that can be read, and what it says; -1 and nothing where there is none.

    One that is damaged, or of which a part is missing, hides nothing: readers pass over it too, or its entries are still there.
    """
    for version, parts in sorted(_whole_checkpoints(names).items(), reverse=True):
        if version <= newest:
            with suppress(*_UNREADABLE):
                return version, [add for part in parts for add in _in_checkpoint(files, f"{LOG}/{part}")]
    return -1, []


def _whole_checkpoints(names: Mapping[str, int]) -> dict[int, list[str]]:
    """The files of each checkpoint that is in one file, or in several of which none is missing."""
    whole: dict[int, list[str]] = {}
    parts: defaultdict[tuple[int, int], dict[int, str]] = defaultdict(dict)
    for version, form, name in checkpoints_among(names):
        part = _PART.fullmatch(form)
        if form == CHECKPOINT_IN_ONE_FILE:
            whole[version] = [name]
        elif part is not None:
            parts[version, int(part[2])][int(part[1])] = name
    for (version, count), found in parts.items():
        if len(found) == count:
            whole.setdefault(version, [found[number] for number in sorted(found)])
    return whole


def _in_checkpoint(files: Files, name: str) -> Iterator[tuple[str, str]]:
    """What one file of a checkpoint says. Raises what reading it raises."""
    with files.open(name) as stored:
        for batch in pq.ParquetFile(stored).iter_batches(batch_size=BATCH_ROWS, columns=["add.path", "add.tags"]):
            for add in batch.column("add").to_pylist():
                if add is not None:
                    yield from _tagged(add["path"], dict(add.get("tags") or ()))


def _tagged(path: str, tags: Any) -> Iterator[tuple[str, str]]:
    digest = tags.get(TAG) if isinstance(tags, dict) else None
    if isinstance(digest, str):
        yield unquote(path), digest
