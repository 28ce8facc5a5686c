"""A file between its writing and its commit: nobody of ours removes it, and no commit names one that is gone."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.errors import Conflict
from landfast.model import Batch, Decoded, Span, Staged
from landfast.sinks.delta import DeltaSink
from landfast.sinks.delta.files.staged import StagedNames
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.upkeep.maintenance import DAY_SECONDS, Maintenance, MaintenanceSettings
from landfast.sinks.delta.upkeep.sweep import Sightings
from tests.sinks.delta_proof import LANE, OTHER, land, made, proved_table
from tests.sinks.delta_world import DeltaWorld
from tests.sinks.test_maintenance import SteppingClock, upkeep

ONLY_SWEEPS = MaintenanceSettings(checkpoint_commits=1000, compaction_interval_seconds=math.inf)


def orphan_of(world: DeltaWorld, number: int) -> Path:
    """A file of ours that no commit names, older than the grace period."""
    file = Path(world.path) / f"landfast-{number:032x}.zstd.parquet"
    file.write_bytes(b"orphan")
    age(file)
    return file


def age(file: Path) -> None:
    """Let a file look as if it were older than the grace period: so it does when a clock was set forward."""
    long_ago = file.stat().st_mtime - 8 * DAY_SECONDS
    os.utime(file, (long_ago, long_ago))


def stage(sink: DeltaSink, part: tuple[Span, Decoded]) -> Staged:
    span, decoded = part
    return sink.stage(Batch(1, (span,), {span.stream: 1}, (decoded,)))


def files_of_batch(world: DeltaWorld, staged: Staged) -> list[Path]:
    return [Path(world.path) / file.path for file in staged.content]  # type: ignore[attr-defined]


def sweep(world: DeltaWorld, keeper: Maintenance) -> None:
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)


def test_a_file_is_swept_only_after_this_process_has_seen_it_for_long(world: DeltaWorld) -> None:
    """However old a file looks, a clock may have been set: it goes only when this process has seen it unwanted for an hour."""
    proved_table(world)
    old, clock = orphan_of(world, 1), SteppingClock()
    keeper = upkeep(world, ONLY_SWEEPS, clock)
    for clock.seconds in (0.0, 3599.0):
        sweep(world, keeper)
        assert old.exists()
    later = orphan_of(world, 2)
    clock.seconds = 3600.0
    sweep(world, keeper)
    assert not old.exists()
    assert later.exists()
    clock.seconds = 7200.0
    sweep(world, keeper)
    assert not later.exists()


def test_s12_staged_files_are_never_swept_by_their_own_process(world: DeltaWorld) -> None:
    """A file that waits for its commit stays, whatever the clocks say and however long it waits; then the commit lands whole."""
    proved_table(world)
    keeper = upkeep(world, replace(ONLY_SWEEPS, sweep_seen_seconds=0, sweep_interval_seconds=0))
    sink = DeltaSink(world.home("run-2"), keeper)
    staged = stage(sink, made(LANE, range(40, 44), 44))
    old = orphan_of(world, 1)
    for file in files_of_batch(world, staged):
        age(file)
    sweep(world, keeper)
    assert not old.exists()
    assert all(file.exists() for file in files_of_batch(world, staged))
    sink.commit([staged])
    assert verify_table(world.path).proved


def test_files_of_a_lost_batch_are_swept_in_the_end(world: DeltaWorld) -> None:
    """After a conflict nobody will commit a batch's files any more, so they are orphans like others."""
    proved_table(world)
    keeper = upkeep(world, replace(ONLY_SWEEPS, sweep_seen_seconds=0, sweep_interval_seconds=0))
    sink = DeltaSink(world.home("run-2"), keeper)
    staged = stage(sink, made(LANE, range(40, 44), 44))
    land(world.sink("run-3"), made(LANE, range(40, 44), 44))
    with pytest.raises(Conflict):
        sink.commit([staged])
    for file in files_of_batch(world, staged):
        age(file)
    sweep(world, keeper)
    assert not any(file.exists() for file in files_of_batch(world, staged))
    assert verify_table(world.path).proved


@pytest.mark.parametrize(
    "meddle",
    [pytest.param(Path.unlink, id="removed"), pytest.param(lambda file: file.write_bytes(b"shorter"), id="another-size")],
)
def test_a_commit_names_no_file_that_is_gone(world: DeltaWorld, meddle: Callable[[Path], object]) -> None:
    """Whoever took a staged file away: the commit is a conflict, no position moves, and reading again lands everything once."""
    sink = proved_table(world)
    positions = sink.positions([LANE, OTHER])
    staged = [stage(sink, made(LANE, range(start, start + 4), start + 4)) for start in (40, 44)]
    meddle(files_of_batch(world, staged[1])[0])
    with pytest.raises(Conflict) as caught:
        sink.commit(staged)
    assert (caught.value.code, caught.value.stream, caught.value.position) == ("STAGED_FILE_GONE", LANE, 44)
    assert sink.positions([LANE, OTHER]) == positions
    land(sink, made(LANE, range(40, 44), 44), made(LANE, range(44, 48), 48))
    assert verify_table(world.path).proved


def test_names_do_not_add_up() -> None:
    """What conflicts leave behind is forgotten, oldest first; and what cannot be remembered waits for its turn to be seen."""
    names = StagedNames(names_max=2)
    for name in ("a", "b", "c"):
        names.add(name)
    assert ("a" in names, "b" in names, "c" in names) == (False, True, True)
    names.discard(["b", "unknown"])
    assert "b" not in names
    sightings = Sightings(10.0, names_max=1)
    assert sightings.ripe(["x", "y"], 0.0) == []
    (first,) = sightings.ripe(["x", "y"], 10.0)
    (rest,) = {"x", "y"} - {first}
    assert sightings.ripe([rest], 15.0) == []
    assert sightings.ripe([rest], 25.0) == [rest]
