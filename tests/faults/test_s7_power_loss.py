"""Whatever a cut of the power leaves of a local table: nothing that was promised is lost, and nothing comes twice."""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from landfast.core.report import RunReport
from landfast.errors import Broken
from landfast.events import Notice
from tests.faults.power_disk import Moment, PowerDisk
from tests.faults.power_images import Cut, cuts
from tests.faults.power_world import IN_ONE_GO, EntityWorld, PowerWorld

IMAGES_MAX = int(os.environ.get("LANDFAST_POWER_IMAGES", "64"))
"""How many images each test tries; they are drawn evenly from all of them."""
SEED = int(os.environ.get("LANDFAST_POWER_SEED", "1"))
DRAWN_MAX = max(6, IMAGES_MAX // 100)

AS_A_POWER_CUT_LEAVES_IT = {"TAIL_EMPTY", "TAIL_TORN"}
"""Of a run of ours. What another tool may leave, such as half a checkpoint, is in `test_bad_checkpoints.py`."""


def recorded(folder: Path, world: PowerWorld) -> Sequence[Moment]:
    """Every moment of a run at which the power may go."""
    disk = PowerDisk(folder, world.told)
    assert world.wrong(folder, world.run(folder, disk)) == []
    return disk.moments


def sample(found: Sequence[Cut]) -> Sequence[Cut]:
    """As many of these as are to be tried, evenly."""
    return found[:: max(1, -(-len(found) // IMAGES_MAX))]


def recovered(folder: Path, cut: Cut, counts: Counter[str], kind: type[PowerWorld] = PowerWorld) -> None:
    """Start anew on this image, with a log that has forgotten all that was acknowledged, and land the rest."""
    folder.mkdir()
    cut.write(folder)
    world = world_after(cut, kind)
    report = started(folder, world, counts)
    codes = {event.code for event in world.observer.of(Notice)}
    assert codes <= AS_A_POWER_CUT_LEAVES_IT, cut.told()
    counts.update(codes)
    assert world.wrong(folder, report) == [], cut.told()
    shutil.rmtree(folder)


def world_after(cut: Cut, kind: type[PowerWorld] = PowerWorld) -> PowerWorld:
    """The log as it is after the cut: it has forgotten all that was acknowledged."""
    world = kind()
    world.forget(cut.moment.told)
    return world


def started(folder: Path, world: PowerWorld, counts: Counter[str]) -> RunReport:
    """A run; where it stops at a damaged newest entry, what its next step says is done by hand before another one."""
    for _ in range(3):
        try:
            return world.run(folder, limits=IN_ONE_GO)
        except Broken as error:
            move_away(error)
            counts["LOG_CORRUPT, mended by hand"] += 1
    return world.run(folder, limits=IN_ONE_GO)


def move_away(error: Broken) -> None:
    """What the next step of a damaged entry says: it is the newest, so nothing was built on it."""
    assert error.code == "LOG_CORRUPT", error
    name = re.search(r"log entry (_delta_log/\d+\.json) of (\S+)", error.message)
    assert name is not None, error
    entry = Path(name[2]) / name[1]
    assert entry == max(entry.parent.glob("*.json")), error
    entry.rename(entry.with_suffix(".by-hand"))


def told(what: str, found: Sequence[Cut], tried: Sequence[Cut], counts: Counter[str]) -> None:
    """Print what was tried: the figures that the docs quote."""
    seen = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    print(f"\n{what}: {len(tried)} of {len(found)} crash images tried (seed {SEED}); 0 lost, 0 doubled; {seen}")  # noqa: T201 — its figures


@pytest.mark.long
@pytest.mark.museum(10, 25)
def test_s7_power_loss_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Writes that were never synced are dropped, torn, zeroed and reordered: what was acknowledged is there, the rest lands once."""
    first = tmp_path / "first"
    first.mkdir()
    found = list(cuts(recorded(first, PowerWorld()), SEED, DRAWN_MAX))
    counts: Counter[str] = Counter()
    for cut in sample(found):
        recovered(tmp_path / "image", cut, counts)
    told("a run", found, sample(found), counts)
    assert len(sample(found)) >= min(IMAGES_MAX, len(found)) // 2


@pytest.mark.long
@pytest.mark.usefixtures("unmeasured")
def test_s7_power_loss_at_any_moment_leaves_the_newest_of_each_key(tmp_path: Path) -> None:
    """In a table with one row per key, whose files take the place of others: nothing older comes back, and no key has two rows."""
    first = tmp_path / "first"
    first.mkdir()
    found = list(cuts(recorded(first, EntityWorld()), SEED, DRAWN_MAX))
    tried = found[:: max(1, -(-2 * len(found) // IMAGES_MAX))]
    counts: Counter[str] = Counter()
    for cut in tried:
        recovered(tmp_path / "image", cut, counts, EntityWorld)
    told("a run with one row per key", found, tried, counts)
    assert len(tried) >= min(IMAGES_MAX, len(found)) // 4


@pytest.mark.long
@pytest.mark.usefixtures("unmeasured")
def test_s7_power_loss_in_the_recovery_from_power_loss_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The power goes again, at any moment of the run that mends what the first cut has left."""
    first = tmp_path / "first"
    first.mkdir()
    earlier = list(cuts(recorded(first, PowerWorld()), SEED, DRAWN_MAX))
    random.Random(SEED).shuffle(earlier)
    counts: Counter[str] = Counter()
    later: list[Cut] = []
    tried: list[Cut] = []
    for number, cut in zip(itertools.count(), earlier[: IMAGES_MAX // 8], strict=False):
        folder = tmp_path / f"second-{number}"
        folder.mkdir()
        cut.write(folder)
        world = world_after(cut)
        disk = PowerDisk(folder, lambda told=cut.moment.told, world=world: {**told, **world.told()})
        try:
            world.run(folder, disk, IN_ONE_GO)
        except Broken:
            continue  # that a person has to look at it was shown above
        again = list(cuts(disk.moments, SEED, DRAWN_MAX))
        later += again
        for one in again[:: max(1, len(again) // 4)][:4]:
            recovered(tmp_path / "image", one, counts)
            tried.append(one)
    told("recoveries", later, tried, counts)
    assert len(tried) >= min(IMAGES_MAX, len(earlier)) // 4


def test_s7_a_checkpoint_is_durable_before_anybody_sees_it(tmp_path: Path) -> None:
    """At no moment of its making is there a checkpoint in the log, or a hint, whose content the disk does not hold for certain."""
    folder = tmp_path / "lake"
    folder.mkdir()
    moments = recorded(folder, PowerWorld())
    seen = 0
    for moment in moments:
        for name, choices in moment.names.items():
            place, _, own = name.rpartition("/")
            if place.endswith("/_delta_log") and "_landfast_checkpoint-" not in place and ("checkpoint" in own):
                seen += 1
                assert all(node is None or len(node.contents) == 1 for node in choices), (moment.what, name)
    assert seen
