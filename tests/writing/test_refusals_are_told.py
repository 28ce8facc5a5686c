"""What cannot be done is said with a code, before anything is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, write_deltalake

from landfast.delta_api import (
    DeltaWriteOptions,
    DeltaWriteRetryPolicy,
    IdempotentWriteOptions,
    complete_commits,
    incomplete_commits,
    start_run,
    write_idempotent,
)
from landfast.errors import Broken, LandfastError, Misconfigured, Unavailable
from landfast.sinks.delta.files.names import COMMITS
from landfast.sinks.delta.writing.persistence import Persistence
from landfast.sinks.delta.writing.write import target_of, write
from landfast.system import SystemClock
from landfast.testing.memory import RecordingObserver
from tests.writing.test_several_tables import commit_both, interrupted
from tests.writing.writers import Crash, MortalDisk, rows

JOB = IdempotentWriteOptions("job", 7)


@pytest.mark.parametrize(
    "named", [{}, {"app_id": "a"}, {"run_id": "r", "version": 1}, {"app_id": "a", "version": 1, "run_id": "r"}], ids=repr
)
def test_a_write_has_one_identity(tmp_path: Path, named: dict[str, Any]) -> None:
    """Not none, not half of one, not two."""
    with pytest.raises(Misconfigured, match="one identity"):
        write_idempotent(tmp_path / "t", rows("a", 1), **named)  # type: ignore[misc]


HALF = "a\ud800b"
"""Half of a surrogate pair: it has no bytes."""


@pytest.mark.parametrize(
    "call",
    [
        lambda path: write_idempotent(path, rows("a", 1), app_id=HALF, version=1),
        lambda path: start_run("daily", run_id=HALF).write(path, rows("a", 1)),
        lambda path: start_run(HALF).write(path, rows("a", 1)),
        lambda path: write_idempotent(path, rows("a", 1), IdempotentWriteOptions("a", 1, told={HALF: "b"})),
        lambda path: write_idempotent(path, rows("a", 1), JOB, options=DeltaWriteOptions(mode="overwrite", predicate=HALF)),
    ],
    ids=["app_id", "run_id", "label", "told", "predicate"],
)
def test_text_that_no_log_can_hold_is_refused(tmp_path: Path, call: Callable[[Path], object]) -> None:
    """Whichever name of a write holds some, it is told by its code, and nothing is written."""
    with pytest.raises(Misconfigured) as refused:
        call(tmp_path / "t")
    assert refused.value.code == "WRITE_INVALID"
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("predicate", [None, "app = 'old'"])
def test_a_table_that_only_grows_is_not_overwritten(tmp_path: Path, predicate: str | None) -> None:
    """Its property says so; all of it, or a part."""
    write_deltalake(str(tmp_path / "t"), rows("old", 1), configuration={"delta.appendOnly": "true"})
    with pytest.raises(Misconfigured, match="append-only"):
        write_idempotent(tmp_path / "t", rows("old", 2), JOB, options=DeltaWriteOptions(mode="overwrite", predicate=predicate))
    assert write_idempotent(tmp_path / "t", rows("old", 2), JOB).outcome == "written"


@pytest.mark.parametrize(
    ("content", "code"),
    [("{", "LOG_CORRUPT"), ("[]", "LOG_CORRUPT"), ('{"format": 1}', "LOG_CORRUPT"), ('{"format": 99}', "VERSION_TOO_OLD")],
    ids=["cut off", "no mapping", "incomplete", "of a later version"],
)
def test_an_intent_that_cannot_be_read_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, code: str) -> None:
    """Nothing of it is carried out, and nothing is taken for sealed."""
    commit_both(start_run("pair", run_id="r1"), tmp_path)
    interrupted(tmp_path, monkeypatch)
    [intent] = (tmp_path / "a" / COMMITS).glob("*0001.intent.json")
    intent.write_text(content)
    for look in (complete_commits, incomplete_commits):
        with pytest.raises(Broken) as refused:
            look(tmp_path / "a")
        assert refused.value.code == code


def test_a_seal_that_cannot_be_read_is_not_taken_for_one(tmp_path: Path) -> None:
    """The repetition of its commit says so."""
    commit_both(start_run("pair", run_id="r1"), tmp_path)
    [seal] = (tmp_path / "a" / COMMITS).glob("*.sealed.json")
    seal.write_text(json.dumps({"at": 1}))
    with pytest.raises(Broken, match="not as Landfast writes it"):
        commit_both(start_run("pair", run_id="r1"), tmp_path)


def test_other_writers_who_never_let_go_end_the_tries(tmp_path: Path) -> None:
    """Somebody makes each version first: after the last attempt it is said, with what helps."""
    path = tmp_path / "t"

    class Rivals(MortalDisk):
        number = 0

        def link(self, draft: Path, name: Path) -> None:
            if name.suffix == ".json":
                self.number += 1
                write_idempotent(path, rows("rival", self.number, 1), app_id="rival", version=self.number)
            super().link(draft, name)

    write_idempotent(path, rows("old", 1), app_id="old", version=1)
    options = DeltaWriteOptions()
    target = target_of(str(path), {}, options, SystemClock(), RecordingObserver(), Rivals(0, after=False, error=Crash))
    with pytest.raises(Unavailable, match="each of 3 attempts") as ended:
        write(target, rows("job", 7), JOB, options, DeltaWriteRetryPolicy(attempts_max=3, wait_seconds_max=0))
    assert ended.value.code == "COMMIT_CONFLICT"
    assert write_idempotent(path, rows("job", 7), JOB).outcome == "written"


@pytest.mark.parametrize(("auth", "tried"), [("error", 1), ("retry", 2)])
def test_a_refused_credential_is_tried_again_only_where_that_is_asked_for(auth: Any, tried: int) -> None:
    """It may be one that is renewed at this moment; most often it is wrong."""
    acts = []

    def refused(attempt: int) -> None:
        acts.append(attempt)
        message = "403 Forbidden"
        raise OSError(message)

    policy = DeltaWriteRetryPolicy(attempts_max=2, wait_seconds_max=0, auth=auth)
    with pytest.raises(LandfastError) as ended:
        Persistence(policy, SystemClock()).tries("writing", refused)
    assert (ended.value.code, len(acts)) == ("SINK_AUTH", tried)


def test_a_checkpoint_in_parts_is_told(tmp_path: Path) -> None:
    """A predicate works on a copy of the log, and such a checkpoint cannot be copied in one act."""
    write_deltalake(str(tmp_path / "t"), rows("old", 1))
    DeltaTable(str(tmp_path / "t")).create_checkpoint()
    log = tmp_path / "t" / "_delta_log"
    (log / f"{0:020d}.checkpoint.parquet").rename(log / f"{0:020d}.checkpoint.{1:010d}.{1:010d}.parquet")
    (log / "_last_checkpoint").unlink()
    with pytest.raises(Misconfigured, match="checkpoint in parts"):
        write_idempotent(tmp_path / "t", rows("old", 2), JOB, options=DeltaWriteOptions(mode="overwrite", predicate="app = 'old'"))
