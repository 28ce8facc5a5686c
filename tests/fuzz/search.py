"""The search: inputs of the corpus are changed at random, and those with a new word join it. Repeatable by its seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fuzz.targets import CORPUS, Target

BYTES_MAX = 8_192
_POOL_MAX = 4_096


def corpus_of(name: str) -> list[Path]:
    """The stored inputs of a target, sorted."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())


class Search:
    """Inputs for one target. Tell it the word of each that it gave."""

    def __init__(self, target: Target, seed: int, begin: Sequence[bytes]) -> None:
        self._random = random.Random(f"{target.name} {seed}")
        self._tokens = target.tokens
        self._pool = list(begin) or [b""]
        self._words: set[str] = set()

    def next(self) -> bytes:
        """An input that was not asked for."""
        draw = self._random
        data = draw.choice(self._pool)
        for _ in range(1 + int(draw.expovariate(0.7))):
            data = self._changed(data)
        return data[:BYTES_MAX]

    def told(self, data: bytes, word: str) -> None:
        """What became of an input: a new word makes it a parent."""
        if word not in self._words:
            self._words.add(word)
            if len(self._pool) >= _POOL_MAX:
                self._pool[self._random.randrange(len(self._pool))] = data
            else:
                self._pool.append(data)

    @property
    def words(self) -> int:
        """How many different ends the inputs have come to."""
        return len(self._words)

    def _changed(self, data: bytes) -> bytes:
        draw = self._random
        at, to = sorted((draw.randint(0, len(data)), draw.randint(0, len(data))))
        to = min(to, at + 64)
        match draw.randrange(8):
            case 0:
                return data[:at] + draw.choice(self._tokens) + data[at:]
            case 1:
                return data[:at] + draw.choice(self._tokens) + data[to:]
            case 2:
                return data[:at] + data[to:]
            case 3:
                return data[:at] + data[at:to] * draw.choice((2, 3, 40)) + data[to:]
            case 4:
                other = draw.choice(self._pool)
                start = draw.randint(0, len(other))
                return data[:at] + other[start : start + draw.randint(0, 256)] + data[to:]
            case 5:
                return data[:at] + draw.randbytes(draw.randint(1, 4)) + data[to:]
            case 6 if at < len(data):
                return data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]
            case _:
                return data[:at] + draw.choice((b"0", b"-1", b"9" * 20, b"255", b"2147483648", b"\x00", b" ")) + data[at:]


def inputs(target: Target, seed: int, count: int) -> Iterator[bytes]:
    """So many inputs for a target, in the order of its seed; each is run before the next is drawn."""
    search = Search(target, seed, [path.read_bytes() for path in corpus_of(target.name)])
    for _ in range(count):
        data = search.next()
        yield data
        search.told(data, target.run(data))
