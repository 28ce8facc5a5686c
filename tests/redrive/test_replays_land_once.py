"""A replayed letter is a row at the place that its record comes from, once, whatever happens to the replay."""

from __future__ import annotations

import contextlib
import errno
import itertools
import multiprocessing
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from landfast import DeadLetter, LetterFilter
from landfast.audit import Kind
from landfast.errors import LandfastError, Misconfigured
from landfast.sinks.delta.proof.letters import LetterLimits
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings
from landfast.testing.wait import wait_until
from tests.redrive.letters_world import (
    EVERYTHING,
    GOOD,
    QUOTED,
    AtLink,
    Scene,
    copied,
    die_at,
    many,
    replay_all,
    replay_on,
    requoted,
    scene_at,
)
from tests.sinks.delta_proof import LANE, OTHER, bury, land, letter, made
from tests.sinks.delta_world import stream
from tests.writing.writers import Crash, MortalDisk

SPAWN = multiprocessing.get_context("spawn")
EVERY_ROW = Counter({(0, offset): 1 for offset in range(11)} | {(1, offset): 1 for offset in range(11) if offset != 4})
"""The rows of the scene, with the three letters of the first stream that can land."""


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three letters that can land by now, and one that cannot."""
    return scene_at(tmp_path)


def test_a_replayed_letter_is_a_row_with_the_places_and_the_time_of_its_record(scene: Scene) -> None:
    """Value, topic, partition, offset and time are those that it would have had; the letter itself stays where it is."""
    report = scene.replay()
    assert (report.landed, dict(report.outcomes), dict(report.reasons)) == (3, {"landed": 3, "refused": 1}, {"not_json": 1})
    rows = DeltaTable(scene.world.path).to_pyarrow_table().to_pylist()
    (row,) = [row for row in rows if (row["_partition"], row["_offset"]) == (0, 2)]
    assert (row["number"], row["text"], row["_topic"], row["_timestamp"].timestamp()) == (2, "two", "events", 1_700_000_000)
    assert scene.rows() == EVERY_ROW
    assert len(list(scene.redrive().letters(states=["open", "replayed", "discarded"]))) == 4


def test_a_replay_that_is_repeated_lands_nothing_twice(scene: Scene) -> None:
    """By condition it passes over what is resolved in silence; by id it says so."""
    scene.replay()
    again = scene.replay()
    assert dict(again.outcomes) == {"refused": 1}
    by_id = scene.redrive().replay(["events-0-2"])
    assert dict(by_id.outcomes) == {"resolved": 1}
    assert by_id.still_open[0].message.startswith("it was replayed by ann at ")
    assert scene.rows() == EVERY_ROW


def test_the_trail_tells_who_when_why_and_which_bytes(scene: Scene) -> None:
    """One resolution for each letter that landed, after the row is there; a refusal for the other, with its reason."""
    scene.replay()
    acts = scene.acts()
    assert scene.acted() == [(0, 2, "replayed"), (0, 3, "replayed"), (0, 5, "replayed"), (1, 4, "refused")]
    assert {(act["by"], act["number"], len(act["digest"]), act["edited"]) for act in acts} == {("ann", 1, 64, False)}
    assert acts[-1]["reason"] == "not_json"
    assert all(act["version"] == DeltaTable(scene.world.path).version() for act in acts[:3])


def test_verify_counts_letters_that_were_replayed_and_proves_the_table(scene: Scene) -> None:
    """Letters are open, replayed or discarded: letters = open + replayed + discarded, and every row has one place, before and after."""
    before = scene.proof()
    scene.replay()
    scene.redrive().discard(["events-1-4"], why="a test record")
    after = scene.proof()
    assert (before.findings, before.letters, before.open_letters) == ((), 4, 4)
    assert (after.findings, after.letters, after.open_letters, after.replayed, after.discarded) == ((), 4, 0, 3, 1)
    assert (after.rows, after.unresolved, after.contested) == (before.rows + 3, 0, 0)
    assert after.totals == before.totals


def test_verify_finds_a_replayed_row_that_is_gone_or_there_twice(scene: Scene) -> None:
    """A replayed row is proved like any other: deleted by somebody it is lost, and landed twice it is doubled."""
    scene.replay()
    DeltaTable(scene.world.path).delete("_offset = 3 and _partition = 0")
    kinds = {finding.kind for finding in scene.proof().findings}
    assert Kind.LOST_ROW in kinds


def test_a_letter_that_is_refused_again_stays_open_and_its_attempts_are_told(scene: Scene) -> None:
    """How often, and when last: an operator sees that it was tried."""
    for refusals in (0, 1, 2):
        (left,) = scene.replay().still_open
        assert (left.id, left.outcome, left.reason, left.refusals) == ("events-1-4", "refused", "not_json", refusals)
        assert (left.refused_at is None) == (refusals == 0)
    assert scene.redrive().letter("events-1-4").refusals == 3


def test_a_dry_run_says_what_would_come_of_it_and_does_nothing(scene: Scene) -> None:
    """The same counts, and neither a row nor a word in the trail."""
    version = DeltaTable(scene.world.path).version()
    report = scene.replay(dry_run=True)
    assert (dict(report.outcomes), report.dry_run) == ({"landed": 3, "refused": 1}, True)
    assert DeltaTable(scene.world.path).version() == version
    assert scene.acted() == []


def test_a_function_mends_letters_and_leaves_those_it_cannot(tmp_path: Path) -> None:
    """None leaves a letter, and an exception or a wrong type does too and is told, without a value; the others land."""
    scene = scene_at(tmp_path, {LANE: {2: QUOTED, 3: b"leave", 5: b"secret", 7: b"text"}})

    def fix(found: DeadLetter) -> bytes | None:
        if found.value == b"secret":
            raise KeyError(found.value)
        return {b"leave": None, b"text": "no bytes"}.get(found.value or b"", requoted(found))  # type: ignore[return-value]

    report = scene.replay(fix=fix)
    assert dict(report.outcomes) == {"left": 3, "landed": 1}
    assert {one.id: one.message for one in report.still_open} == {
        "events-0-3": "the function that was to mend it returned None",
        "events-0-5": "the function that was to mend it failed with KeyError",
        "events-0-7": "the function that was to mend it returned str, and not bytes or None",
    }
    assert scene.acts()[0]["edited"] is True
    assert scene.rows()[0, 2] == 1


def test_letters_land_in_the_order_of_their_offsets(tmp_path: Path) -> None:
    """However they were buried, and in however many commits: each commit's rows lie behind those of the one before."""
    lanes = {lane: dict.fromkeys(offsets, b'{"number": 1}') for lane, offsets in ((LANE, (9, 1, 5, 3)), (OTHER, (8, 2, 4)))}
    scene = scene_at(tmp_path, lanes)
    before = DeltaTable(scene.world.path).version()
    scene.redrive(limits=LetterLimits(letters_max=2)).replay(where=EVERYTHING)
    table = DeltaTable(scene.world.path)
    seen = set(DeltaTable(scene.world.path, version=before).file_uris())
    in_order: list[tuple[int, int]] = []
    for version in range(before + 1, table.version() + 1):
        fresh = set(DeltaTable(scene.world.path, version=version).file_uris()) - seen
        seen |= fresh
        for path in fresh:
            rows = pq.read_table(path, columns=["_partition", "_offset"]).to_pylist()
            in_order += [(row["_partition"], row["_offset"]) for row in rows]
    assert [offset for partition, offset in in_order if partition == 0] == [1, 3, 5, 9]
    assert [offset for partition, offset in in_order if partition == 1] == [2, 4, 8]


