"""Dead letters in memory: a durable store with claims, and the port over it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol, TypeVar

from landfast.errors import Conflict, Unavailable
from landfast.model import Letter, Position, Stream
from landfast.testing.memory.table import AnswerLost, new_token

T = TypeVar("T")


class LetterStore(Protocol):
    """What dead letters need of a store. Every call is atomic and may raise AnswerLost: it may have happened."""

    def take(self, streams: Collection[Stream], owner: str) -> None:
        """From here on these streams are `owner`'s."""

    def append(self, letters: Sequence[Letter], owner: str, token: str) -> Stream | None:
        """Bury all of them, once per token, if every stream is `owner`'s; otherwise bury none and return a stream that is not."""

    def buried(self, stream: Stream, start: Position) -> frozenset[int]:
        """The offsets of a stream that are buried at or above `start`."""


class MemoryLetterStore:
    """The durable half of `MemoryDeadLetters`: who has claimed which stream, and all letters. Thread-safe.

    It keeps whatever it is given: a letter that is put twice is here twice, for a ledger to find.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[Stream, str] = {}
        self._puts: dict[str, tuple[Letter, ...]] = {}

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
            self._puts.setdefault(token, tuple(letters))
            return None

    def buried(self, stream: Stream, start: Position) -> frozenset[int]:
        """The offsets of a stream that are buried at or above `start`."""
        return frozenset(letter.offset for letter in self.letters if letter.stream == stream and letter.offset >= start)


class MemoryDeadLetters:
    """A `ports.DeadLetters` over a `MemoryLetterStore`. Several over one store are several processes.

    After a put whose answer never came, the next one finds out first what is there: the engine may put the same letters again
    together with others.
    """

    def __init__(self, store: LetterStore, attempts_max: int = 3) -> None:
        self.store = store
        self._owner = new_token()
        self._attempts_max = attempts_max
        self._doubtful = False

    def claim(self, streams: Collection[Stream]) -> None:
        """Take the streams over, durably."""
        self._ask(lambda: self.store.take(streams, self._owner))

    def put(self, letters: Sequence[Letter]) -> None:
        """Bury the letters, all or none."""
        wanted = tuple(letters)
        if self._doubtful:
            there = {stream: self.buried(stream, 0) for stream in {letter.stream for letter in wanted}}
            wanted = tuple(letter for letter in wanted if letter.offset not in there[letter.stream])
        self._doubtful = True
        token = new_token()
        foreign = self._ask(lambda: self.store.append(wanted, self._owner, token))
        self._doubtful = False
        if foreign is not None:
            raise Conflict(
                "PIPELINE_CONFLICT", "somebody else has claimed the stream", stream=foreign, next_step="Read the position again."
            )

    def buried(self, stream: Stream, start: Position) -> AbstractSet[int]:
        """The offsets that are buried at or above `start`."""
        return self._ask(lambda: self.store.buried(stream, start))

    def close(self) -> None:
        """Nothing to let go of."""

    def _ask(self, call: Callable[[], T]) -> T:
        for _ in range(self._attempts_max):
            try:
                return call()
            except AnswerLost:
                continue
        raise Unavailable("LETTERS_UNAVAILABLE", "the dead-letter store does not answer", next_step="Try again.")
