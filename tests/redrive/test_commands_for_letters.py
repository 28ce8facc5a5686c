"""`landfast dead-letters` from the command line: what it does, what it says, and with which exit code."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from landfast.errors import Misconfigured
from landfast.sinks.delta.files.paths import letters_path, trail_path
from tests.cli.table import Answer, ask
from tests.redrive.letters_world import LANE, QUOTED, Scene, scene_at

FIX = """
def fix(letter):
    return letter.value.replace(b"'", b'"')
"""


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three letters that can land by now, and one that cannot."""
    return scene_at(tmp_path)


def said(scene: Scene, command: str, *words: object) -> Answer:
    """A command about its letters."""
    return ask("dead-letters", command, scene.file, *words)


def refused(scene: Scene, command: str, *words: object) -> Misconfigured:
    """A command that is refused before it does anything."""
    with pytest.raises(Misconfigured) as error:
        said(scene, command, *words)
    assert scene.acted() == []
    return error.value


def test_a_replay_says_what_came_of_it_and_exits_1_where_letters_stay_open(scene: Scene) -> None:
    """Counts, the reasons of refusals, and the letters that stay; exit 0 once none does."""
    first = said(scene, "replay", "--where", "all")
    assert (first.code, first.out.splitlines()[0]) == (1, "came of it: 3 landed, 1 refused")
    assert "refused again: not_json 1" in first.out
    assert "events-1-4" in first.out
    (scene.file.parent / "mend.py").write_text(FIX)
    second = said(scene, "replay", "events-1-4", "--with", f"{scene.file.parent / 'mend.py'}:fix", "--json")
    assert (second.code, json.loads(second.out)["outcomes"]) == (0, {"landed": 1})
    assert said(scene, "replay", "--where", "all").out == "there are no such open letters\n"
    assert "4 dead letters: 0 open, 4 replayed, 0 discarded" in ask("verify", scene.file).out


def test_a_dry_run_tells_and_lands_nothing(scene: Scene) -> None:
    """`--dry-run` has the counts and the exit code of the replay, and the tables stay as they are."""
    before = DeltaTable(scene.world.path).version()
    answer = said(scene, "replay", "--where", "reason=bad", "--dry-run")
    assert (answer.code, answer.out.splitlines()[0]) == (1, "would come of it: 3 landed, 1 refused")
    assert (DeltaTable(scene.world.path).version(), scene.acted()) == (before, [])


def test_the_list_shows_open_letters_and_those_of_any_state(scene: Scene) -> None:
    """With the short ids, what was tried, and counts of the others."""
    said(scene, "replay", "--where", "all")
    listed = said(scene, "list").out
    assert "1 dead letter: bad 1 (replayed 3)" in listed
    assert "events-1-4" in listed
    assert "open, refused 1 more times, last 20" in listed
    everything = json.loads(said(scene, "list", "--state", "all", "--json").out)
    assert (everything["total"], everything["states"]) == (4, {"replayed": 3, "open": 1})
    assert sorted(one["short_id"] for one in everything["letters"]) == ["events-0-2", "events-0-3", "events-0-5", "events-1-4"]
    assert json.loads(said(scene, "list", "--state", "replayed", "--since", "2023-11-14", "--json").out)["total"] == 3
    assert json.loads(said(scene, "list", "--since", "1h", "--json").out)["total"] == 0
    assert "no dead letters that stand so; there are replayed 3, open 1" in said(scene, "list", "--state", "discarded").out


def test_a_letter_is_shown_by_its_short_id_with_what_was_done(scene: Scene) -> None:
    """Its bytes as they were refused, and every act with who and when."""
    said(scene, "replay", "--where", "all", "--by", "ann \x1b[2J")
    shown = said(scene, "show", "events-1-4")
    assert "value (13 bytes): {'number': 7}" in shown.out
    assert "refused: 20" in shown.out
    assert "\x1b" not in shown.out
    assert "00000000  7b 27" in said(scene, "show", "events-1-4", "--hex").out
    acts = json.loads(said(scene, "show", "events-0-2", "--json").out)["acts"]
    assert [(act["act"], act["edited"]) for act in acts] == [("replayed", False)]


