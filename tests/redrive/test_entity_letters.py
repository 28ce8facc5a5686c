"""A letter replayed into a table with one row per key lands once, by the rules of upserts, whatever happens to the replay."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import random
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deltalake import write_deltalake

from landfast.audit import Kind
from landfast.config import load
from landfast.errors import Broken, LandfastError
from landfast.redrive import Redrive
from landfast.sinks.delta import UpsertSettings
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.upkeep.roll_up import roll_up
from landfast.testing.wait import wait_until
from tests.redrive.entity_letters_world import (
    EntityScene,
    batch_with_dead,
    die_at,
    entity_scene,
    letter_of,
    replay_all_entities,
    replay_entities,
    value_of,
)
from tests.redrive.letters_world import EVERYTHING, AtLink
from tests.sinks.delta_proof import bury
from tests.sinks.delta_world import stream
from tests.sinks.entity_world import BY_POSITION, BY_TIME, Event, entities_at, event_at, held
from tests.writing.writers import Crash, MortalDisk

SPAWN = multiprocessing.get_context("spawn")


def three_letters(folder: Path, upsert: UpsertSettings = BY_POSITION) -> EntityScene:
    """Of six records three are dead: `a` at 1 is older than the row of its key, `c` at 3 deletes its key, `d` at 5 is new."""
    scene = entity_scene(folder, upsert)
    names = ["a", "a", "a", "c", "b", "d"]
    events = [Event(0, offset, name, 0, gone=offset == 3) for offset, name in enumerate(names)]
    scene.land(events, {1, 3, 5})
    return scene


def test_a_replayed_letter_lands_by_the_rules_of_upserts(tmp_path: Path) -> None:
    """An older one changes nothing, one that deletes leaves a row that says so, a new one is there; the counts and the proof say it."""
    scene = three_letters(tmp_path)
    report = scene.replay()
    assert (report.landed, dict(report.outcomes), report.open) == (2, {"older": 1, "landed": 2}, 0)
    scene.decided([(0, 1), (0, 3), (0, 5)])
    scene.demand()
    assert held(scene.world.path) == {"a": ("0/2", False), "b": ("0/4", False), "c": ("0/3", True), "d": ("0/5", False)}
    proof = scene.proof()
    assert (proof.replayed, proof.unresolved, proof.open_letters) == (3, 0, 0)
    assert scene.acted() == [(0, 1, "replayed"), (0, 3, "replayed"), (0, 5, "replayed")]


@pytest.mark.parametrize("unknown_fields", ["rescue", "evolve"])
def test_a_dry_replay_says_which_letters_are_older(tmp_path: Path, unknown_fields: str) -> None:
    """What it says is what the replay then comes to; nothing is written, and a table that may grow does not."""
    scene = three_letters(tmp_path)
    scene.file.write_text(
        scene.file.read_text().replace("[decode.columns]", f'[decode]\nunknown_fields = "{unknown_fields}"\n[decode.columns]')
    )
    scene.redrive().edit("events-0-5", b'{"id": "d", "colour": "red"}')
    version, paths = scene.table().version(), sorted(Path(scene.world.path).rglob("*.parquet"))
    dry = scene.replay(dry_run=True)
    assert (dry.landed, dict(dry.outcomes)) == (2, {"older": 1, "landed": 2})
    assert (scene.table().version(), sorted(Path(scene.world.path).rglob("*.parquet"))) == (version, paths)
    assert dict(scene.replay().outcomes) == dict(dry.outcomes)


def test_replaying_again_changes_nothing(tmp_path: Path) -> None:
    """Not the rows, not the version: letters that are resolved are passed over."""
    scene = three_letters(tmp_path)
    scene.replay()
    scene.decided(list(scene.dead))
    version = scene.table().version()
    assert scene.replay().outcomes == {}
    assert dict(scene.redrive().replay(["events-0-1"]).outcomes) == {"resolved": 1}
    assert scene.table().version() == version
    scene.demand()


def test_a_letter_that_deletes_by_having_no_value_is_replayed(tmp_path: Path) -> None:
    """It was refused since deleting was not set up; now its Kafka key says what is deleted."""
    scene = entity_scene(tmp_path)
    events = [Event(0, 0, "a"), Event(0, 1, "a", gone=True)]
    bury(scene.world, letter_of(events[1], None, b'{"id": "a"}'))
    sink = scene.world.sink()
    sink.commit([sink.stage(batch_with_dead(events, {1}))])
    assert dict(scene.replay().reasons) == {"tombstone": 1}
    scene.file.write_text(scene.file.read_text().replace("[decode.columns]", '[decode]\ntombstones = "delete"\n[decode.columns]'))
    assert scene.replay().landed == 1
    rows = scene.table().to_pyarrow_table(columns=["id", "_offset", "_deleted"]).to_pylist()
    assert rows == [{"id": "a", "_offset": 1, "_deleted": True}]
    assert scene.proof().findings == ()


def test_of_two_letters_of_a_key_the_newer_stays(tmp_path: Path) -> None:
    """Both are counted: the one is kept, the other superseded; of equal orders the later position wins."""
    scene = entity_scene(tmp_path, BY_TIME)
    scene.land([Event(0, offset, "a", 7) for offset in range(4)], {0, 1, 3})
    assert dict(scene.replay().outcomes) == {"landed": 1, "older": 2}
    scene.decided([(0, 0), (0, 1), (0, 3)])
    scene.demand()
    found = scene.proof().one_per_key
    assert found is not None
    assert (found.kept, found.superseded, found.older, found.replaced) == (2, 2, 0, 1)


def test_a_letter_without_a_key_stays_open(tmp_path: Path) -> None:
    """It is refused by its reason, as a record is; a dry run says so too, and writes nothing."""
    scene = entity_scene(tmp_path)
    scene.land([Event(0, 0, "a"), Event(0, 1, None), Event(0, 2, "b")], {1, 2})
    version = scene.table().version()
    dry = scene.replay(dry_run=True)
    assert (dict(dry.outcomes), dict(dry.reasons)) == ({"refused": 1, "landed": 1}, {"key_null": 1})
    assert (scene.table().version(), scene.acted()) == (version, [])
    assert dict(scene.replay().outcomes) == {"refused": 1, "landed": 1}
    assert scene.acted() == [(0, 1, "refused"), (0, 2, "replayed")]


def test_a_letter_whose_batch_has_not_landed_waits_here_too(tmp_path: Path) -> None:
    """No position is past it."""
    scene = entity_scene(tmp_path)
    scene.land([Event(0, 0, "a")])
    bury(scene.world, letter_of(Event(0, 1, "b")))
    assert dict(scene.replay().outcomes) == {"waiting": 1}


class MortalAtTrail(Disk):
    """A disk on which the process ends where an entry of the trail would get its name."""

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`."""
        if "__trail" in str(name):
            raise Crash
        super().link(path, name)


