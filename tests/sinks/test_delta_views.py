"""Positions that are kept in mind are those that the table's log holds, at every version, whoever has written it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, Field, Transaction

from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.table.place import open_handle
from landfast.sinks.delta.table.view import View
from tests.sinks.delta_world import DeltaWorld, stream

LANES = [stream(partition) for partition in range(3)]
NAMES = ["a", "b", "c", "never"]


def write(world: DeltaWorld, transactions: dict[str, int]) -> None:
    """Another process moves these transaction versions."""
    table = DeltaTable(world.path)
    moved = [Transaction(name, version) for name, version in transactions.items()]
    table.create_write_transaction([], "append", table.schema(), commit_properties=CommitProperties(app_transactions=moved))


def agrees(world: DeltaWorld, view: View) -> bool:
    """Whether what the view says is what a handle on its version says."""
    handle = DeltaTable(world.path, version=view.version)
    return all(view.transaction_version(name) == handle.transaction_version(name) for name in NAMES)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_remembered_is_what_a_handle_says(world: DeltaWorld, seed: int) -> None:
    """Views kept, moved, left behind and opened anew, in any order, between commits of others: each answers for its own version."""
    home = world.home()
    chance = random.Random(seed)
    views = [home.open()]
    for _ in range(40):
        match chance.choice(["write", "follow", "open"]):
            case "write":
                write(world, {name: chance.randrange(100) for name in chance.sample(NAMES[:3], 2)})
            case "follow":
                view = chance.choice(views)
                assert home.follow(view)
                assert view.version == DeltaTable(world.path).version()
            case _:
                views.append(home.open())
        assert all(agrees(world, view) for view in views)


def test_entries_that_are_gone_are_not_guessed(world: DeltaWorld) -> None:
    """Where clean-up took entries that were never seen, what was kept in mind is forgotten."""
    home = world.home()
    assert agrees(world, home.open())
    for number in range(4):
        write(world, {"a": number, "b": number})
    table = DeltaTable(world.path)
    table.create_checkpoint()
    (Path(world.path) / log_name(table.version() - 1)).unlink()
    write(world, {"c": 7})
    assert agrees(world, home.open())


def test_a_view_whose_end_is_gone_is_of_no_use(world: DeltaWorld) -> None:
    """Where clean-up has passed a view, its version may or may not be the newest: the entries do not say."""
    home = world.home()
    view = home.open()
    for number in range(4):
        write(world, {"a": number})
    DeltaTable(world.path).create_checkpoint()
    for version in range(view.version, view.version + 3):
        (Path(world.path) / log_name(version)).unlink()
    assert not home.follow(view)
    assert agrees(world, home.open())


@pytest.mark.parametrize("changed", ["properties", "columns"])
def test_a_view_is_opened_anew_after_a_change_of_the_table(world: DeltaWorld, changed: str) -> None:
    """What the table demands of an append may be another thing then."""
    home = world.home()
    view = home.open()
    if changed == "properties":
        DeltaTable(world.path).alter.set_table_properties({"delta.logRetentionDuration": "interval 40 days"})
    else:
        DeltaTable(world.path).alter.add_columns([Field("more", "string")])
    write(world, {"a": 1})
    assert not home.follow(view)


class CountingTable(DeltaTable):
    """A real table that counts how often it is asked."""

    asked = 0

    def transaction_version(self, app_id: str) -> int | None:
        """The real answer."""
        CountingTable.asked += 1
        return super().transaction_version(app_id)


def test_steady_commits_open_no_table_and_ask_for_no_position(world: DeltaWorld) -> None:
    """Both read the names of the whole log, which grows by one with each commit: commits of many streams do neither, also beside others."""
    opened = []

    def counted(settings: object) -> DeltaTable:
        opened.append(settings)
        return CountingTable(world.path)

    world.opener = counted
    sink = world.sink()
    sink.take_over(LANES)
    world.opener = open_handle
    other = world.sink("other")
    lanes = [stream(9)]
    other.take_over(lanes)
    sink.commit([sink.stage(world.batch(lane, 0, 5, first=True)) for lane in LANES])
    opened.clear()
    CountingTable.asked = 0
    for start in range(5, 25, 5):
        other.commit([other.stage(world.batch(lanes[0], start, start + 5, first=start == 5))])
        sink.commit([sink.stage(world.batch(lane, start, start + 5)) for lane in LANES])
    assert (CountingTable.asked, opened) == (0, [])
