"""A sink over a `MemoryTable`: the whole contract of `ports.Sink`, in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from landfast.errors import Conflict, Refusal, Rejected, Unavailable, check
from landfast.model import Batch, Guarantee, Halt, Level, Position, Receipt, Span, Staged, Stream
from landfast.testing.memory.rows import LandedRow, landed_rows
from landfast.testing.memory.table import AnswerLost, Snapshot, Table, TableCommit, VersionTaken, new_token

Refuse = Callable[[LandedRow], str | None]
"""Says why a row cannot land, as a reason in snake_case, or None where it can."""


def refuse_nothing(row: LandedRow) -> str | None:  # noqa: ARG001 — the row is what other predicates look at
    """Every row can land."""
    return None


@dataclass(frozen=True, slots=True)
class MemorySinkSettings:
    """How a `MemorySink` behaves.

    attempts_max        how often it asks the table again, where an answer is lost or a version is taken, before it gives up
    refuse_at_stage     rows that are refused when they are staged
    refuse_at_commit    rows that are refused only when they are committed, as a constraint of a database would
    """

    attempts_max: int = 3
    refuse_at_stage: Refuse = refuse_nothing
    refuse_at_commit: Refuse = refuse_nothing


class MemorySink:
    """Lands batches in a `MemoryTable`. What it holds itself is lost with it; what the table holds is durable.

    An attempt whose answer was lost is remembered by its token until it is known what became of it, so that an unknown outcome
    never leaves this sink: while the table is silent it says Unavailable, and the next commit of the same spans finds out first.
    """

    def __init__(self, table: Table, run_id: str = "run", settings: MemorySinkSettings | None = None) -> None:
        self.table = table
        self._run_id = run_id
        self._settings = settings or MemorySinkSettings()
        self._sequence = itertools.count(1)
        self._doubtful: TableCommit | None = None
        self._tenures: dict[Stream, str] = {}

    @property
    def guarantee(self) -> Guarantee:
        """Exactly once: rows and positions are one version of the table."""
        return Guarantee(Level.EXACTLY_ONCE, "rows and positions are one version of a table in memory")

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """The durable position of each stream; a Halt where the table knows another incarnation of it that nobody has put aside."""
        held = self._snapshot().positions
        return {stream: self._answer(stream, held) for stream in streams}

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Put a version that names us as the owner of the streams; positions are read from it, or from a later one."""
        held = self._snapshot().positions
        free = [stream for stream in streams if not isinstance(self._answer(stream, held), Halt)]
        token = new_token()
        commit = TableCommit(token, self._run_id, 0, owners=dict.fromkeys(free, token))
        for _ in range(self._settings.attempts_max):
            snapshot = self._snapshot()
            if token in snapshot.tokens:
                self._tenures.update(commit.owners)
                return {stream: self._answer(stream, snapshot.positions) for stream in streams}
            try:
                self.table.put(snapshot.version + 1, commit)
            except (VersionTaken, AnswerLost):
                continue
        if token in (snapshot := self._snapshot()).tokens:
            self._tenures.update(commit.owners)
            return {stream: self._answer(stream, snapshot.positions) for stream in streams}
        raise Unavailable("SINK_UNAVAILABLE", "the table did not take the streams over", kind="unknown", next_step="Try again.")

    def stage(self, batch: Batch) -> Staged:
        """Collect the rows with their coordinates."""
        rows = tuple(row for decoded in batch.decoded for row in landed_rows(decoded))
        for span in batch.spans:
            mine = [row.offset for row in rows if row.stream == span.stream]
            check(len(mine) == span.written, f"{len(mine)} rows for {span.written} written records", stream=span.stream)
            check(mine == sorted(set(mine)), "rows are not in the order of their offsets", stream=span.stream)
            check(all(span.start <= offset < span.end for offset in mine), "a row lies outside of its span", stream=span.stream)
        _refuse(rows, self._settings.refuse_at_stage)
        nbytes = sum(decoded.rows.nbytes for decoded in batch.decoded)
        return Staged(batch.number, batch.spans, len(rows), nbytes, rows)

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Put all of it as the next version, if the positions of the version before are where the spans start."""
        spans = tuple(span for part in staged for span in part.spans)
        starts, ends = _tiled(spans)
        rows = tuple(row for part in staged for row in _content(part))
        _refuse(rows, self._settings.refuse_at_commit)
        landed = self._resolve(spans)
        if landed is not None:
            return landed
        commit = TableCommit(new_token(), self._run_id, next(self._sequence), spans, rows, ends)
        for _ in range(self._settings.attempts_max):
            snapshot = self._snapshot()
            if commit.token in snapshot.tokens:
                return self._receipt(snapshot.tokens[commit.token], commit, already=True)
            _compare(snapshot, starts, self._tenures)
            for stream, start in starts.items():
                halt = self._answer(stream, snapshot.positions)
                if isinstance(halt, Halt):
                    # Somebody has landed of another incarnation since the position was asked for.
                    raise Conflict(
                        "PIPELINE_CONFLICT", halt.message, stream=stream, position=start, next_step="Ask for the position again."
                    )
            self._doubtful = commit
            try:
                self.table.put(snapshot.version + 1, commit)
            except (VersionTaken, AnswerLost):
                continue
            return self._receipt(snapshot.version + 1, commit, already=False)
        raise Unavailable("SINK_UNAVAILABLE", "the table did not take the commit", kind="unknown", next_step="Try again.")

    def maintain(self, budget_seconds: float) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to let go of."""

    def _answer(self, stream: Stream, held: Mapping[Stream, Position]) -> Position | Halt | None:
        others = [other for other in held if _same_lane(other, stream)]
        if stream not in held and others and not self.table.accepted(stream):
            message = f"the table holds positions of {stream} as {others[-1].incarnation}, and it is {stream.incarnation} today"
            return Halt("TOPIC_REPLACED", message, "Accept the new topic if it was meant.")
        return held.get(stream)

    def _resolve(self, spans: tuple[Span, ...]) -> Receipt | None:
        """What became of an earlier attempt whose answer was lost: its receipt where it has landed with these spans, else None."""
        if self._doubtful is None:
            return None
        commit, tokens = self._doubtful, self._snapshot().tokens
        self._doubtful = None
        if commit.token in tokens and commit.spans == spans:
            return self._receipt(tokens[commit.token], commit, already=True)
        return None

    def _snapshot(self) -> Snapshot:
        for _ in range(self._settings.attempts_max):
            try:
                return self.table.snapshot()
            except AnswerLost:
                continue
        raise Unavailable("SINK_UNAVAILABLE", "the table does not answer", next_step="Try again.")

    def _receipt(self, version: int, commit: TableCommit, *, already: bool) -> Receipt:
        self._doubtful = None
        nbytes = sum(len(row.row) for row in commit.rows if isinstance(row.row, bytes))
        files = 1 if commit.rows else 0
        return Receipt(commit.spans, len(commit.rows), files, nbytes, version, commit.sequence, already, seconds=0.0)


