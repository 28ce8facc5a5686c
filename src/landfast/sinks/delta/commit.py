"""Compare and set: the one way in which anything lands, and the one way in which an unknown outcome is resolved.

deltalake accepts a commit with any transaction version, also an old one. What it refuses is a commit whose application ids another
commit has moved since the handle's snapshot. So the positions are compared on the very handle through which the commit is made; never on
another one, never by path.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from deltalake import DeltaTable, Transaction
from deltalake.transaction import AddAction

from landfast.errors import Broken, Conflict, LandfastError, Unavailable, check
from landfast.events import OutcomeResolved
from landfast.model import Halt, Position, Span, Staged, Stream
from landfast.sinks.delta.errors import FATES_TO_RETRY, fate_of, is_foreign
from landfast.sinks.delta.log import Entry, entries_back
from landfast.sinks.delta.metadata import CommitRecord, app_id, to_metadata
from landfast.sinks.delta.parquet import DataFile
from landfast.sinks.delta.suitability import problems
from landfast.sinks.delta.table import HOOKS_OFF, TableHome, commit_properties, incarnation_app_id, incarnation_number, owner_app_id
from landfast.sinks.delta.tenure import WAIT_SECONDS_FIRST, WAIT_SECONDS_MAX, Tenure


class Comparison(enum.Enum):
    """Where the positions of a snapshot are, seen from a commit."""

    AT_START = "at start"
    AT_END = "at end"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Move:
    """The move of one stream's position that a commit makes. `start` is None where the stream has no position yet."""

    stream: Stream
    start: Position | None
    end: Position


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything one commit carries."""

    spans: tuple[Span, ...]
    moves: tuple[Move, ...]
    files: tuple[DataFile, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class Committed:
    """Where a commit is in the table, durable. `already`: found by reading back, not told by the call that made it."""

    version: int
    already: bool


def moves_of(staged: Sequence[Staged]) -> tuple[Move, ...]:
    """The moves that these batches make together.

    Raises:
        Broken: spans of one stream do not tile.
    """
    moves: dict[Stream, Move] = {}
    for span in (span for one in staged for span in one.spans):
        before = moves.get(span.stream)
        if before is None:
            moves[span.stream] = Move(span.stream, None if span.first else span.start, span.end)
            continue
        check(before.end == span.start, "spans of one stream do not tile", stream=span.stream, position=span.start)
        moves[span.stream] = Move(span.stream, before.start, span.end)
    return tuple(moves.values())


def compare(home: TableHome, tenure: Tenure, handle: DeltaTable, moves: Sequence[Move]) -> Comparison:
    """Compare this handle's positions and owners with what the moves expect."""
    found = home.positions(handle, [move.stream for move in moves])
    if all(found[move.stream] == move.start and tenure.holds(handle, move.stream) for move in moves):
        return Comparison.AT_START
    return Comparison.AT_END if all(found[move.stream] == move.end for move in moves) else Comparison.ELSEWHERE


def open_patiently(home: TableHome, error: BaseException) -> DeltaTable:
    """A fresh handle to read an unknown outcome back with, in several attempts.

    Raises:
        Unavailable: the table cannot be read. Trying the same act again is safe: its compare finds out what has landed.
    """
    for attempt in range(home.settings.resolve_attempts_max):
        if attempt:
            home.clock.sleep(home.settings.resolve_wait_seconds * 2 ** (attempt - 1))
        try:
            return home.open()
        except Unavailable:
            continue
    message = "a commit ended without an answer, and the table cannot be read back"
    raise Unavailable("OUTCOME_UNKNOWN", message, kind="unknown", next_step="Nothing: it is resolved when the store answers.") from error


def outcome_words(landed: bool) -> str:  # noqa: FBT001 — a value to put into words, not a mode
    """How a read-back outcome is told."""
    return "had landed" if landed else "had not landed"


