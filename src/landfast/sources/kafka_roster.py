"""The streams of ours, how far each was read and checked, and what of that the engine has still to be told."""

from __future__ import annotations

from collections.abc import Mapping

from landfast.model import Halt, Position, Stream
from landfast.ports import Membership
from landfast.sources.kafka_columns import Key
from landfast.sources.kafka_feed import Feed
from landfast.sources.kafka_identity import Findings
from landfast.sources.kafka_readers import Reader, Standing, State, current, standings


class Roster:
    """Every stream of ours.

    readers    by what the driver knows them by
    lingering  streams that the group took away with a topic that seems to be gone: they stay until that is certain
    """

    def __init__(self, feed: Feed, membership: Membership) -> None:
        self.readers: dict[Key, Reader] = {}
        self.lingering: dict[Stream, Reader] = {}
        self._feed = feed
        self._membership = membership
        self._halted: dict[Stream, Halt] = {}
        self._halting: dict[Stream, Halt] = {}

    def reading(self, key: Key) -> Reader | None:
        """The reader of a partition that is being read."""
        reader = self.readers.get(key)
        return reader if reader is not None and reader.state is State.READING else None

    def ours(self, stream: Stream) -> Reader | None:
        """The reader of a stream of ours, in whatever state."""
        reader = self.readers.get((stream.topic, stream.partition))
        return reader if reader is not None and reader.stream == stream else None

    def position(self, key: Key) -> Position:
        """Where the driver goes on with a partition of ours."""
        return self.readers[key].place

    def standings(self) -> tuple[Standing, ...]:
        """How far everything was read that belongs to a topic we can ask about."""
        return standings([*self.readers.values(), *self.lingering.values()])

    def unheld(self) -> tuple[Standing, ...]:
        """How far the streams were read that are read, and that nobody holds back."""
        return standings([reader for key, reader in self.readers.items() if reader.state is State.READING and key not in self._feed.held])

    def behind(self) -> bool:
        """Whether something waits for a topic-id check."""
        return bool(self.lingering) or any(reader.confirmed < reader.position for reader in self.readers.values() if reader.counts)

    def news(self) -> tuple[dict[Stream, Position], dict[Stream, Halt], dict[Stream, Halt]]:
        """What there is to tell since this was asked last, as in `Poll`: what is confirmed, what is halted, and what is halting."""
        fresh = [reader for reader in self.readers.values() if reader.confirmed > reader.told]
        for reader in fresh:
            reader.told = reader.confirmed
        halted, self._halted = self._halted, {}
        halting, self._halting = self._halting, {}
        return {reader.stream: reader.confirmed for reader in fresh}, halted, halting

    def apply(self, findings: Findings) -> None:
        """Take in what a topic-id check found."""
        for standing in findings.confirmed:
            reader = current(standing, self.readers)
            if reader is None:
                self.drop_lingering(standing.stream)
            else:
                reader.confirmed = max(reader.confirmed, standing.position)
        halts = dict(findings.halted)
        for standing in findings.forbidden:
            reader = current(standing, self.readers)
            # What waits for a word that nobody will give us would hold up all that lands with it.
            if reader is not None and reader.state is State.HALTING and reader.halt is not None:
                halts.setdefault(standing, reader.halt)
        self._halt_these(halts)

    def begin_halts(self, halts: Mapping[Standing, Halt]) -> None:
        """Stop reading streams that are still read under these epochs."""
        for standing, halt in halts.items():
            reader = current(standing, self.readers)
            if reader is not None and reader.state is State.READING:
                self.begin_halt(reader, halt)

    def _halt_these(self, halts: Mapping[Standing, Halt]) -> None:
        """Halt streams if what they read under these epochs still counts."""
        for standing, halt in halts.items():
            reader = current(standing, self.readers)
            if reader is not None:
                self.halt(reader, halt)
            elif self.lingering.pop(standing.stream, None) is not None:
                self._halted[standing.stream] = halt

    def begin_halt(self, reader: Reader, halt: Halt) -> None:
        """Stop reading a stream, for a reason that the next `poll` tells; what it has read stays good, and is looked after."""
        self._feed.take_back([reader.key])
        reader.state, reader.halt = State.HALTING, halt
        self._halting[reader.stream] = halt

    def halt(self, reader: Reader, halt: Halt) -> None:
        """Stop reading a stream, for a reason that the next `poll` tells; what it has read is in doubt."""
        self._feed.take_back([reader.key])
        reader.state = State.HALTED
        self._halted[reader.stream] = halt

    def drop_lingering(self, stream: Stream) -> None:
        """The topic is there after all, or is read under another id: what was read of it is given up."""
        if self.lingering.pop(stream, None) is not None:
            self._membership.lost([stream], 0.0, {})
