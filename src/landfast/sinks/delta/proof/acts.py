"""What the trail says of dead letters: which are open, which were replayed or discarded, and what was tried."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from deltalake import DeltaTable

from landfast.sinks.delta.files.paths import trail_path
from landfast.sinks.delta.files.storage import Files, files_of
from landfast.sinks.delta.log.snapshot import snapshot_or_none
from landfast.sinks.delta.proof.letters import Row
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.trail import EDITED, REFUSED, RESOLUTIONS, TRAIL_SCHEMA

pc: Any = pyarrow.compute

_ROWS_AT_ONCE = 8192
_TOLD = [name for name in TRAIL_SCHEMA.names if name not in {"topic", "topic_id", "partition", "pipeline_id", "value"}]


class State(enum.StrEnum):
    """Where a dead letter stands."""

    OPEN = "open"
    """It waits for somebody to replay or to discard it."""
    REPLAYED = "replayed"
    """It is a row of the table."""
    DISCARDED = "discarded"
    """Somebody has decided that it is not to be one."""


@dataclass(frozen=True, slots=True)
class Dealings:
    """What became of a letter so far.

    acts        how many acts the trail has of it
    refusals    how often a replay found that it cannot land, and `refused` the newest of these
    edit        the newest edit
    resolution  that it was replayed or discarded
    """

    acts: int = 0
    refusals: int = 0
    refused: Row | None = None
    edit: Row | None = None
    resolution: Row | None = None

    @property
    def state(self) -> State:
        """Where it stands."""
        return State.OPEN if self.resolution is None else State(self.resolution["act"])

    def and_then(self, act: Row) -> Dealings:
        """The same after one more act of the trail, in whatever order these come."""
        refused, edit, resolution = self.refused, self.edit, self.resolution
        if act["act"] == REFUSED:
            refused = _newer(refused, act)
        elif act["act"] == EDITED:
            edit = _newer(edit, act)
        elif act["act"] in RESOLUTIONS:
            resolution = act if resolution is None or act["number"] < resolution["number"] else resolution
        return Dealings(max(self.acts, act["number"]), self.refusals + (act["act"] == REFUSED), refused, edit, resolution)


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
                    table = pa.Table.from_batches([batch.filter(pc.is_in(batch.column("id"), value_set=ids))])
                    yield from table.to_pylist()

    def _paths(self, first: int, last: int) -> Iterator[str]:
        for add in self._adds:
            low, high = add.get("min.offset"), add.get("max.offset")
            if (low is None or low <= last) and (high is None or high >= first):
                yield unquote(add["path"])
