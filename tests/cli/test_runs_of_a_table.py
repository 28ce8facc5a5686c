"""`landfast runs --table`: what a table tells of people's own batches, what a crash has left, and how it is carried out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from landfast.delta_api import DeltaWriteOptions, start_run, write_idempotent
from tests.cli.command import landfast
from tests.writing.test_several_tables import commit_both, interrupted, seen
from tests.writing.writers import rows


def test_gaps_are_shown_and_are_no_fault(tmp_path: Path) -> None:
    """A number may be skipped: it stands there, and the exit code is that all is well."""
    run = start_run("nightly", run_id="r1")
    for number in (0, 3, 4):
        run.with_sequence(number).write(tmp_path / "t", rows("a", number), options=DeltaWriteOptions(attempts="table"))
    ended = landfast("runs", "--table", tmp_path / "t")
    assert ended.code == 0, ended.err
    assert "1 run\n" in ended.out
    assert "missing 1-2" in ended.out
    assert "the latest attempts" in ended.out
    told = json.loads(landfast("runs", "--table", tmp_path / "t", "--json").out)
    assert [(one["run_id"], one["rows"], one["missing"], one["whole"]) for one in told["runs"]] == [("r1", 9, [[1, 3]], False)]
    assert [one["outcome"] for one in told["attempts"]] == ["written"] * 3
    assert told["incomplete"] == told["carried_out"] == []


def test_what_a_crash_has_left_is_shown_carried_out_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the second table's word too, which only knows where the first one lies."""
    commit_both(start_run("pair", run_id="r1"), tmp_path)
    interrupted(tmp_path, monkeypatch)
    for table in ("a", "b"):
        left = landfast("runs", "--table", tmp_path / table)
        assert left.code == 1, left.err
        assert "1 commit to several tables incomplete" in left.out
    assert seen(tmp_path)["b"] == {0: 3}
    mended = landfast("runs", "--table", tmp_path / "b", "--repair", "--json")
    assert mended.code == 0, mended.err
    [done] = json.loads(mended.out)["carried_out"]
    assert (done["version"], done["missing"], [Path(path).name for path in done["tables"]]) == (1, "", ["a", "b"])
    assert seen(tmp_path) == {"a": {0: 3, 1: 3}, "b": {0: 3, 1: 3}}
    assert landfast("runs", "--table", tmp_path / "a").code == 0


def test_what_cannot_be_carried_out_is_said_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the table and the file that is missing, and the code that something was found."""
    commit_both(start_run("pair", run_id="r1"), tmp_path)
    interrupted(tmp_path, monkeypatch)
    write_idempotent(tmp_path / "b", rows("b", 5), run_id="r1", commit_sequence=5)
    ended = landfast("runs", "--table", tmp_path / "a", "--repair")
    assert ended.code == 1, ended.err
    assert "COMMIT_INCOMPLETE" in ended.out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "CONFIG_INVALID"),
        (("pipeline.toml", "--table", "t"), "CONFIG_INVALID"),
        (("pipeline.toml", "--repair"), "CONFIG_INVALID"),
        (("--table", "nowhere"), "TABLE_MISSING"),
        (("--table", "t", "--storage-option", "aws_secret_access_key=hush"), "CONFIG_INVALID"),
        (("--table", "t", "--storage-option", "token=env:NOT_THERE"), "CONFIG_SECRET"),
    ],
    ids=["nothing", "both", "repair of a pipeline", "no table", "plain secret", "no secret"],
)
def test_a_wrong_call_is_told_with_a_code_and_no_secret(tmp_path: Path, words: tuple[str, ...], code: str) -> None:
    """Exit code 2: nothing was read or written."""
    ended = landfast("runs", *(str(tmp_path / word) if word == "nowhere" else word for word in words), "--json")
    assert (ended.code, [one["code"] for one in ended.errors]) == (2, [code])
    assert "hush" not in ended.out + ended.err
