"""A planted bug: one small change to the engine or to a port, and a sentence that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from landfast.testing.world import Schedule, drawn

Sow = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Plant:
    """A defect. `sow` plants it, and the schedules that `draw` draws have to find it."""

    name: str
    sentence: str
    sow: Sow
    draw: Callable[[int], Schedule] = drawn


class Bed:
    """The plants of one part of the engine, in the order in which they are written."""

    def __init__(self, draw: Callable[[int], Schedule] = drawn) -> None:
        self.plants: list[Plant] = []
        self._draw = draw

    def plant(self, sow: Sow) -> Sow:
        """The decorated function plants a bug; its docstring is the sentence."""
        self.plants.append(Plant(sow.__name__, (sow.__doc__ or "").strip(), sow, self._draw))
        return sow