def _tiled(spans: Iterable[Span]) -> tuple[dict[Stream, Position | None], dict[Stream, Position]]:
    """Where each stream must stand (None: nowhere yet) and where it will stand, if the spans of each stream tile."""
    starts: dict[Stream, Position | None] = {}
    ends: dict[Stream, Position] = {}
    for span in spans:
        if span.stream in ends:
            check(
                span.start == ends[span.stream],
                f"a span starts at {span.start}, after one that ends at {ends[span.stream]}",
                stream=span.stream,
            )
        else:
            starts[span.stream] = None if span.first else span.start
        check(span.start <= span.end, "a span ends before it starts", stream=span.stream)
        ends[span.stream] = span.end
    return starts, ends


def _compare(snapshot: Snapshot, starts: Mapping[Stream, Position | None], tenures: Mapping[Stream, str]) -> None:
    for stream, start in starts.items():
        if stream in tenures and snapshot.owners.get(stream) != tenures[stream]:
            message = "another owner has taken the stream over"
            raise Conflict("PIPELINE_CONFLICT", message, stream=stream, position=start, next_step="Read the position again and go on.")
        position = snapshot.positions.get(stream)
        if position != start:
            message = f"the table stands at {position} and the batch starts at {start}"
            raise Conflict("PIPELINE_CONFLICT", message, stream=stream, position=position, next_step="Read the position again and go on.")


def _refuse(rows: Iterable[LandedRow], refuse: Refuse) -> None:
    refusals = tuple(
        Refusal(row.stream, row.offset, reason, "the row is refused by a rule of the test") for row in rows if (reason := refuse(row))
    )
    if refusals:
        raise Rejected("ROWS_REFUSED", f"{len(refusals)} rows cannot land", refusals=refusals, next_step="They become dead letters.")


def _content(staged: Staged) -> tuple[LandedRow, ...]:
    content = staged.content
    check(isinstance(content, tuple), "a staged batch that no MemorySink has made")
    return content  # type: ignore[return-value]


def _same_lane(one: Stream, other: Stream) -> bool:
    return one.topic == other.topic and one.partition == other.partition and one.incarnation != other.incarnation
