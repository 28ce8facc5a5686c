"""A job that writes several batches: their numbers, handed out one after the other, and read back from the table alone."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from landfast.delta_api.together import TablesCommit
from landfast.delta_api.writes import write_idempotent
from landfast.errors import Misconfigured
from landfast.sinks.delta.files.paths import shown
from landfast.sinks.delta.writing.attempts import WriteAttempt, attempts_of
from landfast.sinks.delta.writing.runs import RunCheck, check, newest_of, runs
from landfast.sinks.delta.writing.values import DeltaWriteOptions, DeltaWriteResult, DeltaWriteRetryPolicy, IdempotentWriteOptions

Diagnostics = Callable[[str, Mapping[str, Any]], None]
"""Is told of `start`, `commit` and `finish`, each with the payload of the run at that moment."""
_LABEL, _METADATA = "label", "metadata"


def _silence(event: str, payload: Mapping[str, Any]) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """A run at one moment. It never changes: each number handed out comes with the run that follows, so sharing one corrupts nothing.

    run_id           its name, by which it is resumed; unique among the runs of the tables that it writes to
    label            what kind of run it is, for people
    commit_sequence  the number that its next commit gets; 0 where it has made none
    metadata         what its commits say of it besides: values that JSON can hold
    """

    run_id: str
    label: str
    commit_sequence: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    diagnostics: Diagnostics = field(default=_silence, repr=False, compare=False)

    def next_commit_version(self) -> tuple[IdempotentWriteOptions, RunContext]:
        """As whom the next commit is made, and the run after it."""
        told = {_LABEL: self.label, _METADATA: json.dumps(dict(self.metadata), sort_keys=True)}
        return IdempotentWriteOptions.of_run(self.run_id, self.commit_sequence, told), self.with_sequence(self.commit_sequence + 1)

    def with_sequence(self, commit_sequence: int) -> RunContext:
        """The run with another number for its next commit: to go on behind what is known to have landed."""
        return replace(self, commit_sequence=commit_sequence)

    def payload(self) -> dict[str, Any]:
        """The run as plain values, for logs and metrics."""
        return {"run_id": self.run_id, "label": self.label, "commit_sequence": self.commit_sequence, "metadata": dict(self.metadata)}

    def write(
        self,
        table: str | os.PathLike[str],
        data: object,
        *,
        options: DeltaWriteOptions | None = None,
        retry: DeltaWriteRetryPolicy | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> tuple[DeltaWriteResult, RunContext]:
        """Write the next batch once, as `write_idempotent` does; its result, and the run after it."""
        identity, after = self.next_commit_version()
        result = write_idempotent(table, data, identity, options=options, retry=retry, storage_options=storage_options)
        told = {"outcome": result.outcome, "table_version": result.table_version, "rows": result.rows, "attempts": result.attempts}
        self.diagnostics("commit", {**self.payload(), **told, "seconds": result.seconds})
        return result, after

    def commit_to(
        self,
        *tables: str | os.PathLike[str],
        retry: DeltaWriteRetryPolicy | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> TablesCommit:
        """The run's next commit, to several tables at once; the first of them keeps its intent. The run after it is `with_sequence`'s.

        with run.commit_to("lake/orders", "lake/items") as commit:
            commit.write("lake/orders", orders)
            commit.write("lake/items", items)
        run = run.with_sequence(run.commit_sequence + 1)
        """
        paths = tuple(os.fspath(table) for table in tables)
        if len(paths) != len(set(paths)) or not paths:
            message = "a commit to several tables has to name at least one, and each once"
            raise Misconfigured("WRITE_INVALID", message, next_step="Correct the call. Nothing was read or written.")
        if any(shown(path) != path for path in paths):
            message = "the path of a table carries a password or a query, and a commit to several tables writes its paths down"
            raise Misconfigured("WRITE_INVALID", message, next_step="Give it in storage_options. Nothing was read or written.")
        return TablesCommit(self.next_commit_version()[0], paths, storage_options or {}, retry or DeltaWriteRetryPolicy())

    def finish(self, outcome: str = "succeeded") -> None:
        """Tell the diagnostics that the run is over. Nothing is written."""
        self.diagnostics("finish", {**self.payload(), "outcome": outcome})


def start_run(
    label: str, run_id: str | None = None, metadata: Mapping[str, Any] | None = None, diagnostics: Diagnostics | None = None
) -> RunContext:
    """A new run. Without a `run_id` it gets one that nobody else has.

    Raises:
        Misconfigured: the metadata holds what JSON cannot.
    """
    try:
        json.dumps(dict(metadata or {}))
    except (TypeError, ValueError) as error:
        message = f"the metadata of a run has to be what JSON can hold: {error}"
        raise Misconfigured("WRITE_INVALID", message, next_step="Correct the call. Nothing was read or written.") from error
    run = RunContext(run_id or uuid.uuid4().hex, label, 0, dict(metadata or {}), diagnostics or _silence)
    run.diagnostics("start", run.payload())
    return run


def resume_run(
    table: str | os.PathLike[str],
    run_id: str,
    *,
    storage_options: Mapping[str, str] | None = None,
    diagnostics: Diagnostics | None = None,
) -> RunContext:
    """A run as the table knows it: its next number is behind what has landed there, whatever the process that ran it has forgotten.

    Label and metadata are those of its newest commit; empty where the table's log does not go back to it.

    Raises:
        Misconfigured: there is no table, or it knows no such run.
        Unavailable: the store does not answer.
    """
    version, record = newest_of(os.fspath(table), storage_options or {}, run_id)
    told = {} if record is None else record.told
    try:
        metadata = json.loads(told.get(_METADATA, "{}"))
    except ValueError:
        metadata = {}
    run = RunContext(run_id, told.get(_LABEL, ""), version + 1, metadata, diagnostics or _silence)
    run.diagnostics("start", run.payload())
    return run


def check_run(table: str | os.PathLike[str], run_id: str, *, storage_options: Mapping[str, str] | None = None) -> RunCheck:
    """What the table's log has of a run's commits: which numbers are missing, and which came twice.

    Raises:
        Misconfigured: there is no table, or it knows no such run.
        Unavailable: the store does not answer.
    """
    return check(os.fspath(table), storage_options or {}, run_id)


def runs_in(table: str | os.PathLike[str], *, storage_options: Mapping[str, str] | None = None) -> list[RunCheck]:
    """All runs that the table's log tells of, in the order of their first commit there."""
    return runs(os.fspath(table), storage_options or {})


def write_attempts(table: str | os.PathLike[str], *, storage_options: Mapping[str, str] | None = None) -> list[WriteAttempt]:
    """What came of each attempt of the writes that were told to keep them (`DeltaWriteOptions(attempts="table")`), oldest first.

    Raises:
        Unavailable: the store does not answer.
    """
    return attempts_of(os.fspath(table), storage_options or {})
