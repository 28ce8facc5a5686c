"""What a Kafka source knows of each partition that is ours."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from landfast.model import Assignment, Halt, Position, Stream
from landfast.sources.kafka_columns import Key

BEFORE_ANY_EPOCH = -1


class State(enum.Enum):
    """What a reader does.

    WAITING   ours; nobody has said where to start
    ASKED     somebody has, and the broker has still to be asked what the log holds
    READING   assigned to the driver
    HALTING   not read any more; what was read is still to be confirmed
    HALTED    not read any more
    """

    WAITING = "waiting"
    ASKED = "asked"
    READING = "reading"
    HALTING = "halting"
    HALTED = "halted"


@dataclass(slots=True)
class Reader:
    """One stream of ours.

    position    the next place to read, once READING
    first       where the log began when reading started; below it there is nothing to fetch
    untouched   no record was taken since reading began
    confirmed   below this, the incarnation was checked later than the read
    told        what of that the engine was told
    halt        why it is not read any more, while it is HALTING
    """

    stream: Stream
    state: State = State.WAITING
    asked: Assignment | None = None
    epoch: int = BEFORE_ANY_EPOCH
    position: Position = -1
    first: Position = -1
    untouched: bool = True
    confirmed: Position = -1
    told: Position = -1
    halt: Halt | None = None

    @property
    def key(self) -> Key:
        """What the driver knows the stream by."""
        return (self.stream.topic, self.stream.partition)

    @property
    def counts(self) -> bool:
        """Whether what was read of it may land once it is confirmed."""
        return self.state in (State.READING, State.HALTING)

    @property
    def began(self) -> bool:
        """Whether it is read, or was and waits to be started again."""
        return self.counts or (self.state is State.ASKED and self.position >= 0)

    def ask(self, assignment: Assignment) -> None:
        """Take note of where to start."""
        self.asked = assignment
        self.state = State.ASKED

    @property
    def place(self) -> Position:
        """Where the driver begins: at the next place to read, or behind what the log has lost below it."""
        return max(self.position, self.first)

    def start(self, position: Position, first: Position = -1) -> None:
        """Begin to read at a position, under the epoch that was asked for; what an older epoch read counts no more.

        Where the log begins above the position, at `first`, the first chunk passes over what is gone: it starts at the position.
        """
        self.state = State.READING
        self.position = position
        self.first = first
        self.untouched = True
        if self.asked is None or self.asked.epoch != self.epoch:
            # One below: also where nothing is ever read, the place itself is asked about and told.
            self.confirmed = self.told = position - 1
        if self.asked is not None:
            self.epoch = self.asked.epoch
        self.asked = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a stream had been read, under which epoch, when a question about it was asked."""

    stream: Stream
    epoch: int
    position: Position


def standings(readers: Collection[Reader]) -> tuple[Standing, ...]:
    """Where those of these readers stand of whom something may land."""
    return tuple(Standing(reader.stream, reader.epoch, reader.position) for reader in readers if reader.counts)


def current(standing: Standing, readers: Mapping[Key, Reader]) -> Reader | None:
    """The reader that a standing speaks of, if what it read under that epoch still counts: an older answer says nothing about it."""
    reader = readers.get((standing.stream.topic, standing.stream.partition))
    if reader is None or reader.stream != standing.stream or reader.epoch != standing.epoch or not reader.counts:
        return None
    return reader
