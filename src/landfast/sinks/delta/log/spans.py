"""Every span that ever landed in a table: from the commits in its log, and from `<table>__spans` for commits whose log is gone.

Delta cleans its log up after a while, and the spans in the commits would go with it. Before that, maintenance rolls them up into a table
beside the data. How far that has been done is a transaction version of the spans table, so rolling up is safe to repeat, to race
and to interrupt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from landfast.sinks.delta.log.replays import Range, told_by_replay
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
class History:
    """What the commits of a table say, oldest first.

    damaged    versions whose record is there but cannot be read or was changed, with what is wrong
    oldest     the oldest version that was found in the log
    replayed   the offsets of dead letters that replays have landed, as far as the log goes back
    """

    records: tuple[SpanRecord, ...]
    damaged: Mapping[int, str]
    oldest: int
    replayed: Mapping[Stream, Sequence[Range]] = field(default_factory=dict)


def read_log(files: Files, newest: int, after: int = -1) -> History:
    """The spans of the commits in `(after, newest]` that the table's log still has."""
    records: list[SpanRecord] = []
    damaged: dict[int, str] = {}
    replayed: dict[Stream, list[Range]] = {}
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
        for stream, ranges in told_by_replay(info).items():
            replayed.setdefault(stream, []).extend(ranges)
    return History(tuple(reversed(records)), damaged, oldest, replayed)


def _commit_info(content: bytes) -> Mapping[str, Any]:
    for line in content.splitlines():
        if b'"commitInfo"' in line:
            info = json.loads(line).get("commitInfo")
            if info is not None:
                return cast("Mapping[str, Any]", info)
    return {}


def read_history(table: DeltaTable, path: str, storage_options: Mapping[str, str] = NO_OPTIONS) -> History:
    """All spans of the table up to the handle's version: the log's, and the rolled-up ones of commits that the log no longer has."""
    # The log is read first: what a clean-up takes from it meanwhile has been rolled up before, so nothing falls between the two.
    log = read_log(files_of(path, storage_options), table.version())
    in_log = {record.version for record in log.records} | set(log.damaged)
    older = tuple(
        record for record in _rolled_up(path, storage_options) if record.version not in in_log and record.version <= table.version()
    )
    return History(tuple(sorted((*older, *log.records), key=lambda record: record.version)), log.damaged, log.oldest, log.replayed)


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


def as_rows(records: Sequence[SpanRecord], *, with_effects: bool = False) -> pa.Table:
    """The spans as rows of the table that they are rolled up into; `with_effects` where that has a column for them."""
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
        for record in records
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA.append(EFFECT) if with_effects else SCHEMA)


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


def _rolled_up(path: str, storage_options: Mapping[str, str]) -> list[SpanRecord]:
    table = snapshot_or_none(spans_path(path), storage_options)
    if table is None:
        return []
    files = files_of(spans_path(path), storage_options)
    records: list[SpanRecord] = []
    for add in active_files(table):
        with files.open(add.path) as stored:
            content = pq.read_table(stored, schema=SCHEMA.append(EFFECT), page_checksum_verification=True)
        records.extend(_from_row(row) for row in content.to_pylist())
    return records
