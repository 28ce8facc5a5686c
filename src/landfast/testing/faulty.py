"""Every port seen through a `faults.FaultPlan`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet

from landfast.events import Event
from landfast.model import Assignment, Batch, Bounds, Guarantee, Halt, Letter, Poll, Position, Receipt, Retried, Staged, Stream, Waiting
from landfast.ports import DeadLetters, Extent, Membership, Observer, Retries, Sink, Source
from landfast.testing.faults import FaultPlan
from landfast.testing.memory.letters import Failures, LetterStore, Retriable
from landfast.testing.memory.table import Snapshot, Table, TableCommit


class FaultySource:
    """A source, and its extent, seen through a plan."""

    def __init__(self, source: Source, extent: Extent, plan: FaultPlan) -> None:
        self._source = source
        self._extent = extent
        self._plan = plan

    def open(self, membership: Membership) -> None:
        """See `ports.Source`."""
        self._plan.around("source", "open", self._source.open, membership)

    def poll(self, limit: int, timeout_seconds: float, hold: AbstractSet[Stream]) -> Poll:
        """See `ports.Source`."""
        return self._plan.around("source", "poll", self._source.poll, limit, timeout_seconds, hold)

    def rewind(self, assignments: Mapping[Stream, Assignment]) -> None:
        """See `ports.Source`."""
        self._plan.around("source", "rewind", self._source.rewind, assignments)

    def acknowledge(self, positions: Mapping[Stream, Position]) -> None:
        """See `ports.Source`."""
        self._plan.around("source", "acknowledge", self._source.acknowledge, positions)

    def close(self) -> None:
        """See `ports.Source`."""
        self._plan.around("source", "close", self._source.close)

    def bounds(self, streams: Collection[Stream] | None = None) -> Mapping[Stream, Bounds]:
        """See `ports.Extent`."""
        return self._plan.around("extent", "bounds", self._extent.bounds, streams)


class FaultySink:
    """A sink seen through a plan."""

    def __init__(self, sink: Sink, plan: FaultPlan) -> None:
        self._sink = sink
        self._plan = plan

    @property
    def guarantee(self) -> Guarantee:
        """See `ports.Sink`."""
        return self._sink.guarantee

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink`."""
        return self._plan.around("sink", "positions", self._sink.positions, streams)

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink`."""
        return self._plan.around("sink", "take_over", self._sink.take_over, streams)

    def stage(self, batch: Batch) -> Staged:
        """See `ports.Sink`."""
        return self._plan.around("sink", "stage", self._sink.stage, batch)

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """See `ports.Sink`."""
        return self._plan.around("sink", "commit", self._sink.commit, staged)

    def maintain(self, budget_seconds: float) -> None:
        """See `ports.Sink`."""
        self._plan.around("sink", "maintain", self._sink.maintain, budget_seconds)

    def close(self) -> None:
        """See `ports.Sink`."""
        self._plan.around("sink", "close", self._sink.close)


class FaultyDeadLetters:
    """Dead letters seen through a plan."""

    def __init__(self, letters: DeadLetters, plan: FaultPlan) -> None:
        self._letters = letters
        self._plan = plan

    def claim(self, streams: Collection[Stream]) -> None:
        """See `ports.DeadLetters`."""
        self._plan.around("letters", "claim", self._letters.claim, streams)

    def put(self, letters: Sequence[Letter]) -> None:
        """See `ports.DeadLetters`."""
        self._plan.around("letters", "put", self._letters.put, letters)

    def buried(self, stream: Stream, start: Position) -> AbstractSet[int]:
        """See `ports.DeadLetters`."""
        return self._plan.around("letters", "buried", self._letters.buried, stream, start)

    def close(self) -> None:
        """See `ports.DeadLetters`."""
        self._plan.around("letters", "close", self._letters.close)


class FaultyRetries:
    """Letters that are tried again, seen through a plan."""

    def __init__(self, retries: Retries, plan: FaultPlan) -> None:
        self._retries = retries
        self._plan = plan

    def waiting(self, streams: Collection[Stream]) -> Mapping[Stream, Waiting]:
        """See `ports.Retries`."""
        return self._plan.around("retries", "waiting", self._retries.waiting, streams)

    def due_seconds(self) -> float | None:
        """See `ports.Retries`. It looks at nothing that could fail."""
        return self._retries.due_seconds()

    def retry(self, streams: Collection[Stream], budget_seconds: float) -> Retried:
        """See `ports.Retries`."""
        return self._plan.around("retries", "retry", self._retries.retry, streams, budget_seconds)


class FaultyTable:
    """The table below a `MemorySink`, seen through a plan: here answers are lost."""

    def __init__(self, table: Table, plan: FaultPlan) -> None:
        self._table = table
        self._plan = plan

    def snapshot(self) -> Snapshot:
        """See `memory.Table`."""
        return self._plan.around("table", "snapshot", self._table.snapshot)

    def put(self, version: int, commit: TableCommit) -> None:
        """See `memory.Table`."""
        self._plan.around("table", "put", self._table.put, version, commit)

    def accepted(self, stream: Stream) -> bool:
        """See `memory.Table`."""
        return self._table.accepted(stream)


class FaultyLetterStore:
    """The store below `MemoryDeadLetters`, seen through a plan: here answers are lost."""

    def __init__(self, store: LetterStore, plan: FaultPlan) -> None:
        self._store = store
        self._plan = plan

    def take(self, streams: Collection[Stream], owner: str) -> None:
        """See `memory.LetterStore`."""
        self._plan.around("store", "take", self._store.take, streams, owner)

    def append(self, letters: Sequence[Letter], owner: str, token: str) -> Stream | None:
        """See `memory.LetterStore`."""
        return self._plan.around("store", "append", self._store.append, letters, owner, token)

    def buried(self, stream: Stream, start: Position) -> frozenset[int]:
        """See `memory.LetterStore`."""
        return self._plan.around("store", "buried", self._store.buried, stream, start)

    def retriable(self, streams: Collection[Stream], owner: str) -> Sequence[Retriable] | Stream:
        """See `memory.LetterStore`."""
        return self._plan.around("store", "retriable", self._store.retriable, streams, owner)

    def fail(self, failures: Mapping[tuple[Stream, int], Failures], owner: str) -> Stream | None:
        """See `memory.LetterStore`."""
        return self._plan.around("store", "fail", self._store.fail, failures, owner)


class FaultyObserver:
    """An observer seen through a plan: a crash at an event is a crash between any two decisions of the engine."""

    def __init__(self, observer: Observer, plan: FaultPlan) -> None:
        self._observer = observer
        self._plan = plan

    def notice(self, event: Event) -> None:
        """See `ports.Observer`."""
        self._plan.around("observer", "notice", self._observer.notice, event)