@pytest.mark.long
def test_a_crash_at_any_act_of_the_disk_and_a_repetition_land_once(tmp_path: Path) -> None:
    """Every act that makes bytes durable or visible, one by one: the process ends before it, and the next replay completes it."""
    scene_at(tmp_path / "fresh")
    for number in itertools.count(1):
        scene = copied(tmp_path / "fresh", tmp_path / f"at-{number}")
        disk = MortalDisk(number, False, Crash)
        with contextlib.suppress(Crash):
            replay_on(scene, disk, letters_max=10)
        assert scene.proof().findings == (), number
        scene.replay()
        assert scene.rows() == EVERY_ROW, number
        resolved = [act for act in scene.acted() if act[2] == "replayed"]
        assert resolved == [(0, offset, "replayed") for offset in GOOD], number
        proof = scene.proof()
        assert (proof.findings, proof.replayed, proof.unresolved) == ((), 3, 0), number
        if disk.acts < number:
            assert number > 12
            return


def test_an_error_at_any_act_of_the_disk_is_told_and_a_repetition_lands_once(tmp_path: Path) -> None:
    """An act that fails after its effect: whatever the call says, nothing is there twice."""
    scene_at(tmp_path / "fresh")
    for number in itertools.count(1, 5):
        scene = copied(tmp_path / "fresh", tmp_path / f"at-{number}")
        disk = MortalDisk(number, after=True, error=lambda: OSError(errno.ETIMEDOUT, "Connection timed out"))
        with contextlib.suppress(LandfastError):
            replay_on(scene, disk, letters_max=10)
        scene.replay()
        assert scene.rows() == EVERY_ROW, number
        assert scene.proof().findings == (), number
        if disk.acts < number:
            return


