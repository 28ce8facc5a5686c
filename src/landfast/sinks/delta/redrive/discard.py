"""It is decided that dead letters are not to land. They stay where they are, and in the equation."""

from __future__ import annotations

from collections.abc import Sequence

from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.proof.coordinates import coordinates_of
from landfast.sinks.delta.proof.letters import Row
from landfast.sinks.delta.redrive.replay import Candidate, Outcome, Result, ground_of, groups
from landfast.sinks.delta.redrive.trail import Note, Trail
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.trail import DISCARDED


def discard(home: TableHome, trail: Trail, letters: Sequence[Row], why: str) -> list[Result]:
    """Discard these letters, which are open. One whose row is in the table already is kept.

    Raises:
        Unavailable: the store does not answer. Discarding them again is safe.
    """
    results: list[Result] = []
    for group in groups([Candidate(letter, None, edited=False) for letter in letters]):
        rows = [one.letter for one in group]
        with mapped("looking for rows that are there already"):
            view = home.open()
            ground = ground_of(home, trail, rows)
            there = ground.of(view)
            there -= ground.unclear(view, there) | ground.resolved().keys()
        landed = [row for row in rows if coordinates_of(row) in there]
        message = "a replay has landed its row and was stopped before it wrote that down: replay it again"
        results += [Result(row, Outcome.ALREADY, message=message, version=view.version) for row in landed]
        left = [row for row in rows if coordinates_of(row) not in there]
        resolved = trail.write([Note(row, DISCARDED, why=why) for row in left])
        results += [
            Result(row, Outcome.RESOLVED, message=f"it was {resolved[row['id']].state} meanwhile")
            if row["id"] in resolved
            else Result(row, Outcome.DISCARDED)
            for row in left
        ]
    return results
