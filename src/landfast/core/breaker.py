"""The dead-letter breaker: a bad deploy must not drain a topic into the dead letters."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from landfast.model import Halt, Letter, Stream

WINDOW_RECORDS = 10_000
"""How far back the share is measured, in records of one stream."""


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a lane halts: more than `share_max` of its last 10,000 records dead, or `in_a_row_max` dead one after the other.

    Before 10,000 records were read the missing ones count as good, so that one bad record at the start does not halt.
    """

    share_max: float = 0.05
    in_a_row_max: int = 1_000


@dataclass(slots=True)
class Breaker:
    """Counts the deaths of one lane, record by record, in reading order."""

    limits: BreakerLimits
    records: int = 0
    in_a_row: int = 0
    last_dead: int = -2
    recent: deque[int] = field(default_factory=deque)

    def count(self, dead: Iterable[int], records: int) -> str | None:
        """Take in `records` more records of which those with the ordinals `dead` (from 0, ascending) died.

        Returns what tripped, in words, or None. Once it trips, the lane's records must not be buried.
        """
        base = self.records
        self.records += records
        for ordinal in dead:
            place = base + ordinal
            self.in_a_row = self.in_a_row + 1 if place == self.last_dead + 1 else 1
            self.last_dead = place
            self.recent.append(place)
            while self.recent[0] <= place - WINDOW_RECORDS:
                self.recent.popleft()
            if self.in_a_row >= self.limits.in_a_row_max:
                return f"{self.in_a_row} records in a row would become dead letters"
            if len(self.recent) > self.limits.share_max * WINDOW_RECORDS:
                return f"{len(self.recent)} of the last {WINDOW_RECORDS} records would become dead letters"
        return None


def too_many_dead(tripped: str, letters: Sequence[Letter], stream: Stream) -> Halt:
    """Why a lane of `stream` halts: what tripped, why the records of its batch were refused, and where the first of them is."""
    ours = [letter for letter in letters if letter.stream == stream]
    reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(letter.reason for letter in ours).most_common())
    message = f"{tripped} (refused in this batch: {reasons}; the first at offset {ours[0].offset})"
    step = "Nothing of it was buried: mend the decoding or the producer, or raise the [dead_letters] limits, and start again."
    return Halt("DLQ_RATE", message, step)
