"""The test of the tests: an engine or a port with a known defect does not get through the simulated world."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import replace

import pytest

from landfast.core import flight, landing
from landfast.core.flow import Flow
from landfast.core.landing import InFlight, Landed
from landfast.core.lanes import Lane
from landfast.core.ledger import Ledger
from landfast.core.verify import check_receipt
from landfast.errors import LandfastError
from landfast.model import Assignment, Letter, Position, Receipt, Stream
from landfast.ports import DeadLetters, Sink
from landfast.testing.faults import Stuck
from landfast.testing.memory import (
    MemoryDeadLetters,
    MemoryLetterStore,
    MemorySink,
    MemorySource,
    MemoryTable,
    TableCommit,
    VersionTaken,
    sink,
)
from tests.core.test_simulated_logs import test_nothing_of_a_topic_created_again_lands_as_the_old_one as topics_are_created_again
from tests.core.test_simulated_owners import test_a_frozen_process_that_wakes_up_as_a_zombie_harms_nothing as zombies_wake_up
from tests.core.test_simulated_schedules import drawn, play
from tests.core.world import Sizes

SCHEDULES = 300

Plant = Callable[[pytest.MonkeyPatch], None]


def no_compare(patch: pytest.MonkeyPatch) -> None:
    """The sink commits whatever its position is."""
    patch.setattr(sink, "_compare", lambda _snapshot, _starts: None)


def compare_with_an_older_snapshot(patch: pytest.MonkeyPatch) -> None:
    """The sink compares with one snapshot and commits on top of whatever is there."""

    def put(table: MemoryTable, version: int, commit: TableCommit) -> None:
        put_as_asked(table, max(version, len(table.commits) + 1), commit)

    put_as_asked = MemoryTable.put
    patch.setattr(MemoryTable, "put", put)


def letters_after_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Dead letters are buried when their position has been passed already."""

    def land(group: Sequence[InFlight], sink: Sink, dead_letters: DeadLetters) -> Landed:
        staged = [item.prepared.staged for item in group if item.prepared is not None]
        letters = [letter for item in group if item.prepared is not None for letter in item.prepared.letters]
        receipt = sink.commit(staged)
        check_receipt(receipt, staged)
        dead_letters.put(letters)
        return Landed(receipt, tuple(letters))

    patch.setattr(flight, "land", land)


def letters_forgotten_after_a_failed_commit(patch: pytest.MonkeyPatch) -> None:
    """Letters count as buried before they are."""
    real = landing.land

    def land(group: Sequence[InFlight], sink: Sink, dead_letters: DeadLetters) -> Landed:
        try:
            return real(group, sink, dead_letters)
        finally:
            for item in group:
                item.letters_buried = True

    patch.setattr(flight, "land", land)


