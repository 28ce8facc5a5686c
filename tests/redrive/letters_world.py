"""A real table with dead letters and the settings of its pipeline, for the tests of what people do with letters."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from landfast import LetterFilter, Redrive, ReplayReport, wiring
from landfast.audit import Verdict
from landfast.config import load
from landfast.model import Stream
from landfast.sinks.delta import DeltaSink
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.paths import trail_path
from landfast.sinks.delta.proof.coordinates import coordinates_of
from landfast.sinks.delta.proof.letters import LetterLimits, Letters
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.redrive.replay import Candidate, Replay, Result
from landfast.sinks.delta.redrive.trail import Trail
from tests.cli.table import settings_file
from tests.sinks.delta_proof import LANE, OTHER, bury, land, letter, made
from tests.sinks.delta_world import DeltaWorld, world_at

EVERYTHING = LetterFilter()
GOOD = {2: b'{"number": 2, "text": "two"}', 3: b'{"number": 3}', 5: b'{"number": 5}'}
QUOTED = b"{'number': 7}"
"""A value that is no JSON, and would be with other quotes."""


@dataclass
class Scene:
    """A table, its letters, and the settings of its pipeline."""

    world: DeltaWorld
    file: Path

    def redrive(self, **options: Any) -> Redrive:
        """What people do with its letters."""
        return Redrive(load(self.file), by="ann", **options)

    def replay(self, **options: Any) -> ReplayReport:
        """Replay every open letter."""
        return self.redrive().replay(where=EVERYTHING, **options)

    def proof(self) -> Verdict:
        """What the table proves of itself."""
        return verify_table(self.world.path, self.options)

    @property
    def options(self) -> Mapping[str, str]:
        """How the store is reached, where it is not a folder."""
        return self.world.settings.storage_options

    def table(self) -> DeltaTable:
        """The table."""
        return DeltaTable(self.world.path, storage_options=dict(self.options) or None)

    def rows(self) -> Counter[tuple[int, int]]:
        """How often each partition and offset is in the table."""
        table = self.table().to_pyarrow_table(columns=["_partition", "_offset"])
        return Counter(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def acts(self) -> list[dict[str, Any]]:
        """The trail, without the bytes of edits."""
        path = trail_path(self.world.path)
        options = dict(self.options) or None
        if not DeltaTable.is_deltatable(path, options):
            return []
        rows = DeltaTable(path, storage_options=options).to_pyarrow_table().drop_columns(["value"]).to_pylist()
        return sorted(rows, key=lambda row: (row["partition"], row["offset"], row["number"]))

    def acted(self) -> list[tuple[int, int, str]]:
        """The trail, in short."""
        return [(row["partition"], row["offset"], row["act"]) for row in self.acts()]


def scene_at(
    folder: Path,
    dead: Mapping[Stream, Mapping[int, bytes | None]] | None = None,
    *,
    passed: bool = True,
    world: DeltaWorld | None = None,
    changes: Mapping[str, str] | None = None,
) -> Scene:
    """Offsets 0 to 10 of each stream, of which the dead ones are buried and, where passed, the others landed; `changes` to the settings."""
    world = world or world_at(folder)
    values = {LANE: GOOD, OTHER: {4: QUOTED}} if dead is None else dead
    sink = world.sink()
    bury(world, *(replace(letter(lane, offset), value=value) for lane, held in values.items() for offset, value in held.items()))
    if passed:
        for lane, held in values.items():
            land(sink, made(lane, range(max(10, *held) + 1), max(10, *held) + 1, dead=set(held), first=True))
    sink.close()
    file = settings_file(folder)
    text = file.read_text().replace('"sasl.password" = "env:LOOK_PASSWORD"\n', "").replace("[source.options]\n", "")
    options = ", ".join(f'"{name}" = "{value}"' for name, value in world.settings.storage_options.items())
    file.write_text(text.replace('path = "table"', f'path = "{world.path}"\nstorage_options = {{ {options} }}') if options else text)
    for old, new in (changes or {}).items():
        file.write_text(file.read_text().replace(old, new))
    return Scene(world, file)


def copied(folder: Path, other: Path) -> Scene:
    """The scene in a folder once more, in another."""
    shutil.copytree(folder, other)
    return Scene(world_at(other), other / "pipeline.toml")


def requoted(found: Any) -> bytes | None:
    """A mending: single quotes become double ones."""
    return None if found.value is None else bytes(found.value).replace(b"'", b'"')


def replay_on(scene: Scene, disk: Disk, *, letters_max: int = 2) -> list[Result]:
    """Replay every letter of the scene that is open, on this disk, so many in one commit."""
    home = replace(scene.world, disk=disk).home("replay")
    trail = Trail(home, "ann")
    sink = DeltaSink(home)
    replay = Replay(home, sink, wiring.decoder_of(load(scene.file).routes[0].decode, sink.schema), trail)
    results: list[Result] = []
    letters = Letters(home.settings, LetterLimits(letters_max))
    for rows in letters.windows():
        by_letter = trail.dealings(rows)
        still_open = [row for row in rows if row["id"] not in by_letter or by_letter[row["id"]].resolution is None]
        for part in letters.whole([coordinates_of(row) for row in still_open]):
            results += replay.run([Candidate(row, row["value"], edited=False) for row in part])
    return results


class AtLink(Disk):
    """A disk on which something else happens right before an entry is put: the first times a log entry gets its name."""

    def __init__(self, act: Callable[[], object], times: int = 1) -> None:
        self._act = act
        self.times = times

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`."""
        if self.times and name.parent.parent.name == "table":
            self.times -= 1
            self._act()
        super().link(path, name)


class Fatal(Disk):
    """A disk whose act with a number is the end of the process, by SIGKILL, before its effect or after it."""

    def __init__(self, number: int, *, after: bool) -> None:
        self._number = number
        self._after = after
        self._acts = 0

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`."""
        self._acts += 1
        if self._acts == self._number and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        super().link(path, name)
        if self._acts == self._number:
            os.kill(os.getpid(), signal.SIGKILL)


def die_at(folder: str, number: int, after: bool) -> None:
    """Replay in a process that ends itself at one of the links."""
    replay_on(Scene(world_at(Path(folder)), Path(folder) / "pipeline.toml"), Fatal(number, after=after))


def replay_all(file: str, letters_max: int) -> None:
    """Replay every open letter, with a commit for so many: for processes that race or are killed."""
    report = Redrive(load(file), limits=LetterLimits(letters_max)).replay(where=EVERYTHING)
    assert report.open == 0


def many(count: int, lane: Stream = LANE) -> dict[Stream, dict[int, bytes | None]]:
    """So many letters that can land, at every other offset."""
    return {lane: {offset * 2: b'{"number": %d}' % offset for offset in range(count)}}
