"""Letters of a Delta table that are tried again by themselves keep every promise of their port, on real tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from landfast.model import Chunk, Decoded, Reject, Rows, Stream
from landfast.sinks.delta import DeltaSettings, DeltaSink, UpsertSettings, letters_path
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.paths import trail_path
from landfast.sinks.delta.proof.coordinates import Coordinates
from landfast.sinks.delta.proof.letters import Letters, Row
from landfast.sinks.delta.redrive.discard import discard
from landfast.sinks.delta.redrive.replay import Candidate, Outcome, Replay
from landfast.sinks.delta.redrive.trail import Trail
from landfast.sinks.delta.retrying.retries import DeltaRetries
from landfast.testing.clock import ManualClock
from landfast.testing.suites import RETRIES_CHECKS, Landed, RetriesHarness, RetriesProcess
from tests.sinks.delta_world import DeltaWorld

VALUES = pa.schema([pa.field("value", pa.binary())])


class Killed(BaseException):
    """What comes out of a process that is killed."""


class Deadly(Disk):
    """A disk on which the process ends right before or right after an entry of a log gets its name: two acts each."""

    def __init__(self, killed_at: int) -> None:
        self._left = killed_at

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`."""
        self._act()
        super().link(path, name)
        self._act()

    def _act(self) -> None:
        self._left -= 1
        if self._left <= 0:
            raise Killed


class Choosy:
    """A decoder that refuses values that begin with `bad`, until it is mended, and skips those that are null."""

    mended = False

    def rows(self, chunk: Chunk, kept: Sequence[int]) -> pa.Table:
        """The rows of those that are kept."""
        return pa.table({"value": pa.array([chunk.values[index] for index in kept], pa.binary())}, schema=VALUES)

    def decode(self, chunk: Chunk) -> Decoded:
        """See `ports.Decoder`."""
        bad = [] if self.mended else [index for index, value in enumerate(chunk.values) if value is not None and value.startswith(b"bad")]
        null = [index for index, value in enumerate(chunk.values) if value is None]
        kept = [index for index in range(len(chunk.values)) if index not in {*bad, *null}]
        rows = self.rows(chunk, kept)
        rejects = tuple(Reject(index, "bad_line", "the line begins with bad") for index in bad)
        return Decoded(chunk, rows, kept, rejects, {"tombstone": null} if null else {})


class ChoosyWithKeys(Choosy):
    """The same, with an id for each record that no other has."""

    def rows(self, chunk: Chunk, kept: Sequence[int]) -> pa.Table:
        """The rows of those that are kept, with an id each."""
        ids = [f"{chunk.stream.partition}-{chunk.offsets[index]}" for index in kept]
        return super().rows(chunk, kept).append_column("id", pa.array(ids, pa.string()))


@dataclass
class AtTime:
    """The clock of a table whose time moves only when a test says so."""

    clock: ManualClock

    def now(self) -> float:
        """See `ports.Clock`."""
        return self.clock.now()

    def monotonic(self) -> float:
        """See `ports.Clock`."""
        return self.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """Nothing of these checks is worth waiting for."""
        assert seconds >= 0


