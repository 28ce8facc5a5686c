"""Letters that the pipeline tries again by itself, on real tables: in order, fenced, once, and told."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from landfast import wiring
from landfast.config import load
from landfast.errors import Conflict, ErrorClass, Unavailable
from landfast.model import Batch, Staged, Stream
from landfast.sinks.delta import DeltaDeadLetters, DeltaSink, letters_path
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.paths import trail_path
from landfast.sinks.delta.landing.letters import LETTERS_SCHEMA
from landfast.sinks.delta.retrying.line import Line, Waiter
from landfast.sinks.delta.retrying.retries import DeltaRetries
from landfast.sinks.delta.table.trail import TRAIL_SCHEMA
from tests.cli.table import ask
from tests.redrive.letters_world import GOOD, QUOTED, AtLink, Scene, scene_at
from tests.redrive.retrying_world import DELAYS, GOOD_VALUE, KEY, Worker, ahead_world, behind, failed, worker
from tests.sinks.delta_proof import LANE, OTHER, land, letter, made

LATER = {"[sink]\n": "[retry.later]\ndelays_seconds = [60, 600]\n[sink]\n"}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A table in which nothing has landed, and whose time can pass; the settings have letters tried again."""
    return scene_at(tmp_path, {}, world=ahead_world(tmp_path), changes=LATER)


def other_owner(scene: Scene, **changes: Any) -> Worker:
    """The next owner of the stream."""
    return worker(scene, "next", **changes)


def offsets(scene: Scene) -> list[int]:
    """The rows of the first partition."""
    return sorted(offset for (partition, offset), count in scene.rows().items() for _ in range(count) if partition == 0)


def test_what_was_tried_is_told_with_its_attempts_and_when_the_next_one_is_due(scene: Scene) -> None:
    """The trail has each attempt in vain with its number, reason and the time of the next, and in the end that it was given up."""
    one = worker(scene).buried(failed(2), behind(3))
    assert one.round(ahead=DELAYS[0]) == (0, 1, 0)
    assert one.round(ahead=DELAYS[1]) == (1, 0, 1)
    acts = scene.acts()
    assert scene.acted() == [(0, 2, "retried"), (0, 2, "given_up"), (0, 3, "replayed")]
    assert [(act["attempt"], act["reason"], act["by"], act["run_id"]) for act in acts[:2]] == [
        (2, "not_json", "pipeline", "run-1"),
        (3, "not_json", "pipeline", "run-1"),
    ]
    assert (acts[0]["not_before"] - acts[0]["at"]).total_seconds() == pytest.approx(DELAYS[1], abs=1)
    assert acts[1]["not_before"] is None
    rows = {row["offset"]: row for row in DeltaTable(letters_path(scene.world.path)).to_pyarrow_table().to_pylist()}
    assert (rows[2]["not_before"] - rows[2]["last_failed_at"]).total_seconds() == pytest.approx(DELAYS[0])
    assert rows[3]["not_before"] == rows[3]["last_failed_at"]
    assert offsets(scene) == [0, 1, 3]


def test_verify_says_how_many_open_letters_wait_and_its_equation_is_as_ever(scene: Scene) -> None:
    """Before, between and after the attempts: letters = open + replayed + discarded, and of the open ones those that wait."""
    one = worker(scene).buried(failed(2), behind(3), replace(failed(4, key=None), later=False), failed(5, GOOD_VALUE, b"two"))
    seen = []
    for ahead in (0.0, *DELAYS):
        one.round(ahead=ahead)
        proof = scene.proof()
        assert proof.findings == ()
        seen.append((proof.letters, proof.open_letters, proof.retrying, proof.replayed))
    assert seen == [(4, 4, 3, 0), (4, 3, 2, 1), (4, 2, 0, 2)]
    assert "4 dead letters: 2 open, 2 replayed, 0 discarded" in ask("verify", scene.file).out


