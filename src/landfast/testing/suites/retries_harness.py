"""How the checks of `RETRIES_CHECKS` reach what is under test, and the steps they share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from landfast.model import Letter, Retried, Rows, Stream
from landfast.ports import DeadLetters, Retries, Sink
from landfast.testing.suites.promises import Material, Part, demand, demand_equal
from landfast.testing.suites.sink_harness import Landed

A = Stream("suite", "aaaaaaaaaaaaaaaaaaaaaa", 0)
B = Stream("suite", "aaaaaaaaaaaaaaaaaaaaaa", 1)
KEY, OTHER_KEY = b"key", b"other"
BUDGET_SECONDS = 60.0
LONG_SECONDS = 1_000_000.0
_ROUNDS_MAX = 100


@dataclass(frozen=True, slots=True)
class RetriesProcess:
    """One process over the store: what lands, what buries and what tries again. `letters` and `retries` may be one object."""

    sink: Sink
    letters: DeadLetters
    retries: Retries


class RetriesHarness(Protocol):
    """Stands between the checks and one store, whose decoder refuses values that begin with `bad` until `mend`, and skips nulls.

    delays_seconds  between the attempts: two or more, each of a second or more
    kills           at which act on the store processes are killed, one after the other, until one does not get so far
    killed          what comes out of a process that is killed
    """

    delays_seconds: Sequence[float]
    kills: Iterable[int]
    killed: type[BaseException]

    def open_process(self, killed_at: int | None = None) -> RetriesProcess:
        """Another process over the store; one that is killed at this act on the store, from 1 on: it raises `killed`, and acts no more."""

    def make_rows(self, values: Sequence[bytes]) -> Rows:
        """Rows of one column that holds these values."""

    def landed(self) -> Sequence[Landed]:
        """Every row that an independent reader sees now, in any order."""

    def still_open(self) -> Collection[tuple[Stream, int]]:
        """Every dead letter that an independent reader finds open now."""

    def mend(self) -> None:
        """From now on the decoder takes what it refused, in every process."""

    def discard(self, stream: Stream, offset: int) -> None:
        """A person discards a letter."""

    def replay(self, stream: Stream, offset: int) -> None:
        """A person has a letter replayed, when the decoder takes it."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def pass_seconds(self, seconds: float) -> None:
        """Let so much time pass for every process."""


class Store:
    """The steps of the checks, over one harness."""

    def __init__(self, harness: RetriesHarness) -> None:
        self.harness = harness
        self._ends: dict[Stream, int] = {}

    def owner(self, *streams: Stream, killed_at: int | None = None) -> RetriesProcess:
        """A process that has taken these streams over and looks after their letters."""
        process = self.harness.open_process(killed_at)
        process.letters.claim(streams)
        process.sink.take_over(streams)
        process.retries.waiting(streams)
        return process

    def letter(self, stream: Stream, offset: int, value: bytes | None, key: bytes | None = KEY, *, later: bool = True) -> Letter:
        """A letter that failed just now; one of a record that would not fail waits behind another."""
        waits = value is None or not value.startswith(b"bad")
        return Letter(
            stream=stream,
            offset=offset,
            timestamp=1_700_000_000_123,
            key=key,
            value=value,
            headers=(("name", b"header"),),
            phase="wait" if waits else "decode",
            reason="behind_retry" if waits else "bad_line",
            message="said by the suite",
            attempts=0 if waits else 1,
            failed_at=self.harness.now(),
            later=later,
        )

    def buried(self, process: RetriesProcess, *letters: Letter) -> RetriesProcess:
        """Put these letters, which are all that there is in their streams, and move the positions past them."""
        process.letters.put(letters)
        for stream in sorted({letter.stream for letter in letters}):
            self.pass_by(process, stream, sum(letter.stream == stream for letter in letters))
        return process

    def pass_by(self, process: RetriesProcess, stream: Stream, records: int) -> None:
        """Commit a batch of so many records that are all dead."""
        start = self._ends.get(stream, 0)
        self._ends[stream] = start + records
        part = Part(stream, start, [b"bad"] * records, first=start == 0)
        process.sink.commit([process.sink.stage(Material(self.harness.make_rows).batch(1, part))])

    def attempt(self, process: RetriesProcess, *streams: Stream) -> Retried:
        """One round."""
        return process.retries.retry(streams, BUDGET_SECONDS)

    def all_due(self, process: RetriesProcess, *streams: Stream) -> Retried:
        """Let time pass and have rounds until nothing waits any more; what they came to in all, with what the last one says that waits."""
        landed = refused = given_up = 0
        for _ in range(_ROUNDS_MAX):
            round_ = self.attempt(process, *streams)
            landed, refused, given_up = landed + round_.landed, refused + round_.refused, given_up + round_.given_up
            due_seconds = process.retries.due_seconds()
            if due_seconds is None:
                return Retried(round_.waiting, landed, refused, given_up)
            self.harness.pass_seconds(due_seconds)
        demand(condition=False, message=f"letters wait after {_ROUNDS_MAX} rounds")
        raise AssertionError

    def demand_landed(self, *expected: tuple[Stream, int]) -> None:
        """Demand that a reader sees the rows of exactly these places, each once."""
        found = sorted((topic, partition, offset) for topic, partition, offset, _ in self.harness.landed())
        demand_equal(found, sorted((stream.topic, stream.partition, offset) for stream, offset in expected), "rows that a reader sees")

    def demand_open(self, *expected: tuple[Stream, int]) -> None:
        """Demand that exactly these letters are open."""
        demand_equal(sorted(self.harness.still_open()), sorted(expected), "open letters")

    def demand_waiting(self, process: RetriesProcess, stream: Stream, keys: dict[bytes, int], records: int) -> None:
        """Demand that this waits, by the store and by another process's reading of it."""
        waiting = process.retries.waiting([stream])[stream]
        demand_equal((dict(waiting.keys), waiting.records), (keys, records), f"what waits of {stream}")
