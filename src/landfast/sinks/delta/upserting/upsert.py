"""What a commit of an upsert changes: files written again without the rows that make way, and the newest rows in files of their own.

Worked out for the very version that the commit is made on. Where somebody else has made that version, it is worked out for the next:
what rows and a file come to holds for as long as the file is there, so only files that have come since are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute
from deltalake import DeltaTable

from landfast.errors import Broken, Conflict, check
from landfast.model import Span
from landfast.ports import Clock
from landfast.sinks.delta.files.names import is_own, new_file_name, new_write_name
from landfast.sinks.delta.files.own_columns import DELETED
from landfast.sinks.delta.files.parquet import DataFile, Part, read_back, write
from landfast.sinks.delta.files.partitions import codes_of, split
from landfast.sinks.delta.files.rewriting import BATCH_ROWS, Form, form_of, rows_of, written_again
from landfast.sinks.delta.files.staged import StagedNames, first_gone
from landfast.sinks.delta.log.active import ActiveFile, active_files, partition_texts
from landfast.sinks.delta.log.digests import digests_of, first_changed
from landfast.sinks.delta.log.entry_text import removals
from landfast.sinks.delta.log.record import Effect
from landfast.sinks.delta.settings import MIB, UpsertSettings
from landfast.sinks.delta.table.place import Place, Shape, shape_of
from landfast.sinks.delta.upserting.keys import KeyIndex
from landfast.sinks.delta.upserting.meeting import Meeting, met
from landfast.sinks.delta.upserting.order import POSITION, newest, order_columns
from landfast.sinks.delta.upserting.pruning import bounds_in, candidates

# The stubs of pyarrow do not know all that its functions take.
pc: Any = pyarrow.compute

ROW_GROUP_BYTES_MAX = 64 * MIB
"""Decoded rows that are held while a file is written again."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does to the table: files out, with all their rows, and files in. `effects` are those of its spans, in order."""

    removed: tuple[Mapping[str, Any], ...]
    files: tuple[DataFile, ...]
    effects: tuple[Effect, ...]