def test_the_commands_tell_which_letters_wait_and_until_when(scene: Scene) -> None:
    """`list` counts them among the open ones and has a state for them, `show` has the attempts, `status` and `verify` how many wait."""
    one = worker(scene).buried(failed(2), behind(3), replace(failed(4, key=None), later=False))
    one.round(ahead=DELAYS[0])
    listed = ask("dead-letters", "list", scene.file).out
    assert "3 dead letters: bad 2, behind_retry 1 (retrying 2)" in listed
    assert "retrying, failed 2 times, next 20" in listed
    assert "retrying, behind an earlier one of its key" in listed
    waiting = ask("dead-letters", "list", scene.file, "--state", "retrying", "--json").data
    assert (waiting["total"], waiting["states"]) == (2, {"open": 3, "retrying": 2})
    assert {row["offset"]: row["failures"] for row in waiting["letters"]} == {2: 2, 3: 0}
    shown = ask("dead-letters", "show", scene.file, "events-0-2").out
    assert "\nstate: retrying, failed 2 times, next 20" in shown
    assert "\nretried: 20" in shown
    assert "by pipeline in run run-1; reason not_json" in shown
    assert "failed attempts 2; next 20" in shown
    assert ask("dead-letters", "show", scene.file, "events-0-4", "--json").data["state"] == "open"
    assert "dead letters: 3 (bad 2, behind_retry 1); 2 of them wait to be tried again\n" in ask("status", scene.file).out
    assert "3 dead letters: 3 open (2 of them wait to be tried again), 0 replayed, 0 discarded" in ask("verify", scene.file).out
    given_up = one.round(ahead=DELAYS[1])
    assert given_up == (1, 0, 1)
    assert "open, failed 3 times, given up" in ask("dead-letters", "list", scene.file).out
    states = ask("dead-letters", "list", scene.file, "--state", "all", "--json").data["states"]
    assert states == {"open": 2, "replayed": 1}


def test_a_check_says_which_letters_are_tried_again_and_when(scene: Scene) -> None:
    """Before anything runs, so that nobody has to compute it from the settings."""
    settings = load(scene.file)
    words, problems, _ = wiring.look_at_sink(settings, settings.routes[0])
    assert (words.partition("; ")[2], problems) == ("dead letters are tried again after 60 s, 600 s, while no more than 10,000 wait", ())
    scene.file.write_text(scene.file.read_text().replace("[60, 600]", '[0.5]\nreasons = ["not_json", "missing"]'))
    settings = load(scene.file)
    words, _, _ = wiring.look_at_sink(settings, settings.routes[0])
    assert "dead letters of the reasons not_json, missing are tried again after 0.5 s" in words


def test_in_python_a_letter_says_that_it_is_tried_again(scene: Scene) -> None:
    """Its state, how often it has failed and when it is due; an export has the same."""
    one = worker(scene).buried(failed(2), behind(3))
    one.round(ahead=DELAYS[0])
    first, second = scene.redrive().letters()
    assert (first.state, first.failures, second.state, second.failures) == ("retrying", 2, "retrying", 0)
    assert first.next_attempt_at is not None
    assert first.next_attempt_at > first.failed_at
    target = scene.file.parent / "out.jsonl"
    assert scene.redrive().export(target) == 2
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [(line["state"], line["failures"]) for line in lines] == [("retrying", 2), ("retrying", 0)]
    assert lines[0]["next_attempt_at"] == first.next_attempt_at.isoformat()


def test_where_the_settings_have_nothing_tried_again_status_says_who_waits_in_vain(scene: Scene) -> None:
    """Letters wait from before, and the section is gone: people replay them."""
    worker(scene).buried(failed(2))
    scene.file.write_text(scene.file.read_text().replace("delays_seconds = [60, 600]\n", ""))
    assert "1 of them wait to be tried again, and retry.later has no delays: replay them" in ask("status", scene.file).out
    assert scene.replay(fix=lambda found: found.value.replace(b"'", b'"') if found.value else None).landed == 1


def test_where_the_settings_have_nothing_tried_again_letters_that_waited_are_open_ones(scene: Scene) -> None:
    """For every command and in Python: nobody tries them. A proof of the table alone knows no settings, and says how many are marked."""
    worker(scene).buried(failed(2), behind(3))
    assert "open (2 of them wait" in ask("verify", scene.file).out
    scene.file.write_text(scene.file.read_text().replace("delays_seconds = [60, 600]\n", ""))
    assert [(one.state, one.next_attempt_at) for one in scene.redrive().letters()] == [("open", None)] * 2
    assert scene.redrive().letter("events-0-2").state == "open"
    listed = ask("dead-letters", "list", scene.file, "--json").data
    assert (listed["states"], {row["state"] for row in listed["letters"]}) == ({"open": 2}, {"open"})
    assert "\nstate: open" in ask("dead-letters", "show", scene.file, "events-0-3").out
    assert "wait" not in ask("verify", scene.file).out
    assert ask("verify", scene.file, "--json").data["retrying"] == 0
    assert scene.proof().retrying == 2


