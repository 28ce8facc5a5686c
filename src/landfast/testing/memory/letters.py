"""Dead letters in memory: a durable store with claims, and the port over it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol, TypeVar

from landfast.errors import Conflict, Unavailable
from landfast.model import Letter, Position, Stream
from landfast.testing.memory.table import AnswerLost, new_token

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failures:
    """How often a letter has failed, and when the last time was."""

    count: int
    failed_at: float


@dataclass(frozen=True, slots=True)
class Retriable:
    """A letter that is to be tried again by itself, and how often it has failed."""

    letter: Letter
    failures: Failures


class LetterStore(Protocol):
    """What dead letters need of a store. Every call is atomic and may raise AnswerLost: it may have happened."""

    def take(self, streams: Collection[Stream], owner: str) -> None:
        """From here on these streams are `owner`'s."""

    def append(self, letters: Sequence[Letter], owner: str, token: str) -> Stream | None:
        """Bury all of them, once per token, if every stream is `owner`'s; otherwise bury none and return a stream that is not."""

    def buried(self, stream: Stream, start: Position) -> frozenset[int]:
        """The offsets of a stream that are buried at or above `start`."""

    def retriable(self, streams: Collection[Stream], owner: str) -> Sequence[Retriable] | Stream:
        """Every letter of these streams that was marked `later`, in order, if every stream is `owner`'s; otherwise one that is not."""

    def fail(self, failures: Mapping[tuple[Stream, int], Failures], owner: str) -> Stream | None:
        """Take note of all these failures if every stream is `owner`'s; otherwise of none, and return a stream that is not."""


class MemoryLetterStore:
    """The durable half of `MemoryDeadLetters`: who has claimed which stream, all letters, and how they failed since. Thread-safe.

    It keeps whatever it is given: a letter that is put twice is here twice, for a ledger to find. `changes` counts what it was told,
    and `buriers` keeps the owner by whom each letter was buried.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[Stream, str] = {}
        self._puts: dict[str, tuple[Letter, ...]] = {}
        self._failures: dict[tuple[Stream, int], Failures] = {}
        self.changes = 0
        self.buriers: dict[tuple[Stream, int], str] = {}

    @property
    def letters(self) -> tuple[Letter, ...]:
        """All letters in the order buried."""
        with self._lock:
            return tuple(letter for letters in self._puts.values() for letter in letters)

    def take(self, streams: Collection[Stream], owner: str) -> None:
        """From here on these streams are `owner`'s."""
        with self._lock:
            self._claims.update(dict.fromkeys(streams, owner))

    def append(self, letters: Sequence[Letter], owner: str, token: str) -> Stream | None:
        """Bury all of them, once per token, if every stream is `owner`'s; otherwise bury none and return a stream that is not."""
        with self._lock:
            for letter in letters:
                if self._claims.get(letter.stream) != owner:
                    return letter.stream
            self.changes += 1
            self._puts.setdefault(token, tuple(letters))
            self.buriers.update(dict.fromkeys(((letter.stream, letter.offset) for letter in letters), owner))
            return None

    def buried(self, stream: Stream, start: Position) -> frozenset[int]:
        """The offsets of a stream that are buried at or above `start`."""
        return frozenset(letter.offset for letter in self.letters if letter.stream == stream and letter.offset >= start)

    def retriable(self, streams: Collection[Stream], owner: str) -> Sequence[Retriable] | Stream:
        """Every letter of these streams that was marked `later`, in order, if every stream is `owner`'s; otherwise one that is not."""
        for stream in streams:
            if self._claims.get(stream) != owner:
                return stream
        found = [letter for letter in self.letters if letter.later and letter.stream in streams]
        found.sort(key=lambda letter: (letter.stream, letter.offset))
        return [Retriable(letter, self.failures(letter)) for letter in found]

    def failures(self, letter: Letter) -> Failures:
        """How often a letter has failed: one that only waits behind another has not."""
        first = Failures(0 if letter.phase == "wait" else 1, letter.failed_at)
        return self._failures.get((letter.stream, letter.offset), first)

    def fail(self, failures: Mapping[tuple[Stream, int], Failures], owner: str) -> Stream | None:
        """Take note of all these failures if every stream is `owner`'s; otherwise of none, and return a stream that is not."""
        with self._lock:
            for stream, _ in failures:
                if self._claims.get(stream) != owner:
                    return stream
            self.changes += 1
            self._failures.update(failures)
            return None


class MemoryDeadLetters:
    """A `ports.DeadLetters` over a `MemoryLetterStore`. Several over one store are several processes.

    After a put whose answer never came, the next one finds out first what is there: the engine may put the same letters again
    together with others.
    """

    def __init__(self, store: LetterStore, attempts_max: int = 3) -> None:
        self.store = store
        self.owner = new_token()
        self._attempts_max = attempts_max
        self._doubtful = False

    def claim(self, streams: Collection[Stream]) -> None:
        """Take the streams over, durably."""
        self.ask(lambda: self.store.take(streams, self.owner))

    def put(self, letters: Sequence[Letter]) -> None:
        """Bury the letters, all or none."""
        wanted = tuple(letters)
        if self._doubtful:
            there = {stream: self.buried(stream, 0) for stream in {letter.stream for letter in wanted}}
            wanted = tuple(letter for letter in wanted if letter.offset not in there[letter.stream])
        self._doubtful = True
        token = new_token()
        foreign = self.ask(lambda: self.store.append(wanted, self.owner, token))
        self._doubtful = False
        if foreign is not None:
            raise claimed_elsewhere(foreign)

    def buried(self, stream: Stream, start: Position) -> AbstractSet[int]:
        """The offsets that are buried at or above `start`."""
        return self.ask(lambda: self.store.buried(stream, start))

    def close(self) -> None:
        """Nothing to let go of."""

    def ask(self, call: Callable[[], T]) -> T:
        """What the store answers, if it does."""
        for _ in range(self._attempts_max):
            try:
                return call()
            except AnswerLost:
                continue
        raise Unavailable("LETTERS_UNAVAILABLE", "the dead-letter store does not answer", next_step="Try again.")


def claimed_elsewhere(stream: Stream) -> Conflict:
    """Somebody else has the letters of this stream."""
    return Conflict("PIPELINE_CONFLICT", "somebody else has claimed the stream", stream=stream, next_step="Read the position again.")
