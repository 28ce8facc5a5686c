"""What the ports in memory do beyond their suites: find out after lost answers, and behave as a broker does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from landfast.errors import Broken, Misconfigured, Unavailable
from landfast.events import Notice, RunStarted
from landfast.model import Batch, Bounds, Halt, Letter, Stream
from landfast.testing.clock import ManualClock
from landfast.testing.faults import Fault, FaultPlan, Kind, When
from landfast.testing.faulty import FaultyLetterStore, FaultyTable
from landfast.testing.memory import (
    CountingDecoder,
    LineDecoder,
    ListRows,
    MemoryDeadLetters,
    MemoryGroup,
    MemoryLetterStore,
    MemoryLog,
    MemorySink,
    MemorySource,
    MemorySourceSettings,
    MemoryTable,
    RecordingObserver,
    TableCommit,
    chunk_of,
)
from landfast.testing.suites import Material, Part

A = Stream("t", "id-1", 0)
MATERIAL = Material(lambda values: ListRows(tuple(values)))


def lost(when: When, number: int, lasting: int) -> FaultPlan:
    """Answers are lost from a call on."""
    return FaultPlan([Fault(number, when, Kind.ANSWER_LOST, lasting)])


def batch(number: int = 1, start: int = 0) -> Batch:
    """One record."""
    return MATERIAL.batch(number, Part(A, start, [b"a"], first=start == 0))


def letter(offset: int) -> Letter:
    """A letter of stream A."""
    return Letter(A, offset, 0, None, b"bad", (), "decode", "bad_line", "", 1, 0.0)


@pytest.mark.parametrize("when", list(When))
def test_a_lost_answer_is_found_out_in_the_same_commit(when: When) -> None:
    """One lost answer of the table: the receipt says whether the first attempt had landed."""
    table = MemoryTable()
    sink = MemorySink(FaultyTable(table, lost(when, 2, 1)))
    receipt = sink.commit([sink.stage(batch())])
    assert receipt.already == (when is When.AFTER)
    assert (receipt.version, len(table.commits)) == (1, 1)


def test_a_commit_whose_answers_stay_lost_is_found_out_by_the_next() -> None:
    """The sink says Unavailable; the same batch again is recognised as landed, and lands nothing twice."""
    table = MemoryTable()
    sink = MemorySink(FaultyTable(table, lost(When.AFTER, 2, 4)))
    staged = sink.stage(batch())
    with pytest.raises(Unavailable):
        sink.commit([staged])
    receipt = sink.commit([staged])
    assert (receipt.already, receipt.version, len(table.commits)) == (True, 1, 1)


def test_an_attempt_that_never_landed_is_made_again() -> None:
    """Answers lost before the effect: after Unavailable the same batch lands, once."""
    table = MemoryTable()
    sink = MemorySink(FaultyTable(table, lost(When.BEFORE, 2, 5)))
    staged = sink.stage(batch())
    with pytest.raises(Unavailable):
        sink.commit([staged])
    assert not sink.commit([staged]).already
    assert len(table.commits) == 1


def test_letters_whose_answers_stay_lost_are_there_once() -> None:
    """After Unavailable the same letters may be put again together with others."""
    store = MemoryLetterStore()
    letters = MemoryDeadLetters(FaultyLetterStore(store, lost(When.AFTER, 2, 3)))
    letters.claim([A])
    with pytest.raises(Unavailable):
        letters.put([letter(1)])
    letters.put([letter(1), letter(2)])
    assert [each.offset for each in store.letters] == [1, 2]


def test_a_topic_that_was_put_aside_by_the_operator_is_accepted() -> None:
    """Another incarnation is halted until it is accepted."""
    table = MemoryTable()
    sink = MemorySink(table)
    sink.commit([sink.stage(batch())])
    replaced = Stream("t", "id-2", 0)
    answer = sink.positions([replaced])[replaced]
    assert isinstance(answer, Halt)
    assert answer.code == "TOPIC_REPLACED"
    table.accept(replaced)
    assert sink.positions([replaced]) == {replaced: None}


@pytest.mark.parametrize(
    "parts",
    [
        [Part(A, 0, [b"a", b"b"], end=1)],
        [Part(A, 5, [], end=4)],
    ],
)
def test_a_batch_that_contradicts_itself_is_stopped(parts: list[Part]) -> None:
    """Rows outside of their span, and a span that ends before it starts, are invariants broken."""
    sink = MemorySink(MemoryTable())
    with pytest.raises(Broken):
        sink.commit([sink.stage(MATERIAL.batch(1, *parts))])


def test_rows_of_other_kinds_are_taken() -> None:
    """Whatever has `to_pylist` can be landed: the rows of a columnar library, too."""

    class Columns:
        num_rows = 1
        nbytes = 1

        def to_pylist(self) -> list[object]:
            return [{"n": 1}]

    table = MemoryTable()
    sink = MemorySink(table)
    sink.commit([sink.stage(Material(lambda _: Columns()).batch(1, Part(A, 0, [b"x"], first=True)))])
    assert [row.row for row in table.rows] == [{"n": 1}]


def test_a_log_keeps_what_befalls_it() -> None:
    """Retention, truncation, compaction and open transactions show in bounds, reads and truth."""
    log = MemoryLog()
    (stream,) = log.create("t")
    for number in range(10):
        log.append("t", 0, b"%d" % number)
    log[stream].compact([4])
    log[stream].open_transaction()
    log.append("t", 0, b"10")
    assert log.bounds("t", 0) == Bounds(0, 10)
    log[stream].close_transaction()
    log.expire(stream, 3)
    log[stream].truncate(6)
    assert log.bounds("t", 0) == Bounds(3, 6)
    assert [record.offset for record in log.read("t", 0, 0, 10)] == [3, 5]
    assert set(log.truth()[stream]) == {0, 1, 2, 3, 5}
    replaced = log.recreate("t")
    assert replaced != (stream,)
    assert set(log.truth()) == {stream, *replaced}
    log.delete("t")
    assert (log.incarnation("t"), log.bounds("t", 0), log.read("t", 0, 0, 1)) == (None, None, ())
    with pytest.raises(Misconfigured):
        log.streams(["t"])
    with pytest.raises(Broken):
        log[stream]


class Owner:
    """A membership that starts everything at its beginning and notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Stream, ...]]] = []

    def gained(self, streams: object) -> dict[Stream, object]:
        """Take nothing."""
        self.heard.append(("gained", tuple(streams)))  # type: ignore[arg-type]
        return {}

    def lost(self, streams: object, deadline_seconds: float, confirmed: object) -> None:
        """Note it."""
        self.heard.append(("lost" if deadline_seconds == 0 else "revoked", tuple(streams)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (lambda group, streams: group.revoke(streams), ["revoked"]),
        (lambda group, streams: group.lose(streams), ["lost", "gained"]),
        (lambda group, _streams: group.join("other"), ["revoked"]),
        (lambda group, _streams: group.leave("one"), ["lost"]),
    ],
)
def test_a_member_hears_of_a_change_when_it_polls(move: Callable[[MemoryGroup, tuple[Stream, ...]], None], expected: list[str]) -> None:
    """Revoked with time left, lost without, and gained again where the stream is still to be its own."""
    log = MemoryLog()
    streams = log.create("t", 2)
    group = MemoryGroup(log, ["t"])
    owner = Owner()
    source = MemorySource(group, "one", ManualClock())
    source.open(owner)  # type: ignore[arg-type]
    source.poll(10, 0.1, set())
    assert owner.heard == [("gained", streams)]
    move(group, streams)
    source.poll(10, 0.1, set())
    assert [what for what, _ in owner.heard[1:]] == expected


