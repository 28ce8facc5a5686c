"""Dead letters that were replayed or discarded: which of them are rows now, and which nobody waits for any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from landfast.audit import Finding, Range, Rewritten
from landfast.model import Stream
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.files.paths import trail_path
from landfast.sinks.delta.log.snapshot import snapshot_or_none
from landfast.sinks.delta.proof.foreign import look_for_foreign
from landfast.sinks.delta.proof.offsets import Offsets, ascending, grouped, within
from landfast.sinks.delta.proof.scan import Depth, Scan
from landfast.sinks.delta.table.trail import DISCARDED, GIVEN_UP, REPLAYED

TRAIL_KEYS = ("topic", "topic_id", "pipeline_id", "act", "version", "partition", "offset")
NONE: Offsets = pa.array([], pa.int64())
ByStream = Mapping[Stream, Offsets]


@dataclass(frozen=True, slots=True)
class Trail:
    """What became of these pipelines' letters, and what there is to say of the files that hold it. Offsets are ascending."""

    replayed: ByStream = field(default_factory=dict)
    discarded: ByStream = field(default_factory=dict)
    given_up: ByStream = field(default_factory=dict)
    rewritten: Sequence[Rewritten] = ()
    digested: int = 0
    undigested: int = 0


@dataclass(frozen=True, slots=True)
class Whose:
    """The table whose trail it is: the pipelines that land in it, and the version that is proved."""

    pipeline_ids: Collection[str]
    version: int


def read_trail(path: str, storage_options: Mapping[str, str], depth: Depth, whose: Whose, findings: list[Finding]) -> Trail:
    """The trail beside the table at `path`, but for replays after the version; nothing where there is none."""
    target = trail_path(path)
    with mapped("opening the trail of dead letters"):
        table = snapshot_or_none(target, storage_options)
    if table is None:
        return Trail()
    found: dict[str, defaultdict[Stream, list[Offsets]]] = {act: defaultdict(list) for act in (REPLAYED, DISCARDED, GIVEN_UP)}
    scan = Scan(target, storage_options, table, keys=TRAIL_KEYS, depth=depth)
    for keys in scan.keys(lambda _rows: None):
        for (topic, topic_id, pipeline_id, act, version, partition), offsets in grouped(keys, TRAIL_KEYS[:-1], TRAIL_KEYS[-1]):
            if act in found and pipeline_id in whose.pipeline_ids and (version is None or version <= whose.version):
                found[act][Stream(topic, topic_id, partition)].append(offsets)
    rewritten = look_for_foreign(scan, table.version())
    findings.extend(scan.findings)
    replayed, discarded, given_up = (_joined(found[act]) for act in (REPLAYED, DISCARDED, GIVEN_UP))
    return Trail(replayed, discarded, given_up, rewritten, scan.digested, scan.undigested)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of the letters of a table.

    rows         letters that are rows now, ascending
    replayed     how many the trail says so of, and how many were `discarded`
    unresolved   how many only the table's log says so of
    contested    how many of those that are rows the trail has as discarded
    """

    rows: ByStream
    replayed: int = 0
    discarded: int = 0
    unresolved: int = 0
    contested: int = 0


def resolved(letters: ByStream, trail: Trail, logged: Mapping[Stream, Sequence[Range]]) -> Resolved:
    """Join what the trail and the table's log say of these letters."""
    rows: dict[Stream, Offsets] = {}
    replayed = discarded = unresolved = contested = 0
    for stream, offsets in letters.items():
        said, dropped = _among(trail.replayed.get(stream), offsets), _among(trail.discarded.get(stream), offsets)
        landed = _inside(offsets, logged.get(stream, ()))
        union = ascending(pc.unique(pa.concat_arrays([said, landed])))
        if len(union):
            rows[stream] = union
        replayed += len(said)
        discarded += len(_without(dropped, said))
        unresolved += len(_without(_without(landed, said), dropped))
        contested += len(_among(dropped, union))
    return Resolved(rows, replayed, discarded, unresolved, contested)


def retrying(later: ByStream, trail: Trail, rows: ByStream) -> int:
    """How many of the letters that were to be tried again by themselves still are: those that are no rows, not discarded, not given up."""
    count = 0
    for stream, offsets in later.items():
        left = offsets
        for done in (rows, trail.discarded, trail.given_up):
            left = _without(left, done.get(stream, NONE))
        count += len(left)
    return count


def without(letters: ByStream, rows: ByStream) -> dict[Stream, Offsets]:
    """The letters but for those that are rows."""
    return {stream: _without(offsets, rows[stream]) if stream in rows else offsets for stream, offsets in letters.items()}


def _joined(parts: Mapping[Stream, Sequence[Offsets]]) -> dict[Stream, Offsets]:
    return {stream: ascending(pc.unique(pa.concat_arrays(list(offsets)))) for stream, offsets in parts.items()}


def _inside(offsets: Offsets, ranges: Sequence[Range]) -> Offsets:
    """Those of the offsets that lie in one of the ranges. Whatever somebody may have written into a log as a range is not spelled out."""
    return ascending(pc.unique(pa.concat_arrays([NONE, *(within(offsets, start, end) for start, end in ranges)])))


def _among(offsets: Offsets | None, others: Offsets) -> Offsets:
    return NONE if offsets is None else offsets.filter(pc.is_in(offsets, value_set=others))


def _without(offsets: Offsets, others: Offsets) -> Offsets:
    return offsets.filter(pc.invert(pc.is_in(offsets, value_set=others)))
