"""Several tables in one commit."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from landfast.delta_api.writes import SILENCE
from landfast.errors import Misconfigured
from landfast.sinks.delta.files.paths import shown, way_to
from landfast.sinks.delta.writing import fitting
from landfast.sinks.delta.writing.commit import Prepared
from landfast.sinks.delta.writing.intent import Intent
from landfast.sinks.delta.writing.persistence import Persistence
from landfast.sinks.delta.writing.together import Completion, Together, first_tables, sealed_versions
from landfast.sinks.delta.writing.values import DeltaWriteOptions, DeltaWriteResult, DeltaWriteRetryPolicy, IdempotentWriteOptions
from landfast.sinks.delta.writing.write import Preparation, target_of
from landfast.system import SystemClock


@dataclass(slots=True)
class TablesCommit:
    """A commit to several tables, open until its block ends: then it lands in all of them, or, where the block raised, in none.

    results  by table, in the order of the tables, once the block has ended

    From the end of the block on, a crash leaves something that `complete_commits` (or the run's next commit) carries out. Before that,
    nothing is to be seen in any table.
    """

    identity: IdempotentWriteOptions
    tables: tuple[str, ...]
    storage_options: Mapping[str, str] = field(repr=False)
    retry: DeltaWriteRetryPolicy
    results: dict[str, DeltaWriteResult] = field(default_factory=dict)
    _shares: dict[str, Prepared] = field(default_factory=dict)

    def write(self, table: str | os.PathLike[str], data: object, *, options: DeltaWriteOptions | None = None) -> None:
        """Make files of the rows that are to land in one of the tables. Each table is written to once.

        Raises:
            Misconfigured: the table is none of this commit's, was written to before, or is not what the write needs.
            Rejected: a value does not fit its column without loss.
            Unavailable: the store does not answer.
        """
        path = os.fspath(table)
        if path not in self.tables or path in self._shares:
            why = "was written to before" if path in self._shares else "is none of this commit's"
            raise Misconfigured("WRITE_INVALID", f"the table {shown(path)} {why}", next_step="Correct the call. Nothing has landed.")
        if options is not None and options.predicate is not None:
            message = "an overwrite with a predicate is a write of its own: what it replaces is known only when it lands"
            raise Misconfigured("WRITE_INVALID", message, next_step="Use write_idempotent for it. Nothing has landed.")
        how, clock = options or DeltaWriteOptions(), SystemClock()
        target = target_of(path, self.storage_options, how, clock, SILENCE)
        preparation = Preparation(target, self.identity, how, Persistence(self.retry, clock), uuid.uuid4().hex)
        reader = fitting.read(data)
        prepared = preparation.prepared(reader, preparation.opened(reader.schema), way_to(self.tables[0], path))
        self._shares[path] = replace(prepared, attempts=how.attempts)

    def __enter__(self) -> Self:
        """Carry out first what an earlier process of this run has left."""
        for left in self._together().complete({self.identity.app_id}):
            if left.missing:
                message = f"commit {left.version} of this run is not in all of its tables: {left.missing}"
                raise Misconfigured(
                    "COMMIT_INCOMPLETE", message, next_step="Mend what is missing, then start again. Nothing new was written."
                )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Land everything, unless the block raised."""
        if kind is not None:
            return
        unwritten = [path for path in self.tables if path not in self._shares]
        if unwritten:
            message = f"nothing was written to {', '.join(unwritten)}"
            next_step = "Write to each table of the commit, if only no rows, or leave it out. Nothing has landed."
            raise Misconfigured("WRITE_INVALID", message, next_step=next_step)
        ways = {path: way_to(path, self.tables[0]) for path in self.tables}
        landed = self._together().land(Intent(self.identity, {ways[path]: self._shares[path] for path in self.tables}))
        self.results = {path: landed[ways[path]] for path in self.tables}

    def _together(self) -> Together:
        return Together(self.tables[0], self.storage_options, SystemClock(), self.retry)


def complete_commits(
    table: str | os.PathLike[str], *, storage_options: Mapping[str, str] | None = None, retry: DeltaWriteRetryPolicy | None = None
) -> list[Completion]:
    """Carry out what crashed processes have begun: every commit to several tables that has no seal.

    That is, of those whose first table is this one, or the first table of a commit that this one has a share of.

    Safe beside living processes and beside itself: of several who carry out the same, each table takes one. What cannot be carried out
    is in the answer, with the reason.

    Raises:
        Unavailable: the store does not answer.
        Broken: an intent is not as Landfast writes it.
    """
    options, policy = storage_options or {}, retry or DeltaWriteRetryPolicy()
    firsts = first_tables(os.fspath(table), options)
    return [done for first in firsts for done in Together(first, options, SystemClock(), policy).complete()]


def incomplete_commits(table: str | os.PathLike[str], *, storage_options: Mapping[str, str] | None = None) -> list[Completion]:
    """The commits to several tables that `complete_commits` would carry out. A living process may be about to do so itself.

    Raises:
        Unavailable: the store does not answer.
        Broken: an intent is not as Landfast writes it.
    """
    options = storage_options or {}
    firsts = first_tables(os.fspath(table), options)
    return [left for first in firsts for left in Together(first, options, SystemClock(), DeltaWriteRetryPolicy()).left()]


def sealed(*tables: str | os.PathLike[str], storage_options: Mapping[str, str] | None = None) -> dict[str, int]:
    """For each table the newest version in which every commit to several tables is in all of its tables, as of one moment for all.

    Open a table at that version (`DeltaTable(path, version=…)`) to see all of a commit or nothing of it.

    Raises:
        Misconfigured: no version of a table is sealed.
        Unavailable: the store does not answer.
    """
    return sealed_versions([os.fspath(table) for table in tables], storage_options or {})
