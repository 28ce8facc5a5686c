"""The dead letters of a table, gone through in order and in bounded memory, however many there are.

Letters lie in the order in which they were buried, which is not that of their offsets: whoever took a stream over may have buried a
record that comes before. So they are gone through in windows: the next few thousand by offset, found among the columns that
identify them; a file whose offsets lie elsewhere is not opened. Only then are their bytes read, as many at once as a limit says.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from landfast.sinks.delta.files.paths import check_way, letters_path
from landfast.sinks.delta.files.plain import Table, plain
from landfast.sinks.delta.files.storage import files_of
from landfast.sinks.delta.log.snapshot import snapshot_or_none
from landfast.sinks.delta.proof.coordinates import Coordinates, Named, coordinates_of
from landfast.sinks.delta.settings import MIB, DeltaSettings

# The stubs of pyarrow know neither Python values as operands nor the newer functions.
pc: Any = pyarrow.compute

LISTED = ("id", "topic", "topic_id", "partition", "offset", "phase", "reason", "message", "attempts", "run_id", "last_failed_at")
"""The columns of a letter that say nothing of the record's content."""
_PLACED = (*LISTED, "timestamp", "not_before")
_LATER = ("id", "topic", "topic_id", "partition", "offset", "phase", "not_before", "key")
_ADDED = pa.schema([pa.field("not_before", pa.timestamp("us", "UTC"))])
"""Columns that the files of earlier versions do not have."""
CONTENT = ("key", "value", "headers", "first_failed_at")
_ORDER: list[tuple[str, Literal["ascending", "descending"]]] = [(name, "ascending") for name in Coordinates._fields]
_ROWS_AT_ONCE = 8192
_BYTES_AT_ONCE = 4 * MIB
_MOMENTS = frozenset({"timestamp", "first_failed_at", "last_failed_at", "not_before"})
_OFFSET_LAST = 2**63 - 1
_NAMES = ("reason", "phase", "topic", "partition")

Row = Mapping[str, Any]
"""A letter's columns by name. Times are in microseconds since the epoch: Python's calendar ends before a column's does."""


@dataclass(frozen=True, slots=True)
class LetterLimits:
    """How much is held at once.

    letters_max   letters of which the columns without content are held
    bytes_max     bytes of keys, values and headers; a single letter may be larger
    """

    letters_max: int = 10_000
    bytes_max: int = 32 * MIB


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters are meant: those that fit all that is given.

    reason, phase   why they were refused, and in which phase
    topic           the topic that they come from, and `partition`
    since, until    when they were refused: not before, and before
    """

    reason: str | None = None
    phase: str | None = None
    topic: str | None = None
    partition: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, row: Row) -> bool:
        """Whether a letter is meant."""
        named = all(getattr(self, name) in (None, row[name]) for name in _NAMES)
        moment = row["last_failed_at"]
        after = self.since is None or moment >= microseconds(self.since)
        return named and after and (self.until is None or moment < microseconds(self.until))

    def mask(self, rows: pa.RecordBatch) -> Any:
        """Which of the rows fit."""
        fits = pc.is_valid(rows.column("id"))
        for name in _NAMES:
            wanted = getattr(self, name)
            if wanted is not None:
                fits = pc.and_(fits, pc.equal(rows.column(name), wanted))
        moments = rows.column("last_failed_at").cast(pa.int64())
        if self.since is not None:
            fits = pc.and_(fits, pc.greater_equal(moments, microseconds(self.since)))
        return fits if self.until is None else pc.and_(fits, pc.less(moments, microseconds(self.until)))


EVERY_LETTER = LetterFilter()


def microseconds(moment: datetime) -> int:
    """A time in microseconds since the epoch."""
    return round(moment.timestamp() * 1_000_000)


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of letters, and the offsets that it may hold."""

    path: str
    first: int
    last: int
    later: bool


class Wanted(Protocol):
    """Which letters are meant."""

    def mask(self, rows: pa.RecordBatch) -> Any:
        """Which of the rows."""


class LaterLetters:
    """Those that were to be tried again by themselves when they were buried."""

    def mask(self, rows: pa.RecordBatch) -> Any:
        """Which of the rows are such letters."""
        return pc.is_valid(rows.column("not_before"))


