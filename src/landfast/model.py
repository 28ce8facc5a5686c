"""The values everything else speaks in: frozen, without I/O, without a driver.

A *position* is always the next place to read in a stream, an int64; every range is half-open, `[start, end)`. Offsets are not
counts: a log may have legal gaps (compaction, transaction markers), so counts are counted, never subtracted.
"""

from __future__ import annotations

import enum
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Position = int
"""The next place to read in a stream. For Kafka: an offset."""

Headers = Sequence[tuple[str, bytes | None]]
"""One record's headers, in order, duplicates and null values kept."""

TIMESTAMP_ABSENT = -1
"""What `Chunk.timestamps` holds where the record carries no time."""


class Rows(Protocol):
    """Columns of rows. A `pyarrow.RecordBatch` and a `pyarrow.Table` are Rows; the core needs to know no more than this."""

    @property
    def num_rows(self) -> int:
        """How many rows."""

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""

    def slice(self, offset: int, length: int, /) -> Rows:
        """So many of them, from one on."""


class Stream(NamedTuple):
    """One ordered lane of a log: a topic partition of one incarnation of the topic.

    `incarnation` is Kafka's topic id (KIP-516) as text, so that a topic that was deleted and created again under the same name is
    another stream. Order exists only inside a stream.

    A tuple, unlike the other values: streams are the keys of nearly every mapping, and a tuple is hashed and compared without a call. It
    equals, and sorts like, the plain tuple of its parts; nothing makes use of that.
    """

    topic: str
    incarnation: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a source still has of a stream: `[first, end)`. `end` is where a read-committed reader would stop today."""

    first: Position
    end: Position


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where to read a stream from, and under which epoch.

    `position` is None where the sink has never seen the stream: the source then starts by its own setting (earliest unless the
    operator says otherwise). Whatever the source delivers of this stream from now on carries `epoch`.
    """

    position: Position | None
    epoch: int


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a lane must not go on: a stable code, what is known, and the operator's next step. Nothing is lost by a halt."""

    code: str
    message: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one stream as columns, in the order read: the hot path never holds one object per record.

    All columns have the same length, but that `values` and `keys` are empty once the chunk is decoded: what it held is in the rows then.
    `start` is where the reader stood before the chunk, `end` where it stands after it, so chunks of one epoch tile:
    `chunk.end == next.start`. A chunk may be empty and still move over a gap.

    values, keys   one `bytes`, or None for null, per record
    headers        one `Headers` per record, or None where no record of the chunk has any
    offsets        array("q")
    timestamps     array("q"), milliseconds since the epoch, `TIMESTAMP_ABSENT` where there is none
    nbytes         bytes of values, keys and headers: what the memory budget counts
    """

    stream: Stream
    epoch: int
    start: Position
    end: Position
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    headers: Sequence[Headers] | None
    offsets: array[int]
    timestamps: array[int]
    nbytes: int

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True, slots=True)
class Poll:
    """What one call of `Source.poll` brought.

    chunks      records, per stream in order
    reached     streams whose reader stands at this position with nothing more to read right now: the position may lie behind the
                last record, over markers or a compacted tail
    confirmed   streams of which everything below this position is known to belong to the stream's incarnation, by a check made
                later than the read; only that may land
    halted      streams that the source cannot go on with; what it read of them and did not confirm may not be theirs, or not be there
                any more, so what has not landed is forgotten
    halting     streams that the source cannot go on with behind what it has read. It goes on to confirm that, and they halt once it has
                landed: the log may not hold it any more
    """

    chunks: Sequence[Chunk] = ()
    reached: Mapping[Stream, Position] = field(default_factory=dict)
    confirmed: Mapping[Stream, Position] = field(default_factory=dict)
    halted: Mapping[Stream, Halt] = field(default_factory=dict)
    halting: Mapping[Stream, Halt] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of one stream with what became of its records. The equation `read = written + dead + skipped` holds.

    `skipped` maps a named reason to a count. `digest` covers the length and bytes of each value in order (`core.verify.digest`),
    so it does not depend on how chunks were cut. `first`: the sink had no position for the stream when reading began; the commit then
    demands that there is still none.
    """

    stream: Stream
    start: Position
    end: Position
    read: int
    written: int
    dead: int
    skipped: Mapping[str, int]
    digest: str
    first: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that a decoder or a sink refuses: its index in the chunk, a stable reason (snake_case), and words for people.

    The message names the column and the kind of value, never the value itself: records may hold secrets.
    """

    index: int
    reason: str
    message: str
    phase: str = "decode"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a decoder made of a chunk: rows + rejects + skips = records, always.

    rows      one row per record that is neither rejected nor skipped, in order
    kept      the index in the chunk of each row's record; None means every record became a row
    rejects   in index order
    skips     reason -> indices in the chunk
    """

    chunk: Chunk
    rows: Rows
    kept: Sequence[int] | None = None
    rejects: tuple[Reject, ...] = ()
    skips: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: a record that is refused, whole. `phase` is read, decode, transform, write, handle or wait.

    `timestamp` is in milliseconds, `TIMESTAMP_ABSENT` where there is none. `failed_at` is in seconds since the epoch. `later`: it is to be
    tried again by itself; also that of a record that was not tried at all, since an earlier one of its key waits (phase `wait`).
    """

    stream: Stream
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    phase: str
    reason: str
    message: str
    attempts: int
    failed_at: float
    later: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits of one stream to be tried again by itself: open letters marked `later` that were not given up.

    keys     the offset of the oldest one of each key; a record without a key holds nobody up
    records  how many wait, with and without keys
    """

    keys: Mapping[bytes, Position] = field(default_factory=dict)
    records: int = 0