def test_a_letter_that_people_edit_is_tried_with_the_bytes_of_the_edit(scene: Scene) -> None:
    """An edit needs no replay where the pipeline tries the letter anyway."""
    one = worker(scene).buried(failed(2))
    scene.redrive().edit("events-0-2", GOOD_VALUE)
    assert one.round(ahead=DELAYS[0]) == (1, 0, 0)
    assert scene.acts()[-1]["edited"] is True


def test_a_letter_that_people_resolve_lets_those_behind_it_land_at_the_next_look(scene: Scene) -> None:
    """Also long before it would have been due."""
    one = worker(scene).buried(failed(2), behind(3), failed(5, key=b"two"), behind(6, key=b"two"))
    scene.redrive().discard(["events-0-2"], why="no use")
    scene.redrive().edit("events-0-5", GOOD_VALUE)
    scene.redrive().replay(["events-0-5"])
    assert one.round() == (2, 0, 0)
    assert offsets(scene) == [0, 1, 3, 4, 5, 6]
    assert scene.proof().findings == ()


def test_a_former_owner_is_refused_in_the_very_commit(scene: Scene) -> None:
    """The next owner takes over between the look and the entry: nothing of the former one lands, and the next one goes on in order."""
    former = worker(scene, world=replace(scene.world, disk=AtLink(lambda: next_owners.append(other_owner(scene)), times=0)))
    disk: Any = former.home.place.disk
    next_owners: list[Worker] = []
    former.buried(failed(2, GOOD_VALUE), behind(3))
    disk.times = 1
    with pytest.raises(Conflict, match="taken"):
        former.round(ahead=DELAYS[0])
    assert offsets(scene) == [0, 1]
    assert next_owners[0].round() == (2, 0, 0)
    assert offsets(scene) == [0, 1, 2, 3]


def test_a_batch_that_lands_between_the_look_and_the_entry_changes_nothing(scene: Scene) -> None:
    """A commit of another stream came first: the letters are looked for again, and land once."""
    disk = AtLink(lambda: land(scene.world.sink("other"), made(OTHER, range(3), 3, first=True)), times=0)
    one = worker(scene, world=replace(scene.world, disk=disk)).buried(failed(2, GOOD_VALUE), behind(3))
    disk.times = 1
    assert one.round(ahead=DELAYS[0]) == (2, 0, 0)
    assert offsets(scene) == [0, 1, 2, 3]
    assert scene.proof().findings == ()


class Touchy(DeltaSink):
    """A sink that cannot take a certain value, and does not say which row has it."""

    def stage(self, batch: Batch) -> Staged:
        """See `ports.Sink`."""
        if any(13 in decoded.rows.column("number").to_pylist() for decoded in batch.decoded):  # type: ignore[attr-defined]
            raise Unavailable("BATCH_REFUSED", "a library cannot take a value", kind=ErrorClass.DATA)
        return super().stage(batch)


def test_a_value_that_nobody_names_is_found_by_halving_and_the_others_land(scene: Scene) -> None:
    """As in a batch: it alone has failed again, and what is behind it waits."""
    home = scene.world.home()
    sink = Touchy(home)
    retries = DeltaRetries(home, sink, worker_decoder(scene, sink), DELAYS)
    one = Worker(home, sink, retries)
    retries.claim([LANE])
    retries.waiting([LANE])
    values = {offset: b'{"number": %d}' % (13 if offset == 7 else offset) for offset in range(2, 12)}
    letters = [failed(offset, value, b"%d" % offset) for offset, value in values.items()]
    one.buried(*letters, behind(12, key=b"7"), behind(13, key=b"8"))
    assert one.round(ahead=DELAYS[0]) == (10, 1, 0)
    assert offsets(scene) == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 13]
    assert [(act["offset"], act["reason"]) for act in scene.acts() if act["act"] == "retried"] == [(7, "refused_alone")]


def worker_decoder(scene: Scene, sink: DeltaSink) -> Any:
    """The decoder of the settings."""
    return wiring.decoder_of(load(scene.file).routes[0].decode, sink.schema)


