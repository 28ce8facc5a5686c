"""Every span that ever landed in a table: from the commits in its log, and from `<table>__spans` for commits whose log is gone.

Delta cleans its log up after a while, and the spans in the commits would go with it. Before that, maintenance rolls them up into a table
beside the data. How far that has been done is a transaction version of the spans table, so rolling up is safe to repeat, to race
and to interrupt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from landfast.model import Span, Stream
from landfast.sinks.delta.errors import looked
from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.files.paths import check_way, shown, spans_path
from landfast.sinks.delta.files.storage import Files, files_of
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.log.record import CommitRecord, Effect, altered, effect_from_json, effect_to_json, from_commit_info
from landfast.sinks.delta.log.replays import UNKNOWN, Author, Range, Told, author_of_replay, checked_ranges, told_by_replay
from landfast.sinks.delta.log.snapshot import snapshot, snapshot_or_none

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("version", pa.int64()),
    ("committed_at", pa.int64()),
    ("pipeline_id", pa.string()),
    ("pipeline", pa.string()),
    ("run", pa.string()),
    ("sequence", pa.int64()),
    ("settings", pa.string()),
    ("topic", pa.string()),
    ("topic_id", pa.string()),
    ("partition", pa.int32()),
    ("start", pa.int64()),
    ("end", pa.int64()),
    ("read", pa.int64()),
    ("written", pa.int64()),
    ("dead", pa.int64()),
    ("skipped", pa.string()),
    ("digest", pa.string()),
    ("first", pa.bool_()),
]
SCHEMA = pa.schema(_COLUMNS)
EFFECT = pa.field("effect", pa.string())
"""What a span of a table with one row per key has beside these."""
REPLAY = pa.field("replay", pa.string())
"""Where it is not null the row is no span, but what a replay says of a stream of such a table: the offsets of its letters, as ranges."""

BY = pa.field("by", pa.string())
"""Who has made the replay."""


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A span and the commit it landed with. `committed_at` is in milliseconds since the epoch.

    `effect` says what became of its rows in a table with one row per key; None in others.
    """

    version: int
    committed_at: int
    pipeline_id: str
    pipeline: str
    run_id: str
    sequence: int
    settings_digest: str
    span: Span
    effect: Effect | None = None


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """What a replay says of a stream, and the commit that it landed with, at `committed_at`, in milliseconds since the epoch."""

    version: int
    committed_at: int
    told: Told
    author: Author


@dataclass(frozen=True, slots=True)
class History:
    """What the commits of a table say, oldest first.

    damaged    versions whose record is there but cannot be read or was changed, with what is wrong
    oldest     the oldest version that was found in the log
    replays    what replays have landed: all of them in a table with one row per key, in others as far as the log goes back
    """

    records: tuple[SpanRecord, ...]
    damaged: Mapping[int, str]
    oldest: int
    replays: tuple[ReplayRecord, ...] = ()

    @property
    def replayed(self) -> Mapping[Stream, Sequence[Range]]:
        """The offsets of the dead letters that replays have landed."""
        found: dict[Stream, list[Range]] = {}
        for one in self.replays:
            found.setdefault(one.told.stream, []).extend(one.told.ranges)
        return found


def read_log(files: Files, newest: int, after: int = -1) -> History:
    """The spans of the commits in `(after, newest]` that the table's log still has."""
    records: list[SpanRecord] = []
    damaged: dict[int, str] = {}
    replays: list[ReplayRecord] = []
    oldest = newest
    # From the newest down: the log is without gaps from its oldest entry on, and clean-up takes the oldest first.
    for version in range(newest, after, -1):
        content = files.read(log_name(version))
        if content is None:
            break
        oldest = version
        try:
            info = _commit_info(content)
            commit = from_commit_info(info)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            damaged[version] = f"cannot be read ({type(error).__name__})"
            continue
        if altered(info):
            damaged[version] = "was changed after it was written: its text and its digest disagree"
        if commit is not None:
            records.extend(reversed(_records(version, commit)))
        replays.extend(reversed(_replays(version, info)))
    return History(tuple(reversed(records)), damaged, oldest, tuple(reversed(replays)))


def _commit_info(content: bytes) -> Mapping[str, Any]:
    for line in content.splitlines():
        if b'"commitInfo"' in line:
            info = json.loads(line).get("commitInfo")
            if info is not None:
                return cast("Mapping[str, Any]", info)
    return {}


def _replays(version: int, info: Mapping[str, Any]) -> list[ReplayRecord]:
    at = info.get("timestamp")
    author = author_of_replay(info)
    return [ReplayRecord(version, at if isinstance(at, int) else 0, told, author) for told in told_by_replay(info)]


def read_replay(files: Files, path: str, storage_options: Mapping[str, str], version: int) -> list[ReplayRecord]:
    """What the replay says that has made this version of a table with one row per key; nothing where nobody can tell any more."""
    content = files.read(log_name(version))
    if content is not None:
        return _replays(version, _commit_info(content))
    return [one for one in _rolled_up(path, storage_options)[1] if one.version == version]


