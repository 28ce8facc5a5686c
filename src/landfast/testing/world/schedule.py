"""A schedule: everything that will be done to a world, as data. It is drawn from a seed, printed, read again, and made smaller."""

from __future__ import annotations

import enum
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from landfast.testing.faults import MAY_BE_LATE, MAY_BE_UNAVAILABLE, MAY_CONFLICT, MAY_LOSE_ITS_ANSWER, Fault, Kind, When

QUIET_AT_SECONDS = 30.0
"""Virtual time at which everything that disturbs has happened: from there on the world must come to rest."""


class Deed(enum.StrEnum):
    """What can happen around the workers: a log's daily life and its disasters, a group's life, a worker's, and another tool."""

    PRODUCE = "produce"
    PRODUCE_BAD = "produce bad"
    PRODUCE_POISON = "produce poison"
    PRODUCE_DISPUTED = "produce disputed"
    TOMBSTONE = "tombstone"
    MARKER = "marker"
    OPEN_TRANSACTION = "open transaction"
    CLOSE_TRANSACTION = "close transaction"
    ABORT_TRANSACTION = "abort transaction"
    COMPACT = "compact"
    ADD_PARTITION = "add partition"
    EXPIRE = "expire"
    TRUNCATE = "truncate"
    RECREATE = "recreate"
    LOSE = "lose"
    MOVE = "move"
    HAND_OVER = "hand over"
    REVOKE = "revoke"
    REVOKE_ALL = "revoke all"
    BALANCE = "balance"
    FREEZE = "freeze"
    EXPEL = "expel"
    STOP = "stop"
    KILL = "kill"
    SKEW = "skew"
    FOREIGN_COMMIT = "foreign commit"
    PRODUCE_AILING = "produce ailing"
    PRODUCE_SORE = "produce sore"
    REPLAY = "replay"
    DISCARD = "discard"

    @property
    def disturbs(self) -> bool:
        """Whether it is more than what producers do."""
        return self not in _LIFE and self not in PASSING


DISASTERS = frozenset({Deed.EXPIRE, Deed.TRUNCATE, Deed.RECREATE})
"""After these a lane may halt and keep what it has not landed: the operator decides."""

PASSING = (Deed.PRODUCE_AILING, Deed.PRODUCE_SORE)
"""Records that the decoder, or the table, refuses for a while."""

_BY_HAND = (Deed.REPLAY, Deed.DISCARD)

_LIFE = (
    Deed.PRODUCE,
    Deed.PRODUCE,
    Deed.PRODUCE,
    Deed.PRODUCE_BAD,
    Deed.PRODUCE_POISON,
    Deed.PRODUCE_DISPUTED,
    Deed.TOMBSTONE,
    Deed.MARKER,
)

_DISTURBANCES = tuple(deed for deed in Deed if deed.disturbs and deed not in _BY_HAND)
_KINDS = tuple(Kind)
_KINDS_BESIDE = tuple(kind for kind in Kind if kind not in {Kind.FROZEN, Kind.SLOW})
"""What may befall a worker that is held up as well."""

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

_IMPOSTORS_APART = 13
_DEATHS_APART = 97
_DISPUTES = (Deed.PRODUCE_DISPUTED, Deed.PRODUCE_DISPUTED, Deed.PRODUCE_BAD, Deed.PRODUCE)
_MOVES = (Deed.MOVE, Deed.MOVE, Deed.HAND_OVER, Deed.EXPEL)
_ONLY_BEFORE = {Kind.UNAVAILABLE, Kind.CONFLICT, Kind.ANSWER_LATE, Kind.OVERTAKEN}

COMMIT_PATH = (
    ("letters", "claim"),
    ("letters", "put"),
    ("letters", "buried"),
    ("sink", "commit"),
    ("sink", "stage"),
    ("sink", "take_over"),
    ("source", "acknowledge"),
    ("store", "append"),
    ("store", "buried"),
    ("store", "take"),
    ("table", "put"),
    ("table", "snapshot"),
)
"""The calls between a batch that is cut and a position that is told: a fault is drawn here more often than elsewhere."""

