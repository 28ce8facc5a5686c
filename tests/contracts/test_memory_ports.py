"""The ports in memory keep the promises of the real ones, so that what is proven on them means something."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import pytest

from landfast.model import Bounds, Letter, Position, Rows, Stream
from landfast.ports import DeadLetters, Sink
from landfast.testing.clock import ManualClock
from landfast.testing.faults import Crashed, Fault, FaultPlan, Kind, When
from landfast.testing.faulty import FaultyLetterStore, FaultyTable
from landfast.testing.memory import (
    LandedRow,
    LineDecoder,
    ListRows,
    MemoryDeadLetters,
    MemoryGroup,
    MemoryLetterStore,
    MemoryLog,
    MemoryRetries,
    MemoryRetriesSettings,
    MemorySink,
    MemorySinkSettings,
    MemorySource,
    MemorySourceSettings,
    MemoryTable,
    resolve,
)
from landfast.testing.suites import (
    DEAD_LETTERS_CHECKS,
    LOG_CHANGE_CHECKS,
    RETRIES_CHECKS,
    SINK_CHECKS,
    SOURCE_CHECKS,
    Draft,
    Landed,
    LettersHarness,
    RetriesHarness,
    RetriesProcess,
    SinkHarness,
    SourceHarness,
    SourceUnderTest,
)

POISON = b"no sink takes this"


def refuse_poison(row: LandedRow) -> str | None:
    """A rule that refuses one value."""
    return "poison" if row.row == POISON else None


class MemorySinkHarness:
    """A table in memory."""

    def __init__(self, settings: MemorySinkSettings) -> None:
        self._table = MemoryTable()
        self._settings = settings
        self._runs = 0

    def open_sink(self) -> Sink:
        """Another process over the table."""
        self._runs += 1
        return MemorySink(self._table, f"run-{self._runs}", self._settings)

    def make_rows(self, values: Sequence[bytes]) -> Rows:
        """Rows as a list."""
        return ListRows(tuple(values))

    def landed(self) -> Sequence[Landed]:
        """The rows of the table."""
        found = []
        for row in self._table.rows:
            assert isinstance(row.row, bytes)
            found.append((row.stream.topic, row.stream.partition, row.offset, row.row))
        return found

    def refused_value(self) -> bytes | None:
        """The value that the settings refuse."""
        return POISON


class MemoryLettersHarness:
    """A letter store in memory."""

    def __init__(self) -> None:
        self._store = MemoryLetterStore()

    def open_letters(self) -> DeadLetters:
        """Another process over the store."""
        return MemoryDeadLetters(self._store)

    def buried(self) -> Sequence[Letter]:
        """The letters of the store."""
        return self._store.letters


class RetriedLettersHarness(MemoryLettersHarness):
    """The same store, and letters that are tried again."""

    def open_letters(self) -> DeadLetters:
        """Another process over the store."""
        return MemoryRetries(self._store, MemoryTable(), LineDecoder(), ManualClock())


class MendedDecoder(LineDecoder):
    """Takes what it refused, once it is mended."""

    rejected = (b"bad",)

    def mend(self) -> None:
        """From now on nothing is refused."""
        self.rejected = ()


class MemoryRetriesHarness:
    """A table and a letter store in memory. Processes are killed at calls of either."""

    delays_seconds = (1.0, 5.0, 20.0)
    killed = Crashed

    def __init__(self) -> None:
        self.kills = range(1, 100)
        self._table = MemoryTable()
        self._store = MemoryLetterStore()
        self._decoder = MendedDecoder()
        self._clock = ManualClock()

    def open_process(self, killed_at: int | None = None) -> RetriesProcess:
        """Another process over table and store."""
        plan = FaultPlan([] if killed_at is None else [Fault(killed_at, When.BEFORE, Kind.CRASH)])
        table, store = FaultyTable(self._table, plan), FaultyLetterStore(self._store, plan)
        settings = MemoryRetriesSettings(self.delays_seconds)
        retries = MemoryRetries(store, table, self._decoder, self._clock, settings)
        return RetriesProcess(MemorySink(table), retries, retries)

    def make_rows(self, values: Sequence[bytes]) -> Rows:
        """Rows as a list."""
        return ListRows(tuple(values))

    def landed(self) -> Sequence[Landed]:
        """The rows of the table."""
        return [(row.stream.topic, row.stream.partition, row.offset, b"") for row in self._table.rows]

    def still_open(self) -> Collection[tuple[Stream, int]]:
        """The letters of the store of which the table says nothing."""
        return {(letter.stream, letter.offset) for letter in self._store.letters} - self._table.snapshot().resolved.keys()

    def mend(self) -> None:
        """Take what was refused."""
        self._decoder.mend()

    def discard(self, stream: Stream, offset: int) -> None:
        """A version says so."""
        resolve(self._table, {(stream, offset): "discarded"}, [])

    def replay(self, stream: Stream, offset: int) -> None:
        """A version holds the row."""
        resolve(self._table, {(stream, offset): "landed"}, [LandedRow(stream, offset, b"replayed")])

    def now(self) -> float:
        """The time of the clock."""
        return self._clock.now()

    def pass_seconds(self, seconds: float) -> None:
        """The clock goes on."""
        self._clock.advance(seconds)


class MemorySourceHarness:
    """A log and a group in memory."""

    patience_seconds = 60.0

    def __init__(self, settings: MemorySourceSettings) -> None:
        self.clock = ManualClock()
        self._log = MemoryLog()
        self._log.create("suite", 2)
        self._group = MemoryGroup(self._log, ["suite"])
        self._settings = settings
        self._members = 0

    def open_source(self) -> SourceUnderTest:
        """Another member of the group."""
        self._members += 1
        return MemorySource(self._group, f"member-{self._members}", self.clock, self._settings)

    def streams(self) -> tuple[Stream, Stream]:
        """Today's streams."""
        one, two = self._log.streams(["suite"])
        return one, two

    def produce(self, stream: Stream, records: Sequence[Draft]) -> list[int]:
        """Append records."""
        return [
            self._log.append(stream.topic, stream.partition, each.value, key=each.key, headers=each.headers, timestamp=each.timestamp)
            for each in records
        ]

    def bounds(self, stream: Stream) -> Bounds:
        """The log's bounds."""
        bounds = self._log.bounds(stream.topic, stream.partition)
        assert bounds is not None
        return bounds

    def append_gap(self, stream: Stream) -> Position:
        """Append markers."""
        return self._log.append_marker(stream.topic, stream.partition, 3)

    def expire(self, stream: Stream, first: Position) -> None:
        """Retention."""
        self._log.expire(stream, first)

    def recreate(self) -> None:
        """Another incarnation."""
        self._log.recreate("suite")


