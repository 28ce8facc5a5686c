"""One commit to several tables: all of it or nothing, for whoever reads sealed versions, however it was interrupted."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from deltalake import DeltaTable

from landfast.delta_api import RunContext, TablesCommit, complete_commits, resume_run, sealed, start_run, write_idempotent
from landfast.errors import Conflict, Misconfigured
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.names import COMMITS
from tests.writing.writers import PATIENT, Crash, landed, rows


def commit_both(run: RunContext, lake: Path, count: int = 3) -> None:
    """The run's next commit, to two tables."""
    with run.commit_to(lake / "a", lake / "b") as commit:
        for table in ("a", "b"):
            commit.write(lake / table, rows(table, run.commit_sequence, count))


def seen(lake: Path) -> dict[str, Counter[Any]]:
    """What a reader of sealed versions finds in both tables."""
    versions = sealed(lake / "a", lake / "b")
    found = {}
    for path, version in versions.items():
        table = DeltaTable(path, version=version).to_pyarrow_table()
        found[Path(path).name] = Counter(table.column("version").to_pylist())
    return found


class Mortal(contextlib.AbstractContextManager["Mortal"]):
    """While it is open, the process ends at the act with a number, before its effect or after it."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int, *, after: bool) -> None:
        self._patch = patch
        self._number = number
        self._after = after
        self.acts = 0

    def __enter__(self) -> Self:
        """Surround the act by which files get their names: what comes between two of them is to be seen by nobody."""
        self._patch.setattr(Disk, "link", self._around(Disk.link))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        """The disk is as it was; the end of the process is no error of the test's."""
        self._patch.undo()
        return isinstance(error, Crash)

    def _around(self, real: Any) -> Any:
        def act(disk: Disk, *args: Any) -> None:
            self.acts += 1
            mine = self.acts == self._number
            if mine and not self._after:
                raise Crash
            real(disk, *args)
            if mine:
                raise Crash

        return act


def test_a_commit_lands_in_all_tables_and_is_sealed(tmp_path: Path) -> None:
    """Under one number; repeated, it is already there in both."""
    run = start_run("pair", run_id="r1")
    for outcome in ("written", "already there"):
        with run.commit_to(tmp_path / "a", tmp_path / "b") as commit:
            for table in ("a", "b"):
                commit.write(tmp_path / table, rows(table, 0))
        assert [result.outcome for result in commit.results.values()] == [outcome] * 2
    assert landed(tmp_path / "a") == {("a", 0): 1}
    assert landed(tmp_path / "b") == {("b", 0): 1}
    assert seen(tmp_path) == {"a": {0: 3}, "b": {0: 3}}
    assert resume_run(tmp_path / "b", "r1").commit_sequence == 1


def test_two_who_make_the_same_commit_at_once_are_told_the_truth(tmp_path: Path) -> None:
    """Of each table exactly one of them is told that it wrote, whoever's intent it was."""
    run, ready = start_run("pair", run_id="r1"), threading.Barrier(2)

    def commit_it(_: int) -> list[str]:
        with run.commit_to(tmp_path / "a", tmp_path / "b", retry=PATIENT) as commit:
            for table in ("a", "b"):
                commit.write(tmp_path / table, rows(table, 0))
            ready.wait(60)
        return [result.outcome for result in commit.results.values()]

    with ThreadPoolExecutor(2) as two:
        told = list(two.map(commit_it, range(2)))
    assert [sorted(outcomes) for outcomes in zip(*told, strict=True)] == [["already there", "written"]] * 2
    assert seen(tmp_path) == {"a": {0: 3}, "b": {0: 3}}


def test_a_block_that_raises_lands_nothing(tmp_path: Path) -> None:
    """In no table, and no intent is left."""
    run = start_run("pair")
    with pytest.raises(ZeroDivisionError), run.commit_to(tmp_path / "a", tmp_path / "b") as commit:
        write_and_fail(commit, tmp_path)
    assert DeltaTable(str(tmp_path / "a")).to_pyarrow_table().num_rows == 0
    assert complete_commits(tmp_path / "a") == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_act_is_completed_by_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    """Every act of every disk, one by one: at no moment does a reader of sealed versions see a part, and the repetition lands once."""
    begin = tmp_path / "begin"
    commit_both(start_run("pair", run_id="r1"), begin)
    parts = 0
    for number in itertools.count(1):
        lake = tmp_path / f"lake{number}"
        shutil.copytree(begin, lake)
        run = start_run("pair", run_id="r1").with_sequence(1)
        with Mortal(monkeypatch, number, after=after) as mortal:
            commit_both(run, lake)
        held = {table: landed(lake / table)[table, 1] for table in ("a", "b")}
        parts += held == {"a": 1, "b": 0}
        assert seen(lake)["a"] == seen(lake)["b"] in ({0: 3}, {0: 3, 1: 3}), number
        commit_both(run, lake)
        assert seen(lake) == {"a": {0: 3, 1: 3}, "b": {0: 3, 1: 3}}, number
        assert landed(lake / "a") == {("a", 0): 1, ("a", 1): 1}
        assert landed(lake / "b") == {("b", 0): 1, ("b", 1): 1}
        if mortal.acts < number:
            break
    assert parts > 0


