"""Families of schedules: how one is drawn from a seed, and which rare states a campaign of them has to reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from landfast.testing.world.later import LATER_WORKLOAD, drawn_later
from landfast.testing.world.reached import expected
from landfast.testing.world.reached_later import expected_later
from landfast.testing.world.schedule import Schedule, drawn


@dataclass(frozen=True, slots=True)
class Family:
    """Schedules of one kind.

    schedules_min  so many meet every rare state
    workload       of which every call is failed; None: the plain one
    """

    name: str
    draw: Callable[[int], Schedule]
    expected: Callable[[], tuple[str, ...]]
    schedules_min: int
    workload: Schedule | None = None


PLAIN = Family("plain", drawn, expected, 20_000)
LATER = Family("later", drawn_later, expected_later, 3_000, LATER_WORKLOAD)
"""Letters are tried again by themselves."""

FAMILIES: Mapping[str, Family] = {family.name: family for family in (PLAIN, LATER)}
