"""A second owner that does not go away is told while it is there, however well the fence works."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from landfast.core.contest import CONFLICTS_MIN, WINDOW_SECONDS, Contest
from landfast.errors import Conflict
from landfast.events import ConflictMet, Notice
from landfast.model import Receipt, Staged
from landfast.testing.memory import MemorySink, RecordingObserver
from tests.core.rig import Rig

TAKEN = Conflict("PIPELINE_CONFLICT", "somebody else moved the position")


@pytest.mark.parametrize(("apart", "told"), [(1.0, True), (WINDOW_SECONDS / (CONFLICTS_MIN - 1), True), (WINDOW_SECONDS / 3, False)])
def test_many_conflicts_in_a_short_time_are_told_once(*, apart: float, told: bool) -> None:
    """Conflicts that come quickly one after the other are told; those of a rebalance now and then are not."""
    observer = RecordingObserver()
    contest = Contest("route", observer, conflicts_max=1_000)
    for number in range(2 * CONFLICTS_MIN):
        contest.met(TAKEN, number * apart)
        contest.turn(number * apart)
    assert [notice.code for notice in observer.of(Notice)] == ["PIPELINE_DUPLICATE"] * told


def test_only_conflicts_over_positions_speak_of_another_owner() -> None:
    """Files of ours that somebody deletes make conflicts too; they accuse no second copy."""
    rig = Rig(partitions=1)
    rig.produce(10)

    class Deleted(MemorySink):
        """A sink whose files are gone at the first commits."""

        left = CONFLICTS_MIN

        def commit(self, staged: Sequence[Staged]) -> Receipt:
            """Refuse some."""
            self.left -= 1
            if self.left >= 0:
                raise Conflict("STAGED_FILE_GONE", "somebody deleted it")
            return super().commit(staged)

    rig.land(rig.route(sink=Deleted(rig.table)))
    assert len(rig.observer.of(ConflictMet)) == CONFLICTS_MIN
    assert not rig.observer.of(Notice)
    assert len(rig.landed(rig.streams[0])) == 10


def test_what_is_over_is_taken_back_and_can_be_told_again() -> None:
    """Once no conflict was met for the whole time the alarm ends; the next duel raises it anew."""
    observer = RecordingObserver()
    contest = Contest("route", observer, conflicts_max=1_000)
    for began in (0.0, 1000.0):
        for number in range(CONFLICTS_MIN):
            contest.met(TAKEN, began + number)
        contest.turn(began + CONFLICTS_MIN + WINDOW_SECONDS - 2)
        assert observer.of(Notice)[-1].severity == "warning"
        contest.turn(began + CONFLICTS_MIN + WINDOW_SECONDS)
    assert [notice.severity for notice in observer.of(Notice)] == ["warning", "cleared"] * 2
