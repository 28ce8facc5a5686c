"""What becomes of a commit whose log was changed under it: cleaned up, set back, created anew, exchanged, damaged by another writer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.errors import Broken, Conflict
from landfast.events import OutcomeResolved
from landfast.model import Stream
from landfast.sinks.delta import DeltaDeadLetters, DeltaSink, letters_path
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.names import log_name
from landfast.threads import side_by_side
from tests.sinks.delta_proof import letter
from tests.sinks.delta_world import NUMBERS, DeltaWorld, stream

LANE, OTHER = stream(0), stream(1)


class StoppedDisk(Disk):
    """A disk whose process stands still once, right before or right after a log entry gets its name."""

    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`."""
        before, self.before = self.before, None
        if before is not None:
            before()
        super().link(path, name)
        after, self.after = self.after, None
        if after is not None:
            after()


def land(world: DeltaWorld, sink: DeltaSink, lane: Stream, start: int, end: int) -> None:
    """Land these records in one commit."""
    sink.commit([sink.stage(world.batch(lane, start, end, first=start == 0))])


def clean_up(path: str, up_to: int) -> None:
    """A checkpoint at the newest version, and a clean-up of everything below the given one, as other tools do it."""
    DeltaTable(path).create_checkpoint()
    for version in range(up_to):
        (Path(path) / log_name(version)).unlink(missing_ok=True)


def others_go_on(world: DeltaWorld, kept_from: int) -> Callable[[], None]:
    """Another owner lands another stream, and the log is cleaned up to this many versions after where it is now."""
    up_to = DeltaTable(world.path).version() + kept_from

    def meanwhile() -> None:
        world.disk = Disk()
        owner = world.sink("owner")
        for start in (0, 10, 20):
            land(world, owner, OTHER, start, start + 10)
        clean_up(world.path, up_to)

    return meanwhile


@pytest.mark.parametrize("kept_from", [1, 2, 3, 4])
def test_a_clean_up_that_passes_a_stopped_process_costs_no_row(world: DeltaWorld, kept_from: int) -> None:
    """Wherever the clean-up ends, what lies where nobody reads it is no commit: the rows land after it, and no position is invented."""
    world.disk = disk = StoppedDisk()
    sleeper = world.sink("sleeper")
    land(world, sleeper, LANE, 0, 10)
    late = sleeper.stage(world.batch(LANE, 10, 15))
    disk.before = others_go_on(world, kept_from)
    sleeper.commit([late])
    assert sleeper.positions([LANE]) == {LANE: 15}
    land(world, sleeper, LANE, 15, 20)
    assert world.sink("later").positions([LANE]) == {LANE: 20}
    assert world.landed() == [("events", 0, offset) for offset in range(20)] + [("events", 1, offset) for offset in range(30)]


def test_a_commit_that_is_in_before_the_clean_up_lands_once(world: DeltaWorld) -> None:
    """Stopped right after the commit, until its entry is gone: the rows are in once, and the process goes on from there."""
    world.disk = disk = StoppedDisk()
    sleeper = world.sink("sleeper")
    land(world, sleeper, LANE, 0, 10)
    late = sleeper.stage(world.batch(LANE, 10, 15))
    disk.after = others_go_on(world, 4)
    with pytest.raises(Conflict):
        sleeper.commit([late])
    assert sleeper.positions([LANE]) == {LANE: 15}
    land(world, sleeper, LANE, 15, 20)
    assert [row for row in world.landed() if row[1] == 0] == [("events", 0, offset) for offset in range(20)]


def test_a_table_that_keeps_no_log_loses_nothing(world: DeltaWorld) -> None:
    """Another tool cleans the log up every moment, far quicker than anything of ours: both workers' rows are all there."""
    one, two = world.sink("one"), world.sink("two")
    land(world, one, LANE, 0, 10)
    land(world, two, OTHER, 0, 10)
    DeltaTable(world.path).alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    for start in (10, 20, 30):
        land(world, two, OTHER, start, start + 10)
        clean_up(world.path, DeltaTable(world.path).version())
        land(world, one, LANE, start, start + 10)
    assert world.landed() == [("events", lane, offset) for lane in (0, 1) for offset in range(40)]