@pytest.mark.parametrize(
    "settings", [MemorySinkSettings(refuse_at_stage=refuse_poison), MemorySinkSettings(refuse_at_commit=refuse_poison)]
)
@pytest.mark.parametrize("promise", SINK_CHECKS, ids=lambda promise: promise.__name__)
def test_memory_sink_keeps_its_promise(promise: Callable[[SinkHarness], None], settings: MemorySinkSettings) -> None:
    """A sink over a table in memory does what every sink must do, wherever it refuses rows."""
    promise(MemorySinkHarness(settings))


@pytest.mark.parametrize("promise", DEAD_LETTERS_CHECKS, ids=lambda promise: promise.__name__)
def test_memory_dead_letters_keep_their_promise(promise: Callable[[LettersHarness], None]) -> None:
    """Dead letters in memory do what all dead letters must do."""
    promise(MemoryLettersHarness())


@pytest.mark.parametrize("promise", DEAD_LETTERS_CHECKS, ids=lambda promise: promise.__name__)
def test_letters_in_memory_that_are_tried_again_are_dead_letters(promise: Callable[[LettersHarness], None]) -> None:
    """What tries letters again in memory does what all dead letters must do."""
    promise(RetriedLettersHarness())


@pytest.mark.parametrize("promise", RETRIES_CHECKS, ids=lambda promise: promise.__name__)
def test_letters_in_memory_are_tried_again_as_promised(promise: Callable[[RetriesHarness], None]) -> None:
    """What tries letters again in memory does what all such must do."""
    promise(MemoryRetriesHarness())


@pytest.mark.parametrize("checks", ["before", "after"])
@pytest.mark.parametrize("checks_apart", [1, 3])
@pytest.mark.parametrize("promise", SOURCE_CHECKS + LOG_CHANGE_CHECKS, ids=lambda promise: promise.__name__)
def test_memory_source_keeps_its_promise(promise: Callable[[SourceHarness], None], checks_apart: int, checks: str) -> None:
    """A source over a log in memory does what every source must do, whenever it checks the topic's identity."""
    promise(MemorySourceHarness(MemorySourceSettings(chunk_records_max=7, checks_apart=checks_apart, checks=checks)))
