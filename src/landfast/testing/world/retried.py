"""The judgement of a world in which letters are tried again: where each record is, in which order a key landed, and what still waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from landfast.model import Stream
from landfast.testing.ledger import DEAD, EITHER, ROW, SKIPPED, Place, Verdict, audit, line_fate
from landfast.testing.memory import Record
from landfast.testing.world.workers import fate

if TYPE_CHECKING:
    from landfast.testing.world.world import World


def audit_retried(world: World) -> Verdict:
    """Compare all that was written with all that is held, where a letter may have become a row, or a record a letter that only waited."""
    truth, commits = world.log.truth(), world.table.commits
    ever = {(letter.stream, letter.offset): letter for letter in world.store.letters}
    resolved = world.table.snapshot().resolved
    places = {id(record): (stream, offset) for stream, records in truth.items() for offset, record in records.items()}

    def ends(record: Record) -> str:
        """Where it must be: a letter that only waited may land, and one that failed may be mended."""
        place = places[id(record)]
        letter = ever.get(place)
        if letter is None or resolved.get(place) == "skipped":
            return SKIPPED if letter is not None else fate(record)
        return EITHER if letter.phase == "wait" or place in resolved else fate(record)

    def counted(record: Record) -> str:
        """What its span said of it."""
        if places[id(record)] in ever:
            return DEAD
        return SKIPPED if line_fate(record) == SKIPPED else ROW

    held = [letter for place, letter in ever.items() if resolved.get(place) in {None, "discarded"}]
    twice = len(world.store.letters) - len(ever)
    verdict = audit(truth, commits, held, ends)
    spans = audit(truth, [replace(commit, rows=()) for commit in commits], world.store.letters, counted)
    told = (*spans.unaccounted, *([f"{twice} letters are there twice"] if twice else []))
    return replace(verdict, unaccounted=told, out_of_order=tuple(_out_of_order(world)))


def _out_of_order(world: World) -> Iterator[Place]:
    """Rows behind a later one: of their stream, where batches landed them; of their key, whoever did, but for people."""
    truth = world.log.truth()
    streams: dict[Stream, int] = {}
    keys: dict[tuple[Stream, bytes], int] = {}
    for commit in world.table.commits:
        for row in commit.rows:
            place = (row.stream, row.offset)
            if commit.spans:
                if row.offset <= streams.get(row.stream, -1):
                    yield place
                streams[row.stream] = max(row.offset, streams.get(row.stream, -1))
            record = truth.get(row.stream, {}).get(row.offset)
            if record is None or record.key is None or place in world.by_hand:
                continue
            key = (row.stream, record.key)
            if row.offset <= keys.get(key, -1):
                yield place
            keys[key] = max(row.offset, keys.get(key, -1))


def waiting_letters(world: World) -> Iterator[Place]:
    """Letters that somebody should try again: neither resolved nor given up, of a stream that is there today and does not stand still.

    Where a log was cut off, a letter may be of a record that nobody reads again: its batch never lands, and it is never tried.
    """
    snapshot, attempts = world.table.snapshot(), len(world.schedule.sizes.later_seconds)
    today = set(world.log.streams()) - world.halted
    for letter in world.store.letters:
        place = (letter.stream, letter.offset)
        given_up = world.store.failures(letter).count > attempts
        cut_off = letter.stream in world.robbed and letter.offset >= snapshot.positions.get(letter.stream, 0)
        if letter.stream in today and place not in snapshot.resolved and not given_up and not cut_off:
            yield place