def test_dead_letters_survive_a_clean_up_that_passes_a_stopped_process(world: DeltaWorld) -> None:
    """A put returns when its letters can be read, wherever the log of their table went meanwhile."""
    world.disk = disk = StoppedDisk()
    sleeper = DeltaDeadLetters(world.home("sleeper"))
    sleeper.claim([LANE])
    sleeper.put([letter(LANE, 0)])
    path = letters_path(world.path)
    up_to = DeltaTable(path).version() + 4

    def others_bury() -> None:
        world.disk = Disk()
        other = DeltaDeadLetters(world.home("other"))
        other.claim([OTHER])
        for offset in range(3):
            other.put([letter(OTHER, offset)])
        clean_up(path, up_to)

    disk.before = others_bury
    sleeper.put([letter(LANE, 7)])
    sleeper.put([letter(LANE, 8)])
    assert DeltaDeadLetters(world.home("later")).buried(LANE, 0) == {0, 7, 8}


def test_a_take_over_that_nobody_reads_is_made_again(world: DeltaWorld) -> None:
    """A process that stood still while a clean-up passed has not taken anything over by what it wrote below it."""
    world.disk = disk = StoppedDisk()
    sleeper = world.sink("sleeper")
    sleeper.take_over([OTHER])
    up_to = DeltaTable(world.path).version() + 3
    owners: list[DeltaSink] = []

    def the_owner_comes() -> None:
        world.disk = Disk()
        owners.append(world.sink("owner"))
        owners[0].take_over([LANE])
        for start in (0, 10, 20):
            land(world, owners[0], LANE, start, start + 10)
        clean_up(world.path, up_to)

    disk.before = the_owner_comes
    assert sleeper.take_over([LANE]) == {LANE: 30}
    land(world, sleeper, LANE, 30, 35)
    with pytest.raises(Conflict):
        land(world, owners[0], LANE, 35, 40)


def created_anew(path: Path) -> None:
    """The table is dropped, and an empty one created."""
    shutil.rmtree(path)
    DeltaTable.create(path, NUMBERS)


def exchanged(path: Path) -> None:
    """A table with more versions is moved into its place."""
    other = path.with_name("other")
    table = DeltaTable.create(other, DeltaTable(path).schema())
    for _ in range(12):
        table.create_write_transaction([], "append", table.schema())
        table.update_incremental()
    path.rename(path.with_name("away"))
    other.rename(path)


@pytest.mark.parametrize("change", [created_anew, exchanged])
def test_no_commit_goes_into_another_table(world: DeltaWorld, change: Callable[[Path], None]) -> None:
    """The run stops, and the other table stays as it is."""
    sink = world.sink()
    for start in (0, 10, 20):
        land(world, sink, LANE, start, start + 10)
    change(Path(world.path))
    before = DeltaTable(world.path).version()
    with pytest.raises(Broken) as caught:
        land(world, sink, LANE, 30, 40)
    assert caught.value.code == "TABLE_REPLACED"
    assert DeltaTable(world.path).version() == before


def test_a_folder_that_was_set_back_is_followed(world: DeltaWorld) -> None:
    """Rows and positions went back together: the batch is refused, the records are read again, and the table stays readable."""
    sink = world.sink()
    land(world, sink, LANE, 0, 10)
    copy = Path(world.path).with_name("copy")
    shutil.copytree(world.path, copy)
    for start in (10, 20):
        land(world, sink, LANE, start, start + 10)
    shutil.rmtree(world.path)
    shutil.copytree(copy, world.path)
    with pytest.raises(Conflict):
        land(world, sink, LANE, 30, 40)
    assert sink.positions([LANE]) == {LANE: 10}
    land(world, sink, LANE, 10, 40)
    assert world.landed() == [("events", 0, offset) for offset in range(40)]


