"""A damaged checkpoint costs nothing where the log's entries say the same, and is never read over where they do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.errors import Broken
from landfast.events import Maintained, Notice
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.names import WORKSHOP, log_name
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.upkeep.checkpoint import write_checkpoint
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings
from tests.sinks.delta_world import DeltaWorld, stream, world_at

LANE = stream(0)
BEFORE, AFTER = 20, 30


def cut(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])


def zeroed(checkpoint: Path) -> None:
    checkpoint.write_bytes(bytes(checkpoint.stat().st_size))


def holed(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(bytes(len(content) // 2) + content[len(content) // 2 :])


def emptied(checkpoint: Path) -> None:
    checkpoint.write_bytes(b"")


def removed(checkpoint: Path) -> None:
    checkpoint.unlink()


def landed_with_checkpoints(world: DeltaWorld) -> Path:
    """Land three batches with a checkpoint after each of the last two; the newest one's path."""
    sink = world.sink()
    for start in range(0, AFTER, 10):
        sink.commit([sink.stage(world.batch(LANE, start, start + 10, first=not start))])
        if start:
            DeltaTable(world.path).create_checkpoint()
    return max((Path(world.path) / "_delta_log").glob("*.checkpoint.parquet"))


@pytest.mark.parametrize("damage", [cut, zeroed, holed, emptied, removed], ids=lambda damage: damage.__name__)
def test_f9_a_bad_checkpoint_is_dropped_and_the_entries_are_read(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Half written, full of holes, or named and not there: the table opens by its entries, the operator is told, landing goes on."""
    world = world_at(tmp_path)
    checkpoint = landed_with_checkpoints(world)
    damage(checkpoint)
    sink = world.sink("run-2")
    told = [event for event in world.ears.heard if isinstance(event, Notice)]
    assert {event.code for event in told} == {"CHECKPOINT_BAD"}
    assert any(checkpoint.name in event.message or "_last_checkpoint" in event.message for event in told)
    assert not checkpoint.exists()
    assert sink.positions([LANE]) == {LANE: AFTER}
    sink.commit([sink.stage(world.batch(LANE, AFTER, AFTER + 10))])
    assert world.landed() == [("events", 0, offset) for offset in range(AFTER + 10)]
    assert verify_table(world.path).proved


def test_f9_a_bad_checkpoint_that_nothing_stands_in_for_stops_the_run(tmp_path: Path) -> None:
    """The entries before it were cleaned up: nothing is dropped, the checkpoint is named, and the run stops."""
    world = world_at(tmp_path)
    checkpoint = landed_with_checkpoints(world)
    for one in checkpoint.parent.glob("*.checkpoint.parquet"):
        zeroed(one)
    (Path(world.path) / log_name(0)).unlink()
    with pytest.raises(Broken) as caught:
        world.sink("run-2")
    assert caught.value.code == "LOG_CORRUPT"
    assert checkpoint.name in caught.value.message
    assert checkpoint.exists()


@pytest.mark.parametrize("hint", [b"", b"not json", json.dumps({"version": "x"}).encode()])
def test_f9_a_hint_that_says_nothing_is_in_nobodys_way(tmp_path: Path, hint: bytes) -> None:
    """Readers tolerate it, so it stays, and the next checkpoint writes it anew."""
    world = world_at(tmp_path)
    (landed_with_checkpoints(world).parent / "_last_checkpoint").write_bytes(hint)
    sink = world.sink("run-2")
    assert [event for event in world.ears.heard if isinstance(event, Notice)] == []
    assert sink.positions([LANE]) == {LANE: AFTER}
    assert verify_table(world.path).proved


def test_a_checkpoint_beside_one_of_another_form_is_made_in_the_log(tmp_path: Path) -> None:
    """A checkpoint in several parts, as another tool writes it, is not taken along into a workshop; ours comes after it all the same."""
    world = world_at(tmp_path)
    checkpoint = landed_with_checkpoints(world)
    parts = checkpoint.with_name(checkpoint.name.replace(".parquet", ".0000000001.0000000001.parquet"))
    checkpoint.rename(parts)
    (checkpoint.parent / "_last_checkpoint").write_text(json.dumps({"version": int(parts.name[:20]), "size": 1, "parts": 1}))
    sink = world.sink("run-2")
    sink.commit([sink.stage(world.batch(LANE, AFTER, AFTER + 10))])
    table = DeltaTable(world.path)
    write_checkpoint(world.path, Disk(), table)
    assert (checkpoint.parent / f"{table.version():020d}.checkpoint.parquet").exists()
    assert world.landed() == [("events", 0, offset) for offset in range(AFTER + 10)]
    assert verify_table(world.path).proved


def test_a_checkpoint_that_another_process_has_made_is_left_as_it_is(tmp_path: Path) -> None:
    """Two that make the same one at once: the second finds it there, and nothing is left of its work."""
    world = world_at(tmp_path)
    checkpoint = landed_with_checkpoints(world)
    before = checkpoint.read_bytes()
    write_checkpoint(world.path, Disk(), DeltaTable(world.path))
    assert checkpoint.read_bytes() == before
    assert not [path for path in Path(world.path).iterdir() if path.name.startswith(WORKSHOP)]


def test_what_a_killed_process_left_of_a_checkpoint_is_swept(tmp_path: Path) -> None:
    """Its workshop is nobody's; it goes when this process has seen it for long enough, and the table is as it was."""
    world = world_at(tmp_path)
    landed_with_checkpoints(world)
    workshop = Path(world.path) / f"{WORKSHOP}left" / "_delta_log"
    workshop.mkdir(parents=True)
    (workshop / "half").write_bytes(b"half")
    home = world.home("run-2")
    settings = MaintenanceSettings(checkpoint_commits=1000, sweep_seen_seconds=0.0)
    Maintenance(settings, home.settings, home.clock, world.ears).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert not workshop.parent.exists()
    assert [event.act for event in world.ears.heard if isinstance(event, Maintained)] == ["sweep"]
    assert verify_table(world.path).proved


def test_statistics_of_others_keep_nobody_from_starting(tmp_path: Path) -> None:
    """The newest entry is another tool's, and says nothing that we could read of its file."""
    world = world_at(tmp_path)
    landed_with_checkpoints(world)
    table = DeltaTable(world.path)
    entry = Path(world.path) / log_name(table.version())
    add = next(json.loads(line)["add"] for line in entry.read_text().splitlines() if '"add"' in line)
    theirs = {"add": {**add, "stats": "not json"}}
    (entry.parent / Path(log_name(table.version() + 1)).name).write_text(json.dumps(theirs))
    assert world.sink("run-2").positions([LANE]) == {LANE: AFTER}