def killed_before_the_trail(scene: EntityScene) -> None:
    """A replay that lands everything that is open, and ends before it writes that down."""
    with pytest.raises(Crash):
        replay_entities(scene, MortalAtTrail())
    scene.decided(list(scene.dead))


@pytest.mark.parametrize("rolled_up", [False, True], ids=["in the log", "rolled up"])
@pytest.mark.parametrize("named", ["it", "another"])
def test_a_replay_that_was_killed_is_written_down_under_the_name_of_who_has_made_it(tmp_path: Path, rolled_up: bool, named: str) -> None:
    """Whether the next replay, by somebody else, is of the very letter or of another one."""
    scene = three_letters(tmp_path)
    with pytest.raises(Crash):
        replay_entities(scene, MortalAtTrail(), only={5})
    if rolled_up:
        scene.land([Event(0, 6, "e")])
        aged(scene)
    Redrive(load(scene.file), by="bob").replay(["events-0-5" if named == "it" else "events-0-3"])
    acts = {act["offset"]: (act["by"], act["run_id"] == "replay") for act in scene.acts()}
    assert acts == {5: ("ann", True)} | ({} if named == "it" else {3: ("bob", False)})


def test_an_edit_after_a_replay_that_was_killed_does_not_land_a_second_row(tmp_path: Path) -> None:
    """The letter has landed under one key, and is mended to another before the resolution is written: it stays as it has landed.

    That the same event is never put twice over its own row would not be enough: under another key it is another event.
    """
    scene = three_letters(tmp_path)
    killed_before_the_trail(scene)
    proof = scene.proof()
    assert (proof.findings, proof.replayed, proof.unresolved) == ((), 0, 3)
    scene.redrive().edit("events-0-5", value_of(Event(0, 5, "elsewhere")))
    assert dict(scene.replay().outcomes) == {"already there": 3}
    scene.demand()
    assert scene.proof().unresolved == 0