@dataclass(frozen=True, slots=True)
class Retried:
    """What one round of attempts came to.

    waiting   of each stream that was asked for: what waits of it now, after the round
    landed    letters whose records are in the table now, or that the decoder skips by now
    refused   letters that failed again and go on waiting
    given_up  letters that failed for the last time: nobody tries them any more but people
    """

    waiting: Mapping[Stream, Waiting]
    landed: int = 0
    refused: int = 0
    given_up: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Spans, one per stream, with the decoded chunks they cover: what a sink stages and commits, all or nothing.

    `number` counts the batches of a flow in cutting order. `epochs` holds the epoch of each span's stream. Of the decoded chunks only
    places and times are left: see `Chunk`.
    """

    number: int
    spans: tuple[Span, ...]
    epochs: Mapping[Stream, int]
    decoded: tuple[Decoded, ...]


@dataclass(frozen=True, slots=True)
class Staged:
    """A batch that a sink has prepared so that only the commit is missing. No reader sees any of it yet.

    `content` belongs to the sink that made it. `nbytes` is what it holds in memory until it has landed.
    """

    number: int
    spans: tuple[Span, ...]
    rows: int
    nbytes: int
    content: object


@dataclass(frozen=True, slots=True)
class Receipt:
    """A sink's proof for one commit: read back, not assumed.

    `version` is the sink's own number for the commit (Delta: the table version). `already`: an earlier attempt whose answer was
    lost had landed it. `sequence` is the commit's number within its run.
    """

    spans: tuple[Span, ...]
    rows: int
    files: int
    nbytes: int
    version: int
    sequence: int
    already: bool
    seconds: float


class Level(enum.StrEnum):
    """How strong a sink's promise is."""

    EXACTLY_ONCE = "exactly-once"
    AT_LEAST_ONCE = "at-least-once"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """A sink's promise as data: printed by `check` and `run`, and the source of the guarantees page."""

    level: Level
    reason: str


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a pipeline. `settings_digest` tells two runs with different settings apart without showing a setting."""

    id: str
    pipeline: str
    settings_digest: str
    started_at: float


@dataclass(frozen=True, slots=True)
class Totals:
    """The equation of a run, per stream or in all: `read = written + dead + skipped`."""

    read: int = 0
    written: int = 0
    dead: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)

    def plus(self, span: Span | Totals) -> Totals:
        """These totals and another span's or totals'."""
        skipped = dict(self.skipped)
        for reason, count in span.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
        return Totals(self.read + span.read, self.written + span.written, self.dead + span.dead, skipped)

    @property
    def holds(self) -> bool:
        """Whether the equation holds."""
        return self.read == self.written + self.dead + sum(self.skipped.values())


@dataclass(frozen=True, slots=True)
class OnePerKey:
    """What became of the written rows in a table with one row per key, over all commits: `written = kept + superseded + older`.

    kept        put into the table
    superseded  not put there: another row of the same commit has the same key and is newer
    older       not put there: the table held a newer row of the same key
    replaced    of those that were kept, made way for a newer one since
    """

    kept: int
    superseded: int
    older: int
    replaced: int

    @property
    def rows(self) -> int:
        """How many rows there have to be."""
        return self.kept - self.replaced
