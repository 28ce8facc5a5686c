"""Bugs of a sink: what it compares, what it makes of a lost answer, what it writes beside the rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pytest

from landfast.model import Decoded, Position, Receipt, Span, Staged, Stream
from landfast.testing.faulty import FaultyTable
from landfast.testing.memory import LandedRow, MemorySink, MemoryTable, TableCommit, VersionTaken, sink
from landfast.testing.memory.table import AnswerLost
from tests.simulated.planting import Bed

BED = Bed()
plant = BED.plant

_compare, _tiled, _landed_rows = sink._compare, sink._tiled, sink.landed_rows  # noqa: SLF001 - what the plants change
_commit, _put, _put_through_faults = MemorySink.commit, MemoryTable.put, FaultyTable.put


@plant
def nothing_compared(patch: pytest.MonkeyPatch) -> None:
    """The sink commits wherever the table stands."""
    patch.setattr(sink, "_compare", lambda _snapshot, _starts, _tenures: None)


@plant
def blind_retry(patch: pytest.MonkeyPatch) -> None:
    """A commit whose answer was lost is sent again as the next version, without looking what became of the first."""

    def commit(self: MemorySink, staged: Sequence[Staged]) -> Receipt:
        spans = tuple(span for part in staged for span in part.spans)
        starts, ends = _tiled(spans)
        rows = tuple(row for part in staged for row in sink._content(part))  # noqa: SLF001 - as the sink does
        sink._refuse(rows, self._settings.refuse_at_commit)  # noqa: SLF001 - as the sink does
        snapshot = self._snapshot()
        _compare(snapshot, starts, self._tenures)
        for version in itertools.count(snapshot.version + 1):
            sent = TableCommit(f"{self._run_id} {next(self._sequence)}", self._run_id, version, spans, rows, ends)
            try:
                self.table.put(version, sent)
            except (VersionTaken, AnswerLost):
                continue
            return self._receipt(version, sent, already=False)
        raise AssertionError

    patch.setattr(MemorySink, "commit", commit)


@plant
def every_second_answer_is_a_lie(patch: pytest.MonkeyPatch) -> None:
    """The store says that a version is taken when it has just put it, and the sink does not know its own commit again."""

    def put(table: MemoryTable, version: int, commit: TableCommit) -> None:
        _put(table, version, replace(commit, token=f"not {commit.token}"))
        if version % 2 == 0:
            raise VersionTaken

    patch.setattr(MemoryTable, "put", put)
    patch.setattr(sink, "_compare", lambda _snapshot, _starts, _tenures: None)


@plant
def position_before_the_rows(patch: pytest.MonkeyPatch) -> None:
    """The position moves in one commit, and the rows follow in another."""

    def put(table: FaultyTable, version: int, commit: TableCommit) -> None:
        if not commit.rows:
            _put_through_faults(table, version, commit)
            return
        _put_through_faults(table, version, replace(commit, rows=()))
        _put_through_faults(table, version + 1, replace(commit, spans=(), positions={}))

    patch.setattr(FaultyTable, "put", put)


@plant
def rows_before_the_position(patch: pytest.MonkeyPatch) -> None:
    """The rows land in one commit, and the position follows in another."""

    def put(table: FaultyTable, version: int, commit: TableCommit) -> None:
        if not commit.rows:
            _put_through_faults(table, version, commit)
            return
        _put_through_faults(table, version, replace(commit, spans=(), positions={}, token=f"rows of {commit.token}"))
        _put_through_faults(table, version + 1, replace(commit, rows=()))

    patch.setattr(FaultyTable, "put", put)


@plant
def last_for_next_in_the_table(patch: pytest.MonkeyPatch) -> None:
    """The position that is stored is one too far: a record behind the batch counts as landed."""

    def tiled(spans: Iterable[Span]) -> tuple[dict[Stream, Position | None], dict[Stream, Position]]:
        starts, ends = _tiled(spans)
        return starts, {stream: end + 1 for stream, end in ends.items()}

    patch.setattr(sink, "_tiled", tiled)


@plant
def next_for_last_in_the_table(patch: pytest.MonkeyPatch) -> None:
    """The position that is stored is that of the last record, which is read again."""

    def tiled(spans: Iterable[Span]) -> tuple[dict[Stream, Position | None], dict[Stream, Position]]:
        starts, ends = _tiled(spans)
        return starts, {stream: max(end - 1, 0) for stream, end in ends.items()}

    patch.setattr(sink, "_tiled", tiled)


@plant
def refused_rows_dropped(patch: pytest.MonkeyPatch) -> None:
    """A row that the table refuses is left out, and nobody hears of it."""

    def commit(self: MemorySink, staged: Sequence[Staged]) -> Receipt:
        return _commit(self, [replace(each, content=_without_poison(each)) for each in staged])

    patch.setattr(MemorySink, "commit", commit)


def _without_poison(staged: Staged) -> tuple[LandedRow, ...]:
    return tuple(row for row in sink._content(staged) if row.row != b"poison")  # noqa: SLF001 - as the sink reads it


@plant
def refused_rows_kept(patch: pytest.MonkeyPatch) -> None:
    """The table's own rule is not asked: rows that must not be in it are."""
    patch.setattr(sink, "_refuse", lambda _rows, _refuse: None)


@plant
def rows_landed_backwards(patch: pytest.MonkeyPatch) -> None:
    """The rows of a commit lie in another order than they were read."""

    def put(table: MemoryTable, version: int, commit: TableCommit) -> None:
        _put(table, version, replace(commit, rows=tuple(reversed(commit.rows))))

    patch.setattr(MemoryTable, "put", put)


@plant
def rows_of_the_first_batch_only(patch: pytest.MonkeyPatch) -> None:
    """Where several batches land in one commit, all move the position and the first has rows."""

    def commit(self: MemorySink, staged: Sequence[Staged]) -> Receipt:
        return replace(
            _commit(self, [staged[0], *(replace(each, content=()) for each in staged[1:])]), rows=sum(each.rows for each in staged)
        )

    patch.setattr(MemorySink, "commit", commit)


@plant
def rows_doubled_when_a_version_was_taken(patch: pytest.MonkeyPatch) -> None:
    """A commit that lost the race for a version is put together anew from what is left of the last attempt, rows and all."""

    def put(table: MemoryTable, version: int, commit: TableCommit) -> None:
        if version % 5 == 0:
            commit = replace(commit, rows=commit.rows * 2)
        _put(table, version, commit)

    patch.setattr(MemoryTable, "put", put)


@plant
def offsets_counted_and_not_read(patch: pytest.MonkeyPatch) -> None:
    """The offset of a row is its place in the chunk, as if a log had no gaps."""

    def landed_rows(decoded: Decoded) -> Iterator[LandedRow]:
        for index, row in enumerate(_landed_rows(decoded)):
            yield replace(row, offset=decoded.chunk.start + index)

    patch.setattr(sink, "landed_rows", landed_rows)
