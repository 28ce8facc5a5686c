"""A planted bug: one small change to the engine or to a port, and a sentence that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

Sow = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Plant:
    """A defect. `sow` plants it."""

    name: str
    sentence: str
    sow: Sow


class Bed:
    """The plants of one part of the engine, in the order in which they are written."""

    def __init__(self) -> None:
        self.plants: list[Plant] = []

    def plant(self, sow: Sow) -> Sow:
        """The decorated function plants a bug; its docstring is the sentence."""
        self.plants.append(Plant(sow.__name__, (sow.__doc__ or "").strip(), sow))
        return sow
