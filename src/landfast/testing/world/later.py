"""Schedules in which letters are tried again by themselves: those of `schedule.drawn`, and what only happens there."""

from __future__ import annotations

import random
from dataclasses import replace

from landfast.testing.faults import Fault, Kind, When
from landfast.testing.world.schedule import AIMED, AIMED_BY_HAND, PASSING, QUIET_AT_SECONDS, Act, Deed, Schedule, Sizes, drawn

ROUND_PLACES = (("retries", "retry"), ("retries", "waiting"), ("store", "fail"), ("store", "retriable"))
"""The calls of a round of attempts."""

LATER_WORKLOAD = Schedule(
    seed=1,
    sizes=Sizes(workers=2, batch_records=3, piece_records=2, flight_batches=2, session_seconds=1.0, later_seconds=(1.0, 3.0)),
    acts=(
        Act(0.0, Deed.PRODUCE_AILING, 0, 2),
        Act(0.0, Deed.PRODUCE_SORE, 1, 1),
        Act(0.0, Deed.PRODUCE, 0, 2),
        Act(0.0, Deed.TOMBSTONE, 0, 1),
        Act(2.0, Deed.PRODUCE_BAD, 1, 2),
        Act(5.0, Deed.PRODUCE, 0, 3),
        Act(9.0, Deed.DISCARD, 0),
    ),
)
"""A small one of which every call is failed."""

_BY_HAND = (Deed.REPLAY, Deed.DISCARD)
_DEEDS = (*PASSING, *PASSING, Deed.PRODUCE_BAD, Deed.PRODUCE_POISON, Deed.PRODUCE, Deed.PRODUCE, Deed.TOMBSTONE, *_BY_HAND)
_KINDS = {
    ("retries", "retry"): (Kind.CRASH, Kind.CRASH, Kind.UNAVAILABLE, Kind.CONFLICT, Kind.FROZEN, Kind.SLOW, Kind.DISTURBED),
    ("retries", "waiting"): (Kind.CRASH, Kind.UNAVAILABLE, Kind.FROZEN, Kind.SLOW, Kind.DISTURBED),
    ("store", "fail"): (Kind.CRASH, Kind.ANSWER_LOST, Kind.FROZEN, Kind.SLOW, Kind.DISTURBED),
    ("store", "retriable"): (Kind.CRASH, Kind.ANSWER_LOST, Kind.FROZEN, Kind.SLOW, Kind.DISTURBED),
}
_ONLY_BEFORE = {Kind.UNAVAILABLE, Kind.CONFLICT}
_PATH = (("table", "put"), ("table", "snapshot"), ("store", "retriable"), ("retries", "retry"))
"""Where people come between a look and what follows from it."""


def drawn_later(seed: int) -> Schedule:
    """The schedule of a seed in which letters are tried again: keys, records that fail for a while, and people among them."""
    plain = drawn(seed)
    chance = random.Random(f"later {seed}")
    sizes = replace(
        plain.sizes,
        later_seconds=chance.choice([(1.0,), (0.5, 2.0), (1.0, 3.0, 8.0), (20.0,)]),
        waiting_max=chance.choice([2, 5, 1_000, 1_000]),
    )
    latest = chance.choice([1.0, QUIET_AT_SECONDS / 2, QUIET_AT_SECONDS - 5.0])
    acts = [
        Act(round(chance.uniform(0.0, latest), 3), chance.choice(_DEEDS), chance.randrange(6), chance.randint(1, 4))
        for _ in range(chance.randint(4, 16))
    ]
    acts += [
        Act(round(chance.uniform(2.0, QUIET_AT_SECONDS), 3), chance.choice(_BY_HAND), chance.randrange(6))
        for _ in range(chance.choice([0, 0, 3]))
    ]
    rows = [
        (*row, *(_fault(chance) for _ in range(chance.choice([0, 1, 1, 3])))) for row in (*plain.faults, *[()] * chance.choice([0, 0, 2]))
    ]
    together = sorted((*plain.acts, *acts), key=lambda act: act.at_seconds)
    return Schedule(seed, sizes, tuple(together), tuple(tuple(row) for row in rows))


def _by_hand(chance: random.Random) -> Fault:
    number = len(AIMED) + chance.randint(1, len(AIMED_BY_HAND))
    when = chance.choice([When.BEFORE, When.AFTER])
    return Fault(chance.choice([60, 150, 300]), when, Kind.DISTURBED, number, ".".join(chance.choice(_PATH)))


def _fault(chance: random.Random) -> Fault:
    if chance.random() < 1 / 4:
        return _by_hand(chance)
    place = chance.choice((*ROUND_PLACES, ("retries", "retry"), ("retries", "retry"), ("store", "fail")))
    kind = chance.choice(_KINDS[place])
    when = When.BEFORE if kind in _ONLY_BEFORE else chance.choice([When.BEFORE, When.AFTER])
    lasting = chance.randint(1, len(AIMED)) if kind is Kind.DISTURBED else chance.choice([1, 2, 7])
    return Fault(chance.choice([1, 60, 150, 300]), when, kind, lasting, ".".join(place))
