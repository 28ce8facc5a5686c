"""A schedule: everything that will be done to a world, as data. It is drawn from a seed, printed, read again, and made smaller."""

from __future__ import annotations

import enum
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from landfast.testing.faults import MAY_BE_UNAVAILABLE, MAY_CONFLICT, MAY_LOSE_ITS_ANSWER, Fault, Kind, When

QUIET_AT_SECONDS = 30.0
"""Virtual time at which everything that disturbs has happened: from there on the world must come to rest."""


class Deed(enum.StrEnum):
    """What can happen around the workers: a log's daily life and its disasters, a group's life, a worker's, and another tool."""

    PRODUCE = "produce"
    PRODUCE_BAD = "produce bad"
    PRODUCE_POISON = "produce poison"
    TOMBSTONE = "tombstone"
    MARKER = "marker"
    OPEN_TRANSACTION = "open transaction"
    CLOSE_TRANSACTION = "close transaction"
    COMPACT = "compact"
    ADD_PARTITION = "add partition"
    EXPIRE = "expire"
    TRUNCATE = "truncate"
    RECREATE = "recreate"
    LOSE = "lose"
    REVOKE = "revoke"
    REVOKE_ALL = "revoke all"
    BALANCE = "balance"
    FREEZE = "freeze"
    EXPEL = "expel"
    STOP = "stop"
    KILL = "kill"
    SKEW = "skew"
    FOREIGN_COMMIT = "foreign commit"


DISASTERS = frozenset({Deed.EXPIRE, Deed.TRUNCATE, Deed.RECREATE})
"""After these a lane may halt and keep what it has not landed: the operator decides."""

_LIFE = (Deed.PRODUCE, Deed.PRODUCE, Deed.PRODUCE, Deed.PRODUCE_BAD, Deed.PRODUCE_POISON, Deed.TOMBSTONE, Deed.MARKER)


CRASH_PLACES = frozenset(
    {
        ("source", "open"),
        ("source", "poll"),
        ("source", "rewind"),
        ("source", "acknowledge"),
        ("source", "close"),
        ("sink", "take_over"),
        ("sink", "stage"),
        ("sink", "commit"),
        ("sink", "maintain"),
        ("letters", "claim"),
        ("letters", "put"),
        ("letters", "buried"),
        ("table", "snapshot"),
        ("table", "put"),
        ("store", "take"),
        ("store", "append"),
        ("observer", "notice"),
    }
)

_PLACES = {
    Kind.CRASH: CRASH_PLACES,
    Kind.UNAVAILABLE: MAY_BE_UNAVAILABLE,
    Kind.CONFLICT: MAY_CONFLICT,
    Kind.ANSWER_LOST: MAY_LOSE_ITS_ANSWER,
}


