"""A table with one row per key and its dead letters, and what it has to come to by a plain dictionary."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from landfast import wiring
from landfast.config import load
from landfast.model import Batch, Letter, Reject
from landfast.redrive import Redrive, ReplayReport
from landfast.sinks.delta import DeltaSink, UpsertSettings
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.proof.acts import Acts
from landfast.sinks.delta.proof.coordinates import coordinates_of
from landfast.sinks.delta.proof.letters import LetterLimits, Letters
from landfast.sinks.delta.redrive.replay import Candidate, Replay, Result
from landfast.sinks.delta.redrive.trail import Trail
from tests.redrive.letters_world import EVERYTHING, Fatal, Scene
from tests.sinks.delta_proof import bury
from tests.sinks.delta_world import DeltaWorld, batch_of, stream
from tests.sinks.entity_world import BY_POSITION, BY_TIME, Event, entities_at, held, newest_of, part

_SETTINGS = """
name = "numbers"
[source]
servers = "127.0.0.1:1"
topics = ["events"]
request_seconds_max = 0.2
[decode.columns]
id = "string"
updated = "int64"
gone = "boolean"
note = "string"
[sink]
path = "{path}"
mode = "upsert"
key = ["id"]
delete_when = "gone"
{more}
"""


def value_of(event: Event) -> bytes:
    """The record's value."""
    return json.dumps({"id": event.id, "updated": event.updated, "gone": event.gone, "note": event.note}).encode()


def letter_of(event: Event, value: bytes | None = b"", key: bytes | None = None) -> Letter:
    """The record as a dead letter; its value as the event has it, where none is given."""
    said = value_of(event) if value == b"" else value
    where = stream(event.partition)
    return Letter(where, event.offset, 1_700_000_000_000, key, said, (), "decode", "bad", "bad", 1, 1_700_000_000.0)


def batch_with_dead(events: list[Event], dead: Collection[int]) -> Batch:
    """Consecutive records of one partition, of which those at these offsets are dead."""
    whole = part(events)
    kept = [index for index, event in enumerate(events) if event.offset not in dead]
    rejects = tuple(Reject(index, "bad", "bad") for index in range(len(events)) if index not in kept)
    rows = whole.rows.take(pa.array(kept, pa.int64()))
    made = batch_of(replace(whole, rows=rows, kept=kept, rejects=rejects), first=events[0].offset == 0)
    spans = tuple(replace(span, written=len(kept), dead=len(rejects), skipped={}) for span in made.spans)
    return replace(made, spans=spans)


@dataclass
class EntityScene(Scene):
    """A table with one row per key, and what has landed in it by the test's own word.

    dead     the letters, with what they are when they are replayed
    landed   the records that have landed, and the letters that were replayed
    """

    dead: dict[tuple[int, int], Event] = field(default_factory=dict)
    landed: list[Event] = field(default_factory=list)

    @property
    def upsert(self) -> UpsertSettings:
        """The key and the order."""
        return self.world.settings.upsert or BY_POSITION

    def land(self, events: list[Event], dead: Collection[int] = (), sink: DeltaSink | None = None) -> None:
        """A batch of one partition, with letters at these offsets."""
        letters = [letter_of(event) for event in events if event.offset in dead]
        if letters:
            bury(self.world, *letters)
        self.dead |= {(event.partition, event.offset): event for event in events if event.offset in dead}
        self.landed += [event for event in events if event.offset not in dead]
        sink = sink or self.world.sink()
        sink.commit([sink.stage(batch_with_dead(events, dead))])

    def decided(self, places: Iterable[tuple[int, int]]) -> None:
        """These letters have landed, as they are now."""
        for place in list(places):
            self.landed.append(self.dead.pop(place))

    def demand(self, findings: tuple[object, ...] = ()) -> None:
        """The table is what the dictionary comes to, and is proved."""
        assert held(self.world.path, self.options) == newest_of(self.landed, self.upsert)
        proof = self.proof()
        assert proof.findings == findings
        assert proof.one_per_key is not None
        assert proof.one_per_key.rows == proof.rows
        written = proof.one_per_key.kept + proof.one_per_key.superseded + proof.one_per_key.older
        assert written == len(self.landed)


def entity_scene(folder: Path, upsert: UpsertSettings = BY_POSITION, *, world: DeltaWorld | None = None, more: str = "") -> EntityScene:
    """A table in which nothing has landed."""
    world = world or entities_at(folder, upsert)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pipeline.toml"
    order = f'order_by = "{upsert.order_by}"' if upsert.order_by else ""
    options = ", ".join(f'"{name}" = "{value}"' for name, value in world.settings.storage_options.items())
    stored = f"storage_options = {{ {options} }}" if options else ""
    file.write_text(_SETTINGS.format(path=world.path, more=f"{order}\n{stored}\n{more}"))
    return EntityScene(world, file)


def replay_entities(scene: Scene, disk: Disk, letters_max: int = 100, only: Collection[int] | None = None) -> list[Result]:
    """Replay every open letter with its newest edit, on this disk; or those at these offsets alone."""
    home = replace(scene.world, disk=disk).home("replay")
    trail, sink = Trail(home, "ann"), DeltaSink(home)
    route = load(scene.file).routes[0]
    replay = Replay(home, sink, wiring.decoder_of(route.decode, sink.schema, route.sink.key), trail)
    results: list[Result] = []
    letters = Letters(home.settings, LetterLimits(letters_max))
    for rows in letters.windows():
        known = trail.dealings(rows)
        still_open = [row for row in rows if row["id"] not in known or known[row["id"]].resolution is None]
        still_open = [row for row in still_open if only is None or row["offset"] in only]
        for whole in letters.whole([coordinates_of(row) for row in still_open]):
            edits: Mapping[str, bytes | None] = Acts(home.settings).edits(whole)
            results += replay.run([Candidate(row, edits.get(row["id"], row["value"]), edited=row["id"] in edits) for row in whole])
    return results


def die_at(folder: str, number: int, after: bool) -> None:
    """Replay in a process that ends itself at one of the links."""
    scene = entity_scene(Path(folder), BY_TIME)
    replay_entities(scene, Fatal(number, after=after))


def replay_all_entities(file: str, letters_max: int) -> None:
    """Replay every open letter, with a commit for so many: for processes that race or are killed."""
    report: ReplayReport = Redrive(load(Path(file)), limits=LetterLimits(letters_max)).replay(where=EVERYTHING)
    assert report.open == 0
