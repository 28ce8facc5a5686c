"""Every span that ever landed in a table: from the commits in its log, and from `<table>__spans` for commits whose log is gone.

Delta cleans its log up after a while, and the spans in the commits would go with it. Before that, maintenance rolls them up into a table
beside the data. How far that has been done is a transaction version of the spans table, so rolling up is safe to repeat, to race
and to interrupt.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from landfast.errors import Unavailable, check
from landfast.model import Span, Stream
from landfast.sinks.delta import metadata, parquet
from landfast.sinks.delta.active import active_files
from landfast.sinks.delta.errors import Fate, fate_of, looked, translated
from landfast.sinks.delta.files import Files, files_of, log_name
from landfast.sinks.delta.ground import check_way, shown, spans_path
from landfast.sinks.delta.rows import Part
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.startup import create_or_open
from landfast.sinks.delta.table import HOOKS_OFF, Place, place_of

APP_ID = "landfast/spans"
"""Its transaction version in the spans table is the data table's version up to which spans are rolled up."""

ROLL_UP_ATTEMPTS_MAX = 20

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


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A span and the commit it landed with. `committed_at` is in milliseconds since the epoch."""

    version: int
    committed_at: int
    pipeline_id: str
    pipeline: str
    run_id: str
    sequence: int
    settings_digest: str
    span: Span


@dataclass(frozen=True, slots=True)
class Lineage:
    """What the commits of a table say, oldest first.

    damaged    versions whose record is there but cannot be read or was changed, with what is wrong
    oldest     the oldest version that was found in the log
    """

    records: tuple[SpanRecord, ...]
    damaged: Mapping[int, str]
    oldest: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run as its commits tell it. Sequence numbers that are missing or came twice are exact, not samples."""

    run_id: str
    pipeline: str
    settings_digest: str
    commits: int
    first_version: int
    last_version: int
    first_committed_at: int
    last_committed_at: int
    read: int
    written: int
    dead: int
    skipped: int
    missing: tuple[int, ...]
    repeated: tuple[int, ...]


def read_log(files: Files, newest: int, after: int = -1) -> Lineage:
    """The spans of the commits in `(after, newest]` that the table's log still has."""
    records: list[SpanRecord] = []
    damaged: dict[int, str] = {}
    oldest = newest
    # From the newest down: the log is without gaps from its oldest entry on, and clean-up takes the oldest first.
    for version in range(newest, after, -1):
        content = files.read(log_name(version))
        if content is None:
            break
        oldest = version
        try:
            info = _commit_info(content)
            commit = metadata.from_commit_info(info)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            damaged[version] = f"cannot be read ({type(error).__name__})"
            continue
        if metadata.altered(info):
            damaged[version] = "was changed after it was written: its text and its digest disagree"
        if commit is not None:
            records.extend(reversed(_records(version, commit)))
    return Lineage(tuple(reversed(records)), damaged, oldest)


def _commit_info(content: bytes) -> Mapping[str, Any]:
    for line in content.splitlines():
        if b'"commitInfo"' in line:
            info = json.loads(line).get("commitInfo")
            if info is not None:
                return cast("Mapping[str, Any]", info)
    return {}


def read_lineage(table: DeltaTable, path: str, storage_options: Mapping[str, str] = NO_OPTIONS) -> Lineage:
    """All spans of the table up to the handle's version: the log's, and the rolled-up ones of commits that the log no longer has."""
    # The log is read first: what a clean-up takes from it meanwhile has been rolled up before, so nothing falls between the two.
    log = read_log(files_of(path, storage_options), table.version())
    in_log = {record.version for record in log.records} | set(log.damaged)
    older = tuple(
        record for record in _rolled_up(path, storage_options) if record.version not in in_log and record.version <= table.version()
    )
    return Lineage(tuple(sorted((*older, *log.records), key=lambda record: record.version)), log.damaged, log.oldest)


def read_spans(path: str, storage_options: Mapping[str, str] = NO_OPTIONS) -> list[SpanRecord]:
    """All spans that ever landed in the table at `path`, oldest commit first, each once.

    Raises:
        Misconfigured: there is no table, or the store cannot be used as it is set.
        Unavailable: the store does not answer.
    """
    with looked(f"reading the commits of {shown(path)}"):
        check_way(path)
        table = DeltaTable(path, storage_options=dict(storage_options))
        return list(read_lineage(table, path, storage_options).records)