@dataclass(frozen=True, slots=True)
class Act:
    """One deed, at a moment of virtual time.

    `pick` chooses its object among those that there are then; `amount` is how many, how long or how far.
    """

    at_seconds: float
    deed: Deed
    pick: int = 0
    amount: int = 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """How finely the work is cut: small enough that everything happens more than once."""

    workers: int = 1
    partitions: int = 2
    batch_records: int = 3
    piece_records: int = 2
    flight_batches: int = 3
    poll_records: int = 5
    chunk_records: int = 2
    threads: int = 2
    checks_apart: int = 1
    checks: str = "before"
    maintain_landings: int = 2
    session_seconds: float = 10.0
    until_end: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """What happens in a world. `faults` holds one row per process that is started, in order; a process without a row has none."""

    seed: int
    sizes: Sizes = Sizes()
    acts: tuple[Act, ...] = ()
    faults: tuple[tuple[Fault, ...], ...] = ()

    def to_json(self) -> str:
        """The schedule as one line of JSON."""
        return json.dumps(
            {
                "seed": self.seed,
                "sizes": asdict(self.sizes),
                "acts": [[act.at_seconds, act.deed.value, act.pick, act.amount] for act in self.acts],
                "faults": [
                    [[each.number, each.when.value, each.kind.value, each.lasting, each.place] for each in row] for row in self.faults
                ],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """What `to_json` wrote."""
        read: dict[str, Any] = json.loads(text)
        acts = tuple(Act(at, Deed(deed), pick, amount) for at, deed, pick, amount in read["acts"])
        faults = tuple(
            tuple(Fault(number, When(when), Kind(kind), lasting, place) for number, when, kind, lasting, place in row)
            for row in read["faults"]
        )
        return cls(read["seed"], Sizes(**read["sizes"]), acts, faults)


def drawn(seed: int) -> Schedule:
    """The schedule of a seed. Half of the deeds and half of the kinds of faults are switched off in each (swarm testing)."""
    chance = random.Random(seed)
    sizes = Sizes(
        workers=chance.choice([1, 1, 2, 2, 3]),
        partitions=chance.choice([1, 2, 3]),
        batch_records=chance.choice([1, 2, 3, 5, 100]),
        piece_records=chance.choice([1, 2, 100]),
        flight_batches=chance.choice([1, 2, 3, 8]),
        poll_records=chance.choice([1, 3, 5, 100]),
        chunk_records=chance.choice([1, 2, 100]),
        threads=chance.choice([1, 2, 4]),
        checks_apart=chance.choice([1, 2, 5]),
        checks=chance.choice(["before", "after"]),
        maintain_landings=chance.choice([1, 3]),
        session_seconds=chance.choice([1.0, 10.0]),
        until_end=chance.random() < 1 / 4,
    )
    deeds = [deed for deed in Deed if deed not in _LIFE and chance.random() < 1 / 2 and (deed not in DISASTERS or chance.random() < 1 / 3)]
    acts = [Act(0.0, chance.choice(_LIFE), chance.randrange(6), chance.randint(1, 4)) for _ in range(chance.randint(1, 6))]
    for _ in range(chance.randint(2, 12)):
        deed = chance.choice(deeds) if deeds and chance.random() < 1 / 2 else chance.choice(_LIFE)
        acts.append(
            Act(round(chance.uniform(0, QUIET_AT_SECONDS) * chance.random() ** 2, 3), deed, chance.randrange(6), chance.randint(1, 4))
        )
    kinds = chance.sample(list(Kind), k=len(Kind) // 2)
    faults = tuple(tuple(_fault(chance, kinds) for _ in range(chance.randint(0, 3))) for _ in range(chance.choice([0, 1, 3, 8])))
    return Schedule(seed, sizes, tuple(sorted(acts, key=lambda act: act.at_seconds)), faults)


def _fault(chance: random.Random, kinds: list[Kind]) -> Fault:
    """A fault somewhere, or at the next call of a port chosen evenly: most calls are polls and notices, where little can go wrong."""
    number = int(chance.choice([5, 20, 60, 200]) * chance.random()) + 1
    when, kind, lasting = chance.choice(list(When)), chance.choice(kinds), chance.choice([1, 1, 2, 7])
    if chance.random() < 1 / 3:
        return Fault(number, when, kind, lasting)
    return Fault(number, when, kind, lasting, ".".join(chance.choice(sorted(_PLACES[kind]))))


def shrunk(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """The smallest schedule that still fails, as far as leaving out one part after the other finds it."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in _simpler(schedule):
            if fails(candidate):
                schedule, smaller = candidate, True
                break
    return schedule


def _simpler(schedule: Schedule) -> Iterator[Schedule]:
    for length in (len(schedule.acts) // 2, 1):
        for start in range(0, len(schedule.acts), length) if length else ():
            yield replace(schedule, acts=schedule.acts[:start] + schedule.acts[start + length :])
    for number, row in enumerate(schedule.faults):
        for index in range(len(row)):
            fewer = row[:index] + row[index + 1 :]
            yield replace(schedule, faults=(*schedule.faults[:number], fewer, *schedule.faults[number + 1 :]))
    if schedule.faults and not schedule.faults[-1]:
        yield replace(schedule, faults=schedule.faults[:-1])
    for name, least in (("workers", 1), ("partitions", 1), ("threads", 1)):
        value = getattr(schedule.sizes, name)
        if value > least:
            yield replace(schedule, sizes=replace(schedule.sizes, **{name: value - 1}))
