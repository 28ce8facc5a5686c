"""The seams: small protocols, and what stands behind each must promise. `landfast.testing.suites` checks the promises.

Terms. A *stream* is one ordered lane of a log; a *position* is the next place to read in it; an *epoch* numbers the assignments of a
stream to this process, and whatever carries an older epoch is discarded. A *batch* is landed by `stage` and then `commit`; the
position of each of its streams moves in that commit and nowhere else.

Threads. `Source` and `Membership` are called from the main thread only. A `Sink` is called from several: `positions` from the main thread
or a pool, `stage` from a pool (several at once), `take_over`, `commit` and `maintain` from one committer thread, one call at a time.
`DeadLetters` and `Retries` are called from the committer, but for `Retries.due_seconds`, which any thread may ask.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from concurrent.futures import Future
from typing import Protocol, TypeVar

from landfast.events import Event
from landfast.model import (
    Assignment,
    Batch,
    Bounds,
    Chunk,
    Decoded,
    Guarantee,
    Halt,
    Letter,
    Poll,
    Position,
    Receipt,
    Retried,
    Staged,
    Stream,
    Waiting,
)

T = TypeVar("T")


class Membership(Protocol):
    """What a source tells the engine about ownership. Called only from inside `Source.open`, `poll` or `close`."""

    def gained(self, streams: Collection[Stream]) -> Mapping[Stream, Assignment]:
        """These streams are ours now; says where to start each. A stream missing from the answer is not read until `rewind`."""

    def lost(self, streams: Collection[Stream], deadline_seconds: float, confirmed: Mapping[Stream, Position]) -> None:
        """These streams go to another owner. Lands what can land within the deadline, forgets the rest, returns.

        `confirmed` is as in `Poll`, checked after the last read. A deadline of 0 means that they are gone already.
        """


class Source(Protocol):
    """A log that is read in order, stream by stream."""

    def open(self, membership: Membership) -> None:
        """Connect and begin. Streams arrive through `membership.gained`, now or in a later `poll`.

        Raises:
            Misconfigured: a topic is missing, access is refused.
            Unavailable: nobody answers; `open` may be called again.
        """

    def poll(self, limit: int, timeout_seconds: float, hold: Set[Stream]) -> Poll:
        """Up to about `limit` records, waiting at most `timeout_seconds`; keeps membership alive whatever `hold` says.

        Streams in `hold` stay assigned but are not read. Per stream and epoch, chunks arrive in order, without a gap or a repeat,
        starting exactly at the assignment's position. Nothing of a stream is delivered after `lost` for it, nor anything of an older
        epoch after `rewind`.
        """

    def rewind(self, assignments: Mapping[Stream, Assignment]) -> None:
        """Read these streams again from here, under a new epoch; also starts a stream that `gained` left out."""

    def acknowledge(self, positions: Mapping[Stream, Position]) -> None:
        """A hint for other tools (the group's offsets). May be lost, must not block, and nothing is ever asked of it."""

    def close(self) -> None:
        """Leave the group and let go. `membership.lost` may be called for what is still assigned. Idempotent."""


class Extent(Protocol):
    """What a source still has: for lag, audits and bounded runs. Every Kafka or outbox source is an Extent too."""

    def bounds(self, streams: Collection[Stream] | None = None) -> Mapping[Stream, Bounds]:
        """First and end of these streams, or of every stream that the subscription names today. Works before `open`.

        Raises:
            Unavailable: the source does not answer.
        """


class Decoder(Protocol):
    """Turns bytes into rows: a pure function, called from many threads at once."""

    def decode(self, chunk: Chunk) -> Decoded:
        """Rows, rejects and skips of one chunk; together they are as many as its records. Never raises for bad input."""


class Sink(Protocol):
    """Where batches land, and the only memory of how far we got.

    Every call may raise Unavailable (nothing landed, try again) or Broken. An unknown outcome never leaves a sink: it reads its
    position back from a fresh snapshot and then says what happened.
    """

    @property
    def guarantee(self) -> Guarantee:
        """What this sink promises, as data."""

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """The durable position of each stream, from a fresh snapshot. None: never seen. Halt: it must not be read (a replaced topic)."""

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Own these streams: from here on a commit by any earlier owner is a Conflict. Durable when it returns.

        Answers like `positions`, from a snapshot that is later than the take-over: nothing but a commit of ours moves them any more,
        until the next owner takes over. A stream answered with a Halt is not taken over.
        """

    def stage(self, batch: Batch) -> Staged:
        """Prepare a batch (write files, cast, sort); nothing of it is visible to a reader. May be repeated; leftovers are swept.

        Raises:
            Rejected: rows that cannot land.
            Unavailable: not now; of the class `data` where some row is to blame and nobody knows which: then it is asked to stage parts.
            Halted: the batch cannot land until an operator decides; no row is to blame.
        """

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Land these batches, in this order, and their end positions in one atomic act.

        Commits only if each stream's durable position, in the very snapshot the commit is made against, equals the start of its
        first span (or is absent where that span is `first`), and nobody has taken the stream over since we did. Several spans of one
        stream must tile.

        Raises:
            Conflict: a position or an owner is not as expected; nothing landed.
            Rejected: rows that cannot land; nothing landed.
        """

    def maintain(self, budget_seconds: float) -> None:
        """Checkpoints, compaction, clean-up. Never moves a position; a failure here changes nothing that was promised."""

    def close(self) -> None:
        """Let go. Idempotent."""


class DeadLetters(Protocol):
    """Where refused records go, whole, before any commit moves past them. Fenced, so that a former owner cannot bury any more."""

    def claim(self, streams: Collection[Stream]) -> None:
        """Take these streams over: from here on a `put` by any earlier claimant is a Conflict. Durable when it returns."""

    def put(self, letters: Sequence[Letter]) -> None:
        """Bury these letters, all or none, durable when it returns. Every stream must be claimed by us.

        Raises:
            Conflict: somebody else has claimed one of the streams since; nothing was buried.
        """

    def buried(self, stream: Stream, start: Position) -> Set[int]:
        """Offsets at or above `start` that are buried already: dead whatever the settings say today."""

    def close(self) -> None:
        """Let go. Idempotent."""


class Retries(Protocol):
    """Letters that are tried again by themselves: those put with `later`, from the moment the sink's position is past them.

    Claimed and put through `DeadLetters`, which the same object may implement. Letters of one stream and key are tried in the order of
    their offsets: none before all that lie before it have landed, been resolved by people or been given up. Each lands at most once,
    whoever else tries it: a former owner, people, or ourselves before a crash. A letter that failed once more than there are delays is
    given up: it stays, as a plain dead letter. One that only waits behind another counts from its own first attempt, which is due at once.
    A clock that was set back keeps no letter waiting for longer than its delay from when it is looked after.
    """

    def waiting(self, streams: Collection[Stream]) -> Mapping[Stream, Waiting]:
        """What waits of each of these streams, read from the store, and from now on looked after. They must be claimed by us.

        Letters that the position is not past yet are among it: their records are dead already, so that later ones of their keys wait.

        Raises:
            Conflict: somebody else has claimed one of the streams since.
        """

    def due_seconds(self) -> float | None:
        """Seconds until a letter that is looked after is due, 0 where one is due now, None where none waits. From memory; any thread."""

    def retry(self, streams: Collection[Stream], budget_seconds: float) -> Retried:
        """Try the due letters of these streams, for about so long, one at least. On the committer; no commit of ours is under way.

        Also asked where none is due, to hear what people have done. Other streams are not looked after any more. May be killed anywhere
        and repeated. Where it raises, some of the letters may have been dealt with: the next round says.

        Raises:
            Conflict: somebody else has claimed one of the streams since, or taken it over.
        """


class Observer(Protocol):
    """Hears what happens. Must not raise and must not block; called from any thread."""

    def notice(self, event: Event) -> None:
        """Take note of one event."""


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> float:
        """Seconds since the epoch: for people, never for logic."""

    def monotonic(self) -> float:
        """Seconds that only grow: for every wait and limit."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Executor(Protocol):
    """Runs calls elsewhere: a pool of threads, or one thread, or a simulated one."""

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Start `call`; its result or exception arrives in the future."""

    def close(self) -> None:
        """Wait for nothing: calls not yet started are cancelled, running ones are abandoned."""
