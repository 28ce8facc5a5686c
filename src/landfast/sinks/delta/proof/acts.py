"""What the trail says of dead letters: which are open, which were replayed or discarded, and what was tried."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from deltalake import DeltaTable

from landfast.sinks.delta.files.paths import trail_path
from landfast.sinks.delta.files.plain import plain
from landfast.sinks.delta.files.storage import Files, files_of
from landfast.sinks.delta.log.snapshot import snapshot_or_none
from landfast.sinks.delta.proof.letters import Row, microseconds, with_columns
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table import trail
from landfast.sinks.delta.table.trail import EDITED, TRAIL_SCHEMA

pc: Any = pyarrow.compute

_ROWS_AT_ONCE = 8192
_ENDS = pa.array([*trail.RESOLUTIONS, trail.GIVEN_UP], pa.string())
_TOLD = [name for name in TRAIL_SCHEMA.names if name not in {"topic", "topic_id", "partition", "pipeline_id", "value"}]


class State(enum.StrEnum):
    """Where a dead letter stands."""

    OPEN = "open"
    """It waits for somebody to replay or to discard it."""
    RETRYING = "retrying"
    """It is open, and the pipeline tries it again by itself."""
    REPLAYED = "replayed"
    """It is a row of the table."""
    DISCARDED = "discarded"
    """Somebody has decided that it is not to be one."""


OPEN_STATES = frozenset({State.OPEN, State.RETRYING})
"""Of letters that nobody has resolved."""


@dataclass(frozen=True, slots=True)
class Dealings:
    """What became of a letter so far.

    acts        how many acts the trail has of it
    refusals    how often a replay of people's found that it cannot land, and `refused` the newest of these
    retried     the newest attempt of the pipeline that was in vain, and `given_up` that it was the last
    edit        the newest edit
    resolution  that it was replayed or discarded
    """

    acts: int = 0
    refusals: int = 0
    refused: Row | None = None
    edit: Row | None = None
    resolution: Row | None = None
    retried: Row | None = None
    given_up: bool = False

    @property
    def state(self) -> State:
        """Where it stands, but for whether it is tried again."""
        return State.OPEN if self.resolution is None else State(self.resolution["act"])

    def state_of(self, letter: Row) -> State:
        """Where the letter stands that this became of."""
        return self.state if self.next_attempt_at(letter) is None else State.RETRYING

    def and_then(self, act: Row) -> Dealings:
        """The same after one more act of the trail, in whatever order these come."""
        after = replace(self, acts=max(self.acts, act["number"]))
        match act["act"]:
            case trail.REFUSED:
                return replace(after, refusals=self.refusals + 1, refused=_newer(self.refused, act))
            case trail.EDITED:
                return replace(after, edit=_newer(self.edit, act))
            case trail.RETRIED | trail.GIVEN_UP:
                return replace(after, retried=_newer(self.retried, act), given_up=self.given_up or act["act"] == trail.GIVEN_UP)
            case trail.REPLAYED | trail.DISCARDED:
                first = self.resolution is None or act["number"] < self.resolution["number"]
                return replace(after, resolution=act if first else self.resolution)
        return after

    def failures(self, letter: Row) -> int:
        """How often the record has failed by itself, the first time included; 0 where nobody has tried it yet."""
        if self.retried is not None and self.retried["attempt"] is not None:
            return int(self.retried["attempt"])
        return 0 if letter["phase"] == trail.UNTRIED_PHASE else 1

    def next_attempt_at(self, letter: Row) -> int | None:
        """When the pipeline tries it again at the earliest, in microseconds since the epoch; None where it does not."""
        if letter["not_before"] is None or self.given_up or self.resolution is not None:
            return None
        told = None if self.retried is None else self.retried["not_before"]
        return int(letter["not_before"]) if told is None else microseconds(told)


UNTOUCHED = Dealings()


def _newer(one: Row | None, other: Row) -> Row:
    return other if one is None or other["number"] > one["number"] else one


class Acts:
    """The trail of one table as it is now. Raises what deltalake and the store raise."""

    def __init__(self, settings: DeltaSettings, handle: DeltaTable | None = None) -> None:
        path = trail_path(settings.path)
        table = snapshot_or_none(path, settings.storage_options) if handle is None else handle
        self._files: Files = files_of(path, settings.storage_options)
        self._adds = [] if table is None else pa.table(table.get_add_actions(flatten=True)).to_pylist()

    @property
    def none(self) -> bool:
        """Whether nobody has ever done anything."""
        return not self._adds

    def of(self, letters: Sequence[Row]) -> Mapping[str, Dealings]:
        """What became of these letters, by their ids in the letters' own table; those that nobody has touched are left out."""
        found: dict[str, Dealings] = {}
        for act in self._acts(letters, _TOLD):
            found[act["id"]] = found.get(act["id"], UNTOUCHED).and_then(act)
        return found

    def unfinished(self, letters: pa.Table) -> pa.Table:
        """Those of these letters that nobody has resolved, and the pipeline has not given up. Makes rows of none: most are done with."""
        done: list[Any] = [pa.array([], pa.string())]
        ends = pc.min_max(letters.column("offset")).as_py()
        for path in self._paths(ends["min"], ends["max"]) if letters.num_rows else ():
            with self._files.open(path) as stored:
                acts = plain(pq.read_table(stored, columns=["id", "act"]))
            done += acts.filter(pc.is_in(acts.column("act"), value_set=_ENDS)).column("id").chunks
        return letters.filter(pc.invert(pc.is_in(letters.column("id"), value_set=pa.concat_arrays(done))))

    def edits(self, letters: Sequence[Row]) -> Mapping[str, bytes | None]:
        """The bytes of the newest edit of these letters, by id."""
        newest: dict[str, Row] = {}
        for act in self._acts(letters, ["id", "act", "number", "offset", "value"]):
            if act["act"] == EDITED:
                newest[act["id"]] = _newer(newest.get(act["id"]), act)
        return {name: act["value"] for name, act in newest.items()}

    def told(self, letter: Row) -> list[Row]:
        """Every act of one letter, in order."""
        return sorted(self._acts([letter], _TOLD), key=lambda act: act["number"])

    def _acts(self, letters: Iterable[Row], columns: Sequence[str]) -> Iterator[Row]:
        ids = pa.array([letter["id"] for letter in letters], pa.string())
        offsets = [letter["offset"] for letter in letters]
        for path in self._paths(min(offsets), max(offsets)) if offsets else ():
            with self._files.open(path) as stored:
                for batch in pq.ParquetFile(stored).iter_batches(_ROWS_AT_ONCE, columns=list(columns)):
                    acts = plain(pa.Table.from_batches([batch]))
                    found = acts.filter(pc.is_in(acts.column("id"), value_set=ids))
                    yield from with_columns(found, TRAIL_SCHEMA, columns).to_pylist()

    def _paths(self, first: int, last: int) -> Iterator[str]:
        for add in self._adds:
            low, high = add.get("min.offset"), add.get("max.offset")
            if (low is None or low <= last) and (high is None or high >= first):
                yield unquote(add["path"])
