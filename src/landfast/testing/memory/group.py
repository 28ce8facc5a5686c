"""A consumer group in memory: who should own which stream, who does, and what was acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from landfast.errors import check
from landfast.model import Position, Stream
from landfast.testing.memory.log import MemoryLog


@dataclass(frozen=True, slots=True)
class Handover:
    """What a member must do next: give up `revoked` while it may still land, accept that `lost` are gone, then take `gained`."""

    lost: tuple[Stream, ...] = ()
    revoked: tuple[Stream, ...] = ()
    gained: tuple[Stream, ...] = ()


_NOTHING = Handover()


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """One position that a member told the group."""

    member: str
    stream: Stream
    position: Position


class MemoryGroup:
    """A group of members over the streams of some topics. Thread-safe.

    It reconciles: `assign` and `balance` only say who *should* own a stream. A member learns of it when it polls; it gives up first,
    and only then does the next owner gain. `lose` takes a stream away at once, as a session that expired does: the member does not
    know, until it polls.
    """

    def __init__(self, log: MemoryLog, topics: Collection[str]) -> None:
        self.log = log
        self.topics = tuple(topics)
        self.acknowledged: list[Acknowledgement] = []
        self._lock = threading.RLock()
        self._members: list[str] = []
        self._target: dict[Stream, str] = {}
        self._owner: dict[Stream, str] = {}
        self._taken: dict[str, set[Stream]] = {}
        self._changes = 0
        self._seen: dict[str, int] = {}

    @property
    def members(self) -> tuple[str, ...]:
        """Who is in the group, in the order of joining."""
        with self._lock:
            return tuple(self._members)

    def join(self, member: str) -> None:
        """A member joins; streams are spread anew. A member of that name that is still there is thrown out, as a static member is."""
        with self._lock:
            self._forget(member)
            self._taken[member] = set()
            self._members.append(member)
            self.balance()

    def rejoin(self, member: str) -> None:
        """A member whose session had expired is let in again: the same process, which has still to be told what it lost meanwhile."""
        with self._lock:
            if member not in self._members:
                self._members.append(member)
                self.balance()

    def leave(self, member: str) -> None:
        """A member leaves, or its session has expired: its streams are free at once and are spread anew."""
        with self._lock:
            self._forget(member)
            self.balance()

    def balance(self) -> None:
        """Spread the streams that the topics have today evenly over the members, moving as few as possible."""
        with self._lock:
            self._changes += 1
            streams = self._streams_today()
            self._target = {stream: member for stream, member in self._target.items() if stream in streams and member in self._members}
            if not self._members:
                return
            most = -(-len(streams) // len(self._members))
            held: dict[str, list[Stream]] = {member: [] for member in self._members}
            for stream, member in sorted(self._target.items()):
                if len(held[member]) < most:
                    held[member].append(stream)
            settled = {stream for mine in held.values() for stream in mine}
            for stream in streams:
                if stream not in settled:
                    held[min(self._members, key=lambda name: len(held[name]))].append(stream)
            self._target = {stream: member for member, mine in held.items() for stream in mine}

    def assign(self, member: str, streams: Collection[Stream]) -> None:
        """These streams shall belong to `member`, whoever has them now."""
        with self._lock:
            self._changes += 1
            check(member in self._members, f"{member} is no member of the group")
            self._target.update(dict.fromkeys(streams, member))

    def revoke(self, streams: Collection[Stream]) -> None:
        """These streams shall belong to nobody for now: their owners give them up when they poll."""
        with self._lock:
            self._changes += 1
            for stream in streams:
                self._target.pop(stream, None)

    def lose(self, streams: Collection[Stream]) -> None:
        """These streams are gone from their owners at once, who learn of it when they poll; whoever shall own them gains them then."""
        with self._lock:
            self._changes += 1
            for stream in streams:
                member = self._owner.pop(stream, None)
                if member is not None:
                    self._taken[member].add(stream)

    def handover(self, member: str) -> Handover:
        """What this member must be told now. The revoked are its own until `released`; the gained are its own from now on."""
        with self._lock:
            if self._seen.get(member) == self._changes:
                return _NOTHING
            self._seen[member] = self._changes
            if member not in self._members:
                return Handover(lost=tuple(sorted(self._taken.pop(member, ()))))
            lost = tuple(sorted(self._taken.get(member, ())))
            self._taken[member] = set()
            mine = sorted(stream for stream, owner in self._owner.items() if owner == member)
            revoked = tuple(stream for stream in mine if self._target.get(stream) != member)
            gained = tuple(stream for stream, wanted in sorted(self._target.items()) if wanted == member and stream not in self._owner)
            self._owner.update(dict.fromkeys(gained, member))
            return Handover(lost, revoked, gained)

    def released(self, member: str, streams: Collection[Stream]) -> None:
        """The member has given these up."""
        with self._lock:
            self._changes += len(streams)
            for stream in streams:
                if self._owner.get(stream) == member:
                    del self._owner[stream]

    def owner(self, stream: Stream) -> str | None:
        """Who owns the stream by the group's own account."""
        with self._lock:
            return self._owner.get(stream)

    def acknowledge(self, member: str, positions: Mapping[Stream, Position]) -> None:
        """Take note of positions; those of a stream that the member no longer owns are refused silently, as a hint may be lost."""
        with self._lock:
            kept = [
                Acknowledgement(member, stream, position) for stream, position in positions.items() if self._owner.get(stream) == member
            ]
            self.acknowledged.extend(kept)

    def _streams_today(self) -> tuple[Stream, ...]:
        return self.log.streams([topic for topic in self.topics if self.log.incarnation(topic) is not None])

    def _forget(self, member: str) -> None:
        self._changes += 1
        if member in self._members:
            self._members.remove(member)
        gone = {stream for stream, owner in self._owner.items() if owner == member}
        self._owner = {stream: owner for stream, owner in self._owner.items() if owner != member}
        self._taken[member] = self._taken.get(member, set()) | gone
