"""The test of the tests: an engine or a port with a known defect does not get through the simulated world."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import pytest

from landfast.core.flow import Flow
from landfast.core.ledger import Ledger
from landfast.errors import LandfastError
from landfast.model import Assignment, Letter, Position, Stream
from landfast.testing.faults import Stuck
from landfast.testing.memory import (
    MemoryLetterStore,
    MemoryTable,
    TableCommit,
    VersionTaken,
    sink,
)
from tests.core.test_simulated_logs import test_nothing_of_a_topic_created_again_lands_as_the_old_one as topics_are_created_again
from tests.core.test_simulated_owners import test_r6_a_frozen_process_that_wakes_up_as_a_zombie_harms_nothing as zombies_wake_up
from tests.core.test_simulated_schedules import drawn, play
from tests.core.world import Sizes
from tests.simulated.planted_in_flows import in_flight_kept, rewind_unheard
from tests.simulated.planted_in_lanes import last_for_next
from tests.simulated.planted_in_letters import buried_letters_forgotten, letters_after_the_commit, letters_forgotten_after_a_failed_commit
from tests.simulated.planted_in_sinks import refused_rows_dropped, rows_landed_backwards

pytestmark = pytest.mark.usefixtures("unmeasured")

SCHEDULES = 300

Plant = Callable[[pytest.MonkeyPatch], None]


def no_compare(patch: pytest.MonkeyPatch) -> None:
    """The sink commits whatever its position is."""
    patch.setattr(sink, "_compare", lambda _snapshot, _starts, _tenures: None)


def compare_with_an_older_snapshot(patch: pytest.MonkeyPatch) -> None:
    """The sink compares with one snapshot and commits on top of whatever is there."""

    def put(table: MemoryTable, version: int, commit: TableCommit) -> None:
        put_as_asked(table, max(version, len(table.commits) + 1), commit)

    put_as_asked = MemoryTable.put
    patch.setattr(MemoryTable, "put", put)


def letters_without_a_fence(patch: pytest.MonkeyPatch) -> None:
    """A former owner may still bury."""

    def append(store: MemoryLetterStore, letters: Sequence[Letter], owner: str, token: str) -> None:
        store.take({letter.stream for letter in letters}, owner)
        fenced(store, letters, owner, token)

    fenced = MemoryLetterStore.append
    patch.setattr(MemoryLetterStore, "append", append)


def confirmation_ignored(patch: pytest.MonkeyPatch) -> None:
    """What was read lands although nobody knows whose incarnation it is."""
    patch.setattr(Flow, "_confirmed", lambda _flow, _item: True)


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


def every_second_version_taken(patch: pytest.MonkeyPatch) -> None:
    """The store says that a version is taken when it has just put it: the answer is a lie."""

    def put(table: MemoryTable, version: int, commit: TableCommit) -> None:
        put_as_asked(table, version, replace(commit, token=f"not {commit.token}"))
        if version % 2 == 0:
            raise VersionTaken

    put_as_asked = MemoryTable.put
    patch.setattr(MemoryTable, "put", put)
    patch.setattr(sink, "_compare", lambda _snapshot, _starts, _tenures: None)


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
    in_flight_kept,
    refused_rows_dropped,
    rows_landed_backwards,
    rewind_unheard,
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
