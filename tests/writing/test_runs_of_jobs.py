"""A run hands out consecutive numbers, survives its process, and shows gaps and repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from landfast.delta_api import IdempotentWriteOptions, RunContext, check_run, resume_run, runs_in, start_run, write_idempotent
from landfast.errors import LandfastError, Misconfigured
from landfast.sinks.delta.files.names import LOG
from tests.writing.writers import landed, rows


def test_a_run_hands_out_consecutive_numbers_and_never_changes(tmp_path: Path) -> None:
    """Asked twice, one context gives the same number: whoever shares it repeats a write, and that lands once."""
    run = start_run("nightly", run_id="r1")
    first, second_run = run.next_commit_version()
    same, _ = run.next_commit_version()
    second, _ = second_run.next_commit_version()
    assert first == same == IdempotentWriteOptions("landfast-run/r1", 0, told=first.told)
    assert (second.version, second_run.commit_sequence, run.commit_sequence) == (1, 1, 0)
    assert [write_idempotent(tmp_path / "t", rows("a", 1), one).outcome for one in (first, same)] == ["written", "already there"]
    assert landed(tmp_path / "t") == {("a", 1): 1}


def test_a_run_is_resumed_from_the_table_alone(tmp_path: Path) -> None:
    """Its process is gone; the table knows the next number, the label and the metadata."""
    run = start_run("nightly", metadata={"day": "2026-11-22", "shards": 3})
    for number in range(3):
        _, run = run.write(tmp_path / "t", rows("a", number))
    resumed = resume_run(tmp_path / "t", run.run_id)
    assert resumed == run
    assert resumed.commit_sequence == 3
    done, _ = resumed.with_sequence(2).write(tmp_path / "t", rows("a", 2))
    assert done.outcome == "already there"


def test_a_run_is_resumed_when_the_log_has_forgotten_its_commits(tmp_path: Path) -> None:
    """The number outlasts the log's entries; label and metadata do not."""
    start_run("nightly", run_id="r1").write(tmp_path / "t", rows("a", 0))
    DeltaTable(str(tmp_path / "t")).create_checkpoint()
    for entry in (tmp_path / "t" / LOG).glob("*.json"):
        entry.unlink()
    assert resume_run(tmp_path / "t", "r1") == RunContext("r1", "", 1)


def test_gaps_and_repeats_are_found(tmp_path: Path) -> None:
    """A number that was skipped is missing; one that another tool wrote a second time is repeated."""
    run = start_run("nightly", run_id="r1")
    for number in (0, 1, 4, 5, 7):
        run.with_sequence(number).write(tmp_path / "t", rows("a", number))
    found = check_run(tmp_path / "t", "r1")
    assert (found.commits, found.rows, found.first_sequence, found.last_sequence) == (5, 15, 0, 7)
    assert (found.missing, found.repeated, found.whole) == (((2, 4), (6, 7)), (), False)
    told = DeltaTable(str(tmp_path / "t")).history(1)[0]["landfast.write"]
    write_deltalake(
        str(tmp_path / "t"), rows("a", 7), mode="append", commit_properties=CommitProperties(custom_metadata={"landfast.write": told})
    )
    assert check_run(tmp_path / "t", "r1").repeated == (7,)
    start_run("other", run_id="r2").write(tmp_path / "t", rows("b", 0))
    assert [(one.run_id, one.label, one.whole) for one in runs_in(tmp_path / "t")] == [("r1", "nightly", False), ("r2", "other", True)]


def test_diagnostics_hear_of_start_commits_and_finish(tmp_path: Path) -> None:
    """Each with the payload of the run at that moment."""
    heard: list[tuple[str, dict[str, Any]]] = []
    run = start_run("nightly", metadata={"day": 1}, diagnostics=lambda event, payload: heard.append((event, dict(payload))))
    for number in range(2):
        _, run = run.write(tmp_path / "t", rows("a", number))
    run.finish()
    assert [(event, payload["commit_sequence"]) for event, payload in heard] == [("start", 0), ("commit", 0), ("commit", 1), ("finish", 2)]
    assert heard[1][1]["outcome"] == "written"
    assert heard[3][1] == {**run.payload(), "outcome": "succeeded"}


@pytest.mark.parametrize("ask", [resume_run, check_run])
def test_an_unknown_run_or_table_is_said_to_be_one(tmp_path: Path, ask: Any) -> None:
    """With a code of its own, and what to do."""
    for code in ("TABLE_MISSING", "RUN_UNKNOWN"):
        with pytest.raises(LandfastError) as refused:
            ask(tmp_path / "t", "r9")
        assert refused.value.code == code
        write_idempotent(tmp_path / "t", rows("a", 0), app_id="a", version=0)


def test_metadata_that_json_cannot_hold_is_refused() -> None:
    """At the start, not at the first commit."""
    with pytest.raises(Misconfigured, match="JSON"):
        start_run("nightly", metadata={"path": Path()})
