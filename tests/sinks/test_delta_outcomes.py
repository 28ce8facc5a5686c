"""What a commit says when its answer was lost, late or wrong: the table is read back, and the table decides."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from landfast.errors import Broken, Conflict, Unavailable
from landfast.events import OutcomeResolved
from landfast.sinks.delta.log.record import from_commit_info
from tests.sinks.delta_trouble import PanicException, Trouble, nothing, raising, troubled
from tests.sinks.delta_world import NUMBERS, DeltaWorld, stream

LANE = stream(0)


@pytest.fixture
def trouble(world: DeltaWorld) -> Trouble:
    """The trouble that this world's commits meet."""
    return troubled(world)


def append_one(world: DeltaWorld) -> None:
    """Another tool appends a row that the table has, or none where it has none."""
    handle = DeltaTable(world.path)
    write_deltalake(handle, handle.to_pyarrow_table().slice(0, 1), mode="append")


LOST = [
    OSError("Generic S3 error: error sending request: operation timed out"),
    CommitFailedError("Failed to commit transaction: Concurrent transaction failed."),
    CommitFailedError("Failed to commit transaction: 0"),
    DeltaError("Kernel error: Arrow error: External: Generic LocalFileSystem error"),
    PanicException("called `Option::unwrap()` on a `None` value"),
    RuntimeError("something nobody has seen before"),
]


@pytest.mark.parametrize("error", LOST, ids=lambda error: str(error)[:40])
@pytest.mark.museum(6)
def test_s2_a_commit_whose_answer_was_lost_lands_once(world: DeltaWorld, trouble: Trouble, error: BaseException) -> None:
    """The commit is in, the call fails: the receipt says so, and the next commit goes on."""
    sink = world.sink()
    trouble.after.append(raising(error))
    receipt = sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    assert receipt.already
    assert receipt.version == DeltaTable(world.path).version()
    assert sink.commit([sink.stage(world.batch(LANE, 10, 20))]).sequence == receipt.sequence + 1
    assert world.landed() == [("events", 0, offset) for offset in range(20)]
    assert [event.landed for event in world.ears.heard if isinstance(event, OutcomeResolved)] == [True]


def test_a_commit_that_failed_before_its_effect_has_not_landed(world: DeltaWorld, trouble: Trouble) -> None:
    """The call fails and nothing is in: Unavailable, told so, and the same staged work lands at the next attempt."""
    sink = world.sink()
    staged = sink.stage(world.batch(LANE, 0, 10, first=True))
    trouble.before.append(raising(OSError("Generic S3 error: connection reset by peer")))
    with pytest.raises(Unavailable) as caught:
        sink.commit([staged])
    assert (caught.value.code, caught.value.kind) == ("SINK_DOWN", "transient")
    assert sink.positions([LANE]) == {LANE: None}
    assert not sink.commit([staged]).already
    assert len(world.landed()) == 10
    assert [event.landed for event in world.ears.heard if isinstance(event, OutcomeResolved)] == [False]


def test_a_commit_that_cannot_be_read_back_is_resolved_by_the_next_attempt(world: DeltaWorld, trouble: Trouble) -> None:
    """The commit is in and the store is gone: Unavailable, then the same staged work is found to have landed."""
    sink = world.sink()
    staged = sink.stage(world.batch(LANE, 0, 10, first=True))

    def store_goes_down() -> None:
        trouble.opening.extend([raising(OSError("tcp connect error: Connection refused"))] * world.settings.resolve_attempts_max)
        raise OSError("error sending request: operation timed out")

    trouble.after.append(store_goes_down)
    with pytest.raises(Unavailable) as caught:
        sink.commit([staged])
    assert caught.value.code == "OUTCOME_UNKNOWN"
    assert sink.commit([staged]).already
    assert len(world.landed()) == 10


def test_a_late_commit_in_another_grouping_is_a_conflict_and_its_number_is_used_up(world: DeltaWorld, trouble: Trouble) -> None:
    """A first attempt lands after all; the second carries one batch more: nothing lands twice, and no commit number comes twice."""
    sink = world.sink()
    one, two = sink.stage(world.batch(LANE, 0, 10, first=True)), sink.stage(world.batch(LANE, 10, 20))

    def store_goes_down() -> None:
        trouble.opening.extend([raising(OSError("tcp connect error: Connection refused"))] * world.settings.resolve_attempts_max)
        raise OSError("error sending request: operation timed out")

    trouble.after.append(store_goes_down)
    with pytest.raises(Unavailable):
        sink.commit([one])
    with pytest.raises(Conflict):
        sink.commit([one, two])
    assert sink.positions([LANE]) == {LANE: 10}
    sink.commit([two])
    assert world.landed() == [("events", 0, offset) for offset in range(20)]
    records = [from_commit_info(entry) for entry in DeltaTable(world.path).history()]
    assert sorted(record.sequence for record in records if record is not None) == [0, 1]