_PLACES = {
    Kind.CRASH: (*sorted(CRASH_PLACES), *COMMIT_PATH),
    Kind.UNAVAILABLE: sorted(MAY_BE_UNAVAILABLE),
    Kind.CONFLICT: sorted(MAY_CONFLICT),
    Kind.ANSWER_LOST: (*sorted(MAY_LOSE_ITS_ANSWER), ("table", "put"), ("store", "append")),
    Kind.ANSWER_LATE: sorted(MAY_BE_LATE),
    Kind.OVERTAKEN: sorted(MAY_BE_LATE),
    Kind.FROZEN: (*sorted(CRASH_PLACES), *COMMIT_PATH, ("table", "put"), ("letters", "put"), ("store", "append")),
    Kind.SLOW: (*sorted(CRASH_PLACES), *COMMIT_PATH, ("table", "put"), ("letters", "put"), ("store", "append")),
    Kind.DISTURBED: (*COMMIT_PATH, *[("source", "rewind")] * 6, ("source", "poll")),
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


AIMED = (
    Act(0.0, Deed.LOSE, 0, 4),
    Act(0.0, Deed.MOVE, 0, 1),
    Act(0.0, Deed.MOVE, 1, 1),
    Act(0.0, Deed.MOVE, 0, 4),
    Act(0.0, Deed.HAND_OVER, 1, 1),
    Act(0.0, Deed.REVOKE, 0, 1),
    Act(0.0, Deed.REVOKE_ALL, 0, 1),
    Act(0.0, Deed.EXPEL, 0, 1),
    Act(0.0, Deed.EXPEL, 1, 1),
    Act(0.0, Deed.KILL, 1, 1),
    Act(0.0, Deed.FREEZE, 1, 2),
    Act(0.0, Deed.RECREATE, 1, 2),
    Act(0.0, Deed.RECREATE, 1, 4),
    Act(0.0, Deed.RECREATE, 2, 4),
    Act(0.0, Deed.RECREATE, 3, 3),
    Act(0.0, Deed.PRODUCE_POISON, 0, 2),
    Act(0.0, Deed.OPEN_TRANSACTION, 0, 1),
    Act(0.0, Deed.EXPIRE, 1, 1),
    Act(0.0, Deed.TRUNCATE, 0, 2),
)
"""What may happen at the very moment of a call."""


AIMED_BY_HAND = (Act(0.0, Deed.REPLAY, 0), Act(0.0, Deed.REPLAY, 1), Act(0.0, Deed.DISCARD, 0), Act(0.0, Deed.DISCARD, 1))
"""The same of what people do with letters; numbered behind the others."""


def disturbance(number: int) -> Act:
    """The act of this number, from 1 on, over and over."""
    acts = AIMED + AIMED_BY_HAND
    return acts[(number - 1) % len(acts)]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How finely the work is cut: small enough that everything happens more than once.

    poll_seconds   of a poll where nothing else is due: who waits long hears late that a stream is its own
    store_seconds  the longest that a call of the table or of the dead letters takes: meanwhile the rest of the world goes on
    later_seconds  the delays after which letters are tried again; empty: they are not
    waiting_max    letters that may wait
    """

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
    store_seconds: float = 0.0
    poll_seconds: float = 5.0
    until_end: bool = False
    later_seconds: tuple[float, ...] = ()
    waiting_max: int = 1_000


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
        sizes = Sizes(**{**read["sizes"], "later_seconds": tuple(read["sizes"].get("later_seconds", ()))})
        return cls(read["seed"], sizes, acts, faults)


def drawn(seed: int) -> Schedule:
    """The schedule of a seed. Half of the deeds and half of the kinds of faults are switched off in each (swarm testing).

    One in three is a duel: workers that stand still or hang in the middle of a commit for longer than their short sessions, so that
    two of them hold the same stream for theirs.
    """
    chance = random.Random(seed)
    duel = chance.random() < 1 / 3
    sizes = Sizes(
        workers=chance.choice([2, 2, 3] if duel else [1, 1, 2, 2, 3]),
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
        session_seconds=chance.choice([1.0] if duel else [1.0, 10.0]),
        store_seconds=chance.choice([0.0, 0.3, 1.0] if duel else [0.0, 0.0, 0.1]),
        poll_seconds=chance.choice([0.5, 2.0] if duel else [5.0]),
        until_end=chance.random() < 1 / 4,
    )
    deeds = [deed for deed in _DISTURBANCES if chance.random() < 1 / 2 and (deed not in DISASTERS or chance.random() < 1 / 3)]
    acts = [Act(0.0, chance.choice(_LIFE), chance.randrange(6), chance.randint(1, 4)) for _ in range(chance.randint(1, 6))]
    if duel:
        acts += [Act(0.0, chance.choice(_DISPUTES), chance.randrange(6), chance.randint(1, 4)) for _ in range(chance.randint(1, 4))]
        acts += [Act(round(chance.uniform(0, 8), 3), chance.choice(_MOVES), chance.randrange(6), 1) for _ in range(chance.randint(0, 3))]
    for _ in range(chance.randint(2, 12)):
        deed = chance.choice(deeds) if deeds and chance.random() < 1 / 2 else chance.choice(_LIFE)
        acts.append(
            Act(round(chance.uniform(0, QUIET_AT_SECONDS) * chance.random() ** 2, 3), deed, chance.randrange(6), chance.randint(1, 4))
        )
    faults = _duel(chance) if duel else _faults(chance)
    if seed % _IMPOSTORS_APART == _IMPOSTORS_APART - 1:
        # A topic is created again in the moment when a lane is placed anew, and what it is filled with is there at once.
        acts += [Act(0.0, Deed.PRODUCE_POISON, chance.randrange(6), 1), Act(0.0, Deed.PRODUCE, chance.randrange(6), 4)]
        faults = tuple((_impostor(chance),) for _ in range(4))
    if seed % _DEATHS_APART == _DEATHS_APART - 1:
        # Process after process dies, and some of them at calls that are seldom made.
        sizes = replace(sizes, until_end=chance.random() < 1 / 2)
        faults = tuple((_death(chance),) for _ in range(8))
    return Schedule(seed, sizes, tuple(sorted(acts, key=lambda act: act.at_seconds)), faults)


def _death(chance: random.Random) -> Fault:
    place = chance.choice(["", "", "sink.maintain", "source.close"])
    return Fault(chance.randint(1, 20), chance.choice([When.BEFORE, When.AFTER]), Kind.CRASH, 1, place)


def _impostor(chance: random.Random) -> Fault:
    number = chance.choice([number for number, act in enumerate(AIMED, 1) if act.deed is Deed.RECREATE])
    return Fault(chance.randint(10, 60), chance.choice([When.BEFORE, When.AFTER]), Kind.DISTURBED, number, "source.rewind")


def _faults(chance: random.Random) -> tuple[tuple[Fault, ...], ...]:
    kinds = chance.sample(_KINDS, k=len(_KINDS) // 2)
    return tuple(tuple(_fault(chance, kinds) for _ in range(chance.randint(0, 4))) for _ in range(chance.choice([0, 2, 4, 8])))


def _fault(chance: random.Random, kinds: Sequence[Kind]) -> Fault:
    """A fault somewhere, or at the next call of a port chosen evenly: most calls are polls and notices, where little can go wrong."""
    number = int(chance.choice([5, 20, 60, 200]) * chance.random()) + 1
    kind = chance.choice(kinds)
    when = When.BEFORE if kind in _ONLY_BEFORE else chance.choice([When.BEFORE, When.AFTER])
    lasting = chance.randint(1, len(AIMED)) if kind is Kind.DISTURBED else chance.choice([1, 1, 2, 7])
    if chance.random() < 1 / 4:
        return Fault(number, when, kind, lasting)
    return Fault(number, when, kind, lasting, ".".join(chance.choice(_PLACES[kind])))


def _duel(chance: random.Random) -> tuple[tuple[Fault, ...], ...]:
    """Workers that are held up in the middle of a commit, most of them for long, and whatever else may befall one that is held up."""
    others = chance.sample(_KINDS_BESIDE, k=3)
    return tuple(tuple(_held_up(chance, others) for _ in range(chance.randint(1, 4))) for _ in range(chance.choice([2, 4, 6])))


def _held_up(chance: random.Random, others: Sequence[Kind]) -> Fault:
    if chance.random() < 1 / 4:
        return _fault(chance, others)
    when, kind = chance.choice([When.BEFORE, When.AFTER]), chance.choice([Kind.FROZEN, Kind.FROZEN, Kind.SLOW])
    place = ".".join(chance.choice(COMMIT_PATH))
    return Fault(chance.randint(1, 60), when, kind, chance.choice([3, 7, 20]), place)


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
