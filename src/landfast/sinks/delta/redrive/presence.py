"""Which dead letters are rows of the table already, where each record is a row: the row itself is the proof that it has landed.

A row tells its topic, partition, offset and time, and not the incarnation of its topic. Where a topic was deleted and made again, a row
of the other incarnation may have the same place; mostly it has another time. Where it has the same, nobody can tell whose it is.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from deltalake import DeltaTable

from landfast.errors import check
from landfast.model import Staged, Stream
from landfast.sinks.delta.files.names import is_own
from landfast.sinks.delta.files.own_columns import SYSTEM_COLUMNS, SYSTEM_SCHEMA
from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.files.plain import plain
from landfast.sinks.delta.files.staged import first_gone
from landfast.sinks.delta.log.active import ActiveFile, active_files
from landfast.sinks.delta.log.replays import Actions, Author, Told, ranges_among, replay_metadata
from landfast.sinks.delta.log.spans import ReplayRecord, read_history
from landfast.sinks.delta.proof.coordinates import Coordinates, coordinates_of
from landfast.sinks.delta.proof.letters import Row
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.view import View

# The stubs of pyarrow know neither Python values as operands nor the newer functions.
pc: Any = pyarrow.compute

_ROWS_AT_ONCE = 65_536
_Place = tuple[str, int, int, int | None]
"""What a row tells of where it comes from: topic, partition, offset, and time in microseconds."""


class Presence:
    """Whether the rows of certain letters are in the table, asked of one version after the other, and landing those that are not.

    A file is read once.

    Of one topic and partition the letters are of one incarnation. `author` lands the others.
    """

    def __init__(self, home: TableHome, letters: Sequence[Row], author: Author) -> None:
        self._home = home
        self._author = author
        self._replays: Sequence[ReplayRecord] = ()
        self._wanted: Mapping[_Place, Coordinates] = {_place_of(letter): coordinates_of(letter) for letter in letters}
        by_partition: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        for topic, partition, offset, _ in self._wanted:
            by_partition[topic, partition].append(offset)
        self._offsets = {place: sorted(offsets) for place, offsets in by_partition.items()}
        self._read: dict[str, frozenset[Coordinates]] = {}

    def of(self, view: View) -> set[Coordinates]:
        """Which of the letters are rows in this view. Its handle is at its version."""
        bounds = _bounds(view.handle)
        there: set[Coordinates] = set()
        for file in active_files(view.handle):
            if file.path not in self._read:
                may_hold = self._may_hold(_relied_upon(file.path, bounds.get(file.path, {})))
                self._read[file.path] = frozenset(self._found(file)) if may_hold else frozenset()
            there |= self._read[file.path]
        return there

    def author(self, place: Coordinates) -> Author:
        """Who has landed a letter whose row is there, as far as the table's log goes back. Asked after `unclear`."""
        for one in self._replays:
            if one.told.stream == place.stream and any(start <= place.offset < end for start, end in one.told.ranges):
                return one.author
        return Author()

    def unclear(self, view: View, there: set[Coordinates]) -> set[Coordinates]:
        """Of the letters whose rows seem to be there those whose place another incarnation of the topic has had as well."""
        if not there:
            return set()
        history = read_history(view.handle, self._home.settings.path, self._home.settings.storage_options)
        self._replays = history.replays
        others: defaultdict[tuple[str, int], list[tuple[str, int, int]]] = defaultdict(list)
        for record in history.records:
            span = record.span
            others[span.stream.topic, span.stream.partition].append((span.stream.incarnation, span.start, span.end))
        return {
            one
            for one in there
            for topic_id, start, end in others.get((one.topic, one.partition), ())
            if topic_id != one.topic_id and start <= one.offset < end
        }

    def resolved(self) -> Mapping[Coordinates, str]:
        """None: where the row is the proof, what the trail says changes nothing."""
        return {}

    def put(self, view: View, letters: Sequence[Row], staged: Staged) -> set[Coordinates] | None:
        """Land the staged rows of these letters right after this view; which of them are in the table then: all.

        None: somebody else has made that version.
        """
        home = self._home
        files = cast("tuple[DataFile, ...]", staged.content)
        gone = first_gone(home.files, files)
        check(gone is None, f"a file that was written for this replay is gone: {gone and gone.path}", code="STAGED_FILE_GONE")
        places = {coordinates_of(row) for row in letters}
        offsets: dict[Stream, list[int]] = {}
        for one in places:
            offsets.setdefault(one.stream, []).append(one.offset)
        told = [Told(stream, ranges_among(group)) for stream, group in offsets.items()]
        said = replay_metadata(self._author, told, Actions(0, 0, len(files)))
        return places if home.put(view, said, {}, files) else None

    def would_put(self, _view: View, _staged: Staged) -> set[Coordinates]:
        """All of them: no row makes way for another."""
        return set(self._wanted.values())

    def _may_hold(self, bounds: Mapping[str, Any]) -> bool:
        """Whether a file with these bounds may hold one of the rows; a bound that the log does not know excludes nothing."""
        for (topic, partition), offsets in self._offsets.items():
            within = (
                _lies(topic, bounds, "_topic") and _lies(partition, bounds, "_partition") and _any_lies(offsets, *_pair(bounds, "_offset"))
            )
            if within:
                return True
        return False

    def _found(self, file: ActiveFile) -> Iterator[Coordinates]:
        offsets = pa.array(sorted({offset for group in self._offsets.values() for offset in group}), pa.int64())
        given = {name: file.partition_values[name] for name in SYSTEM_COLUMNS if name in file.partition_values}
        with self._home.files.open(file.path) as stored:
            parquet = pq.ParquetFile(stored)
            there = [name for name in SYSTEM_COLUMNS if name in parquet.schema_arrow.names]
            for stored_rows in parquet.iter_batches(_ROWS_AT_ONCE, columns=there):
                batch = plain(stored_rows)
                if "_offset" in there:
                    batch = batch.filter(pc.is_in(batch.column("_offset"), value_set=offsets))
                for row in _with_plain_times(batch).to_pylist():
                    place = tuple({**row, **given}.get(name) for name in SYSTEM_COLUMNS)
                    one = self._wanted.get(place)  # type: ignore[arg-type]  # a row of another writer may have nulls: it is not found
                    if one is not None:
                        yield one