def read_history(table: DeltaTable, path: str, storage_options: Mapping[str, str] = NO_OPTIONS) -> History:
    """All spans of the table up to the handle's version: the log's, and the rolled-up ones of commits that the log no longer has."""
    # The log is read first: what a clean-up takes from it meanwhile has been rolled up before, so nothing falls between the two.
    log = read_log(files_of(path, storage_options), table.version())
    spans, replays = _rolled_up(path, storage_options)
    in_log = {record.version for record in log.records} | set(log.damaged)
    older = (record for record in spans if record.version not in in_log and record.version <= table.version())
    told = {one.version for one in log.replays}
    earlier = (one for one in replays if one.version not in told and one.version <= table.version())
    return History(
        tuple(sorted((*older, *log.records), key=lambda record: record.version)),
        log.damaged,
        log.oldest,
        tuple(sorted((*earlier, *log.replays), key=lambda one: one.version)),
    )


def read_spans(path: str, storage_options: Mapping[str, str] = NO_OPTIONS) -> list[SpanRecord]:
    """All spans that ever landed in the table at `path`, oldest commit first, each once.

    Raises:
        Misconfigured: there is no table, or the store cannot be used as it is set.
        Unavailable: the store does not answer.
    """
    with looked(f"reading the commits of {shown(path)}"):
        check_way(path)
        table = snapshot(path, storage_options)
        return list(read_history(table, path, storage_options).records)


def _records(version: int, commit: CommitRecord) -> list[SpanRecord]:
    return [
        SpanRecord(
            version=version,
            committed_at=commit.committed_at,
            pipeline_id=commit.pipeline_id,
            pipeline=commit.pipeline,
            run_id=commit.run_id,
            sequence=commit.sequence,
            settings_digest=commit.settings_digest,
            span=span,
            effect=effect,
        )
        for span, effect in zip(commit.spans, commit.effects or [None] * len(commit.spans), strict=True)
    ]


def as_rows(log: History, columns: Sequence[pa.Field[Any]] = ()) -> pa.Table:
    """What is rolled up of a log, as rows of the table for it; `columns` are those that this has beside `SCHEMA`."""
    rows = [
        {
            "version": record.version,
            "committed_at": record.committed_at,
            "pipeline_id": record.pipeline_id,
            "pipeline": record.pipeline,
            "run": record.run_id,
            "sequence": record.sequence,
            "settings": record.settings_digest,
            "topic": record.span.stream.topic,
            "topic_id": record.span.stream.incarnation,
            "partition": record.span.stream.partition,
            "start": record.span.start,
            "end": record.span.end,
            "read": record.span.read,
            "written": record.span.written,
            "dead": record.span.dead,
            "skipped": json.dumps(dict(record.span.skipped), sort_keys=True),
            "digest": record.span.digest,
            "first": record.span.first,
            EFFECT.name: None if record.effect is None else json.dumps(effect_to_json(record.effect)),
        }
        for record in log.records
    ]
    rows += [
        {
            "version": one.version,
            "committed_at": one.committed_at,
            "topic": one.told.stream.topic,
            "topic_id": one.told.stream.incarnation,
            "partition": one.told.stream.partition,
            "written": one.told.letters,
            EFFECT.name: json.dumps(effect_to_json(one.told.effect)),
            REPLAY.name: json.dumps(one.told.ranges),
            "run": one.author.run_id,
            BY.name: one.author.by,
        }
        for one in log.replays
        if one.told.effect is not None
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema([*SCHEMA, *columns]))


def columns_needed(log: History) -> list[pa.Field[Any]]:
    """The columns beside `SCHEMA` without which some of this could not be rolled up."""
    has_replays = any(one.told.effect is not None for one in log.replays)
    has_effects = has_replays or any(record.effect is not None for record in log.records)
    return [column for column, needed in ((EFFECT, has_effects), (REPLAY, has_replays), (BY, has_replays)) if needed]


def _from_row(row: Mapping[str, Any]) -> SpanRecord:
    stream = Stream(row["topic"], row["topic_id"], row["partition"])
    counts = (row["read"], row["written"], row["dead"], json.loads(row["skipped"]))
    return SpanRecord(
        version=row["version"],
        committed_at=row["committed_at"],
        pipeline_id=row["pipeline_id"],
        pipeline=row["pipeline"],
        run_id=row["run"],
        sequence=row["sequence"],
        settings_digest=row["settings"],
        span=Span(stream, row["start"], row["end"], *counts, row["digest"], row["first"]),
        effect=None if row[EFFECT.name] is None else effect_from_json(json.loads(row[EFFECT.name])),
    )


def _replay_from_row(row: Mapping[str, Any]) -> ReplayRecord:
    told = Told(
        Stream(row["topic"], row["topic_id"], row["partition"]),
        checked_ranges(json.loads(row[REPLAY.name])),
        effect_from_json(json.loads(row[EFFECT.name])),
    )
    return ReplayRecord(row["version"], row["committed_at"], told, Author(row[BY.name] or UNKNOWN, row["run"] or UNKNOWN))


def _rolled_up(path: str, storage_options: Mapping[str, str]) -> tuple[list[SpanRecord], list[ReplayRecord]]:
    records: list[SpanRecord] = []
    replays: list[ReplayRecord] = []
    table = snapshot_or_none(spans_path(path), storage_options)
    if table is None:
        return records, replays
    files = files_of(spans_path(path), storage_options)
    for add in active_files(table):
        with files.open(add.path) as stored:
            content = pq.read_table(stored, schema=pa.schema([*SCHEMA, EFFECT, REPLAY, BY]), page_checksum_verification=True)
        for row in content.to_pylist():
            if row[REPLAY.name] is None:
                records.append(_from_row(row))
            else:
                replays.append(_replay_from_row(row))
    return records, replays