def test_a_replay_killed_between_row_and_resolution_is_told_and_completed(scene: Scene) -> None:
    """`verify` says that the trail lacks it, which is no damage; the same replay writes it down and lands nothing."""

    class Ends(MortalDisk):
        """The process ends where the first entry of the trail would get its name."""

        def link(self, path: Path, name: Path) -> None:
            if "__trail" in str(name):
                raise Crash
            super().link(path, name)

    with pytest.raises(Crash):
        replay_on(scene, Ends(0, False, Crash), letters_max=10)
    proof = scene.proof()
    assert (proof.findings, proof.replayed, proof.unresolved, proof.open_letters) == ((), 0, 3, 4)
    kept = scene.redrive().discard(["events-0-2"], why="no")
    assert (kept.discarded, [one.outcome for one in kept.kept]) == (0, ["already there"])
    assert dict(scene.replay().outcomes) == {"already there": 3, "refused": 1}
    proof = scene.proof()
    assert (proof.findings, proof.replayed, proof.unresolved) == ((), 3, 0)
    assert scene.rows() == EVERY_ROW


def test_two_replays_at_once_land_each_letter_once(scene: Scene) -> None:
    """Another replay lands the very letters right before the entry of this one is put: it looks again, and finds them."""
    results = replay_on(scene, AtLink(scene.replay), letters_max=10)
    outcomes = Counter(str(one.outcome) for one in results)
    assert outcomes == {"resolved": 3, "refused": 1}
    assert scene.rows() == EVERY_ROW
    assert [act for act in scene.acted() if act[2] == "replayed"] == [(0, offset, "replayed") for offset in GOOD]


def test_a_pipeline_that_lands_meanwhile_is_not_disturbed(scene: Scene) -> None:
    """Each comes between the look and the commit of the other: both land, and no position moves by a replay."""
    sink = scene.world.sink("pipeline")
    land(sink, made(LANE, range(11, 20), 20))
    replay_on(scene, AtLink(lambda: land(sink, made(LANE, range(20, 30), 30))))
    land(sink, made(LANE, range(30, 40), 40))
    assert sink.positions([LANE, OTHER]) == {LANE: 40, OTHER: 11}
    assert scene.rows() == EVERY_ROW + Counter({(0, offset): 1 for offset in range(11, 40)})
    assert scene.proof().findings == ()


def test_a_letter_that_is_discarded_while_it_lands_is_told(scene: Scene) -> None:
    """Nothing can make the two of them one act: the row is there, the trail says discarded, and both the replay and `verify` say so."""
    results = replay_on(scene, AtLink(lambda: scene.redrive().discard(["events-0-3"], why="no use")), letters_max=10)
    (contested,) = [one for one in results if str(one.outcome) == "resolved"]
    assert "discarded while it was replayed" in contested.message
    proof = scene.proof()
    assert (proof.findings, proof.replayed, proof.discarded, proof.contested, proof.open_letters) == ((), 2, 1, 1, 1)


def test_a_letter_whose_batch_has_not_landed_waits(tmp_path: Path) -> None:
    """It was buried, and the commit that passes it is still to come: only then is it certain that it stays a letter."""
    scene = scene_at(tmp_path, {LANE: GOOD}, passed=False)
    report = scene.replay()
    assert dict(report.outcomes) == {"waiting": 3}
    assert scene.acted() == []
    sink = scene.world.sink("next")
    land(sink, made(LANE, range(11), 11, dead=set(GOOD), first=True))
    assert scene.replay().landed == 3
    assert scene.proof().findings == ()


def again(lane_timestamp: int) -> Callable[[Scene], None]:
    """The topic is made again, and lands a row at the offset of a letter of the one before, at this time."""

    def act(scene: Scene) -> None:
        other = stream(0, incarnation="topic-id-2")
        sink = scene.world.sink("again", accept_topic_ids=frozenset({"topic-id-2"}))
        span, decoded = made(other, range(11), 11, first=True)
        decoded.chunk.timestamps[2] = lane_timestamp
        land(sink, (span, decoded))

    return act


def test_a_row_of_a_topic_that_was_made_again_is_not_taken_for_the_letters(scene: Scene) -> None:
    """It has the same topic, partition and offset, and another time: the letter lands beside it."""
    again(1_800_000_000_000)(scene)
    report = scene.redrive().replay(["events-0-2"])
    assert (report.landed, scene.rows()[0, 2]) == (1, 2)
    assert scene.proof().findings == ()


def test_a_letter_whose_row_cannot_be_told_from_another_topics_is_left(scene: Scene) -> None:
    """With the same time as well nobody can say whose row it is: nothing lands, and the operator decides."""
    again(1_700_000_000_000)(scene)
    report = scene.redrive().replay(["events-0-2"])
    assert (dict(report.outcomes), scene.rows()[0, 2]) == ({"unclear": 1}, 1)
    assert "another incarnation of the topic" in report.still_open[0].message
    assert scene.redrive().discard(["events-0-2"], why="it is there").discarded == 1


