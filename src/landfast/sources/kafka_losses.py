"""Which losses the settings accept: ranges that retention took before they were read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from landfast.model import Bounds, Position, Stream


@dataclass(frozen=True, slots=True)
class AcceptedLosses:
    """The lines of `accept_expired`.

    lines     by stream: what its log has lost below this offset is accepted as lost; a line without a topic id has an empty incarnation
    renewed   ids of topics that took the place of others, as the settings accept them

    A line without an id holds for the topic of that name, whichever it is; but not for a renewed one, since it may have been written
    for the topic before. And no line holds that reaches beyond the log: nobody has seen what it would accept.
    """

    lines: Mapping[Stream, Position] = field(default_factory=dict)
    renewed: frozenset[str] = frozenset()

    def accepts(self, stream: Stream, bounds: Bounds) -> bool:
        """Whether all that the log has lost of this stream is accepted as lost."""
        found = {self.lines.get(stream), None if stream.incarnation in self.renewed else self.lines.get(_named(stream))}
        return any(below is not None and bounds.first <= below <= _reach(bounds) for below in found)

    def idle(self, today: Mapping[Stream, Bounds]) -> Iterator[str]:
        """The lines that have no effect on what there is today, each in words that say why."""
        streams = {_named(stream): stream for stream in today}
        for line, below in sorted(self.lines.items()):
            stream = streams.get(_named(line))
            why = "there is no such partition" if stream is None else self._idle(line, below, stream, today[stream])
            if why:
                yield f'"{line_of(line)}" = {below}: {why}'

    def _idle(self, line: Stream, below: Position, stream: Stream, bounds: Bounds) -> str:
        if line.incarnation and line != stream:
            return f"the topic's id is {stream.incarnation} now, it was deleted and created again"
        if not line.incarnation and stream.incarnation in self.renewed:
            return f'the topic was created again, so that only "{line_of(stream)}" says which one is meant'
        return f"the log ends at {bounds.end}, before that offset" if below > _reach(bounds) else ""


def line_of(stream: Stream) -> str:
    """What a line calls a stream."""
    return f"{stream}@{stream.incarnation}" if stream.incarnation else str(stream)


def _named(stream: Stream) -> Stream:
    """The stream as a line without an id names it."""
    return Stream(stream.topic, "", stream.partition)


def _reach(bounds: Bounds) -> Position:
    # An open transaction may keep the end below what retention took.
    return max(bounds.first, bounds.end)
