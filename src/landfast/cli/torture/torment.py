"""What is done to a worker, and where: drawn by chance, but so that every fault point has its turn."""

from __future__ import annotations

import enum
import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from landfast.cli.torture.points import POINTS, How, Order

PATIENCE_SECONDS, PATIENCE_SECONDS_MAX = 10.0, 60.0
"""How long a worker may live without reaching the point it is to be hurt at: longer each time the point was waited for in vain."""

REST_SECONDS = 60.0
"""A point that was not reached in that time is left alone for so long: longer each time, too."""

EARLY_SHARE = 0.2
TIMES_MAX = 3
AIMED_SHARE = 0.65
"""More than half are meant for a fault point, since some of them wait for theirs in vain."""
SELDOM_SHARE = 0.5
"""Of these, as many are meant for a point at which the fewest were killed; all of them would soon wait for what seldom happens."""


class Deed(enum.Enum):
    """What is done."""

    KILL = "killed"
    KILL_STOPPED = "stopped, then killed"
    KILL_ALL = "killed with all others"
    FREEZE = "stopped for a while"
    HOLD = "held"
    LEAVE = "asked to end"


# Kills at fault points and kills at any moment come about equally often.
_SHARES: dict[Deed, float] = {
    Deed.KILL: 78.5,
    Deed.KILL_STOPPED: 4,
    Deed.KILL_ALL: 1,
    Deed.FREEZE: 7,
    Deed.HOLD: 5,
    Deed.LEAVE: 4.5,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to a worker: at a point, unless it has not come by for so many seconds after it has joined; or just then.

    `lasts_seconds`: how long it stands still. `early`: the time counts from its start, so that it may not have joined yet.
    """

    deed: Deed
    point: str = ""
    times: int = 1
    after_seconds: float = 0.0
    lasts_seconds: float = 0.0
    early: bool = False

    @property
    def order(self) -> Order | None:
        """What the worker is told about it."""
        if not self.point:
            return None
        how: How = "hold" if self.deed is Deed.HOLD else "stop"
        return Order(self.point, self.times, how)


class Torment:
    """Draws plans. `hurt` counts the kills at each point, `missed` how often one was waited for in vain."""

    def __init__(self, seed: int, session_seconds: float) -> None:
        self._chance = random.Random(seed)  # noqa: S311 — repeatable, and no secret
        self._session_seconds = session_seconds
        self._resting: dict[str, float] = {}
        self.killed: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()

    def plan(self, now: float, among: Collection[str] = POINTS) -> Plan:
        """What is done next, if at a point, at one of these."""
        deed = self._chance.choices(list(_SHARES), list(_SHARES.values()))[0]
        aimed = deed is Deed.HOLD or (deed not in (Deed.LEAVE, Deed.KILL_ALL) and self._chance.random() < AIMED_SHARE)
        point = self._point(now, among) if aimed else ""
        return Plan(
            deed,
            point,
            self._chance.randint(1, TIMES_MAX) if self.killed[point] > 1 else 1,
            self._patience(point) if point else self._chance.uniform(0.05, 4.0),
            self._lasts(deed),
            early=not aimed and self._chance.random() < EARLY_SHARE,
        )

    def not_reached(self, plan: Plan, now: float) -> None:
        """Take note that a worker lived long without reaching its point."""
        self.missed[plan.point] += 1
        self._resting[plan.point] = now + REST_SECONDS * self.missed[plan.point]

    def _point(self, now: float, among: Collection[str]) -> str:
        """Any of the points, or one of those at which the fewest were killed."""
        awake = [point for point in among if self._resting.get(point, 0.0) <= now] or list(among)
        if self._chance.random() >= SELDOM_SHARE:
            return self._chance.choice(awake)
        fewest = min(self.killed[point] for point in awake)
        return self._chance.choice([point for point in awake if self.killed[point] <= fewest + 1])

    def _patience(self, point: str) -> float:
        return min(PATIENCE_SECONDS_MAX, PATIENCE_SECONDS * (1 + self.missed[point]))

    def _lasts(self, deed: Deed) -> float:
        """Half of the pauses are shorter than the group's patience, half of them longer. A held thread never outlasts a poll interval."""
        if deed is Deed.HOLD or self._chance.choice((True, False)):
            return self._chance.uniform(0.05, 0.8) * self._session_seconds
        return self._chance.uniform(1.2, 1.8) * self._session_seconds
