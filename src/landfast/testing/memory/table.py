"""A table in memory: what a store would keep, with versions, snapshots and put-if-absent."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from landfast.model import Position, Span, Stream
from landfast.testing.memory.rows import LandedRow

_tokens = itertools.count(1)


def new_token() -> str:
    """A name that nothing else in this process has: what is in memory needs no more than that."""
    return f"token-{next(_tokens)}"


class VersionTaken(Exception):
    """Somebody else has put this version already; nothing of ours was put."""


class AnswerLost(Exception):
    """The store did not answer: what was asked may have happened, or not, or may never."""


@dataclass(frozen=True, slots=True)
class TableCommit:
    """One version of a table. `token` is unique to the attempt that made it; a commit of another tool has no spans.

    `owners` names who takes streams over with this version. `resolved` says of letters, by stream and offset, what became of them with it:
    landed, skipped or discarded.
    """

    token: str
    run_id: str
    sequence: int
    spans: tuple[Span, ...] = ()
    rows: tuple[LandedRow, ...] = ()
    positions: Mapping[Stream, Position] = field(default_factory=dict)
    owners: Mapping[Stream, str] = field(default_factory=dict)
    resolved: Mapping[tuple[Stream, int], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A table at one version: 0 is the empty table. `tokens` maps the token of each commit to its version; `owners` who took over last.

    `resolved` holds what became of all letters that are not open any more.
    """

    version: int
    positions: Mapping[Stream, Position]
    tokens: Mapping[str, int]
    owners: Mapping[Stream, str] = field(default_factory=dict)
    resolved: Mapping[tuple[Stream, int], str] = field(default_factory=dict)


class Table(Protocol):
    """What a sink needs of a table."""

    def snapshot(self) -> Snapshot:
        """The table as it is now.

        Raises:
            AnswerLost: nobody answers.
        """

    def put(self, version: int, commit: TableCommit) -> None:
        """Make `commit` this version, if it is the next one.

        Raises:
            VersionTaken: it is not.
            AnswerLost: nobody answers; it may have been put.
        """

    def accepted(self, stream: Stream) -> bool:
        """Whether the operator has accepted this incarnation."""


class MemoryTable:
    """The durable half of a `MemorySink`: several sinks over one table are several processes. Thread-safe.

    It has only what a Delta log on an object store has: read a snapshot, and put the next version if nobody has. Faults that lose
    an answer belong here, below the sink, since a sink has to find out by itself what happened.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commits: list[TableCommit] = []
        self._accepted: set[Stream] = set()
        self._latest = Snapshot(0, {}, {})

    @property
    def version(self) -> int:
        """How many versions there are."""
        return self._latest.version

    @property
    def commits(self) -> tuple[TableCommit, ...]:
        """All versions, the oldest first; `commits[0]` is version 1."""
        with self._lock:
            return tuple(self._commits)

    @property
    def rows(self) -> tuple[LandedRow, ...]:
        """All rows in the order they landed: what a reader sees."""
        return tuple(row for commit in self.commits for row in commit.rows)

    @property
    def positions(self) -> Mapping[Stream, Position]:
        """The position of every stream that the table has seen."""
        return self._latest.positions

    def snapshot(self) -> Snapshot:
        """The table as it is now."""
        return self._latest

    def put(self, version: int, commit: TableCommit) -> None:
        """Make `commit` this version, if it is the next one.

        Raises:
            VersionTaken: it is not.
        """
        with self._lock:
            before = self._latest
            if version != before.version + 1:
                raise VersionTaken
            self._commits.append(commit)
            self._latest = Snapshot(
                version,
                {**before.positions, **commit.positions},
                {**before.tokens, commit.token: version},
                {**before.owners, **commit.owners},
                {**before.resolved, **commit.resolved} if commit.resolved else before.resolved,
            )

    def accept(self, stream: Stream) -> None:
        """The operator accepts this incarnation although the table holds positions of another one."""
        with self._lock:
            self._accepted.add(stream)

    def accepted(self, stream: Stream) -> bool:
        """Whether the operator has accepted this incarnation."""
        with self._lock:
            return stream in self._accepted
