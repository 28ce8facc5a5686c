"""An upsert that takes long, beside others who commit all the time: what it has done for one version it does not do again for the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from deltalake import DeltaTable

from landfast.sinks.delta import DeltaSink
from landfast.sinks.delta.files.local import Disk, LocalFiles
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.upserting import upsert as upserting
from tests.redrive.entity_letters_world import batch_with_dead, entity_scene, letter_of
from tests.sinks.delta_proof import bury
from tests.sinks.delta_trouble import troubled
from tests.sinks.delta_world import stream
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
