"""What the calls of `Redrive` give and return."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from landfast.model import Headers
from landfast.sinks.delta.proof.acts import OPEN_STATES, Dealings, State
from landfast.sinks.delta.proof.coordinates import short_id
from landfast.sinks.delta.proof.letters import Row
from landfast.sinks.delta.proof.lookup import moment
from landfast.sinks.delta.redrive.replay import OPEN_STILL, Outcome, Result

STILL_OPEN_MAX = 1_000
"""Letters that a report names, of those that stay open; it counts them all."""
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter, whole.

    id          topic-partition-offset, which every call and command takes; `@` and the topic id may follow, for a topic that was made again
    topic …     where the record comes from
    timestamp   of the record, in seconds since the epoch; None where it has none
    value       the bytes that a replay would take: those of the newest edit, or the record's own where `edited` is False
    reason      why it was refused, in which `phase`, and `message` in words
    failed_at   when, in the run `run_id`
    state       open, retrying (open too, and the pipeline tries it again by itself), replayed or discarded
    refusals    how often a replay has found since that it cannot land
    failures    how often the pipeline has tried its record in vain, the first time included; 0 where it waits behind another of its key
    next_attempt_at  when the pipeline tries it again at the earliest; None where it does not
    """

    id: str
    topic: str
    topic_id: str
    partition: int
    offset: int
    timestamp: float | None
    key: bytes | None
    value: bytes | None
    headers: Headers
    phase: str
    reason: str
    message: str
    attempts: int
    failed_at: datetime
    run_id: str
    state: str
    refusals: int
    edited: bool
    failures: int = 1
    next_attempt_at: datetime | None = None


def dead_letter(row: Row, dealings: Dealings, edits: Mapping[str, bytes | None]) -> DeadLetter:
    """A letter as people are given it. `row` is whole; `edits` holds the bytes of the newest edit where there is one."""
    timestamp, next_attempt_at = row["timestamp"], dealings.next_attempt_at(row)
    return DeadLetter(
        id=short_id(row),
        **{
            name: row[name]
            for name in ("topic", "topic_id", "partition", "offset", "key", "phase", "reason", "message", "attempts", "run_id")
        },
        timestamp=None if timestamp is None else timestamp / _MICROSECONDS,
        value=edits.get(row["id"], row["value"]),
        headers=tuple((header["name"], header["value"]) for header in row["headers"] or ()),
        failed_at=moment(row["last_failed_at"]),
        state=str(dealings.state_of(row)),
        refusals=dealings.refusals,
        edited=row["id"] in edits,
        failures=dealings.failures(row),
        next_attempt_at=None if next_attempt_at is None else moment(next_attempt_at),
    )


@dataclass(frozen=True, slots=True)
class StillOpen:
    """A letter that a call left as it was, and why, in words that show no value.

    `refusals`: how often it was refused before, and `refused_at` when last.
    """

    id: str
    outcome: str
    reason: str
    message: str
    refusals: int = 0
    refused_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What came of a replay; of a dry one, what would.

    outcomes    how many letters, by outcome: landed, older, already there, refused, left, waiting, unclear, resolved
    reasons     how many were refused, by reason
    still_open  the first 1,000 of those that stay open, and those that were resolved otherwise meanwhile
    """

    outcomes: Mapping[str, int]
    reasons: Mapping[str, int]
    still_open: tuple[StillOpen, ...]
    dry_run: bool

    @property
    def landed(self) -> int:
        """How many rows landed."""
        return self.outcomes.get(Outcome.LANDED, 0)

    @property
    def open(self) -> int:
        """How many letters stay open, of those that were to be replayed."""
        return sum(self.outcomes.get(one, 0) for one in OPEN_STILL)


@dataclass(frozen=True, slots=True)
class DiscardReport:
    """What came of discarding: how many were, and those that could not be."""

    discarded: int
    kept: tuple[StillOpen, ...]


@dataclass(slots=True)
class Sums:
    """Adds results up for a report."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    still_open: list[StillOpen] = field(default_factory=list)

    def add(self, results: Sequence[Result], by_letter: Mapping[str, Dealings]) -> None:
        """Count these, and remember some of those that stay open."""
        for one in results:
            self.outcomes[str(one.outcome)] += 1
            if one.outcome is Outcome.REFUSED:
                self.reasons[one.reason] += 1
            if (one.outcome in OPEN_STILL or one.outcome is Outcome.RESOLVED) and len(self.still_open) < STILL_OPEN_MAX:
                self.still_open.append(still_open(one, by_letter.get(one.letter["id"])))

    def report(self, *, dry_run: bool) -> ReplayReport:
        """The report."""
        return ReplayReport(dict(self.outcomes), dict(self.reasons.most_common()), tuple(self.still_open), dry_run)


def still_open(result: Result, dealings: Dealings | None) -> StillOpen:
    """A result as people are given it. `dealings` is what was known of the letter before."""
    refused_at = None if dealings is None or dealings.refused is None else dealings.refused["at"]
    refusals = 0 if dealings is None else dealings.refusals
    return StillOpen(short_id(result.letter), str(result.outcome), result.reason, result.message, refusals, refused_at)


OPEN = OPEN_STATES
EVERY_STATE = frozenset(State)
