"""The proof from the table alone: every offset that the commits account for is in exactly one place, and every byte is as written.

What it cannot see: a record that was never read (`verify_source` can), an edit by somebody who also computes the digests in the log again,
and what became of values in files that another writer wrote; those it names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from landfast.audit import Finding, Kind, Range, Rewritten, StreamAccount, Verdict, account, tiling
from landfast.errors import Misconfigured
from landfast.model import Position, Span, Stream
from landfast.sinks.delta.errors import looked, mapped
from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.files.own_columns import SYSTEM_SCHEMA
from landfast.sinks.delta.files.paths import check_way, letters_path, shown
from landfast.sinks.delta.files.storage import files_of
from landfast.sinks.delta.log.app_ids import position_app_id
from landfast.sinks.delta.log.snapshot import snapshot, snapshot_or_none
from landfast.sinks.delta.log.spans import NO_OPTIONS, History, read_history
from landfast.sinks.delta.log.tail import lost_tail
from landfast.sinks.delta.proof.close_up import look_closely
from landfast.sinks.delta.proof.foreign import look_for_foreign
from landfast.sinks.delta.proof.offsets import COORDINATES, Offsets, TopicPartition, ascending, grouped, ranges_of, within
from landfast.sinks.delta.proof.one_per_key import counted, effect_findings, key_findings, row_findings
from landfast.sinks.delta.proof.resolutions import Whose, read_trail, resolved, retrying, without
from landfast.sinks.delta.proof.scan import Depth, Scan
from landfast.sinks.delta.proof.tally import Tally, regions_of
from landfast.sinks.delta.settings import MIB
from landfast.sinks.delta.table.entities import entities_in
from landfast.sinks.delta.table.features import reading_problems
from landfast.sinks.delta.table.marks import pipelines_of
from landfast.sinks.delta.table.place import shape_of

HELD_BYTES_MAX = 256 * MIB
CLOSE_UP_ROWS_MAX = 8_000_000
LETTER_KEYS = ("topic", "topic_id", "partition", "offset")
NOT_BEFORE = "not_before"


def verify_table(
    path: str,
    storage_options: Mapping[str, str] = NO_OPTIONS,
    *,
    depth: Depth = Depth.EVERY_PAGE,
    held_bytes_max: int = HELD_BYTES_MAX,
    close_up_rows_max: int = CLOSE_UP_ROWS_MAX,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Verdict:
    """Prove the table at `path` from itself, at the version it has now. Safe beside running writers; changes nothing.

    `progress` hears how many rows each file held. Memory is bounded by `held_bytes_max`, `close_up_rows_max` (offsets of what looks
    wrong) and one file, whatever the table's size.

    Raises:
        Misconfigured: there is no table, it is not one of Landfast's, or the store cannot be used as it is set.
        Unavailable: the store does not answer.
        Broken: the table's log cannot be read.
    """
    with looked(f"proving {shown(path)}"):
        check_way(path)
        table = _own_table(path, storage_options)
        return _verdict(table, Where(path, storage_options, depth), held_bytes_max, close_up_rows_max, progress)


@dataclass(frozen=True, slots=True)
class Where:
    """The table that is proved, and how much of each file is read."""

    path: str
    storage_options: Mapping[str, str]
    depth: Depth


def _own_table(path: str, storage_options: Mapping[str, str]) -> DeltaTable:
    """The table, with the coordinates that every table of Landfast's has.

    Raises:
        Misconfigured: it has none, or its files do not tell what its rows are; so nothing can be said of it.
    """
    # deltalake takes an empty entry for an empty commit, and names no entry that is damaged.
    hollow = lost_tail(path, files_of(path, storage_options))
    if hollow:
        entry = f"the log entry {log_name(hollow[0])} of {shown(path)}"
        message = f"{entry} is empty or torn, as a power cut leaves it: nobody can say what it held"
        raise Misconfigured(
            "TAIL_EMPTY", message, next_step="Start the pipeline: it reads those records again. Then ask for the proof again."
        )
    table = snapshot(path, storage_options)
    for problem in reading_problems(table):
        raise problem
    schema = shape_of(table).schema
    lacking = [field.name for field in SYSTEM_SCHEMA if field.name not in schema.names or schema.field(field.name).type != field.type]
    if not lacking:
        return table
    words = f"the table at {shown(path)} has no columns {', '.join(lacking)} of the type that they have in Landfast's tables"
    if pipelines_of(table):
        next_step = "Find out who changed the table's columns; bring them back, or restore the version before."
        raise Misconfigured("SCHEMA_CONFLICT", words, next_step=next_step)
    next_step = "Name the table that a pipeline lands in: there is nothing to prove of one that no pipeline has written."
    raise Misconfigured("FOREIGN_PIPELINE", words, next_step=next_step)


def _verdict(table: DeltaTable, where: Where, held_bytes_max: int, close_up_rows_max: int, progress: Callable[[int], None]) -> Verdict:
    path, storage_options, depth = where.path, where.storage_options, where.depth
    with mapped("reading the table's commits"):
        history = read_history(table, path, storage_options)
    findings = [
        Finding(Kind.METADATA_CHANGED, f"the record of version {version} {words}") for version, words in sorted(history.damaged.items())
    ]
    accounts = _accounts(table, history, findings)
    spans = [record.span for record in history.records]
    buried = _read_letters(path, storage_options, depth, findings)
    letters = buried.offsets
    pending = _check_letters(letters, accounts, spans, findings)
    whose = Whose({record.pipeline_id for record in history.records}, table.version())
    trail = read_trail(path, storage_options, depth, whose, findings)
    fates = resolved(letters, trail, history.replayed)
    unlanded = without(letters, fates.rows)
    scan = Scan(path, storage_options, table, keys=COORDINATES, depth=depth)
    entities = entities_in(table)
    one_per_key = None
    if entities is None:
        tally = _check_rows(scan, spans, unlanded, fates.rows, held_bytes_max, progress)
        findings.extend(_row_findings(scan, tally, unlanded, close_up_rows_max))
    else:
        found = counted(scan, history, unlanded, fates.rows, progress)
        tally, one_per_key = found.tally, found.totals
        keys = Scan(path, storage_options, table, keys=entities.key, depth=Depth.COORDINATES)
        findings.extend((*effect_findings(history), *_outside_findings(tally), *row_findings(found, unlanded)))
        findings.extend(key_findings(keys, shape_of(table).schema, held_bytes_max))
    rewritten = (*buried.rewritten, *trail.rewritten, *look_for_foreign(scan, table.version()))
    findings.extend(scan.findings)
    return Verdict(
        findings=tuple(findings),
        accounts=tuple(accounts),
        version=table.version(),
        rows=tally.rows,
        foreign_rows=tally.foreign_rows,
        letters=sum(len(offsets) for offsets in letters.values()),
        pending=pending,
        replayed=fates.replayed,
        discarded=fates.discarded,
        retrying=retrying(buried.later, trail, fates.rows),
        unresolved=fates.unresolved,
        contested=fates.contested,
        files=len(scan.active),
        nbytes=scan.nbytes,
        checked_spans=len(spans),
        digested=buried.digested + trail.digested + scan.digested,
        undigested=buried.undigested + trail.undigested + scan.undigested,
        rewritten=rewritten,
        one_per_key=one_per_key,
    )


def _accounts(table: DeltaTable, history: History, findings: list[Finding]) -> list[StreamAccount]:
    by_owner: defaultdict[tuple[str, Stream], list[Span]] = defaultdict(list)
    for record in history.records:
        by_owner[record.pipeline_id, record.span.stream].append(record.span)
    accounts: list[StreamAccount] = []
    for (pipeline_id, stream), spans in sorted(by_owner.items()):
        with mapped("reading a position"):
            position = table.transaction_version(position_app_id(pipeline_id, stream))
        accounts.append(account(stream, spans, position))
        findings.extend(tiling(stream, spans, position))
    return accounts


@dataclass(frozen=True, slots=True)
class Buried:
    """The table of dead letters: the buried offsets of each stream, ascending, and what there is to say of its files.

    later   of the letters that were to be tried again by themselves
    """

    offsets: Mapping[Stream, Offsets]
    later: Mapping[Stream, Offsets] = field(default_factory=dict)
    rewritten: Sequence[Rewritten] = ()
    digested: int = 0
    undigested: int = 0


def _read_letters(path: str, storage_options: Mapping[str, str], depth: Depth, findings: list[Finding]) -> Buried:
    found: defaultdict[Stream, list[Offsets]] = defaultdict(list)
    target = letters_path(path)
    with mapped("opening the dead letters"):
        table = snapshot_or_none(target, storage_options)
    if table is None:
        return Buried({})
    later: defaultdict[Stream, list[Offsets]] = defaultdict(list)
    scan = Scan(target, storage_options, table, keys=LETTER_KEYS, depth=depth, beside=(NOT_BEFORE,))
    for keys in scan.keys(lambda _rows: None):
        for rows, by_stream in ((keys, found), (keys.filter(pc.is_valid(keys.column(NOT_BEFORE))), later)):
            for (topic, topic_id, partition), offsets in grouped(rows, LETTER_KEYS[:3], LETTER_KEYS[3]):
                by_stream[Stream(topic, topic_id, partition)].append(offsets)
    rewritten = look_for_foreign(scan, table.version())
    findings.extend(scan.findings)
    every, retried = ({stream: ascending(pa.concat_arrays(parts)) for stream, parts in one.items()} for one in (found, later))
    return Buried(every, retried, rewritten, scan.digested, scan.undigested)


def _check_letters(
    letters: Mapping[Stream, Offsets], accounts: Sequence[StreamAccount], spans: Iterable[Span], findings: list[Finding]
) -> int:
    """Letters that come twice, and letters that no commit accounts for; returns how many are still to be passed by a commit."""
    positions: dict[Stream, Position | None] = {one.stream: one.position for one in accounts}
    covered: defaultdict[Stream, list[Range]] = defaultdict(list)
    for span in spans:
        covered[span.stream].append((span.start, span.end))
    pending = 0
    for stream, offsets in sorted(letters.items()):
        repeated = offsets[1:].filter(pc.equal(offsets[1:], offsets[:-1]))
        if len(repeated):
            words = "these offsets are buried more often than once"
            findings.append(Finding(Kind.LETTER_DOUBLED, words, stream, tuple(ranges_of(repeated)), len(repeated)))
        position = positions.get(stream)
        passed = within(offsets, 0, position) if position is not None else offsets[:0]
        pending += len(offsets) - len(passed)
        outside = _outside(passed, covered[stream])
        if len(outside):
            words = "letters at offsets that no commit accounts for"
            findings.append(Finding(Kind.LETTER_PHANTOM, words, stream, tuple(ranges_of(outside)), len(outside)))
    return pending


def _outside(offsets: Offsets, ranges: Iterable[Range]) -> Offsets:
    """The ascending offsets that lie in none of the ranges."""
    parts = [offsets[:0]]
    reached = 0
    for start, end in sorted(ranges):
        if start > reached:
            parts.append(within(offsets, reached, start))
        reached = max(reached, end)
    if len(offsets):
        parts.append(within(offsets, reached, offsets[-1].as_py() + 1))
    return pa.concat_arrays(parts)


def _check_rows(
    scan: Scan,
    spans: Iterable[Span],
    letters: Mapping[Stream, Offsets],
    replayed: Mapping[Stream, Offsets],
    held_bytes_max: int,
    progress: Callable[[int], None],
) -> Tally:
    """Count all rows by the spans that they belong to. A letter that was replayed is a row there, and no letter any more."""
    regions = regions_of(spans)
    for region in regions:
        landed = sum(len(within(replayed.get(stream), region.start, region.end)) for stream in region.streams)
        region.written += landed
        region.dead -= landed
        buried = sum(len(pc.unique(within(letters.get(stream), region.start, region.end))) for stream in region.streams)
        region.suspect = buried != region.dead
    by_topic: defaultdict[TopicPartition, list[Offsets]] = defaultdict(list)
    for stream, offsets in letters.items():
        by_topic[stream.topic, stream.partition].append(offsets)
    tally = Tally(regions, {place: ascending(pa.concat_arrays(parts)) for place, parts in by_topic.items()}, held_bytes_max)
    for coordinates in scan.keys(progress):
        tally.add(coordinates)
    return tally


def _outside_findings(tally: Tally) -> Iterator[Finding]:
    for (topic, partition), count in sorted(tally.outside_rows.items()):
        words = f"rows of {topic}[{partition}] at offsets that no commit accounts for"
        yield Finding(Kind.PHANTOM_ROW, words, None, tuple(tally.outside[topic, partition]), count)


def _row_findings(scan: Scan, tally: Tally, letters: Mapping[Stream, Offsets], rows_max: int) -> Iterator[Finding]:
    yield from _outside_findings(tally)
    suspects = tally.close()
    if suspects:
        yield from look_closely(scan, suspects, letters, rows_max)