def test_s1_a_foreign_change_between_compare_and_set_is_stepped_over(world: DeltaWorld, trouble: Trouble) -> None:
    """Other people's appends, column additions and deletes make the handle stale; the commit is made again on a fresh one."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])

    def delete() -> None:
        DeltaTable(world.path).delete("number = 3")

    def properties() -> None:
        DeltaTable(world.path).alter.set_table_properties({"delta.logRetentionDuration": "interval 40 days"})

    for number, change in enumerate([delete, properties, lambda: append_one(world)]):
        trouble.before.append(change)
        receipt = sink.commit([sink.stage(world.batch(LANE, 10 + number, 11 + number))])
        assert not receipt.already
    assert sink.positions([LANE]) == {LANE: 13}
    # The other tool has deleted one row, and appended a copy of one that it found.
    assert {offset for _, _, offset in world.landed()} == set(range(13)) - {3}
    assert len(world.landed()) == 13


def test_s17_a_constraint_added_while_running_stops_the_run(world: DeltaWorld) -> None:
    """Nobody would check it on files of our own: nothing lands any more, and the message names the feature."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    DeltaTable(world.path).alter.add_constraint({"positive": "number >= 0"})
    with pytest.raises(Broken) as caught:
        sink.commit([sink.stage(world.batch(LANE, 10, 20))])
    assert caught.value.code == "PROTOCOL_UNSUPPORTED"
    assert len(world.landed()) == 10


def test_s1_endless_interference_ends_as_unavailable(world: DeltaWorld, trouble: Trouble) -> None:
    """Attempts are bounded; what is left is Unavailable and nothing landed."""
    sink = world.sink(commit_attempts_max=3)
    trouble.before.extend([lambda: append_one(world)] * 3)
    staged = sink.stage(world.batch(LANE, 0, 10, first=True))
    with pytest.raises(Unavailable) as caught:
        sink.commit([staged])
    assert caught.value.code == "COMMIT_CONFLICT"
    assert not sink.commit([staged]).already
    assert world.landed() == [("events", 0, offset) for offset in range(10)]


@pytest.mark.parametrize("zombie_first", [True, False])
def test_a_zombie_is_refused_in_either_order(world: DeltaWorld, zombie_first: bool) -> None:
    """Two owners of one stream: whoever commits second is refused, whatever it had prepared and compared before."""
    zombie, owner = world.sink("zombie"), world.sink("owner")
    first = zombie.stage(world.batch(LANE, 0, 5, first=True))
    second = owner.stage(world.batch(LANE, 0, 10, first=True))
    assert zombie.positions([LANE]) == owner.positions([LANE]) == {LANE: None}
    order = [(zombie, first), (owner, second)]
    (winner, won), (loser, lost) = order if zombie_first else order[::-1]
    winner.commit([won])
    with pytest.raises(Conflict):
        loser.commit([lost])
    assert len(world.landed()) == (5 if zombie_first else 10)


def test_another_owner_that_commits_between_compare_and_set_wins(world: DeltaWorld, trouble: Trouble) -> None:
    """The set is refused by the very snapshot that was compared."""
    owner, zombie = world.sink("owner"), world.sink("zombie")
    theirs = owner.stage(world.batch(LANE, 0, 10, first=True))
    ours = zombie.stage(world.batch(LANE, 0, 5, first=True))

    def owner_commits() -> None:
        owner.commit([theirs])

    trouble.before.extend([owner_commits, nothing])
    with pytest.raises(Conflict):
        zombie.commit([ours])
    assert len(world.landed()) == 10


def test_s15_a_table_that_was_replaced_stops_the_run(world: DeltaWorld) -> None:
    """Another table at the same path has no positions of ours: going on would land everything into it again."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    shutil.rmtree(Path(world.path) / "_delta_log")
    DeltaTable.create(world.path, NUMBERS)
    staged = sink.stage(world.batch(LANE, 10, 20))
    for act in (lambda: sink.commit([staged]), lambda: sink.take_over([LANE]), lambda: sink.positions([LANE])):
        with pytest.raises(Broken) as caught:
            act()
        assert caught.value.code == "TABLE_REPLACED"
    found = DeltaTable(world.path)
    assert (found.version(), found.file_uris()) == (0, [])


@pytest.mark.parametrize("break_it", ["restore", "overwrite", "delete"])
def test_s14_rows_replaced_under_the_positions_halt_the_lanes(world: DeltaWorld, break_it: str) -> None:
    """A restore, an overwrite or a delete of everything leaves the positions: every lane halts instead of skipping what was taken."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    sink.commit([sink.stage(world.batch(LANE, 10, 20))])
    before = sink.stage(world.batch(LANE, 20, 30))
    handle = DeltaTable(world.path)
    if break_it == "restore":
        handle.restore(handle.version() - 1)
    elif break_it == "overwrite":
        write_deltalake(handle, handle.to_pyarrow_table().slice(0, 1), mode="overwrite")
    else:
        handle.delete()
    with pytest.raises(Conflict):
        sink.commit([before])
    halt = sink.positions([LANE])[LANE]
    assert getattr(halt, "code", None) == "LINEAGE_BROKEN"


def test_a_replaced_topic_halts_until_its_id_is_accepted(world: DeltaWorld) -> None:
    """A topic that was created again is another stream; its records follow only when the operator names its id."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    reborn = stream(0, incarnation="topic-id-2")
    halt = sink.positions([reborn])[reborn]
    assert getattr(halt, "code", None) == "TOPIC_REPLACED"
    with pytest.raises(Conflict):
        sink.commit([sink.stage(world.batch(reborn, 0, 5, first=True))])

    accepting = world.sink("run-2", accept_topic_ids=frozenset({"topic-id-2"}))
    assert accepting.positions([reborn]) == {reborn: None}
    accepting.commit([accepting.stage(world.batch(reborn, 0, 5, first=True))])
    assert accepting.positions([reborn]) == {reborn: 5}
    assert getattr(sink.positions([LANE])[LANE], "code", None) == "TOPIC_REPLACED"
    with pytest.raises(Conflict):
        sink.commit([sink.stage(world.batch(LANE, 10, 20))])