class Letters:
    """The letters of one table as they were when this was made: those that are buried meanwhile are not among them.

    Raises:
        Misconfigured: a file lies in the way of the table.
        What deltalake and the store raise: callers map it.
    """

    def __init__(self, settings: DeltaSettings, limits: LetterLimits | None = None) -> None:
        check_way(settings.path)
        path = letters_path(settings.path)
        table = snapshot_or_none(path, settings.storage_options)
        self._limits = limits or LetterLimits()
        self._retries = settings.retries
        self._files = files_of(path, settings.storage_options)
        self._parts = [] if table is None else sorted(_parts(pa.table(table.get_add_actions(flatten=True))), key=lambda part: part.first)

    def each(self) -> Iterator[list[Row]]:
        """Every letter, without its content, in the order in which they lie there: for who only counts."""
        for _, batch in self._batches(0, _OFFSET_LAST, _PLACED):
            yield _rows(batch)

    def windows(self, wanted: LetterFilter = EVERY_LETTER, only: Collection[Coordinates] | None = None) -> Iterator[list[Row]]:
        """The letters that are wanted, without their content, each once, in order, so many at a time. With `only`: of these alone."""
        after: Coordinates | None = None
        while found := self._next(wanted, only, after):
            yield found
            after = coordinates_of(found[-1])

    def later(self, sifted: Callable[[pa.Table], pa.Table]) -> Iterator[list[Row]]:
        """Those that were to be tried again by themselves when they were buried, with their keys, in order: what `sifted` leaves of these.

        Most of them are done with long since, so they are sifted before rows are made of them.
        """
        self._parts = [part for part in self._parts if part.later]
        found = self._window(LaterLetters(), None, None, _LATER)
        while found.num_rows:
            yield _rows(sifted(found))
            found = self._window(LaterLetters(), None, coordinates_of(_rows(found.slice(found.num_rows - 1))[0]), _LATER)

    def named(self, names: Sequence[Named]) -> Iterator[Row]:
        """The letters that any of these ids may name, without their content."""
        whole = pa.array([name.whole for name in names if name.whole is not None], pa.string())
        offsets = pa.array([name.offset for name in names if name.whole is None], pa.int64())
        for _, batch in self._batches(0, _OFFSET_LAST, _PLACED):
            fits = pc.or_(pc.is_in(batch.column("id"), value_set=whole), pc.is_in(batch.column("offset"), value_set=offsets))
            yield from (row for row in _rows(batch.filter(fits)) if any(name.names(row) for name in names))

    def whole(self, wanted: Sequence[Coordinates]) -> Iterator[list[Row]]:
        """These letters with their content, in order, as many at a time as the limit of bytes allows. `wanted` is ascending."""
        rest = list(wanted)
        while rest:
            held = self._gathered(rest)
            if not held:
                return
            yield [held[place] for place in sorted(held)]
            reached = max(held)
            rest = [place for place in rest if place > reached]

    def _gathered(self, wanted: Sequence[Coordinates]) -> dict[Coordinates, Row]:
        """The first of these letters, as many as the limit allows."""
        left = set(wanted)
        offsets = pa.array([place.offset for place in wanted], pa.int64())
        held: dict[Coordinates, Row] = {}
        nbytes = 0
        for _, batch in self._batches(wanted[0].offset, wanted[-1].offset, (*_PLACED, *CONTENT), rows_at_once):
            if not left:
                break
            # Those that cannot be, by the ascending offsets, are not looked up one by one.
            near = offsets.slice(*_span_of(offsets, batch.column("offset")))
            for row in _rows(batch.filter(pc.is_in(batch.column("offset"), value_set=near))):
                place = coordinates_of(row)
                if place not in left:
                    continue
                left.discard(place)
                held[place] = row
                nbytes += size_of(row)
                while nbytes > self._limits.bytes_max and len(held) > 1:
                    cut = max(held)
                    nbytes -= size_of(held.pop(cut))
                    left = {one for one in left if one < cut}
        return held

    def _next(self, wanted: LetterFilter, only: Collection[Coordinates] | None, after: Coordinates | None) -> list[Row]:
        """The first letters after this place."""
        offsets = None if only is None else [place.offset for place in only if after is None or place > after]
        rows = [] if offsets == [] else _rows(self._window(wanted, offsets, after, _PLACED))
        each = {coordinates_of(row): row for row in rows if only is None or coordinates_of(row) in only}
        if only is not None and rows and not each:
            # Only others that share an offset were found: those that are wanted lie behind them.
            return self._next(wanted, only, coordinates_of(rows[-1]))
        return list(each.values())

    def _window(self, wanted: Wanted, offsets: Sequence[int] | None, after: Coordinates | None, columns: Sequence[str]) -> pa.Table:
        """The first letters after this place, in order; at these offsets, where any are given."""
        size = self._limits.letters_max
        held = _ADDED.empty_table()
        first, last = 0 if after is None else after.offset, _OFFSET_LAST
        if offsets is not None:
            first, last = min(offsets), max(offsets)
        for part, batch in self._batches(first, last, columns):
            if held.num_rows >= size and part.first > held.column("offset")[size - 1].as_py():
                break
            fits = pc.and_(wanted.mask(batch), _beyond(batch, after))
            if offsets is not None:
                fits = pc.and_(fits, pc.is_in(batch.column("offset"), value_set=pa.array(offsets, pa.int64())))
            found = pa.Table.from_batches([batch.filter(fits)])
            held = pa.concat_tables([held, found], promote_options="default") if held.num_rows else found
            if held.num_rows >= size:
                held = held.sort_by(_ORDER).slice(0, size).combine_chunks()
        return held.sort_by(_ORDER) if held.num_rows else held

    def _batches(
        self, first: int, last: int, columns: Sequence[str], rows: Callable[[pq.ParquetFile], int] = lambda _: _ROWS_AT_ONCE
    ) -> Iterator[tuple[_Part, pa.RecordBatch]]:
        """The columns of all files that may hold one of these offsets, in batches of so many rows as is said of each file."""
        for part in self._parts:
            if part.first <= last and part.last >= first:
                with self._files.open(part.path) as stored:
                    parquet = pq.ParquetFile(stored)
                    for batch in parquet.iter_batches(rows(parquet), columns=list(columns)):
                        yield part, with_columns(self._standing(plain(batch)), _ADDED, columns)

    def _standing(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows; without the mark of those that are to be tried again, where nobody tries any."""
        return rows if self._retries or "not_before" not in rows.schema.names else rows.drop_columns(["not_before"])


def with_columns(rows: Table, known: pa.Schema, wanted: Sequence[str]) -> Table:
    """The wanted columns of the rows, in that order; nulls in those that a file of an earlier version lacks."""
    for field in known:
        if field.name in wanted and field.name not in rows.schema.names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.select(list(wanted))


def rows_at_once(parquet: pq.ParquetFile) -> int:
    """How many rows of a file to take at once, by what one of them has on average."""
    footer = parquet.metadata
    nbytes = sum(footer.row_group(index).total_byte_size for index in range(footer.num_row_groups))
    return max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE * footer.num_rows // max(1, nbytes)))


def _span_of(ascending: Any, offsets: Any) -> tuple[int, int]:
    """Where in the ascending offsets the others may lie: a start and a length."""
    view = memoryview(ascending.buffers()[1]).cast("B").cast("q")[: len(ascending)]
    both = pc.min_max(offsets).as_py()
    start = bisect.bisect_left(view, both["min"])
    return start, bisect.bisect_right(view, both["max"]) - start


def size_of(row: Row) -> int:
    """Bytes of a letter's key, value and headers."""
    headers = sum(len(one["name"] or "") + len(one["value"] or b"") for one in row["headers"] or ())
    return len(row["key"] or b"") + len(row["value"] or b"") + headers


def _parts(adds: pa.Table) -> Iterator[_Part]:
    names = ("path", "min.offset", "max.offset", "num_records", "null_count.not_before")
    for row in adds.select([name for name in names if name in adds.column_names]).to_pylist():
        first, last, rows = row.get("min.offset"), row.get("max.offset"), row.get("num_records")
        later = rows is None or row.get("null_count.not_before") != rows
        yield _Part(unquote(row["path"]), 0 if first is None else first, _OFFSET_LAST if last is None else last, later)


def _beyond(rows: pa.RecordBatch, after: Coordinates | None) -> Any:
    """Which rows come after this place in the order of coordinates."""
    if after is None:
        return pc.is_valid(rows.column("id"))
    beyond: Any = pc.greater(rows.column("topic_id"), after.topic_id)
    for name in ("partition", "topic", "offset"):
        column, value = rows.column(name), getattr(after, name)
        beyond = pc.or_(pc.greater(column, value), pc.and_(pc.equal(column, value), beyond))
    return beyond


def _rows(batch: pa.RecordBatch | pa.Table) -> list[Row]:
    table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
    for index, field in enumerate(table.schema):
        if field.name in _MOMENTS:
            table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
    return list[Row](table.to_pylist())