def test_an_id_that_two_topics_of_one_name_share_is_refused_and_both_are_named(scene: Scene) -> None:
    """With the topic id behind it, an id names one of the two."""
    other = stream(0, incarnation="topic-id-2")
    bury(scene.world, replace(letter(other, 2), value=b"other"))
    with pytest.raises(Misconfigured, match="names 2 letters") as refused:
        scene.redrive().replay(["events-0-2"])
    assert refused.value.code == "LETTER_AMBIGUOUS"
    assert "events-0-2@topic-id-1" in refused.value.next_step
    assert "events-0-2@topic-id-2" in refused.value.next_step
    assert scene.redrive().letter("events-0-2@topic-id-2").value == b"other"
    assert scene.redrive().replay(["events-0-2@topic-id-1"]).landed == 1


@pytest.mark.parametrize(
    "letter_id", ["events-0-99", "events-9-2", "other-0-2", "events-0-2@nobody", "nonsense", "", "\udc80", "a/b/c/0/2"]
)
def test_an_id_of_no_letter_is_refused_before_anything_is_done(scene: Scene, letter_id: str) -> None:
    """Also where others of the ids are right."""
    with pytest.raises(Misconfigured) as refused:
        scene.redrive().replay(["events-0-2", letter_id])
    assert refused.value.code == "LETTER_MISSING"
    assert scene.acted() == []


def test_only_the_letters_that_are_meant_land(scene: Scene) -> None:
    """By what they have in common: all of it has to hold."""
    assert scene.redrive().replay(where=LetterFilter(reason="other")).outcomes == {}
    assert scene.redrive().replay(where=LetterFilter(topic="events", partition=1), fix=requoted).landed == 1
    assert scene.acted() == [(1, 4, "replayed")]


def test_compaction_keeps_a_replayed_row_and_the_proof_of_it(tmp_path: Path) -> None:
    """The coordinates stay in the joined file, so that a replay finds the row there."""
    scene = scene_at(tmp_path, many(12))
    scene.redrive(limits=LetterLimits(letters_max=1)).replay(where=EVERYTHING)
    files = len(DeltaTable(scene.world.path).file_uris())
    home = scene.world.home("keeper")
    keeper = Maintenance(MaintenanceSettings(compaction_files_min=2), home.settings, home.clock, home.observer)
    keeper.after_commits(DeltaTable(scene.world.path).version(), 100, 60.0)
    assert len(DeltaTable(scene.world.path).file_uris()) < files
    assert scene.proof().findings == ()
    assert Counter(str(one.outcome) for one in replay_on(scene, MortalDisk(0, False, Crash))) == {}


def test_processes_that_replay_at_once_land_each_letter_once(tmp_path: Path) -> None:
    """Three processes, each with a commit for two letters, over the same forty."""
    scene = scene_at(tmp_path, many(40))
    racers = [SPAWN.Process(target=replay_all, args=(str(scene.file), 2)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0] * 3
    assert set(scene.rows().values()) == {1}
    proof = scene.proof()
    assert (proof.findings, proof.replayed, proof.unresolved) == ((), 40, 0)
    assert len(scene.acts()) == 40


def test_a_replay_that_is_killed_again_and_again_lands_each_letter_once(tmp_path: Path) -> None:
    """SIGKILL at any moment, started again each time."""
    scene = scene_at(tmp_path, many(60))
    moments = random.Random(11)
    before = DeltaTable(scene.world.path).version()
    for _ in range(2):
        worker = SPAWN.Process(target=replay_all, args=(str(scene.file), 1), daemon=True)
        worker.start()
        goal = DeltaTable(scene.world.path).version() + moments.randrange(2, 8)
        wait_until(lambda: DeltaTable(scene.world.path).version() >= goal, 60)  # noqa: B023 — waited for here
        worker.kill()
        worker.join(30)
        assert worker.exitcode == -signal.SIGKILL
        assert scene.proof().findings == ()
    assert DeltaTable(scene.world.path).version() > before
    scene.replay()
    proof = scene.proof()
    assert (proof.findings, proof.replayed, proof.unresolved, set(scene.rows().values())) == ((), 60, 0, {1})
    assert len(scene.acts()) == 60


@pytest.mark.parametrize(("number", "after"), [(1, False), (1, True), (2, False), (2, True)])
def test_sigkill_around_each_entry_that_is_put(tmp_path: Path, number: int, after: bool) -> None:
    """Before and after the entry of the rows and that of the trail get their names: the next replay completes it."""
    scene = scene_at(tmp_path)
    worker = SPAWN.Process(target=die_at, args=(str(tmp_path), number, after))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert scene.proof().findings == ()
    scene.replay()
    assert scene.rows() == EVERY_ROW
    assert [act for act in scene.acted() if act[2] == "replayed"] == [(0, offset, "replayed") for offset in GOOD]