def test_what_a_crash_has_left_is_carried_out_without_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the process that began it is needed: files and intent are in the tables."""
    commit_both(start_run("pair", run_id="r1"), tmp_path)
    interrupted(tmp_path, monkeypatch)
    assert seen(tmp_path) == {"a": {0: 3}, "b": {0: 3}}
    [done] = complete_commits(tmp_path / "a")
    assert (done.version, done.missing, [Path(path).name for path in done.tables]) == (1, "", ["a", "b"])
    assert seen(tmp_path) == {"a": {0: 3, 1: 3}, "b": {0: 3, 1: 3}}
    assert complete_commits(tmp_path / "a") == []


def test_what_cannot_be_carried_out_is_told_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody removed: the answer names it, readers of sealed versions stay before it, and the run does not go on."""
    commit_both(start_run("pair", run_id="r1"), tmp_path)
    interrupted(tmp_path, monkeypatch)
    named = {Path(uri).name for uri in DeltaTable(str(tmp_path / "b")).file_uris()}
    [staged] = [file for file in (tmp_path / "b").glob("write-*") if file.name not in named]
    staged.unlink()
    [left] = complete_commits(tmp_path / "a")
    assert staged.name in left.missing
    assert seen(tmp_path) == {"a": {0: 3}, "b": {0: 3}}
    with pytest.raises(Misconfigured, match=staged.name) as refused:
        commit_both(resume_run(tmp_path / "a", "r1"), tmp_path)
    assert refused.value.code == "COMMIT_INCOMPLETE"


def test_other_rows_under_a_number_that_was_begun_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The intent that is there counts; it is carried out, and the caller is told that hers is another."""
    run = start_run("pair", run_id="r1")
    commit_both(run, tmp_path)
    with pytest.raises(Conflict) as refused:
        commit_both(run, tmp_path, count=5)
    assert refused.value.code == "WRITE_DIFFERS"
    assert seen(tmp_path) == {"a": {0: 3}, "b": {0: 3}}


def test_writes_of_others_are_in_a_sealed_version(tmp_path: Path) -> None:
    """Only commits to several tables wait for a seal."""
    commit_both(start_run("pair", run_id="r1"), tmp_path)
    write_idempotent(tmp_path / "b", rows("b", 9), app_id="other", version=1)
    assert seen(tmp_path) == {"a": {0: 3}, "b": {0: 3, 9: 3}}


def test_each_table_of_a_commit_is_written_to_once(tmp_path: Path) -> None:
    """Not at all, twice, or to another table: refused, and nothing lands."""
    run = start_run("pair")
    with pytest.raises(Misconfigured, match="nothing was written to"), run.commit_to(tmp_path / "a", tmp_path / "b") as commit:
        commit.write(tmp_path / "a", rows("a", 0))
    with pytest.raises(Misconfigured, match="was written to before"), run.commit_to(tmp_path / "a") as commit:
        write_twice(commit, tmp_path)
    with pytest.raises(Misconfigured, match="is none of this commit's"), run.commit_to(tmp_path / "a") as commit:
        commit.write(tmp_path / "c", rows("c", 0))
    with pytest.raises(Misconfigured, match="each once"):
        run.commit_to(tmp_path / "a", tmp_path / "a")
    assert DeltaTable(str(tmp_path / "a")).to_pyarrow_table().num_rows == 0


def write_twice(commit: TablesCommit, lake: Path) -> None:
    for _ in range(2):
        commit.write(lake / "a", rows("a", 0))


def write_and_fail(commit: TablesCommit, lake: Path) -> None:
    commit.write(lake / "a", rows("a", 0))
    commit.write(lake / "b", rows("b", 1 // 0))


def interrupted(lake: Path, monkeypatch: pytest.MonkeyPatch, sequence: int = 1) -> None:
    """A commit of the run, its second, whose process ends right after its share of the first table has landed."""
    run = start_run("pair", run_id="r1").with_sequence(sequence)
    for number in itertools.count(1):
        copy = lake.with_name(f"{lake.name}-{sequence}-{number}")
        shutil.copytree(lake, copy)
        with Mortal(monkeypatch, number, after=True):
            commit_both(run, copy)
        if landed(copy / "a")["a", sequence] and not landed(copy / "b")["b", sequence]:
            break
    with Mortal(monkeypatch, number, after=True):
        commit_both(run, lake)
    assert (landed(lake / "a")["a", sequence], landed(lake / "b")["b", sequence]) == (1, 0)


def test_what_was_meant_goes_when_it_is_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small seal is left of each commit; what a crash has left beside one goes with the next look."""
    run = start_run("pair", run_id="r1")
    kept = tmp_path / "a" / COMMITS

    def crash(_disk: Disk, path: Path) -> None:
        if path.parent == kept:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "remove", crash)
        with contextlib.suppress(Crash):
            commit_both(run, tmp_path)
    assert sorted(path.name.partition(".")[2] for path in kept.iterdir()) == ["intent.json", "sealed.json"]
    assert seen(tmp_path) == {"a": {0: 3}, "b": {0: 3}}
    assert complete_commits(tmp_path / "a") == []
    commit_both(run, tmp_path)
    assert [path.name.partition(".")[2] for path in kept.iterdir()] == ["sealed.json"]
    with pytest.raises(Conflict):
        commit_both(run, tmp_path, count=5)
    assert [path.name.partition(".")[2] for path in kept.iterdir()] == ["sealed.json"]
