"""Rows of ours in foreign files, those that another writer wrote: coordinates can be counted, and values are that writer's word.

A file of ours holds only what we wrote, since compaction joins files of ours alone; its name says that it is ours. Of a foreign one the
table's log says which commit wrote them and what it claims to have done. What lies behind the log's beginning nobody can tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

import pyarrow.parquet as pq

from landfast.audit import Finding, Kind, Rewritten
from landfast.sinks.delta.files.names import LOG, is_own, log_name, versions_of
from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.log.active import ActiveFile
from landfast.sinks.delta.log.record import KEY
from landfast.sinks.delta.proof.offsets import Offsets, TopicPartition, ranges_of
from landfast.sinks.delta.proof.scan import UNREADABLE, Scan

_KEEPS_VALUES = frozenset({"DELETE"})
"""What such a commit leaves of a file is written again and not changed, though its new files count as changed data."""


@dataclass(frozen=True, slots=True)
class Writing:
    """The commit that wrote a file. `changes`: it, or one whose rows it took on, may have changed values."""

    version: int
    writer: str
    changes: bool


def writings(files: Files, newest: int, offset_name: str) -> dict[str, Writing]:
    """The first writing of each foreign file, as far back as the log goes. Rows of ours have an `offset_name`."""
    found: dict[str, Writing] = {}
    for version in sorted(version for version in versions_of(files.sizes(LOG)) if version <= newest):
        actions = [json.loads(line) for line in (files.read(log_name(version)) or b"").splitlines() if line.strip()]
        foreign = {path: add for add in _parts(actions, "add") if not is_own(path := unquote(add["path"]))}
        if not foreign:
            continue
        info = next(_parts(actions, "commitInfo"), {})
        operation, engine = str(info.get("operation", "unknown operation")), str(info.get("engineInfo", "unknown engine"))
        # An upsert of ours writes other rows of such a file again, under a name that keeps it a foreign one.
        keeps = operation in _KEEPS_VALUES or KEY in info
        taken = [unquote(remove["path"]) for remove in _parts(actions, "remove")]
        inherited = any(path in found and found[path].changes for path in taken)
        for path, add in foreign.items():
            changes = bool(add["dataChange"]) and not keeps and not _holds_none_of_ours(files, path, add, offset_name)
            # Whoever adds a file again, as a restore does, has not written it.
            found.setdefault(path, Writing(version, f"{operation} by {engine}", inherited or changes))
    return found


def _holds_none_of_ours(files: Files, path: str, add: dict[str, Any], offset_name: str) -> bool:
    """Whether no row in the file has an offset: by its statistics, or where they leave the column out, by the file while it is there."""
    stats = json.loads(add.get("stats") or "{}")
    nulls = stats.get("nullCount", {}).get(offset_name)
    return _stored_without(files, path, offset_name) if nulls is None else bool(nulls == stats.get("numRecords"))


def _stored_without(files: Files, path: str, offset_name: str) -> bool:
    try:
        with files.open(path) as stored:
            parquet = pq.ParquetFile(stored)
            if offset_name not in parquet.schema_arrow.names:
                return True
            return all(batch.column(0).null_count == batch.num_rows for batch in parquet.iter_batches(columns=[offset_name]))
    except UNREADABLE:
        return False


def _parts(actions: Sequence[Any], name: str) -> Iterator[dict[str, Any]]:
    return (cast("dict[str, Any]", action[name]) for action in actions if isinstance(action.get(name), dict))


def look_for_foreign(scan: Scan, newest: int) -> list[Rewritten]:
    """Foreign files with rows at coordinates of ours. One whose commit may have changed values is a finding of the scan.

    Costs nothing where every file is ours; otherwise reads the log once more, and the coordinates in those files.
    """
    foreign = [file for file in scan.active if not is_own(file.path)]
    known = writings(scan.files, newest, scan.key_names[-1]) if foreign else {}
    rewritten: list[Rewritten] = []
    for file in foreign:
        held = scan.held(file)
        writing = known.get(file.path)
        if writing is not None and writing.changes:
            scan.findings.extend(_finding(file, writing, partition, offsets) for partition, offsets in sorted(held.items()))
        elif held:
            version, writer = (None, "before the log begins") if writing is None else (writing.version, writing.writer)
            rewritten.append(Rewritten(file.path, sum(map(len, held.values())), version, writer))
    return rewritten


def _finding(file: ActiveFile, writing: Writing, partition: TopicPartition, offsets: Offsets) -> Finding:
    topic, number = partition
    words = f"version {writing.version} ({writing.writer}) wrote this file with rows of {topic}[{number}]: nobody vouches for their values"
    return Finding(Kind.FOREIGN_FILE, words, None, tuple(ranges_of(offsets)), len(offsets), file.path)