def test_an_edited_letter_is_replayed_with_its_new_bytes_and_keeps_its_own(scene: Scene) -> None:
    """The edit lies beside; the letter is as it was."""
    value = scene.file.parent / "value"
    value.write_bytes(b'{"number": 77}')
    answer = said(scene, "edit", "events-1-4", "--value-file", value, "--why", "quotes")
    assert (answer.code, answer.out) == (0, "events-1-4: 14 bytes to replay in the place of its value\n")
    again = said(scene, "edit", "events-1-4", "--value-file", value)
    assert "the bytes are the same" in again.out
    assert said(scene, "replay", "events-1-4").code == 0
    rows = DeltaTable(scene.world.path).to_pyarrow_table().to_pylist()
    assert [row["number"] for row in rows if (row["_partition"], row["_offset"]) == (1, 4)] == [77]
    letters = DeltaTable(letters_path(scene.world.path)).to_pyarrow_table().to_pylist()
    assert [row["value"] for row in letters if row["offset"] == 4] == [QUOTED]
    assert [(act["act"], act["number"], act["edited"], act["why"]) for act in scene.acts()] == [
        ("edited", 1, True, "quotes"),
        ("replayed", 2, True, ""),
    ]
    with pytest.raises(Misconfigured) as late:
        said(scene, "edit", "events-1-4", "--value-file", scene.file)
    assert late.value.code == "LETTER_RESOLVED"


def test_the_newest_edit_counts(scene: Scene) -> None:
    """Edited twice, a letter has the bytes of the second."""
    for number in (1, 2):
        scene.redrive().edit("events-1-4", b'{"number": %d}' % number)
    assert scene.redrive().letter("events-1-4").value == b'{"number": 2}'
    scene.replay()
    rows = DeltaTable(scene.world.path).to_pyarrow_table().to_pylist()
    assert [row["number"] for row in rows if (row["_partition"], row["_offset"]) == (1, 4)] == [2]


