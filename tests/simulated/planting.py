"""A planted bug: one small change to the engine or to a port, a sentence that says what is wrong with it, and a seed that catches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

Sow = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Plant:
    """A defect. `sow` plants it; `seed` is the first whose schedule caught it when it was planted."""

    name: str
    sentence: str
    seed: int
    sow: Sow


class Bed:
    """The plants of one part of the engine, in the order in which they are written."""

    def __init__(self) -> None:
        self.plants: list[Plant] = []

    def plant(self, seed: int) -> Callable[[Sow], Sow]:
        """The decorated function plants a bug; its docstring is the sentence."""

        def keep(sow: Sow) -> Sow:
            self.plants.append(Plant(sow.__name__.replace("_", " "), (sow.__doc__ or "").strip(), seed, sow))
            return sow

        return keep