def _place_of(letter: Row) -> _Place:
    return letter["topic"], letter["partition"], letter["offset"], letter["timestamp"]


def _with_plain_times(batch: pa.RecordBatch) -> pa.Table:
    """The rows with their times in microseconds since the epoch: Python's calendar ends before a column's does.

    Another engine that has rewritten the file may have stored them in another unit, or without a zone, which is UTC then.
    """
    table = pa.Table.from_batches([batch])
    index = table.schema.get_field_index("_timestamp")
    if index < 0:
        return table
    times: Any = table.column(index).cast(SYSTEM_SCHEMA.field("_timestamp").type, safe=False)
    return table.set_column(index, "_timestamp", times.cast(pa.int64()))


def _bounds(handle: DeltaTable) -> dict[str, dict[str, Any]]:
    """What the log says of the least and the greatest coordinates in each file, by its path."""
    adds = pa.table(handle.get_add_actions(flatten=True))
    wanted = [f"{end}.{name}" for end in ("min", "max") for name in SYSTEM_COLUMNS[:3]]
    rows = adds.select(["path", *(name for name in wanted if name in adds.column_names)]).to_pylist()
    return {unquote(row["path"]): row for row in rows}


def _relied_upon(path: str, bounds: Mapping[str, Any]) -> Mapping[str, Any]:
    """The bounds of a file that can be relied upon: another writer may cut those of texts, and a row left out here would land twice."""
    return bounds if is_own(path) else {name: bound for name, bound in bounds.items() if not name.endswith("._topic")}


def _pair(bounds: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    return bounds.get(f"min.{name}"), bounds.get(f"max.{name}")


def _lies(value: Any, bounds: Mapping[str, Any], name: str) -> bool:
    low, high = _pair(bounds, name)
    return (low is None or low <= value) and (high is None or value <= high)


def _any_lies(offsets: Sequence[int], low: int | None, high: int | None) -> bool:
    index = 0 if low is None else bisect.bisect_left(offsets, low)
    return index < len(offsets) and (high is None or offsets[index] <= high)