def buried_letters_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What was buried before a crash is buried again."""

    def buried(letters: MemoryDeadLetters, stream: Stream, start: Position) -> Set[int]:
        return frozenset()

    patch.setattr(MemoryDeadLetters, "buried", buried)


def letters_without_a_fence(patch: pytest.MonkeyPatch) -> None:
    """A former owner may still bury."""

    def append(store: MemoryLetterStore, letters: Sequence[Letter], owner: str, token: str) -> None:
        store.take({letter.stream for letter in letters}, owner)
        fenced(store, letters, owner, token)

    fenced = MemoryLetterStore.append
    patch.setattr(MemoryLetterStore, "append", append)


def confirmation_ignored(patch: pytest.MonkeyPatch) -> None:
    """What was read lands although nobody knows whose incarnation it is."""
    patch.setattr(Flow, "_landable", lambda _flow, item: item.prepared is not None)


def last_for_next(patch: pytest.MonkeyPatch) -> None:
    """Reading starts behind the position instead of at it."""

    def place(lane: Lane, epoch: int, position: Position | None, buried: frozenset[int]) -> None:
        placed(lane, epoch, None if position is None else position + 1, buried)

    placed = Lane.place
    patch.setattr(Lane, "place", place)


def acknowledged_when_read(patch: pytest.MonkeyPatch) -> None:
    """The group is told more than the sink holds."""

    def safe(ledger: Ledger, stream: Stream) -> Position | None:
        position = told(ledger, stream)
        return None if position is None else position + 1

    told = Ledger.safe
    patch.setattr(Ledger, "safe", safe)


def placed_without_rewinding(patch: pytest.MonkeyPatch) -> None:
    """A lane that was placed inside a poll goes on with what its older epoch reads."""

    def gain(flow: Flow, streams: Collection[Stream]) -> dict[Stream, Assignment]:
        gained = gain_alone(flow, streams)
        flow.place(flow._around.clock.monotonic())  # noqa: SLF001 - the defect that once was
        return gained

    gain_alone = Flow.gain
    patch.setattr(Flow, "gain", gain)


def in_flight_kept_when_lost(patch: pytest.MonkeyPatch) -> None:
    """What is in flight of a stream that has gone still lands, and its lane goes on."""
    patch.setattr(Flow, "_dissolve", lambda _flow, _group=(): None)


def refused_rows_dropped(patch: pytest.MonkeyPatch) -> None:
    """A row that the table refuses is left out, and nobody hears of it."""

    def commit(self: MemorySink, staged: Sequence[object]) -> Receipt:
        kept = [replace(each, content=tuple(row for row in each.content if row.row != b"poison")) for each in staged]  # type: ignore[type-var,attr-defined]
        return committed(self, kept)  # type: ignore[arg-type]

    committed = MemorySink.commit
    patch.setattr(MemorySink, "commit", commit)


def rows_landed_out_of_order(patch: pytest.MonkeyPatch) -> None:
    """The rows of a commit lie in another order than they were read."""

    def put(table: MemoryTable, version: int, commit: TableCommit) -> None:
        put_as_asked(table, version, replace(commit, rows=tuple(reversed(commit.rows))))

    put_as_asked = MemoryTable.put
    patch.setattr(MemoryTable, "put", put)


def reading_past_a_hold(patch: pytest.MonkeyPatch) -> None:
    """A rewind is heard, but the reader stays where it is."""
    patch.setattr(MemorySource, "rewind", lambda _source, _assignments: None)


def every_second_version_taken(patch: pytest.MonkeyPatch) -> None:
    """The store says that a version is taken when it has just put it: the answer is a lie."""

    def put(table: MemoryTable, version: int, commit: TableCommit) -> None:
        put_as_asked(table, version, replace(commit, token=f"not {commit.token}"))
        if version % 2 == 0:
            raise VersionTaken

    put_as_asked = MemoryTable.put
    patch.setattr(MemoryTable, "put", put)
    patch.setattr(sink, "_compare", lambda _snapshot, _starts: None)


PLANTS: tuple[Plant, ...] = (
    no_compare,
    compare_with_an_older_snapshot,
    letters_after_the_commit,
    letters_forgotten_after_a_failed_commit,
    buried_letters_forgotten,
    letters_without_a_fence,
    confirmation_ignored,
    last_for_next,
    acknowledged_when_read,
    placed_without_rewinding,
    in_flight_kept_when_lost,
    refused_rows_dropped,
    rows_landed_out_of_order,
    reading_past_a_hold,
    every_second_version_taken,
)


def campaign() -> None:
    """Everything that a defect has to get through. Each part is a test of its own, which the engine as it is passes."""
    topics_are_created_again(Sizes(1, 2, 2, 1, checks_apart=3))
    zombies_wake_up(Sizes())
    for seed in range(SCHEDULES):
        play(drawn(seed))


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each known defect is noticed within a few hundred schedules: by the ledger, or because nothing gets on any more."""
    plant(monkeypatch)
    with pytest.raises((AssertionError, LandfastError, Stuck)):
        campaign()