def roll_up(table: DeltaTable, path: str, storage_options: Mapping[str, str], now: float) -> int:
    """Copy the spans of the handle's log into the spans table, durably; how many were copied.

    Safe to repeat and to race: when it returns, every span up to the handle's version is in the spans table exactly once.

    Raises:
        Broken: a commit's record is damaged; nothing was copied, and the log must be kept.
        Unavailable: the store does not answer, or others were faster each time.
    """
    place = place_of(DeltaSettings(path=spans_path(path), storage_options=storage_options))
    version = table.version()
    failure: BaseException | None = None
    for _ in range(ROLL_UP_ATTEMPTS_MAX):
        target = create_or_open(place, SCHEMA, {})
        done = target.transaction_version(APP_ID)
        after = -1 if done is None else done
        if after >= version:
            return 0
        log = read_log(files_of(path, storage_options), version, after)
        check(not log.damaged, f"commits {sorted(log.damaged)[:10]} of the table carry damaged records", code="LOG_CORRUPT")
        try:
            _append(target, place, _to_arrow(log.records), version, now)
        except Exception as error:
            failure = error
            # Somebody else has rolled up meanwhile, or our own answer was lost: the position says how far that went.
            if fate_of(error) is Fate.INTERFERENCE:
                continue
            raise translated(error, "rolling spans up") from error
        return len(log.records)
    message = f"other processes rolled the spans up during each of {ROLL_UP_ATTEMPTS_MAX} attempts"
    raise Unavailable("COMMIT_CONFLICT", message, next_step="Nothing: it is tried again.") from failure


def runs(records: Iterable[SpanRecord]) -> list[RunSummary]:
    """The runs behind these spans, in the order of their first commit, with gaps and repeats in their commit sequence."""
    by_run: defaultdict[str, list[SpanRecord]] = defaultdict(list)
    for record in records:
        by_run[record.run_id].append(record)
    return sorted((_summary(group) for group in by_run.values()), key=lambda run: run.first_version)


def _summary(group: Sequence[SpanRecord]) -> RunSummary:
    commits = {record.version: record for record in group}
    sequences = sorted(record.sequence for record in commits.values())
    present = set(sequences)
    times = [record.committed_at for record in group]
    return RunSummary(
        run_id=group[0].run_id,
        pipeline=group[0].pipeline,
        settings_digest=group[0].settings_digest,
        commits=len(commits),
        first_version=min(commits),
        last_version=max(commits),
        first_committed_at=min(times),
        last_committed_at=max(times),
        read=sum(record.span.read for record in group),
        written=sum(record.span.written for record in group),
        dead=sum(record.span.dead for record in group),
        skipped=sum(sum(record.span.skipped.values()) for record in group),
        missing=tuple(number for number in range(sequences[0], sequences[-1]) if number not in present),
        repeated=tuple(sorted({left for left, right in itertools.pairwise(sequences) if left == right})),
    )


def _records(version: int, commit: metadata.CommitRecord) -> list[SpanRecord]:
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
        )
        for span in commit.spans
    ]


def _to_arrow(records: Sequence[SpanRecord]) -> pa.Table:
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
        }
        for record in records
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


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
    )


def _rolled_up(path: str, storage_options: Mapping[str, str]) -> list[SpanRecord]:
    try:
        table = DeltaTable(spans_path(path), storage_options=dict(storage_options))
    except TableNotFoundError:
        return []
    files = files_of(spans_path(path), storage_options)
    records: list[SpanRecord] = []
    for add in active_files(table):
        with files.open(add.path) as stored:
            content = pq.read_table(stored, schema=SCHEMA, page_checksum_verification=True)
        records.extend(_from_row(row) for row in content.to_pylist())
    return records


def _append(target: DeltaTable, place: Place, rows: pa.Table, version: int, now: float) -> None:
    """Land the rows and the version they reach in one durable commit."""
    files = place.files
    adds: list[AddAction | RemoveAction] = []
    if rows.num_rows:
        file = parquet.write(files, f"spans-{uuid.uuid4().hex}.zstd.parquet", Part("", {}, rows), place.settings, now=now)
        adds.append(AddAction(file.path, file.nbytes, file.partition_values, file.modified_at, data_change=True, stats=file.stats))
    target.create_write_transaction(
        adds,
        "append",
        SCHEMA,
        commit_properties=CommitProperties(app_transactions=[Transaction(APP_ID, version)]),
        post_commithook_properties=HOOKS_OFF,
    )
    before = target.version()
    target.update_incremental()
    files.sync_log(range(before, target.version() + 1))