def test_what_a_replay_has_decided_is_settled_before_the_next_one_lands(tmp_path: Path) -> None:
    """Also where that is a replay of other letters, after a commit of the pipeline: the trail has all of both then."""
    scene = three_letters(tmp_path)
    killed_before_the_trail(scene)
    scene.land([Event(0, 6, "e"), Event(0, 7, "f")], {7})
    assert dict(scene.redrive().replay(["events-0-7"]).outcomes) == {"landed": 1}
    scene.decided([(0, 7)])
    assert scene.acted() == [(0, offset, "replayed") for offset in (1, 3, 5, 7)]
    scene.demand()


def test_what_has_landed_is_not_discarded(tmp_path: Path) -> None:
    """The replay that was stopped has landed it; one that was discarded is not replayed."""
    scene = three_letters(tmp_path)
    scene.redrive().discard(["events-0-3"], why="no")
    del scene.dead[0, 3]
    killed_before_the_trail(scene)
    kept = scene.redrive().discard(["events-0-5"], why="no")
    assert (kept.discarded, [one.outcome for one in kept.kept]) == (0, ["already there"])
    assert dict(scene.replay().outcomes) == {"already there": 2}
    proof = scene.proof()
    assert (proof.replayed, proof.discarded, proof.contested) == (2, 1, 0)
    scene.demand()


def test_two_replays_of_the_same_letters_at_once_land_them_once(tmp_path: Path) -> None:
    """The one comes right before the other's entry is put: that finds every letter decided."""
    scene = three_letters(tmp_path)
    results = replay_entities(scene, AtLink(scene.replay))
    assert Counter(str(one.outcome) for one in results) == {"resolved": 3}
    scene.decided(list(scene.dead))
    scene.demand()
    assert len(scene.acts()) == 3


def test_one_replay_between_look_and_commit_of_another_is_settled_by_it(tmp_path: Path) -> None:
    """The first has landed and not written that down when the second meets it: the second writes it down and lands the rest."""
    scene = three_letters(tmp_path)

    def first() -> None:
        with contextlib.suppress(Crash):
            replay_entities(scene, MortalAtTrail(), only={1})

    results = replay_entities(scene, AtLink(first))
    assert Counter(str(one.outcome) for one in results) == {"already there": 1, "landed": 2}
    scene.decided(list(scene.dead))
    scene.demand()
    assert scene.acted() == [(0, offset, "replayed") for offset in (1, 3, 5)]


def aged(scene: EntityScene) -> None:
    """The log is rolled up, and cleaned up to the newest version."""
    handle = scene.table()
    roll_up(handle, scene.world.path, {}, 1_700_000_000.0)
    handle.create_checkpoint()
    for version in range(handle.version()):
        (Path(scene.world.path) / log_name(version)).unlink()


def test_a_replay_is_remembered_when_the_log_is_gone(tmp_path: Path) -> None:
    """What it has decided, and what became of the rows, is rolled up with the spans: the proof holds, and nothing lands twice."""
    scene = three_letters(tmp_path)
    scene.world.sink().close()
    roll_up(scene.table(), scene.world.path, {}, 1_700_000_000.0)
    killed_before_the_trail(scene)
    scene.land([Event(0, 6, "e"), Event(0, 7, "d")])
    before = scene.proof().one_per_key
    aged(scene)
    assert scene.proof().one_per_key == before
    scene.demand()
    scene.redrive().edit("events-0-5", value_of(Event(0, 5, "elsewhere")))
    assert dict(scene.replay().outcomes) == {"already there": 3}
    scene.demand()


