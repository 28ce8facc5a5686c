"""The parts of a worker, each with the points at which it announces itself. What they do is what the parts do that they stand before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from deltalake import DeltaTable
from obstore.store import ObjectStore

from landfast.cli.torture.points import Herald
from landfast.model import Assignment, Batch, Bounds, Guarantee, Halt, Letter, Poll, Position, Receipt, Staged, Stream
from landfast.pipeline import ReadableSource
from landfast.ports import DeadLetters, Membership, Sink
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.object_store import Objects
from landfast.sinks.delta.settings import DeltaSettings

# What is announced when a thing is done, by the act it is part of.
_FILE_WRITTEN = {"stage": "file.written", "put": "letters.written", "upkeep": "compaction.written"}
_FILE_SYNCED = {"stage": "file.synced", "put": "letters.synced", "upkeep": "compaction.synced"}
_OBJECT_STORED = {"stage": "file.named", "put": "letters.synced", "upkeep": "compaction.synced"}
_COMPARED = {"commit": "commit.compared", "take over": "owner.compared", "put": "letters.compared", "upkeep": "compaction.compared"}
_UNANSWERED = {
    "commit": "commit.unanswered",
    "take over": "owner.unanswered",
    "put": "letters.unanswered",
    "upkeep": "compaction.unanswered",
}
_DURABLE = {"commit": "commit.durable", "put": "letters.durable"}


class AnnouncingSource:
    """A `ports.Source` and `ports.Extent` before another."""

    def __init__(self, source: ReadableSource, herald: Herald) -> None:
        self._source = source
        self._herald = herald

    def open(self, membership: Membership) -> None:
        """See `ports.Source`."""
        self._source.open(_AnnouncingMembership(membership, self._herald))

    def poll(self, limit: int, timeout_seconds: float, hold: AbstractSet[Stream]) -> Poll:
        """See `ports.Source`."""
        found = self._source.poll(limit, timeout_seconds, hold)
        if found.chunks:
            self._herald.at("source.read")
        return found

    def rewind(self, assignments: Mapping[Stream, Assignment]) -> None:
        """See `ports.Source`."""
        self._source.rewind(assignments)
        self._herald.at("source.rewound")

    def acknowledge(self, positions: Mapping[Stream, Position]) -> None:
        """See `ports.Source`."""
        self._herald.at("offsets.unacknowledged")
        self._source.acknowledge(positions)
        self._herald.at("offsets.acknowledged")

    def close(self) -> None:
        """See `ports.Source`."""
        self._source.close()

    def bounds(self, streams: Collection[Stream] | None = None) -> Mapping[Stream, Bounds]:
        """See `ports.Extent`."""
        return self._source.bounds(streams)


class _AnnouncingMembership:
    def __init__(self, membership: Membership, herald: Herald) -> None:
        self._membership = membership
        self._herald = herald

    def gained(self, streams: Collection[Stream]) -> Mapping[Stream, Assignment]:
        """See `ports.Membership`."""
        self._herald.tell(rebalanced=[[stream.topic, stream.partition] for stream in streams])
        self._herald.at("stream.gained")
        found = self._membership.gained(streams)
        self._herald.at("stream.started")
        return found

    def lost(self, streams: Collection[Stream], deadline_seconds: float, confirmed: Mapping[Stream, Position]) -> None:
        """See `ports.Membership`."""
        self._herald.at("stream.revoked")
        self._membership.lost(streams, deadline_seconds, confirmed)
        self._herald.at("stream.let_go")


class AnnouncingSink:
    """A `ports.Sink` before another."""

    def __init__(self, sink: Sink, herald: Herald) -> None:
        self._sink = sink
        self._herald = herald

    @property
    def guarantee(self) -> Guarantee:
        """See `ports.Sink`."""
        return self._sink.guarantee

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink`."""
        with self._herald.during("look"):
            return self._sink.positions(streams)

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink`."""
        self._herald.at("owner.unknown")
        with self._herald.during("take over"):
            found = self._sink.take_over(streams)
        self._herald.at("owner.known")
        return found

    def stage(self, batch: Batch) -> Staged:
        """See `ports.Sink`."""
        self._herald.at("stage.begun")
        with self._herald.during("stage"):
            staged = self._sink.stage(batch)
        self._herald.at("stage.ended")
        return staged

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """See `ports.Sink`."""
        self._herald.at("commit.begun")
        with self._herald.during("commit"):
            receipt = self._sink.commit(staged)
        self._herald.at("commit.ended")
        return receipt

    def maintain(self, budget_seconds: float) -> None:
        """See `ports.Sink`."""
        self._herald.at("upkeep.begun")
        with self._herald.during("upkeep"):
            self._sink.maintain(budget_seconds)
        self._herald.at("upkeep.ended")

    def close(self) -> None:
        """See `ports.Sink`."""
        self._sink.close()


class AnnouncingLetters:
    """A `ports.DeadLetters` before another."""

    def __init__(self, letters: DeadLetters, herald: Herald) -> None:
        self._letters = letters
        self._herald = herald

    def claim(self, streams: Collection[Stream]) -> None:
        """See `ports.DeadLetters`."""
        self._herald.at("letters.unclaimed")
        with self._herald.during("claim"):
            self._letters.claim(streams)
        self._herald.at("letters.claimed")

    def put(self, letters: Sequence[Letter]) -> None:
        """See `ports.DeadLetters`."""
        self._herald.at("letters.begun")
        with self._herald.during("put"):
            self._letters.put(letters)
        self._herald.at("letters.buried")

    def buried(self, stream: Stream, start: Position) -> AbstractSet[int]:
        """See `ports.DeadLetters`."""
        with self._herald.during("look"):
            return self._letters.buried(stream, start)

    def close(self) -> None:
        """See `ports.DeadLetters`."""
        self._letters.close()


class AnnouncingObjects(Objects):
    """Objects of a store, which tell by their names what they are. Each is durable, with its name, in one act."""

    def __init__(self, herald: Herald) -> None:
        self._herald = herald

    def _at(self, point: str | None) -> None:
        if point is not None:
            self._herald.at(point)

    def put(self, store: ObjectStore, name: str, content: memoryview) -> None:
        """See `Objects`."""
        super().put(store, name, content)
        self._at(_OBJECT_STORED.get(self._herald.act) if name.endswith(".parquet") else None)

    def create(self, store: ObjectStore, name: str, content: bytes) -> bool:
        """See `Objects`."""
        act = self._herald.act
        self._at(_COMPARED.get(act))
        created = super().create(store, name, content)
        self._at(_UNANSWERED.get(act) if created else None)
        return created


class AnnouncingDisk(Disk):
    """A disk, whose files tell by their names what they are."""

    def __init__(self, herald: Herald) -> None:
        self._herald = herald
        self.objects = AnnouncingObjects(herald)

    def _at(self, point: str | None) -> None:
        if point is not None:
            self._herald.at(point)

    def sync_file(self, path: Path) -> None:
        """See `Disk`."""
        act = self._herald.act
        if path.suffix == ".tmp":
            self._at("commit.drafted" if act == "commit" else None)
            super().sync_file(path)
        elif ".checkpoint" in path.name or path.name == "_last_checkpoint":
            self._at("checkpoint.written")
            super().sync_file(path)
            self._at("checkpoint.synced")
        elif path.suffix == ".parquet":
            self._at(_FILE_WRITTEN.get(act))
            super().sync_file(path)
            self._at(_FILE_SYNCED.get(act))
        else:
            self._at("commit.entry_read" if act == "commit" else None)
            super().sync_file(path)

    def sync_folder(self, path: Path) -> None:
        """See `Disk`."""
        super().sync_folder(path)
        act = self._herald.act
        if path.name == "_delta_log":
            self._at(_DURABLE.get(act))
        elif act == "stage":
            self._at("file.named")

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`."""
        act = self._herald.act
        if ".checkpoint" in name.name:
            super().link(path, name)
            self._at("checkpoint.named")
            return
        self._at(_COMPARED.get(act))
        super().link(path, name)
        self._at(_UNANSWERED.get(act))

    def remove(self, path: Path) -> None:
        """See `Disk`."""
        swept = self._herald.act == "upkeep" and path.suffix == ".parquet"
        self._at("sweep.begun" if swept else None)
        super().remove(path)
        self._at("sweep.ended" if swept else None)


class AnnouncingTable(DeltaTable):
    """A handle whose writes and looks are announced."""

    def __init__(self, settings: DeltaSettings, herald: Herald) -> None:
        super().__init__(settings.path, storage_options=dict(settings.storage_options) or None)
        self._herald = herald

    def cleanup_metadata(self) -> None:
        """See `DeltaTable`."""
        self._herald.at("clean_up.begun")
        super().cleanup_metadata()
        self._herald.at("clean_up.ended")
