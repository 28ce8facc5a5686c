"""What a person asks of a table and its dead letters: read only, in bounded memory, without a record's content unless one is asked for."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from landfast.sinks.delta.errors import looked
from landfast.sinks.delta.files.paths import check_way, letters_path
from landfast.sinks.delta.files.storage import files_of
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.log.entries import entries_back
from landfast.sinks.delta.log.record import CommitRecord
from landfast.sinks.delta.log.snapshot import snapshot_or_none
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.place import open_handle

LISTED = ("id", "topic", "topic_id", "partition", "offset", "phase", "reason", "message", "attempts", "run_id", "last_failed_at")
"""The columns of a letter that say nothing of the record's content."""

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class Letters:
    """The newest letters that were asked for, and how many of those there are, by reason.

    `all_reasons` and `all_topics` count every letter there is, whatever was asked for.
    """

    newest: tuple[Mapping[str, Any], ...]
    reasons: Mapping[str, int]
    all_reasons: Mapping[str, int]
    all_topics: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.reasons.values())


def letters(settings: DeltaSettings, *, limit: int, reason: str | None = None, topic: str | None = None) -> Letters:
    """Dead letters, newest first and those of one moment from the last offset down, without key, value and headers.

    Raises:
        Unavailable: the store does not answer.
        Broken: the table is damaged.
    """
    newest: list[tuple[tuple[Any, ...], Mapping[str, Any]]] = []
    reasons: Counter[str] = Counter()
    there: Counter[tuple[str, str]] = Counter()
    with looked("reading dead letters"):
        for row in _rows(settings):
            there[row["reason"], row["topic"]] += 1
            if reason in (None, row["reason"]) and topic in (None, row["topic"]):
                reasons[row["reason"]] += 1
                # The id is unique, so two rows are never compared by their mapping.
                entry = ((row["last_failed_at"], row["topic"], row["partition"], row["offset"], row["id"]), row)
                heapq.heappush(newest, entry) if len(newest) < limit else heapq.heappushpop(newest, entry)
    listed = tuple(row for _, row in sorted(newest, key=lambda one: one[0], reverse=True))
    return Letters(listed, dict(reasons.most_common()), _summed(there, 0), _summed(there, 1))


def _summed(counts: Counter[tuple[str, str]], part: int) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for names, count in counts.items():
        sums[names[part]] += count
    return dict(sums.most_common())


def letter(settings: DeltaSettings, letter_id: str) -> Mapping[str, Any] | None:
    """One letter, whole, or None where there is none with this id.

    Raises:
        Unavailable: the store does not answer.
        Broken: the table is damaged.
    """
    if not _is_text(letter_id):
        return None
    with looked("reading a dead letter"):
        for path, files in _letter_files(settings):
            with files.open(path) as stored:
                found = pq.read_table(stored, filters=[("id", "=", letter_id)])
            if found.num_rows:
                return {name: _python_value(found.column(name)[0]) for name in found.column_names}
    return None


def _python_value(value: pa.Scalar[Any]) -> Any:
    """The value; for a moment beyond Python's calendar, which ends with the year 9999, the milliseconds in words."""
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return f"{value.cast(pa.int64()).as_py() // 1000} ms since 1970"


def _is_text(text: str) -> bool:
    """Whether a table could hold the text: what comes from a command line may be any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def last_commit(settings: DeltaSettings, pipeline_id: str, *, commits_max: int = 200) -> tuple[int, CommitRecord] | None:
    """The newest commit of the pipeline among the last `commits_max`, with its version.

    Raises:
        Unavailable: the store does not answer.
    """
    with looked("reading the last commit"):
        files = files_of(settings.path, settings.storage_options)
        tip = open_handle(settings).version()
        for entry in entries_back(files, tip, max(0, tip - commits_max + 1)):
            if entry.record is not None and entry.record.pipeline_id == pipeline_id:
                return entry.version, entry.record
    return None


def _rows(settings: DeltaSettings) -> Iterator[Mapping[str, Any]]:
    for path, files in _letter_files(settings):
        with files.open(path) as stored:
            for batch in pq.ParquetFile(stored).iter_batches(_ROWS_AT_ONCE, columns=list(LISTED)):
                yield from pa.RecordBatch.to_pylist(batch)


def _letter_files(settings: DeltaSettings) -> Iterator[tuple[str, Any]]:
    check_way(settings.path)
    path = letters_path(settings.path)
    table = snapshot_or_none(path, settings.storage_options)
    if table is None:
        return
    files = files_of(path, settings.storage_options)
    for file in active_files(table):
        yield file.path, files
