"""The order in which things become durable on a local disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.errors import Broken
from landfast.sinks.delta import DeltaDeadLetters
from landfast.sinks.delta.files.local import Disk, LocalFiles
from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.place import open_handle
from landfast.sinks.delta.upkeep.roll_up import roll_up
from tests.sinks.delta_world import DeltaWorld, stream

LANE = stream(0)


class DiskDiary(Disk):
    """A disk that notes what was made durable, with the table's version at that moment, and may fail."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str, int]] = []
        self.failing: str | None = None

    def sync_file(self, path: Path) -> None:
        """See `Disk`."""
        self._note("file", path)
        super().sync_file(path)

    def sync_folder(self, path: Path) -> None:
        """See `Disk`."""
        self._note("folder", path)
        super().sync_folder(path)

    def _note(self, kind: str, path: Path) -> None:
        table = next((folder for folder in (path, *path.parents) if (folder / "_delta_log").is_dir()), None)
        version = len(list((table / "_delta_log").glob("*.json"))) - 1 if table else -1
        self.notes.append((kind, path.name, version))
        if self.failing and path.name.endswith(self.failing):
            raise Broken("FSYNC_FAILED", "fsync failed with errno 5")


@pytest.fixture
def diary(world: DeltaWorld) -> DiskDiary:
    """What this world's disk was asked for."""
    world.disk = made = DiskDiary()
    return made


def test_rows_are_durable_before_the_commit_and_the_commit_before_the_receipt(world: DeltaWorld, diary: DiskDiary) -> None:
    """Data file, its folder, the text of the log entry, then the commit, then the log's folder: each before the next."""
    sink = world.sink()
    diary.notes.clear()
    receipt = sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    before, after = receipt.version - 1, receipt.version
    data = next(Path(path).name for path in DeltaTable(world.path).file_uris())
    draft = diary.notes[2][1]
    assert draft.startswith(f".{after:020d}")
    assert diary.notes == [
        ("file", data, before),
        ("folder", "table", before),
        ("file", draft, before),
        ("folder", "_delta_log", after),
    ]


def test_every_partition_is_durable_before_the_commit(world: DeltaWorld, diary: DiskDiary) -> None:
    """Of a batch with many partitions each file, its folder and all folders above it are durable before the commit, also those not new."""
    world.settings = replace(world.settings, partition_by=("_partition", "number"))
    sink = world.sink()
    for start in (0, 10):
        diary.notes.clear()
        receipt = sink.commit([sink.stage(world.batch(LANE, start, start + 10, first=start == 0))])
        before = {(kind, name) for kind, name, version in diary.notes if version == receipt.version - 1 and not name.endswith(".tmp")}
        new = [Path(file.path) for file in active_files(DeltaTable(world.path)) if file.partition_values["number"] >= start]
        assert len(new) == receipt.files == 10
        assert before == {("file", file.name) for file in new} | {("folder", f"number={number}") for number in range(start, start + 10)} | {
            ("folder", "_partition=0"),
            ("folder", "table"),
        }


def test_entries_of_others_are_made_durable_before_anything_is_built_on_them(world: DeltaWorld, diary: DiskDiary) -> None:
    """A process that was killed between its commit and its fsync must not pull our commit down with it."""
    ours = world.sink("ours")
    world.disk = Disk()
    theirs = world.sink("theirs")
    landed = theirs.commit([theirs.stage(world.batch(LANE, 0, 10, first=True))])
    diary.notes.clear()
    ours.positions([LANE])
    assert ("file", Path(log_name(landed.version)).name, landed.version) in diary.notes


def test_a_log_that_took_the_place_of_ours_is_durable_before_anything_is_built_on_it(world: DeltaWorld, diary: DiskDiary) -> None:
    """A folder that was set back and written to again holds entries that nobody here has looked at, under numbers that were seen."""
    sink = world.sink()
    version = sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))]).version
    newest = Path(world.path) / log_name(version)
    newest.unlink()
    DeltaTable(world.path).alter.set_table_properties({"delta.appendOnly": "false"})
    diary.notes.clear()
    assert sink.positions([LANE]) == {LANE: None}
    assert ("file", newest.name, version) in diary.notes