def test_letters_for_many_partitions_of_the_table_land_in_several_commits(tmp_path: Path) -> None:
    """A commit with rows for more partitions than may be is refused: no more letters are tried at once than there may be partitions."""
    folder = tmp_path
    world = replace(ahead_world(folder), settings=replace(ahead_world(folder).settings, partition_by=("text",), partitions_per_batch_max=2))
    scene = scene_at(folder, {}, world=world, changes={**LATER, 'path = "table"': 'path = "table"\npartition_by = ["text"]'})
    one = worker(scene)
    letters = [failed(offset, b'{"number": 1, "text": "%d"}' % offset, b"%d" % offset) for offset in range(5)]
    one.retries.put(letters)
    land(one.sink, made(LANE, range(5), 5, dead=set(range(5)), first=True))
    assert one.round(ahead=DELAYS[0]) == (5, 0, 0)
    assert offsets(scene) == [0, 1, 2, 3, 4]


def test_a_letter_that_is_gone_from_its_table_waits_no_more(scene: Scene) -> None:
    """Somebody has deleted it: those behind it land."""
    one = worker(scene).buried(failed(2, GOOD_VALUE), behind(3), failed(5, key=b"two"))
    DeltaTable(letters_path(scene.world.path)).delete("offset = 2 or offset = 5")
    assert one.round(ahead=DELAYS[0]) == (1, 0, 0)
    assert (offsets(scene), one.retries.due_seconds()) == ([0, 1, 3, 4], None)


def test_files_of_attempts_are_not_remembered_as_staged(scene: Scene) -> None:
    """A worker that tries letters for years holds no list of all that it has written."""
    one = worker(scene).buried(failed(2, GOOD_VALUE), behind(3, QUOTED))
    one.round(ahead=DELAYS[0])
    assert not any(file.path in one.sink._staged for file in active(scene))  # noqa: SLF001 — nothing else tells


def active(scene: Scene) -> Any:
    """The files of the table."""
    from landfast.sinks.delta.log.active import active_files

    return active_files(scene.table())


def without(schema: pa.Schema, *names: str) -> pa.Schema:
    """A table's columns as an earlier version made them."""
    return pa.schema([field for field in schema if field.name not in names])


def test_a_table_of_letters_of_an_earlier_version_goes_on_and_gains_what_it_lacks(scene: Scene) -> None:
    """Its letters are listed, replayed and proved as before; the first worker that tries letters again adds the column."""
    path = letters_path(scene.world.path)
    shutil.rmtree(path)
    DeltaTable.create(path, without(LETTERS_SCHEMA, "not_before"))
    old = DeltaDeadLetters(scene.world.home("old"))
    old.claim([LANE])
    old.put([replace(letter(LANE, 2), value=GOOD[2]), replace(letter(LANE, 3), value=QUOTED)])
    land(scene.world.sink("old"), made(LANE, range(5), 5, dead={2, 3}, first=True))
    assert "not_before" not in DeltaTable(path).schema().to_arrow().names  # type: ignore[attr-defined]
    assert [one.state for one in scene.redrive().letters()] == ["open", "open"]
    assert scene.redrive().replay(["events-0-2"]).landed == 1
    one = worker(scene)
    assert "not_before" in DeltaTable(path).schema().to_arrow().names  # type: ignore[attr-defined]
    assert one.waits() == 0
    one.retries.put([failed(5)])
    land(one.sink, made(LANE, range(5, 8), 8, dead={5}))
    assert one.waits() == 1
    old.claim([LANE])
    old.put([replace(letter(LANE, 9), value=QUOTED)])
    assert [one.state for one in scene.redrive().letters()] == ["open", "retrying", "open"]
    assert ask("dead-letters", "show", scene.file, "events-0-3").code == 0
    assert (scene.proof().findings, scene.proof().retrying) == ((), 1)


