"""Dead letters that outlived their table: nobody starts anew beside them unknowingly, since the same records would be buried again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.errors import Misconfigured
from landfast.sinks.delta import DeltaDeadLetters, DeltaSettings, inspect, letters_path
from landfast.sinks.delta.table.place import open_handle
from tests.sinks.delta_proof import letter
from tests.sinks.delta_world import NUMBERS, DeltaWorld, stream

LANE = stream(0)


def buried_in(world: DeltaWorld) -> None:
    """Make the world's table, with one dead letter beside it."""
    letters = DeltaDeadLetters(world.home())
    letters.claim([LANE])
    letters.put([letter(LANE, 1)])


def refused(world: DeltaWorld, code: str) -> None:
    """A start and a look refuse alike, name both paths and both ways out, and write nothing."""
    before = sorted(str(path) for path in Path(world.path).parent.rglob("*"))
    with pytest.raises(Misconfigured) as caught:
        world.home("run-2")
    (found,) = inspect(replace(world.settings, path=world.path), "numbers", NUMBERS).problems
    assert (found.code, found.message, found.next_step) == (code, caught.value.message, caught.value.next_step)
    assert caught.value.code == code
    assert f"table at {world.path}" in found.message
    assert f" {letters_path(world.path)} holds dead letters" in found.message
    assert f"back to {world.path}." in found.next_step
    assert f"move {letters_path(world.path)} away, or set another sink.path." in found.next_step
    assert sorted(str(path) for path in Path(world.path).parent.rglob("*")) == before


@pytest.mark.parametrize("emptied", [False, True])
def test_no_table_is_created_beside_letters_of_a_former_one(world: DeltaWorld, emptied: bool) -> None:
    """The table was dropped, with its folder or without: the start is refused until the table is back, or the letters are away."""
    buried_in(world)
    away = Path(world.path).with_name("away")
    shutil.move(world.path, away)
    if emptied:
        Path(world.path).mkdir()
    refused(world, "TABLE_MISSING")
    shutil.rmtree(world.path, ignore_errors=True)
    shutil.move(away, world.path)
    assert DeltaDeadLetters(world.home("run-3")).buried(LANE, 0) == {1}
    shutil.rmtree(world.path)
    shutil.move(letters_path(world.path), away)
    assert DeltaDeadLetters(world.home("run-4")).buried(LANE, 0) == set()


def test_a_table_that_somebody_made_anew_is_not_taken_on_beside_letters(world: DeltaWorld) -> None:
    """A table of the same columns without our mark would get an id that knows none of the letters."""
    buried_in(world)
    schema = DeltaTable(world.path).schema()
    shutil.rmtree(world.path)
    DeltaTable.create(world.path, schema)
    refused(world, "TABLE_REPLACED")


@pytest.mark.parametrize("claimed", [False, True])
def test_a_table_of_dead_letters_without_letters_is_reused(world: DeltaWorld, claimed: bool) -> None:
    """Where nothing was buried, or all letters were deleted, nothing can be buried twice."""
    if claimed:
        DeltaDeadLetters(world.home()).claim([LANE])
    else:
        buried_in(world)
        DeltaTable(letters_path(world.path)).delete()
    shutil.rmtree(world.path)
    assert inspect(replace(world.settings, path=world.path), "numbers", NUMBERS).problems == ()
    again = DeltaDeadLetters(world.home("run-2"))
    again.claim([LANE])
    again.put([letter(LANE, 1)])
    assert again.buried(LANE, 0) == {1}


def test_a_starter_that_loses_the_race_to_mark_is_not_refused_for_the_winners_letters(world: DeltaWorld) -> None:
    """Between its look at the table and its look at the letters another worker marks the table and buries: both go on as one pipeline."""
    schema = _full_schema(world)
    DeltaTable.create(world.path, schema)
    looks = 0

    def overtaken(settings: DeltaSettings) -> DeltaTable:
        nonlocal looks
        handle = open_handle(settings)
        looks += 1
        if looks == 2:
            buried_in(DeltaWorld(world.path))
        return handle

    world.opener = overtaken
    assert DeltaDeadLetters(world.home("run-2")).buried(LANE, 0) == {1}


def _full_schema(world: DeltaWorld) -> object:
    world.home()
    schema = DeltaTable(world.path).schema()
    shutil.rmtree(world.path)
    return schema
