"""Compare and set: the one way in which anything lands, and the one way in which an unknown outcome is resolved.

A view of the table is compared, and the commit is put at the version right after that view's, if nobody has made that version. So nothing
can come between the compare and the set. Where somebody has, the view follows and is compared again.

deltalake's own append is not used: it accepts a commit with any transaction version, also an old one, and reads the names of the whole log
twice for each commit, so that a table gets slower with every day.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from landfast.errors import Broken, Conflict, LandfastError, Unavailable, check
from landfast.events import OutcomeResolved
from landfast.model import Halt, Position, Span, Staged, Stream
from landfast.sinks.delta.errors import is_foreign
from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.landing.retries import followed, open_patiently, outcome_words, wait_seconds
from landfast.sinks.delta.landing.tenure import Tenure
from landfast.sinks.delta.landing.turns import LOST_BEFORE_ASKING, Turns
from landfast.sinks.delta.log.app_ids import incarnation_app_id, incarnation_number, owner_app_id, position_app_id
from landfast.sinks.delta.log.entries import Entry, entries_back
from landfast.sinks.delta.log.record import CommitRecord, to_metadata
from landfast.sinks.delta.table.columns import column_conflicts
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.view import View
from landfast.sinks.delta.upserting.upsert import Change, Upsert


class Comparison(enum.Enum):
    """Where the positions of a view are, seen from a commit."""

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
    """Everything one commit carries: files to append; or an `upsert`, which says what it changes in the version that it is made on."""

    spans: tuple[Span, ...]
    moves: tuple[Move, ...]
    files: tuple[DataFile, ...]
    rows: int
    upsert: Upsert | None = None


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


def compare(home: TableHome, tenure: Tenure, view: View, moves: Sequence[Move]) -> Comparison:
    """Compare this view's positions and owners with what the moves expect."""
    found = home.positions(view, [move.stream for move in moves])
    if all(found[move.stream] == move.start and tenure.holds(view, move.stream) for move in moves):
        return Comparison.AT_START
    return Comparison.AT_END if all(found[move.stream] == move.end for move in moves) else Comparison.ELSEWHERE


