"""An upsert that takes long, beside others who commit all the time: what it has done for one version it does not do again for the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from deltalake import DeltaTable

from landfast.sinks.delta import DeltaSink
from landfast.sinks.delta.files.local import Disk, LocalFiles
from landfast.sinks.delta.landing.turns import LOST_BEFORE_ASKING, TURN_SECONDS_MAX, Turns
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.upserting import upsert as upserting
from landfast.testing.wait import wait_until
from tests.redrive.entity_letters_world import batch_with_dead, entity_scene, letter_of
from tests.sinks.delta_proof import bury
from tests.sinks.delta_trouble import troubled
from tests.sinks.delta_world import QuickClock, stream
from tests.sinks.entity_world import BY_TIME, Event, batch, entities_at, held, newest_of


class Rewriting:
    """Which files are written again, and which are opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[str] = []
        self.opened: list[str] = []
        write, opened = upserting.written_again, LocalFiles.open

        def told_write(files: Any, path: str, *rest: Any) -> Any:
            self.written.append(path)
            return write(files, path, *rest)

        def told_open(files: LocalFiles, name: str) -> IO[bytes]:
            self.opened.append(name)
            return opened(files, name)

        monkeypatch.setattr(upserting, "written_again", told_write)
        monkeypatch.setattr(LocalFiles, "open", told_open)


def test_whoever_commits_at_each_attempt_makes_it_write_no_file_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of other keys, a take-over and a replay come right before each of its attempts: it goes on from what it has, and lands."""
    scene = entity_scene(tmp_path, BY_TIME, world=entities_at(tmp_path, BY_TIME))
    others = replace(scene.world, disk=Disk())
    sink = others.sink("before")
    kept: list[Event] = []
    for first, names in ((0, "ab"), (2, "cd")):
        kept += (events := [Event(0, first + index, name, 1) for index, name in enumerate(names)])
        sink.commit([sink.stage(batch(events))])
    bury(others, letter_of(Event(2, 1, "x", 9)))
    sink.commit([sink.stage(batch_with_dead([Event(2, 0, "y", 1), Event(2, 1, "x", 9)], {1}))])
    theirs = [Event(1, offset, f"far {offset}", 1) for offset in range(4)]
    far = others.sink("far")
    acts: list[Callable[[], object]] = [
        *(lambda event=event: far.commit([far.stage(batch([event]))]) for event in theirs),
        lambda: others.sink("owner").take_over([stream(5)]),
        scene.replay,
    ]
    trouble = troubled(scene.world)
    rewriting = Rewriting(monkeypatch)
    slow: DeltaSink = scene.world.sink("slow")
    first_files = {file.path for file in active_files(DeltaTable(scene.world.path))}
    seen: list[int] = []

    def between(act: Callable[[], object]) -> Callable[[], None]:
        def happen() -> None:
            act()
            seen.append(len(first_files & set(rewriting.opened)))
            rewriting.opened.clear()

        return happen

    ours = [Event(0, 4, "a", 5), Event(0, 5, "c", 5)]
    staged = slow.stage(batch(ours))
    trouble.before += [between(act) for act in acts]
    slow.commit([staged])
    assert len(seen) == len(acts)
    assert seen[0] == 2
    assert seen[1:-1] == [0] * (len(acts) - 2)
    assert len(rewriting.written) == 2
    landed = [*kept, *theirs, Event(2, 0, "y", 1), Event(2, 1, "x", 9), *ours]
    assert held(scene.world.path) == newest_of(landed, BY_TIME)
    assert scene.proof().findings == ()


class AtUpserts(Disk):
    """A disk on which something happens right before the entry of an upsert is put; what asks for a turn is let pass."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self.upserts = 0

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`."""
        if b'"MERGE"' in path.read_bytes():
            self.upserts += 1
            self._act()
        super().link(path, name)


class Waits(QuickClock):
    """A clock that says when somebody waits by it."""

    def __init__(self) -> None:
        self.waited = threading.Event()

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        if seconds > 0:
            self.waited.set()


def test_a_worker_that_always_comes_second_asks_for_a_turn_and_lands(tmp_path: Path) -> None:
    """The other's commits take out the files that it writes again, at each of its attempts, until the other lets it come first."""
    world, clock = entities_at(tmp_path, BY_TIME), Waits()
    before = world.sink("before")
    before.commit([before.stage(batch([Event(0, 0, "a", 1), Event(0, 1, "b", 1)]))])
    faster = replace(world, clock=clock).sink("faster")
    commits, done = [0], threading.Event()

    def hurry() -> None:
        while not done.is_set():
            faster.commit([faster.stage(batch([Event(1, commits[0], "a", 2 + commits[0])]))])
            commits[0] += 1

    def beaten() -> None:
        seen = commits[0]
        clock.waited.clear()
        wait_until(lambda: commits[0] > seen or clock.waited.is_set(), 60)

    disk = AtUpserts(beaten)
    slower = replace(world, disk=disk).sink("slower")
    rival = threading.Thread(target=hurry)
    rival.start()
    try:
        slower.commit([slower.stage(batch([Event(0, 2, "b", 5)]))])
    finally:
        done.set()
        rival.join(60)
    assert LOST_BEFORE_ASKING < disk.upserts < world.settings.commit_attempts_max
    assert '"landfast.act":"turn"' in "".join(path.read_text() for path in (Path(world.path) / "_delta_log").glob("*.json"))
    assert held(world.path) == {"a": (f"1/{commits[0] - 1}", False), "b": ("0/2", False)}
    assert verify_table(world.path).findings == ()
    version = DeltaTable(world.path).version()
    clock.waited.clear()
    faster.commit([faster.stage(batch([Event(1, commits[0], "a", 2 + commits[0])]))])
    assert (DeltaTable(world.path).version(), clock.waited.is_set()) == (version + 1, False)


class Passing(QuickClock):
    """A clock that goes on by what is waited."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        """See `Clock`."""
        return self.at

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        self.at += seconds


def test_nobody_waits_longer_than_was_asked_for_and_once_only(tmp_path: Path) -> None:
    """Whoever has asked may be gone. A worker does not wait for itself."""
    world, clock = entities_at(tmp_path, BY_TIME), Passing()
    waiting_home = replace(world, clock=clock).home("waiting")
    waiting = Turns(waiting_home)
    home = world.home("view")
    for seconds, wait in ((2.0, 4.0), (0.0, 1.0), (1e9, TURN_SECONDS_MAX)):
        gone = Turns(world.home("gone"))
        gone.ask(home.open(), seconds)
        began = clock.at
        waiting.heed(home.open())
        assert clock.at - began == pytest.approx(wait)
        waiting.heed(home.open())
        gone.heed(home.open())
        assert clock.at - began == pytest.approx(wait)
        version = DeltaTable(world.path).version()
        gone.ask(home.open(), 1.0)
        assert DeltaTable(world.path).version() == version
    passing = Turns(waiting_home)
    for asked in (1, 2):
        passing.ask(home.open(), 3.0)
        assert DeltaTable(world.path).version() == version + asked
        clock.at += 6.0