@pytest.mark.parametrize(
    "left", [b"", b"\0" * 200, b'{"commitInfo":{"operation":"WRITE"}}\n{"add":{"path":"x'], ids=["empty", "zeros", "cut"]
)
def test_nothing_is_built_on_a_damaged_entry(world: DeltaWorld, left: bytes) -> None:
    """Another writer's host fell while it wrote: the run stops with the entry's name, and the next start mends the end of the log."""
    sink = world.sink()
    land(world, sink, LANE, 0, 10)
    version = DeltaTable(world.path).version() + 1
    (Path(world.path) / log_name(version)).write_bytes(left)
    with pytest.raises(Broken) as caught:
        land(world, sink, LANE, 10, 20)
    assert caught.value.code == "LOG_CORRUPT"
    assert log_name(version) in caught.value.message
    assert not (Path(world.path) / log_name(version + 1)).exists()
    later = world.sink("later")
    land(world, later, LANE, 10, 20)
    assert world.landed() == [("events", 0, offset) for offset in range(20)]


def test_a_stream_not_asked_for_before_needs_no_file_of_an_old_handle(world: DeltaWorld) -> None:
    """The handle behind a kept view may be older than the log: then it is opened anew, and nobody is told that the table is gone."""
    sink = world.sink()
    for start in (0, 10, 20):
        land(world, sink, LANE, start, start + 10)
    clean_up(world.path, DeltaTable(world.path).version())
    land(world, sink, OTHER, 0, 10)
    assert sink.positions([OTHER]) == {OTHER: 10}


def test_a_restore_right_after_a_commit_is_no_broken_invariant(world: DeltaWorld) -> None:
    """Another thread of the process has seen the restore already: what landed before it has landed."""
    world.disk = disk = StoppedDisk()
    sink = world.sink()
    land(world, sink, LANE, 0, 10)
    late = sink.stage(world.batch(LANE, 10, 15))

    def restored() -> None:
        table = DeltaTable(world.path)
        table.restore(table.version() - 1)
        assert getattr(sink.positions([LANE])[LANE], "code", None) == "LINEAGE_BROKEN"

    disk.after = restored
    assert not sink.commit([late]).already
    assert not [event for event in world.ears.heard if isinstance(event, OutcomeResolved)]


def test_a_table_that_demands_more_than_we_do_gets_nothing(world: DeltaWorld) -> None:
    """A demand that came while running holds for take-overs and letters as for commits: no entry lacks what the table asks of it."""
    sink, letters = world.sink(), DeltaDeadLetters(world.home("letters"))
    letters.claim([LANE])
    letters.put([letter(LANE, 0)])
    for path in (world.path, letters_path(world.path)):
        DeltaTable(path).alter.add_constraint({"odd": "_partition >= 0" if path == world.path else "partition >= 0"})
    before = [DeltaTable(path).version() for path in (world.path, letters_path(world.path))]
    acts: list[Callable[[], object]] = [
        lambda: sink.take_over([LANE]),
        lambda: letters.put([letter(LANE, 1)]),
        lambda: letters.claim([OTHER]),
    ]
    for act in acts:
        with pytest.raises(Broken) as caught:
            act()
        assert caught.value.code == "PROTOCOL_UNSUPPORTED"
    assert [DeltaTable(path).version() for path in (world.path, letters_path(world.path))] == before


def test_workers_that_race_for_every_version_all_land(world: DeltaWorld) -> None:
    """Many commits at once, each at a version of its own: nobody gives up, whoever loses a race follows and tries the next version."""
    world.home()
    # Each attempt that is lost is another worker's commit, and of those there are 33.
    sinks = [world.sink(f"worker-{number}", commit_attempts_max=34) for number in range(12)]

    def work(number: int) -> None:
        lane = stream(number)
        for start in (0, 5, 10):
            sinks[number].commit([sinks[number].stage(world.batch(lane, start, start + 5, first=start == 0))])

    side_by_side(work, range(12), threads=12, name="racing")
    assert len(world.landed()) == 12 * 15