class Committer:
    """Lands in one table, from one thread. Keeps one handle between commits and opens it anew after anything unexpected.

    `sequence` numbers the commits of the run. It moves only when a commit is known to have landed.
    """

    def __init__(self, home: TableHome, tenure: Tenure) -> None:
        self._home = home
        self._tenure = tenure
        self._handle: DeltaTable | None = None
        self._opened_version = 0
        self._landed_version: int | None = None
        self.sequence = 0

    def forget_handle(self) -> None:
        """The next commit opens the table anew."""
        self._handle = None

    def forget_worn_handle(self, versions_max: int) -> None:
        """Open the table anew once the kept handle has followed it over so many versions: each one makes commits slower."""
        if self._handle is not None and self._handle.version() - self._opened_version >= versions_max:
            self._handle = None

    def handle(self) -> DeltaTable:
        """The kept handle, or a fresh one."""
        return self._handle or self._kept(self._home.open())

    def _kept(self, handle: DeltaTable) -> DeltaTable:
        self._handle = handle
        self._opened_version = handle.version()
        if self._landed_version is None:
            self._landed_version = handle.version()
        return handle

    def land(self, commit: Commit) -> Committed:
        """Land all of it, or nothing, and know which.

        Raises:
            Conflict: a position is not as expected; nothing has landed.
            Unavailable: nothing has landed as far as the newest snapshot says; landing the same again is safe.
            Broken: the table is damaged or refuses us for good.
        """
        check(commit.moves, "a commit without a stream")
        attempts = self._home.settings.commit_attempts_max
        for attempt in range(attempts):
            if attempt:
                self._home.clock.sleep(min(WAIT_SECONDS_MAX, WAIT_SECONDS_FIRST * 2**attempt))
            landed = self._attempt(commit)
            if landed is not None:
                self._landed_version = landed.version
                self.sequence += 1
                return landed
        message = f"other writers changed the table during each of {attempts} attempts to commit"
        raise Unavailable("COMMIT_CONFLICT", message, next_step="Nothing: it is tried again. Fewer writers, or larger batches, help.")

    def _attempt(self, commit: Commit) -> Committed | None:
        """One attempt; None when a foreign change came between and another attempt is due."""
        handle, version = self._compared(commit)
        if version is not None:
            return Committed(version, already=True)
        base = handle.version()
        try:
            self._write(handle, commit)
            return Committed(self._confirmed(handle, commit, base), already=False)
        except BaseException as error:
            self._handle = None
            if is_foreign(error) and not isinstance(error, LandfastError):
                version = self._resolved(commit, base, error)
                if version is not None:
                    return Committed(version, already=True)
                if fate_of(error) in FATES_TO_RETRY:
                    # Opened anew, since what came between may have made the table unfit.
                    self._handle = None
                    return None
            raise

    def _compared(self, commit: Commit) -> tuple[DeltaTable, int | None]:
        """A handle through which the commit may be made; or the version in which an earlier attempt has landed it."""
        kept = self._handle
        if kept is not None and compare(self._home, self._tenure, kept, commit.moves) is Comparison.AT_START:
            return kept, None
        self._handle = None
        handle = self.handle()
        for problem in problems(handle, self._home.settings, None):
            # Somebody changed the table while running so that an append of own files would break it.
            raise Broken(problem.code, problem.message, next_step=problem.next_step)
        if compare(self._home, self._tenure, handle, commit.moves) is Comparison.AT_START:
            return handle, None
        version = self._find(commit, handle.version(), self._landed_version or 0)
        if version is None:
            raise self._conflict(commit, handle)
        return handle, version

    def _write(self, handle: DeltaTable, commit: Commit) -> None:
        home, run = self._home, self._home.run
        record = CommitRecord(
            pipeline_id=home.pipeline_id,
            pipeline=run.pipeline,
            run_id=run.id,
            sequence=self.sequence,
            settings_digest=run.settings_digest,
            committed_at=int(home.clock.now() * 1000),
            rows=commit.rows,
            spans=commit.spans,
        )
        transactions = [Transaction(app_id(home.pipeline_id, move.stream), move.end) for move in commit.moves]
        incarnations = {
            incarnation_app_id(home.pipeline_id, move.stream): incarnation_number(move.stream.incarnation) for move in commit.moves
        }
        check(len(incarnations) == len(commit.moves), "two incarnations of one topic in one commit")
        transactions += [Transaction(name, number) for name, number in incarnations.items()]
        owned = {move.stream: self._tenure.number(move.stream) for move in commit.moves}
        transactions += [
            Transaction(owner_app_id(home.pipeline_id, stream), number) for stream, number in owned.items() if number is not None
        ]
        handle.create_write_transaction(
            [add_action(file) for file in commit.files],
            "append",
            handle.schema(),
            partition_by=list(home.shape.partition_by) or None,
            commit_properties=commit_properties(home.settings, custom_metadata=to_metadata(record), app_transactions=transactions),
            post_commithook_properties=HOOKS_OFF,
        )

    def _confirmed(self, handle: DeltaTable, commit: Commit, base: int) -> int:
        """The version of a commit that deltalake has acknowledged, read back and made durable."""
        handle.update_incremental()
        fresh = self._home.catch_up(handle)
        version = next((one.version for one in fresh if self._is_ours(one, commit)), None)
        if version is None:
            version = self._find(commit, handle.version(), base)
        if version is None:
            message = "a commit that was acknowledged is not in the log"
            raise Broken("INVARIANT_BROKEN", message, next_step="Stop, keep the table as it is, run `landfast verify`, and report this.")
        if version == handle.version():
            check(
                compare(self._home, self._tenure, handle, commit.moves) is Comparison.AT_END,
                "a position read back after the commit is not its end",
            )
        return version

    def _resolved(self, commit: Commit, base: int, error: BaseException) -> int | None:
        """Whether a commit whose call failed has landed: its version, or None. Read back from a fresh snapshot, never guessed."""
        handle = self._kept(open_patiently(self._home, error))
        version = self._find(commit, handle.version(), base)
        doubtful = fate_of(error) not in FATES_TO_RETRY
        if version is not None or doubtful:
            message = f"a commit ended with {type(error).__name__}; read back, it {outcome_words(version is not None)}"
            self._home.observer.notice(OutcomeResolved("", version is not None, message, commit.spans))
        if version is None and compare(self._home, self._tenure, handle, commit.moves) is not Comparison.AT_START:
            raise self._conflict(commit, handle) from error
        return version

    def _find(self, commit: Commit, newest: int, after: int) -> int | None:
        """The version in (after, newest] that this commit has become."""
        ours = (one for one in entries_back(self._home.files, newest, after + 1) if self._is_ours(one, commit))
        return next((one.version for one in ours), None)

    def _is_ours(self, one: Entry, commit: Commit) -> bool:
        record = one.record
        return (
            record is not None and record.run_id == self._home.run.id and record.sequence == self.sequence and record.spans == commit.spans
        )

    def _conflict(self, commit: Commit, handle: DeltaTable) -> Conflict:
        """The conflict to raise. An attempt of ours in another grouping may have landed late: its sequence number is used up."""
        run_id = self._home.run.id
        for one in entries_back(self._home.files, handle.version(), (self._landed_version or 0) + 1):
            if one.record is not None and one.record.run_id == run_id and one.record.sequence >= self.sequence:
                self.sequence = one.record.sequence + 1
        found = self._home.positions(handle, [move.stream for move in commit.moves])
        lost = [move for move in commit.moves if not self._tenure.holds(handle, move.stream)]
        move = next((move for move in commit.moves if found[move.stream] != move.start), None) or lost[0]
        at = found[move.stream]
        where = at.message if isinstance(at, Halt) else f"the table's position is {at}, the batch starts at {move.start}"
        if at == move.start:
            where = f"another owner has taken {move.stream} over"
        message = f"{where}; nothing of the batch has landed"
        return Conflict(
            "PIPELINE_CONFLICT", message, stream=move.stream, position=move.start, next_step="Nothing: the position is read again."
        )


def add_action(file: DataFile) -> AddAction:
    """The log's entry for a file."""
    return AddAction(
        path=file.path,
        size=file.nbytes,
        partition_values=file.partition_values,
        modification_time=file.modified_at,
        data_change=True,
        stats=file.stats,
    )