def test_an_editor_is_given_the_bytes_and_what_it_writes_counts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever EDITOR names; one that fails changes nothing."""
    editor = scene.file.parent / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/\'/\\"/g" "$1"\n')
    editor.chmod(0o700)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(editor))
    assert said(scene, "edit", "events-1-4").code == 0
    assert scene.redrive().letter("events-1-4").value == b'{"number": 7}'
    monkeypatch.setenv("EDITOR", "")
    with pytest.raises(Misconfigured, match="no editor is named"):
        said(scene, "edit", "events-0-2")
    monkeypatch.setenv("EDITOR", "false")
    with pytest.raises(Misconfigured, match="the editor false could not be run to its end"):
        said(scene, "edit", "events-0-2")


def test_an_editor_that_changes_nothing_of_a_record_without_a_value_writes_nothing_down(tmp_path: Path) -> None:
    """An editor shows no value and no bytes alike: a record without one does not become one of no bytes by being looked at."""
    scene = scene_at(tmp_path, {LANE: {2: None}})
    assert "the bytes are the same" in said(scene, "edit", "events-0-2", "--editor", "true").out
    assert dict(scene.replay().reasons) == {"tombstone": 1}


def test_a_discarded_letter_is_not_replayed_and_the_reason_is_kept(scene: Scene) -> None:
    """It stays where it is, is not open any more, and cannot be discarded twice."""
    answer = said(scene, "discard", "events-0-2", "--why", "a  test\nrecord")
    assert (answer.code, answer.out) == (0, "1 letter discarded\n")
    assert [(act["act"], act["why"]) for act in scene.acts()] == [("discarded", "a test record")]
    again = said(scene, "discard", "events-0-2", "--why", "again", "--json")
    assert (again.code, [one["outcome"] for one in json.loads(again.out)["kept"]]) == (1, ["resolved"])
    assert dict(scene.replay().outcomes) == {"landed": 2, "refused": 1}
    assert said(scene, "discard", "--where", "all", "--why", "the rest").out == "1 letter discarded\n"
    assert (scene.proof().findings, scene.proof().open_letters) == ((), 0)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_letters_are_exported_whole_and_never_over_a_file(scene: Scene, form: str) -> None:
    """Byte for byte, for their owner only; a file that is there is replaced on demand alone, and nothing else is left in the folder."""
    scene.replay()
    target = scene.file.parent / "out" / "letters"
    target.parent.mkdir()
    assert said(scene, "export", "--output", target, "--format", form, "--state", "all").out == f"4 dead letters in {target}\n"
    if form == "jsonl":
        rows = [json.loads(line) for line in target.read_text().splitlines()]
        values = {row["id"]: base64.b64decode(row["value"]) for row in rows}
    else:
        rows = pq.read_table(target).to_pylist()
        values = {row["id"]: row["value"] for row in rows}
    assert [row["id"] for row in rows] == ["events-0-2", "events-0-3", "events-1-4", "events-0-5"]
    assert values["events-1-4"] == QUOTED
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    content = target.read_bytes()
    with pytest.raises(Misconfigured, match="is there already"):
        said(scene, "export", "--output", target)
    assert target.read_bytes() == content
    assert said(scene, "export", "--output", target, "--where", "partition=1", "--force").out.startswith("1 dead letter in")
    assert [path.name for path in target.parent.iterdir()] == ["letters"]


def test_an_export_that_fails_leaves_no_file(scene: Scene) -> None:
    """A folder that is not there is said."""
    error = refused(scene, "export", "--output", scene.file.parent / "nowhere" / "letters")
    assert "cannot be written" in error.message


@pytest.mark.parametrize(
    ("words", "beginning"),
    [
        ((), "nothing says which letters are meant"),
        (("events-0-2", "--where", "all"), "ids and --where are given"),
        (("--where", "colour=red"), "--where: 'colour=red' is no condition"),
        (("--where", "reason"), "--where: 'reason' is no condition"),
        (("--where", "reason=a", "--where", "reason=b"), "--where: reason is given twice"),
        (("--where", "partition=x"), "--where: 'x' is no partition"),
        (("--where", "since=soon"), "--where since: 'soon' is no time"),
        (("--where", "all", "--with", "fix"), "--with: 'fix' does not name a function"),
        (("--where", "all", "--with", "nowhere.py:fix"), "--with: there is no Python file nowhere.py"),
        (("--where", "all", "--route", "other"), "there is no route 'other'"),
    ],
)
def test_a_command_that_cannot_be_meant_is_refused(scene: Scene, words: tuple[str, ...], beginning: str) -> None:
    """With what is wrong, and what to write in its place; nothing was done."""
    error = refused(scene, "replay", *words)
    assert error.message.startswith(beginning)
    assert error.next_step


@pytest.mark.parametrize(
    ("text", "words"),
    [("def other(): ...", "has no function fix"), ("1 / 0", "fails as it is loaded: ZeroDivisionError"), ("(", "SyntaxError at line 1")],
)
def test_a_file_that_cannot_mend_is_refused_without_its_text(scene: Scene, text: str, words: str) -> None:
    """A traceback could show what the file read."""
    (scene.file.parent / "mend.py").write_text(text)
    error = refused(scene, "replay", "--where", "all", "--with", f"{scene.file.parent / 'mend.py'}:fix")
    assert words in error.message


def test_other_commands_are_refused_as_well(scene: Scene) -> None:
    """Each says what it needs."""
    assert "--state: there is no state 'old'" in refused(scene, "list", "--state", "old").message
    assert "why the letters are discarded is not said" in refused(scene, "discard", "events-0-2", "--why", " ").message
    assert "characters, and at most" in refused(scene, "discard", "events-0-2", "--why", "w" * 2000).message
    assert "cannot be read" in refused(scene, "edit", "events-0-2", "--value-file", scene.file.parent / "nowhere").message
    large = scene.file.parent / "large"
    large.write_bytes(bytes(17 * 1024 * 1024))
    assert "at most 16,777,216" in refused(scene, "edit", "events-0-2", "--value-file", large).message


def test_without_a_table_there_is_nothing_to_replay_and_none_is_made(tmp_path: Path) -> None:
    """A wrong path must not begin a table."""
    scene = scene_at(tmp_path, {LANE: {2: QUOTED}})
    scene.file.write_text(scene.file.read_text().replace('path = "table"', 'path = "elsewhere"'))
    with pytest.raises(Misconfigured) as error:
        said(scene, "replay", "--where", "all")
    assert error.value.code == "TABLE_MISSING"
    assert not (tmp_path / "elsewhere").exists()
    assert not DeltaTable.is_deltatable(trail_path(str(tmp_path / "elsewhere")))
