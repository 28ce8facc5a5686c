"""Halving a batch until the records that cannot pass are alone: pure but for the call that is made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Refused(Generic[R]):
    """A record that a function refuses, and why."""

    record: R
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Answer(Generic[R]):
    """What came of one call: these were refused and all others handled; or, `doubt`, something of it was refused and nobody knows what."""

    refused: tuple[Refused[R], ...] = ()
    doubt: Refused[Sequence[R]] | None = None


@dataclass(frozen=True, slots=True)
class Isolated(Generic[R]):
    """What halving came to: the records that are refused, in order of the calls, how many calls it took, and what is still in doubt."""

    refused: tuple[Refused[R], ...]
    calls: int
    in_doubt: Refused[Sequence[R]] | None = None


def isolate(records: Sequence[R], call: Callable[[Sequence[R]], Answer[R]], calls_max: int) -> Isolated[R]:
    """Call with all records, then with halves of whatever is in doubt, the earlier half first, until nothing is.

    One record among n that cannot pass takes about 2 log2 n calls more. When halving once more would take more than
    `calls_max` in all, it ends with something in doubt; what has passed has passed.
    """
    waiting = deque([records])
    refused: list[Refused[R]] = []
    calls = 0
    while waiting:
        part = waiting.popleft()
        answer = call(part)
        calls += 1
        refused += answer.refused
        if answer.doubt is None:
            continue
        if len(part) == 1:
            refused.append(Refused(part[0], answer.doubt.reason, answer.doubt.message))
        elif calls + len(waiting) + 2 > calls_max:
            return Isolated(tuple(refused), calls, answer.doubt)
        else:
            middle = len(part) // 2
            waiting.extendleft((part[middle:], part[:middle]))
    return Isolated(tuple(refused), calls)
