"""Positions that are kept in mind are those that the table's log holds, at every version, whoever has written it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, Transaction

from landfast.sinks.delta.files import log_name
from landfast.sinks.delta.table import TableHome, open_handle
from tests.sinks.delta_world import DeltaWorld, stream

LANES = [stream(partition) for partition in range(3)]
NAMES = ["a", "b", "c", "never"]


def write(world: DeltaWorld, transactions: dict[str, int]) -> None:
    """Another process moves these transaction versions."""
    table = DeltaTable(world.path)
    moved = [Transaction(name, version) for name, version in transactions.items()]
    table.create_write_transaction([], "append", table.schema(), commit_properties=CommitProperties(app_transactions=moved))


def agrees(home: TableHome, handle: DeltaTable) -> bool:
    """Whether what is kept in mind is what the handle says itself."""
    return all(home.version_of(handle, name) == handle.transaction_version(name) for name in NAMES)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_remembered_is_what_a_handle_says(world: DeltaWorld, seed: int) -> None:
    """Handles kept, moved, left behind and opened anew, in any order, between commits of others: each is answered for its own snapshot."""
    home = world.home()
    chance = random.Random(seed)
    handles = [home.open()]
    for _ in range(40):
        match chance.choice(["write", "move", "open", "look"]):
            case "write":
                write(world, {name: chance.randrange(100) for name in chance.sample(NAMES[:3], 2)})
            case "move":
                handle = chance.choice(handles)
                handle.update_incremental()
                home.catch_up(handle)
            case "open":
                handles.append(home.open())
            case _:
                # A handle that nobody has looked at the log with yet.
                assert agrees(home, DeltaTable(world.path))
        assert all(agrees(home, handle) for handle in handles)


def test_entries_that_are_gone_are_not_guessed(world: DeltaWorld) -> None:
    """Where clean-up took entries that were never seen, what was kept in mind is forgotten."""
    home = world.home()
    assert agrees(home, home.open())
    for number in range(4):
        write(world, {"a": number, "b": number})
    table = DeltaTable(world.path)
    table.create_checkpoint()
    (Path(world.path) / log_name(table.version() - 1)).unlink()
    write(world, {"c": 7})
    assert agrees(home, home.open())


class CountingTable(DeltaTable):
    """A real table that counts how often it is asked."""

    asked = 0

    def transaction_version(self, app_id: str) -> int | None:
        """The real answer."""
        CountingTable.asked += 1
        return super().transaction_version(app_id)


def test_a_commit_asks_the_log_for_no_position_that_is_known(world: DeltaWorld) -> None:
    """Each question reads the log from the store again: steady commits of many streams ask none, also where others commit between."""
    world.opener = lambda settings: CountingTable(settings.path)
    sink = world.sink()
    sink.take_over(LANES)
    world.opener = open_handle
    other = world.sink("other")
    lanes = [stream(9)]
    other.take_over(lanes)
    sink.commit([sink.stage(world.batch(lane, 0, 5, first=True)) for lane in LANES])
    CountingTable.asked = 0
    for start in range(5, 25, 5):
        other.commit([other.stage(world.batch(lanes[0], start, start + 5, first=start == 5))])
        sink.commit([sink.stage(world.batch(lane, start, start + 5)) for lane in LANES])
    assert CountingTable.asked == 0
