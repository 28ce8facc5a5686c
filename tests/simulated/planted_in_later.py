"""Bugs where letters are tried again: keys that are not held, orders that are not kept, letters that land twice or never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from landfast.core import later
from landfast.core.held import Held
from landfast.core.lanes import Lane
from landfast.core.later import Attempts
from landfast.model import Position, Waiting
from landfast.testing.memory import MemoryLetterStore, MemoryRetries, MemoryTable, TableCommit, retries
from landfast.testing.world import drawn_later
from tests.simulated.planting import Bed

BED = Bed(drawn_later)
plant = BED.plant

_placed, _place, _put = Attempts.placed, Lane.place, MemoryTable.put
_later, _behind = Held.later, Held.behind
_full = Attempts.full.fget  # type: ignore[attr-defined]


@plant
def later_records_of_a_key_are_decoded(patch: pytest.MonkeyPatch) -> None:
    """A record lands although an earlier one of its key waits to be tried again."""
    patch.setattr(Held, "behind", lambda _held, _chunk: {})


@plant
def every_second_record_of_a_key_waits(patch: pytest.MonkeyPatch) -> None:
    """Of the records behind one that waits, the last of a chunk is let through."""
    patch.setattr(Held, "behind", lambda held, chunk: dict(list(_behind(held, chunk).items())[:-1]))


@plant
def what_is_in_flight_lands_when_a_key_is_learned(patch: pytest.MonkeyPatch) -> None:
    """A record fails, and the later ones of its key that were read before that was known land all the same."""
    patch.setattr(Attempts, "learn", lambda _attempts, _letters: False)


@plant
def what_was_learned_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A key that was found to wait is not held when its records are read again: it is found out anew for ever."""

    def place(lane: Lane, epoch: int, position: Position | None, buried: frozenset[int]) -> None:
        lane.learned = {}
        _place(lane, epoch, position, buried)

    patch.setattr(Lane, "place", place)


@plant
def the_last_failure_of_a_key_holds_it(patch: pytest.MonkeyPatch) -> None:
    """A key is held from the latest of its offsets that is known, and not from the first."""

    def latest(*several: Mapping[bytes, Position]) -> dict[bytes, Position]:
        found: dict[bytes, Position] = {}
        for keys in several:
            for key, offset in keys.items():
                found[key] = max(offset, found.get(key, offset))
        return found

    patch.setattr(later, "earliest", latest)


@plant
def what_waits_is_not_asked_at_the_start(patch: pytest.MonkeyPatch) -> None:
    """A lane that begins believes that nothing waits."""
    patch.setattr(Attempts, "placed", lambda attempts, lane, _waiting: _placed(attempts, lane, Waiting()))


@plant
def what_is_in_flight_stays_when_a_key_is_free(patch: pytest.MonkeyPatch) -> None:
    """What was cut while a key was held lands as letters after it was freed, and newer records overtake them."""
    patch.setattr(Held, "alike", lambda _held, _other, _position: True)


@plant
def those_that_wait_are_not_marked(patch: pytest.MonkeyPatch) -> None:
    """A record that waits behind another becomes a letter that nobody tries again."""
    patch.setattr(Held, "later", lambda held, phase, reason: phase != "wait" and _later(held, phase, reason))


@plant
def reading_stops_before_letters_that_are_ahead(patch: pytest.MonkeyPatch) -> None:
    """As many letters wait as may, of records that have not landed: nobody reads past them, so nobody ever tries them."""
    patch.setattr(Attempts, "_ahead", lambda _attempts, _lane: 0)


@plant
def reading_never_goes_on(patch: pytest.MonkeyPatch) -> None:
    """What once was full stays full, however few letters wait by now."""
    full: set[int] = set()

    def has_been_full(attempts: Attempts) -> bool:
        if _full(attempts):
            full.add(id(attempts))
        return id(attempts) in full

    patch.setattr(Attempts, "full", property(has_been_full))


@plant
def nothing_is_ever_due(patch: pytest.MonkeyPatch) -> None:
    """No round is begun."""
    patch.setattr(MemoryRetries, "due_seconds", lambda _retries: None)


@plant
def letters_overtake_each_other(patch: pytest.MonkeyPatch) -> None:
    """Whatever is due is tried, also behind an earlier letter of its key that still fails."""
    patch.setattr(retries, "_heads", sorted)


@plant
def a_letter_that_landed_stays_open(patch: pytest.MonkeyPatch) -> None:
    """Its row lands, and nothing says so: the next round lands it again."""

    def put(table: MemoryTable, version: int, commit: TableCommit) -> None:
        _put(table, version, commit if commit.spans else replace(commit, resolved={}))

    patch.setattr(MemoryTable, "put", put)


@plant
def failures_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """A letter that always fails is never given up."""
    patch.setattr(MemoryLetterStore, "fail", lambda _store, _failures, _owner: None)


@plant
def the_decoders_skips_are_never_done_with(patch: pytest.MonkeyPatch) -> None:
    """A tombstone that waited has no row to land, and waits for ever."""

    def put(table: MemoryTable, version: int, commit: TableCommit) -> None:
        kept = {place: word for place, word in commit.resolved.items() if word != "skipped"}
        _put(table, version, commit if commit.spans else replace(commit, resolved=kept))

    patch.setattr(MemoryTable, "put", put)