def test_a_replay_of_which_nobody_knows_any_more_stops_the_next_one(tmp_path: Path) -> None:
    """Somebody has removed the entry before it was rolled up: nothing lands on a guess."""
    scene = three_letters(tmp_path)
    killed_before_the_trail(scene)
    scene.land([Event(0, 6, "e")])
    version = scene.table().version()
    scene.table().create_checkpoint()
    for older in range(version):
        (Path(scene.world.path) / log_name(older)).unlink()
    with pytest.raises(Broken) as stopped:
        scene.replay()
    assert stopped.value.code == "LOG_CORRUPT"
    assert scene.table().version() == version
    scene.file.write_text(scene.file.read_text() + f"accept_lineage_version = {version}\n")
    assert dict(scene.replay().outcomes) == {"older": 3}


def test_an_altered_count_of_a_replay_is_found(tmp_path: Path) -> None:
    """What it says became of its rows has to add up, alone and with the rows that are there."""
    scene = three_letters(tmp_path)
    scene.replay()
    entry = Path(scene.world.path) / log_name(scene.table().version())
    said = entry.read_text()
    true = "[[2,0,1,0,1]]"
    for false in ("[[3,0,1,0,1]]", "[[1,0,2,0,1]]", "[[2,0,1,1,1]]", "[[2,0,1,-1,1]]"):
        assert true in said.replace("\\", "")
        entry.write_text(said.replace(true, false))
        assert {Kind.EQUATION_BROKEN, Kind.LOST_ROW, Kind.PHANTOM_ROW} & {finding.kind for finding in scene.proof().findings}, false


@pytest.mark.parametrize("cut", ["txn", "remove", "add"])
def test_an_entry_of_a_replay_that_lost_lines_is_not_taken_for_whole(tmp_path: Path, cut: str) -> None:
    """It tells how many transactions and files it holds, so a cut between two lines is seen before anything is built upon it."""
    scene = entity_scene(tmp_path)
    scene.land([Event(0, 0, "a"), Event(0, 1, "b"), Event(0, 2, "a")], {2})
    scene.replay()
    target = Path(scene.world.path) / log_name(scene.table().version())
    lines = target.read_text().splitlines()
    assert any(line.startswith(f'{{"{cut}"') for line in lines)
    target.write_text("\n".join(line for line in lines if not line.startswith(f'{{"{cut}"')))
    with pytest.raises(Broken) as stopped:
        scene.redrive().replay(where=EVERYTHING)
    assert stopped.value.code == "LOG_CORRUPT"


def test_a_row_for_a_letter_that_was_not_replayed_is_found(tmp_path: Path) -> None:
    """Beside letters that were."""
    scene = three_letters(tmp_path)
    scene.redrive().replay(["events-0-1", "events-0-3"])
    rows = scene.table().to_pyarrow_table()
    position = rows.schema.get_field_index("_offset")
    moved = rows.slice(0, 1).set_column(position, rows.schema.field(position), [[5]])
    write_deltalake(scene.world.path, moved, mode="append")
    assert Kind.ROW_AND_LETTER in {finding.kind for finding in scene.proof().findings}


