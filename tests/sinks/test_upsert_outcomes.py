"""What an upsert does when its answer is lost, when others come between, and when it is cut off at any act of the disk."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest
from deltalake import DeltaTable

from landfast.errors import Broken, Conflict, Unavailable
from landfast.model import Position
from landfast.sinks.delta import DeltaSink
from landfast.sinks.delta.files.local import Disk, LocalFiles
from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings
from tests.sinks.delta_trouble import Trouble, nothing, raising, troubled
from tests.sinks.delta_world import DeltaWorld, stream
from tests.sinks.entity_world import BY_TIME, Event, batch, before, entities_at, event_at, held, newest_of

STEP = 6


class Cut(BaseException):
    """The process ends here."""


class CutDisk(Disk):
    """A disk on which the process ends before the act of a number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.acts = 0

    def _act(self) -> None:
        self.acts += 1
        if self.acts == self.number:
            raise Cut

    def sync_file(self, path: Path) -> None:
        """See `Disk`."""
        self._act()
        super().sync_file(path)

    def sync_folder(self, path: Path) -> None:
        """See `Disk`."""
        self._act()
        super().sync_folder(path)

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`."""
        self._act()
        super().link(path, name)


@pytest.fixture
def entities(tmp_path: Path) -> DeltaWorld:
    """A table with one row per id that does not exist yet."""
    return entities_at(tmp_path, BY_TIME)


@pytest.fixture
def trouble(entities: DeltaWorld) -> Trouble:
    """The trouble that its commits meet."""
    return troubled(entities)


def land(sink: DeltaSink, partition: int = 0) -> Position:
    """The next step of a partition; where it ends."""
    lane = stream(partition)
    position = sink.positions([lane])[lane] or 0
    assert isinstance(position, int)
    sink.commit([sink.stage(batch([event_at(partition, offset) for offset in range(position, position + STEP)]))])
    return position + STEP


def demand(world: DeltaWorld, **ends: int) -> None:
    """What a dictionary comes to, and the proof."""
    assert held(world.path) == newest_of(before({int(name[1:]): end for name, end in ends.items()}), BY_TIME)
    assert verify_table(world.path).findings == ()


def test_an_upsert_whose_answer_was_lost_lands_once(entities: DeltaWorld, trouble: Trouble) -> None:
    """The commit is in, the call fails: the receipt says so, and the next one goes on."""
    sink = entities.sink()
    land(sink)
    trouble.after.append(raising(OSError("Generic S3 error: error sending request: operation timed out")))
    assert sink.commit([sink.stage(batch([event_at(0, offset) for offset in range(STEP, 2 * STEP)]))]).already
    land(sink)
    demand(entities, p0=3 * STEP)


def test_an_upsert_that_failed_before_its_effect_lands_at_the_next_attempt(entities: DeltaWorld, trouble: Trouble) -> None:
    """Nothing is in, and the same staged rows land later."""
    sink = entities.sink()
    land(sink)
    staged = sink.stage(batch([event_at(0, offset) for offset in range(STEP, 2 * STEP)]))
    trouble.before.append(raising(OSError("Generic S3 error: connection reset by peer")))
    with pytest.raises(Unavailable):
        sink.commit([staged])
    assert not sink.commit([staged]).already
    demand(entities, p0=2 * STEP)


def test_whoever_loses_a_race_looks_at_what_came_between_and_at_nothing_twice(
    entities: DeltaWorld, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker rewrites one of two files at the last moment: it is worked out again for that one, and both are in."""
    sink, other = entities.sink("one"), entities.sink("other")
    sink.commit([sink.stage(batch([Event(0, 0, "a", 9), Event(0, 1, "b", 1)]))])
    (stays,) = (file.path for file in active_files(DeltaTable(entities.path)))
    sink.commit([sink.stage(batch([Event(0, 2, "c", 1), Event(0, 3, "d", 1)]))])
    opened: list[str] = []
    as_it_was = LocalFiles.open

    def told(files: LocalFiles, name: str) -> IO[bytes]:
        opened.append(name)
        return as_it_was(files, name)

    theirs = other.stage(batch([Event(1, 0, "c", 5)]))
    trouble.before.append(lambda: (other.commit([theirs]), opened.clear())[1])
    staged = sink.stage(batch([Event(0, 4, "a", 1), Event(0, 5, "c", 7)]))
    monkeypatch.setattr(LocalFiles, "open", told)
    sink.commit([staged])
    assert held(entities.path) == {"a": ("0/0", False), "b": ("0/1", False), "c": ("0/5", False), "d": ("0/3", False)}
    assert opened
    assert stays not in opened


def test_a_file_that_somebody_takes_away_between_two_attempts_is_not_named(entities: DeltaWorld, trouble: Trouble) -> None:
    """It would be lost for good: the batch is read again."""
    sink, other = entities.sink("one"), entities.sink("other")
    kept = {path.name for path in Path(entities.path).glob("*.parquet")}

    def interfere() -> None:
        for path in Path(entities.path).glob("*.parquet"):
            if path.name not in kept:
                path.unlink()
        other.commit([other.stage(batch([Event(1, 0, "far away", 1)]))])

    trouble.before += [interfere, nothing]
    with pytest.raises(Conflict) as caught:
        land(sink)
    assert caught.value.code == "STAGED_FILE_GONE"
    land(sink)
    assert held(entities.path) == newest_of([*before({0: STEP}), Event(1, 0, "far away", 1)], BY_TIME)


def test_others_who_are_always_faster_make_it_wait(entities: DeltaWorld, trouble: Trouble) -> None:
    """After so many attempts it is not now; nothing has landed of it."""
    entities.settings = entities_at(Path(entities.path).parent, BY_TIME, commit_attempts_max=2).settings
    sink, other = entities.sink("one"), entities.sink("other")
    trouble.before += [lambda: (land(other, 1), None)[1], nothing, lambda: (land(other, 1), None)[1], nothing]
    with pytest.raises(Unavailable) as caught:
        land(sink)
    assert caught.value.code == "COMMIT_CONFLICT"
    demand(entities, p0=0, p1=2 * STEP)


def test_a_compaction_and_an_upsert_of_the_same_files_do_not_undo_each_other(entities: DeltaWorld, trouble: Trouble) -> None:
    """Files are joined at the last moment before a commit that rewrites them: it is worked out again on the joined one."""
    sink, keeper_home = entities.sink("one"), entities.home("keeper")
    for _ in range(4):
        land(sink)
    often = MaintenanceSettings(compaction_interval_seconds=0.0, compaction_files_min=2)
    keeper = Maintenance(often, keeper_home.settings, entities.clock, entities.ears)
    version = DeltaTable(entities.path).version()
    trouble.before.append(lambda: (keeper.after_commits(version, 1, 10.0), None)[1])
    land(sink)
    assert '"landfast.compaction"' in (Path(entities.path) / log_name(version + 1)).read_text()
    demand(entities, p0=5 * STEP)


@pytest.mark.parametrize("cut", ["remove", "add"])
def test_an_entry_that_lost_its_last_lines_is_not_taken_for_whole(entities: DeltaWorld, cut: str) -> None:
    """It tells how many files it takes out and puts in, so a cut between two lines is seen before anything is built upon it."""
    sink = entities.sink()
    for updated in range(2):
        sink.commit([sink.stage(batch([Event(0, 2 * updated, "a", updated), Event(0, 2 * updated + 1, f"b{updated}", 1)]))])
    target = Path(entities.path) / log_name(DeltaTable(entities.path).version())
    lines = target.read_text().splitlines()
    assert any(f'{{"{cut}"' in line for line in lines)
    target.write_text("\n".join(line for line in lines if not line.startswith(f'{{"{cut}"')))
    with pytest.raises(Broken) as caught:
        entities.sink("next")
    assert caught.value.code == "LOG_CORRUPT"


@pytest.mark.long
def test_a_process_that_ends_before_any_act_of_the_disk_leaves_the_newest_of_each_key(tmp_path: Path) -> None:
    """Whoever comes next reads the position, lands the rest, and the table is what it would have been."""
    number = 0
    while True:
        number += 1
        world = entities_at(tmp_path / str(number), BY_TIME)
        for partition in range(2):
            land(world.sink("before"), partition)
        world.disk = disk = CutDisk(number)
        try:
            sink = world.sink("cut off")
            for partition in (0, 1):
                land(sink, partition)
        except Cut:
            pass
        world.disk = Disk()
        sink = world.sink("after")
        for partition in range(2):
            while land(sink, partition) < 3 * STEP:
                pass
        position = sink.positions([stream(0), stream(1)])
        demand(world, p0=int(str(position[stream(0)])), p1=int(str(position[stream(1)])))
        if disk.acts < number:
            break
    assert number > 10