class DeltaRetriesHarness:
    """A table on disk with its letters and its trail; every process is another run."""

    delays_seconds: Sequence[float] = (60.0, 600.0, 3600.0)
    # After each effect: what is killed before the next one leaves no more than files that nobody names.
    kills: Iterable[int] = range(2, 100, 2)
    killed = Killed

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.world = DeltaWorld(str(folder / "table"), VALUES, clock=AtTime(self.clock))  # type: ignore[arg-type]  # it has the same methods
        self.decoder = Choosy()
        self.runs = itertools.count()

    def open_process(self, killed_at: int | None = None) -> RetriesProcess:
        """See `RetriesHarness`."""
        world = self.world if killed_at is None else replace(self.world, disk=Deadly(killed_at))
        home = world.home(run_id=f"run-{next(self.runs)}")
        sink = DeltaSink(home)
        retries = DeltaRetries(home, sink, self.decoder, self.delays_seconds)
        return RetriesProcess(sink, retries, retries)

    def make_rows(self, values: Sequence[bytes]) -> Rows:
        """See `RetriesHarness`."""
        return pa.table({"value": pa.array(values, pa.binary())}, schema=VALUES)

    def landed(self) -> Sequence[Landed]:
        """See `RetriesHarness`."""
        rows = DeltaTable(self.world.path).to_pyarrow_table().to_pylist()
        return [(row["_topic"], row["_partition"], row["_offset"], row["value"]) for row in rows]

    def still_open(self) -> Collection[tuple[Stream, int]]:
        """See `RetriesHarness`."""
        trail = trail_path(self.world.path)
        acts = DeltaTable(trail).to_pyarrow_table().to_pylist() if DeltaTable.is_deltatable(trail) else []
        resolved = {act["id"] for act in acts if act["act"] in {"replayed", "discarded"}}
        rows = DeltaTable(letters_path(self.world.path)).to_pyarrow_table().to_pylist()
        return [(Stream(row["topic"], row["topic_id"], row["partition"]), row["offset"]) for row in rows if row["id"] not in resolved]

    def mend(self) -> None:
        """See `RetriesHarness`."""
        self.decoder.mended = True

    def discard(self, stream: Stream, offset: int) -> None:
        """See `RetriesHarness`."""
        home = self.world.home("by-hand")
        (done,) = discard(home, Trail(home, "ann"), [self._letter(stream, offset)], "said by the suite")
        assert done.outcome is Outcome.DISCARDED

    def replay(self, stream: Stream, offset: int) -> None:
        """See `RetriesHarness`."""
        home = self.world.home("by-hand")
        letter = self._letter(stream, offset)
        replay = Replay(home, DeltaSink(home), self.decoder, Trail(home, "ann"))
        assert [one.outcome for one in replay.run([Candidate(letter, letter["value"], edited=False)])] == [Outcome.LANDED]

    def now(self) -> float:
        """See `RetriesHarness`."""
        return self.clock.now()

    def pass_seconds(self, seconds: float) -> None:
        """See `RetriesHarness`."""
        self.clock.advance(seconds)

    def _letter(self, stream: Stream, offset: int) -> Row:
        letters = Letters(self.world.home("by-hand").settings)
        ((row,),) = letters.whole([Coordinates(offset, stream.topic, stream.partition, stream.incarnation)])
        return row


@pytest.mark.parametrize("promise", RETRIES_CHECKS, ids=lambda promise: promise.__name__)
def test_the_delta_letters_are_tried_again_as_promised(promise: Callable[[RetriesHarness], None], tmp_path: Path) -> None:
    """Each promise of `ports.Retries`, on a fresh table."""
    promise(DeltaRetriesHarness(tmp_path))


class UpsertRetriesHarness(DeltaRetriesHarness):
    """The same with one row per key, where each record has a key of its own, so that whatever lands twice is there twice."""

    kills = range(2, 100, 3)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        schema = pa.schema([*VALUES, pa.field("id", pa.string())])
        settings = DeltaSettings(path="", upsert=UpsertSettings(("id",)))
        self.world = replace(self.world, schema=schema, settings=settings)
        self.decoder = ChoosyWithKeys()

    def make_rows(self, values: Sequence[bytes]) -> Rows:
        """See `RetriesHarness`."""
        return pa.table({"value": pa.array(values, pa.binary()), "id": pa.nulls(len(values), pa.string())})


ABOUT_LANDING = [
    promise
    for promise in RETRIES_CHECKS
    if any(word in promise.__name__ for word in ("lands", "person", "discarded", "skips", "former", "given_up_holds"))
]
"""What a table with one row per key has a part in."""


@pytest.mark.parametrize("promise", ABOUT_LANDING, ids=lambda promise: promise.__name__)
def test_letters_of_a_table_with_one_row_per_key_are_tried_again_as_promised(
    promise: Callable[[RetriesHarness], None], tmp_path: Path
) -> None:
    """Each promise of `ports.Retries` about landing, on a fresh table that holds one row per key."""
    promise(UpsertRetriesHarness(tmp_path))