@pytest.mark.long
def test_a_crash_at_any_act_of_the_disk_and_an_edit_land_each_letter_once(tmp_path: Path) -> None:
    """At acts that make bytes durable or visible: the process ends before one, letters move to other keys, the next replay goes on."""
    for number in itertools.count(1, 4):
        scene = three_letters(tmp_path / f"at-{number}", BY_TIME)
        version, disk = scene.table().version(), MortalDisk(number, False, Crash)
        with contextlib.suppress(Crash):
            replay_entities(scene, disk, letters_max=2)
        commits = scene.table().version() - version
        scene.decided([(0, 1), (0, 3)] if commits else [])
        scene.decided([(0, 5)] if commits > 1 else [])
        assert scene.proof().findings == (), number
        redrive = scene.redrive()
        for partition, offset in list(scene.dead):
            mended = Event(partition, offset, f"mended {offset}")
            redrive.edit(f"events-{partition}-{offset}", value_of(mended))
            scene.dead[partition, offset] = mended
        redrive.replay(where=EVERYTHING)
        scene.decided(list(scene.dead))
        scene.demand()
        assert [act for act in scene.acted() if act[2] == "replayed"] == [(0, offset, "replayed") for offset in (1, 3, 5)], number
        if disk.acts < number:
            assert number > 12
            return


@pytest.mark.long
@pytest.mark.parametrize(("seed", "upsert"), [(seed, upsert) for seed in range(2) for upsert in (BY_POSITION, BY_TIME)])
def test_replays_in_random_places_come_to_what_a_dictionary_comes_to(tmp_path: Path, seed: int, upsert: UpsertSettings) -> None:
    """Batches of two partitions with letters, edits, discards, replays that end at any act of the disk, and roll-ups, in any order."""
    draw = random.Random(seed)
    scene = entity_scene(tmp_path, upsert)
    sink = scene.world.sink()
    ends = [0, 0]

    def land() -> None:
        partition, count = draw.randrange(2), draw.randrange(1, 8)
        events = [event_at(partition, ends[partition] + index, ids=8) for index in range(count)]
        ends[partition] += count
        scene.land(events, {event.offset for event in events if draw.random() < 0.4}, sink)

    def some() -> tuple[int, int] | None:
        return draw.choice(sorted(scene.dead)) if scene.dead else None

    def edit() -> None:
        place = some()
        if place is not None:
            mended = replace(scene.dead[place], id=f"entity {draw.randrange(8)}", updated=draw.randrange(1000))
            scene.redrive().edit(f"events-{place[0]}-{place[1]}", value_of(mended))
            scene.dead[place] = mended

    def discard() -> None:
        place = some()
        if place is not None:
            scene.redrive().discard([f"events-{place[0]}-{place[1]}"], why="no")
            del scene.dead[place]

    def replay() -> None:
        open_before = list(scene.dead)
        with contextlib.suppress(Crash, LandfastError):
            replay_entities(scene, MortalDisk(draw.randrange(30), draw.random() < 0.5, Crash), letters_max=draw.choice([2, 100]))
        scene.decided(place for place in open_before if place in told(scene))

    for _ in range(25):
        draw.choices([land, edit, discard, replay, lambda: roll_up(scene.table(), scene.world.path, {}, 1.0)], [6, 2, 1, 4, 1])[0]()
    scene.replay()
    scene.decided(list(scene.dead))
    scene.demand()
    proof = scene.proof()
    assert (proof.open_letters, proof.unresolved) == (0, 0)


def told(scene: EntityScene) -> set[tuple[int, int]]:
    """The letters that commits of replays name, by the plain text of the log."""
    found: set[tuple[int, int]] = set()
    for info in scene.table().history():
        body = json.loads(info.get("landfast.replay", "{}"))
        for _, _, partition, ranges in body.get("letters", ()):
            found |= {(partition, offset) for start, end in ranges for offset in range(start, end)}
    return found


def many_entities(folder: Path, count: int) -> EntityScene:
    """So many letters at every other offset, of a few keys."""
    scene = entity_scene(folder, BY_TIME)
    scene.land([event_at(0, offset, ids=12) for offset in range(2 * count)], set(range(0, 2 * count, 2)))
    return scene