def test_a_trail_of_an_earlier_version_gains_what_it_lacks(scene: Scene) -> None:
    """What it told it tells still, beside the attempts of the pipeline."""
    one = worker(scene).buried(failed(2), failed(3, key=b"two"))
    path = trail_path(scene.world.path)
    scene.redrive().discard(["events-0-3"], why="no use")
    old = DeltaTable(path).to_pyarrow_table().select(without(TRAIL_SCHEMA, "attempt", "not_before").names)
    moved = Path(path)
    moved.rename(moved.with_name("moved"))
    write_deltalake(path, old)
    assert one.round(ahead=DELAYS[0]) == (0, 1, 0)
    again = worker(scene, "again")
    assert again.waits() == 1
    assert again.round(ahead=DELAYS[1]) == (0, 0, 1)
    assert scene.acted() == [(0, 2, "retried"), (0, 2, "given_up"), (0, 3, "discarded")]


def test_a_letter_in_a_store_that_fails_is_tried_again_where_it_stands(scene: Scene) -> None:
    """The trail cannot be written: the row is there, the round fails, and the next one writes down what was done, and lands nothing."""

    class Full(Disk):
        """A disk on which no entry of the trail can be put."""

        full = False

        def link(self, path: Path, name: Path) -> None:
            """See `Disk`."""
            if self.full and "__trail" in str(name):
                raise OSError(28, "No space left on device")
            super().link(path, name)

    disk = Full()
    one = worker(scene, world=replace(scene.world, disk=disk)).buried(failed(2, GOOD_VALUE), behind(3))
    disk.full = True
    with pytest.raises(Unavailable):
        one.round(ahead=DELAYS[0])
    assert (scene.acted(), scene.proof().unresolved, scene.proof().retrying) == ([], 2, 0)
    disk.full = False
    assert one.retries.due_seconds() == 0
    assert one.round() == (2, 0, 0)
    assert scene.acted() == [(0, 2, "replayed"), (0, 3, "replayed")]
    assert offsets(scene) == [0, 1, 2, 3]


def test_each_stream_has_its_own_line(scene: Scene) -> None:
    """The same key in two partitions, of which one fails: the other goes on."""
    one = worker(scene, streams=(LANE, OTHER))
    one.buried(failed(2), behind(3), failed(2, GOOD_VALUE, lane=OTHER), behind(3, lane=OTHER))
    assert one.round(LANE, OTHER, ahead=DELAYS[0]) == (2, 1, 0)
    assert one.retries.retry([LANE, OTHER], 1.0).waiting[LANE].keys == {KEY: 2}
    assert one.round(OTHER) == (0, 0, 0)
    # It was not looked after any more, and is read anew.
    assert one.round(LANE, ahead=DELAYS[1]) == (1, 0, 1)


def waiter(offset: int, key: bytes | None, due_at: float, lane: Stream = LANE) -> Waiter:
    """One that waits."""
    row = {"id": str(offset), "topic": lane.topic, "topic_id": lane.incarnation, "partition": lane.partition, "offset": offset}
    return Waiter(row, key, 1, due_at)


def test_who_is_due_is_told_key_by_key_and_no_more_than_asked_for() -> None:
    """Of each key those that are due up to the first that is not; without a key each on its own; in the order of their offsets."""
    line = Line()
    line.begin(LANE, [waiter(4, b"a", 1.0), waiter(1, b"a", 9.0), waiter(2, b"b", 1.0), waiter(3, None, 9.0), waiter(5, b"b", 1.0)])
    line.begin(OTHER, [waiter(0, None, 1.0, OTHER)])
    assert [one.place.offset for one in line.due(5.0, 10)] == [0, 2, 5]
    assert [one.place.offset for one in line.due(5.0, 2)] == [0, 2]
    assert line.next_due_at == 1.0
    line.keep([LANE])
    assert (OTHER in line, line.waiting(OTHER).records, line.waiting(LANE).keys) == (False, 0, {b"a": 1, b"b": 2})
    line.add([waiter(0, b"c", 0.5), waiter(7, b"c", 0.0, OTHER)])
    assert (line.next_due_at, [one.place.offset for one in line.each()]) == (0.5, [0, 1, 2, 3, 4, 5])


def test_who_is_known_is_due_no_later_for_being_read_again() -> None:
    """As where a calendar was set back meanwhile; but one that has failed since waits anew."""
    line = Line()
    line.begin(LANE, [waiter(1, None, 5.0), waiter(2, None, 5.0)])
    line.begin(LANE, [waiter(1, None, 9.0), replace(waiter(2, None, 9.0), failures=2)])
    assert sorted(one.due_at for one in line.each()) == [5.0, 9.0]