def test_streams_move_to_who_shall_have_them() -> None:
    """`assign` names the next owner, who gains once the other has given up; a stranger cannot be named; strangers' hints are refused."""
    log = MemoryLog()
    (stream,) = log.create("t")
    group = MemoryGroup(log, ["t"])
    group.join("one")
    assert group.handover("one").gained == (stream,)
    group.join("two")
    group.assign("two", [stream])
    assert group.handover("two").gained == ()
    assert group.handover("one").revoked == (stream,)
    group.released("one", [stream])
    assert group.handover("two").gained == (stream,)
    assert group.owner(stream) == "two"
    group.acknowledge("one", {stream: 5})
    group.acknowledge("two", {stream: 6})
    assert [each.position for each in group.acknowledged] == [6]
    with pytest.raises(Broken):
        group.assign("stranger", [stream])


def test_a_start_at_the_latest_record_reads_only_what_comes() -> None:
    """A stream without a position starts at the end where the settings say so."""
    log = MemoryLog()
    (stream,) = log.create("t")
    log.append("t", 0, b"old")
    settings = MemorySourceSettings(start="latest")
    source = MemorySource(MemoryGroup(log, ["t"]), "one", ManualClock(), settings)

    class Starter(Owner):
        def gained(self, streams: object) -> dict[Stream, object]:
            from landfast.model import Assignment

            return {stream: Assignment(None, 1)}

    source.open(Starter())  # type: ignore[arg-type]
    log.append("t", 0, b"new")
    source.poll(10, 0.1, set())
    log.append("t", 0, b"newer")
    assert [chunk.values for chunk in source.poll(10, 0.1, set()).chunks] == [[b"newer"]]


def test_observers_and_decoders_count() -> None:
    """Events are kept in order and by kind; a decoder's work is counted."""
    observer = RecordingObserver()
    for code in ("A", "B"):
        observer.notice(Notice("", code, "message"))
    assert [event.code for event in observer.of(Notice)] == ["A", "B"]
    assert observer.of(RunStarted) == ()
    log = MemoryLog()
    (stream,) = log.create("t")
    for value in (b"a", b"bad", None):
        log.append("t", 0, value)
    decoder = CountingDecoder(LineDecoder())
    decoded = decoder.decode(chunk_of(stream, 1, 0, 3, log.read("t", 0, 0, 10)))
    assert (decoder.chunks, decoder.records) == (1, 3)
    assert (decoded.rows.num_rows, len(decoded.rejects), decoded.skips) == (1, 1, {"tombstone": [2]})
    assert decoded.rows.nbytes == 1


def test_a_version_is_put_once() -> None:
    """Put-if-absent: only the next version can be put."""
    from landfast.testing.memory import VersionTaken

    table = MemoryTable()
    table.put(1, TableCommit("one", "run", 1))
    for version in (0, 1, 3):
        with pytest.raises(VersionTaken):
            table.put(version, TableCommit("two", "run", 2))