@pytest.mark.long
def test_processes_that_replay_entities_at_once_and_are_killed_land_each_letter_once(tmp_path: Path) -> None:
    """Two processes with a commit for each letter, one of which is killed, beside a worker that lands."""
    scene = many_entities(tmp_path, 30)
    racers = [SPAWN.Process(target=replay_all_entities, args=(str(scene.file), 1), daemon=True) for _ in range(2)]
    for racer in racers:
        racer.start()
    goal = scene.table().version() + 4
    wait_until(lambda: scene.table().version() >= goal, 60)
    racers[0].kill()
    scene.land([event_at(0, offset, ids=12) for offset in range(60, 80)])
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [-signal.SIGKILL, 0]
    scene.replay()
    scene.decided(list(scene.dead))
    scene.demand()
    assert len([act for act in scene.acts() if act["act"] == "replayed"]) == 30


@pytest.mark.parametrize(("number", "after"), [(1, False), (1, True), (2, True)])
def test_sigkill_around_each_entry_of_a_replay_into_entities(tmp_path: Path, number: int, after: bool) -> None:
    """Before and after the entry of the rows and that of the trail get their names: the next replay completes it."""
    scene = three_letters(tmp_path, BY_TIME)
    worker = SPAWN.Process(target=die_at, args=(str(tmp_path), number, after))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert scene.proof().findings == ()
    scene.replay()
    scene.decided(list(scene.dead))
    scene.demand()
    assert scene.acted() == [(0, offset, "replayed") for offset in (1, 3, 5)]


def test_a_letter_moves_its_entity_between_partitions_of_a_table_that_grows(tmp_path: Path) -> None:
    """A column that nobody knew comes with a letter, and the row of its key makes way in another partition."""
    changes: dict[str, Any] = {"partition_by": ("gone",), "unknown_fields": "evolve"}
    scene = entity_scene(tmp_path, world=entities_at(tmp_path, BY_POSITION, **changes), more='partition_by = ["gone"]')
    text = scene.file.read_text().replace("[decode.columns]", '[decode]\nunknown_fields = "evolve"\n[decode.columns]')
    scene.file.write_text(text)
    scene.land([Event(0, 0, "a"), Event(0, 1, "a", gone=True), Event(0, 2, "b")], {1})
    scene.redrive().edit("events-0-1", value_of(Event(0, 1, "a", gone=True))[:-1] + b', "more": 7}')
    assert scene.replay(dry_run=True).landed == 1
    assert "more" not in scene.table().schema().to_json()
    assert scene.replay().landed == 1
    scene.decided([(0, 1)])
    scene.demand()
    rows = scene.table().to_pyarrow_table(columns=["id", "gone", "more"]).to_pylist()
    assert {row["id"]: (row["gone"], row["more"]) for row in rows} == {"a": (True, 7), "b": (False, None)}


def test_letters_of_two_incarnations_of_a_topic_are_told_apart(tmp_path: Path) -> None:
    """The same offsets, each with its order: the later one wins, both are decided, and each once."""
    world = entities_at(tmp_path, BY_TIME, accept_topic_ids=frozenset({"topic-id-2"}))
    scene = entity_scene(tmp_path, BY_TIME, world=world, more='accept_topic_ids = ["topic-id-2"]')
    scene.land([Event(0, 0, "a", 1), Event(0, 1, "b", 5)], {1})
    again = stream(0, incarnation="topic-id-2")
    whole = batch_with_dead([Event(0, 0, "a", 2), Event(0, 1, "b", 4)], {1})
    parts = tuple(replace(one, chunk=replace(one.chunk, stream=again)) for one in whole.decoded)
    spans = tuple(replace(span, stream=again) for span in whole.spans)
    bury(scene.world, replace(letter_of(Event(0, 1, "b", 4)), stream=again))
    sink = scene.world.sink("again")
    sink.commit([sink.stage(replace(whole, spans=spans, epochs={again: 1}, decoded=parts))])
    report = scene.replay()
    assert dict(report.outcomes) == {"landed": 1, "older": 1}
    assert scene.replay().outcomes == {}
    rows = scene.table().to_pyarrow_table(columns=["id", "updated"]).to_pylist()
    assert {row["id"]: row["updated"] for row in rows} == {"a": 2, "b": 5}
    proof = scene.proof()
    assert (proof.findings, proof.replayed) == ((), 2)