class Committer:
    """Lands in one table, from one thread. Keeps one view between commits and opens another after anything unexpected.

    `sequence` numbers the commits of the run. It moves only when a commit is known to have landed.
    """

    def __init__(self, home: TableHome, tenure: Tenure) -> None:
        self._home = home
        self._tenure = tenure
        self._view: View | None = None
        self._landed_version: int | None = None
        self._turns = Turns(home)
        self.sequence = 0

    def forget_view(self) -> None:
        """The next commit opens the table anew."""
        self._view = None

    @property
    def landed_version(self) -> int:
        """The version of the last commit; before the first one, where the table stood when it was first opened."""
        return self._landed_version or 0

    def _opened(self, view: View) -> View:
        if self._landed_version is None:
            self._landed_version = view.version
        return view

    def land(self, commit: Commit) -> Committed:
        """Land all of it, or nothing, and know which.

        Raises:
            Conflict: a position is not as expected; nothing has landed.
            Unavailable: nothing has landed as far as the newest snapshot says; landing the same again is safe.
            Broken: the table is damaged or refuses us for good.
        """
        check(commit.moves, "a commit without a stream")
        attempts = self._home.settings.commit_attempts_max
        longest_seconds = 0.0
        for attempt in range(attempts):
            if attempt:
                self._home.clock.sleep(wait_seconds(attempt))
                self._view = self._view and followed(self._home, self._view)
            if commit.upsert is not None and attempt >= LOST_BEFORE_ASKING:
                self._turns.ask(self._view or self._home.open(), longest_seconds)
            began = self._home.clock.monotonic()
            landed = self._attempt(commit)
            longest_seconds = max(longest_seconds, self._home.clock.monotonic() - began)
            if landed is not None:
                self._landed_version = landed.version
                self.sequence += 1
                return landed
        message = f"other writers changed the table during each of {attempts} attempts to commit"
        raise Unavailable(
            "COMMIT_CONFLICT", message, kind="conflict", next_step="Nothing: it is tried again. Fewer writers, or larger batches, help."
        )

    def _attempt(self, commit: Commit) -> Committed | None:
        """One attempt; None when somebody else's commit came between and another attempt is due."""
        transactions = self._transactions(commit)
        view, version = self._compared(commit, transactions)
        if version is not None:
            return Committed(version, already=True)
        base = view.version
        change = None
        if commit.upsert is not None:
            change = commit.upsert.change_of(view.handle)
            transactions |= self._turns.over(view)
        files = commit.files if change is None else change.files
        said = to_metadata(self._record(commit, change))
        try:
            landed = self._home.put(view, said, transactions, files, None if change is None else change.removed)
        except BaseException as error:
            if is_foreign(error) and not isinstance(error, LandfastError):
                version = self._resolved(commit, base, error)
                if version is not None:
                    return Committed(version, already=True)
            raise
        self._view = None if view.worn else view
        if not landed:
            return None
        if view.version == base + 1:
            reached = all(
                view.transaction_version(position_app_id(self._home.pipeline_id, move.stream)) == move.end for move in commit.moves
            )
            check(reached, "a position read back after the commit is not its end")
        return Committed(base + 1, already=False)

    def _compared(self, commit: Commit, asked: Iterable[str]) -> tuple[View, int | None]:
        """A view after which the commit may be made; or the version in which an earlier attempt has landed it.

        The view is kept again once the attempt has shown that it is still of use.
        """
        kept, self._view = self._view, None
        if commit.upsert is not None and kept is not None and kept.handle.version() != kept.version:
            # Which files the table has, only a handle at that very version says.
            kept = None
        if kept is not None and kept.answers(asked) and compare(self._home, self._tenure, kept, commit.moves) is Comparison.AT_START:
            return kept, None
        view = self._opened(self._home.open())
        if commit.upsert is not None:
            heeded = self._turns.heed(view)
            view = heeded if heeded.handle.version() == heeded.version else self._home.open()
        for conflict in column_conflicts(view.handle, self._home.settings, None):
            # Somebody changed the columns while running so that an append of own files would break the table.
            raise Broken(conflict.code, conflict.message, next_step=conflict.next_step)
        if compare(self._home, self._tenure, view, commit.moves) is Comparison.AT_START:
            return view, None
        version = self._find(commit, view, self._landed_version or 0)
        if version is None:
            raise self._conflict(commit, view)
        return view, version

    def _record(self, commit: Commit, change: Change | None) -> CommitRecord:
        home, run = self._home, self._home.run
        return CommitRecord(
            pipeline_id=home.pipeline_id,
            pipeline=run.pipeline,
            run_id=run.id,
            sequence=self.sequence,
            settings_digest=run.settings_digest,
            committed_at=int(home.clock.now() * 1000),
            rows=commit.rows,
            spans=commit.spans,
            effects=() if change is None else change.effects,
            exchanged=(0, 0) if change is None else (len(change.removed), len(change.files)),
        )

    def _transactions(self, commit: Commit) -> dict[str, int]:
        """The positions that the commit moves, the topics they are of, and that the streams are ours."""
        pipeline_id = self._home.pipeline_id
        incarnations = {incarnation_app_id(pipeline_id, move.stream): incarnation_number(move.stream.incarnation) for move in commit.moves}
        check(len(incarnations) == len(commit.moves), "two incarnations of one topic in one commit")
        owned = {owner_app_id(pipeline_id, move.stream): self._tenure.number(move.stream) for move in commit.moves}
        owners = {name: number for name, number in owned.items() if number is not None}
        return {position_app_id(pipeline_id, move.stream): move.end for move in commit.moves} | incarnations | owners

    def _resolved(self, commit: Commit, base: int, error: BaseException) -> int | None:
        """Whether a commit whose call failed has landed: its version, or None. Read back from a fresh view, never guessed."""
        view = self._view = self._opened(open_patiently(self._home, error))
        version = self._find(commit, view, base)
        message = f"a commit ended with {type(error).__name__}; read back, it {outcome_words(version is not None)}"
        self._home.observer.notice(OutcomeResolved("", version is not None, message, commit.spans))
        if version is None and compare(self._home, self._tenure, view, commit.moves) is not Comparison.AT_START:
            raise self._conflict(commit, view) from error
        return version

    def _find(self, commit: Commit, view: View, after: int) -> int | None:
        """The version after `after` that this commit has become. Not landed is what has moved no position, wherever its entry lies."""
        found = self._home.positions(view, [move.stream for move in commit.moves])
        if any(found[move.stream] == move.start for move in commit.moves):
            return None
        ours = (one for one in entries_back(self._home.files, view.version, after + 1) if self._is_ours(one, commit))
        return next((one.version for one in ours), None)

    def _is_ours(self, one: Entry, commit: Commit) -> bool:
        record = one.record
        return (
            record is not None and record.run_id == self._home.run.id and record.sequence == self.sequence and record.spans == commit.spans
        )

    def _conflict(self, commit: Commit, view: View) -> Conflict:
        """The conflict to raise. An attempt of ours in another grouping may have landed late: its sequence number is used up."""
        run_id = self._home.run.id
        for one in entries_back(self._home.files, view.version, (self._landed_version or 0) + 1):
            if one.record is not None and one.record.run_id == run_id and one.record.sequence >= self.sequence:
                self.sequence = one.record.sequence + 1
        found = self._home.positions(view, [move.stream for move in commit.moves])
        lost = [move for move in commit.moves if not self._tenure.holds(view, move.stream)]
        move = next((move for move in commit.moves if found[move.stream] != move.start), None) or lost[0]
        at = found[move.stream]
        where = at.message if isinstance(at, Halt) else f"the table's position is {at}, the batch starts at {move.start}"
        if at == move.start:
            where = f"another owner has taken {move.stream} over"
        message = f"{where}; nothing of the batch has landed"
        return Conflict(
            "PIPELINE_CONFLICT", message, stream=move.stream, position=move.start, next_step="Nothing: the position is read again."
        )
