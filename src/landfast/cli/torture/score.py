"""What is known of a torture while it goes on: who holds what, how far it has landed, how long it took to recover."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from landfast.cli.torture.points import POINTS
from landfast.cli.torture.records import Lane


@dataclass(slots=True)
class Outage:
    """The time since a kill, for the lanes that have not landed anything since."""

    at: float
    lanes: set[int]
    calm: bool


@dataclass(slots=True)
class Score:
    """Figures, and where each lane stands.

    points               the fault points that can be reached
    landed, ends         positions by a lane's index: how far it has landed, and how far it is acknowledged
    needed               those that must be landed
    recoveries           seconds from kills before and after which nobody else was hurt
    recoveries_in_storm  seconds from the other kills
    measured             whether a kill now is of the first kind
    """

    lanes: tuple[Lane, ...]
    points: tuple[str, ...] = tuple(POINTS)
    kills: Counter[str] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    halts: Counter[str] = field(default_factory=Counter)
    landed: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    needed: dict[int, int] = field(default_factory=dict)
    load: Mapping[str, Any] = field(default_factory=dict)
    recoveries: list[float] = field(default_factory=list)
    recoveries_in_storm: list[float] = field(default_factory=list)
    measured: bool = False
    outages: list[Outage] = field(default_factory=list)
    held: dict[int, set[int]] = field(default_factory=dict)
    landed_at: float = 0.0
    kills_since_landing: int = 0

    def killed(self, pid: int, at: float, how: str) -> None:
        """A worker was killed: what it held stands still."""
        self.kills[how] += 1
        self.kills_since_landing += 1
        hot = {lane for lane in self.held.pop(pid, set()) if self.lanes[lane].hot}
        if hot:
            self.outages.append(Outage(at, hot, self.measured))

    def gone(self, pid: int) -> None:
        """A worker has ended by itself or was asked to."""
        self.held.pop(pid, None)

    def hear(self, pid: int, facts: Mapping[str, Any], at: float) -> None:
        """Take in what a worker said."""
        match facts:
            case {"read": count}:
                self.counts["read"] += count
            case {"rebalanced": [_, *_]}:
                self.counts["rebalances"] += 1
            case {"gained": [topic, partition, position]}:
                self.counts["gained"] += 1
                lane = self._lane(topic, partition)
                self.held.setdefault(pid, set()).add(lane)
                self.landed[lane] = max(self.landed.get(lane, 0), position)
            case {"lost": [topic, partition]}:
                self.held.get(pid, set()).discard(self._lane(topic, partition))
            case {"landed": spans}:
                self._land(spans, at)
            case {"halted": [_, _, code]}:
                self.halts[code] += 1
            case {"conflict": _}:
                self.counts["conflicts"] += 1
            case {"resolved": landed}:
                self.counts["resolved landed" if landed else "resolved not landed"] += 1
            case {"maintained": act}:
                self.counts[act] += 1

    def _land(self, spans: Sequence[tuple[str, int, int]], at: float) -> None:
        self.counts["commits"] += 1
        self.landed_at, self.kills_since_landing = at, 0
        lanes = {self._lane(topic, partition): end for topic, partition, end in spans}
        for lane, end in lanes.items():
            self.landed[lane] = max(self.landed.get(lane, 0), end)
        for outage in self.outages:
            outage.lanes -= lanes.keys()
        for outage in self.outages:
            if not outage.lanes:
                (self.recoveries if outage.calm else self.recoveries_in_storm).append(at - outage.at)
        self.outages = [outage for outage in self.outages if outage.lanes]

    def hear_load(self, facts: Mapping[str, Any]) -> None:
        """Take in what the load said."""
        self.load = facts
        self.ends.update((lane, end) for lane, end in facts["ends"])
        self.needed.update((lane, end) for lane, end in facts["needed"])

    @property
    def settled(self) -> bool:
        """Whether everything that has to land has landed."""
        return all(self.landed.get(lane, 0) >= end for lane, end in self.needed.items())

    @property
    def backlog(self) -> int:
        """Offsets between what is acknowledged and what has landed."""
        return sum(max(0, end - self.landed.get(lane, 0)) for lane, end in self.ends.items())

    @property
    def points_reached(self) -> int:
        """At how many fault points somebody was killed."""
        return sum(self.kills[point] > 0 for point in self.points)

    @property
    def kills_in_all(self) -> int:
        """How many SIGKILLs."""
        return self.kills.total()

    def _lane(self, topic: str, partition: int) -> int:
        return next(index for index, lane in enumerate(self.lanes) if (lane.topic, lane.partition) == (topic, partition))


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so large a share of them does not exceed; None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 100) * len(ordered) // 100) - 1))]