def test_letters_that_another_process_began_are_durable_before_anything_is_buried(world: DeltaWorld, diary: DiskDiary) -> None:
    """Whoever made the table of dead letters after our start may have been killed before its first sync: its folder would go with ours."""
    ours = DeltaDeadLetters(world.home())
    world.disk = Disk()
    DeltaDeadLetters(world.home("theirs")).claim([LANE])
    diary.notes.clear()
    ours.claim([LANE])
    synced = {(kind, name) for kind, name, version in diary.notes if version < 2}
    assert synced >= {("file", Path(log_name(0)).name), ("file", Path(log_name(1)).name), ("folder", Path(world.path).parent.name)}


@pytest.mark.parametrize("landed_since", [False, True])
def test_spans_that_another_process_rolled_up_are_durable_before_the_log_is_cleaned(
    world: DeltaWorld, diary: DiskDiary, landed_since: bool
) -> None:
    """Whoever rolled them up first may have been killed before the sync: the log that still holds them must not be cleaned up on that."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    roll_up(DeltaTable(world.path), world.path, {}, 0.0, Disk())
    if landed_since:
        sink.commit([sink.stage(world.batch(LANE, 10, 20))])
    diary.notes.clear()
    assert roll_up(DeltaTable(world.path), world.path, {}, 0.0, diary) == int(landed_since)
    synced = {(kind, name) for kind, name, _ in diary.notes}
    assert synced >= {("file", Path(log_name(0)).name), ("file", Path(log_name(1)).name), ("folder", Path(world.path).parent.name)}


def test_a_start_makes_the_newest_entries_durable_once(world: DeltaWorld, diary: DiskDiary) -> None:
    """Each sync of a file costs a turn of the disk, and hundreds of entries are synced: never twice, unless something came in between."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    diary.notes.clear()
    world.home("run-2")
    synced = Counter(name for kind, name, _ in diary.notes if kind == "file" and name.endswith(".json"))
    assert synced == {Path(log_name(version)).name: 1 for version in range(DeltaTable(world.path).version() + 1)}


def test_what_comes_in_the_middle_of_a_start_is_durable_at_its_end(world: DeltaWorld, diary: DiskDiary) -> None:
    """Another process commits and is killed before its sync, after this start has looked at the log and before it opens the table."""
    world.home()
    diary.notes.clear()

    def meddled(settings: DeltaSettings) -> DeltaTable:
        DeltaTable(settings.path).alter.set_table_properties({"delta.appendOnly": "false"})
        return open_handle(settings)

    world.opener = meddled
    world.home("run-2")
    newest = DeltaTable(world.path).version()
    assert newest > 0
    assert ("file", Path(log_name(newest)).name, newest) in diary.notes


@pytest.mark.parametrize(("failing", "position"), [(".parquet", None), (".landfast.tmp", None), ("_delta_log", 10)])
@pytest.mark.museum(10)
def test_s6_a_failed_fsync_stops_the_run(world: DeltaWorld, diary: DiskDiary, failing: str, position: int | None) -> None:
    """A second fsync would succeed and mean nothing; the next run finds in the table what is true."""
    sink = world.sink()
    diary.failing = failing
    with pytest.raises(Broken) as caught:
        sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    assert caught.value.code == "FSYNC_FAILED"
    diary.failing = None
    later = world.sink("later")
    assert later.positions([LANE]) == {LANE: position}
    if position is None:
        later.commit([later.stage(world.batch(LANE, 0, 10, first=True))])
    assert world.landed() == [("events", 0, offset) for offset in range(10)]


def test_a_draft_that_vanishes_while_a_folder_is_looked_at_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer has put its entry at that moment: the log is not taken for one that is not there."""
    listed = os.scandir
    for name in ("entry", "draft"):
        (tmp_path / name).write_bytes(b"12345")

    def then_gone(path: Path) -> Iterator[os.DirEntry[str]]:
        with listed(path) as entries:
            found = list(entries)
        (tmp_path / "draft").unlink(missing_ok=True)
        return iter(found)

    monkeypatch.setattr(os, "scandir", then_gone)
    assert LocalFiles(tmp_path, Disk()).sizes(".") == {"entry": 5}