class Upsert:
    """The rows of one commit, and what they come to. For one thread.

    `rows` have no null in key and order. Names of files are told to `staged` before they are written.
    """

    def __init__(
        self, place: Place, clock: Clock, staged: StagedNames, upsert: UpsertSettings, spans: Sequence[Span], rows: pa.Table
    ) -> None:
        self._place = place
        self._clock = clock
        self._staged = staged
        self._upsert = upsert
        self._order = order_columns(upsert.order_by)
        self._spans = tuple(spans)
        self._rows = newest(rows, upsert.key, self._order)
        self._span_of = _span_of(self._rows, self._spans)
        self._index = KeyIndex(self._rows, upsert.key) if self._rows.num_rows else None
        self._meetings: dict[str, Meeting] = {}
        self._again: dict[str, DataFile | None] = {}
        self._fresh: tuple[Any, tuple[DataFile, ...]] | None = None
        self.change = Change((), (), ())
        """The newest one that was worked out."""
        self.names: list[str] = []
        """The files that were written, whether or not they are of use."""

    def _name(self, path: str) -> str:
        self._staged.add(path)
        self.names.append(path)
        return path

    def change_of(self, handle: DeltaTable) -> Change:
        """What it changes in the handle's version, files written and durable.

        Raises:
            Broken: a file that has to be read or written again is not as it was written.
            Conflict: a file that was written for it is gone.
        """
        shape = shape_of(handle)
        files, meetings, older = self._meets(handle, shape)
        outdated = [file for file, meeting in zip(files, meetings, strict=True) if len(meeting.outdated)]
        self._write_again(handle, outdated, shape)
        removed = tuple(removals(outdated, int(self._clock.now() * 1000)))
        again = [written for file in outdated if (written := self._again[file.path]) is not None]
        effects = self._effects(older, [meeting.replacing for meeting in meetings])
        self.change = Change(removed, (*again, *self._newest_rows(older, shape)), effects)
        gone = first_gone(self._place.files, self.change.files)
        if gone is not None:
            raise self._gone(gone)
        return self.change

    def would_keep(self, handle: DeltaTable) -> pa.Table:
        """Where the records lie whose rows a change of the handle's version would put into the table. Writes nothing.

        Raises:
            Broken: a file that has to be read is not as it was written.
        """
        _, _, older = self._meets(handle, shape_of(handle))
        return self._rows.filter(pc.invert(older)).select(list(POSITION))

    def kept(self) -> pa.Table:
        """Where the records lie whose rows the newest change puts into the table."""
        older = None if self._fresh is None else self._fresh[0]
        rows = self._rows if older is None else self._rows.filter(pc.invert(older))
        return rows.select(list(POSITION))

    def _meets(self, handle: DeltaTable, shape: Shape) -> tuple[list[ActiveFile], list[Meeting], Any]:
        """The files of the handle's version that may hold rows of the same keys, what came of each, and which rows are older as a mask."""
        files = [] if self._index is None else self._concerned(handle, shape, self._index)
        for file in files:
            if file.path not in self._meetings:
                self._meetings[file.path] = self._met(handle, file, shape)
        meetings = [self._meetings[file.path] for file in files]
        return files, meetings, _rows_among([meeting.older for meeting in meetings], self._rows.num_rows)

    def _gone(self, file: DataFile) -> Conflict:
        """Why nothing lands: a file of an earlier attempt, say, that somebody has taken away."""
        span = self._spans[0]
        message = f"the file {file.path} is gone or has another size than when it was written; nothing of the batch has landed"
        next_step = "Nothing: its records are read again. If it repeats, find out what removes files from the table's folder."
        return Conflict("STAGED_FILE_GONE", message, stream=span.stream, position=span.start, next_step=next_step)

    def _require_index(self) -> KeyIndex:
        check(self._index is not None, "rows without keys were to meet a file")
        return self._index or KeyIndex(self._rows, self._upsert.key)

    def _concerned(self, handle: DeltaTable, shape: Shape, index: KeyIndex) -> list[ActiveFile]:
        return candidates(active_files(handle), bounds_in(handle, shape.schema, self._upsert.key), index)

    def _write_again(self, handle: DeltaTable, files: Sequence[ActiveFile], shape: Shape) -> None:
        """Each of the files without its outdated rows, one after the other, where that is not done yet."""
        missing = [file for file in files if file.path not in self._again]
        if not missing:
            return
        # The digest of the new file would vouch for whatever the old one holds.
        self._check_unchanged(handle, missing)
        form = self._form(shape)
        for file in missing:
            self._again[file.path] = self._without(file, self._meetings[file.path].outdated, form)

    def _met(self, handle: DeltaTable, file: ActiveFile, shape: Shape) -> Meeting:
        try:
            return met(self._place.files, file, shape.schema, self._rows, self._require_index(), self._order)
        except (OSError, pa.ArrowException):
            # What cannot be read may be another file than was written, and whoever is told so knows what to do.
            self._check_unchanged(handle, [file])
            raise

    def _check_unchanged(self, handle: DeltaTable, files: Sequence[ActiveFile]) -> None:
        digests = digests_of(self._place.files, handle.version(), [file.path for file in files])
        changed = first_changed(self._place.files, digests)
        if changed is not None:
            message = f"the bytes of {changed} are not those that were written, and rows in it may have to make way for newer ones"
            next_step = "Run `landfast verify`, which names what else is changed, and put the file back from a copy."
            raise Broken("FILE_CHANGED", message, next_step=next_step)

    def _without(self, file: ActiveFile, outdated: Any, form: Form) -> DataFile | None:
        """The file's other rows as a file of their own; None where none is left."""
        footer, _ = read_back(self._place.files, file.path)
        left = footer.num_rows - len(outdated)
        if not left:
            return None
        # What another writer wrote stays another's in a proof: it goes by a file's name.
        name = new_file_name("landfast") if is_own(file.path) else new_write_name()
        path = self._name(f"{file.path.rpartition('/')[0]}/{name}".lstrip("/"))
        tables = _others(rows_of(self._place.files, [file.path], form), outdated)
        written = written_again(self._place.files, path, tables, form, partition_texts(file), self._clock.now())
        check(written.rows == left, f"a file that was written again holds {written.rows} rows instead of {left}")
        return written

    def _newest_rows(self, older: Any, shape: Shape) -> tuple[DataFile, ...]:
        """The rows that are newer than what the table holds, as files."""
        if self._fresh is not None and self._fresh[0].equals(older):
            return self._fresh[1]
        rows = self._rows.filter(pc.invert(older))
        written: list[DataFile] = []
        settings = self._place.settings
        if rows.num_rows:
            files_wanted = max(1, -(-rows.nbytes // settings.file_bytes_target))
            for part in self._parts(rows, shape.partition_by):
                for share in part.cut(-(-rows.num_rows // files_wanted)):
                    name = new_file_name("landfast")
                    self._name(f"{share.folder}{name}")
                    written.append(write(self._place.files, name, share, settings, now=self._clock.now()))
        self._fresh = (older, tuple(written))
        return self._fresh[1]

    def _parts(self, rows: pa.Table, partition_by: Sequence[str]) -> Iterator[Part]:
        return iter([Part("", {}, rows)]) if not partition_by else split(rows, partition_by, codes_of(rows, partition_by))

    def _form(self, shape: Shape) -> Form:
        settings = self._place.settings
        return form_of(
            shape.schema,
            shape.partition_by,
            compression_level=settings.compression_level,
            rows=settings.row_group_rows_max,
            nbytes=ROW_GROUP_BYTES_MAX,
            bounded=self._upsert.key,
        )

    def _effects(self, older: Any, replacing: Sequence[Any]) -> tuple[Effect, ...]:
        """What became of the rows of each span."""
        kept = pc.invert(older)
        deleted = pc.and_(kept, pc.fill_null(self._rows.column(DELETED).combine_chunks(), False))
        replaced = pa.concat_arrays([pa.array([], pa.int64()), *replacing])
        kept_of, older_of, deleted_of = (_counts(self._span_of.filter(mask)) for mask in (kept, older, deleted))
        replaced_of = _counts(self._span_of.take(replaced))
        return tuple(
            Effect(
                kept=kept_of.get(number, 0),
                superseded=span.written - kept_of.get(number, 0) - older_of.get(number, 0),
                older=older_of.get(number, 0),
                replaced=replaced_of.get(number, 0),
                deleted=deleted_of.get(number, 0),
            )
            for number, span in enumerate(self._spans)
        )


def _span_of(rows: pa.Table, spans: Sequence[Span]) -> Any:
    """The number of the span that each row is from."""
    topics, partitions, offsets = (rows.column(name).combine_chunks() for name in ("_topic", "_partition", "_offset"))
    found: Any = pa.nulls(rows.num_rows, pa.int64())
    for number, span in enumerate(spans):
        of_stream = pc.and_(pc.equal(topics, span.stream.topic), pc.equal(partitions, span.stream.partition))
        inside = pc.and_(pc.greater_equal(offsets, span.start), pc.less(offsets, span.end))
        found = pc.if_else(pc.and_(of_stream, inside), number, found)
    check(found.null_count == 0, "a batch has rows from outside its spans")
    return found


def _counts(numbers: Any) -> dict[int, int]:
    return {one["values"]: one["counts"] for one in pc.value_counts(numbers).to_pylist()}


def _rows_among(parts: Sequence[Any], count: int) -> Any:
    """Which of so many rows are named in one of the parts, as a mask."""
    named = pc.unique(pa.concat_arrays([pa.array([], pa.int64()), *parts]))
    return pc.is_in(pa.array(range(count), pa.int64()), value_set=named)


def _others(tables: Iterator[pa.Table], outdated: Any) -> Iterator[pa.Table]:
    """The rows but for the outdated ones, which are given by number, ascending."""
    numbers: Any = pa.array(range(BATCH_ROWS), pa.int64())
    first = 0
    for table in tables:
        count = table.num_rows
        end = first + count
        here = outdated.filter(pc.and_(pc.greater_equal(outdated, first), pc.less(outdated, end)))
        if len(here):
            table = table.filter(pc.invert(pc.is_in(numbers.slice(0, count), value_set=pc.subtract(here, first))))  # noqa: PLW2901
        yield table
        first = end
